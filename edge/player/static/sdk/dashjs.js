// dash.js, handed in by the page.

/** @typedef {any} DashJs  the library's types are the page's business */

const CAPABILITY = [23, 32]; // MediaPlayer's errors about what the browser can do

/**
 * @param {DashJs} library  the namespace dashjs, or a MediaPlayer that is not initialized yet
 * @param {Record<string, unknown>} [config]  settings that go before what the session says
 * @returns {import("./session.js").Engine}
 */
export function dashjs(library, config = {}) {
  /** @type {DashJs} */ let player;
  /** @type {import("./session.js").Host} */ let host;
  const shown = () => (player?.isReady() ? player.getCurrentRepresentationForType?.("video") : undefined);
  return {
    name: "dash.js",
    format: "dash",
    routes: true,
    attach(video, given) {
      host = given;
      player = library.MediaPlayer ? library.MediaPlayer().create() : library;
      const { cmcd, limits } = host;
      player.updateSettings({ streaming: {
        applyContentSteering: true,
        buffer: { bufferTimeDefault: host.buffer.goal_s, bufferTimeAtTopQuality: host.buffer.goal_s },
        abr: { maxBitrate: { video: limits.bitrate ? limits.bitrate / 1000 : -1 } },
        ...(cmcd && { cmcd: { enabled: true, sid: cmcd.sid, cid: cmcd.cid, mode: cmcd.mode, version: cmcd.version, enabledKeys: cmcd.keys } }),
      } });
      player.updateSettings(config);
      if (limits.height) player.registerCustomCapabilitiesFilter((/** @type {any} */ r) => !(r.height > limits.height));
      player.initialize(video, undefined, false);
      player.addRequestInterceptor(async (/** @type {any} */ request) => {
        request.url = host.route(request.url);
        request.headers = { ...request.headers, ...host.headers };
        return request;
      });
      const { events } = (library.MediaPlayer ?? player.constructor ?? {});
      player.on(events?.ERROR ?? "error", (/** @type {any} */ { error }) => {
        const status = error?.data?.response?.status ?? error?.data?.status ?? 0;
        if (!status) host.doubt();
        host.failed({ kind: status ? "status" : CAPABILITY.includes(error?.code) ? "media" : "network", status, message: `dash.js ${error?.code}: ${error?.message}` });
      });
      player.on(events?.FRAGMENT_LOADING_ABANDONED ?? "fragmentLoadingAbandoned", host.doubt);
      player.on(events?.QUALITY_CHANGE_RENDERED ?? "qualityChangeRendered", host.changed);
    },
    /** Resolves once play() is of use: before, dash.js pauses the element itself. */
    open: (url, position) => new Promise((resolve) => {
      const names = ["streamInitialized", "error"];
      const done = () => {
        for (const name of names) player.off(name, done);
        resolve();
      };
      for (const name of names) player.on(name, done);
      player.attachSource(url, position || undefined);
    }),
    stop: () => player.attachSource(null),
    destroy: () => player.destroy(),
    ahead(seconds) {
      const goal = Math.max(seconds, host.buffer.goal_s);
      player.updateSettings({ streaming: { buffer: { bufferTimeDefault: goal, bufferTimeAtTopQuality: goal, bufferTimeAtTopQualityLongForm: goal } } });
    },
    audioOnly: (on) => player.updateSettings({ streaming: { abr: { maxBitrate: { video: on ? 1 : host.limits.bitrate ? host.limits.bitrate / 1000 : -1 } } } }),
    stats: () => ({ bitrate: shown()?.bandwidth, height: shown()?.height, throughput: (shown() && player.getAverageThroughput?.("video") || 0) * 1000 }),
  };
}
