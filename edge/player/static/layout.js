// How the page looks on a phone, on a desk, across the room and in a car. The style sheet does most of it.

import { detectDevice } from "./sdk/weir.js";
import { $, put } from "./view.js";

const DEVICES = ["tv", "car", "phone", "web"];
const SKIP_SECONDS = 15;
// Keys that mean "back": of Tizen, webOS, HbbTV and Android remote controls, and of keyboards.
const BACK = new Set(["Escape", "Backspace", "GoBack", "BrowserBack", "XF86Back", "Exit"]);

/** `?device=`, else what the browser seems to be: a big screen without a pointer is a television. */
export function deviceOf(search = location.search) {
  const asked = new URLSearchParams(search).get("device");
  if (asked && DEVICES.includes(asked)) return asked;
  const found = detectDevice();
  return found === "web" && matchMedia("(hover: none) and (min-width: 1800px)").matches ? "tv" : found;
}

/** A length of time in few words. */
function span(seconds) {
  const s = Math.floor(seconds);
  return s < 100 ? `${s} s` : `${Math.round(s / 60)} min`;
}

export class Layout {
  local = false; // what plays is kept on the device
  #ahead = 0; // seconds that are to be there before the network goes

  /**
   * @param {string} device
   * @param {HTMLVideoElement} video
   * @param {import("./controls.js").Controls} controls
   */
  constructor(device, video, controls) {
    this.device = device;
    this.video = video;
    this.controls = controls;
    this.session = null;
    document.documentElement.dataset.device = device;
    if (device === "tv") this.#tv();
    if (device === "car") this.#car();
    for (const event of ["online", "offline"]) addEventListener(event, () => this.#network(navigator.onLine));
  }

  /** @param {import("./sdk/session.js").Session | null} session */
  watch(session) {
    this.session = session;
    session?.addEventListener("offline", () => this.#network(false));
    session?.addEventListener("online", () => this.#network(true));
    session?.addEventListener("driving", ({ detail }) => this.#cover(detail.driving));
  }

  #tv() {
    $("about").hidden = false;
    $("about").addEventListener("click", () => this.#sheet(!this.#open));
    document.addEventListener("keydown", (event) => this.#back(event), true);
    $("play").focus({ focusVisible: true });
  }

  get #open() {
    return document.documentElement.classList.contains("sheet");
  }

  /** The delivery panel over the picture. */
  #sheet(open) {
    if (open === this.#open) return;
    document.documentElement.classList.toggle("sheet", open);
    $("about").ariaExpanded = String(open);
    const into = open ? document.querySelector("#nodes [aria-current=true]") : $("about");
    into?.focus({ focusVisible: true });
    this.controls.wake();
  }

  /** Back closes what lies on top; where nothing does, the control bar; and then it is the television's own. */
  #back(event) {
    if (!BACK.has(event.key) || !$("menu").hidden) return;
    if ($("kept").open) $("kept").close();
    else if (this.#open) this.#sheet(false);
    else if (!this.controls.stage.classList.contains("idle") && !this.video.paused) this.controls.rest();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  #car() {
    for (const [id, seconds] of [["skip-back", -SKIP_SECONDS], ["skip-ahead", SKIP_SECONDS]]) {
      $(id).hidden = false;
      $(id).addEventListener("click", () => this.controls.seekBy(seconds));
    }
    $("drive").hidden = false;
    $("drive").addEventListener("click", () => this.drive($("drive").ariaPressed !== "true"));
    // A car's own software tells the page: dispatchEvent(new CustomEvent("driving", { detail: true })).
    addEventListener("driving", ({ detail }) => this.drive(Boolean(detail)));
    // And of a way without a network, with its seconds: new CustomEvent("offline-ahead", { detail: 300 }); 0 where it is behind.
    addEventListener("offline-ahead", ({ detail }) => {
      this.#ahead = this.session?.loadAhead(Number(detail) || 0) ?? 0;
      this.draw();
    });
  }

  /** Nobody looks while the car moves: sound only. */
  drive(driving) {
    this.#cover(driving);
    void this.session?.setDriving(driving);
  }

  #cover(driving) {
    $("drive").ariaPressed = String(driving);
    put($("drive-text"), driving ? "Driving" : "Parked");
    $("cover").hidden = !driving;
    document.documentElement.classList.toggle("driving", driving);
  }

  #network(there) {
    const left = this.controls.ahead();
    const { duration, currentTime } = this.video;
    const ready = left >= Math.min(this.#ahead, duration - currentTime) - 1;
    $("net").hidden = there && !this.#ahead;
    $("net").dataset.state = this.local || this.#ahead && ready ? "well" : "";
    if (there) return put($("net"), ready ? `Ready for ${span(this.#ahead)} without network` : `Loading ahead · ${span(left)} of ${span(this.#ahead)}`);
    put($("net"), this.local ? "Offline · downloaded" : left > 1 ? `Offline · ${span(left)} left` : "Offline");
  }

  /** Keeps the text about the network true; call it now and then. */
  draw() {
    if (!$("net").hidden || this.#ahead) this.#network(navigator.onLine && !this.session?.away);
  }
}
