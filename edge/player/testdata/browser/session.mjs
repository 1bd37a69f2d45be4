// The life of a session in a real Chromium: play call, lease, the loss of an edge, a second viewer where one may watch, the end.
//
//   node session.mjs '{"url":"https://127.0.0.1:8443","by":"page","engine":"hls.js","spki":"…"}'
//
// url     an edge whose title demo may have one viewer at a time, with a heartbeat every few seconds
// by      "page": the player page; "client": a page of another origin that imports /player/sdk/weir.js
// engine  "hls.js" or "browser"; by "client" also "shaka" and "dash.js"
// spki, quicHosts   as in play.mjs; quicHosts: HTTP/3 alone is spoken with them
//
// Standard output has a line KILL and the URL of the edge that is to be killed; a line on standard input says that it was. The last line is
// a JSON object: {failures: [text], protocols, servers: [before, after], words}.

import { createInterface } from "node:readline";
import { chromium } from "playwright-core";
import { findChromium, flags, serveHarness } from "./run.mjs";

const STEP_MS = 45000; // of a loaded machine
const a = { by: "page", engine: "hls.js", spki: [], quicHosts: [], ...JSON.parse(process.argv[2]) };
const failures = [];
const protocols = {};
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const harness = await serveHarness();
const browser = await chromium.launch({
  executablePath: findChromium(""), headless: false,
  args: flags({ spki: [a.spki].flat(), pointer: "mouse", quic: a.quicHosts.length ? "forced" : "off", quicHosts: a.quicHosts }),
});

/** By which protocol each of the session's own answers came. */
async function watch(page) {
  const network = await page.context().newCDPSession(page);
  await network.send("Network.enable");
  network.on("Network.responseReceived", ({ response }) => {
    if (/\/sdk\/v1\/|\.m4s/.test(response.url)) protocols[response.protocol] = (protocols[response.protocol] ?? 0) + 1;
  });
}

async function open() {
  const page = await (await browser.newContext({ ignoreHTTPSErrors: a.spki.length === 0 })).newPage();
  page.on("pageerror", (e) => failures.push(`page: ${e.message}`));
  await watch(page);
  if (a.by === "page") {
    await page.goto(`${a.url}/?engine=${a.engine}`);
    return page;
  }
  await page.goto(`http://127.0.0.1:${harness.address().port}/`);
  const file = { "hls.js": "hls.js/dist/hls.min.js", shaka: "shaka-player/dist/shaka-player.compiled.js", "dash.js": "dashjs/dist/modern/umd/dash.all.min.js" }[a.engine];
  if (file) await page.addScriptTag({ url: `/node_modules/${file}` });
  await page.evaluate(async ([url, engine]) => {
    const weir = await import(`${url}/player/sdk/weir.js`);
    const made = { "hls.js": () => weir.hlsjs(Hls), shaka: () => weir.shaka(shaka), "dash.js": () => weir.dashjs(dashjs), browser: () => weir.native() }[engine]();
    window.session = await weir.play(video, { asset: "demo", engine: made }).catch((e) => ({ failed: e.words }));
    window.heard = [];
    for (const name of ["ended", "problem", "moved"]) window.session.addEventListener?.(name, (e) => heard.push(name));
  }, [a.url, a.engine]);
  return page;
}

const state = (page) => page.evaluate(() => {
  const video = document.querySelector("video");
  const session = window.session ?? window.weir?.().session;
  const problem = document.querySelector("#problem:not([hidden])");
  return { at: video.currentTime, paused: video.paused, id: session?.id, server: session?.server, words: session?.failed?.text ?? problem?.innerText ?? "" };
});

/** Waits until what a page shows is so. */
async function until(what, page, holds) {
  const end = Date.now() + STEP_MS;
  for (;;) {
    const now = await state(page);
    if (holds(now)) return now;
    if (Date.now() > end) throw new Error(`waited in vain until ${what}: ${JSON.stringify(now)}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** Played on for some seconds, also over the end of a title that is repeated. */
async function plays(page, what, seconds = 2) {
  let played = 0;
  let last = (await state(page)).at;
  return until(what, page, ({ at }) => {
    if (at > last && at - last < 2) played += at - last;
    last = at;
    return played >= seconds;
  });
}

/** Asks again until the place is free. */
async function again(page) {
  const end = Date.now() + STEP_MS;
  for (let now = page; Date.now() < end;) {
    if (a.by === "page") await now.getByRole("button", { name: "Try again" }).click();
    else now = await open();
    await now.waitForTimeout(1000);
    if (!(await state(now)).words) return now;
  }
  throw new Error("the place is not free, though the first viewer left");
}

const beat = (page) => page.waitForResponse((r) => r.url().endsWith("/heartbeat") && r.status() === 200, { timeout: STEP_MS });

const result = { servers: [], words: "" };
try {
  const one = await open();
  const begun = await plays(one, "it plays");
  result.servers.push(begun.server);
  const { expires } = await (await beat(one)).json();
  if (!(Date.parse(expires) > Date.now())) failures.push(`the heartbeat renewed until ${expires}`);

  const two = await open();
  result.words = (await until("the second viewer is refused", two, ({ words }) => words)).words;

  const { server: lost } = await state(one); // steering may have moved it
  console.log(`KILL ${lost}`);
  await lines.next();
  await plays(one, "it plays on after the loss of its edge", 14); // more than is buffered
  const after = await until("another server is asked", one, ({ server }) => server !== lost);
  result.servers.push(after.server);
  await beat(one);
  if (after.id !== begun.id) failures.push(`the session ${begun.id} became ${after.id}`);

  // The second page was loaded from the edge that is gone; a third one finds the place taken, and then free.
  a.url = after.server;
  const three = await open();
  await until("the place is still taken", three, ({ words }) => words);
  await one.goto("about:blank"); // as a viewer leaves: long before the lease would end
  await three.waitForTimeout(1000);
  const gone = await three.evaluate(([url, id]) => fetch(`${url}/sdk/v1/sessions/${id}/heartbeat`, { method: "POST" }).then((r) => r.status), [a.url, begun.id]);
  if (gone !== 410) failures.push(`a second after its viewer left the session answers ${gone}, want 410`);
  const next = await again(three);
  await plays(next, "the place is free after the first viewer left");
} catch (error) {
  failures.push(error.message);
} finally {
  await browser.close();
  harness.close();
  harness.closeAllConnections();
}
process.stdout.write(`${JSON.stringify({ failures, protocols, ...result })}\n`, () => process.exit(failures.length ? 1 : 0));
