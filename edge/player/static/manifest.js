// Just enough of a multivariant playlist to name what is playing, where the
// browser plays it alone and tells the page nothing.

/** Attribute list of a tag (RFC 8216bis, 4.2). */
function attributes(line) {
  const list = {};
  for (const [, name, quoted, plain] of line.matchAll(/([A-Z0-9-]+)=(?:"([^"]*)"|([^,]*))/g)) list[name] = quoted ?? plain;
  return list;
}

/**
 * @param {string} text
 * @returns {{variants: {uri: string, height: number, bitrate: number}[], audio: string[]}}
 */
export function multivariant(text) {
  const variants = [];
  const audio = [];
  let pending = null;
  for (const line of text.split(/\r?\n/)) {
    if (line.startsWith("#EXT-X-STREAM-INF:")) {
      const a = attributes(line.slice(18));
      pending = { height: Number(a.RESOLUTION?.split("x")[1]) || 0, bitrate: Number(a["AVERAGE-BANDWIDTH"] ?? a.BANDWIDTH) || 0 };
    } else if (line.startsWith("#EXT-X-MEDIA:")) {
      const a = attributes(line.slice(13));
      if (a.TYPE === "AUDIO" && a.URI) audio.push(a.URI);
    } else if (pending && line && !line.startsWith("#")) {
      variants.push({ uri: line, ...pending });
      pending = null;
    }
  }
  return { variants, audio };
}

/**
 * The segments of a media playlist with their start times, and its init sections.
 * @param {string} text
 */
export function media(text) {
  const segments = [];
  const maps = [];
  let time = 0;
  let duration = 0;
  for (const line of text.split(/\r?\n/)) {
    if (line.startsWith("#EXTINF:")) duration = parseFloat(line.slice(8)) || 0;
    else if (line.startsWith("#EXT-X-MAP:")) maps.push(attributes(line.slice(11)).URI);
    else if (line && !line.startsWith("#")) {
      segments.push({ uri: line, start: time, duration });
      time += duration;
    }
  }
  return { segments, maps };
}
