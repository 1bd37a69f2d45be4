// shaka-player, handed in by the page.

/** @typedef {any} Shaka  the library's types are the page's business */

const NETWORK = 1; // shaka.util.Error.Category
const BAD_HTTP_STATUS = 1001; // shaka.util.Error.Code
const SYSTEMS = { widevine: "com.widevine.alpha", playready: "com.microsoft.playready", fairplay: "com.apple.fps", clearkey: "org.w3.clearkey" };

/**
 * @param {Shaka} library  the namespace shaka, or an instance of shaka.Player that has loaded nothing
 * @param {Record<string, unknown>} [config]  goes before what the session says
 * @param {"hls" | "dash"} [format]
 * @returns {import("./session.js").Engine}
 */
export function shaka(library, config = {}, format = "dash") {
  /** @type {Shaka} */ let player;
  /** @type {import("./session.js").Host} */ let host;
  /** @param {any} error */
  const failed = (error) => {
    if (error?.code === 7000) return; // LOAD_INTERRUPTED: by another load
    const status = error?.code === BAD_HTTP_STATUS ? error.data[1] : 0;
    host.failed({ kind: status ? "status" : error?.category === NETWORK ? "network" : "media", status, message: `shaka ${error?.code ?? error}` });
  };
  return {
    name: "shaka",
    format,
    routes: true,
    async attach(video, given) {
      host = given;
      library.polyfill?.installAll();
      player = library.Player ? new library.Player() : library;
      const { cmcd } = host;
      player.configure({
        ...(cmcd && { cmcd: { enabled: true, sessionId: cmcd.sid, contentId: cmcd.cid, useHeaders: cmcd.mode === "headers", version: cmcd.version, includeKeys: cmcd.keys } }),
        restrictions: { ...(host.limits.height && { maxHeight: host.limits.height }), ...(host.limits.bitrate && { maxBandwidth: host.limits.bitrate }) },
        streaming: {
          bufferingGoal: host.buffer.goal_s,
          retryParameters: { maxAttempts: 4, baseDelay: 300, backoffFactor: 2, fuzzFactor: 0.5, timeout: 8000 },
          failureCallback: (/** @type {any} */ error) => (host.doubt(), error.category === NETWORK && player.retryStreaming(1)),
        },
        drm: { servers: Object.fromEntries(Object.entries(host.licenses).map(([name, url]) => [SYSTEMS[/** @type {keyof typeof SYSTEMS} */ (name)] ?? name, url])) },
      });
      player.configure(config);
      player.getNetworkingEngine().registerRequestFilter((/** @type {number} */ _, /** @type {any} */ request) => {
        request.uris = request.uris.map(host.route);
        Object.assign(request.headers, host.headers);
      });
      player.getNetworkingEngine().addEventListener("retry", host.doubt);
      player.addEventListener("error", (/** @type {any} */ { detail }) => detail.severity === 2 && failed(detail));
      player.addEventListener("adaptation", host.changed);
      await player.attach(video);
    },
    async open(url, position) {
      await player.load(url, position || null).catch(failed);
      host.changed();
    },
    stop: () => void player.unload(),
    destroy: () => void player.destroy(),
    ahead: (seconds) => player.configure({ streaming: { bufferingGoal: Math.max(seconds, host.buffer.goal_s) } }),
    audioOnly: (on) => player.configure({ abr: { restrictions: { maxBandwidth: on ? 1 : Infinity } } }),
    stats() {
      const active = player.getVariantTracks().find((/** @type {any} */ t) => t.active);
      return { bitrate: active?.bandwidth, height: active?.height, throughput: player.getStats().estimatedBandwidth || 0 };
    },
  };
}
