// A media playlist (RFC 8216bis, 4.4) as it is kept: every file under a name of its own.

/**
 * What is to be loaded. range: first and last byte, where it is a part of a file.
 * @typedef {{name: string, url: string, range?: [number, number]}} Piece
 */

// Of live streams, and of servers.
const DROPPED = /^#EXT-X-(BYTERANGE|PART|PART-INF|PRELOAD-HINT|SERVER-CONTROL|RENDITION-REPORT|SKIP):/;

/** Attribute list of a tag (RFC 8216bis, 4.2). @param {string} line @returns {Record<string, string>} */
function attributes(line) {
  /** @type {Record<string, string>} */
  const list = {};
  for (const [, name = "", quoted, plain] of line.matchAll(/([A-Z0-9-]+)=(?:"([^"]*)"|([^,]*))/g)) list[name] = quoted ?? plain ?? "";
  return list;
}

/**
 * @param {string} text
 * @param {string} url     where the playlist was, which its addresses are relative to
 * @param {string} folder  that the names begin with
 * @returns {{text: string, pieces: Piece[]}}
 */
export function localize(text, url, folder) {
  /** @type {Map<string, Piece>} */
  const pieces = new Map();
  /** @type {Record<string, number>} */
  const ends = {};
  let span = "";
  /** @param {string} uri @param {string} [range] n@o */
  const keep = (uri, range = "") => {
    const file = new URL(uri, url);
    const piece = /** @type {Piece} */ ({ name: "", url: file.href });
    if (range) {
      const [length = 0, from = ends[file.href] ?? 0] = range.split("@").map(Number);
      piece.range = [from, from + length - 1];
      ends[file.href] = from + length;
    }
    const key = `${file.href} ${piece.range ?? ""}`;
    piece.name = `${folder}/${pieces.size}${/\.\w{1,5}$/.exec(file.pathname)?.[0] ?? ""}`;
    if (!pieces.has(key)) pieces.set(key, piece);
    return /** @type {Piece} */ (pieces.get(key)).name.slice(folder.length + 1);
  };
  const lines = text.split(/\r?\n/).flatMap((line) => {
    if (line.startsWith("#EXT-X-BYTERANGE:")) span = line.slice(17);
    if (DROPPED.test(line)) return [];
    const list = /^#EXT-X-(MAP|KEY):/.test(line) ? attributes(line) : {};
    if (list.URI && (line.startsWith("#EXT-X-MAP:") || list.METHOD === "AES-128")) {
      const name = keep(list.URI, list.BYTERANGE);
      return [line.replace(/URI="[^"]*"/, `URI="${folder}/${name}"`).replace(/,BYTERANGE="[^"]*"|BYTERANGE="[^"]*",/, "")];
    }
    if (!line || line.startsWith("#")) return [line];
    const name = keep(line, span);
    span = "";
    return [`${folder}/${name}`];
  });
  return { text: lines.join("\n"), pieces: [...pieces.values()] };
}

/**
 * A multivariant playlist of one rendition.
 * @param {{bandwidth: number, codecs: string, height: number}} rendition
 * @param {string[]} names  of its media playlists: picture, then sound
 */
export function multivariant({ bandwidth, codecs }, names) {
  const [picture, ...sounds] = names;
  return [
    "#EXTM3U", "#EXT-X-VERSION:7",
    ...sounds.map((name) => `#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="sound",NAME="${name}",DEFAULT=YES,AUTOSELECT=YES,URI="${name}"`),
    `#EXT-X-STREAM-INF:BANDWIDTH=${bandwidth || 1}${codecs ? `,CODECS="${codecs}"` : ""}${sounds.length ? ',AUDIO="sound"' : ""}`,
    picture, "",
  ].join("\n");
}
