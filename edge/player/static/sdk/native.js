// The browser's own HLS: Safari, televisions, Chromium from 142 on.

/** Whether the browser plays HLS by itself. @param {HTMLVideoElement} video */
export function playsHLS(video) {
  return video.canPlayType("application/vnd.apple.mpegurl") !== "";
}

/**
 * It hides its requests: no CMCD of its own, no headers, and another server is a new start at the same position.
 * @returns {import("./session.js").Engine}
 */
export function native() {
  /** @type {HTMLVideoElement} */ let video;
  let from = 0;
  const stop = new AbortController();
  return {
    name: "browser",
    format: "hls",
    blobs: true, // Chromium's reads no playlist that a service worker made
    attach(element, host) {
      video = element;
      video.crossOrigin = "anonymous";
      const { signal } = stop;
      video.addEventListener("loadedmetadata", () => void (from > 0 && (video.currentTime = from)), { signal });
      video.addEventListener("resize", host.changed, { signal });
      video.addEventListener("error", async () => {
        const { error } = video;
        if (!error || !video.src) return;
        // The element does not say what was answered: the manifest tells whether it is the stream or the way to it.
        const status = await fetch(host.route(video.src), { signal }).then((r) => r.status, () => 0);
        const kind = status === 0 ? "network" : status >= 400 ? "status" : error.code === MediaError.MEDIA_ERR_NETWORK ? "network" : "media";
        if (!signal.aborted) host.failed({ kind, status: status >= 400 ? status : 0, url: video.src, message: error.message });
      }, { signal });
    },
    open(url, position) {
      from = position;
      video.src = url;
    },
    stop() {
      video.removeAttribute("src");
      video.load();
    },
    destroy() {
      stop.abort();
      this.stop();
    },
    stats: () => ({ height: video.videoHeight }),
  };
}
