// What is kept as an MPD (ISO/IEC 23009-1), for players that know no HLS: the same files, one Representation of each kind.

import { WeirError } from "./wire.js";

const SOUND = /^(mp4a|ac-[34]|ec-3|opus|flac|dts)/i;

/** @param {string} text */
const quote = (text) => text.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);

/**
 * The files of a media playlist as localize() has written it. Null where they are no plain sequence of fragments of one track.
 * @param {string} text
 */
export function sequence(text) {
  /** @type {number[]} */
  const durations = [];
  /** @type {string[]} */
  const files = [];
  let init = "";
  for (const line of text.split("\n")) {
    if (/^#EXT-X-(KEY:(?!METHOD=NONE)|DISCONTINUITY$)/.test(line)) return null; // encrypted, or put together
    const map = /^#EXT-X-MAP:.*URI="([^"]*)"/.exec(line)?.[1];
    if (map && init && map !== init) return null;
    init = map ?? init;
    const duration = /^#EXTINF:([\d.]+)/.exec(line)?.[1];
    if (duration) durations.push(Number(duration));
    else if (line && !line.startsWith("#")) files.push(line);
  }
  const [, before = "", after = ""] = /^(\d+\/)1(\.\w+)?$/.exec(files[0] ?? "") ?? [];
  const plain = before && init && files.length === durations.length && files.every((file, i) => file === `${before}${i + 1}${after}`);
  return plain ? { init, media: `${before}$Number$${after}`, first: /** @type {string} */ (files[0]), durations } : null;
}

/**
 * When a track begins (ISO/IEC 14496-12): its time scale of the init section (mdhd), the time of its first fragment (tfdt).
 * @param {ArrayBuffer} init @param {ArrayBuffer} fragment
 */
export function beginning(init, fragment) {
  const [header, offset] = at(init, "mdhd");
  const [time, from] = at(fragment, "tfdt");
  return {
    scale: header.getUint32(offset + (header.getUint8(offset) ? 20 : 12)),
    time: time.getUint8(from) ? Number(time.getBigUint64(from + 4)) : time.getUint32(from + 4),
  };
}

/** Where the content of the first box of a type is. @param {ArrayBuffer} buffer @param {string} type @returns {[DataView, number]} */
function at(buffer, type) {
  const view = new DataView(buffer);
  const wanted = [...type].reduce((sum, c) => sum * 256 + c.charCodeAt(0), 0);
  for (let i = 4; i + 28 < buffer.byteLength; i++) if (view.getUint32(i) === wanted) return [view, i + 4];
  throw new WeirError("unsupported", { detail: "What was kept is no fragmented MP4, which DASH is here." });
}

/**
 * @param {{bandwidth: number, codecs: string, height: number}} rendition
 * @param {(NonNullable<ReturnType<typeof sequence>> & ReturnType<typeof beginning>)[]} tracks  picture, then sound
 */
export function mpd({ bandwidth, codecs, height }, tracks) {
  const all = codecs.split(",").map((codec) => codec.trim());
  const start = Math.min(...tracks.map(({ time, scale }) => time / scale));
  const length = Math.max(...tracks.map(({ durations }) => durations.reduce((sum, d) => sum + d, 0)));
  const sets = tracks.map(({ init, media, durations, time, scale }, i) => {
    const sound = i > 0 || all.every((codec) => SOUND.test(codec));
    const kind = sound ? "audio" : "video";
    let passed = 0;
    let last = time;
    const steps = durations.map((duration, n) => {
      const end = time + Math.round((passed += duration) * scale);
      const step = `<S ${n ? "" : `t="${time}" `}d="${end - last}"/>`;
      last = end;
      return step;
    });
    return `<AdaptationSet contentType="${kind}" mimeType="${kind}/mp4" codecs="${quote(all.filter((codec) => SOUND.test(codec) === sound).join(","))}">`
      + `<SegmentTemplate timescale="${scale}" presentationTimeOffset="${Math.round(start * scale)}" startNumber="1" initialization="${init}" media="${media}"><SegmentTimeline>${steps.join("")}</SegmentTimeline></SegmentTemplate>`
      + `<Representation id="${i}" bandwidth="${bandwidth || 1}"${height && !sound ? ` height="${height}"` : ""}/></AdaptationSet>`;
  });
  return '<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" profiles="urn:mpeg:dash:profile:isoff-live:2011"'
    + ` mediaPresentationDuration="PT${length.toFixed(3)}S" minBufferTime="PT2S"><Period start="PT0S">${sets.join("")}</Period></MPD>\n`;
}
