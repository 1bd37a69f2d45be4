// Runs in every page before its own scripts: watches the first <video>.
// Everything is under window.__probe; run.mjs reads it with snapshot().

(() => {
  const STALL_MS = 250;
  const TICK_MS = 50;
  const STRIP_EVERY_MS = 200;
  const probe = (window.__probe = {
    begun: 0, startedMs: 0, firstFrameMs: 0, played: 0, stalls: [], frames: [], errors: [], timings: {}, stripError: "",
  });
  let video = null;
  let time = 0;
  let since = 0;
  let stall = null;
  let reopening = false;

  probe.error = (text) => probe.errors.push(String(text));
  window.addEventListener("error", (e) => probe.error(`page: ${e.message}`));
  window.addEventListener("unhandledrejection", (e) => probe.error(`page: ${e.reason?.message ?? e.reason}`));
  new PerformanceObserver((list) => {
    for (const t of list.getEntries()) (probe.timings[t.name] ??= []).push({ start: t.startTime, protocol: t.nextHopProtocol });
  }).observe({ type: "resource", buffered: true });

  const still = () => {
    since = performance.now();
    time = video.currentTime;
    stall = null;
  };

  function tick() {
    if (!video) {
      video = document.querySelector("video");
      if (!video) return;
      video.addEventListener("playing", () => (probe.startedMs ||= performance.now() - probe.begun));
      video.addEventListener("error", () => probe.error(`video: ${video.error?.code} ${video.error?.message}`));
      for (const event of ["seeking", "play"]) video.addEventListener(event, () => reopening || still());
      // A player that opens its source again (paused, sought) is a stall to whoever watches.
      for (const event of ["error", "emptied"]) video.addEventListener(event, () => (reopening = probe.startedMs > 0));
      video.addEventListener("playing", () => (reopening = false));
      video.requestVideoFrameCallback?.((now, frame) => onFrame(now, frame));
      still();
      return;
    }
    const moved = video.currentTime - time;
    const resting = video.paused || video.seeking || video.ended || moved !== 0;
    if ((resting && !reopening) || !probe.startedMs) {
      if (moved > 0 && moved < 1.5) probe.played += moved;
      still();
      return;
    }
    const ms = performance.now() - since;
    if (ms < STALL_MS) return;
    if (!stall) probe.stalls.push((stall = { at: time, ms: 0 }));
    stall.ms = Math.round(ms);
  }
  setInterval(tick, TICK_MS);

  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [480, 32];
  const context = canvas.getContext("2d", { willReadFrequently: true });
  let lastRead = 0;

  function onFrame(now, frame) {
    probe.firstFrameMs ||= performance.now() - probe.begun;
    if (probe.strip && now - lastRead >= STRIP_EVERY_MS && !probe.stripError) {
      lastRead = now;
      readStrip(frame);
    }
    video.requestVideoFrameCallback(onFrame);
  }

  /** Twelve squares, the highest bit left, white = 1, at (400 + 40 i, 640) of 1280 x 720. */
  function readStrip(frame) {
    const k = video.videoWidth / 1280;
    try {
      context.drawImage(video, 400 * k, 640 * k, 480 * k, 32 * k, 0, 0, 480, 32);
      let number = 0;
      for (let i = 0; i < 12; i++) {
        const [r, g, b] = context.getImageData(40 * i + 16, 16, 1, 1).data;
        number = number * 2 + (r + g + b > 384 ? 1 : 0);
      }
      // On a busy machine the picture drawn may be newer than the callback's: it
      // lies between the callback's media time and the position now.
      const ms = (seconds) => Math.round(seconds * 1000) / 1000;
      probe.frames.push({ at: ms(frame.mediaTime), until: ms(Math.max(frame.mediaTime, video.currentTime)), frame: number });
    } catch (error) {
      probe.stripError = error.message;
    }
  }

  probe.snapshot = () => {
    const quality = video?.getVideoPlaybackQuality?.();
    return {
      startedMs: Math.round(probe.startedMs), firstFrameMs: Math.round(probe.firstFrameMs), playedSeconds: probe.played,
      position: video?.currentTime ?? 0, duration: video?.duration ?? 0, ended: video?.ended ?? false, stalls: probe.stalls, frames: probe.frames,
      stripError: probe.stripError, errors: probe.errors, dropped: quality?.droppedVideoFrames ?? 0, decoded: quality?.totalVideoFrames ?? 0,
    };
  };
})();
