// Errors in words: what happened, and what can be done about it.

/**
 * @typedef {object} Words
 * @property {string} title   what happened, a few words
 * @property {string} text    why, and what to do, a sentence or two
 * @property {"replace" | "retry" | "wait" | "open" | "none"} todo  what a button beside it could offer: play here and end
 *   the other, try again now, try again later, open a new session, nothing
 */

/** @type {Record<string, (about: About) => Words>} */
const KINDS = {
  sessions: ({ limit, others }) => ({
    title: limit === 1 ? "Something else is playing" : "Too many screens are playing",
    text: `${limit === 1 ? "One stream at a time may play" : `${limit} streams at a time may play`}, and ${others} ${limit === 1 ? "is" : "are"} playing now. Stop one there, or play here instead.`,
    todo: "replace",
  }),
  audience: () => ({ title: "The house is full", text: "As many people are watching as may watch at once. Try again in a few minutes.", todo: "wait" }),
  ended: () => ({
    title: "Playback was ended",
    text: "Another screen took over, or this one was away for too long. Play again to go on here.",
    todo: "replace",
  }),
  lost: () => ({ title: "The connection was away too long", text: "Playback goes on where it stopped as soon as you play again.", todo: "open" }),
  asset: () => ({ title: "There is no such title", text: "It may have been taken down, or its name may be spelt differently.", todo: "none" }),
  playable: () => ({
    title: "This device cannot play the title",
    text: "None of its versions fits what this device can show or decode. Another device may be able to.",
    todo: "none",
  }),
  credential: () => ({ title: "Please sign in", text: "The service does not know who is watching, or the sign-in is over. Sign in again.", todo: "none" }),
  forbidden: () => ({ title: "Not included", text: "This account may not watch this title, or not from here.", todo: "none" }),
  busy: ({ wait }) => ({ title: "The service is busy", text: `It takes no new viewers just now. Try again in ${wait}.`, todo: "wait" }),
  rate: ({ wait }) => ({ title: "Too many requests", text: `This network, or this account, asks too often just now. What plays goes on; try again in ${wait}.`, todo: "wait" }),
  unreachable: () => ({
    title: "No server answers",
    text: "Check the network of this device. Playback goes on by itself as soon as a server can be reached.",
    todo: "retry",
  }),
  unsupported: ({ detail }) => ({ title: "This browser cannot play it", text: detail || "It has no way to play HLS or DASH. Use another browser.", todo: "none" }),
  media: ({ detail }) => ({ title: "The picture cannot be decoded", text: `The stream arrives, but this device cannot decode it.${detail ? ` It says: ${detail}` : ""}`, todo: "retry" }),
  storage: ({ detail }) => ({ title: "Nothing can be kept here", text: detail || "This browser keeps nothing for pages. Watch it with a network instead.", todo: "none" }),
  expired: () => ({ title: "Its time is over", text: "It may not be played any more and was removed from this device. Download it again while there is a network.", todo: "none" }),
  downloads: ({ limit, others }) => ({
    title: "Too many downloads",
    text: `${limit === 1 ? "One title" : `${limit} titles`} at a time may be kept, and there ${limit === 1 ? "is" : "are"} ${others}. Remove one of them first.`,
    todo: "none",
  }),
  download: () => ({ title: "This cannot be kept", text: "Live channels, and some titles, can only be watched with a network.", todo: "none" }),
  room: ({ detail }) => ({ title: "There is no room for it", text: `${sentence(detail)} Remove something that is kept, or free storage of the device.`, todo: "retry" }),
  "not-found": () => ({ title: "The service does not know this", text: "It has been started anew, or it is of another version than the app. Play again; an update of the app may help.", todo: "open" }),
  idempotency: () => ({ title: "The app asked twice for different things", text: "Play again. If that does not help, an update of the app may.", todo: "retry" }),
  "media-type": () => ({ title: "The app speaks another language", text: "The service did not take the form of the request. An update of the app may help.", todo: "none" }),
  "body-size": () => ({ title: "The app asked for too much at once", text: "The service took no more. An update of the app may help.", todo: "none" }),
  method: () => ({ title: "The app asked in a wrong way", text: "The service does not answer to it. An update of the app may help.", todo: "none" }),
  request: ({ problem }) => ({ title: "The app asked for something impossible", text: `${sentence(problem.detail)} An update of the app may help.`, todo: "none" }),
};

/**
 * @typedef {object} About
 * @property {number} status
 * @property {import("./wire.js").Problem} problem
 * @property {string} detail
 * @property {number} limit
 * @property {string} others
 * @property {string} wait
 */

/** @param {string} [text] */
const sentence = (text) => (text ? `${text.charAt(0).toUpperCase()}${text.slice(1).replace(/\.$/, "")}.` : "The server refused it.");

/** How another session is called: its own label, else its kind of device. @param {{label?: string, device: string, asset: string}} other */
export function nameOf({ label, device, asset }) {
  const kind = { tv: "a television", car: "a car", phone: "a phone", web: "a browser" }[device] ?? "a device";
  return `${asset} on ${label ? `“${label}”` : kind}`;
}

/** @param {string[]} names */
function list(names) {
  if (names.length < 2) return names[0] ?? "others";
  return `${names.slice(0, -1).join(", ")} and ${names.at(-1)}`;
}

/** @param {number} [seconds] */
function duration(seconds) {
  if (!seconds) return "a moment";
  return seconds < 90 ? `${Math.ceil(seconds)} seconds` : `${Math.ceil(seconds / 60)} minutes`;
}

/**
 * @param {string} kind  a problem's name, or a kind of WeirError
 * @param {{status?: number, problem?: import("./wire.js").Problem, detail?: string}} about
 * @returns {Words}
 */
export function explain(kind, { status = 0, problem = {}, detail = "" }) {
  const others = list((problem.sessions ?? []).map(nameOf));
  const say = KINDS[kind];
  if (say) return say({ status, problem, detail: detail === kind ? "" : detail, limit: problem.limit ?? 0, others, wait: duration(problem.retry_s) });
  if (status >= 500) return { title: "The service has a fault", text: `It answered ${status}. Try again in a moment.`, todo: "wait" };
  return { title: "It did not work", text: status ? `The server answered ${status}${problem.detail ? `: ${problem.detail}` : ""}.` : detail, todo: "retry" };
}
