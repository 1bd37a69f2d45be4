// What is kept on the device: the button in the bar, the list, and playback without a network.

import * as weir from "./sdk/weir.js";
import { $, bytes, put } from "./view.js";

const DRAW_MS = 250;
const SURE_MS = 4000;

const icon = (name) => `#i-${name}`;

function element(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function button(label, name, action) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.append(document.createElementNS("http://www.w3.org/2000/svg", "use"));
  svg.firstChild.setAttribute("href", icon(name));
  const made = element("button", { type: "button", ariaLabel: label }, svg);
  made.addEventListener("click", action);
  return made;
}

/** The day until which it may be played. */
const day = (date) => new Date(date).toLocaleDateString(undefined, { day: "numeric", month: "short" });

/** Emits "play" (detail: the Download) when the viewer chose one. */
export class Kept extends EventTarget {
  /** @type {weir.Downloads | null} */ all = null;
  #title;
  #device;
  #problem = "";
  #drawn = 0;

  /**
   * @param {{asset: string, title: string, authorization?: string}} title  what the page plays; asset "": nothing that can be kept
   * @param {string} device
   */
  constructor(title, device) {
    super();
    this.#title = title;
    this.#device = device;
    this.dialog = $("kept");
    $("keep").addEventListener("click", () => this.show());
    $("kept-close").addEventListener("click", () => this.dialog.close());
    $("kept-add").addEventListener("click", () => void this.#add());
    this.dialog.addEventListener("click", (event) => event.target === this.dialog && this.dialog.close());
    this.dialog.addEventListener("close", () => ($("keep").ariaExpanded = "false"));
  }

  /**
   * Finds what is kept. A page that may keep nothing has no button.
   * @param {string[]} servers
   */
  async open(servers) {
    const files = await fetch(new URL("files.json", import.meta.url)).then((r) => r.json(), () => []);
    try {
      this.all = await weir.downloads({ server: servers, page: files });
    } catch {
      return; // over plain HTTP, say
    }
    this.all.addEventListener("change", () => this.draw());
    this.all.addEventListener("removed", ({ detail }) => this.#say(`${detail.download.record.title}: ${detail.error.words.text}`));
    this.draw();
    const { features } = await weir.config({ server: servers, device: this.#device }).catch(() => ({ features: [] }));
    $("keep").hidden = !features.includes("downloads") && !this.all.list.length;
  }

  /** What is kept whole of a title. @param {string} asset */
  whole(asset) {
    const one = this.all?.of(asset);
    return one?.state === "kept" ? one : null;
  }

  /** Whether anything can be played without a network. */
  get any() {
    return this.all?.list.some((one) => one.state === "kept") ?? false;
  }

  show() {
    this.#say("");
    this.draw();
    $("keep").ariaExpanded = "true";
    if (!this.dialog.open) this.dialog.showModal();
    const first = this.dialog.querySelector("li button, #kept-add:not([hidden])") ?? $("kept-close");
    first.focus({ focusVisible: document.documentElement.dataset.device === "tv" });
  }

  #say(text) {
    this.#problem = text;
    put($("kept-problem"), text);
    $("kept-problem").hidden = !text;
  }

  async #add() {
    this.#say("");
    $("kept-add").disabled = true;
    try {
      const { device } = document.documentElement.dataset;
      const one = await this.all.add({ ...this.#title, device, capabilities: await weir.capabilities({ device }) });
      one.addEventListener("problem", ({ detail }) => this.#say(detail.words.text));
      one.addEventListener("progress", () => this.#soon());
    } catch (error) {
      if (!(error instanceof weir.WeirError)) throw error;
      this.#say(`${error.words.title}. ${error.words.text}`);
    } finally {
      $("kept-add").disabled = false;
    }
    this.draw();
    this.dialog.querySelector("li button")?.focus({ focusVisible: this.#device === "tv" });
  }

  #soon() {
    if (performance.now() - this.#drawn > DRAW_MS) this.draw();
  }

  draw() {
    this.#drawn = performance.now();
    const list = this.all?.list ?? [];
    const rows = $("kept-list");
    for (const row of [...rows.children]) if (!list.includes(row.download)) this.#drop(row);
    list.forEach((one, i) => {
      const row = [...rows.children].find((r) => r.download === one) ?? this.#row(one);
      if (rows.children[i] !== row) rows.insertBefore(row, rows.children[i] ?? null);
      this.#drawRow(row);
    });
    $("kept-none").hidden = list.length > 0;
    const mine = this.#title.asset && this.all?.of(this.#title.asset);
    $("kept-add").hidden = Boolean(mine) || !this.#title.asset;
    const state = mine ? mine.state : "none";
    $("keep").dataset.state = state;
    $("keep").style.setProperty("--part", `${Math.round((mine ? mine.part : 0) * 100)}%`);
    $("keep").querySelector("use").setAttribute("href", icon(state === "kept" ? "kept" : "keep"));
    $("keep").ariaLabel = { kept: "Downloads: this title is kept", loading: "Downloads: loading", paused: "Downloads: paused" }[state] ?? "Downloads";
    void this.#room(list);
  }

  async #room(list) {
    const { quota = 0, usage = 0 } = (await navigator.storage?.estimate?.()) ?? {};
    const kept = list.reduce((sum, one) => sum + one.bytes, 0);
    put($("kept-room"), [kept ? `${bytes(kept)} kept` : "", quota ? `${bytes(quota - usage)} free` : ""].filter(Boolean).join(" · "));
  }

  /** Takes a row away, and leaves the focus where something is. */
  #drop(row) {
    const had = row.contains(document.activeElement);
    const next = row.nextElementSibling ?? row.previousElementSibling;
    row.remove();
    if (!had) return;
    const seen = document.documentElement.dataset.device === "tv";
    queueMicrotask(() => (next?.querySelector("button") ?? this.dialog.querySelector("#kept-add:not([hidden])") ?? $("kept-close")).focus({ focusVisible: seen }));
  }

  #row(one) {
    const row = element("li", { download: one });
    const play = button(`Play ${one.record.title}`, "play", () => {
      if (one.state !== "kept") return void (one.state === "loading" ? one.pause() : one.resume());
      this.dialog.close();
      this.dispatchEvent(new CustomEvent("play", { detail: one }));
    });
    const remove = button(`Remove ${one.record.title}`, "remove", () => {
      if (remove.dataset.sure) return void one.remove();
      remove.dataset.sure = "yes"; // once more, or it was a slip
      remove.ariaLabel = `Remove ${one.record.title}, press again`;
      setTimeout(() => {
        delete remove.dataset.sure;
        remove.ariaLabel = `Remove ${one.record.title}`;
      }, SURE_MS);
    });
    const text = element("p", {}, element("b", { textContent: one.record.title }), element("small"));
    row.append(play, text, remove, element("i"));
    one.addEventListener("progress", () => this.#soon());
    return row;
  }

  #drawRow(row) {
    const { download: one } = row;
    const { rendition, bytes: total, expires, title } = one.record;
    const [play, text] = row.children;
    row.dataset.state = one.state;
    row.style.setProperty("--part", `${(one.part * 100).toFixed(1)}%`);
    const height = rendition.height ? `${rendition.height}p` : "";
    const facts = {
      kept: [height, bytes(total), `until ${day(expires)}`],
      loading: [one.problem ? "waits for the network" : `${Math.floor(one.part * 100)} % of ${bytes(total)}`, height],
      paused: [`paused at ${Math.floor(one.part * 100)} %`, bytes(total)],
    }[one.state];
    put(text.lastChild, facts.filter(Boolean).join(" · "));
    play.querySelector("use").setAttribute("href", icon({ kept: "play", loading: "pause", paused: "keep" }[one.state]));
    play.ariaLabel = `${{ kept: "Play", loading: "Pause", paused: "Go on downloading" }[one.state]} ${title}`;
  }
}
