// Everything on the board that is text, a bar or a table.

import * as format from "./format.js";
import { hitRatio, offload, outcomes } from "./history.js";

const byID = (id) => document.getElementById(id);

// element makes a node without markup: what the server says is text, never HTML.
export function element(name, className, ...children) {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

function put(id, value) {
  const target = byID(id);
  if (target.textContent !== value) target.textContent = value;
}

function bar(id, share) {
  byID(id).style.transform = `scaleX(${Math.max(0, Math.min(1, share || 0))})`;
}

// legend fills a list with a swatch, a label and a value for each series, and returns a func that updates the values.
export function legend(id, series, value) {
  const cells = series.map((one) => {
    const swatch = element("i", "swatch");
    swatch.dataset.color = one.color;
    const cell = element("span", "num", "–");
    byID(id).append(element("li", "", swatch, one.label, cell));
    return cell;
  });
  return (sample) => series.forEach((one, i) => { cells[i].textContent = value(sample, one.key); });
}

export function header(status, now) {
  put("name", status.name || "weir");
  put("zone", status.zone || "–");
  put("region", status.region || "–");
  put("version", status.version || "–");
  put("uptime", format.span(status.uptime_seconds));
  put("clock", format.clock(now));
  put("state", status.state || (status.ready ? "ready" : "not ready"));
  byID("state").dataset.tone = status.ready ? "good" : "warn";
}

// unknown says that the state is not known any more.
export function unknown() {
  put("state", "unknown");
  byID("state").dataset.tone = "idle";
}

// problems shows what is wrong on top, or one quiet line.
export function problems(status) {
  const list = [...status.problems];
  if (status.origin.url && !status.origin.ok && list.length === 0) {
    list.push({
      what: "The origin does not answer.",
      why: `${status.origin.url}: ${status.origin.last_error || "no answer"}`,
      fix: "See whether the origin runs and can be reached from this node. Stored responses are served meanwhile.",
    });
  }
  const health = byID("health");
  const text = JSON.stringify([list, status.origin.url]);
  if (health.dataset.shown === text) return;
  health.dataset.shown = text;
  health.classList.toggle("bad", list.length > 0);
  health.replaceChildren(...(list.length === 0 ? [allGood(status)] : list.map(problem)));
}

function allGood(status) {
  const line = element("p", "good", element("span", "tick"), element("strong", "", "All good"));
  if (status.origin.url) line.append(element("span", "hint", `Origin ${status.origin.url} answers`));
  return line;
}

function problem({ what, why, fix }) {
  const card = element("article", "problem", element("h2", "", what));
  if (why) card.append(element("p", "why", why));
  if (fix) card.append(element("p", "fix", element("b", "", "What to do"), " ", fix));
  return card;
}

export function flows(history) {
  const minute = history.sum(60);
  const recent = history.sum(3);
  const share = offload(minute);
  put("offload", format.percent(share));
  put("offload-text", Number.isFinite(share)
    ? "of bytes served without the origin, last minute"
    : "no bytes were served in the last minute");
  const out = recent.out / recent.seconds;
  for (const name of ["out", "peer", "origin"]) {
    const value = recent[name] / recent.seconds;
    put("flow-" + name, format.bytesPerSecond(value));
    bar(`flow-${name}-bar`, name === "out" ? (value > 0 ? 1 : 0) : value / Math.max(out, 1));
  }
}

export function requests(history) {
  const recent = history.sum(3);
  let total = 0;
  for (const name of outcomes) total += recent[name] ?? 0;
  put("rate", format.rate(total / recent.seconds));
  put("hit", format.percent(hitRatio(history.sum(60))));
  const errors = history.sum(300).error ?? 0;
  put("errors", format.count(errors));
  byID("errors").classList.toggle("alarm", errors > 0);
  put("evictions", format.rate((history.sum(10).evictions ?? 0) / (history.sum(10).seconds || 1)));
}

export function cache(status) {
  tier("memory", status.cache.memory_bytes, status.cache.memory_limit);
  tier("disk", status.cache.disk_bytes, status.cache.disk_limit);
  put("objects", format.count(status.cache.objects));
  put("hot", format.count(status.cache.hot_objects));
  put("fills", format.count(status.fills));
  put("connections", format.count(status.connections));
}

// cluster shows what the node knows of the whole: its ring, the log of purges, the budgets.
export function cluster(status) {
  const { ring, purge_log: log, budgets } = status;
  put("ring-version", ring.version || "–");
  tell("ring-version", ring.differ.length > 0, ring.differ.length > 0
    ? `${ring.differ.join(", ")} use another one`
    : `${ring.nodes} nodes; nobody is known to use another one`);
  put("purge-log", log ? (log.lag > 0 ? `${format.count(log.lag)} missing` : log.state) : "–");
  tell("purge-log", log?.state === "catching up", log
    ? `${log.received} of other nodes obeyed, ${log.posted} told to others, ${log.unacknowledged} not acknowledged in time`
    : "this node stands alone");
  const spent = Object.entries({ "origin retries": budgets.origin_retries, retries: budgets.peer_retries, hedges: budgets.hedges })
    .filter(([, budget]) => budget);
  const out = spent.filter(([, budget]) => budget.used_up).map(([name]) => name);
  put("budgets", out.length > 0 ? "used up" : "in budget");
  tell("budgets", out.length > 0, spent.map(([name, budget]) => `${name}: ${budget.sent} sent, ${budget.refused} refused`).join("; "));
}

function tell(id, alarm, title) {
  byID(id).classList.toggle("alarm", alarm);
  byID(id).title = title;
}

function tier(name, bytes, limit) {
  const share = limit > 0 ? bytes / limit : 0;
  put(name + "-text", limit > 0
    ? `${format.size(bytes)} of ${format.size(limit)} · ${(share * 100).toFixed(0)}\u2009%`
    : "off");
  bar(name + "-bar", share);
  byID(name + "-meter").setAttribute("aria-valuenow", (share * 100).toFixed(0));
}

export function protocols(history) {
  const minute = history.sum(60);
  const names = ["h3", "h2", "h1"];
  const total = names.reduce((sum, name) => sum + (minute[name] ?? 0), 0);
  const parts = byID("split").children;
  names.forEach((name, i) => {
    const share = total > 0 ? minute[name] / total : NaN;
    put(name, format.share(share));
    parts[i].style.flexGrow = String((share || 0) * 1000);
  });
}

export function members(list, now) {
  const rows = [...list].sort((a, b) => a.name.localeCompare(b.name, [], { numeric: true }));
  put("members-count", rows.length > 0 ? String(rows.length) : "");
  byID("members").replaceChildren(...(rows.length > 0 ? rows.map((one) => member(one, now)) : [alone()]));
}

function alone() {
  const cell = element("td", "hint", "This node stands alone: it has no cluster.");
  cell.colSpan = 10;
  return element("tr", "", cell);
}

function member(one, now) {
  const name = element("th", "", one.name);
  name.scope = "row";
  if (one.self) name.append(element("span", "self", "this node"));
  const silent = one.answers === "no" && one.state === "alive";
  const state = element("span", "state", silent ? "no answer" : one.state);
  state.dataset.tone = silent ? "bad" : { alive: "good", suspect: "warn", draining: "warn", dead: "bad" }[one.state] ?? "idle";
  state.title = one.error;
  const breaker = element("td", "", one.breaker.state || "–");
  if (one.breaker.until) breaker.textContent += ` ${format.span(Math.max(0, Date.parse(one.breaker.until) - now) / 1000)}`;
  if (one.breaker.opened > 0) breaker.append(element("span", "hint", ` · ${format.count(one.breaker.opened)}×`));
  breaker.title = one.breaker.opened > 0 ? `opened ${one.breaker.opened} times` : "";
  const since = Date.parse(one.since);
  const age = since > 0 ? format.span((now - since) / 1000) : "–";
  return element("tr", "",
    name,
    element("td", "", state),
    element("td", "", [one.region, one.zone].filter(Boolean).join(" / ") || "–"),
    element("td", "mono", one.address || "–"),
    element("td", "mono", one.build || "–"),
    element("td", "num right", String(one.weight || 1)),
    element("td", "num right", one.p95_seconds > 0 ? format.milliseconds(one.p95_seconds) : "–"),
    element("td", "num right", one.self ? "–" : format.count(one.running)),
    breaker,
    element("td", "num right", age),
  );
}

// route shows where the ring places a URL.
export function route(answer) {
  const owners = element("ol", "owners", ...answer.owners.map((name, i) => {
    const chip = element("li", "", name);
    chip.dataset.rank = String(i + 1);
    if (answer.left_out.includes(name)) {
      chip.dataset.out = "yes";
      chip.title = "does not answer this node";
    }
    return chip;
  }));
  byID("ring-answer").replaceChildren(
    owners,
    element("p", "", answer.why),
    element("p", "mono key", answer.key),
  );
}

export function routeError(message) {
  byID("ring-answer").replaceChildren(element("p", "signin-error", message));
}
