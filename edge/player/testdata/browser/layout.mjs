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
  const page = await (await browser.newContext({ ignoreHTTPSErrors: true, viewport: { width, height }, hasTouch: device !== "tv", colorScheme: "dark" })).newPage();
  page.on("pageerror", (e) => failures.push(`${device}: ${e.message}`));
  // Downloads as they are after a while; the server takes no more.
  await page.route("**/sdk/v1/config?*", (route) => route.fulfill({ json: { nodes: [], features: ["downloads"] } }));
  await page.route("**/sdk/v1/downloads", (route) => route.fulfill({ status: 409, contentType: "application/problem+json", body: '{"type":"/sdk/v1/problems/download","status":409}' }));
  await page.addInitScript(async () => {
    for (const [id, state] of [["a", "kept"], ["b", "paused"]]) {
      const record = {
        id, state, asset: id, title: `Title ${id} with a name that does not fit into one line of any device there is`, servers: [location.origin], rendition: { height: 720 }, playlists: [],
        bytes: 5e8, licenses: {}, expires: "2999-01-01T00:00:00Z", added: id === "a" ? 2 : 1,
      };
      const cache = await caches.open(`weir-kept-${id}`);
      if (!(await cache.match(`/player/kept/${id}/record.json`))) await cache.put(`/player/kept/${id}/record.json`, new Response(JSON.stringify(record)));
    }
  });
  await page.goto(`${url}/?device=${device}`);
  await page.waitForFunction(() => document.querySelector("video").currentTime > 0.5, null, { timeout: 45000 });
  await page.locator("#keep").waitFor({ timeout: 45000 });
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

/** Controls that lie over one another, text that is cut off without an ellipsis, and the least contrast of text with the ground. */
const overlaps = (page) => page.evaluate(() => {
  const top = document.querySelector("dialog[open]") ?? document;
  const all = [...top.querySelectorAll("button, input, .clock, li p")].filter((e) => e.checkVisibility({ visibilityProperty: true, opacityProperty: true }) && !e.closest(".strip"));
  const found = [];
  for (const [i, one] of all.entries()) {
    const a = one.getBoundingClientRect();
    if (one.scrollWidth > one.clientWidth + 1 && getComputedStyle(one).overflowX === "visible" && one.tagName === "BUTTON") found.push(`${one.id} is too narrow`);
    for (const other of all.slice(i + 1)) {
      const b = other.getBoundingClientRect();
      if (one.contains(other) || other.contains(one)) continue;
      if (Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1 && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 1) found.push(`${one.id || one.className || one.textContent} over ${other.id || other.className || other.textContent}`);
    }
  }
  return found;
});

/** The least contrast (WCAG 2) of the page's inks with its grounds. */
const contrast = (page) => page.evaluate(() => {
  const light = (text) => {
    const canvas = new OffscreenCanvas(1, 1).getContext("2d");
    canvas.fillStyle = text;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].map((v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const style = getComputedStyle(document.documentElement);
  const ratios = ["--text", "--soft", "--faint"].flatMap((ink) => ["--ground", "--raised"].map((ground) => {
    const [a, b] = [ink, ground].map((name) => light(style.getPropertyValue(name).trim())).sort((x, y) => y - x);
    return (a + 0.05) / (b + 0.05);
  }));
  return { ratio: Math.min(...ratios), ground: style.getPropertyValue("--ground").trim() };
});

/** The list of downloads, with what lies in it. */
async function downloads(page, device, least) {
  await page.evaluate(() => document.getElementById("keep").focus({ focusVisible: true }));
  await page.keyboard.press("Enter");
  await page.getByRole("dialog", { name: "Downloads" }).waitFor();
  await page.evaluate(() => Promise.all(document.getElementById("kept").getAnimations().map((a) => a.finished))); // it slides in
  const found = await overlaps(page);
  check(!found.length, `${device}: in the list of downloads: ${found}`);
  const box = await page.evaluate((min) => {
    const dialog = document.getElementById("kept").getBoundingClientRect();
    const small = [...document.querySelectorAll("#kept button")].filter((e) => e.checkVisibility()).map((e) => [e.ariaLabel ?? e.id, Math.min(e.getBoundingClientRect().width, e.getBoundingClientRect().height)]).filter(([, n]) => n < min);
    return { small, inside: dialog.left >= -1 && dialog.right <= innerWidth + 1 && dialog.top >= -1 && dialog.bottom <= innerHeight + 1 };
  }, least);
  check(!box.small.length && box.inside, `${device}: in the list of downloads, smaller than ${least}: ${box.small}; inside ${box.inside}`);
  const seen = [];
  for (const key of ["ArrowRight", "ArrowDown", "ArrowLeft", "ArrowDown"]) {
    seen.push(await page.evaluate(() => document.activeElement?.ariaLabel ?? document.activeElement?.textContent.trim()));
    await page.keyboard.press(key);
  }
  seen.push(await page.evaluate(() => document.activeElement?.ariaLabel ?? document.activeElement?.textContent.trim()));
  const want = [/^Play Title a/, /^Remove Title a/, /^Remove Title b/, /^Go on downloading Title b/, /^Download this title/];
  check(want.every((w, i) => w.test(seen[i] ?? "")), `${device}: arrows lead through the downloads by ${seen.map((text) => text?.slice(0, 20))}`);
  await page.keyboard.press("Enter");
  await page.getByText(/^(This cannot|Nothing can) be kept/).waitFor({ timeout: 5000 }).catch(() => failures.push(`${device}: a refused download says nothing`));
  await page.keyboard.press("Escape");
  check(await page.evaluate(() => !document.getElementById("kept").open && document.activeElement?.id === "keep"), `${device}: Escape does not lead back from the downloads`);
}

/** How it looks in the dark and in the light; the last thing that is done with a page. */
async function looks(page, device) {
  for (const scheme of ["dark", "light"]) {
    await page.emulateMedia({ colorScheme: scheme });
    const { ratio, ground } = await contrast(page);
    check(ratio >= 4.5, `${device}, ${scheme}: a contrast of ${ratio.toFixed(2)}`);
    check((ground === "#06080c") === (scheme === "dark" || device === "tv"), `${device}, ${scheme}: the ground is ${ground}`);
    await page.keyboard.press("Tab"); // the bar is there
    const found = await overlaps(page);
    check(!found.length, `${device}, ${scheme}: ${found}`);
  }
  await page.context().close();
}

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
  await downloads(page, "car", 76);
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
  await looks(page, "car");
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
  await downloads(page, "tv", 44);
  await press("Escape", "ArrowDown");
  check(await focused(page) === "play" && !(await page.evaluate(() => document.getElementById("stage").classList.contains("idle"))), "tv: a key does not bring the controls back");
  await looks(page, "tv");
}

async function phone() {
  const page = await open("phone", 390, 844);
  await page.touchscreen.tap(200, 150);
  const small = await page.evaluate(() => [...document.querySelectorAll(".bar button")].filter((e) => e.checkVisibility()).map((e) => [e.id, e.getBoundingClientRect().height]).filter(([, h]) => h < 44));
  check(!small.length, `phone: too small for a thumb: ${small}`);
  await downloads(page, "phone", 44);
  const { width } = await page.evaluate(() => ({ width: document.documentElement.scrollWidth }));
  check(width <= 390, `phone: the page is ${width} px wide on 390`);
  await looks(page, "phone");
}

try {
  await looks(await open("web", 1440, 900), "web");
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
