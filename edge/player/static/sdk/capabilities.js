// What the device can play, as the browser tells.

/**
 * The object of the play call. Members that are missing say nothing.
 * @typedef {object} Capabilities
 * @property {string[]} [codecs]          RFC 6381, the highest profile and level of each
 * @property {number} [max_height]        lines
 * @property {number} [max_frame_rate]    per second
 * @property {number} [max_bitrate]       bit/s
 * @property {string[]} [hdr]             hlg, pq; [] = none
 * @property {number} [audio_channels]
 * @property {string[]} [drm]             widevine, playready, fairplay, clearkey
 * @property {"unmetered" | "metered" | "intermittent"} [network]
 * @property {boolean} [audio_only]
 */

/** @typedef {"tv" | "car" | "phone" | "web"} Device */

// Of each codec the first that plays: the highest level comes first.
const VIDEO = {
  avc: ["avc1.640034", "avc1.640033", "avc1.64002a", "avc1.640028", "avc1.64001f", "avc1.42e01e"],
  hevc: ["hvc1.2.4.L153.B0", "hvc1.1.6.L153.B0", "hvc1.1.6.L123.B0", "hvc1.1.6.L93.B0"],
  av1: ["av01.0.13M.10", "av01.0.12M.08", "av01.0.08M.08", "av01.0.05M.08"],
  vp9: ["vp09.02.51.10", "vp09.00.51.08", "vp09.00.41.08"],
};
const AUDIO = ["mp4a.40.2", "opus", "flac", "ac-3", "ec-3"];
const SYSTEMS = { widevine: "com.widevine.alpha", playready: "com.microsoft.playready", fairplay: "com.apple.fps", clearkey: "org.w3.clearkey" };
/** @type {[number, number, number][]} width, lines and a bit rate that goes with them */
const HEIGHTS = [[3840, 2160, 25e6], [2560, 1440, 12e6], [1920, 1080, 8e6], [1280, 720, 4e6]];

/** @param {string} codec @param {"video" | "audio"} kind */
function plays(codec, kind) {
  const type = `${kind}/mp4; codecs="${codec}"`;
  return globalThis.MediaSource?.isTypeSupported?.(type) || document.createElement("video").canPlayType(type) === "probably";
}

/** What the device is, unless the page says it. @param {Pick<Navigator, "userAgent">} [browser] @returns {Device} */
export function detectDevice(browser = navigator) {
  const agent = browser.userAgent;
  if (/\b(SmartTV|SMART-TV|Tizen|Web0S|webOS|HbbTV|NetCast|VIDAA|BRAVIA|AFT[A-Z]|CrKey|GoogleTV|Android TV|Roku|DTV)\b/i.test(agent)) return "tv";
  if (/\b(Tesla|QtCarBrowser|Automotive|CarPlay)\b/i.test(agent)) return "car";
  return /\b(iPhone|Android.+Mobile|Mobile)\b/i.test(agent) ? "phone" : "web";
}

/** @returns {"unmetered" | "metered" | undefined} */
export function network() {
  const connection = /** @type {{saveData?: boolean, type?: string} | undefined} */ (/** @type {any} */ (globalThis.navigator)?.connection);
  if (!connection) return undefined;
  return connection.saveData || connection.type === "cellular" ? "metered" : "unmetered";
}

/** Lines of the screen, rounded up to a height that pictures have: a finer one would not be seen. */
function screenLines() {
  const { width = 0, height = 0 } = globalThis.screen ?? {};
  const lines = Math.min(width, height) * (globalThis.devicePixelRatio || 1);
  return HEIGHTS.findLast(([, h]) => h >= lines)?.[1] ?? 2160;
}

/** The tallest picture that the device decodes smoothly and shows; 0 = unknown. @param {string[]} codecs */
async function height(codecs) {
  if (!navigator.mediaCapabilities?.decodingInfo || !codecs.length) return 0;
  const most = screenLines();
  for (const [width, lines, bitrate] of HEIGHTS) {
    if (lines > most) continue;
    const answers = await Promise.all(codecs.map((codec) => navigator.mediaCapabilities.decodingInfo({
      type: "media-source", video: { contentType: `video/mp4; codecs="${codec}"`, width, height: lines, bitrate, framerate: 30 },
    }).catch(() => null)));
    if (answers.some((a) => a?.supported && a.smooth)) return lines;
  }
  return 0;
}

/** Key systems that the browser opens. Asking takes a while, so only where a title may need them. */
async function systems() {
  const config = [{ initDataTypes: ["cenc"], videoCapabilities: [{ contentType: 'video/mp4; codecs="avc1.42e01e"' }] }];
  const found = await Promise.all(Object.entries(SYSTEMS).map(async ([name, system]) => {
    const access = await navigator.requestMediaKeySystemAccess?.(system, config).catch(() => null);
    return access ? [name] : [];
  }));
  return found.flat();
}

/**
 * What the browser tells. In a car the height is left to the service, whose rule for cars is lower than what they decode.
 * @param {{drm?: boolean, device?: Device}} [options]  drm: ask for key systems too
 * @returns {Promise<Capabilities>}
 */
export async function capabilities({ drm = false, device = "web" } = {}) {
  const video = Object.values(VIDEO).flatMap((levels) => levels.find((c) => plays(c, "video")) ?? []);
  const codecs = [...video, ...AUDIO.filter((c) => plays(c, "audio"))];
  const wide = globalThis.matchMedia?.("(dynamic-range: high)").matches ?? false;
  /** @type {Capabilities} */
  const found = { hdr: wide ? ["hlg", "pq"] : [] };
  if (codecs.length) found.codecs = codecs;
  const lines = device === "car" ? 0 : await height(video);
  if (lines) found.max_height = lines;
  const net = network();
  if (net) found.network = net;
  if (drm) found.drm = await systems();
  return found;
}
