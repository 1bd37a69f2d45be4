// The page's session: joins the client of sdk/ to the page's own engines, which fail over by themselves.

import * as weir from "./sdk/weir.js";

/**
 * One of the page's engines as the client wants it.
 * @param {any} engine HLSEngine or NativeEngine
 * @param {import("./nodes.js").Nodes} [nodes]
 * @returns {import("./sdk/session.js").Engine}
 */
export function asEngine(engine, nodes) {
  const stop = new AbortController(); // the page's engine goes on, with another source
  const { signal } = stop;
  return {
    name: engine.name,
    format: "hls",
    moves: true,
    blobs: !engine.sees,
    attach(_, host) {
      engine.report?.(host.cmcd);
      engine.addEventListener("level", host.changed, { signal });
      engine.addEventListener("failed", ({ detail }) => {
        if (detail.status === 401 || detail.status === 403) host.failed(detail); // a token may be over
      }, { signal });
    },
    open(url, position) {
      const { protocol, pathname, search } = new URL(url);
      engine.src = protocol === "blob:" ? url : pathname + search;
      nodes?.follow(nodes.of(url)); // whom the service's answer names
      engine.start(position);
    },
    stop: () => engine.stop(),
    destroy() {
      stop.abort();
      engine.stop();
    },
    ahead: engine.ahead && ((seconds) => engine.ahead(seconds)),
    audioOnly: (on) => engine.audioOnly?.(on),
    stats: () => ({ ...engine.playing, throughput: engine.throughput }),
  };
}

const VIEWER = "weir:viewer";

/** The viewer's token, where the page was opened with one: #viewer=TOKEN. No server sees it there, and the tab keeps it. */
export function credential() {
  const fragment = new URLSearchParams(location.hash.slice(1));
  const given = fragment.get("viewer");
  try {
    if (given) sessionStorage.setItem(VIEWER, given);
    return given ?? sessionStorage.getItem(VIEWER) ?? undefined;
  } catch {
    return given ?? undefined; // no right to storage
  } finally {
    if (given) history.replaceState(null, "", location.pathname + location.search);
  }
}

/** What the page says of an error of the client. */
export function wordsOf({ words, sessions }) {
  return { ...words, links: [], others: sessions.map((s) => ({ id: s.session, name: weir.nameOf(s) })) };
}

/**
 * Opens a session for the title and plays it. A server that knows no sessions plays without: null.
 * @param {HTMLVideoElement} video
 * @param {any} engine
 * @param {{nodes: import("./nodes.js").Nodes, asset: string, src: string, device: string, authorization?: string, replace?: boolean}} options
 * @returns {Promise<weir.Session | null>}
 * @throws {weir.WeirError} the viewer may not, or the device cannot
 */
export async function view(video, engine, { nodes, asset, src, device, authorization, replace = false }) {
  const without = () => {
    engine.src = src;
    engine.start();
    return null;
  };
  if (!asset) return without();
  const server = [nodes.current.url, ...nodes.list.filter((n) => n !== nodes.current).map((n) => n.url)];
  try {
    const session = await weir.play(video, { server, asset, device, authorization, replace, engine: asEngine(engine, nodes), autoplay: false });
    nodes.addEventListener("move", ({ detail }) => session.use(detail.to.url));
    return session;
  } catch (error) {
    if (!(error instanceof weir.WeirError)) throw error;
    if (src && ["answer", "not-found", "unreachable"].includes(error.kind)) return without();
    throw error;
  }
}
