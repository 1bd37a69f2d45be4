// What a session reports of its playback, in the words of CMCD (CTA-5004-B).

import { Token } from "./cmcd.js";

/** @typedef {import("./session.js").Engine} Engine */

export class Reports {
  /** How playback does: s p k r a e f q (CTA-5004-B, key sta). */
  state = "s";
  #began;
  #started = false;
  #bitrate = 0;
  #stop = new AbortController();

  /**
   * @param {HTMLVideoElement} video
   * @param {Engine} engine
   * @param {{add(event: string, fields: import("./cmcd.js").Fields): void, close(): void}} reporter  where records go
   * @param {number} every  seconds, between records of the time
   * @param {import("./wire.js").Env} env
   */
  constructor(video, engine, reporter, every, env) {
    this.video = video;
    this.engine = engine;
    this.env = env;
    this.#began = env.now();
    this.reporter = reporter;
    const { signal } = this.#stop;
    /** @param {string} names @param {() => string} state */
    const on = (names, state) => names.split(" ").forEach((name) => video.addEventListener(name, () => this.#turn(state()), { signal }));
    on("playing", () => "p");
    on("pause", () => (video.ended ? "e" : "a"));
    on("seeking", () => (this.#started ? "k" : this.state));
    on("waiting", () => (!this.#started || this.#ahead() > 1 ? this.state : video.seeking ? "k" : "r")); // else the decoder is late, not the network
    on("ended", () => "e");
    video.addEventListener("volumechange", () => this.#sound(), { signal });
    this.muted = video.muted;
    const timer = setInterval(() => this.#add("t"), every * 1000);
    signal.addEventListener("abort", () => clearInterval(timer));
    this.#add("ps");
  }

  /** @param {string} state */
  #turn(state) {
    if (state === this.state) return;
    this.state = state;
    const first = state === "p" && !this.#started;
    this.#started ||= first;
    this.#add("ps", first ? { msd: this.env.now() - this.#began } : {});
  }

  #sound() {
    if (this.video.muted === this.muted) return;
    this.muted = this.video.muted;
    this.#add(this.muted ? "m" : "um");
  }

  /** The rendition changed. */
  changed() {
    const bitrate = this.engine.stats?.().bitrate ?? 0;
    if (bitrate && bitrate !== this.#bitrate) this.#add("bc");
    this.#bitrate = bitrate;
  }

  /** @param {import("./session.js").Failure} failure */
  failed({ kind, status }) {
    this.#add("e", { ec: [status ? `http.${status}` : kind] });
  }

  /** @param {string} event @param {import("./cmcd.js").Fields} [more] */
  #add(event, more = {}) {
    const { video } = this;
    const { bitrate = 0, throughput = 0 } = this.engine.stats?.() ?? {};
    const live = video.duration === Infinity;
    const hundred = (/** @type {number} */ n) => Math.round(n / 100) * 100;
    this.reporter.add(event, {
      sta: new Token(this.state),
      st: video.readyState ? new Token(live ? "l" : "v") : undefined,
      br: bitrate ? [Math.round(bitrate / 1000)] : undefined,
      mtp: throughput ? [hundred(throughput / 1000)] : undefined,
      bl: [hundred(this.#ahead() * 1000)],
      pt: live || !video.readyState ? undefined : Math.round(video.currentTime * 1000),
      pr: video.playbackRate === 1 ? undefined : video.playbackRate,
      bg: globalThis.document?.hidden || undefined,
      ...more,
    });
  }

  #ahead() {
    const { buffered, currentTime } = this.video;
    for (let i = 0; i < buffered.length; i++) {
      if (buffered.start(i) <= currentTime + 0.1 && currentTime < buffered.end(i)) return buffered.end(i) - currentTime;
    }
    return 0;
  }

  /** @param {string} [state]  q: the viewer left */
  close(state) {
    if (this.#stop.signal.aborted) return;
    if (state) this.#turn(state);
    this.#stop.abort();
    this.reporter.close();
  }
}
