// Two player pages of one account that may play one stream: "Play here instead", and back.
//
//   node instead.mjs '{"url":"https://127.0.0.1:8443","other":"https://127.0.0.1:8444","engine":"hls.js","ann":"…","bob":"…"}'
//
// url, other   two edges, with a heartbeat every few seconds
// ann, bob     viewers' tokens of two accounts
// engine, spki as in play.mjs
//
// The last line is a JSON object: {failures: [text]}.

import { chromium } from "playwright-core";
import { findChromium, flags } from "./run.mjs";

const STEP_MS = 45000; // of a loaded machine
const a = { engine: "hls.js", spki: [], ...JSON.parse(process.argv[2]) };
const failures = [];
const check = (ok, text) => ok || failures.push(text);
const browser = await chromium.launch({ executablePath: findChromium(""), headless: false, args: flags({ spki: [a.spki].flat(), pointer: "mouse", quic: "off", quicHosts: [] }) });

async function open(edge, viewer) {
  const page = await (await browser.newContext({ viewport: { width: 1280, height: 800 } })).newPage();
  page.setDefaultTimeout(STEP_MS);
  page.on("pageerror", (e) => failures.push(`page: ${e.message}`));
  await page.goto(`${edge}/?engine=${a.engine}#viewer=${viewer}`);
  return page;
}

/** Plays on for a second. Where it was when that began. */
async function plays(page, what) {
  const from = await page.waitForFunction(() => {
    const { currentTime, paused } = document.querySelector("video");
    const step = currentTime - window.last;
    window.last = currentTime;
    if (paused || !(step >= 0 && step < 1) || !document.querySelector("#problem").hidden) window.since = currentTime; // a jump is no playback
    return currentTime - window.since > 1 && `${window.since}`;
  }, null, { polling: 100 }).catch(() => null);
  if (!from) throw new Error(`waited in vain until ${what}: ${await told(page)}`);
  return Number(await from.jsonValue());
}

const told = (page) => page.locator("#problem").innerText();
const session = (page) => page.evaluate(() => weir().session.id);

/** What the page says once it says something, and the buttons that it has. */
async function says(page) {
  await page.locator("#problem:not([hidden])").waitFor();
  const buttons = await page.locator("#problem button:visible").allInnerTexts();
  return { text: await told(page), buttons: buttons.join(), paused: await page.evaluate(() => document.querySelector("video").paused) };
}

const lease = (page, id) => page.evaluate((one) => fetch(`/sdk/v1/sessions/${one}/heartbeat`, { method: "POST" }).then((r) => r.status), id);

try {
  const bob = await open(a.url, a.bob);
  await plays(bob, "another account plays");
  const one = await open(a.url, a.ann);
  await plays(one, "the first page plays");
  check(!(await one.evaluate(() => location.href)).includes("viewer"), "the viewer's token stays in the address bar");
  const first = await session(one);

  const two = await open(a.other, a.ann);
  const refused = await says(two);
  check(/^Something else is playing\s+One stream at a time may play, and demo on a browser is playing now/.test(refused.text), `the second page says ${refused.text}`);
  check(refused.buttons.startsWith("Play here instead,Try again"), `the second page offers ${refused.buttons}`);
  await plays(one, "the first page plays while the second one asks");

  await one.evaluate(() => {
    const video = document.querySelector("video");
    video.addEventListener("timeupdate", () => (window.was = video.currentTime || window.was)); // an engine that stops is at 0
  });
  await two.getByRole("button", { name: "Play here instead" }).click();
  await plays(two, "the second page plays instead");
  const ended = await says(one);
  check(/^Playback was ended\s+Another screen took over/.test(ended.text) && ended.paused, `the first page says ${JSON.stringify(ended)}`);
  check(ended.buttons === "Play here", `the first page offers ${ended.buttons}`);
  check((await lease(one, first)) === 410, "the session of the first page lives");

  const at = await one.evaluate(() => window.was);
  await one.getByRole("button", { name: "Play here", exact: true }).click();
  const from = await plays(one, "the first page goes on");
  check(Math.abs(from - at) < 3, `it ended at ${at} and went on at ${from}`);
  check((await session(one)) !== first, "the session that was ended is used again");
  const over = await says(two);
  check(/^Playback was ended/.test(over.text) && over.paused && over.buttons === "Play here", `then the second page says ${JSON.stringify(over)}`);
  await plays(bob, "another account plays on");
} catch (error) {
  failures.push(error.message);
} finally {
  await browser.close();
}
process.stdout.write(`${JSON.stringify({ failures })}\n`, () => process.exit(failures.length ? 1 : 0));
