// Asks the servers of a service: the next one where one does not answer, and again after a while where none does.

import { explain } from "./words.js";

/**
 * What the module takes from its surroundings, so that tests can give it others.
 * @typedef {object} Env
 * @property {typeof globalThis.fetch} fetch
 * @property {(ms: number, signal?: AbortSignal) => Promise<void>} wait
 * @property {() => number} random   0 to 1
 * @property {() => number} now      milliseconds since 1970
 * @property {Pick<Storage, "getItem" | "setItem" | "removeItem"> | null} storage
 */

/**
 * A problem document (RFC 9457) with the members that this API adds.
 * @typedef {object} Problem
 * @property {string} [type]
 * @property {string} [title]
 * @property {number} [status]
 * @property {string} [detail]
 * @property {string} [field]
 * @property {number} [limit]
 * @property {OtherSession[]} [sessions]
 * @property {number} [retry_s]
 */

/** @typedef {{session: string, asset: string, device: string, label?: string, region?: string, started: string}} OtherSession */

const ATTEMPT_MS = 8000;
const ATTEMPTS = 5;
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 30000;

/** An answer that is an error, or none at all. */
export class WeirError extends Error {
  /**
   * @param {string} kind  the problem's name ("sessions", "ended" …), else "unreachable", "unsupported", "media" or "answer"
   * @param {{status?: number, problem?: Problem, cause?: unknown, detail?: string}} [about]
   */
  constructor(kind, { status = 0, problem = {}, cause, detail = "" } = {}) {
    super(problem.detail || detail || kind, { cause });
    this.name = "WeirError";
    this.kind = kind;
    this.status = status;
    this.problem = problem;
    /** Those that take the places, where that is the trouble. */
    this.sessions = problem.sessions ?? [];
    /** What happened and what to do, for whoever sits in front. */
    this.words = explain(kind, { status, problem, detail: this.message });
  }
}

/** @returns {Env} */
export function browserEnv() {
  return {
    fetch: (...args) => fetch(...args),
    wait: (ms, signal) => new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      const over = () => (clearTimeout(timer), reject(signal?.reason));
      const timer = setTimeout(() => (signal?.removeEventListener("abort", over), resolve()), ms);
      signal?.addEventListener("abort", over, { once: true });
    }),
    random: Math.random,
    now: Date.now,
    storage: store(),
  };
}

/** A page may have no right to storage at all: asking for it throws. */
function store() {
  try {
    return globalThis.localStorage ?? null;
  } catch {
    return null;
  }
}

/** The servers that answer alike, and the one that is asked now. */
export class Servers {
  /** @param {string | string[]} given base URLs, the first choice first */
  constructor(given) {
    /** @type {string[]} */
    this.list = [];
    this.learn([given].flat());
    if (!this.list.length) throw new TypeError("weir: no server is given");
    this.current = /** @type {string} */ (this.list[0]);
    /** @type {Set<string>} those that were asked, and left for another one */
    this.left = new Set();
  }

  /** Asks another server from now on. @param {string} server */
  move(server) {
    if (server !== this.current) this.left.add(this.current);
    this.left.delete(server);
    this.current = server;
  }

  /**
   * Where a player's request goes: as steering says (the manifest's URLs, the steering server's answers), but not to a server
   * that was left.
   * @param {string} url
   */
  route(url) {
    const { href, origin } = new URL(url, this.current);
    return this.left.has(origin) ? this.on(href) : href;
  }

  /** Adds servers; what is no base URL is left out. @param {string[]} more */
  learn(more) {
    for (const text of more) {
      const origin = originOf(text);
      if (origin && !this.list.includes(origin)) this.list.push(origin);
    }
  }

  /** The same path on another server; a URL of a stranger stays. @param {string} url @param {string} [server] */
  on(url, server = this.current) {
    const u = new URL(url, this.current);
    return this.list.includes(u.origin) ? server + u.pathname + u.search : u.href;
  }

  /** The current one if it was not tried yet, else the next one after it. @param {Set<string>} tried */
  pick(tried) {
    const at = this.list.indexOf(this.current);
    return [...this.list.slice(at), ...this.list.slice(0, at)].find((server) => !tried.has(server));
  }
}

/** @param {string} text */
function originOf(text) {
  try {
    const { origin, protocol } = new URL(text);
    return /^https?:$/.test(protocol) ? origin : "";
  } catch {
    return "";
  }
}

/** A key that no other call has. crypto.randomUUID wants a secure page. */
export function newKey() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((b) => b.toString(16).padStart(2, "0")).join("");
}

/** Seconds or a date (RFC 9110, 10.2.3) in milliseconds from now; -1 where it says nothing. @param {string | null} field @param {number} now */
export function retryAfter(field, now) {
  if (!field) return -1;
  const seconds = Number(field);
  const ms = Number.isFinite(seconds) ? seconds * 1000 : Date.parse(field) - now;
  return ms >= 0 ? ms : Number.isNaN(ms) ? -1 : 0;
}

/** How long to wait before attempt n (1, 2 …): twice as long each time, anywhere in it. @param {number} n @param {Env} env */
export function backoff(n, env) {
  return Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** (n - 1)) * (0.5 + env.random() / 2);
}

/**
 * Asks until there is an answer that is worth having. A server that does not answer, or says that it cannot (502, 504), is
 * left for the next one at once; one that asks for time (429, 503) gets it. All else is the answer.
 * @param {Servers} servers
 * @param {string} path   path and query, or a URL of one of the servers
 * @param {RequestInit & {attempts?: number}} init
 * @param {Env} env
 * @returns {Promise<any>} what a good one holds; null: nothing
 * @throws {WeirError}
 */
export async function ask(servers, path, { attempts = ATTEMPTS, signal, ...init }, env) {
  const tried = new Set();
  /** @type {WeirError | null} */
  let last = null;
  for (let attempt = 1; ;) {
    signal?.throwIfAborted();
    const server = servers.pick(tried);
    if (!server) { // the round is over
      tried.clear();
      if (attempt >= attempts) throw last ?? new WeirError("unreachable");
      await env.wait(backoff(attempt++, env), signal ?? undefined);
      continue;
    }
    let response;
    let answer = null;
    try {
      const limit = AbortSignal.timeout(ATTEMPT_MS);
      response = await env.fetch(servers.on(path, server), { ...init, signal: signal ? AbortSignal.any([signal, limit]) : limit });
      if (response.ok) answer = JSON.parse(await response.text() || "null"); // it may break off here too, or be the page of a network that wants a login
    } catch (cause) {
      signal?.throwIfAborted();
      last = new WeirError("unreachable", { cause });
      tried.add(server);
      continue;
    }
    if (response.ok) {
      servers.move(server);
      return answer;
    }
    const error = await errorOf(response);
    if (response.status === 502 || response.status === 504) {
      last = error;
      tried.add(server);
      continue;
    }
    servers.move(server);
    if (response.status !== 429 && response.status !== 503 || attempt >= attempts) throw error;
    const asked = retryAfter(response.headers.get("retry-after"), env.now());
    if (asked > LONGEST_WAIT_MS) throw error;
    await env.wait(Math.max(asked, backoff(attempt++, env)), signal ?? undefined);
  }
}

/** @param {Response} response */
export async function errorOf(response) {
  const { status } = response;
  /** @type {Problem} */
  let problem = {};
  if (/problem\+json/.test(response.headers.get("content-type") ?? "")) problem = await response.json().catch(() => ({}));
  const kind = /\/problems\/([a-z-]+)$/.exec(problem.type ?? "")?.[1] ?? "answer";
  return new WeirError(kind, { status, problem });
}
