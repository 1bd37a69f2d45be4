// Draws the delivery panel, the strip of segments and the nodes.

import { Journal, protocolName } from "./journal.js";

export const STRIP = 24;
// Strip heights are logarithmic: 2 ms is the floor, 2 s fills the slot.
const FLOOR_MS = 2;
const FULL_MS = 2000;
const BUFFER_FULL_SECONDS = 10;

export const $ = (id) => document.getElementById(id);

/** Writes only what changed: no needless layout while playing. */
export function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function figure(id, value, unit = "") {
  const element = $(id);
  const text = unit ? `${value} ${unit}` : value;
  if (element.dataset.text === text) return;
  element.dataset.text = text;
  element.textContent = value;
  if (unit) element.append(Object.assign(document.createElement("small"), { textContent: ` ${unit}` }));
}

export function bits(perSecond) {
  if (!perSecond) return ["–", ""];
  if (perSecond >= 1e9) return [(perSecond / 1e9).toFixed(1), "Gb/s"];
  if (perSecond >= 1e6) return [(perSecond / 1e6).toFixed(perSecond < 1e7 ? 1 : 0), "Mb/s"];
  return [String(Math.round(perSecond / 1e3)), "kb/s"];
}

export function bytes(n) {
  if (n >= 1e9) return `${(n / 1e9).toFixed(1)} GB`;
  if (n >= 1e6) return `${(n / 1e6).toFixed(1)} MB`;
  return n >= 1e3 ? `${Math.round(n / 1e3)} kB` : `${n} B`;
}

const WHERE = {
  hit: () => "from its own cache",
  peer: (e) => `through ${e.source || "a peer"}`,
  origin: () => "from the origin",
  browser: () => "from the browser's cache",
  unknown: () => "cache state not visible",
};

const where = (entry) => (entry.asked && entry.outcome === "hit" ? "has it in its cache" : WHERE[entry.outcome](entry));

function describe(entry) {
  const what = entry.segment === undefined ? entry.label : `${entry.label} segment ${entry.segment}`;
  const how = [protocolName(entry.protocol) || "protocol hidden", `${Math.round(entry.ms)} ms`, entry.bytes ? bytes(entry.bytes) : ""];
  const status = entry.status >= 400 ? ` answered ${entry.status}` : ` ${where(entry)}`;
  return { strong: what, rest: ` · ${entry.node || "an edge"}${status} · ${how.filter(Boolean).join(" · ")}` };
}

export class View {
  #bars = [];
  #shown = null;
  #stripped = "";
  local = false; // what plays is kept on the device

  constructor(nodes, journal) {
    this.nodes = nodes;
    this.journal = journal;
    this.#buildStrip();
    nodes.addEventListener("change", () => this.drawNodes());
    journal.addEventListener("change", () => this.#soon());
    this.drawNodes();
    this.drawJournal();
  }

  #buildStrip() {
    const strip = $("strip");
    for (let i = 0; i < STRIP; i++) {
      const bar = Object.assign(document.createElement("button"), { type: "button", disabled: true });
      bar.tabIndex = -1;
      for (const [event, show] of [["pointerenter", true], ["focus", true], ["click", true], ["pointerleave", false], ["blur", false]]) {
        bar.addEventListener(event, () => this.#tell(show ? bar.entry : null));
      }
      this.#bars.push(bar);
      strip.append(bar);
    }
  }

  #soon() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = undefined;
      this.drawJournal();
    });
  }

  drawJournal() {
    const entries = this.journal.segments(STRIP);
    const offset = STRIP - entries.length;
    this.#bars.forEach((bar, i) => this.#drawBar(bar, entries[i - offset]));
    const last = this.#bars.at(-1);
    if (!this.#bars.includes(document.activeElement)) this.#bars.forEach((bar) => (bar.tabIndex = bar === last ? 0 : -1));
    $("legend-browser").hidden = !entries.some((e) => e.outcome === "browser");
    $("legend-unknown").hidden = !entries.some((e) => e.outcome === "unknown");
    this.#drawNow(entries.at(-1));
    if (!this.#shown) this.#summary(entries);
  }

  #drawBar(bar, entry) {
    bar.entry = entry;
    bar.disabled = !entry;
    if (!entry) return;
    bar.className = `${entry.outcome} ${entry.kind}${entry.asked ? " asked" : ""}`;
    const height = Math.log(Math.max(entry.ms, FLOOR_MS) / FLOOR_MS) / Math.log(FULL_MS / FLOOR_MS);
    bar.style.setProperty("--height", (0.16 + 0.84 * Math.min(1, height)).toFixed(3));
    const { strong, rest } = describe(entry);
    bar.ariaLabel = strong + rest;
  }

  #drawNow(entry) {
    const protocol = $("protocol");
    if (this.local) {
      put(protocol, "This device");
      protocol.classList.add("quiet");
      $("answer").className = "answer hit";
      return put($("answer"), "downloaded, no edge is asked");
    }
    if (!entry) return;
    const name = protocolName(entry.protocol);
    if (name || entry.timed) {
      put(protocol, name || (entry.outcome === "browser" ? "Browser cache" : "Protocol hidden"));
      protocol.classList.toggle("quiet", !name);
      protocol.title = name ? "" : "The edge sent no Timing-Allow-Origin, so the browser does not tell.";
    }
    const answer = $("answer");
    answer.className = `answer ${entry.outcome}`;
    const text = `${entry.node || "edge"} ${where(entry)}`;
    if (answer.textContent === text) return;
    answer.replaceChildren(Object.assign(document.createElement("b"), { textContent: entry.node || "edge" }), ` ${where(entry)}`);
  }

  #tell(entry) {
    this.#shown = entry;
    for (const bar of this.#bars) bar.ariaPressed = String(Boolean(entry) && bar.entry === entry);
    if (!entry) return this.#summary(this.journal.segments(STRIP));
    const { strong, rest } = describe(entry);
    $("told").replaceChildren(Object.assign(document.createElement("b"), { textContent: strong }), rest);
    $("told").title = entry.cacheStatus ? `Cache-Status: ${entry.cacheStatus}` : "";
    this.#stripped = "";
  }

  #summary(entries) {
    const count = (kind) => entries.filter((e) => (e.asked ? "asked" : e.outcome) === kind).length;
    const parts = [["hit", "from the edge’s cache"], ["peer", "through a peer"], ["origin", "from the origin"], ["browser", "from the browser’s cache"], ["asked", "asked about afterwards"], ["unknown", "hidden by the browser"]]
      .map(([kind, text]) => [count(kind), text]).filter(([n]) => n > 0).map(([n, text]) => `${n} ${text}`);
    const text = parts.length ? parts.join(" · ") : "Bar height is the time each segment took.";
    if (this.#stripped === text) return;
    this.#stripped = text;
    $("told").title = "";
    put($("told"), text);
  }

  drawNodes() {
    const { list, current } = this.nodes;
    const ul = $("nodes");
    while (ul.children.length > list.length) ul.lastChild.remove();
    while (ul.children.length < list.length) ul.append(this.#nodeButton());
    list.forEach((node, i) => this.#drawNode(ul.children[i].firstChild, node, node === current, this.nodes.pinned && node === current));
    this.#drawHealth(list);
  }

  #nodeButton() {
    const li = document.createElement("li");
    const button = Object.assign(document.createElement("button"), { type: "button" });
    const name = Object.assign(document.createElement("span"), { className: "name" });
    name.append(document.createTextNode(""), document.createElement("small"));
    button.append(document.createElement("i"), name, Object.assign(document.createElement("span"), { className: "count" }));
    button.addEventListener("click", () => this.nodes.choose(button.node));
    li.append(button);
    return li;
  }

  #drawNode(button, node, current, pinned) {
    button.node = node;
    button.dataset.state = node.state;
    button.ariaCurrent = String(current);
    const [name, address] = button.querySelector(".name").childNodes;
    put(name, this.nodes.label(node));
    put(address, new URL(node.url).host);
    put(button.querySelector(".count"), node.state === "down" ? "no answer" : pinned ? "your choice" : current ? "playing" : node.served ? "ready" : "");
    button.title = pinned ? "You chose this edge. Choose it again to leave it to the service" : current ? "The service chose this edge. Choose it to stay here" : "Play from this edge, whatever the service says";
  }

  #drawHealth(list) {
    const down = list.filter((n) => n.state === "down").length;
    const health = $("health");
    health.dataset.state = down === 0 ? "up" : down === list.length ? "down" : "part";
    const edges = list.length === 1 ? "1 edge" : `${list.length} edges`;
    put(health, down === 0 ? edges : down === list.length ? "no edge answers" : `${list.length - down} of ${edges} answer`);
  }

  /** The figures that move with time. */
  drawFigures({ playing, auto, throughput, buffer, started, engine, stalls, stalledMs, dropped, frames }) {
    figure("f-picture", playing ? `${playing.height}p` : "–");
    const rate = bits(playing?.bitrate);
    put($("f-bitrate"), playing ? [playing.bitrate ? rate.join(" ") : "", auto ? "auto" : "fixed"].filter(Boolean).join(", ") : "\u00a0");
    figure("f-rate", ...bits(throughput));
    put($("f-ratio"), throughput && playing?.bitrate ? `${Math.max(1, Math.round(throughput / playing.bitrate))}× the stream` : "\u00a0");
    figure("f-buffer", buffer.toFixed(1), "s");
    $("f-meter").style.setProperty("--fill", `${Math.min(100, (buffer / BUFFER_FULL_SECONDS) * 100).toFixed(0)}%`);
    if (started) figure("f-start", started < 10000 ? String(started) : (started / 1000).toFixed(1), started < 10000 ? "ms" : "s");
    put($("f-engine"), engine);
    figure("f-stalls", String(stalls));
    put($("f-stalled"), stalls ? `${(stalledMs / 1000).toFixed(1)} s in all` : "none so far");
    figure("f-dropped", String(dropped));
    put($("f-frames"), frames ? `of ${frames} frames` : "\u00a0");
  }
}
