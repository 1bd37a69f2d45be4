// What was fetched, how, and from where: one record per media request.

import { outcome } from "./cachestatus.js";

const KEEP = 240;
const FIGURES = { h3: "HTTP/3", h2: "HTTP/2", "http/1.1": "HTTP/1.1", "http/1.0": "HTTP/1.0" };

/** The protocol as a viewer knows it; "" while it is not known. */
export function protocolName(token) {
  return token ? (FIGURES[token] ?? token) : "";
}

/**
 * @typedef {object} Entry
 * @property {number} number     counts from 1
 * @property {string} url        as requested
 * @property {string} kind       "video", "audio", "init", "playlist"
 * @property {string} label      for example "720p" or "audio"
 * @property {string} node       who answered, by Cache-Status or by address
 * @property {string} outcome    "hit", "peer", "origin", "browser" or "unknown"
 * @property {string} source     which cache had it, "origin", or ""
 * @property {string} cacheStatus
 * @property {string} protocol   ALPN token, "" = hidden from the page
 * @property {number} status
 * @property {number} bytes
 * @property {number} start      performance.now() of the request
 * @property {number} ms         until the last byte
 * @property {boolean} asked     true where the outcome comes from a later request of the page's own
 */

/** Emits "change" whenever an entry is added or completed. */
export class Journal extends EventTarget {
  /** @type {Entry[]} */ entries = [];
  #number = 0;
  #nativeEntry = null;

  constructor() {
    super();
    performance.setResourceTimingBufferSize?.(1000);
    new PerformanceObserver((list) => {
      for (const timing of list.getEntries()) this.#timed(timing);
      performance.clearResourceTimings();
    }).observe({ type: "resource", buffered: true });
  }

  /** Whether a request was for media, and not for a playlist or an init section. */
  static isSegment(entry) {
    return entry.kind === "video" || entry.kind === "audio";
  }

  /** The newest n segments, oldest first. */
  segments(n) {
    return this.entries.filter(Journal.isSegment).slice(-n);
  }

  /** Adds an answered request. */
  add(fields, header) {
    const { kind: result, node, source } = outcome(header);
    const entry = {
      number: ++this.#number, url: "", kind: "video", label: "", status: 200, bytes: 0, start: 0, ms: 0, protocol: "",
      asked: false, cacheStatus: header ?? "", outcome: result, source, ...fields,
    };
    entry.node = node || fields.node || "";
    this.entries.push(entry);
    if (this.entries.length > KEEP) this.entries.shift();
    this.changed();
    return entry;
  }

  changed() {
    this.dispatchEvent(new Event("change"));
  }

  /** Also records what the media element itself fetches: describe(timing) returns the fields, or null to skip. */
  watchNative(describe) {
    this.#nativeEntry = describe;
  }

  /** Resource timing knows the protocol, and whether the browser's own cache answered. */
  #timed(timing) {
    let entry = this.entries.findLast((e) => e.url === timing.name && !e.timed && Math.abs(e.start - timing.startTime) < 2000);
    const native = !entry && timing.initiatorType === "video" && this.#nativeEntry?.(timing);
    if (native) entry = this.add(native, "");
    if (!entry) return;
    entry.timed = true;
    entry.protocol = timing.nextHopProtocol;
    const told = Object.fromEntries((timing.serverTiming ?? []).map((t) => [t.name, t.description]));
    if (entry.outcome === "unknown" && told["cache-status"]) this.amend(entry, told["cache-status"], false);
    if (timing.deliveryType === "cache" || (timing.transferSize === 0 && timing.encodedBodySize > 0)) entry.outcome = "browser";
    this.changed();
  }

  /** Adds a Cache-Status that came later, by Server-Timing or by a question of the page's own (asked). */
  amend(entry, header, asked) {
    const { kind, node, source } = outcome(header);
    if (kind === "unknown") return;
    Object.assign(entry, { outcome: kind, source, cacheStatus: header, asked });
    if (node) entry.node = node;
    this.changed();
  }
}
