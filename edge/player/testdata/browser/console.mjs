// The operators' console in a real Chromium: what it shows of viewers, on a desk and on a phone, in the dark and in the light.
//
//   node console.mjs '{"url":"http://127.0.0.1:7070/#token=…","shots":"/tmp/shots"}'
//
// shots   a folder for pictures of each; "": none
//
// The last line is a JSON object: {failures: [text], now, playing, bar, hints: [text], offline: [row]}, as they are read.

import { join } from "node:path";
import { chromium } from "playwright-core";
import { findChromium, flags } from "./run.mjs";

const STEP_MS = 60000; // of a loaded machine
const a = { shots: "", ...JSON.parse(process.argv[2]) };
const failures = [];
const check = (ok, text) => ok || failures.push(text);
const result = { now: "", playing: "", bar: "", hints: [], offline: [] };
const browser = await chromium.launch({ executablePath: findChromium(""), headless: false, args: flags({ spki: [], pointer: "mouse", quic: "off", quicHosts: [] }) });

/** What is wider than the page, and texts that are cut off where nobody may scroll. */
const wide = () => {
  const found = document.documentElement.scrollWidth > innerWidth ? [`the page is ${document.documentElement.scrollWidth} px wide, of ${innerWidth}`] : [];
  for (const text of document.querySelectorAll(".viewers h2, .viewers .hint, .viewers .hint-line, .viewers [role=tab], .viewers dt, .viewers dd")) {
    if (text.scrollWidth > text.clientWidth + 1 && getComputedStyle(text).display !== "inline") found.push(`“${text.textContent}” is cut off`);
  }
  return found;
};

try {
  for (const [name, width, height] of [["desk", 1280, 800], ["phone", 390, 844]]) {
    const page = await browser.newPage({ viewport: { width, height }, colorScheme: "dark" });
    page.setDefaultTimeout(STEP_MS);
    page.on("pageerror", (e) => failures.push(`page: ${e.message}`));
    page.on("console", (m) => m.type() === "error" && failures.push(`console: ${m.text()}`));
    await page.goto(a.url);
    await page.locator("#playing li").first().waitFor();
    for (const scheme of ["dark", "light"]) {
      await page.emulateMedia({ colorScheme: scheme, reducedMotion: "reduce" });
      for (const text of await page.evaluate(wide)) check(false, `${name}, ${scheme}: ${text}`);
      if (a.shots) await page.screenshot({ path: join(a.shots, `${name}-${scheme}.png`), fullPage: true });
    }
    const texts = (selector) => page.locator(selector).allTextContents();
    result.now = (await texts("#playing-now")).join();
    result.playing = (await texts("#playing-legend li")).join("");
    result.bar = (await texts("#playing li")).join();
    result.hints = await texts("#viewers-hints p");
    for (const tab of await page.getByRole("tab").all()) {
      await tab.click();
      check((await tab.getAttribute("aria-selected")) === "true", "a tab is not selected by a click");
      check(/[a-z]{3}.*\.$/.test(await page.locator("#viewers-about").textContent()), "a tab says nothing of what it shows");
    }
    result.offline = await page.locator("#viewers tr").evaluateAll((rows) => rows.map((row) => [...row.cells].map((cell) => cell.textContent).join("|")));
    if (a.shots) await page.locator(".viewers >> nth=1").screenshot({ path: join(a.shots, `${name}-offline.png`) });
    await page.close();
  }
} catch (error) {
  failures.push(error.message);
} finally {
  await browser.close();
}
process.stdout.write(`${JSON.stringify({ failures, ...result })}\n`, () => process.exit(failures.length ? 1 : 0));
