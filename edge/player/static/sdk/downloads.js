// Titles kept on the device: loaded file by file into the Cache API, and played without a network.
//
// Each download is a cache of its own, weir-kept-ID: record.json says what it is, master.m3u8 plays it. A file is there whole or
// not at all, so what was broken off, by a reload of the page too, goes on with the next file; within a file it goes on by Range.
// offline.js, a service worker, serves the caches under /player/kept/ to whatever plays.

import { beginning, mpd, sequence } from "./mpd.js";
import { multivariant, localize } from "./playlist.js";
import { Reports } from "./reports.js";
import { recall, remember } from "./resume.js";
import { Seen } from "./seen.js";
import { Servers, WeirError, ask, backoff, browserEnv, errorOf, newKey, retryAfter } from "./wire.js";

/**
 * @typedef {object} Kept
 * @property {string} id
 * @property {string} asset
 * @property {string} title      what the page calls it
 * @property {string[]} servers
 * @property {{bandwidth: number, codecs: string, height: number}} rendition
 * @property {string[]} playlists
 * @property {number} bytes      of all files
 * @property {number} duration   seconds
 * @property {{name: string, value: string, carry: string}} [token]
 * @property {Record<string, string>} licenses
 * @property {string} expires
 * @property {"loading" | "paused" | "kept"} state
 * @property {number} added      milliseconds since 1970
 * @property {string} plan       the files as they were listed
 */

/**
 * @typedef {object} KeepOptions
 * @property {string} asset
 * @property {string} [title]
 * @property {string} [device]
 * @property {string} [label]
 * @property {import("./capabilities.js").Capabilities} [capabilities]
 * @property {string | (() => string | Promise<string>)} [authorization]
 */

/**
 * @typedef {object} Options
 * @property {string | string[]} [server]  as of play()
 * @property {string} [worker]   address of a service worker of the page's own origin that is offline.js, or imports it;
 *   default: the one beside this module, where that is of the page's origin
 * @property {string} [scope]    what the worker is for; default "/" with the default worker, else its folder
 * @property {string[]} [page]   files of the page itself, which is to open without a network too
 * @property {Partial<import("./wire.js").Env> & {caches?: CacheStorage}} [env]  for tests
 */

const PREFIX = "weir-kept-";
const PAGE = "weir-page";
const AT_ONCE = 3;
const ATTEMPTS = 5; // for a file, one after the other without a byte
const SILENCE_MS = 20000;
const TELL_MS = 200;
const SPARE = 0.05; // of what the browser gives, left for others
const RENEW_MS = 86400e3;
const AGAIN_MS = 15000;
const REPORT_S = 30;

/** @param {string} name */
const key = (name) => `/player/kept/${name}`;

/**
 * Finds what is kept on this device; what may not be played any more is removed, what was being loaded goes on.
 * @param {Options} [options]
 * @returns {Promise<Downloads>}
 * @throws {WeirError} "storage": this page may keep nothing
 */
export async function downloads(options = {}) {
  const store = options.env?.caches ?? globalThis.caches;
  if (!store) throw new WeirError("storage", { detail: "Only pages that came over HTTPS may keep anything." });
  const all = new Downloads(options, store);
  await all.open();
  return all;
}

/**
 * Emits "change" whenever the list, or the state of one of it, changed, and "removed" ({download, error}) for one that the
 * service has ended, or whose time is over.
 */
export class Downloads extends EventTarget {
  /** @type {Download[]} */ #list = [];
  /** @type {Promise<void> | null} */ #worker = null;

  /** @param {Options} options @param {CacheStorage} store */
  constructor(options, store) {
    super();
    this.options = options;
    this.store = store;
    this.env = { ...browserEnv(), ...options.env };
    this.base = [options.server ?? new URL(import.meta.url).origin].flat();
    this.seen = new Seen(store, new Servers(this.base), this.env);
  }

  /** The newest first. */
  get list() {
    for (const one of this.#list) if (one.over) void this.gone(one, new WeirError("expired"));
    return this.#list.filter((one) => !one.over);
  }

  /** What is kept, or being loaded, of a title. @param {string} asset */
  of(asset) {
    return this.list.find((one) => one.record.asset === asset);
  }

  async open() {
    for (const name of await this.store.keys()) {
      if (!name.startsWith(PREFIX)) continue;
      const cache = await this.store.open(name);
      const record = await (await cache.match(key(`${name.slice(PREFIX.length)}/record.json`)))?.json();
      if (record) this.#list.push(new Download(this, record, cache));
      else await this.store.delete(name);
    }
    this.#list.sort((a, b) => b.record.added - a.record.added);
    await Promise.all(this.#list.map((one) => one.count()));
    if (this.list.length) await this.serve().catch(() => {}); // play() says why
    for (const one of this.list) {
      if (one.record.state === "loading") void one.resume();
      else if (one.record.state === "kept") void one.renew();
    }
    for (const one of this.list) this.seen.servers.learn(one.record.servers);
    void this.seen.send();
    globalThis.addEventListener?.("online", () => this.#online());
  }

  #online() {
    void this.seen.send();
    for (const one of this.list) if (one.record.state === "loading") void one.resume();
  }

  /**
   * Begins to load a title: the best rendition that the device plays and has room for.
   * @param {KeepOptions} options
   * @returns {Promise<Download>}  at once; its events tell how it goes
   * @throws {WeirError}
   */
  async add({ asset, title = asset, device = "web", label, capabilities, authorization }) {
    const there = this.of(asset);
    if (there) return there;
    await this.serve();
    await globalThis.navigator?.storage?.persist?.().catch(() => false);
    const servers = new Servers(this.base);
    const token = typeof authorization === "function" ? await authorization() : authorization;
    const headers = { "Content-Type": "application/json", "Idempotency-Key": newKey(), ...(token && { Authorization: `Bearer ${token}` }) };
    const body = JSON.stringify({ asset, device, label, capabilities, max_bytes: await this.#room() });
    const answer = await ask(servers, "/sdk/v1/downloads", { method: "POST", headers, body }, this.env);
    servers.learn(answer.playlists);
    /** @type {Kept} */
    const record = {
      id: answer.download, asset, title, servers: [servers.current, ...servers.list.filter((s) => s !== servers.current)], rendition: answer.rendition, playlists: answer.playlists,
      bytes: answer.bytes, duration: answer.duration_s, token: answer.token, licenses: answer.licenses, expires: answer.expires, state: "loading", added: this.env.now(), plan: "",
    };
    const one = new Download(this, record, await this.store.open(PREFIX + record.id));
    this.#list.unshift(one);
    void one.resume();
    return one;
  }

  /** Bytes that may still be kept; undefined: the browser does not say. */
  async #room() {
    const { quota, usage = 0 } = (await globalThis.navigator?.storage?.estimate?.().catch(() => null)) ?? {};
    return quota === undefined ? undefined : Math.max(1, Math.floor(quota * (1 - SPARE) - usage));
  }

  /** Has the service worker serve what is kept; only a page that keeps something needs one. */
  serve() {
    if (this.options.env?.caches) return Promise.resolve(); // in a test
    this.#worker ??= this.#register().catch((error) => {
      this.#worker = null;
      throw error instanceof WeirError ? error : new WeirError("storage", { detail: `The browser did not take the page's service worker: ${error.message}`, cause: error });
    });
    return this.#worker;
  }

  async #register() {
    const workers = globalThis.navigator?.serviceWorker;
    if (!workers) throw new WeirError("storage", { detail: "This browser has no service workers, which play what is kept." });
    const own = new URL("offline.js", import.meta.url);
    const script = this.options.worker ?? (own.origin === location.origin ? "/player/sdk/offline.js" : "");
    if (!script) throw new WeirError("storage", { detail: "The page has to name a service worker of its own that imports offline.js." });
    const scope = this.options.scope ?? (this.options.worker ? undefined : "/");
    const registration = await workers.register(script, { ...(scope && { scope }) });
    this.scope = registration.scope;
    this.registration = registration;
    await this.#keepPage(this.options.page ?? []).catch(() => {}); // without a network: what was kept before is there
    while (!workers.controller) { // the first one, and one after a reload that went around it, has to take the page over
      const taken = new Promise((resolve) => workers.addEventListener("controllerchange", resolve, { once: true }));
      await workers.ready.then((ready) => ready.active?.postMessage("weir: claim"));
      await taken;
    }
  }

  /** Keeps the files of the page as they are now, and no others. @param {string[]} files */
  async #keepPage(files) {
    if (!files.length) return;
    const cache = await this.store.open(PAGE);
    await cache.addAll(files);
    const now = new Set(files.map((file) => new URL(file, location.href).href));
    for (const request of await cache.keys()) if (!now.has(request.url)) await cache.delete(request);
  }

  /** @param {Download} one @param {WeirError} [error]  why, where it was not the viewer */
  async gone(one, error) {
    if (!this.#list.includes(one)) return;
    this.#list = this.#list.filter((other) => other !== one);
    await this.store.delete(PREFIX + one.id);
    if (!this.#list.length && !this.options.worker) { // the page needs it no more
      await this.store.delete(PAGE);
      await this.registration?.unregister();
      this.#worker = null;
    }
    if (error) this.dispatchEvent(new CustomEvent("removed", { detail: { download: one, error } }));
    this.changed();
  }

  changed() {
    this.dispatchEvent(new Event("change"));
  }
}

/**
 * One title. Emits "progress" ({bytes, total}), "change" when its state changed, "problem" (WeirError) when it stopped loading.
 * Its states: loading; paused, by the viewer or by a problem; kept.
 */
export class Download extends EventTarget {
  bytes = 0;
  /** @type {WeirError | null} */ problem = null;
  /** @type {AbortController | null} */ #load = null;
  #told = 0;
  #renewed = 0;

  /** @param {Downloads} all @param {Kept} record @param {Cache} cache */
  constructor(all, record, cache) {
    super();
    this.all = all;
    this.record = record;
    this.cache = cache;
    this.servers = new Servers(record.servers);
  }

  get id() {
    return this.record.id;
  }

  get state() {
    return this.record.state;
  }

  /** Of its bytes, 0 to 1. */
  get part() {
    return this.record.state === "kept" ? 1 : Math.min(0.999, this.bytes / (this.record.bytes || Infinity));
  }

  /** Whether its time is over. */
  get over() {
    return Date.parse(this.record.expires) <= this.all.env.now();
  }

  /** Counts what is there. */
  async count() {
    if (this.record.state === "kept") return void (this.bytes = this.record.bytes);
    const sizes = await Promise.all((await this.#names()).map(async (name) => Number((await this.cache.match(key(`${this.id}/${name}`)))?.headers.get("content-length"))));
    this.bytes = sizes.reduce((sum, n) => sum + n, 0);
  }

  /** The files that are there, but for playlists and the record. */
  async #names() {
    const folder = key(`${this.id}/`);
    const names = (await this.cache.keys()).map(({ url }) => url.slice(url.indexOf(folder) + folder.length));
    return names.filter((name) => name.includes("/"));
  }

  /** @param {Kept["state"]} state @param {WeirError | null} [problem] */
  async #turn(state, problem = null) {
    this.record.state = state;
    this.problem = problem;
    await this.#put("record.json", "application/json", JSON.stringify(this.record)).catch(() => {}); // no room: a problem already
    this.dispatchEvent(new Event("change"));
    if (problem) this.dispatchEvent(new CustomEvent("problem", { detail: problem }));
    this.all.changed();
  }

  /** @param {string} name @param {string} type @param {string | Blob} body */
  async #put(name, type, body) {
    const size = typeof body === "string" ? new TextEncoder().encode(body).length : body.size;
    await this.cache.put(key(`${this.id}/${name}`), new Response(body, { headers: { "Content-Type": type, "Content-Length": String(size) } }));
  }

  /** Stops loading; what is there stays. */
  async pause() {
    if (this.record.state !== "loading") return;
    this.#load?.abort();
    await this.#turn("paused");
  }

  /** Goes on loading. Resolves when it is kept, or stops. */
  async resume() {
    if (this.#load && !this.#load.signal.aborted || this.record.state === "kept") return;
    const load = new AbortController();
    this.#load = load;
    await this.#turn("loading");
    const locks = globalThis.navigator?.locks;
    const work = () => this.#work(load.signal);
    try { // one page of those that are open loads it
      if (locks) await locks.request(PREFIX + this.id, { signal: load.signal }, work);
      else await work();
      if (!load.signal.aborted) await this.#turn("kept");
    } catch (error) {
      if (load.signal.aborted) return;
      load.abort();
      await this.#stopped(error);
    } finally {
      if (this.#load === load) this.#load = null;
    }
  }

  /** @param {unknown} error */
  async #stopped(error) {
    const quota = error instanceof DOMException && error.name === "QuotaExceededError";
    const words = quota ? new WeirError("room", { detail: "The browser gives no more room.", cause: error }) : error instanceof WeirError ? error : new WeirError("answer", { cause: error, detail: String(error) });
    await this.#turn(words.kind === "unreachable" ? "loading" : "paused", words);
    if (this.record.state !== "loading") return;
    const again = setTimeout(() => this.record.state === "loading" && void this.resume(), AGAIN_MS); // or once the browser says that there is a network
    /** @type {any} */ (again).unref?.();
  }

  /** @param {AbortSignal} signal */
  async #work(signal) {
    const pieces = await this.#plan(signal);
    const there = new Set(await this.#names());
    await this.count();
    const left = pieces.filter(({ name }) => !there.has(name));
    const stop = new AbortController();
    const both = AbortSignal.any([signal, stop.signal]);
    try {
      await Promise.all(Array.from({ length: AT_ONCE }, async () => {
        for (let piece = left.shift(); piece; piece = left.shift()) await this.#fetch(piece, both);
      }));
    } finally {
      stop.abort(); // one has failed: the others have no use
    }
    signal.throwIfAborted();
    this.#tell(true);
  }

  /** Reads the playlists, and writes those that are played. @param {AbortSignal} signal */
  async #plan(signal) {
    const { record } = this;
    const lists = await Promise.all(record.playlists.map(async (address, i) => {
      const response = await this.#get(() => this.#signed(address), {}, signal);
      return { name: `${i}.m3u8`, ...localize(await response.text(), response.url || this.#signed(address), String(i)) };
    }));
    const pieces = lists.flatMap((list) => list.pieces);
    const plan = JSON.stringify(pieces.map(({ name, url, range }) => [name, new URL(url).pathname, range]));
    if (record.plan && record.plan !== plan) { // it is another title now: what is there does not belong to it
      for (const name of await this.#names()) await this.cache.delete(key(`${this.id}/${name}`));
    }
    record.plan = plan;
    for (const { name, text } of lists) await this.#put(name, "application/vnd.apple.mpegurl", text);
    await this.#put("master.m3u8", "application/vnd.apple.mpegurl", multivariant(record.rendition, lists.map(({ name }) => name)));
    await this.#put("record.json", "application/json", JSON.stringify(record));
    return pieces;
  }

  /** The same on the server that is asked now, with the token as it is now. @param {string} address */
  #signed(address) {
    const url = new URL(this.servers.on(address));
    const { token } = this.record;
    if (token?.carry === "query") url.searchParams.set(token.name, token.value);
    return url.href;
  }

  /**
   * Loads one file. What has come of it counts: after a break the rest is asked for.
   * @param {import("./playlist.js").Piece} piece @param {AbortSignal} signal
   */
  async #fetch({ name, url, range }, signal) {
    /** @type {BlobPart[]} */
    let chunks = [];
    let got = 0;
    let tag = "";
    let type = "application/octet-stream";
    const first = range?.[0] ?? 0;
    try {
      for (let attempt = 1; ;) {
        /** @type {Record<string, string>} */
        const headers = range || got ? { Range: `bytes=${first + got}-${range?.[1] ?? ""}` } : {};
        if (got && tag) headers["If-Range"] = tag;
        const response = await this.#get(() => this.#signed(url), headers, signal);
        const partial = response.status === 206;
        if (range && !partial) throw new WeirError("answer", { status: response.status, detail: "the server sends no parts of files" });
        const etag = response.headers.get("etag") ?? "";
        if (got && (!partial || !tag || etag !== tag)) { // another version: from its beginning
          this.bytes -= got;
          [chunks, got] = [[], 0];
          if (partial) {
            tag = "";
            continue;
          }
        }
        tag = etag.startsWith("W/") ? "" : etag;
        type = response.headers.get("content-type") ?? type;
        try {
          for await (const chunk of chunksOf(response, signal)) {
            chunks.push(chunk);
            got += chunk.byteLength;
            this.bytes += chunk.byteLength;
            attempt = 1;
            this.#tell();
          }
          break;
        } catch (error) {
          if (signal.aborted) throw error;
          if (++attempt > ATTEMPTS) throw new WeirError("unreachable", { cause: error });
          await this.all.env.wait(backoff(attempt - 1, this.all.env), signal);
        }
      }
      await this.#put(name, type, new Blob(chunks));
    } catch (error) {
      this.bytes -= got;
      throw error;
    }
  }

  /**
   * Asks until the head of a good answer is there. A token that is over is renewed once.
   * @param {() => string} address @param {Record<string, string>} headers @param {AbortSignal} signal
   */
  async #get(address, headers, signal) {
    const { env } = this.all;
    const { token } = this.record;
    let renewed = false;
    for (let attempt = 1; ;) {
      signal.throwIfAborted();
      let error;
      let least = 0;
      try {
        const carried = this.record.token?.carry === "header" ? { [this.record.token.name]: this.record.token.value } : {};
        const response = await env.fetch(address(), { headers: { ...headers, ...carried }, signal, cache: "no-store" });
        if (response.ok) return response;
        error = await errorOf(response);
        if ((response.status === 401 || response.status === 403) && token && !renewed) {
          renewed = true;
          await this.#renewToken(signal);
          continue;
        }
        if (response.status < 500 && response.status !== 429) {
          throw error.kind !== "answer" ? error : new WeirError(response.status === 404 || response.status === 410 ? "asset" : response.status < 404 ? "forbidden" : "answer", { status: response.status });
        }
        least = Math.max(0, retryAfter(response.headers.get("retry-after"), env.now()));
      } catch (cause) {
        signal.throwIfAborted();
        if (cause instanceof WeirError) throw cause;
        error = new WeirError("unreachable", { cause });
      }
      this.#next();
      if (++attempt > ATTEMPTS) throw error;
      await env.wait(Math.max(least, backoff(attempt - 1, env)), signal);
    }
  }

  /** The next server's turn. */
  #next() {
    const { servers } = this;
    servers.current = /** @type {string} */ (servers.pick(new Set([servers.current])) ?? servers.current);
  }

  /** @param {AbortSignal} signal */
  async #renewToken(signal) {
    const body = JSON.stringify({ session: this.id });
    this.record.token = await ask(this.servers, "/sdk/v1/token", { method: "POST", headers: { "Content-Type": "application/json" }, body, signal }, this.all.env);
  }

  #tell(now = false) {
    const { env } = this.all;
    if (!now && env.now() - this.#told < TELL_MS) return;
    this.#told = env.now();
    this.dispatchEvent(new CustomEvent("progress", { detail: { bytes: this.bytes, total: this.record.bytes } }));
  }

  /** Says that it is still wanted, so that it may be played for longer; once a day is enough. */
  async renew() {
    if (this.#renewed + RENEW_MS > this.all.env.now()) return;
    this.#renewed = this.all.env.now();
    try {
      const { expires } = await ask(this.servers, `/sdk/v1/downloads/${this.id}`, { attempts: 1 }, this.all.env);
      this.record.expires = expires;
      await this.#put("record.json", "application/json", JSON.stringify(this.record));
    } catch (error) {
      if (error instanceof WeirError && error.status === 410) await this.all.gone(this, new WeirError("expired")); // else it may be played until its time is over
    }
  }

  /** Takes it off the device, and makes room in the account. */
  async remove() {
    this.#load?.abort();
    await this.all.gone(this);
    await ask(this.servers, `/sdk/v1/downloads/${this.id}`, { method: "DELETE", attempts: 1, keepalive: true }, this.all.env).catch(() => {}); // it ends by itself
  }

  /** Where it plays from, once the service worker serves. */
  get manifest() {
    return new URL(`player/kept/${this.id}/master.m3u8`, this.all.scope ?? location.href).href;
  }

  /**
   * The same for players of DASH.
   * @returns {Promise<string>}
   * @throws {WeirError} "unsupported": it is encrypted, or of several parts, or no fragmented MP4
   */
  async dash() {
    const { record, cache } = this;
    /** @param {string} name */
    const read = async (name) => /** @type {Response} */ (await cache.match(key(`${this.id}/${name}`)));
    const tracks = await Promise.all(record.playlists.map(async (_, i) => {
      const files = sequence(await (await read(`${i}.m3u8`)).text());
      if (!files) throw new WeirError("unsupported", { detail: "It was kept in a form that only players of HLS know." });
      return { ...files, ...beginning(await (await read(files.init)).arrayBuffer(), await (await read(files.first)).arrayBuffer()) };
    }));
    await this.#put("manifest.mpd", "application/dash+xml", mpd(record.rendition, tracks));
    return this.manifest.replace("master.m3u8", "manifest.mpd");
  }

  /**
   * The same as blob: addresses, for players that take nothing from a service worker.
   * @param {string[]} made  all that are to be revoked when it is over @param {string} [name]
   * @returns {Promise<string>}
   */
  async blobs(made, name = "master.m3u8") {
    const found = await this.cache.match(key(`${this.id}/${name}`));
    if (!found) return name; // such as the address of a key that a DRM system knows
    let body = await found.blob();
    if (name.endsWith(".m3u8")) {
      const text = await body.text();
      const named = /^[^#\s].*$|(URI=")([^"]*)/gm;
      /** @type {Map<string, string>} */
      const at = new Map();
      for (const [line, , uri = line] of text.matchAll(named)) if (!at.has(uri)) at.set(uri, await this.blobs(made, uri));
      body = new Blob([text.replace(named, (line, before = "", uri = line) => before + at.get(uri))], { type: "application/vnd.apple.mpegurl" });
    }
    const url = URL.createObjectURL(body);
    made.push(url);
    return url;
  }

  /**
   * Plays it, with a network or without.
   * @param {HTMLVideoElement} video
   * @param {{engine: import("./session.js").Engine, position?: number, resume?: boolean, autoplay?: boolean, cmcd?: boolean}} options
   *   position in seconds, default: where the viewer left it; cmcd false: nothing is reported
   * @returns {Promise<KeptPlayback>}
   * @throws {WeirError}
   */
  async play(video, { engine, position, resume = true, autoplay = true, cmcd = true }) {
    if (this.over) {
      await this.all.gone(this, new WeirError("expired"));
      throw new WeirError("expired");
    }
    if (!engine.blobs) await this.all.serve();
    const playback = new KeptPlayback(this, video, engine, resume, cmcd);
    try {
      await playback.start(position);
    } catch (error) {
      playback.close();
      throw error;
    }
    if (autoplay) await video.play().catch(() => {}); // the page has to ask for a click
    return playback;
  }
}

/** The parts of a body as they come; one that is silent for too long is over. @param {Response} response @param {AbortSignal} signal */
async function* chunksOf(response, signal) {
  const reader = /** @type {ReadableStream<Uint8Array<ArrayBuffer>>} */ (response.body).getReader();
  try {
    for (;;) {
      signal.throwIfAborted();
      /** @type {ReturnType<typeof setTimeout> | undefined} */
      let timer;
      const silence = new Promise((_, reject) => (timer = setTimeout(() => reject(new Error("silent")), SILENCE_MS)));
      const { done, value } = await Promise.race([reader.read(), /** @type {Promise<never>} */ (silence)]).finally(() => clearTimeout(timer));
      if (done) return;
      yield value;
    }
  } finally {
    void reader.cancel().catch(() => {}); // it is over already, or broken
  }
}

/** Playback of what is kept. Emits "problem" (WeirError). There is no session: the service is told afterwards. */
export class KeptPlayback extends EventTarget {
  #stop = new AbortController();
  /** @type {string[]} */ #blobs = [];
  /** @type {Reports | null} */ #reports = null;

  /** @param {Download} download @param {HTMLVideoElement} video @param {import("./session.js").Engine} engine @param {boolean} resume @param {boolean} cmcd */
  constructor(download, video, engine, resume, cmcd) {
    super();
    this.download = download;
    this.video = video;
    this.engine = engine;
    this.resume = resume;
    this.cmcd = cmcd;
  }

  /** @param {number} [position] */
  async start(position) {
    const { download, engine, video } = this;
    const { record, all } = download;
    /** @param {import("./session.js").Failure} failure */
    const failed = ({ kind, status = 0, message }) => {
      this.#reports?.failed({ kind, status });
      const over = status === 404 || status === 410;
      this.dispatchEvent(new CustomEvent("problem", { detail: new WeirError(over ? "expired" : kind === "media" ? "media" : "storage", { status, detail: message }) }));
    };
    await engine.attach(video, {
      route: (url) => url, failed, doubt() {}, changed: () => this.#reports?.changed(), cmcd: null, headers: {}, licenses: record.licenses, limits: { height: 0, bitrate: 0 },
      buffer: { goal_s: 30, refill_s: 8, offline_s: 0 },
    });
    if (this.cmcd) this.#reports = new Reports(video, engine, all.seen.begin(record.asset, engine.format === "dash" ? "d" : "h"), REPORT_S, all.env);
    const { signal } = this.#stop;
    globalThis.addEventListener?.("pagehide", () => this.#reports?.close("q"), { signal });
    for (const name of ["pause", "seeked"]) video.addEventListener(name, () => this.#save(), { signal });
    const manifest = engine.blobs ? await download.blobs(this.#blobs) : engine.format === "dash" ? await download.dash() : download.manifest;
    await engine.open(manifest, position ?? (this.resume ? recall(record.asset, all.env) : 0));
  }

  #save() {
    const { download: { record, all }, video } = this;
    if (this.resume && video.currentTime) remember(record.asset, video.currentTime, video.duration, all.env);
  }

  /** Frees the video element. */
  close() {
    this.#save();
    this.#reports?.close("q");
    this.#stop.abort();
    this.engine.destroy();
    for (const url of this.#blobs) URL.revokeObjectURL(url);
  }
}
