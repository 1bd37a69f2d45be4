// Starts the page: reads what to play, picks an engine, joins the parts.

import { Controls } from "./controls.js";
import { HLSEngine } from "./engine-hls.js";
import { NativeEngine, nativeHLS } from "./engine-native.js";
import { Journal } from "./journal.js";
import { Kept } from "./kept.js";
import { Layout, deviceOf } from "./layout.js";
import { Nodes } from "./nodes.js";
import { explain } from "./problems.js";
import { $, View, put } from "./view.js";
import { asEngine, credential, view as open, wordsOf } from "./viewing.js";
import { Watch } from "./watch.js";

const CONFIG = "/player/config.json";
const NOTICE_MS = 6000;
const FIGURES_EVERY_MS = 250;
const GLOW_EVERY_MS = 400;
const NODES_EVERY_MS = 30000;
const DRY_SECONDS = 0.3;

const video = $("video");
const journal = new Journal();
const authorization = credential();
let engine = null;
let session = null;
let kept = null; // the list of downloads
let local = null; // what plays of it

async function readConfig(base) {
  const response = await fetch(base + CONFIG, { cache: "no-cache", signal: AbortSignal.timeout(5000) });
  if (!response.ok) throw Object.assign(new Error(CONFIG), { status: response.status });
  return response.json();
}

function loadScript(src) {
  return new Promise((resolve, reject) => {
    const script = Object.assign(document.createElement("script"), { src, onload: resolve, onerror: reject });
    document.head.append(script);
  });
}

/**
 * What to play: `?asset=NAME` another title by its name, `?src=/live/…` another manifest of this edge, without a session;
 * anything but a path of its own is ignored.
 */
function titleOf(config) {
  const query = new URLSearchParams(location.search);
  const asked = query.get("src");
  if (asked && /^\/(?!\/)/.test(asked)) return { asset: "", src: asked };
  const asset = query.get("asset");
  return asset && asset !== config.asset ? { asset, src: "" } : { asset: config.asset, src: config.hls };
}

/** hls.js where it is and works, else the browser; `?engine=browser` asks for the latter. */
async function pickEngine(config, nodes) {
  const wanted = new URLSearchParams(location.search).get("engine");
  if (config.hlsjs && wanted !== "browser") {
    await loadScript(config.hlsjs).catch(() => {});
    if (globalThis.Hls?.isSupported()) return new HLSEngine(video, globalThis.Hls, nodes, journal);
  }
  return nativeHLS(video) ? new NativeEngine(video, nodes, journal) : null;
}

function showProblem(failure, nodes) {
  const { title, text, links, others = [], todo = "retry" } = failure.words ? wordsOf(failure) : explain(failure, nodes);
  put($("problem-title"), title);
  put($("problem-text"), text);
  $("instead").hidden = todo !== "replace";
  put($("instead"), others.length ? "Play here instead" : "Play here");
  $("retry").hidden = todo === "replace" && !others.length || todo === "none";
  $("offline").hidden = !kept?.any;
  $("problem-links").replaceChildren(...links.map((url) => {
    const li = document.createElement("li");
    li.append(Object.assign(document.createElement("a"), { href: `${url}/`, target: "_blank", rel: "noopener", textContent: url }));
    return li;
  }));
  $("big").hidden = true;
  $("problem").hidden = false;
  $("stage").classList.remove("waiting");
  document.querySelector("#problem button:not([hidden])")?.focus({ focusVisible: document.documentElement.dataset.device === "tv" });
}

let noticeTimer = 0;
function notify(text) {
  put($("notice"), text);
  $("notice").classList.add("on");
  clearTimeout(noticeTimer);
  noticeTimer = setTimeout(() => $("notice").classList.remove("on"), NOTICE_MS);
}

/** Keeps the last picture while the browser opens another source. */
function holdPicture() {
  const hold = $("hold");
  if (!video.videoWidth) return;
  [hold.width, hold.height] = [video.videoWidth, video.videoHeight];
  hold.getContext("2d").drawImage(video, 0, 0);
  hold.hidden = false;
  const over = new AbortController();
  const release = () => {
    hold.hidden = true;
    over.abort();
  };
  for (const event of ["playing", "error"]) video.addEventListener(event, release, { signal: over.signal });
}

/** The light of the picture on the wall behind it. */
function glow() {
  const canvas = $("glow");
  const context = canvas.getContext("2d");
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) return;
  setInterval(() => {
    if (document.hidden || document.fullscreenElement || video.readyState < 2) return;
    context.globalAlpha = canvas.classList.contains("on") ? 0.3 : 1; // the wall is slower than the picture
    context.drawImage(video, 0, 0, canvas.width, canvas.height);
    canvas.classList.add("on");
  }, GLOW_EVERY_MS);
}

function showAddresses(config, nodes) {
  put($("url-hls"), nodes.current.url + (titleOf(config).src || config.hls));
  put($("url-dash"), nodes.current.url + config.dash);
}

function watchNodes(nodes, config) {
  nodes.addEventListener("move", ({ detail: { from, to, why } }) => {
    const now = `Now playing from ${nodes.label(to)}`;
    notify({ failed: `${nodes.label(from)} stopped answering. ${now}.`, steered: `${now}, as the service chose.`, chosen: `${now}, as you chose. Choose it again to leave it to the service.` }[why]);
    showAddresses(config, nodes);
  });
  const refresh = () => readConfig(nodes.current.url).then((c) => nodes.update(c.nodes), () => {});
  nodes.addEventListener("move", refresh);
  setInterval(() => document.hidden || refresh(), NODES_EVERY_MS);
  for (const node of nodes.list) if (node !== nodes.current) void nodes.check(node);
}

/** Plays what is kept on the device in place of what plays now. */
async function playLocal(one, { layout, view, controls }, position) {
  await session?.close();
  session = null;
  local?.close();
  $("problem").hidden = true;
  $("stage").classList.add("waiting");
  layout.watch(null);
  layout.local = view.local = true;
  local = await one.play(video, { engine: asEngine(engine), position, autoplay: false });
  local.addEventListener("problem", ({ detail }) => showProblem(detail, view.nodes));
  view.drawJournal();
  layout.draw();
  void controls.autoplay();
}

/** Tells of a failure at once, but leaves the picture alone while there is buffer to play. */
class Trouble {
  #failure = null;

  /** @param {() => boolean} instead  plays something else, if it can */
  constructor(nodes, watch, instead) {
    this.nodes = nodes;
    this.watch = watch;
    this.instead = instead;
  }

  report(failure) {
    if (!this.#failure && this.watch.buffer > DRY_SECONDS) notify("No edge answers. Playing what is buffered.");
    this.#failure = failure;
    this.check();
  }

  check() {
    if (this.watch.buffer > DRY_SECONDS && !video.error) return;
    const away = !navigator.onLine || this.nodes.list.every((n) => n.state === "down");
    if ((away || this.#failure?.kind === "unreachable") && this.instead()) this.#failure = null;
    if (this.#failure && $("problem").hidden) showProblem(this.#failure, this.nodes);
  }

  over() {
    this.#failure = null;
    $("problem").hidden = true;
  }
}

function watchEngine(nodes, controls, trouble) {
  engine.addEventListener("levels", () => controls.quality());
  engine.addEventListener("level", () => controls.quality());
  engine.addEventListener("switching", holdPicture);
  engine.addEventListener("failed", ({ detail }) => trouble.report(detail));
  engine.addEventListener("recovered", () => trouble.over());
}

/** Opens the session and plays; what the viewer has to know is said in the picture's place. */
async function begin(config, nodes, layout, replace, page) {
  $("problem").hidden = true;
  const there = () => kept.whole(titleOf(config).asset);
  if (!navigator.onLine && there()) return playLocal(there(), page);
  try {
    session = await open(video, engine, { nodes, ...titleOf(config), device: layout.device, authorization, replace });
  } catch (error) {
    if (!error.words) throw error;
    if (error.kind === "unreachable" && there()) return playLocal(there(), page);
    return showProblem(error, nodes);
  }
  layout.watch(session);
  for (const name of ["ended", "problem"]) session?.addEventListener(name, ({ detail }) => showProblem(detail, nodes));
  session?.addEventListener("recovered", () => ($("problem").hidden = true));
}

/** The buttons beside what went wrong. */
function watchButtons(config, nodes, controls, layout, trouble, page) {
  $("offline").addEventListener("click", () => kept.show());
  $("retry").addEventListener("click", async () => {
    if (session || !titleOf(config).asset || engine.src) {
      trouble.over();
      return engine.retry();
    }
    await begin(config, nodes, layout, false, page);
    void controls.autoplay();
  });
  $("instead").addEventListener("click", async () => {
    $("problem").hidden = true;
    if (session) return session.replace().catch((error) => showProblem(error, nodes));
    await begin(config, nodes, layout, true, page);
    void controls.autoplay();
  });
}

function state(nodes, watch) {
  const { dropped, total } = watch.frames;
  return {
    engine: engine.name, session: session && { id: session.id, expires: session.expires, server: session.server }, local: local?.download.id ?? "", node: nodes.label(nodes.current), pinned: nodes.pinned, nodes: nodes.list.map((n) => ({ name: n.name, url: n.url, state: n.state })),
    playing: engine.playing, auto: engine.chosen < 0, throughput: engine.throughput, buffer: watch.buffer,
    started: watch.started, played: watch.played, stalls: watch.stalls, stalledMs: Math.round(watch.stalledMs),
    dropped, frames: total, entries: journal.entries,
  };
}

async function start() {
  glow();
  let config;
  try {
    config = await readConfig(location.origin);
  } catch ({ status }) {
    const alone = new Nodes([], location.origin);
    $("retry").addEventListener("click", () => location.reload());
    return showProblem({ kind: status ? "config" : "unreachable", status }, alone);
  }
  const nodes = new Nodes(config.nodes, location.origin);
  put($("title"), config.title);
  document.title = `${config.title} · Weir`;
  showAddresses(config, nodes);
  const view = new View(nodes, journal);
  engine = await pickEngine(config, nodes);
  if (!engine) return showProblem({ kind: "unsupported" }, nodes);
  const watch = new Watch(video);
  const controls = new Controls(video, { engine: () => engine });
  const layout = new Layout(deviceOf(), video, controls);
  watchNodes(nodes, config);
  const page = { layout, view, controls };
  kept = new Kept({ asset: titleOf(config).asset, title: titleOf(config).asset === config.asset ? config.title : titleOf(config).asset, authorization }, layout.device);
  kept.addEventListener("play", ({ detail }) => void playLocal(detail, page));
  const trouble = new Trouble(nodes, watch, () => {
    const one = kept.whole(titleOf(config).asset);
    if (!one || local) return false;
    notify("No network. Now playing the download.");
    void playLocal(one, page, video.currentTime);
    return true;
  });
  watchEngine(nodes, controls, trouble);
  watchButtons(config, nodes, controls, layout, trouble, page);
  // A snapshot for tests and for whoever opens the console; it is not kept up to date.
  globalThis.weir = () => structuredClone(state(nodes, watch));
  const engineText = engine.sees ? `hls.js ${engine.version}` : "the browser’s HLS";
  setInterval(() => {
    if (document.hidden) return;
    view.drawFigures({ ...state(nodes, watch), engine: engineText });
    controls.quality();
    trouble.check();
    layout.draw();
  }, FIGURES_EVERY_MS);
  watch.begin();
  const servers = [nodes.current.url, ...nodes.list.filter((n) => n !== nodes.current).map((n) => n.url)];
  const opened = kept.open(servers);
  if (!navigator.onLine) await opened;
  await begin(config, nodes, layout, false, page);
  void controls.autoplay();
}

void start();
