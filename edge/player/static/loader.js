// A loader for hls.js that asks the next node when one fails.
//
// hls.js sees a failure only when no node answers: a request that dies on one
// node starts again on the next at once, so that playback goes on from the
// buffer without a retry delay.

import { outcome } from "./cachestatus.js";

// After this long without a byte the node is asked for something small. If it
// answers that, it is only slow (a far origin, a playlist held on purpose) and
// keeps the request; if not, the next node gets it. Both waits together stay
// well inside the buffer.
const SILENCE_MS = 1500;
const TRY_ANOTHER = new Set([502, 503, 504]);

/** Aborts a request when its node has gone silent and does not answer a question either. */
class Watchdog {
  #controller = new AbortController();
  #timer = 0;

  constructor(alive, outer) {
    this.alive = alive;
    this.signal = AbortSignal.any([this.#controller.signal, outer]);
    this.heard();
  }

  heard() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#doubt(), SILENCE_MS);
  }

  async #doubt() {
    const timer = this.#timer;
    const alive = await this.alive();
    if (timer !== this.#timer) return; // heard of it, or over, meanwhile
    if (alive) this.heard();
    else this.#controller.abort(new Error("silent"));
  }

  stop() {
    clearTimeout(this.#timer);
    this.#timer = 0;
  }
}

/** Reads a body, telling progress. */
async function read(response, heard) {
  const chunks = [];
  let bytes = 0;
  const reader = response.body.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    chunks.push(value);
    bytes += value.byteLength;
    heard(bytes);
  }
  const body = new Uint8Array(bytes);
  let at = 0;
  for (const chunk of chunks) {
    body.set(chunk, at);
    at += chunk.byteLength;
  }
  return body;
}

/**
 * Fetches from the node that the URL names, or the viewer has chosen, or from the first one that answers. The result's node is
 * null for a URL of no node, such as another CDN's.
 * @param {import("./nodes.js").Nodes} nodes
 * @param {string} url
 * @param {{headers?: Record<string, string>, signal: AbortSignal, onHead?: (r: Response) => void, onBytes?: (n: number) => void}} options
 */
export async function fetchFromNodes(nodes, url, options) {
  const tried = new Set();
  let last = null;
  const owned = nodes.owns(url);
  for (let node = nodes.pick(tried, url); node && tried.size < nodes.list.length; node = nodes.pick(tried, url)) {
    tried.add(node);
    const target = nodes.on(node, url);
    const dog = new Watchdog(async () => !owned || nodes.check(node), options.signal);
    const start = performance.now();
    try {
      const response = await fetch(target, { headers: options.headers, signal: dog.signal });
      dog.heard();
      options.onHead?.(response);
      const body = await read(response, (n) => (dog.heard(), options.onBytes?.(n)));
      last = { response, body, node: owned ? node : null, url: target, start, end: performance.now() };
      if (owned) nodes.answered(node, outcome(response.headers.get("cache-status")).node);
      if (!TRY_ANOTHER.has(response.status) || !owned) return last;
    } catch (error) {
      if (options.signal.aborted) throw error;
      if (!owned) throw error;
      nodes.failed(node);
    } finally {
      dog.stop();
    }
  }
  if (last) return last;
  throw new Error("no node answered");
}

const emptyStats = () => ({
  aborted: false, loaded: 0, retry: 0, total: 0, chunkCount: 0, bwEstimate: 0,
  loading: { start: 0, first: 0, end: 0 }, parsing: { start: 0, end: 0 }, buffering: { start: 0, first: 0, end: 0 },
});

/**
 * Returns a class for the `loader` setting of hls.js.
 * @param {import("./nodes.js").Nodes} nodes
 * @param {(context: object, result: object) => void} record called with every answer
 */
export function loaderFor(nodes, record) {
  return class NodeLoader {
    context = null;
    stats = emptyStats();
    #abort = new AbortController();
    #callbacks = null;
    #response = null;

    load(context, config, callbacks) {
      this.context = context;
      this.#callbacks = callbacks;
      this.stats.loading.start = performance.now();
      const limit = config.loadPolicy?.maxLoadTimeMs ?? config.timeout;
      const timer = setTimeout(() => this.#timeout(), limit);
      this.#run(context).catch((error) => this.#fail(0, error.message)).finally(() => clearTimeout(timer));
    }

    async #run(context) {
      const { stats } = this;
      const headers = { ...context.headers };
      if (context.rangeEnd) headers.range = `bytes=${context.rangeStart}-${context.rangeEnd - 1}`;
      const result = await fetchFromNodes(nodes, context.url, {
        headers,
        signal: this.#abort.signal,
        onHead: (response) => {
          this.#response = response;
          stats.loading.first = performance.now();
          stats.total = Number(response.headers.get("content-length")) || 0;
        },
        onBytes: (n) => (stats.loaded = n),
      });
      if (stats.aborted) return;
      record(context, result);
      this.#done(context, result);
    }

    #done(context, { response, body, url }) {
      const { stats } = this;
      if (!response.ok) return this.#fail(response.status, response.statusText);
      stats.loading.first ||= performance.now();
      stats.loading.end = performance.now();
      stats.loaded = stats.total = body.byteLength;
      const data = context.responseType === "arraybuffer" ? body.buffer : new TextDecoder().decode(body);
      const answer = { url: response.url || url, code: response.status, data: context.responseType === "json" ? JSON.parse(data) : data };
      const priority = context.responseType === "json" && answer.data["PATHWAY-PRIORITY"];
      if (priority) answer.data["PATHWAY-PRIORITY"] = nodes.order(priority);
      this.#callbacks?.onProgress?.(stats, context, answer.data, response);
      this.#callbacks?.onSuccess(answer, stats, context, response);
    }

    #fail(code, text) {
      if (this.stats.aborted) return;
      this.#callbacks?.onError({ code, text }, this.context, this.#response, this.stats);
    }

    #timeout() {
      const callbacks = this.#callbacks;
      this.#stop();
      callbacks?.onTimeout(this.stats, this.context, this.#response);
    }

    #stop() {
      if (this.stats.loading.end || this.stats.aborted) return;
      this.stats.aborted = true;
      this.#abort.abort();
    }

    abort() {
      this.#stop();
      this.#callbacks?.onAbort?.(this.stats, this.context, this.#response);
    }

    destroy() {
      this.#callbacks = null;
      this.#stop();
    }

    getCacheAge() {
      const age = this.#response?.headers.get("age");
      return age ? Number(age) : null;
    }

    getResponseHeader(name) {
      return this.#response?.headers.get(name) ?? null;
    }
  };
}
