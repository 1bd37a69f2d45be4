// Playback by hls.js: every request goes through the page, so everything about
// it can be shown, and it can go to another node.

import { loaderFor } from "./loader.js";

// A page that shows delivery should keep fetching while it plays: a short
// buffer forward and behind, so that a 24 s title is not over in one burst. Ten
// seconds outlast the loss of a node many times over.
const BUFFER_SECONDS = 10;
const BACK_BUFFER_SECONDS = 4;
// Start from a good line, and let the first segments correct it.
const FIRST_ESTIMATE_BITS = 4e6;
const RESUME_AFTER_MS = 2000;

/** Emits "levels", "level" and "failed" (detail: {kind, status, url, fatal}), and "recovered". */
export class HLSEngine extends EventTarget {
  name = "hls.js";
  sees = true;
  #hls;
  #resume = 0;
  #measured = false;

  src = ""; // path and query of the manifest

  constructor(video, Hls, nodes, journal) {
    super();
    this.video = video;
    this.nodes = nodes;
    this.Hls = Hls;
    this.journal = journal;
    this.version = Hls.version;
    this.#hls = this.#make({});
    nodes.addEventListener("change", () => {
      const { pathwayPriority } = this.#hls;
      if (pathwayPriority && nodes.pinned) this.#hls.pathwayPriority = nodes.order(pathwayPriority); // at once, away from another CDN too
    });
  }

  #make(settings) {
    const { Hls, nodes } = this;
    const hls = new Hls({
      loader: loaderFor(nodes, (context, result) => this.#record(this.journal, context, result)),
      enableWorker: false, // fragmented MP4 passes through; a worker would need a blob: script
      maxBufferLength: BUFFER_SECONDS,
      maxMaxBufferLength: BUFFER_SECONDS,
      backBufferLength: BACK_BUFFER_SECONDS,
      abrEwmaDefaultEstimate: FIRST_ESTIMATE_BITS,
      maxLiveSyncPlaybackRate: 1.2,
      ...settings,
    });
    hls.on(Hls.Events.MANIFEST_PARSED, () => this.dispatchEvent(new Event("levels")));
    hls.on(Hls.Events.LEVEL_SWITCHED, () => this.dispatchEvent(new Event("level")));
    hls.on(Hls.Events.ERROR, (_, data) => this.#error(Hls, data));
    hls.on(Hls.Events.FRAG_BUFFERED, () => this.#recovered());
    return hls;
  }

  /** Puts CMCD on every request; before start. cmcd: as the play call answered it, null: none. */
  report(cmcd) {
    if (!cmcd) return;
    this.#hls.destroy();
    const { sid, cid, mode, version, keys } = cmcd;
    this.#hls = this.#make({ cmcd: { sessionId: sid, contentId: cid, useHeaders: mode === "headers", version, includeKeys: keys } });
  }

  start(position = 0) {
    this.#hls.config.startPosition = position || -1;
    this.#hls.attachMedia(this.video);
    this.#hls.loadSource(this.nodes.on(this.nodes.current, this.src));
  }

  /** Loads no more until it is started again. */
  stop() {
    clearTimeout(this.#resume);
    this.#hls.stopLoad();
  }

  /** Loads so many seconds ahead, where a way without a network is known; 0: as always. */
  ahead(seconds) {
    this.#hls.config.maxBufferLength = this.#hls.config.maxMaxBufferLength = Math.max(seconds, BUFFER_SECONDS);
  }

  /** Nobody looks: the smallest picture. */
  audioOnly(on) {
    this.#hls.autoLevelCapping = on ? this.levels.at(-1)?.index ?? -1 : -1;
  }

  destroy() {
    clearTimeout(this.#resume);
    this.#hls.destroy();
  }

  /** @returns {{index: number, height: number, bitrate: number}[]} best first */
  get levels() {
    return this.#hls.levels
      .map((level, index) => ({ index, height: level.height, bitrate: level.averageBitrate || level.bitrate }))
      .sort((a, b) => b.bitrate - a.bitrate);
  }

  /** Index of the level chosen by hand, -1 = automatic. */
  get chosen() {
    return this.#hls.autoLevelEnabled ? -1 : this.#hls.manualLevel;
  }

  choose(index) {
    this.#hls.nextLevel = index; // flushes what is ahead: the change shows within a segment
    this.dispatchEvent(new Event("level"));
  }

  /** What the screen shows now. */
  get playing() {
    const level = this.#hls.levels[this.#hls.currentLevel];
    return level && { height: level.height, bitrate: level.averageBitrate || level.bitrate };
  }

  /** Bits per second, 0 = not measured yet. */
  get throughput() {
    return this.#measured ? this.#hls.bandwidthEstimate || 0 : 0;
  }

  get live() {
    return this.#hls.levels[this.#hls.currentLevel]?.details?.live ?? false;
  }

  toLive() {
    if (this.#hls.liveSyncPosition) this.video.currentTime = this.#hls.liveSyncPosition;
  }

  #record(journal, context, { response, body, node, url, start, end }) {
    if (context.frag?.type === "main") this.nodes.follow(node);
    journal.add({
      url, start, ms: end - start, status: response.status, bytes: body.byteLength,
      node: node ? this.nodes.label(node) : new URL(url, location.href).host, ...this.#describe(context),
    }, response.headers.get("cache-status"));
  }

  #describe({ frag, responseType }) {
    if (!frag) return { kind: responseType === "arraybuffer" ? "key" : "playlist", label: "playlist" };
    const audio = frag.type === "audio";
    const height = this.#hls.levels[frag.level]?.height;
    const label = audio ? "audio" : height ? `${height}p` : "video";
    return { kind: frag.sn === "initSegment" ? "init" : audio ? "audio" : "video", label, segment: frag.sn };
  }

  #error(Hls, { type, details, fatal, response, url, frag, error }) {
    const failure = { details, status: response?.code ?? 0, url: url ?? frag?.url ?? this.src, message: error?.message ?? "" };
    if (!fatal) return;
    if (type === Hls.ErrorTypes.MEDIA_ERROR && !this.triedMedia) {
      this.triedMedia = true;
      this.#hls.recoverMediaError();
      return;
    }
    this.down = true;
    const kind = type === Hls.ErrorTypes.NETWORK_ERROR ? (failure.status ? "status" : "unreachable") : "media";
    this.dispatchEvent(new CustomEvent("failed", { detail: { ...failure, kind } }));
    if (kind !== "media") this.#retryLater();
  }

  /** Once nothing answers, hls.js stops; the page goes on asking. */
  #retryLater() {
    clearTimeout(this.#resume);
    this.#resume = setTimeout(async () => {
      for (const node of this.nodes.list) if (await this.nodes.check(node)) return this.retry();
      this.#retryLater();
    }, RESUME_AFTER_MS);
  }

  retry() {
    clearTimeout(this.#resume);
    if (this.#hls.levels.length === 0) this.#hls.loadSource(this.nodes.on(this.nodes.current, this.src));
    else this.#hls.startLoad(-1);
  }

  #recovered() {
    this.#measured = true;
    if (!this.down) return;
    this.down = false;
    this.dispatchEvent(new Event("recovered"));
  }
}
