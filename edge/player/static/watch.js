// Watches the picture: start, stalls, frames, buffer.

// A stall is a picture that stood still this long while it should have moved.
const STALL_MS = 250;
const TICK_MS = 50;

export class Watch {
  started = 0;
  stalls = 0;
  stalledMs = 0;
  played = 0;
  #asked = 0;
  #time = 0;
  #since = 0;
  #counted = false;
  #reopening = false;

  constructor(video) {
    this.video = video;
    this.#since = performance.now();
    video.addEventListener("playing", () => (this.started ||= this.#asked && Math.round(performance.now() - this.#asked)));
    for (const event of ["seeking", "play"]) video.addEventListener(event, () => this.#reopening || this.#still());
    // A source that is opened again (paused, sought) is a stall to whoever watches.
    for (const event of ["error", "emptied"]) video.addEventListener(event, () => (this.#reopening = this.started > 0));
    video.addEventListener("playing", () => (this.#reopening = false));
    setInterval(() => this.#tick(), TICK_MS);
  }

  /** Call when playback is asked for: the start is counted from here. */
  begin() {
    this.#asked = performance.now();
  }

  get buffer() {
    const { buffered, currentTime } = this.video;
    for (let i = 0; i < buffered.length; i++) {
      if (buffered.start(i) <= currentTime + 0.1 && currentTime < buffered.end(i)) return buffered.end(i) - currentTime;
    }
    return 0;
  }

  get frames() {
    const quality = this.video.getVideoPlaybackQuality?.();
    return { dropped: quality?.droppedVideoFrames ?? 0, total: quality?.totalVideoFrames ?? 0 };
  }

  #still() {
    this.#since = performance.now();
    this.#time = this.video.currentTime;
    this.#counted = false;
  }

  #tick() {
    const { video } = this;
    const moved = video.currentTime - this.#time;
    const resting = video.paused || video.seeking || video.ended || moved !== 0;
    if ((resting && !this.#reopening) || !this.started || document.hidden) {
      if (moved > 0 && moved < 1) this.played += moved;
      this.#still();
      return;
    }
    const frozen = performance.now() - this.#since;
    if (frozen < STALL_MS) return;
    if (!this.#counted) {
      this.#counted = true;
      this.stalls++;
      this.stalledMs += frozen;
      this.last = performance.now();
    } else {
      this.stalledMs += performance.now() - this.last;
      this.last = performance.now();
    }
  }
}
