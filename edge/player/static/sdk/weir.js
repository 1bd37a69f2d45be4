// The client of a Weir service for web pages: one module, no build step, no dependency.
//
//   import * as weir from "/player/sdk/weir.js"; // of any edge: pages of all origins may
//
//   const session = await weir.play(video, { asset: "demo", engine: weir.hlsjs(Hls) });
//   session.addEventListener("ended", ({ detail }) => show(detail.words));
//
// What play() and its session throw or emit as an error is a WeirError; its words say what happened and what to do.

import { capabilities as measure, detectDevice } from "./capabilities.js";
import { dashjs } from "./dashjs.js";
import { hlsjs } from "./hlsjs.js";
import { native, playsHLS } from "./native.js";
import { Session } from "./session.js";
import { shaka } from "./shaka.js";
import { Servers, WeirError, ask, browserEnv, newKey } from "./wire.js";

export { capabilities, detectDevice, network } from "./capabilities.js";
export { Download, Downloads, KeptPlayback, downloads } from "./downloads.js";
export { forget, recall } from "./resume.js";
export { nameOf } from "./words.js";
export { Session, WeirError, dashjs, hlsjs, native, playsHLS, shaka };

/**
 * @typedef {object} PlayOptions
 * @property {string} asset                  the title's name
 * @property {string | string[]} [server]    base URLs, the first choice first; default: where this module came from. What the
 *   service says of further ones is added
 * @property {"auto" | "tv" | "car" | "phone" | "web"} [device]  default "auto"
 * @property {import("./session.js").Engine} [engine]  default: the browser's own HLS, else hls.js, shaka or dash.js where the
 *   page has them as Hls, shaka or dashjs
 * @property {string} [label]                what the account's other players call this one; at most 64 bytes
 * @property {boolean} [replace]             end the account's session that was idle longest where there are too many
 * @property {string | (() => string | Promise<string>)} [authorization]  the viewer's token; sent as Bearer
 * @property {import("./capabilities.js").Capabilities} [capabilities]  members go before what the browser tells
 * @property {boolean} [drm]                 the title may be encrypted: ask the browser for key systems; default false
 * @property {boolean} [resume]              begin where the viewer left the title, and note it on this device; default true
 * @property {boolean | import("./session.js").CMCDWishes} [cmcd]  report how playback does, and in which way; default true
 * @property {boolean} [autoplay]            call video.play(); default true
 * @property {AbortSignal} [signal]          gives up the call; no matter once it is answered
 * @property {Partial<import("./wire.js").Env>} [env]  for tests
 */

/**
 * Opens a session and plays.
 * @param {HTMLVideoElement} video
 * @param {PlayOptions} options
 * @returns {Promise<Session>}  once the engine has taken the manifest
 * @throws {WeirError}
 */
export async function play(video, options) {
  const env = { ...browserEnv(), ...options.env };
  const servers = new Servers(options.server ?? new URL(import.meta.url).origin);
  const device = !options.device || options.device === "auto" ? detectDevice() : options.device;
  const engine = options.engine ?? choose(video);
  void config({ server: servers, device, env }).catch(() => {}); // it adds servers; the play call tells all else
  const capabilities = { ...(await measure({ drm: options.drm, device })), ...options.capabilities };
  /** @type {import("./session.js").Call} */
  const call = (replace, signal) => open(servers, { ...options, device, capabilities, replace, signal }, env);
  const played = await call(options.replace ?? false, options.signal);
  const limits = { height: capabilities.max_height ?? 0, bitrate: capabilities.max_bitrate ?? 0 };
  const session = new Session(video, engine, { servers, env, call, played, limits, resume: options.resume ?? true, autoplay: options.autoplay ?? true, cmcd: options.cmcd ?? true });
  try {
    await session.start();
  } catch (error) {
    await session.close();
    throw error;
  }
  // A browser that wants a click first says so with a paused element.
  if (options.autoplay ?? true) await video.play().catch(() => {});
  return session;
}

/** @param {HTMLVideoElement} video */
function choose(video) {
  const page = /** @type {any} */ (globalThis);
  if (page.Hls?.isSupported?.()) return hlsjs(page.Hls);
  if (page.shaka?.Player) return shaka(page.shaka);
  if (page.dashjs?.MediaPlayer) return dashjs(page.dashjs);
  if (playsHLS(video)) return native();
  throw new WeirError("unsupported", { detail: "This browser has no HLS of its own, and the page brings no player." });
}

/**
 * The play call, repeated with the same key until it is answered.
 * @param {Servers} servers
 * @param {PlayOptions} options
 * @param {import("./wire.js").Env} env
 * @returns {Promise<import("./session.js").Played>}
 */
async function open(servers, { asset, device, label, replace, capabilities, authorization, signal }, env) {
  const headers = { "Content-Type": "application/json", "Idempotency-Key": newKey(), ...(await credential(authorization)) };
  const body = JSON.stringify({ asset, device, label, replace, capabilities });
  const played = await ask(servers, "/sdk/v1/sessions", { method: "POST", headers, body, signal }, env);
  servers.learn(Object.values(played.manifests));
  return played;
}

/** @param {PlayOptions["authorization"]} authorization @returns {Promise<Record<string, string>>} */
async function credential(authorization) {
  const token = typeof authorization === "function" ? await authorization() : authorization;
  return token ? { Authorization: `Bearer ${token}` } : {};
}

/**
 * What the service says to clients of a device class.
 * @param {{server?: string | string[] | Servers, device?: string, env?: Partial<import("./wire.js").Env>}} [options]
 * @returns {Promise<{nodes: string[], features: string[], [name: string]: unknown}>}
 */
export async function config({ server = new URL(import.meta.url).origin, device = "web", env = {} } = {}) {
  const servers = server instanceof Servers ? server : new Servers(server);
  const answer = await ask(servers, `/sdk/v1/config?device=${encodeURIComponent(device)}`, { attempts: 2 }, { ...browserEnv(), ...env });
  servers.learn(answer.nodes);
  return answer;
}

/**
 * Ends a session, such as another one of the account that a WeirError names.
 * @param {string} id
 * @param {{server?: string | string[], env?: Partial<import("./wire.js").Env>}} [options]
 */
export async function end(id, { server = new URL(import.meta.url).origin, env = {} } = {}) {
  await ask(new Servers(server), `/sdk/v1/sessions/${encodeURIComponent(id)}`, { method: "DELETE" }, { ...browserEnv(), ...env });
}
