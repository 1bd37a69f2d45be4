// Downloads in a real Chromium: loading, a pause, a reload, and playback with the network cut and the edge killed.
//
//   node offline.mjs '{"url":"https://127.0.0.1:8443","by":"page","engine":"hls.js","spki":"…"}'
//
// by      "page": the player page; "client": a page of another origin, with a service worker of its own
// engine  "hls.js" or "browser"; by "client" also "shaka", which plays HLS, and "dash.js"
// other   a second edge, which lives
//
// Standard output has a line KILL when the edge is to be killed; a line on standard input says that it was. The last line is
// a JSON object: {failures: [text], files, local, told}: how many files were compared, what plays at the end, and
// how many records of that came to the second edge when the network was back.

import { createInterface } from "node:readline";
import { chromium } from "playwright-core";
import { findChromium, flags, serveHarness } from "./run.mjs";

const STEP_MS = 60000; // of a loaded machine
const SLOW = 60000; // bytes per second: the title has 1.6 MB
const a = { by: "page", engine: "hls.js", spki: [], ...JSON.parse(process.argv[2]) };
const failures = [];
const check = (ok, text) => ok || failures.push(text);
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const harness = await serveHarness(a.url);
const browser = await chromium.launch({ executablePath: findChromium(""), headless: false, args: flags({ spki: [a.spki].flat(), pointer: "mouse", quic: "off", quicHosts: [] }) });
const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
const page = await context.newPage();
page.on("pageerror", (e) => failures.push(`page: ${e.message} ${e.cause ?? ""}`));
page.setDefaultTimeout(STEP_MS);
const own = a.by === "page" ? a.url : `http://127.0.0.1:${harness.address().port}`;
const network = await context.newCDPSession(page);
const cut = async (offline, bytes = -1) => network.send("Network.emulateNetworkConditions", { offline, latency: 0, downloadThroughput: bytes, uploadThroughput: -1 });

/** Has the page bring its list of downloads; a page of another origin makes it here. */
async function start() {
  const file = { "hls.js": "hls.js/dist/hls.min.js", shaka: "shaka-player/dist/shaka-player.compiled.js", "dash.js": "dashjs/dist/modern/umd/dash.all.min.js" }[a.engine];
  if (file) await page.addScriptTag({ url: `/node_modules/${file}` });
  await page.evaluate(async ([url, client]) => {
    window.weirClient = await import(client);
    window.kept = await weirClient.downloads({ server: url, worker: "/worker.js" });
  }, [[a.url, a.other], `${a.url}/player/sdk/weir.js`]);
}

const of = (name) => page.evaluate(async (what) => {
  const { records } = await window.look();
  return what ? records[0]?.[what] : records;
}, name);

/** What lies in the browser's caches, whoever has put it there. */
await context.addInitScript(() => {
  window.asked = []; // files that downloads asked for
  const { fetch } = window;
  window.fetch = (url, init) => {
    if (init?.cache === "no-store" && /\.(m4s|mp4)/.test(url)) asked.push(new URL(url, location.href).pathname);
    return fetch(url, init);
  };
  window.look = async () => {
    const records = [];
    for (const name of (await caches.keys()).filter((n) => n.startsWith("weir-kept-"))) {
      const cache = await caches.open(name);
      const record = (await cache.keys()).find((r) => r.url.endsWith("/record.json"));
      if (record) records.push({ ...(await (await cache.match(record)).json()), files: (await cache.keys()).filter((r) => /\/\d+\/\d+\./.test(r.url)).length });
    }
    return { records };
  };
  window.digest = async (body) => [...new Uint8Array(await crypto.subtle.digest("SHA-256", body))].map((b) => b.toString(16)).join(".");
});

async function until(what, holds) {
  const end = Date.now() + STEP_MS;
  for (;;) {
    const now = await holds();
    if (now) return now;
    if (Date.now() > end) throw new Error(`waited in vain until ${what}: ${JSON.stringify(await of(""))}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

const list = async () => a.by !== "page" || (await page.locator("#kept[open]").count()) || page.locator("#keep").click();

async function begin() {
  if (a.by === "page") {
    await page.waitForFunction(() => document.querySelector("video").currentTime > 0.5, null, { timeout: STEP_MS });
    await page.locator("#keep").click();
    await page.getByRole("button", { name: "Download this title" }).click();
  } else {
    await start();
    await page.evaluate(() => void kept.add({ asset: "demo", title: "The sample" }));
  }
}

async function pause() {
  if (a.by === "page") await page.getByRole("button", { name: /^Pause Weir/ }).click();
  else await page.evaluate(() => kept.list[0].pause());
  await until("it is paused", async () => (await of("state")) === "paused");
}

async function resume() {
  if (a.by === "page") {
    await list();
    await page.getByRole("button", { name: /^Go on downloading/ }).click();
  } else {
    await start();
    await page.evaluate(() => void kept.list[0].resume());
  }
}

/** The digests of all files: as the edge has them, or as the device has them. */
const digests = (base) => page.evaluate(async ([from]) => {
  const { records: [{ id, plan }] } = await window.look();
  const all = {};
  for (const [name, path, range] of JSON.parse(plan)) {
    const headers = range && from ? { Range: `bytes=${range.join("-")}` } : {};
    const response = await fetch(from ? from + path : `/player/kept/${id}/${name}`, { headers, cache: "no-store" });
    all[name] = `${response.ok} ${await digest(await response.arrayBuffer())}`;
  }
  return all;
}, [base]);

const result = { files: 0, local: "", told: 0 };
try {
  await page.goto(`${own}/?engine=${a.engine}`);
  if (a.by === "page") await until("it plays", () => page.evaluate(() => document.querySelector("video").currentTime > 0.5));
  await page.evaluate(() => document.querySelector("video").pause());
  await cut(false, SLOW);
  await begin();
  const before = await until("some files are there", async () => (await of("files")) >= 3 && of("files"));
  await pause();
  const first = new Set(await page.evaluate(() => asked));
  check(first.size >= before, `${first.size} files were asked for, ${before} came`);
  const whole = await of("files");
  check(whole < JSON.parse(await of("plan")).length, "the title was there before it could be paused");
  await cut(false);
  await page.reload();
  await resume();
  await until("it is kept", async () => (await of("state")) === "kept");
  const twice = (await page.evaluate(() => asked)).filter((path) => first.has(path)).length;
  check(twice <= first.size - whole, `${twice} files were loaded again after the reload, of ${first.size} that were asked for before, ${whole} of which were there`);
  check(before <= whole, "files went");

  const there = await digests(a.url);
  console.log("KILL");
  await lines.next();
  await context.setOffline(true);
  const away = Date.now();
  await cut(true);
  if (a.by === "page") {
    await page.evaluate(() => document.querySelector("video").play());
    await until("the download takes over", () => page.evaluate(() => weir().local && document.querySelector("video").currentTime > 1));
    await page.reload();
  } else {
    await page.evaluate(async (engine) => {
      const made = { "hls.js": () => weirClient.hlsjs(Hls), shaka: () => weirClient.shaka(shaka, {}, "hls"), "dash.js": () => weirClient.dashjs(dashjs), browser: () => weirClient.native() }[engine]();
      window.playback = await kept.list[0].play(document.querySelector("video"), { engine: made });
      window.playback.addEventListener("problem", ({ detail }) => (window.wrong = `${detail.words.title}: ${detail.message}`));
    }, a.engine);
  }
  await until("it plays without a network", () => page.evaluate(() => {
    if (window.wrong) throw new Error(window.wrong);
    const { currentTime, videoWidth } = document.querySelector("video");
    window.resumed ??= currentTime;
    return currentTime > 3 && Math.abs(currentTime - window.resumed) > 1 && videoWidth > 0;
  }));
  const here = await digests("");
  result.files = Object.keys(here).length;
  for (const [name, digest] of Object.entries(there)) check(here[name] === digest, `${name} differs: ${here[name]}, the edge has ${digest}`);
  result.local = a.by === "page" ? await page.evaluate(() => weir().local) : await page.evaluate(() => playback.download.id);
  const range = await page.evaluate(async () => {
    const { records: [{ id }] } = await window.look();
    const r = await fetch(`/player/kept/${id}/master.m3u8`, { headers: { Range: "bytes=1-7" } });
    return `${r.status} ${await r.text()} ${r.headers.get("content-range")}`;
  });
  check(/^206 EXTM3U\n? bytes 1-7\/\d+$/.test(range), `a part of what is kept: ${range}`);

  // The network is back, and one of the edges: it is told what was watched.
  if (a.by === "client") await page.evaluate(() => playback.close());
  const back = Date.now();
  const records = [];
  page.on("response", (r) => {
    if (r.url() !== `${a.other}/sdk/v1/cmcd` || !r.request().headers()["idempotency-key"]) return;
    if (r.request().method() === "POST") records.push(...r.request().postData().split("\n"));
    check(r.ok(), `what was watched was answered with ${r.status()}`);
  });
  await cut(false);
  await context.setOffline(false);
  await until("all is told", () => page.evaluate(async () => !(await (await caches.open("weir-seen")).keys()).length));
  result.told = records.length;
  for (const record of records) {
    const at = Number(/\bts=(\d+)/.exec(record)?.[1]);
    check(/,weir-offline$/.test(record) && record.includes('cid="demo"') && at >= away && at <= back + STEP_MS, `a record of what was watched from ${away} on: ${record}`);
  }
  check(records.some((record) => record.includes("e=ps") && record.includes("sta=p,")), `it never played: ${records}`);

  if (a.by === "page") {
    await list();
    await page.getByRole("button", { name: /^Remove/ }).click();
    await page.getByRole("button", { name: /press again/ }).click();
  } else {
    await page.evaluate(() => kept.list[0].remove());
  }
  await until("nothing is left", () => page.evaluate(async () => !(await caches.keys()).some((n) => n.startsWith("weir-kept-"))));
  if (a.by === "page") await until("no worker is left", () => page.evaluate(async () => (await navigator.serviceWorker.getRegistrations()).length === 0));
} catch (error) {
  failures.push(error.message);
} finally {
  await browser.close();
  harness.close();
  harness.closeAllConnections();
}
process.stdout.write(`${JSON.stringify({ failures, ...result })}\n`, () => process.exit(failures.length ? 1 : 0));
