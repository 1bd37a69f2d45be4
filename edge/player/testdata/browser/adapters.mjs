// The client with one player in a real Chromium, and all that can go wrong with it: real playback, real refusals.
//
//   node adapters.mjs '{"url":"https://127.0.0.1:8443","engine":"shaka","viewer":"…","other":"…","spki":"…"}'
//
// url            an edge whose site has tokens and accounts, one stream each, with a heartbeat every 5 s
// engine         "hls.js", "shaka", "shaka-hls", "dash.js" or "browser"
// viewer, other  tokens of two accounts
// cmcd           how the player's requests carry it: [{"mode":"query","version":2}, …], each for a playback of its own
//
// The last line is a JSON object: {failures: [text], sessions: [{id, mode, version}], words: {what: text}}.

import { chromium } from "playwright-core";
import { findChromium, flags, serveHarness } from "./run.mjs";

const STEP_MS = 60000; // of a loaded machine
const a = { engine: "hls.js", spki: [], cmcd: [{}], ...JSON.parse(process.argv[2]) };
const failures = [];
const check = (ok, text) => ok || failures.push(text);
const harness = await serveHarness();
const browser = await chromium.launch({ executablePath: findChromium(""), headless: false, args: flags({ spki: [a.spki].flat(), pointer: "mouse", quic: "off", quicHosts: [] }) });
const result = { sessions: [], words: {} };

/** A page of another origin with the client and the player. */
async function open() {
  const page = await (await browser.newContext()).newPage();
  page.on("pageerror", (e) => failures.push(`page: ${e.message}`));
  page.setDefaultTimeout(STEP_MS);
  await page.goto(`http://127.0.0.1:${harness.address().port}/`);
  const file = { "hls.js": "hls.js/dist/hls.min.js", shaka: "shaka-player/dist/shaka-player.compiled.js", "shaka-hls": "shaka-player/dist/shaka-player.compiled.js", "dash.js": "dashjs/dist/modern/umd/dash.all.min.js" }[a.engine];
  if (file) await page.addScriptTag({ url: `/node_modules/${file}` });
  await page.evaluate(async ([url, engine]) => {
    window.weir = await import(`${url}/player/sdk/weir.js`);
    window.heard = [];
    /** Plays, and notes what the session says. The answer: "", or what the error says. */
    window.begin = async (options) => {
      const made = { "hls.js": () => weir.hlsjs(Hls), shaka: () => weir.shaka(shaka), "shaka-hls": () => weir.shaka(shaka, {}, "hls"), "dash.js": () => weir.dashjs(dashjs), browser: () => weir.native() }[engine]();
      try {
        window.session = await weir.play(document.querySelector("video"), { server: url, asset: "demo", device: "web", engine: made, ...options });
      } catch (error) {
        return { kind: error.kind, others: error.sessions?.length, words: error.words ? `${error.words.title}. ${error.words.text}` : String(error) };
      }
      for (const name of ["ended", "problem", "recovered", "offline", "online", "heartbeat"]) {
        session.addEventListener(name, ({ detail }) => heard.push({ name, kind: detail?.kind, words: detail?.words ? `${detail.words.title}. ${detail.words.text}` : "" }));
      }
      return null;
    };
  }, [a.url, a.engine]);
  return page;
}

const begin = (page, options = {}) => page.evaluate((o) => begin(o), { authorization: a.viewer, ...options });
const until = (what, page, holds, argument) => page.waitForFunction(holds, argument, { timeout: STEP_MS, polling: 100 }).catch(async (error) => {
  const state = await page.evaluate(() => {
    const { currentTime, paused, error: e, readyState } = document.querySelector("video");
    return JSON.stringify({ currentTime, paused, readyState, error: e?.message, heard });
  });
  throw new Error(`waited in vain until ${what}: ${error.message.split("\n")[0]} ${state}`);
});
const plays = (page, what, seconds = 1.5) => page.evaluate(() => (window.from = document.querySelector("video").currentTime))
  .then(() => until(what, page, (n) => document.querySelector("video").currentTime >= Math.min(window.from + n, 22) && document.querySelector("video").videoWidth > 0, seconds));
const hears = (page, name) => until(`it hears "${name}"`, page, (n) => heard.some((h) => h.name === n), name)
  .then(() => page.evaluate((n) => heard.find((h) => h.name === n), name));
/** What a session answers to its heartbeat: 200, or 410. */
const lease = (page, id) => page.evaluate(([url, i]) => fetch(`${url}/sdk/v1/sessions/${i}/heartbeat`, { method: "POST" }).then((r) => r.status), [a.url, id]);

/** Plays with one kind of CMCD, and leaves as a viewer leaves. */
async function report(cmcd) {
  const page = await open();
  const refused = await begin(page, { cmcd });
  if (refused) throw new Error(`${JSON.stringify(cmcd)}: ${refused.words}`);
  await plays(page, `it plays with ${JSON.stringify(cmcd)}`);
  await hears(page, "heartbeat");
  const id = await page.evaluate(() => session.id);
  result.sessions.push({ id, ...cmcd });
  await page.goto("about:blank");
  const second = await open();
  await until("leaving the page ends the session", second, async ([url, i]) => (await fetch(`${url}/sdk/v1/sessions/${i}/heartbeat`, { method: "POST" })).status === 410, [a.url, id]);
  await page.context().close();
  await second.context().close();
}

async function refusals() {
  const page = await open();
  // 406, 401: the service's own.
  result.words.playable = (await begin(page, { capabilities: { codecs: ["xxxx"], max_height: 1, hdr: [] } }))?.words;
  result.words.credential = (await begin(page, { authorization: "nonsense" }))?.words;
  // 503: as a node under load answers; it is waited for, and where it takes too long said.
  const busy = (after) => ({ status: 503, headers: { "access-control-allow-origin": "*", "access-control-expose-headers": "Retry-After", "retry-after": after }, contentType: "application/problem+json", body: `{"type":"/sdk/v1/problems/busy","status":503,"retry_s":${after}}` });
  await page.route("**/sdk/v1/sessions", (route) => (route.request().method() === "POST" ? route.fulfill(busy("120")) : route.fallback()));
  result.words.busy = (await begin(page))?.words;
  await page.unroute("**/sdk/v1/sessions");
  await page.route("**/sdk/v1/sessions", (route) => (route.request().method() === "POST" ? route.fulfill(busy("1")) : route.fallback()), { times: 1 });
  // 403: a token that is over, until it was renewed.
  let over = true;
  let renewed = 0;
  await page.route((url) => url.pathname.startsWith("/vod/"), (route) => (over ? route.fulfill({ status: 403, headers: { "access-control-allow-origin": "*" }, body: "over" }) : route.fallback()));
  await page.route("**/sdk/v1/token", (route) => {
    if (route.request().method() === "POST") renewed++;
    over = false;
    return route.fallback();
  });
  const refused = await begin(page);
  if (refused) throw new Error(`after 503: ${refused.words}`);
  await plays(page, "it plays after its token was renewed");
  check(renewed === 1, `the token was renewed ${renewed} times`);
  await page.unrouteAll();
  return page;
}

async function conflicts(page) {
  const id = await page.evaluate(() => session.id);
  // 409: one stream an account, and which one may be ended; then 410 for that one.
  const second = await open();
  const conflict = await begin(second, { label: "Kitchen" });
  result.words.sessions = conflict?.words;
  check(conflict?.kind === "sessions" && conflict.others === 1, `a second stream of one: ${JSON.stringify(conflict)}`);
  const other = await begin(second, { authorization: a.other });
  check(other === null, `another account: ${JSON.stringify(other)}`);
  await second.evaluate(() => session.close());
  const instead = await begin(second, { label: "Kitchen", replace: true });
  check(instead === null, `in place of the first: ${JSON.stringify(instead)}`);
  await plays(second, "the second plays in place of the first");
  const ended = await hears(page, "ended");
  result.words.ended = ended.words;
  check(await page.evaluate(() => document.querySelector("video").paused), "a session that was ended plays on");
  check((await lease(page, id)) === 410, "the first session lives");
  // It goes on here, in place of the second.
  await page.evaluate(() => (heard.length = 0, session.replace()));
  await plays(page, "the first goes on in place of the second");
  result.words.endedToo = (await hears(second, "ended")).words;
  await second.context().close();
}

/** The network goes, and comes back. */
async function away(page) {
  await page.evaluate(() => (heard.length = 0));
  await page.context().setOffline(true);
  result.words.offline = (await hears(page, "offline")).words;
  await page.context().setOffline(false);
  await hears(page, "online");
  await page.evaluate(() => {
    const video = document.querySelector("video");
    video.currentTime = 0;
    return video.play().catch(() => {});
  });
  await plays(page, "it plays on when the network is back");
}

try {
  for (const cmcd of a.cmcd) await report(cmcd);
  const page = await refusals();
  await conflicts(page);
  await away(page);
} catch (error) {
  failures.push(error.message);
} finally {
  await browser.close();
  harness.close();
  harness.closeAllConnections();
}
process.stdout.write(`${JSON.stringify({ failures, ...result })}\n`, () => process.exit(failures.length ? 1 : 0));
