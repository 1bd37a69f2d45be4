// The console: signs in, polls, and draws.

import { Refused, Rejected, ask, poll } from "./api.js";
import { Chart, repaint } from "./chart.js";
import * as format from "./format.js";
import { History } from "./history.js";
import * as panels from "./panels.js";
import * as purge from "./purge.js";
import * as session from "./session.js";
import * as viewers from "./viewers.js";

const byID = (id) => document.getElementById(id);
const frameMilliseconds = 100; // a curve moves three pixels a second, eight on a wall: ten frames are smooth
const membersMilliseconds = 3000;
const viewersMilliseconds = 5000;

const history = new History();
const still = matchMedia("(prefers-reduced-motion: reduce)");
const perSecond = (sample, key) => sample[key] / sample.seconds;

const series = {
  traffic: [
    { key: "out", label: "to viewers", color: "out" },
    { key: "origin", label: "from the origin", color: "origin", down: true },
    { key: "peer", label: "from peers", color: "peer", down: true },
  ],
  requests: ["hit", "collapsed", "stale", "miss", "pass", "local", "refused", "error"]
    .map((key) => ({ key, label: key, color: key })),
  ratio: [{ key: "ratio", label: "hit ratio", color: "hit", fill: true }],
  latency: [
    { key: "p50", label: "p50", color: "out" },
    { key: "p95", label: "p95", color: "peer" },
    { key: "p99", label: "p99", color: "origin" },
  ],
};

const charts = {
  traffic: new Chart(byID("traffic"), { mode: "mirror", series: series.traffic, value: perSecond, format: format.bytesPerSecond, tick: format.tick(format.bytesPerSecond), floor: 1000 }),
  requests: new Chart(byID("requests"), { mode: "stack", series: series.requests, value: perSecond, format: format.rate, tick: format.tick(format.rate), floor: 1 }),
  ratio: new Chart(byID("ratio"), { mode: "lines", series: series.ratio, value: (s, key) => s[key] * 100, format: (v) => format.percent(v / 100) + "\u2009%", tick: (v) => v + "\u2009%", scale: "share" }),
  latency: new Chart(byID("latency"), { mode: "lines", series: series.latency, value: (s, key) => s[key], format: format.milliseconds, tick: format.short, scale: "log" }),
};

const legends = [
  panels.legend("traffic-legend", series.traffic, (s, key) => format.bytesPerSecond(perSecond(s, key))),
  panels.legend("requests-legend", series.requests, (s, key) => format.rate(perSecond(s, key))),
  panels.legend("latency-legend", series.latency, (s, key) => format.milliseconds(s[key])),
];

let token = session.take();
let running = null; // ends the polling
let lastAnswer = 0;
let lastMembers = 0;
let lastViewers = 0;

function show(view) { document.body.dataset.view = view; }

function start() {
  running?.abort();
  running = new AbortController();
  show("board");
  poll("/v1/status", () => token, running.signal, { answer, failure, refused });
}

function answer(status) {
  const now = Date.now();
  if (lastAnswer === 0) history.restore(status.name, now);
  lastAnswer = now;
  byID("lost").hidden = true;
  document.body.classList.remove("stale");
  history.push(status, now);
  document.title = `${status.problems.length > 0 ? "⚠ " : ""}${status.name || "weir"} · Weir console`;
  panels.header(status, now);
  panels.problems(status);
  panels.cache(status);
  panels.cluster(status);
  if (history.last && !history.last.gap) {
    panels.flows(history);
    panels.requests(history);
    panels.protocols(history);
    for (const update of legends) update(history.last);
  }
  if (now - lastMembers >= membersMilliseconds) readMembers(now);
  if (now - lastViewers >= viewersMilliseconds) readViewers(now);
  draw();
}

async function readMembers(now) {
  lastMembers = now;
  try {
    panels.members((await ask("/v1/members", token)).members, now);
  } catch { /* the poll of the status tells what is wrong */ }
}

async function readViewers(now) {
  lastViewers = now;
  try {
    viewers.draw(await ask("/v1/viewers", token));
  } catch { /* as above */ }
}

function failure(error, seconds) {
  if (lastAnswer > 0) history.gap(lastAnswer + 1);
  const why = error instanceof Rejected ? `The node answers: ${error.message}` : "The node does not answer.";
  const since = lastAnswer > 0 ? `These numbers are from ${format.clock(lastAnswer)}.` : "";
  byID("lost-text").textContent = `${why} Retrying in ${seconds} s. ${since}`;
  byID("lost").hidden = false;
  document.body.classList.add("stale");
  document.title = "⚠ Connection lost · Weir console";
  panels.unknown();
}

function refused(message) {
  session.forget();
  byID("signin-error").textContent = token ? "This is not the node's token." : "";
  byID("signin-hint").textContent = message.replace(/^.*?(The token lies)/, "$1");
  token = "";
  byID("lost").hidden = true;
  show("signin");
  byID("token").focus();
}

function draw() {
  const now = Date.now();
  for (const chart of Object.values(charts)) chart.draw(history.samples, now);
}

let drawn = 0;
function frame(now) {
  if (!still.matches && now - drawn >= frameMilliseconds && document.body.dataset.view === "board") {
    drawn = now;
    draw();
  }
  requestAnimationFrame(frame);
}

viewers.start();

byID("signin-form").addEventListener("submit", (event) => {
  event.preventDefault();
  token = byID("token").value.trim();
  session.keep(token);
  byID("token").value = "";
  byID("signin-error").textContent = "";
  start();
});

byID("signout").addEventListener("click", () => {
  running?.abort();
  session.forget();
  history.clear();
  token = "";
  lastAnswer = 0;
  show("signin");
  byID("token").focus();
});

byID("ring-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    panels.route(await ask("/v1/ring?url=" + encodeURIComponent(byID("ring-url").value), token));
  } catch (error) {
    if (error instanceof Refused) return refused(error.message);
    panels.routeError(error instanceof Rejected ? error.message : "The node does not answer.");
  }
});

purge.listen(() => token, (message) => { running?.abort(); refused(message); });

matchMedia("(prefers-color-scheme: light)").addEventListener("change", () => { repaint(); draw(); });
addEventListener("pagehide", () => history.save());
addEventListener("hashchange", () => { token = session.take() || token; start(); });
requestAnimationFrame(frame);

start(); // without a token the node refuses, and its answer says where the token lies
