// Rates over the last minutes, from the differences of the node's sums. Time passes by the node's own clock
// (uptime_seconds), so a slow answer does not look like a burst.

const storageKey = "weir.history";

export const spanSeconds = 300;
export const outcomes = ["hit", "collapsed", "stale", "miss", "pass", "local", "refused", "error"];

export class History {
  #samples = [];
  #buckets = []; // counts of the latency histogram, the newest last, for the last seconds only
  #previous = null;

  get samples() { return this.#samples; }
  get last() { return this.#samples.at(-1); }

  // push adds what a status says at a time in milliseconds. A gap or a restarted node breaks the curves.
  push(status, at) {
    const before = this.#previous;
    this.#previous = status;
    if (!before) return;
    const seconds = status.uptime_seconds - before.uptime_seconds;
    if (seconds < 0 || status.requests.total < before.requests.total) {
      this.#buckets = [];
      this.gap(at);
      return;
    }
    if (seconds < 0.05) return;
    if (seconds > 6) this.gap(at - 1);
    const sample = { at, seconds };
    for (const name of outcomes) sample[name] = status.requests[name] - before.requests[name];
    for (const name of ["h1", "h2", "h3"]) sample[name] = status.protocols[name] - before.protocols[name];
    sample.out = status.bytes.sent - before.bytes.sent;
    sample.peer = status.bytes.from_peer - before.bytes.from_peer;
    sample.origin = status.bytes.from_origin - before.bytes.from_origin;
    sample.evictions = status.cache.evictions - before.cache.evictions;
    Object.assign(sample, this.#latency(status.latency));
    this.#samples.push(sample);
    sample.ratio = hitRatio(this.sum(10));
    this.#trim(at);
  }

  // gap breaks the curves at a time.
  gap(at) {
    if (this.#samples.length > 0 && !this.last.gap) this.#samples.push({ at, gap: true });
  }

  // sum adds up the samples of the last seconds, not beyond a gap.
  sum(seconds) {
    const total = { seconds: 0 };
    const since = (this.last?.at ?? 0) - seconds * 1000;
    for (let i = this.#samples.length - 1; i >= 0; i--) {
      const sample = this.#samples[i];
      if (sample.gap || sample.at <= since) break;
      for (const name in sample) {
        if (name !== "at" && Number.isFinite(sample[name])) total[name] = (total[name] ?? 0) + sample[name];
      }
    }
    return total;
  }

  save() {
    try {
      sessionStorage.setItem(storageKey, JSON.stringify({ samples: this.#samples, previous: this.#previous }));
    } catch { /* a full or forbidden storage costs the curve after a reload, nothing else */ }
  }

  // restore takes up what this tab saw before a reload, if it was the same node not long ago.
  restore(name, now) {
    try {
      const kept = JSON.parse(sessionStorage.getItem(storageKey) ?? "null");
      if (kept?.previous?.name !== name) return;
      this.#samples = kept.samples;
      this.#previous = kept.previous;
      this.#trim(now);
    } catch { /* from another version: begin anew */ }
  }

  clear() {
    this.#samples = [];
    this.#buckets = [];
    this.#previous = null;
    sessionStorage.removeItem(storageKey);
  }

  #trim(now) {
    const since = now - (spanSeconds + 10) * 1000;
    const first = this.#samples.findIndex((sample) => sample.at >= since);
    if (first > 0) this.#samples.splice(0, first);
    if (first < 0) this.#samples = [];
  }

  #latency(latency) {
    if (!latency) return {};
    this.#buckets.push(latency.counts);
    if (this.#buckets.length > 11) this.#buckets.shift();
    const old = this.#buckets[0];
    const counts = latency.counts.map((n, i) => n - (old[i] ?? 0));
    return {
      p50: quantile(latency.bounds, counts, 0.5),
      p95: quantile(latency.bounds, counts, 0.95),
      p99: quantile(latency.bounds, counts, 0.99),
    };
  }
}

// hitRatio is the share of requests that could have gone to an upstream and did not.
export function hitRatio(sum) {
  const without = (sum.hit ?? 0) + (sum.stale ?? 0) + (sum.collapsed ?? 0);
  const all = without + (sum.miss ?? 0) + (sum.pass ?? 0) + (sum.error ?? 0);
  return all > 0 ? without / all : NaN;
}

// offload is the share of the viewers' bytes that the origin did not send.
export function offload(sum) {
  return sum.out > 0 ? Math.max(0, 1 - sum.origin / sum.out) : NaN;
}

// quantile reads a quantile from a histogram, on a straight line within the bucket.
export function quantile(bounds, counts, q) {
  const total = counts.reduce((a, b) => a + b, 0);
  if (total <= 0) return NaN;
  let below = 0;
  for (let i = 0; i < bounds.length; i++) {
    if (below + counts[i] >= q * total) {
      const low = i > 0 ? bounds[i - 1] : 0;
      return low + (bounds[i] - low) * ((q * total - below) / counts[i]);
    }
    below += counts[i];
  }
  return bounds.at(-1);
}
