// Numbers as people read them: three significant digits, so that a value keeps its width while it changes.

const thin = "\u2009";

function significant(value) {
  if (value >= 100) return value.toFixed(0);
  if (value >= 10) return value.toFixed(1);
  return value.toFixed(2);
}

function scaled(value, base, units) {
  let step = 0;
  while (Math.abs(value) >= base * 0.9995 && step < units.length - 1) {
    value /= base;
    step++;
  }
  return [value, units[step]];
}

// count writes 7, 812, 12.4 k, 1.03 M.
export function count(value) {
  if (!Number.isFinite(value)) return "–";
  if (Math.abs(value) < 1000) return String(Math.round(value));
  const [number, unit] = scaled(value, 1000, ["", "k", "M", "G", "T"]);
  return significant(number) + thin + unit;
}

// rate is count with a decimal below ten, for events per second.
export function rate(value) {
  if (!Number.isFinite(value)) return "–";
  if (value > 0 && value < 10) return value.toFixed(1);
  return count(value);
}

// bytesPerSecond writes 1.24 GB/s.
export function bytesPerSecond(value) {
  if (!Number.isFinite(value)) return "–";
  const [number, unit] = scaled(Math.max(0, value), 1000, ["B/s", "kB/s", "MB/s", "GB/s", "TB/s"]);
  return (unit === "B/s" ? number.toFixed(0) : significant(number)) + thin + unit;
}

// size writes 412 MiB, in the units of the configuration file.
export function size(value) {
  if (!Number.isFinite(value)) return "–";
  const [number, unit] = scaled(value, 1024, ["B", "KiB", "MiB", "GiB", "TiB", "PiB"]);
  return (unit === "B" ? number.toFixed(0) : significant(number)) + thin + unit;
}

// percent writes 98.4 without the sign; it says 100 only when nothing is missing.
export function percent(share) {
  if (!Number.isFinite(share)) return "–";
  if (share === 1) return "100";
  const value = Math.floor(share * 1000) / 10;
  return Math.max(0, value).toFixed(1);
}

// tick shortens a round number for the grid of a chart: 1.50 GB/s becomes 1.5 GB/s.
export function tick(format) {
  return (value) => format(value).replace(/\.0+(?!\d)|(\.\d*?[1-9])0+(?!\d)/, "$1");
}

// share writes a part of several that add up to a hundred: 60.9.
export function share(value) {
  return Number.isFinite(value) ? (value * 100).toFixed(1) : "–";
}

// milliseconds writes seconds as 3.1 ms or 1.20 s.
export function milliseconds(seconds) {
  if (!Number.isFinite(seconds)) return "–";
  if (seconds >= 1) return significant(seconds) + thin + "s";
  const value = seconds * 1000;
  return (value >= 10 ? value.toFixed(0) : value.toFixed(1)) + thin + "ms";
}

// short writes a round number of seconds: 10 ms, 0.1 ms, 2 s.
export function short(seconds) {
  return seconds >= 1 ? `${seconds}${thin}s` : `${Number((seconds * 1000).toPrecision(2))}${thin}ms`;
}

// span writes 4 d 3 h, 3 h 12 m, 12 m 05 s, 42 s.
export function span(seconds) {
  if (!Number.isFinite(seconds)) return "–";
  const s = Math.max(0, Math.floor(seconds));
  const [d, h, m] = [Math.floor(s / 86400), Math.floor(s / 3600) % 24, Math.floor(s / 60) % 60];
  if (d > 0) return `${d}${thin}d ${h}${thin}h`;
  if (h > 0) return `${h}${thin}h ${m}${thin}m`;
  if (m > 0) return `${m}${thin}m ${String(s % 60).padStart(2, "0")}${thin}s`;
  return `${s}${thin}s`;
}

// clock writes the local time of day.
export function clock(milliseconds) {
  return new Date(milliseconds).toLocaleTimeString([], { hour12: false });
}
