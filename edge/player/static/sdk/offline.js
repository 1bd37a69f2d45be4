// A service worker that serves what is kept on the device, see downloads.js. It is a classic script, for browsers that know no
// others here; a page of another origin has one of its own, which needs only importScripts() with an edge's address of this file.
//
// Two kinds of requests are its business, all others go their way: those under /player/kept/, for which there is no server, and
// those for files of the page itself that the page has kept, where the network does not answer in time.

(() => {
  const worker = /** @type {any} */ (globalThis);
  const KEPT = "/player/kept/";
  const PAGE = "weir-page";
  const PATIENCE_MS = 3000;

  worker.addEventListener("install", () => worker.skipWaiting());
  worker.addEventListener("activate", (/** @type {any} */ event) => event.waitUntil(worker.clients.claim()));
  worker.addEventListener("message", (/** @type {any} */ event) => event.data === "weir: claim" && event.waitUntil(worker.clients.claim()));
  worker.addEventListener("fetch", (/** @type {any} */ event) => {
    const { request } = event;
    const { origin, pathname } = new URL(request.url);
    const at = pathname.indexOf(KEPT);
    if (origin !== worker.location.origin || request.method !== "GET") return;
    if (at >= 0) event.respondWith(kept(pathname.slice(at + KEPT.length), request.headers.get("range")));
    else if (request.cache === "no-store") return; // somebody wants to know whether the network answers
    else if (request.mode === "navigate" || pathname.startsWith("/player/")) event.respondWith(page(request));
  });

  /** @param {number} status @param {string} text */
  const plain = (status, text) => new Response(text, { status, headers: { "Content-Type": "text/plain" } });

  /** @param {string} path  the download's id, and a file in it @param {string | null} range */
  async function kept(path, range) {
    const name = `weir-kept-${path.split("/")[0]}`;
    if (!(await caches.has(name))) return plain(404, "this was not kept, or it is over");
    const cache = await caches.open(name);
    /** @param {string} file */
    const find = (file) => cache.match(KEPT + file);
    if (/\.(m3u8|mpd)$/.test(path)) {
      const record = await (await find(`${path.split("/")[0]}/record.json`))?.json();
      if (!record || Date.parse(record.expires) <= Date.now()) return plain(410, "it may not be played any more");
    }
    const found = await find(path);
    if (!found) return plain(404, "this was not kept");
    return range ? part(found, range) : found;
  }

  /** What a player that reads by ranges gets (RFC 9110, 14). @param {Response} whole @param {string} range */
  async function part(whole, range) {
    const [, first = "", last = ""] = /^bytes=(\d*)-(\d*)$/.exec(range) ?? [];
    if (!last && !Number(first)) return whole; // all of it, or nothing that is known
    const body = await whole.blob();
    const from = first ? Number(first) : Math.max(0, body.size - Number(last));
    const to = first && last ? Math.min(Number(last), body.size - 1) : body.size - 1;
    if (from > to) return new Response(null, { status: 416, headers: { "Content-Range": `bytes */${body.size}` } });
    const headers = new Headers(whole.headers);
    headers.set("Content-Range", `bytes ${from}-${to}/${body.size}`);
    headers.set("Content-Length", String(to - from + 1));
    return new Response(body.slice(from, to + 1), { status: 206, headers });
  }

  /** The network's answer; what is kept where there is none, or none in time. @param {Request} request */
  async function page(request) {
    const cache = await caches.open(PAGE);
    const copy = await cache.match(request, { ignoreSearch: request.mode === "navigate" });
    if (!copy) return fetch(request);
    const late = new Promise((resolve) => setTimeout(resolve, navigator.onLine ? PATIENCE_MS : 0, copy));
    return Promise.race([fetch(request).catch(() => copy), late]);
  }
})();
