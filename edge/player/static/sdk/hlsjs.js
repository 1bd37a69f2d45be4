// hls.js, handed in by the page.

/** @typedef {any} HlsJs  the library's types are the page's business */

/**
 * @param {HlsJs} library  the class Hls, or an instance that has loaded nothing; what an instance sends as CMCD is up to its maker
 * @param {Record<string, unknown>} [config]  goes before what the session says
 * @returns {import("./session.js").Engine}
 */
export function hlsjs(library, config = {}) {
  const own = typeof library === "function";
  const Hls = own ? library : library.constructor;
  /** @type {HlsJs} */ let hls;
  let recovered = false;
  let goal = 0;
  const level = () => hls.levels[hls.currentLevel];
  return {
    name: "hls.js",
    format: "hls",
    routes: true,
    attach(video, host) {
      goal = host.buffer.goal_s;
      const settings = {
        xhrSetup(/** @type {XMLHttpRequest} */ xhr, /** @type {string} */ url) {
          xhr.open("GET", host.route(url), true);
          for (const [name, value] of Object.entries(host.headers)) xhr.setRequestHeader(name, value);
        },
        maxBufferLength: host.buffer.goal_s,
        maxMaxBufferLength: Math.max(host.buffer.goal_s, host.buffer.offline_s),
        ...(host.cmcd && { cmcd: {
          sessionId: host.cmcd.sid, contentId: host.cmcd.cid, useHeaders: host.cmcd.mode === "headers", version: host.cmcd.version, includeKeys: host.cmcd.keys,
        } }),
        ...config,
      };
      hls = own ? new Hls(settings) : Object.assign(library, { config: Object.assign(library.config, settings) });
      hls.on(Hls.Events.MANIFEST_PARSED, () => {
        const { height, bitrate } = host.limits;
        const fits = (/** @type {any} */ l) => (!height || l.height <= height) && (!bitrate || l.bitrate <= bitrate);
        if (!hls.levels.every(fits)) hls.autoLevelCapping = Math.max(0, hls.levels.findLastIndex(fits));
      });
      hls.on(Hls.Events.LEVEL_SWITCHED, host.changed);
      hls.on(Hls.Events.ERROR, (/** @type {string} */ _, /** @type {any} */ { fatal, type, response, url, frag, error }) => {
        const status = response?.code ?? 0;
        if (type === Hls.ErrorTypes.NETWORK_ERROR && !status) host.doubt();
        if (!fatal) return;
        const about = { status, url: url ?? frag?.url ?? "", message: error?.message ?? "" };
        if (type === Hls.ErrorTypes.NETWORK_ERROR) return host.failed({ ...about, kind: status ? "status" : "network" });
        if (recovered || type !== Hls.ErrorTypes.MEDIA_ERROR) return host.failed({ ...about, kind: "media" });
        recovered = true; // once: it may be a decoder that only has to begin anew
        hls.recoverMediaError();
      });
      hls.attachMedia(video);
    },
    open(url, position) {
      hls.config.startPosition = position || -1;
      hls.loadSource(url);
    },
    stop: () => hls.stopLoad(),
    destroy: () => hls.destroy(),
    ahead(seconds) {
      hls.config.maxBufferLength = Math.max(seconds, goal);
    },
    audioOnly: (on) => (hls.autoLevelCapping = on ? 0 : -1),
    stats: () => ({ bitrate: level()?.averageBitrate || level()?.bitrate, height: level()?.height, throughput: hls.bandwidthEstimate || 0 }),
  };
}
