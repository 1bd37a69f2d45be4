// Curves over time on a canvas: stacked areas, a mirrored area, or lines. The newest moment is at the right edge and
// everything glides to the left.

import { spanSeconds } from "./history.js";

// lagSeconds holds the right edge back, so that a new sample enters from outside instead of popping up.
const lagSeconds = 1.5;

let palette = new Map();

// color returns a colour of the style sheet.
export function color(name) {
  if (!palette.has(name)) {
    palette.set(name, getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim());
  }
  return palette.get(name);
}

// repaint forgets the colours, after the theme has changed.
export function repaint() { palette = new Map(); }

export class Chart {
  #canvas;
  #context;
  #options;
  #top = NaN;    // the scale's ends, gliding to where the curves need them
  #base = NaN;
  #font = 11;    // pixels
  #size = { width: 0, height: 0, ratio: 1 };
  #samples = [];
  #window = { from: 0, to: 0 };
  #cursor = null; // the sample that the reader points at, by its age in milliseconds

  // options: mode "stack", "mirror" or "lines"; series [{key, label, color, down, fill}]; value(sample, key);
  // format(value) and tick(value) for texts; scale "share" for percents, which zooms in on what varies, "log" for
  // powers of ten; floor, the least end of a plain scale.
  constructor(canvas, options) {
    this.#canvas = canvas;
    this.#context = canvas.getContext("2d");
    this.#options = options;
    new ResizeObserver(() => this.#resize()).observe(canvas.parentElement);
    this.#resize();
    canvas.addEventListener("pointermove", (event) => this.#point(event.offsetX));
    canvas.addEventListener("pointerleave", () => this.#leave());
    canvas.addEventListener("blur", () => this.#leave());
    canvas.addEventListener("keydown", (event) => this.#key(event));
  }

  draw(samples, now) {
    if (this.#size.width === 0) this.#resize();
    const { width, height, ratio } = this.#size;
    if (width === 0) return;
    this.#samples = samples;
    const to = now - lagSeconds * 1000;
    this.#window = { from: to - spanSeconds * 1000, to };
    const c = this.#context;
    c.setTransform(ratio, 0, 0, ratio, 0, 0);
    c.clearRect(0, 0, width, height);
    this.#rescale();
    this.#grid(c);
    c.save();
    c.beginPath();
    c.rect(0, 0, width, this.#plotHeight + 1);
    c.clip();
    for (const run of this.#runs()) this.#options.mode === "lines" ? this.#lines(c, run) : this.#areas(c, run);
    c.restore();
    this.#labels(c);
    this.#cross(c);
  }

  get #plotHeight() { return this.#size.height - this.#axis; }
  get #axis() { return this.#font * 1.7; }

  #x(at) { return ((at - this.#window.from) / (this.#window.to - this.#window.from)) * this.#size.width; }

  // #y places a value; values below the axis are negative.
  #y(value) {
    const at = this.#options.scale === "log" ? Math.log10(Math.max(value, 1e-6)) : value;
    return ((this.#top - at) / (this.#top - this.#base)) * this.#plotHeight;
  }

  #value(sample, key) {
    const value = this.#options.value(sample, key);
    return Number.isFinite(value) ? Math.max(0, value) : NaN;
  }

  #total(sample, down) {
    let total = 0;
    for (const series of this.#options.series) {
      if (Boolean(series.down) !== down) continue;
      const value = this.#value(sample, series.key) || 0;
      total = this.#options.mode === "lines" ? Math.max(total, value) : total + value;
    }
    return total;
  }

  #rescale() {
    const [top, base] = this.#goal();
    const glide = Number.isNaN(this.#top) ? 1 : 0.12;
    this.#top = glide === 1 ? top : this.#top + (top - this.#top) * glide;
    this.#base = glide === 1 ? base : this.#base + (base - this.#base) * glide;
  }

  // #goal is where the scale should end, above and below, for what the window shows.
  #goal() {
    const { mode, scale, floor = 1 } = this.#options;
    let [up, down, least, most] = [0, 0, Infinity, 0];
    for (const sample of this.#samples) {
      if (sample.gap || sample.at < this.#window.from) continue;
      up = Math.max(up, this.#total(sample, false));
      down = Math.max(down, this.#total(sample, true));
      for (const series of mode === "lines" ? this.#options.series : []) {
        const value = this.#value(sample, series.key);
        if (value >= 0) [least, most] = [Math.min(least, value), Math.max(most, value)];
      }
    }
    if (scale === "share") {
      const base = least === Infinity ? 0 : Math.max(0, Math.min(80, Math.floor((least - 4) / 20) * 20));
      return [100 + (100 - base) * 0.2, base];
    }
    if (scale === "log") {
      if (most === 0) return [-1, -4];
      const [high, low] = [Math.log10(most * 1.5), Math.log10(Math.max(least, 1e-5) * 0.6)];
      return [Math.max(high, low + 1), low];
    }
    const goal = Math.max(floor, up * 1.12);
    return [goal, mode === "mirror" ? -Math.max(goal * 0.16, down * 1.15) : 0];
  }

  #grid(c) {
    const { width, height } = this.#size;
    c.font = `${this.#font}px ${color("font")}`;
    c.lineWidth = 1;
    const zero = this.#options.scale ? Math.round(this.#plotHeight) : Math.round(this.#y(0));
    for (const y of [...this.#ticks().map((value) => Math.round(this.#y(value))), zero]) {
      c.strokeStyle = color(y === zero ? "axis" : "grid");
      c.beginPath();
      c.moveTo(0, y + 0.5);
      c.lineTo(width, y + 0.5);
      c.stroke();
    }
    c.textBaseline = "alphabetic";
    c.fillStyle = color("faint");
    for (const minutes of width > this.#font * 36 ? [5, 4, 3, 2, 1] : [4, 2]) {
      c.textAlign = minutes === 5 ? "left" : "center";
      c.fillText(`−${minutes} min`, this.#x(this.#window.to - minutes * 60000), height - 2);
    }
    c.textAlign = "right";
    c.fillText("now", width, height - 2);
  }

  // #labels names the grid lines, above the curves and set off from them.
  #labels(c) {
    c.textAlign = "left";
    c.textBaseline = "bottom";
    c.lineJoin = "round";
    for (const value of this.#ticks()) {
      const y = Math.round(this.#y(value)) - 1;
      if (y < this.#font) continue;
      const text = (this.#options.tick ?? this.#options.format)(value);
      c.globalAlpha = 0.7;
      c.strokeStyle = color("card");
      c.lineWidth = 3;
      c.strokeText(text, 2, y);
      c.globalAlpha = 1;
      c.fillStyle = color("muted");
      c.fillText(text, 2, y);
    }
  }

  #ticks() {
    const span = this.#top - this.#base;
    const room = Math.max(1.5, Math.min(5, this.#plotHeight / (this.#font * 3)));
    if (this.#options.scale === "log") return powers(this.#base, this.#top, span > 1.2 ? [1] : [1, 2, 5]);
    const step = this.#options.scale === "share" ? Math.max(5, nice((100 - this.#base) / room)) : nice(span / room);
    const ticks = [];
    const end = this.#options.scale === "share" ? 100.01 : this.#top - step * 0.12;
    for (let value = Math.max(0, Math.ceil(this.#base / step) * step); value < end; value += step) {
      if (value > Math.max(0, this.#base + step * 0.3)) ticks.push(value);
    }
    return ticks;
  }

  // #runs cuts the samples where a gap is.
  #runs() {
    const runs = [[]];
    for (const sample of this.#samples) {
      if (sample.gap) runs.push([]);
      else runs.at(-1).push(sample);
    }
    return runs.filter((run) => run.length > 1);
  }

  #areas(c, run) {
    for (const down of [false, true]) {
      let base = run.map(() => 0);
      for (const series of this.#options.series) {
        if (Boolean(series.down) !== down) continue;
        const sign = down ? -1 : 1;
        const edge = run.map((sample, i) => base[i] + sign * (this.#value(sample, series.key) || 0));
        if (edge.some((value, i) => value !== base[i])) this.#area(c, run, base, edge, series);
        base = edge;
      }
    }
  }

  #area(c, run, base, edge, series) {
    c.beginPath();
    run.forEach((sample, i) => c.lineTo(this.#x(sample.at), this.#y(edge[i])));
    for (let i = run.length - 1; i >= 0; i--) c.lineTo(this.#x(run[i].at), this.#y(base[i]));
    c.closePath();
    c.globalAlpha = this.#options.mode === "stack" ? 0.8 : 1;
    c.fillStyle = this.#options.mode === "stack" ? color(series.color) : this.#shade(c, series);
    c.fill();
    c.globalAlpha = 1;
    c.beginPath();
    const least = this.#options.mode === "stack" ? 0.8 : 0; // the edges of many thin areas would pile up
    run.forEach((sample, i) => {
      const [x, y] = [this.#x(sample.at), this.#y(edge[i])];
      i > 0 && Math.abs(y - this.#y(base[i])) > least ? c.lineTo(x, y) : c.moveTo(x, y);
    });
    c.strokeStyle = color(series.color);
    c.lineWidth = 1.6;
    c.lineJoin = "round";
    c.stroke();
  }

  // #shade lets an area fade towards the axis.
  #shade(c, series) {
    const far = series.down ? this.#plotHeight : 0;
    const near = this.#options.scale ? this.#plotHeight : this.#y(0);
    const gradient = c.createLinearGradient(0, far, 0, near);
    gradient.addColorStop(0, color(series.color + "-strong"));
    gradient.addColorStop(1, color(series.color + "-weak"));
    return gradient;
  }

  #lines(c, run) {
    for (const series of this.#options.series) {
      if (series.fill) this.#under(c, run, series);
      c.beginPath();
      let pen = false;
      for (const sample of run) {
        const value = this.#value(sample, series.key);
        if (Number.isNaN(value)) { pen = false; continue; }
        const [x, y] = [this.#x(sample.at), this.#y(value)];
        pen ? c.lineTo(x, y) : c.moveTo(x, y);
        pen = true;
      }
      c.strokeStyle = color(series.color);
      c.lineWidth = 2;
      c.lineJoin = "round";
      c.stroke();
    }
  }

  #under(c, run, series) {
    const known = run.filter((sample) => Number.isFinite(this.#value(sample, series.key)));
    if (known.length < 2) return;
    c.beginPath();
    c.moveTo(this.#x(known[0].at), this.#plotHeight);
    for (const sample of known) c.lineTo(this.#x(sample.at), this.#y(this.#value(sample, series.key)));
    c.lineTo(this.#x(known.at(-1).at), this.#plotHeight);
    c.closePath();
    c.fillStyle = this.#shade(c, series);
    c.fill();
  }

  #resize() {
    const { clientWidth: width, clientHeight: height } = this.#canvas.parentElement;
    const ratio = Math.min(3, devicePixelRatio || 1);
    if (width === this.#size.width && height === this.#size.height && ratio === this.#size.ratio) return;
    this.#size = { width, height, ratio };
    this.#font = Math.max(10, 0.72 * parseFloat(getComputedStyle(document.documentElement).fontSize));
    this.#canvas.width = Math.round(width * ratio);
    this.#canvas.height = Math.round(height * ratio);
    if (this.#window.to > 0) this.draw(this.#samples, this.#window.to + lagSeconds * 1000); // setting the size has cleared it
  }

  #point(x) {
    const { from, to } = this.#window;
    this.#cursor = to - (from + (x / this.#size.width) * (to - from));
  }

  #leave() {
    this.#cursor = null;
    document.getElementById("tip").hidden = true;
  }

  #key(event) {
    const step = { ArrowLeft: 1000, ArrowRight: -1000, PageUp: 30000, PageDown: -30000 }[event.key];
    if (event.key === "Escape") return this.#leave();
    if (!step) return;
    event.preventDefault();
    this.#cursor = Math.min(spanSeconds * 1000, Math.max(0, (this.#cursor ?? 0) + step));
  }

  // #cross draws the line under the pointer and fills the tip.
  #cross(c) {
    if (this.#cursor === null) return;
    const at = this.#window.to - this.#cursor;
    let nearest = null;
    for (const sample of this.#samples) {
      if (!sample.gap && (!nearest || Math.abs(sample.at - at) < Math.abs(nearest.at - at))) nearest = sample;
    }
    if (!nearest || Math.abs(nearest.at - at) > 3000) return void (document.getElementById("tip").hidden = true);
    const x = Math.round(this.#x(nearest.at)) + 0.5;
    c.strokeStyle = color("muted");
    c.lineWidth = 1;
    c.beginPath();
    c.moveTo(x, 0);
    c.lineTo(x, this.#plotHeight);
    c.stroke();
    this.#tip(nearest, x);
  }

  #tip(sample, x) {
    const tip = document.getElementById("tip");
    const rows = [...this.#options.series].reverse().map((series) => {
      const row = document.createElement("div");
      const swatch = document.createElement("i");
      swatch.className = "swatch";
      swatch.dataset.color = series.color;
      const value = document.createElement("span");
      value.className = "num";
      value.textContent = this.#options.format(this.#value(sample, series.key));
      row.append(swatch, series.label, value);
      return row;
    });
    const head = document.createElement("strong");
    head.className = "num";
    head.textContent = new Date(sample.at).toLocaleTimeString([], { hour12: false });
    tip.replaceChildren(head, ...rows);
    tip.hidden = false;
    const box = this.#canvas.getBoundingClientRect();
    const left = x > this.#size.width / 2 ? box.left + x - tip.offsetWidth - 12 : box.left + x + 12;
    const top = Math.max(8, Math.min(innerHeight - tip.offsetHeight - 8, box.top + 4));
    tip.style.transform = `translate(${Math.max(4, left)}px, ${top}px)`;
  }
}

// nice rounds up to 1, 2, 2.5 or 5 times a power of ten.
function nice(value) {
  const power = 10 ** Math.floor(Math.log10(value || 1));
  for (const factor of [1, 2, 2.5, 5, 10]) {
    if (value <= factor * power) return factor * power;
  }
  return 10 * power;
}

// powers lists factors of powers of ten between two logarithms.
function powers(from, to, factors) {
  const all = [];
  for (let power = Math.floor(from); power <= to; power++) {
    for (const factor of factors) {
      const value = factor * 10 ** power;
      if (Math.log10(value) > from + 0.05 && Math.log10(value) < to) all.push(value);
    }
  }
  return all;
}
