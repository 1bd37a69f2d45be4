// Reports by the player itself: CMCD event mode (CTA-5004-B).

import { retryAfter } from "./wire.js";

/** @typedef {Record<string, string | number | boolean | Token | (string | number)[] | undefined>} Fields */

/** A token of structured fields (RFC 9651, 3.3.4), which is written without quotes. */
export class Token {
  /** @param {string} text */
  constructor(text) {
    this.text = text;
  }
}

const KEEP = 500; // of records that could not be sent: 4 hours at one in 30 s; the oldest go first
const BATCH = 100;
const BATCH_MS = 5000;
const WAIT_MS = 10000;

/** @param {Fields[string]} value @returns {string} */
function item(value) {
  if (value instanceof Token) return value.text;
  if (typeof value === "string") return `"${value.replace(/[^\x20-\x7e]/g, "").replace(/["\\]/g, "\\$&")}"`;
  if (typeof value === "number") return String(Math.round(value * 1000) / 1000);
  if (Array.isArray(value)) return `(${value.map(item).join(" ")})`;
  return value ? "?1" : "?0";
}

/** One record: a dictionary (RFC 9651, 3.2) with its keys in order; what is undefined or false is left out. @param {Fields} fields */
export function encode(fields) {
  return Object.keys(fields).sort().flatMap((key) => {
    const value = fields[key];
    if (value === undefined || value === false || typeof value === "number" && !Number.isFinite(value)) return [];
    return value === true ? [key] : [`${key}=${item(value)}`];
  }).join(",");
}

/** Keeps records and sends them in batches; what cannot be sent is kept until it can. */
export class Reporter {
  /** @type {string[]} */ #queue = [];
  #number = 0;
  #stopped = false;
  #sending = false;
  #notBefore = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #timer;

  /**
   * @param {() => string} to  where batches go
   * @param {Fields} constant   keys of every record: sid, cid, sf …
   * @param {import("./wire.js").Env} env
   */
  constructor(to, constant, env) {
    this.to = to;
    this.constant = constant;
    this.env = env;
    this.#queue = this.#kept();
  }

  /** Records that wait to be sent. */
  get waiting() {
    return this.#queue.length;
  }

  /** @param {string} event  a token such as ps, t, e @param {Fields} fields */
  add(event, fields) {
    if (this.#stopped) return;
    const record = { ...this.constant, ...fields, e: new Token(event), ts: this.env.now(), sn: this.#number++, v: 2 };
    this.#queue.push(encode(record));
    if (this.#queue.length > KEEP) this.#queue.splice(0, this.#queue.length - KEEP);
    this.#timer ??= setTimeout(() => void this.send(), BATCH_MS);
  }

  /** Sends what waits; without a network, or where the server wants none now, nothing. */
  async send() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#stopped || this.#sending || !this.#queue.length) return;
    if (this.env.now() < this.#notBefore) return this.#later(this.#notBefore - this.env.now());
    this.#sending = true;
    const batch = this.#queue.splice(0, BATCH); // not there for close(), should the page be left meanwhile
    let wait = WAIT_MS; // where the network is away
    try {
      wait = this.#judge(await this.env.fetch(this.to(), this.#post(batch)));
    } catch {
      // they are sent again
    }
    this.#sending = false;
    if (wait && this.#stopped) return this.#keep([...this.#kept(), ...batch]);
    if (wait) this.#queue = [...batch, ...this.#queue].slice(-KEEP);
    if (!this.#stopped && this.#queue.length && (wait || !this.#timer)) this.#later(wait);
  }

  /**
   * How long to wait before a batch is sent again, ms; 0: it was taken, or never will be. CTA-5004-B, 3.3: 410 ends the reports
   * of the session, 429 and faults are met with patience.
   * @param {Response} response
   */
  #judge({ ok, status, headers }) {
    if (status === 410) this.#stop();
    if (ok || status !== 429 && status < 500) return 0;
    const wait = Math.max(retryAfter(headers.get("retry-after"), this.env.now()), WAIT_MS);
    this.#notBefore = this.env.now() + wait;
    return wait;
  }

  /** @param {string[]} batch @returns {RequestInit} */
  #post(batch) {
    return { method: "POST", headers: { "Content-Type": "application/cmcd" }, body: batch.join("\n"), keepalive: batch.length < BATCH };
  }

  /** @param {number} ms */
  #later(ms) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.send(), ms);
  }

  #stop() {
    this.#stopped = true;
    this.#queue = [];
    clearTimeout(this.#timer);
    this.env.storage?.removeItem(this.#key());
  }

  /** The page is left: sends the newest, and keeps the rest for the next session. */
  close() {
    clearTimeout(this.#timer);
    if (this.#stopped) return;
    const last = this.#queue.splice(-BATCH + 1);
    this.#stopped = true;
    if (globalThis.navigator?.onLine === false || !last.length) return this.#keep([...this.#queue, ...last]);
    this.#keep(this.#queue);
    void this.env.fetch(this.to(), this.#post(last)).catch(() => this.#keep([...this.#kept(), ...last]));
  }

  #key() {
    return "weir:cmcd";
  }

  /** @param {string[]} records */
  #keep(records) {
    try {
      if (records.length) this.env.storage?.setItem(this.#key(), records.slice(-KEEP).join("\n"));
    } catch {
      // no room, or no right to it: these are lost
    }
  }

  /** What an earlier session left. @returns {string[]} */
  #kept() {
    try {
      const text = this.env.storage?.getItem(this.#key()) ?? "";
      this.env.storage?.removeItem(this.#key());
      return text ? text.split("\n") : [];
    } catch {
      return [];
    }
  }
}
