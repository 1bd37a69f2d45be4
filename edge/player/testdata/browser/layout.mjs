// Looks at the page's layouts with what a viewer has: sizes of targets, focus, keys, words.
//
//   node layout.mjs '{"url":"https://127.0.0.1:8443"}'
//
// The last line is a JSON object: {failures: [text], targets: {"car": 76, …}}, the smallest target by layout.

import { chromium } from "playwright-core";
import { findChromium, flags } from "./run.mjs";

const { url } = JSON.parse(process.argv[2]);
const failures = [];
const targets = {};
const check = (ok, text) => ok || failures.push(text);
const browser = await chromium.launch({ executablePath: findChromium(""), headless: false, args: flags({ spki: [], pointer: "touch", quic: "off", quicHosts: [] }) });

async function open(device, width, height) {
  const page = await (await browser.newContext({ ignoreHTTPSErrors: true, viewport: { width, height }, hasTouch: device !== "tv" })).newPage();
  page.on("pageerror", (e) => failures.push(`${device}: ${e.message}`));
  await page.goto(`${url}/?device=${device}`);
  await page.waitForFunction(() => document.querySelector("video").currentTime > 0.5, null, { timeout: 45000 });
  return page;
}

/** The shorter side of the smallest control that can be seen, and whether anything has to be scrolled to. */
const measure = (page) => page.evaluate(() => {
  const all = [...document.querySelectorAll("button, input, a")].filter((e) => e.checkVisibility({ visibilityProperty: true, opacityProperty: true }));
  const boxes = all.map((e) => ({ name: e.id || e.className || e.textContent.trim(), box: e.getBoundingClientRect() }));
  const least = boxes.reduce((a, b) => (Math.min(a.box.width, a.box.height) < Math.min(b.box.width, b.box.height) ? a : b));
  const outside = boxes.filter(({ box }) => box.right > innerWidth + 1 || box.bottom > innerHeight + 1 || box.left < -1 || box.top < -1).map((b) => b.name);
  return { least: Math.min(least.box.width, least.box.height), name: least.name, outside, scrolls: document.documentElement.scrollHeight > innerHeight + 1 };
});

const focused = (page) => page.evaluate(() => document.activeElement?.id || document.activeElement?.className || "");

async function car(width, height) {
  const page = await open("car", width, height);
  const look = async (when) => {
    const { least, name, outside, scrolls } = await measure(page);
    targets.car = Math.min(targets.car ?? Infinity, least);
    check(least >= 76, `car ${width}x${height}, ${when}: ${name} measures ${least} px, want 76`);
    check(!outside.length && !scrolls, `car ${width}x${height}, ${when}: to be scrolled to: ${outside}`);
  };
  await look("parked");
  await page.getByRole("button", { name: "Parked" }).click();
  await page.getByText("Sound only").waitFor();
  check(await page.getByRole("button", { name: "Driving" }).getAttribute("aria-pressed") === "true", "car: the button does not say that it drives");
  await look("driving");
  await page.evaluate(() => dispatchEvent(new CustomEvent("driving", { detail: false })));
  await page.getByText("Sound only").waitFor({ state: "hidden" });
  await page.context().setOffline(true);
  await page.getByText(/^Offline/).waitFor();
  await page.context().setOffline(false);
  await page.getByText(/^Offline/).waitFor({ state: "hidden", timeout: 45000 });
  const before = await page.evaluate(() => document.querySelector("video").currentTime);
  await page.getByRole("button", { name: "15 seconds ahead" }).click();
  check(await page.evaluate(() => document.querySelector("video").currentTime) > before + 5, "car: 15 seconds ahead is no step");
  await page.context().close();
}

async function television() {
  const page = await open("tv", 1920, 1080);
  const press = (...keys) => keys.reduce((done, key) => done.then(() => page.keyboard.press(key)), Promise.resolve());
  check(await focused(page) === "play", `tv: the focus begins on ${await focused(page)}`);
  const { least, name } = await measure(page);
  targets.tv = least;
  check(least >= 32, `tv: ${name} measures ${least} px`);
  const seen = [];
  for (let i = 0; i < 6; i++) {
    seen.push(await focused(page));
    await press("ArrowRight");
  }
  check(seen.includes("mute") && seen.includes("quality") && seen.includes("about"), `tv: to the right lie ${seen}`);
  const ring = await page.evaluate(() => {
    const style = getComputedStyle(document.activeElement);
    return document.activeElement.matches(":focus-visible") && parseFloat(style.outlineWidth) >= 3;
  });
  check(ring, "tv: the focus is not seen");
  await press("ArrowUp");
  check(await focused(page) === "seek", `tv: above the buttons lies ${await focused(page)}`);
  await page.evaluate(() => document.getElementById("about").focus({ focusVisible: true }));
  await press("Enter");
  await page.waitForFunction(() => document.activeElement?.closest("#nodes"), null, { timeout: 5000 }).catch(() => failures.push("tv: the sheet takes no focus"));
  check(await page.getByRole("button", { name: "How it is delivered", includeHidden: true }).getAttribute("aria-expanded") === "true", "tv: the sheet does not open");
  await press("Escape");
  check(await page.evaluate(() => !document.documentElement.classList.contains("sheet")), "tv: Escape does not close the sheet");
  await press("Escape");
  check(await page.evaluate(() => document.getElementById("stage").classList.contains("idle")), "tv: Escape does not hide the controls");
  await press("ArrowDown");
  check(await focused(page) === "play" && !(await page.evaluate(() => document.getElementById("stage").classList.contains("idle"))), "tv: a key does not bring the controls back");
  await page.context().close();
}

async function phone() {
  const page = await open("phone", 390, 844);
  await page.touchscreen.tap(200, 150);
  const small = await page.evaluate(() => [...document.querySelectorAll(".bar button")].filter((e) => e.checkVisibility()).map((e) => [e.id, e.getBoundingClientRect().height]).filter(([, h]) => h < 44));
  check(!small.length, `phone: too small for a thumb: ${small}`);
  const { width } = await page.evaluate(() => ({ width: document.documentElement.scrollWidth }));
  check(width <= 390, `phone: the page is ${width} px wide on 390`);
  await page.context().close();
}

try {
  await car(1280, 720);
  await car(1024, 600);
  await television();
  await phone();
} catch (error) {
  failures.push(error.message);
} finally {
  await browser.close();
}
process.stdout.write(`${JSON.stringify({ failures, targets })}\n`, () => process.exit(failures.length ? 1 : 0));
