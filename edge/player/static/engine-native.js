// Playback by the browser itself. The page does not see the responses: it has
// resource timing (Chromium), else the playlists, and may ask the node about a
// segment afterwards with HEAD. Fail-over is a new source at the same position.

import { media, multivariant } from "./manifest.js";
import { isKept } from "./nodes.js";

const WATCH_EVERY_MS = 1000;
const ASK_EVERY_MS = 2000;
// Checked while the buffer runs low: a node that died is left before it is dry.
const LOW_BUFFER_SECONDS = 1.5;
const RETRY_AFTER_MS = 2000;

export function nativeHLS(video) {
  return video.canPlayType("application/vnd.apple.mpegurl") !== "";
}

/** Emits "levels", "level", "failed" and "recovered" as HLSEngine does, and "switching" before the source changes. */
export class NativeEngine extends EventTarget {
  name = "browser";
  sees = false;
  live = false;
  chosen = -1;
  levels = [];
  #journal;
  #kinds = new Map(); // path of a known segment → kind and label
  #byHeight = new Map();
  #timed = false;
  #asked = 0;
  #rates = [];
  #wanted = false; // the viewer wants it to play: an error pauses the element too
  #moving = false;
  #resume = null;
  #later = 0;
  #stop = new AbortController();

  src = ""; // path and query of the manifest

  constructor(video, nodes, journal) {
    super();
    this.video = video;
    this.nodes = nodes;
    this.#journal = journal;
    video.crossOrigin = "anonymous"; // another node's picture stays readable: held while moving, and the glow
    journal.watchNative((timing) => this.#describe(timing));
    const { signal } = this.#stop;
    video.addEventListener("error", () => this.#failed(), { signal });
    video.addEventListener("resize", () => this.dispatchEvent(new Event("level")), { signal });
    video.addEventListener("play", () => (this.#wanted = true), { signal });
    video.addEventListener("pause", () => (this.#wanted = video.error !== null || this.#resume !== null), { signal });
    video.addEventListener("loadedmetadata", () => this.#opened(), { signal });
    video.addEventListener("playing", () => this.#playing(), { signal });
    nodes.addEventListener("move", ({ detail }) => detail.why === "chosen" && this.#open(), { signal });
    this.timer = setInterval(() => void this.#watch(), WATCH_EVERY_MS);
  }

  start(position = 0) {
    if (position) this.#resume = { at: position, playing: false };
    this.video.src = this.nodes.on(this.nodes.current, this.src);
    if (!isKept(this.src)) void this.#readPlaylists();
  }

  /** Loads no more until it is started again. */
  stop() {
    clearTimeout(this.#later);
    this.video.removeAttribute("src");
    this.video.load();
  }

  destroy() {
    this.#stop.abort();
    clearInterval(this.timer);
    this.stop();
  }

  choose() {} // the browser alone chooses

  get playing() {
    const height = this.video.videoHeight;
    return height ? { height, bitrate: this.#byHeight.get(height) ?? 0 } : undefined;
  }

  get throughput() {
    const recent = this.#rates.slice(-5);
    return recent.length ? recent.reduce((a, b) => a + b) / recent.length : 0;
  }

  toLive() {
    const { seekable } = this.video;
    if (seekable.length) this.video.currentTime = seekable.end(seekable.length - 1) - 6;
  }

  retry() {
    clearTimeout(this.#later);
    this.#open();
  }

  async #text(url) {
    const response = await fetch(url, { signal: this.#stop.signal });
    if (!response.ok) throw Object.assign(new Error(url), { status: response.status });
    return { text: await response.text(), url: response.url };
  }

  /** Learns names and bit rates, and which file belongs to what. */
  async #readPlaylists() {
    try {
      const top = await this.#text(this.nodes.on(this.nodes.current, this.src));
      const { variants, audio } = multivariant(top.text);
      for (const v of variants) this.#byHeight.set(v.height, v.bitrate);
      const lists = [...variants.map((v) => ({ uri: v.uri, kind: "video", label: `${v.height}p` })), ...audio.map((uri) => ({ uri, kind: "audio", label: "audio" }))];
      this.#kinds.set(new URL(top.url).pathname, { kind: "playlist", label: "playlist" });
      await Promise.all(lists.map((list) => this.#readMedia(list, top.url)));
      this.dispatchEvent(new Event("level"));
    } catch {
      // The media element meets the same failure, and says so.
    }
  }

  async #readMedia({ uri, kind, label }, base) {
    const list = await this.#text(new URL(uri, base).href);
    const { segments, maps } = media(list.text);
    const path = (u) => new URL(u, list.url).pathname;
    this.#kinds.set(path(list.url), { kind: "playlist", label: "playlist" });
    for (const map of maps) this.#kinds.set(path(map), { kind: "init", label });
    segments.forEach((s, i) => this.#kinds.set(path(s.uri), { kind, label, segment: i, from: s.start, to: s.start + s.duration }));
  }

  /** Resource timing of the media element's own request → a journal entry. */
  #describe(timing) {
    if (!this.nodes.owns(timing.name)) return null;
    this.#timed = true;
    const { pathname, origin } = new URL(timing.name);
    const known = this.#kinds.get(pathname) ?? guess(pathname);
    const node = this.nodes.list.find((n) => n.url === origin);
    if (node && timing.responseStatus) this.nodes.answered(node, "");
    const seconds = (timing.responseEnd - timing.responseStart) / 1000;
    if (timing.encodedBodySize > 20000 && seconds > 0) this.#rates.push((timing.encodedBodySize * 8) / seconds);
    return {
      url: timing.name, start: timing.startTime, ms: timing.duration, bytes: timing.encodedBodySize,
      status: timing.responseStatus || 200, node: node ? this.nodes.label(node) : origin, ...known,
    };
  }

  #buffered() {
    const { buffered, currentTime } = this.video;
    for (let i = 0; i < buffered.length; i++) {
      if (buffered.start(i) <= currentTime + 0.1 && currentTime < buffered.end(i)) return buffered.end(i) - currentTime;
    }
    return 0;
  }

  async #watch() {
    const { video, nodes } = this;
    if (video.paused && video.readyState > 2) return;
    this.live = video.duration === Infinity;
    if (isKept(this.src)) return;
    await this.#ask();
    const left = this.#buffered();
    const atEnd = video.duration - video.currentTime < left + 0.5;
    if (this.#moving || this.#resume || atEnd || left > LOW_BUFFER_SECONDS || nodes.list.length < 2) return;
    if (!(await nodes.check(nodes.current))) await this.#next();
  }

  /** Asks the node what it has of the newest segment: the only Cache-Status in reach. */
  async #ask() {
    if (performance.now() - this.#asked < ASK_EVERY_MS) return;
    this.#asked = performance.now();
    const entry = this.#timed ? this.#journal.segments(1)[0] : this.#derived();
    if (!entry || entry.outcome !== "unknown") return;
    try {
      const response = await fetch(entry.url, { method: "HEAD", signal: AbortSignal.any([this.#stop.signal, AbortSignal.timeout(2000)]) });
      this.#journal.amend(entry, response.headers.get("cache-status"), true);
    } catch {
      // Unreachable now: #watch decides what that means.
    }
  }

  /** Without resource timing: the segment at the playhead, by the playlist. */
  #derived() {
    const { currentTime, videoHeight } = this.video;
    for (const [path, known] of this.#kinds) {
      if (known.kind !== "video" || known.label !== `${videoHeight}p` || !(known.from <= currentTime && currentTime < known.to)) continue;
      const url = this.nodes.current.url + path;
      if (this.#journal.segments(1)[0]?.url === url) return null;
      return this.#journal.add({ url, start: performance.now(), node: this.nodes.label(this.nodes.current), ...known }, "");
    }
    return null;
  }

  /** The media element gave up: find out why, and go on elsewhere if that helps. */
  async #failed() {
    if (this.#moving || !this.video.error) return;
    const { code, message } = this.video.error;
    const alive = isKept(this.src) || (await this.nodes.check(this.nodes.current));
    if (!alive && (await this.#next())) return;
    const url = this.nodes.on(this.nodes.current, this.src);
    const status = alive ? await fetch(url).then((r) => r.status, () => 0) : 0;
    const kind = !alive ? "unreachable" : status >= 400 ? "status" : code === MediaError.MEDIA_ERR_DECODE || status === 200 ? "media" : "unreachable";
    this.down = true;
    this.dispatchEvent(new CustomEvent("failed", { detail: { kind, status, url, message } }));
    if (kind === "unreachable") this.#later = setTimeout(() => this.#failed(), RETRY_AFTER_MS);
  }

  /** Moves to the first node that answers; false if none does. */
  async #next() {
    if (this.#moving) return true;
    this.#moving = true;
    try {
      const tried = new Set([this.nodes.current]);
      for (let node = this.nodes.pick(tried); node; node = this.nodes.pick(tried)) {
        tried.add(node);
        if (!(await this.nodes.check(node))) continue;
        this.nodes.answered(node, "");
        this.#open();
        return true;
      }
      return false;
    } finally {
      this.#moving = false;
    }
  }

  /** Opens the current node's copy at the same position. */
  #open() {
    const { video } = this;
    // Setting src pauses the element and puts it to 0: what it did before counts.
    this.#resume ??= { at: video.currentTime, playing: this.#wanted };
    this.dispatchEvent(new Event("switching"));
    video.src = this.nodes.on(this.nodes.current, this.src);
  }

  #opened() {
    const resume = this.#resume;
    this.#resume = null;
    if (!resume) return;
    if (!this.live && resume.at > 0) this.video.currentTime = resume.at;
    if (resume.playing) this.video.play().catch(() => {});
  }

  #playing() {
    if (!this.down) return;
    this.down = false;
    this.dispatchEvent(new Event("recovered"));
  }
}

/** A file that no playlist named yet. */
function guess(path) {
  if (/\.m3u8?$/i.test(path)) return { kind: "playlist", label: "playlist" };
  if (/init/i.test(path.split("/").pop())) return { kind: "init", label: "init" };
  return { kind: "video", label: "media" };
}
