// One viewer playing one title: the play call, the lease, the way from server to server, the reports.

import { Reporter, Token } from "./cmcd.js";
import { Reports } from "./reports.js";
import { recall, remember } from "./resume.js";
import { WeirError, ask, backoff } from "./wire.js";

/**
 * The answer to the play call. Times are dates as text, bit rates bit/s.
 * @typedef {object} Played
 * @property {string} session
 * @property {string} asset
 * @property {string} device
 * @property {{hls?: string, dash?: string}} manifests
 * @property {{value: string, carry: string, name: string, expires: string}} [token]
 * @property {string} steering
 * @property {Record<string, string>} licenses
 * @property {{url: string, every_s: number, lease_s: number}} heartbeat
 * @property {string} end
 * @property {{sid: string, cid: string, version: number, mode: string, keys: string[], events: string, every_s: number}} cmcd
 * @property {{goal_s: number, refill_s: number, offline_s: number}} buffer
 * @property {string} expires
 */

/** The play call. @typedef {(replace: boolean, signal?: AbortSignal) => Promise<Played>} Call */

/**
 * How the player's own requests carry CMCD, where the page prefers another way than the service.
 * @typedef {{mode?: "query" | "headers", version?: 1 | 2, keys?: string[]}} CMCDWishes
 */

/** @param {Played["manifests"]} manifests @param {NonNullable<Played["token"]>} token */
function withToken(manifests, token) {
  if (token.carry !== "query") return manifests;
  return Object.fromEntries(Object.entries(manifests).map(([kind, address]) => {
    const url = new URL(address);
    url.searchParams.set(token.name, token.value);
    return [kind, url.href];
  }));
}

/**
 * Why an engine stopped.
 * @typedef {{kind: "network" | "status" | "media", status?: number, url?: string, message?: string}} Failure
 */

/**
 * What plays: see hlsjs.js and its neighbours. An engine that routes sends each request to Host.route(url), so that going to
 * another server costs it nothing; one that moves goes there by itself; all others are opened again at the same position.
 * @typedef {object} Engine
 * @property {string} name
 * @property {"hls" | "dash"} format
 * @property {boolean} [routes]
 * @property {boolean} [moves]
 * @property {boolean} [blobs]  it takes nothing from a service worker
 * @property {(video: HTMLVideoElement, host: Host) => Promise<void> | void} attach   once, before all else
 * @property {(url: string, position: number) => Promise<void> | void} open           position in seconds; 0: where the title begins
 * @property {() => void} stop            loads no more, until it is opened again
 * @property {() => void} destroy
 * @property {(on: boolean) => void} [audioOnly]  nobody looks: no more picture than it must
 * @property {(seconds: number) => void} [ahead]  load so much ahead; 0: as always
 * @property {() => {bitrate?: number, height?: number, throughput?: number}} [stats]  bit/s and lines
 */

/**
 * What a session is to its engine.
 * @typedef {object} Host
 * @property {(url: string) => string} route      the same request to the server that is asked now, if its own was left
 * @property {(failure: Failure) => void} failed  it stopped, and waits to be opened again
 * @property {() => void} doubt                   a request did not get through: is the server still there?
 * @property {() => void} changed                 the rendition changed
 * @property {Played["cmcd"] | null} cmcd         null: reports are not wanted
 * @property {Record<string, string>} headers     of every request
 * @property {Record<string, string>} licenses    license servers by key system
 * @property {{height: number, bitrate: number}} limits  0: none
 * @property {Played["buffer"]} buffer
 */

const LOW_BUFFER_SECONDS = 3;
const PROBE_MS = 1500;
const WATCH_MS = 1000;
const AGAIN_MS = 2000;
const AWAY_BEAT_MS = 5000;
const FAILURES = 4; // one after the other, without a second of playback between
const SAVE_EVERY_MS = 5000;

/**
 * Emits, as CustomEvent:
 * "heartbeat"  (the answer) the lease was renewed
 * "ended"      (WeirError) the session is over and playback stopped; replace() goes on here
 * "problem"    (WeirError) playback cannot go on now; detail.words says why
 * "recovered"  it goes on
 * "moved"      ({from, to}) another server is asked
 * "offline", "online"   the service cannot be reached, what is buffered plays on; it can again
 * "driving"    ({driving, audioOnly})
 */
export class Session extends EventTarget {
  /** @type {Played} */ played;
  /** @type {number} */ expires = 0;
  driving = false;
  audioOnly = false;
  #stop = new AbortController();
  /** @type {"open" | "over" | "closed"} */ #state = "open";
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #beatTimer;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #againTimer;
  #away = false;
  #trouble = false;
  #begun = false;
  #checking = false;
  #failures = 0;
  #saved = 0;
  /** @type {Reports | null} */ #reports = null;

  /**
   * @param {HTMLVideoElement} video
   * @param {Engine} engine
   * @param {{servers: import("./wire.js").Servers, env: import("./wire.js").Env, call: Call,
   *   played: Played, resume: boolean, autoplay?: boolean, cmcd: boolean | CMCDWishes, limits: Host["limits"]}} options
   */
  constructor(video, engine, options) {
    super();
    this.video = video;
    this.engine = engine;
    this.options = options;
    this.played = options.played;
  }

  get id() {
    return this.played.session;
  }

  /** The server that is asked now. */
  get server() {
    return this.options.servers.current;
  }

  /** Tells that another server is asked, for engines that move by themselves. @param {string} server a base URL */
  use(server) {
    const { servers } = this.options;
    servers.learn([server]);
    servers.current = new URL(server).origin;
  }

  /** The manifest's address on that server. */
  get manifest() {
    const { manifests } = this.played;
    const url = manifests[this.engine.format];
    if (!url) throw new WeirError("unsupported", { detail: `The title has no ${this.engine.format.toUpperCase()} manifest, and ${this.engine.name} plays no other.` });
    return this.options.servers.on(url);
  }

  /** Starts playback. play() of weir.js has called it. */
  async start() {
    const { video, options } = this;
    const { signal } = this.#stop;
    video.addEventListener("timeupdate", () => this.#progress(), { signal });
    video.addEventListener("pause", () => this.#save(), { signal });
    const timer = setInterval(() => this.#watch(), WATCH_MS);
    signal.addEventListener("abort", () => clearInterval(timer));
    globalThis.addEventListener?.("pagehide", () => this.#hide(), { signal });
    globalThis.addEventListener?.("pageshow", (event) => event.persisted && void this.#back(), { signal });
    globalThis.addEventListener?.("online", () => void this.heartbeat(), { signal });
    await this.engine.attach(video, this.#host());
    this.#adopt();
    const from = options.resume ? recall(this.played.asset, options.env) : 0;
    await this.engine.open(this.manifest, from);
  }

  /** What the play call answered counts from now. */
  #adopt() {
    const { played, options, video, engine } = this;
    this.expires = Date.parse(played.expires);
    this.#state = "open";
    this.#schedule(played.heartbeat.every_s * 1000);
    if (!options.cmcd) return;
    this.#reports?.close();
    const constant = { sid: played.cmcd.sid, cid: played.cmcd.cid, sf: new Token(engine.format === "dash" ? "d" : "h") };
    const reporter = new Reporter(() => options.servers.on(played.cmcd.events), constant, options.env);
    this.#reports = new Reports(video, engine, reporter, played.cmcd.every_s, options.env);
  }

  /** @returns {Host} */
  #host() {
    const { played, options } = this;
    const header = () => {
      const { token } = this.played;
      return token?.carry === "header" ? { [token.name]: token.value } : {};
    };
    return {
      route: (url) => options.servers.route(url),
      failed: (failure) => void this.#failed(failure),
      doubt: () => void this.#check(),
      changed: () => this.#reports?.changed(),
      cmcd: options.cmcd ? { ...played.cmcd, ...(typeof options.cmcd === "object" && options.cmcd) } : null,
      get headers() {
        return header(); // the token is renewed
      },
      licenses: played.licenses,
      limits: options.limits,
      buffer: played.buffer,
    };
  }

  /** Whether the service could not be reached when it was asked last. */
  get away() {
    return this.#away;
  }

  /** Seconds that are loaded ahead. */
  get buffered() {
    const { buffered, currentTime } = this.video;
    for (let i = 0; i < buffered.length; i++) {
      if (buffered.start(i) <= currentTime + 0.1 && currentTime < buffered.end(i)) return buffered.end(i) - currentTime;
    }
    return 0;
  }

  /** @param {string} name @param {unknown} [detail] */
  #emit(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }

  /** @param {number} ms */
  #schedule(ms) {
    clearTimeout(this.#beatTimer);
    if (this.#state === "open") this.#beatTimer = setTimeout(() => void this.heartbeat(), ms * (0.9 + 0.1 * this.options.env.random()));
  }

  /** Renews the lease now, and tells how playback does. */
  async heartbeat() {
    if (this.#state !== "open") return;
    const { played, options, video } = this;
    const body = {
      state: this.#reports?.state ?? (video.paused ? "a" : "p"), position_s: video.currentTime || 0, buffer_s: this.buffered,
      bitrate: Math.round(this.engine.stats?.().bitrate ?? 0), driving: this.driving,
    };
    try {
      const answer = await ask(options.servers, played.heartbeat.url, {
        method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), attempts: 1, signal: this.#stop.signal,
      }, options.env);
      this.expires = Date.parse(answer.expires);
      if (this.#away) this.#emit("online");
      this.#away = false;
      this.#schedule(answer.every_s * 1000);
      this.#picture(Boolean(answer.audio_only));
      this.#emit("heartbeat", answer);
    } catch (error) {
      if (!this.#stop.signal.aborted) await this.#missed(error);
    }
  }

  /** @param {unknown} error */
  async #missed(error) {
    if (!(error instanceof WeirError)) throw error;
    if (error.status === 404) return this.#reopen(); // the service began anew, and knows no session of before
    if (error.status === 410 || error.status === 409) return this.#over(error);
    if (!this.#away) this.#emit("offline", error);
    this.#away = true;
    this.#schedule(AWAY_BEAT_MS);
  }

  /** Another session for the same playback, which goes on. */
  async #reopen() {
    try {
      await this.#call(false);
    } catch (error) {
      if (error instanceof WeirError) this.#over(error);
      else if (!this.#stop.signal.aborted) throw error;
    }
  }

  /** @param {boolean} replace */
  async #call(replace) {
    const { signal } = this.#stop;
    const played = await this.options.call(replace, signal);
    signal.throwIfAborted(); // it was closed meanwhile
    this.played = played;
    this.#adopt();
  }

  /** @param {WeirError} error */
  #over(error) {
    if (this.#state !== "open") return;
    this.#state = "over";
    this.#save(true);
    clearTimeout(this.#beatTimer);
    clearTimeout(this.#againTimer);
    this.at = this.video.currentTime;
    this.video.pause();
    this.engine.stop();
    this.#reports?.close();
    this.#emit("ended", error);
  }

  /**
   * Goes on here after the session was ended.
   * @param {boolean} [others]  where there are too many: end the session that was idle longest
   */
  async replace(others = true) {
    if (this.#state !== "over") return;
    await this.#call(others);
    await this.engine.open(this.manifest, this.at ?? 0);
    await this.video.play().catch(() => {}); // the page has to ask for a click
  }

  /** A car says that it moves: nobody looks. @param {boolean} driving */
  setDriving(driving) {
    if (this.driving === driving) return;
    this.driving = driving;
    this.#emit("driving", { driving, audioOnly: this.audioOnly });
    return this.heartbeat();
  }

  /**
   * Loads ahead for a way without a network, such as a tunnel, as far as the service and the engine go. 0: it is behind.
   * @param {number} seconds
   * @returns {number} how much will be there; 0: as always
   */
  loadAhead(seconds) {
    const { goal_s: goal, offline_s: most } = this.played.buffer;
    const ahead = this.engine.ahead && seconds > goal ? Math.min(seconds, most) : 0;
    this.engine.ahead?.(ahead);
    return ahead;
  }

  /** @param {boolean} audioOnly  as the service decided */
  #picture(audioOnly) {
    if (this.audioOnly === audioOnly) return;
    this.audioOnly = audioOnly;
    this.engine.audioOnly?.(audioOnly);
    this.#emit("driving", { driving: this.driving, audioOnly });
  }

  #progress() {
    if (this.video.paused || this.video.seeking) return;
    this.#begun = true;
    this.#failures = 0;
    if (this.#trouble) {
      this.#trouble = false;
      this.#emit("recovered");
    }
    if (this.options.env.now() - this.#saved > SAVE_EVERY_MS) this.#save();
  }

  #save(force = false) {
    if (!this.options.resume || this.#state !== "open" && !force || !this.video.currentTime) return;
    this.#saved = this.options.env.now();
    remember(this.played.asset, this.video.currentTime, this.video.duration, this.options.env);
  }

  /** Looks after the server while the buffer runs low: one that died is left before it is dry. */
  #watch() {
    const { video } = this;
    if (this.#state !== "open" || video.paused || video.readyState === 0) return;
    const left = this.buffered;
    if (left < LOW_BUFFER_SECONDS && !(video.duration - video.currentTime < left + 0.5)) void this.#check();
  }

  /** Finds out whether the server answers, and goes to one that does; false: none does. */
  async #check() {
    if (this.#checking || this.engine.moves) return true;
    this.#checking = true;
    const { servers } = this.options;
    const before = servers.current;
    try {
      const tried = new Set();
      for (let server = servers.pick(tried); server; server = servers.pick(tried)) {
        tried.add(server);
        if (!(await this.#answers(server))) continue;
        if (server !== before) await this.#move(before, server);
        return true;
      }
      return false;
    } finally {
      this.#checking = false;
    }
  }

  /** @param {string} server */
  async #answers(server) {
    try {
      const signal = AbortSignal.any([this.#stop.signal, AbortSignal.timeout(PROBE_MS)]);
      await this.options.env.fetch(`${server}/time`, { cache: "no-store", signal });
      return true;
    } catch {
      return false;
    }
  }

  /** @param {string} from @param {string} to */
  async #move(from, to) {
    this.options.servers.move(to);
    this.#emit("moved", { from, to });
    if (!this.engine.routes) await this.#again();
  }

  /** Opens the manifest again, where the viewer is. */
  async #again() {
    if (this.#state !== "open") return;
    const { video } = this;
    // An element that fails pauses: before the first picture that says nothing of what the viewer wants.
    const playing = !video.paused || this.#trouble || this.options.autoplay && !this.#begun;
    await this.engine.open(this.manifest, Number.isFinite(video.duration) ? video.currentTime : 0);
    if (playing) await video.play().catch(() => {}); // the page has to ask for a click
  }

  /** The engine gave up. @param {Failure} failure */
  async #failed(failure) {
    if (this.#state !== "open") return;
    this.#failures++;
    this.#reports?.failed(failure);
    const { kind, status = 0, message = "" } = failure;
    if (kind === "media") return this.#problem(new WeirError("media", { detail: message }));
    if (status === 401 || status === 403) return this.#failures > 1 ? this.#problem(new WeirError("forbidden", { status })) : this.#renew();
    if (status === 404 || status === 410) return this.#problem(new WeirError("asset", { status }));
    if (status === 406) return this.#problem(new WeirError("playable", { status }));
    const alive = await this.#check();
    if (!alive) this.#problem(new WeirError("unreachable"));
    else if (this.#failures > FAILURES) return this.#problem(new WeirError("answer", { status: status || 503 }));
    clearTimeout(this.#againTimer);
    const ms = alive ? backoff(this.#failures, this.options.env) : AGAIN_MS;
    this.#againTimer = setTimeout(() => void (alive ? this.#again() : this.#failed(failure)), ms);
  }

  /** The token is over: the session gets a new one; where that is not to be had, another session in its place. */
  async #renew() {
    const { servers, env } = this.options;
    const signal = this.#stop.signal;
    try {
      if (!this.played.token) throw new WeirError("forbidden");
      const body = JSON.stringify({ session: this.id });
      const token = await ask(servers, "/sdk/v1/token", { method: "POST", headers: { "Content-Type": "application/json" }, body, attempts: 2, signal }, env);
      this.played = { ...this.played, token, manifests: withToken(this.played.manifests, token) };
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof WeirError)) throw error;
      if (error.status === 410) return this.#over(error);
      await ask(servers, `/sdk/v1/sessions/${this.id}`, { method: "DELETE", attempts: 1, signal }, env).catch(() => {}); // it takes the place of the next one, at worst
      await this.#reopen();
    }
    await this.#again();
  }

  /** @param {WeirError} error */
  #problem(error) {
    if (!this.#trouble) this.#emit("problem", error);
    this.#trouble = true;
  }

  /** Tries again at once, as the viewer asked. */
  async retry() {
    clearTimeout(this.#againTimer);
    this.#failures = 0;
    await this.#check();
    await this.#again();
  }

  /** The page is being left; it may come back as it was. */
  #hide() {
    if (this.#state !== "open") return;
    this.#save();
    this.#state = "over";
    this.at = this.video.currentTime;
    clearTimeout(this.#beatTimer);
    this.#reports?.close("q");
    const end = this.options.servers.on(this.played.end);
    // Not a beacon where it can be helped: that carries credentials, for which the browser opens a connection of its own.
    if ("keepalive" in Request.prototype) void fetch(end, { method: "POST", keepalive: true, credentials: "omit" }).catch(() => {}); // the lease ends anyway
    else navigator.sendBeacon?.(end);
  }

  /** The page is back as it was: its place may be taken. */
  async #back() {
    try {
      await this.replace(false);
    } catch (error) {
      if (error instanceof WeirError) this.#emit("ended", error);
      else if (!this.#stop.signal.aborted) throw error;
    }
  }

  /** Ends the session and frees the video element. */
  async close() {
    if (this.#state === "closed") return;
    const open = this.#state === "open";
    if (open) this.#save();
    this.#state = "closed";
    clearTimeout(this.#beatTimer);
    clearTimeout(this.#againTimer);
    this.#reports?.close("q");
    this.#stop.abort();
    this.engine.destroy();
    if (!open) return;
    const { servers, env } = this.options;
    await ask(servers, `/sdk/v1/sessions/${this.id}`, { method: "DELETE", keepalive: true, attempts: 1 }, env).catch(() => {}); // the lease ends anyway
  }
}
