// Reports of what plays from the device. There may be no network for days: they lie in the Cache API, in batches, until a server
// has taken them. A batch has a key, with which it counts once however often it is sent.

import { Token, encode } from "./cmcd.js";
import { WeirError, ask, backoff, newKey } from "./wire.js";

const CACHE = "weir-seen";
const BATCH = 100; // records: 50 minutes of playback
const BATCHES = 50; // the oldest go first
const AGE_MS = 14 * 86400e3; // older ones are not taken

/** @param {string} name */
const address = (name) => `/player/seen/${name}`;

/** What waits to be told, of all titles. Pages of one origin share it. */
export class Seen {
  /** @type {Promise<unknown>} */ #writes = Promise.resolve();
  /** @type {Set<Viewing>} */ #open = new Set();
  #again = false;
  #failures = 0; // one after the other

  /** @param {CacheStorage} store @param {import("./wire.js").Servers} servers @param {import("./wire.js").Env} env */
  constructor(store, servers, env) {
    this.store = store;
    this.servers = servers;
    this.env = env;
  }

  /** A viewing of a title. @param {string} asset @param {"h" | "d"} format  of the manifest, HLS or DASH */
  begin(asset, format = "h") {
    const viewing = new Viewing(this, asset, format);
    this.#open.add(viewing);
    return viewing;
  }

  /** @param {Viewing} viewing */
  over(viewing) {
    this.#open.delete(viewing);
    void this.send();
  }

  /** Writes a batch as it is now, where nobody has sent it meanwhile. @param {Batch} batch */
  write(batch) {
    this.#writes = this.#writes.then(() => this.#write(batch)).catch(() => {}); // no room: it is lost
    return this.#writes;
  }

  /** @param {Batch} batch */
  async #write(batch) {
    const cache = await this.store.open(CACHE);
    if (batch.written && !(await cache.match(address(batch.name)))) { // another page has sent it: the rest is another batch
      batch.records.splice(0, batch.written);
      batch.rename(this.env.now());
    }
    const text = batch.records.join("\n");
    batch.written = batch.records.length;
    await cache.put(address(batch.name), new Response(text, { headers: { "Content-Type": "application/cmcd", "Content-Length": String(text.length) } }));
    const names = (await cache.keys()).map(({ url }) => url).sort();
    for (const url of names.slice(0, -BATCHES)) await cache.delete(url);
  }

  /** Sends what waits, if there is a network, and one page at a time. */
  async send() {
    if (globalThis.navigator?.onLine === false || !(await this.store.has(CACHE))) return;
    const locks = globalThis.navigator?.locks;
    try {
      if (locks) await locks.request(CACHE, { ifAvailable: true }, (lock) => lock && this.#send());
      else await this.#send();
      this.#failures = 0;
    } catch (error) { // "online" comes early, and a hotel's network may answer with a page of its own
      const asked = error instanceof WeirError ? 1000 * (error.problem.retry_s ?? 0) : 0;
      this.#later(Math.max(backoff(++this.#failures + 1, this.env), asked));
    }
  }

  async #send() {
    for (const viewing of this.#open) viewing.seal();
    await this.#writes;
    const cache = await this.store.open(CACHE);
    for (const url of (await cache.keys()).map((request) => request.url).sort()) {
      const name = url.slice(url.lastIndexOf("/") + 1);
      const body = await (await cache.match(url))?.text();
      if (body && Number(name.split("-")[0]) + AGE_MS > this.env.now()) await this.#post(name, body);
      await cache.delete(url); // the cache stays: another page may be about to write
    }
  }

  /** @param {string} name @param {string} body */
  async #post(name, body) {
    const headers = { "Content-Type": "application/cmcd", "Idempotency-Key": name };
    try {
      await ask(this.servers, "/sdk/v1/cmcd", { method: "POST", headers, body, attempts: 1 }, this.env);
    } catch (error) {
      if (!(error instanceof WeirError) || !error.status || error.status === 429 || error.status >= 500) throw error;
    } // else it will never be taken
  }

  /** @param {number} ms */
  #later(ms) {
    if (this.#again) return;
    this.#again = true;
    const timer = setTimeout(() => {
      this.#again = false;
      void this.send();
    }, ms);
    /** @type {any} */ (timer).unref?.();
  }
}

/** Records that are sent together. */
class Batch {
  /** @type {string[]} */ records = [];
  written = 0;

  /** @param {number} now */
  constructor(now) {
    this.name = "";
    this.rename(now);
  }

  /** @param {number} now  when it begins, by which batches are sorted */
  rename(now) {
    this.name = `${now}-${newKey()}`;
  }
}

/** One playback of a title from the device: a sink of records, as a Reporter is. */
export class Viewing {
  /** @type {Batch | null} */ #batch = null;
  #id = newKey();
  #number = 0;

  /** @param {Seen} seen @param {string} asset @param {"h" | "d"} format */
  constructor(seen, asset, format) {
    this.seen = seen;
    this.asset = asset;
    this.format = format;
  }

  /** @param {string} event  a token such as ps, t, e @param {import("./cmcd.js").Fields} fields */
  add(event, fields) {
    const now = this.seen.env.now();
    const batch = (this.#batch ??= new Batch(now));
    const constant = { sid: this.#id, cid: this.asset, sf: new Token(this.format), v: 2, "weir-offline": true };
    batch.records.push(encode({ ...fields, ...constant, e: new Token(event), ts: now, sn: this.#number++ }));
    const written = this.seen.write(batch);
    if (batch.records.length < BATCH) return;
    this.seal();
    void written.then(() => this.seen.send());
  }

  /** What comes from now on is another batch. */
  seal() {
    this.#batch = null;
  }

  close() {
    this.seal();
    this.seen.over(this);
  }
}
