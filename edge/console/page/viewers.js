// Who watches what, by play sessions; and how viewers fare, by what their players report.

import * as format from "./format.js";
import { element } from "./panels.js";

const byID = (id) => document.getElementById(id);
const words = { title: "Title", edge: "Edge", rendition: "Rendition", network: "Network", device: "Device", offline: "Title" };
const about = {
  title: "All that was watched, by title. A stall is a wait in the midst of playback; 1\u2009% of the time is much.",
  edge: "What each edge served. One that is far worse than the others is named above.",
  rendition: "By bitrate: what was watched of it, and how. A session counts at each that it used.",
  network: "By provider, as far as it is known, or by part of the address. One that is far worse is named above.",
  device: "By the class that the player names.",
  offline: "Downloads that were watched without a network, told when there was one again. They are in no other figure of this page.",
};
const maxRows = 50;
const maxBars = 12;
const classes = ["tv", "web", "phone", "car"];

let by = "title";
let last = null;

/** start makes the tabs work. */
export function start() {
  const tabs = [...document.querySelectorAll(".viewers [role=tab]")];
  for (const tab of tabs) {
    tab.addEventListener("click", () => {
      by = tab.dataset.by;
      for (const other of tabs) other.setAttribute("aria-selected", String(other === tab));
      if (last) draw(last);
    });
  }
}

/** draw shows an answer of /v1/viewers. */
export function draw(answer) {
  last = answer;
  const { all } = answer;
  playing(answer.playing);
  byID("viewers-now").textContent = answer.now > 0 ? `${format.count(answer.now)} report now` : "";
  byID("viewers-about").textContent = about[by];
  byID("viewers-sessions").textContent = format.count(all.sessions);
  byID("viewers-watched").textContent = all.watched_seconds > 0 ? format.span(all.watched_seconds) : "–";
  byID("viewers-start").textContent = startUp(all, all.start_up_p50_seconds);
  byID("viewers-start95").textContent = startUp(all, all.start_up_p95_seconds);
  byID("viewers-stalls").textContent = all.watched_seconds > 0 ? share(all.stall_ratio) : "–";
  byID("viewers-stalls").classList.toggle("alarm", all.stall_ratio > 0.01);
  byID("viewers-bitrate").textContent = bitrate(all.bitrate_kbps);
  byID("viewers-errors").textContent = all.sessions > 0 ? share(all.error_ratio) : "–";
  byID("viewers-errors").classList.toggle("alarm", all.error_ratio > 0.01);

  const hints = answer.hints.map((text) => element("p", "hint-line", text));
  if (answer.missing.length > 0) hints.push(element("p", "hint", `Without what ${answer.missing.join(", ")} knows: no answer.`));
  byID("viewers-hints").replaceChildren(...hints);

  byID("viewers-by").textContent = words[by];
  const rows = answer.rows.filter((row) => row.by === by);
  byID("viewers").replaceChildren(...(rows.length > 0 ? rows.slice(0, maxRows).map(line) : [nobody(answer)]));
}

// playing shows what has how many sessions, the most watched first: a bar each, in the colours of the devices.
function playing({ sessions, titles }) {
  byID("playing-now").textContent = sessions > 0 ? plural(sessions, "session") : "";
  const known = classes.filter((name) => titles.some((title) => title.devices[name] > 0));
  const others = titles.some((title) => rest(title) > 0);
  const legend = [...known, ...(others ? ["other"] : [])].map((name) => {
    const count = titles.reduce((sum, title) => sum + (name === "other" ? rest(title) : title.devices[name] ?? 0), 0);
    return element("li", "", swatch(name), name, element("span", "num", format.count(count)));
  });
  byID("playing-legend").replaceChildren(...legend);
  const more = titles.slice(maxBars).reduce((sum, title) => sum + title.sessions, 0);
  byID("playing-hint").textContent = sessions > 0
    ? `Play sessions that are open in the region, each counted once, whether its player reports or not.${more > 0 ? ` ${plural(more, "session")} more, of ${plural(titles.length - maxBars, "title")} with fewer.` : ""}`
    : "No play session is open in the region. Players open one by POST /sdk/v1/sessions; those that only load a manifest have none.";
  const most = titles[0]?.sessions ?? 1;
  byID("playing").replaceChildren(...titles.slice(0, maxBars).map((title) => {
    const parts = [...classes, "other"].flatMap((name) => {
      const count = name === "other" ? rest(title) : title.devices[name] ?? 0;
      if (!count) return [];
      const part = element("b", "");
      part.dataset.device = name;
      part.style.flexGrow = count;
      return [part];
    });
    const bar = element("span", "bar-line", ...parts);
    bar.style.width = `${(100 * title.sessions) / most}%`;
    bar.ariaHidden = "true";
    const row = element("li", "", element("span", "bar-name", title.name), element("span", "num", format.count(title.sessions)), element("span", "bar-track", bar));
    row.title = Object.entries(title.devices).map(([name, count]) => `${name || "unknown"}: ${format.count(count)}`).join(", ");
    return row;
  }));
}

const rest = (title) => title.sessions - classes.reduce((sum, name) => sum + (title.devices[name] ?? 0), 0);
const plural = (count, word) => `${format.count(count)} ${word}${count === 1 ? "" : "s"}`;

function swatch(name) {
  const made = element("i", "swatch");
  made.dataset.device = name;
  return made;
}

function line(row) {
  const name = element("th", "", by === "rendition" && Number(row.name) > 0 ? bitrate(Number(row.name)) : row.name);
  name.scope = "row";
  const stalls = element("td", "num right", row.watched_seconds > 0 ? share(row.stall_ratio) : "–");
  stalls.classList.toggle("alarm", row.stall_ratio > 0.01);
  const errors = element("td", "num right", row.sessions > 0 ? share(row.error_ratio) : "–");
  errors.classList.toggle("alarm", row.error_ratio > 0.01);
  return element("tr", "",
    name,
    element("td", "num right", row.now > 0 ? format.count(row.now) : "–"),
    element("td", "num right", format.count(row.sessions)),
    element("td", "num right", row.watched_seconds > 0 ? format.span(row.watched_seconds) : "–"),
    element("td", "num right", startUp(row, row.start_up_p50_seconds)),
    stalls,
    element("td", "num right", bitrate(row.bitrate_kbps)),
    element("td", "num right", format.count(row.switches)),
    errors,
  );
}

function nobody(answer) {
  const text = answer.now + answer.all.sessions > 0
    ? "Nothing is known by this."
    : "No player has reported yet. Players that send CMCD are followed, without their names and addresses, for a day.";
  const cell = element("td", "hint", text);
  cell.colSpan = 9;
  return element("tr", "", cell);
}

const share = (ratio) => `${(100 * ratio).toFixed(ratio > 0 && ratio < 0.0995 ? 2 : 1)}\u2009%`;
const startUp = (row, seconds) => (row.started > 0 ? format.milliseconds(seconds) : "–");

function bitrate(kbps) {
  if (!(kbps > 0)) return "–";
  return kbps < 1000 ? `${Math.round(kbps)} kbit/s` : `${(kbps / 1000).toFixed(1)} Mbit/s`;
}
