// Buttons, keys, menu, and the four arrows of a remote control.

import { $, bits, put } from "./view.js";

const SEEK_SECONDS = 5;
const VOLUME_STEP = 0.1;
const IDLE_AFTER_MS = 2600;
const END_SECONDS = 0.35;

const icon = (button, name) => button.querySelector("use").setAttribute("href", `#i-${name}`);

export function clock(seconds) {
  const s = Math.max(0, Math.floor(seconds || 0));
  const rest = `${String(Math.floor((s % 3600) / 60)).padStart(s >= 3600 ? 2 : 1, "0")}:${String(s % 60).padStart(2, "0")}`;
  return s >= 3600 ? `${Math.floor(s / 3600)}:${rest}` : rest;
}

export class Controls {
  repeat = true;
  #idle = 0;

  /**
   * @param {HTMLVideoElement} video
   * @param {{engine: () => any}} page engine() may change
   */
  constructor(video, page) {
    this.video = video;
    this.page = page;
    this.stage = $("stage");
    this.#buttons();
    this.#media();
    document.addEventListener("keydown", (event) => this.#key(event));
    for (const event of ["pointermove", "pointerdown", "keydown", "focusin"]) document.addEventListener(event, () => this.wake());
    for (const button of document.querySelectorAll("[data-copy]")) button.addEventListener("click", () => copy(button));
    this.wake();
  }

  /** Tries to start, with sound off if it must; else shows the big button. */
  async autoplay() {
    const { video } = this;
    try {
      await video.play();
    } catch (error) {
      if (error.name !== "NotAllowedError") return;
      video.muted = true;
      await video.play().catch(() => this.#offer());
    }
  }

  #offer() {
    this.video.muted = false;
    $("big").hidden = false;
    $("big").focus({ focusVisible: !matchMedia("(hover: hover)").matches });
  }

  toggle() {
    if (this.video.paused) void this.video.play().catch(() => this.#offer());
    else this.video.pause();
  }

  wake() {
    clearTimeout(this.#idle);
    this.stage.classList.remove("idle");
    this.#idle = setTimeout(() => {
      const held = this.video.paused || !$("menu").hidden || $("controls").contains(document.activeElement) && document.activeElement.matches(":focus-visible");
      this.stage.classList.toggle("idle", !held);
    }, IDLE_AFTER_MS);
  }

  /** Hides the bar now; the next key or touch brings it back. */
  rest() {
    clearTimeout(this.#idle);
    document.activeElement?.blur?.();
    this.stage.classList.add("idle");
  }

  /** Seconds that are loaded ahead. */
  ahead() {
    const { buffered, currentTime } = this.video;
    for (let i = 0; i < buffered.length; i++) {
      if (buffered.start(i) <= currentTime + 0.1 && currentTime < buffered.end(i)) return buffered.end(i) - currentTime;
    }
    return 0;
  }

  #buttons() {
    const { video } = this;
    const on = (id, action) => $(id).addEventListener("click", action);
    on("play", () => this.toggle());
    on("big", () => this.toggle());
    on("mute", () => this.mute());
    on("unmute", () => this.mute());
    on("full", () => this.fullscreen());
    on("live", () => this.page.engine().toLive());
    on("loop", () => {
      this.repeat = !this.repeat;
      $("loop").ariaPressed = String(this.repeat);
    });
    on("quality", () => this.menu($("menu").hidden));
    video.addEventListener("click", () => {
      if (!$("menu").hidden) this.menu(false);
      else if (matchMedia("(hover: hover)").matches) this.toggle();
    });
    video.addEventListener("dblclick", () => this.fullscreen());
    $("seek").addEventListener("input", (event) => (video.currentTime = Number(event.target.value) * this.#span()[1] + this.#span()[0]));
    $("volume").addEventListener("input", (event) => {
      video.volume = Number(event.target.value);
      video.muted = video.volume === 0;
    });
    document.addEventListener("pointerdown", (event) => {
      if (!event.target.closest("#menu, #quality")) this.menu(false);
    });
  }

  #media() {
    const { video, stage } = this;
    const listen = (names, action) => names.split(" ").forEach((name) => video.addEventListener(name, action));
    listen("play playing pause", () => {
      icon($("play"), video.paused ? "play" : "pause");
      $("play").ariaLabel = video.paused ? "Play" : "Pause";
      if (!video.paused) $("big").hidden = true;
      this.wake();
    });
    listen("volumechange", () => this.#sound());
    listen("waiting seeking loadstart", () => stage.classList.add("waiting"));
    listen("playing canplay seeked error", () => stage.classList.remove("waiting"));
    listen("ended waiting", () => this.#end());
    listen("timeupdate progress durationchange seeked", () => this.#time());
    document.addEventListener("fullscreenchange", () => icon($("full"), document.fullscreenElement ? "window" : "full"));
    this.#sound();
  }

  /**
   * Starts again at the end. Not by video.loop: a track that is a little longer
   * than the title leaves hls.js waiting for an end that never comes.
   */
  #end() {
    const { video } = this;
    if (this.page.engine()?.live || !(video.duration - video.currentTime < END_SECONDS)) return;
    if (!this.repeat) return void (video.ended || video.pause());
    video.currentTime = 0;
    void video.play().catch(() => {});
  }

  #sound() {
    const { video } = this;
    const silent = video.muted || video.volume === 0;
    icon($("mute"), silent ? "muted" : "sound");
    $("mute").ariaLabel = silent ? "Sound on" : "Mute";
    $("unmute").hidden = !video.muted || video.volume === 0;
    const volume = silent ? 0 : video.volume;
    $("volume").value = String(volume);
    $("volume").style.setProperty("--at", `${volume * 100}%`);
  }

  /** First second and number of seconds that can be sought. */
  #span() {
    const { seekable, duration } = this.video;
    if (Number.isFinite(duration) && !this.page.engine()?.live) return [0, duration || 1];
    if (!seekable.length) return [0, 1];
    return [seekable.start(0), seekable.end(seekable.length - 1) - seekable.start(0) || 1];
  }

  #time() {
    const { video } = this;
    const [from, length] = this.#span();
    const part = (t) => `${Math.min(100, Math.max(0, ((t - from) / length) * 100)).toFixed(2)}%`;
    let to = video.currentTime;
    for (let i = 0; i < video.buffered.length; i++) {
      if (video.buffered.start(i) <= video.currentTime + 0.1) to = Math.max(to, video.buffered.end(i));
    }
    const seek = $("seek");
    seek.value = String((video.currentTime - from) / length);
    seek.style.setProperty("--at", part(video.currentTime));
    seek.style.setProperty("--to", part(to));
    seek.ariaValueText = clock(video.currentTime);
    const live = this.page.engine()?.live ?? false;
    $("live").hidden = !live;
    put($("clock"), live ? `-${clock(from + length - video.currentTime)}` : clock(video.currentTime));
    put($("length"), live ? "" : ` / ${clock(length)}`);
  }

  mute() {
    const { video } = this;
    video.muted = !(video.muted || video.volume === 0);
    if (!video.muted && video.volume === 0) video.volume = 1;
  }

  fullscreen() {
    const frame = this.stage.querySelector(".frame");
    if (document.fullscreenElement) void document.exitFullscreen();
    else if (frame.requestFullscreen) void frame.requestFullscreen().catch(() => {});
    else this.video.webkitEnterFullscreen?.(); // iPhone
  }

  /** Writes the quality button, and the menu's items when it is open. */
  quality() {
    const engine = this.page.engine();
    const button = $("quality");
    const height = engine.playing?.height;
    const auto = engine.chosen < 0;
    put(button.firstElementChild, auto ? (height ? `Auto ${height}p` : "Auto") : `${engine.levels.find((l) => l.index === engine.chosen)?.height ?? height}p`);
    button.disabled = engine.levels.length < 2;
    button.title = engine.sees ? "Quality" : "The browser chooses the quality itself";
  }

  menu(open) {
    const menu = $("menu");
    if (menu.hidden === !open) return;
    const engine = this.page.engine();
    const item = (index, text, note) => {
      const button = Object.assign(document.createElement("button"), { type: "button", textContent: text });
      button.setAttribute("role", "menuitemradio");
      button.ariaChecked = String(engine.chosen === index);
      button.append(Object.assign(document.createElement("small"), { textContent: note }));
      button.addEventListener("click", () => {
        engine.choose(index);
        this.menu(false);
      });
      return button;
    };
    menu.hidden = !open;
    $("quality").ariaExpanded = String(open);
    if (!open) return void (menu.contains(document.activeElement) && $("quality").focus());
    menu.replaceChildren(item(-1, "Auto", "by throughput"), ...engine.levels.map((l) => item(l.index, `${l.height}p`, bits(l.bitrate).join(" "))));
    (menu.querySelector("[aria-checked=true]") ?? menu.firstChild).focus();
  }

  #key(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const active = document.activeElement;
    const steering = active && active !== document.body && (active.matches(":focus-visible") || active.closest("dialog"));
    const action = this.#shortcut(event, active, steering);
    if (!action) return;
    event.preventDefault();
    action();
  }

  /** What a key does, if the focused element has no use for it itself. */
  #shortcut(event, active, steering) {
    const { video } = this;
    const arrow = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (event.key === "Escape" && !$("menu").hidden) return () => this.menu(false);
    if (arrow) return this.#arrow(arrow, active, steering);
    if (event.key === " " || event.key === "Enter") {
      return steering && active.matches("button, a") ? null : () => this.toggle();
    }
    switch (event.key) {
      case "k": case "MediaPlayPause": return () => this.toggle();
      case "MediaPlay": return () => void video.play();
      case "MediaPause": return () => video.pause();
      case "m": return () => this.mute();
      case "f": return () => this.fullscreen();
      case "Home": return steering ? null : () => (video.currentTime = this.#span()[0]);
    }
    return null;
  }

  #arrow([x, y], active, steering) {
    const { video } = this;
    const slider = active?.matches("input[type=range]");
    if (x && (!steering || active === $("seek"))) return () => this.seekBy(x * SEEK_SECONDS);
    if (x && slider) return null;
    if (steering) return () => steer(active, x, y);
    if (document.documentElement.dataset.device === "tv" || matchMedia("(hover: none)").matches) return () => $("play").focus({ focusVisible: true });
    return () => {
      video.muted = false;
      video.volume = Math.min(1, Math.max(0, video.volume - y * VOLUME_STEP));
    };
  }

  seekBy(seconds) {
    const [from, length] = this.#span();
    this.video.currentTime = Math.min(from + length - 0.1, Math.max(from, this.video.currentTime + seconds));
  }
}

/** Moves focus to the nearest control in a direction: what a remote control expects. */
function steer(active, x, y) {
  const inside = active.closest("[role=menu], dialog") ?? (document.fullscreenElement || document);
  const from = active.getBoundingClientRect();
  const middle = (r) => [r.left + r.width / 2, r.top + r.height / 2];
  const [fx, fy] = middle(from);
  let best = null;
  let least = Infinity;
  for (const element of inside.querySelectorAll("button:not(:disabled), a[href], input")) {
    if (element === active || !element.checkVisibility?.({ visibilityProperty: true })) continue;
    const r = element.getBoundingClientRect();
    const [mx, my] = middle(r);
    const along = x ? (mx - fx) * x : y > 0 ? r.top - from.bottom + from.height / 2 : from.top - r.bottom + from.height / 2;
    if (along <= 1) continue;
    const gap = x ? Math.max(0, r.top - from.bottom, from.top - r.bottom) : Math.max(0, r.left - from.right, from.left - r.right);
    const aside = x ? Math.abs(my - fy) : Math.abs(mx - fx);
    const row = x && gap > 0 ? innerWidth : 0; // sideways, what lies in the row comes first, however far it is
    const cost = along + 4 * gap + 0.3 * aside + row;
    if (cost < least) [best, least] = [element, cost];
  }
  best?.focus({ focusVisible: true });
  best?.scrollIntoView({ block: "nearest" });
}

async function copy(button) {
  const text = $(button.dataset.copy).textContent;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // No clipboard without TLS or permission: select it instead, one key away.
    getSelection().selectAllChildren($(button.dataset.copy));
    return;
  }
  button.classList.add("done");
  icon(button, "check");
  setTimeout(() => {
    button.classList.remove("done");
    icon(button, "copy");
  }, 1600);
}
