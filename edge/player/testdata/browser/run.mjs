// One run of play.mjs: browser, harness server, network record, verdict.

import { accessSync, constants, readFileSync } from "node:fs";
import { createServer } from "node:http";
import { delimiter, dirname, extname, join, normalize, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { outcome } from "../../static/cachestatus.js";

const HERE = dirname(fileURLToPath(import.meta.url));
const PACKAGE = join(HERE, "..", "..");
const POLL_MS = 100;
const SETTLE_MS = 200; // resource timing tells the page a little later
const PROGRESS_SECONDS = 0.5;
const HLSJS_STALLS = ["hls.js: bufferStalledError", "hls.js: bufferNudgeOnStall"]; // it goes on by itself, and they are judged as stalls
const STRIP_FPS = 30;
const STRIP_TOLERANCE = 3;

export function findChromium(path) {
  const names = ["chromium", "chromium-browser", "google-chrome"];
  const candidates = [path, process.env.CHROMIUM, ...names.flatMap((n) => (process.env.PATH ?? "").split(delimiter).map((d) => join(d, n)))];
  for (const candidate of candidates.filter(Boolean)) {
    try {
      accessSync(candidate, constants.X_OK);
      return candidate;
    } catch {
      // the next one
    }
  }
  throw new Error("no chromium found: install the package chromium, or set CHROMIUM");
}

/** Serves the harness page, a service worker that imports that of an edge, and node_modules on a loopback origin of its own. */
export async function serveHarness(edge = "") {
  const types = { ".html": "text/html", ".js": "text/javascript" };
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url, "http://localhost");
    if (pathname === "/") {
      response.setHeader("content-type", "text/html");
      return response.end('<!doctype html><meta charset="utf-8"><title>harness</title><link rel="icon" href="data:,"><video muted playsinline width="640" height="360"></video><script src="/harness.js"></script>');
    }
    if (pathname === "/worker.js") {
      response.setHeader("content-type", "text/javascript");
      return response.end(`importScripts("${edge}/player/sdk/offline.js");`);
    }
    const file = pathname === "/harness.js" ? join(HERE, "harness.js") : normalize(join(PACKAGE, pathname));
    if (file !== join(HERE, "harness.js") && !file.startsWith(join(PACKAGE, "node_modules") + sep)) return response.writeHead(404).end();
    try {
      const body = readFileSync(file);
      response.setHeader("content-type", types[extname(file)] ?? "application/octet-stream");
      response.end(body);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((resolve, reject) => server.once("error", reject).listen(0, "127.0.0.1", resolve));
  return server;
}

/** Chromium switches. They are described where they are not obvious. */
export function flags(a) {
  const list = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--autoplay-policy=no-user-gesture-required", "--mute-audio"];
  if (a.spki.length) list.push(`--ignore-certificate-errors-spki-list=${a.spki.join(",")}`);
  // Without a display Chromium finds no mouse, and pages would take it for a television.
  if (a.pointer === "mouse") list.push("--blink-settings=primaryHoverType=2,availableHoverTypes=2,primaryPointerType=4,availablePointerTypes=4");
  if (a.quic === "off") list.push("--disable-quic");
  else {
    // Forced: QUIC without asking. Alt-Svc: Chromium wants a root that it ships
    // for a host it learns of by Alt-Svc; naming the host with an unused port
    // lifts that check only, so that discovery still happens.
    const hosts = a.quic === "forced" ? a.quicHosts : a.quicHosts.map((h) => `${h.replace(/:\d+$/, "")}:1`);
    list.push("--enable-quic", `--origin-to-force-quic-on=${[...new Set(hosts)].join(",")}`);
  }
  return list;
}

function kindOf(url, type) {
  const { pathname } = new URL(url);
  if (pathname.startsWith("/steer/v1/")) return "steering";
  if (/mpegurl|dash\+xml/i.test(type) || /\.(m3u8?|mpd)$/i.test(pathname)) return "manifest";
  return /init/i.test(pathname.split("/").pop()) ? "init" : "segment";
}

/** Records what the network stack does, as DevTools sees it: nothing is hidden from it. */
async function recordRequests(page, isMedia) {
  const session = await page.context().newCDPSession(page);
  const requests = new Map();
  await session.send("Network.enable");
  session.on("Network.requestWillBeSent", ({ requestId, request, timestamp, type }) => {
    if (request.method !== "GET" || !isMedia(request.url, type)) return;
    requests.set(requestId, {
      url: request.url, kind: kindOf(request.url, ""), protocol: "", visible: "", status: 0, cacheStatus: "", age: "",
      bytes: 0, ms: 0, fromCache: false, failed: "", sent: timestamp, done: false,
    });
  });
  session.on("Network.responseReceived", ({ requestId, response }) => {
    const r = requests.get(requestId);
    if (!r) return;
    const header = (name) => Object.entries(response.headers).find(([k]) => k.toLowerCase() === name)?.[1] ?? "";
    Object.assign(r, {
      kind: kindOf(r.url, header("content-type")), protocol: response.protocol ?? "", status: response.status,
      cacheStatus: header("cache-status").replaceAll("\n", ", "), age: header("age"), fromCache: response.fromDiskCache === true,
    });
  });
  session.on("Network.dataReceived", ({ requestId, dataLength }) => {
    const r = requests.get(requestId);
    if (r) r.bytes += dataLength;
  });
  session.on("Network.loadingFinished", ({ requestId, timestamp }) => {
    const r = requests.get(requestId);
    if (r) Object.assign(r, { ms: Math.round((timestamp - r.sent) * 1000), done: true });
  });
  session.on("Network.loadingFailed", ({ requestId, errorText, canceled }) => {
    const r = requests.get(requestId);
    if (r) r.failed = canceled ? "canceled" : errorText;
  });
  return requests;
}

/** Adds what resource timing shows to the page itself. */
async function addVisible(page, requests) {
  const timings = await page.evaluate(() => window.__probe.timings);
  for (const r of requests) r.visible = timings[r.url]?.shift()?.protocol ?? "";
}

function count(list, key) {
  const counts = {};
  for (const item of list) counts[key(item)] = (counts[key(item)] ?? 0) + 1;
  return counts;
}

/** What was expected and did not happen. */
function judge(a, result, finished) {
  const failures = [];
  const segments = result.requests.filter((r) => r.kind === "segment" && r.status > 0);
  if (!result.startedMs) failures.push("never started");
  if (!finished) failures.push(`played ${result.playedSeconds.toFixed(1)} s of ${a.seconds} s in ${a.timeout} s`);
  if (a.maxStalls >= 0 && result.stalls.length > a.maxStalls) failures.push(`${result.stalls.length} stalls, at most ${a.maxStalls} expected: ${JSON.stringify(result.stalls)}`);
  if (segments.length === 0) failures.push("no segment was requested");
  const wrong = a.protocol && segments.filter((r) => r.protocol !== a.protocol);
  if (wrong?.length) failures.push(`${wrong.length} of ${segments.length} segments not over ${a.protocol}: ${JSON.stringify(count(wrong, (r) => r.protocol))}`);
  if (a.lastProtocol && segments.at(-1)?.protocol !== a.lastProtocol) failures.push(`the last segment came over ${segments.at(-1)?.protocol}, not ${a.lastProtocol}`);
  const hidden = segments.filter((r) => !r.visible && r.done);
  if (a.visible && hidden.length) failures.push(`resource timing hides the protocol of ${hidden.length} of ${segments.length} segments, no Timing-Allow-Origin? The first: ${hidden[0].url}`);
  if (!a.allowErrors) {
    for (const r of result.requests) if (r.status >= 400 || (r.failed && r.failed !== "canceled")) failures.push(`${r.url}: ${r.failed || r.status}`);
    for (const text of result.errors) if (a.maxStalls >= 0 || !HLSJS_STALLS.includes(text)) failures.push(text);
  }
  if (a.strip) failures.push(...judgeStrip(result));
  return failures;
}

function judgeStrip({ frames, stripError }) {
  if (stripError) return [`frame strip: ${stripError}`];
  if (frames.length === 0) return ["frame strip: nothing read"];
  const off = frames.filter(({ at, until, frame }) => frame < at * STRIP_FPS - STRIP_TOLERANCE || frame > until * STRIP_FPS + STRIP_TOLERANCE);
  return off.length ? [`frame strip: ${off.length} of ${frames.length} pictures are not where they belong, the first: frame ${off[0].frame} at ${off[0].at} s`] : [];
}

/** Polls until enough was played; returns whether it was. */
async function watch(page, a, say) {
  const until = Date.now() + a.timeout * 1000;
  let said = -1;
  let there = !a.from;
  let chosen = a.choose < 0;
  while (Date.now() < until) {
    const { playedSeconds, startedMs } = await page.evaluate(() => window.__probe.snapshot());
    if (!there && startedMs) {
      there = true;
      await page.evaluate((from) => (document.querySelector("video").currentTime = from), a.from);
    }
    const step = Math.floor(playedSeconds / PROGRESS_SECONDS);
    if (step > said) {
      said = step;
      say(`PLAYED ${(step * PROGRESS_SECONDS).toFixed(1)}`);
    }
    if (!chosen && playedSeconds >= 1) {
      chosen = true;
      await page.locator("#nodes button").nth(a.choose).click();
    }
    if (playedSeconds >= a.seconds) return true;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  return false;
}

async function open(browser, a, harness) {
  const context = await browser.newContext({
    ignoreHTTPSErrors: a.spki.length === 0, viewport: { width: a.width, height: a.height }, deviceScaleFactor: a.scale, hasTouch: a.pointer === "touch", isMobile: a.pointer === "touch",
  });
  const page = await context.newPage();
  const errors = [];
  page.on("console", (m) => m.type() === "error" && errors.push(`console: ${m.text()} ${m.location()?.url ?? ""}`.trim()));
  const own = harness ? `http://127.0.0.1:${harness.address().port}` : new URL(a.url).origin + "/player/";
  const requests = await recordRequests(page, (url, type) => /^https?:/.test(url) && !url.startsWith(own) && type !== "Document" && !/\/player\/|favicon/.test(url));
  await page.addInitScript({ path: join(HERE, "probe.js") });
  await page.addInitScript(`window.__probe.strip = ${a.strip}`);
  if (harness) {
    await page.goto(own);
    await page.evaluate(([player, url, config]) => void window.begin(player, url, config), [a.player, a.url, a.config]);
  } else {
    const response = await page.goto(a.url);
    if (!response?.ok()) errors.push(`page: ${a.url} answered ${response?.status()}`);
  }
  return { page, requests, errors };
}

async function collect(browser, a, { page, requests, errors }, finished) {
  const list = [...requests.values()];
  await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
  await addVisible(page, list);
  for (const r of list) delete r.sent;
  const seen = await page.evaluate(() => window.__probe.snapshot());
  const account = a.player === "page" ? await page.evaluate(() => window.weir?.()) : undefined;
  const answered = list.filter((r) => r.kind === "segment" && r.status > 0 && !r.failed);
  const result = {
    ok: false, failures: [], browser: browser.version(), player: a.player, engine: account?.engine ?? a.player, ...seen,
    playedSeconds: Math.round(seen.playedSeconds * 100) / 100, seconds: a.seconds,
    protocols: count(answered, (r) => r.protocol), nodes: count(answered, (r) => outcome(r.cacheStatus).node || "?"),
    outcomes: count(answered, (r) => outcome(r.cacheStatus).kind), requests: list, errors: [...seen.errors, ...errors], page: account,
  };
  result.failures = judge(a, result, finished);
  result.ok = result.failures.length === 0;
  return result;
}

/** A browser as the arguments want it. headless: false, because Playwright's own switch is not the new headless mode. */
export const launch = (a) => chromium.launch({ executablePath: findChromium(a.chromium), headless: false, args: flags(a), handleSIGTERM: true });

/**
 * Runs once, in a browser of its own or in one that is given. say is called with every progress line.
 * @returns the result object described in play.mjs
 */
export async function run(a, say, given = null) {
  const harness = a.player === "page" ? null : await serveHarness();
  const browser = given ?? (await launch(a));
  let opened;
  try {
    opened = await open(browser, a, harness);
    const finished = await watch(opened.page, a, say);
    if (a.screenshot) await opened.page.screenshot({ path: a.screenshot });
    return await collect(browser, a, opened, finished);
  } finally {
    if (given) await opened?.page.context().close();
    else await browser.close();
    harness?.close();
    harness?.closeAllConnections();
  }
}
