// Where a viewer left a title: kept on the device, and nowhere else.

const LEAST_SECONDS = 120; // shorter titles begin at the beginning
const BEGUN_SECONDS = 15;
const END_SECONDS = 30;
const KEEP_MS = 90 * 86400e3;

/** @param {string} asset */
const key = (asset) => `weir:resume:${asset}`;

/** Where to begin, in seconds; 0 = at the beginning. @param {string} asset @param {import("./wire.js").Env} env */
export function recall(asset, env) {
  try {
    const kept = JSON.parse(env.storage?.getItem(key(asset)) ?? "{}");
    return Number.isFinite(kept.position) && env.now() - kept.at < KEEP_MS ? kept.position : 0;
  } catch {
    return 0;
  }
}

/**
 * Notes a position. The first seconds and the last count as not begun; live has no position worth keeping.
 * @param {string} asset @param {number} position @param {number} duration  seconds @param {import("./wire.js").Env} env
 */
export function remember(asset, position, duration, env) {
  try {
    if (!Number.isFinite(duration) || duration < LEAST_SECONDS) return;
    if (position < BEGUN_SECONDS || position > duration - END_SECONDS) env.storage?.removeItem(key(asset));
    else env.storage?.setItem(key(asset), JSON.stringify({ position: Math.floor(position), at: env.now() }));
  } catch {
    // no room, or no right to it
  }
}

/** @param {string} asset @param {import("./wire.js").Env} env */
export function forget(asset, env) {
  env.storage?.removeItem(key(asset));
}
