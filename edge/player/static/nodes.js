// The nodes a viewer can use, and which of them answers now.

const PROBE_EVERY_MS = 4000;
const PROBE_TIMEOUT_MS = 1500;

const KEPT = "/player/kept/"; // of what is on the device (sdk/offline.js): no node has it

/** Whether a path, or an address, leads to what is kept on the device. @param {string} path */
export const isKept = (path) => path.startsWith(KEPT) || path.startsWith("blob:");

/**
 * @typedef {{name: string, url: string, state: "unknown" | "up" | "down", here: boolean, served: number}} Node
 */

/**
 * Requests go to the node that they name, as the service says in its manifests and by steering, unless the viewer has chosen one.
 *
 * Emits "change" for anything worth drawing, and "move" (detail: {from, to, why}) when playback changes node: "failed", "steered",
 * or "chosen".
 */
export class Nodes extends EventTarget {
  /** @type {Node[]} */ list = [];
  /** @type {Node} */ current;
  pinned = false; // current is the viewer's choice, whatever the service says
  #origins = new Set();
  #probe = "/player/config.json";

  /**
   * @param {{name: string, url: string}[]} known
   * @param {string} here the origin that served the page: the first choice
   */
  constructor(known, here) {
    super();
    this.update([{ name: "", url: here }]);
    this.current = this.list[0];
    this.current.here = true;
    this.update(known);
    setInterval(() => this.#probeDown(), PROBE_EVERY_MS);
  }

  /** Takes in a newer list. Nodes that left it stay known, so that their URLs are still understood. */
  update(known) {
    for (const { name, url } of known) {
      const old = this.list.find((n) => n.url === url);
      if (old) old.name = name || old.name;
      else if (!name || !this.list.some((n) => n.name === name)) {
        this.list.push({ name, url, state: "unknown", here: false, served: 0 });
      }
      this.#origins.add(url);
    }
    this.list.sort((a, b) => this.label(a).localeCompare(this.label(b), undefined, { numeric: true }));
    this.#changed();
  }

  label(node) {
    return node.name || new URL(node.url).host;
  }

  /** The same path on another node; a URL that belongs to no node is left alone. */
  on(node, url) {
    const u = new URL(url, node.url);
    if (u.protocol === "blob:") return u.href;
    if (isKept(u.pathname)) return location.origin + u.pathname;
    return this.#origins.has(u.origin) ? node.url + u.pathname + u.search : u.href;
  }

  /** Whether a request for url can go to any node at all. */
  owns(url) {
    const u = new URL(url, this.current.url);
    return this.#origins.has(u.origin) && u.protocol !== "blob:" && !isKept(u.pathname);
  }

  /** The node that a URL names. @returns {Node | undefined} */
  of(url) {
    const { origin } = new URL(url, this.current.url);
    return this.list.find((n) => n.url === origin);
  }

  /**
   * The next node to ask: the one that the URL names, unless it is down or the viewer has chosen another, then the current one,
   * then those not known to be down, then the others.
   * @param {Set<Node>} tried
   * @param {string} [url]
   */
  pick(tried, url) {
    const left = this.list.filter((n) => !tried.has(n));
    const named = this.pinned || url === undefined ? undefined : this.of(url);
    if (named && named.state !== "down" && left.includes(named)) return named;
    if (left.includes(this.current)) return this.current;
    const at = this.list.indexOf(this.current);
    const after = [...this.list.slice(at), ...this.list.slice(0, at)].filter((n) => left.includes(n));
    return after.find((n) => n.state !== "down") ?? after[0];
  }

  /** Notes an answer. The first one also tells the name of a node that the list does not name. */
  answered(node, name) {
    if (name && !node.name) {
      const twin = this.list.findIndex((n) => n !== node && n.name === name);
      if (twin >= 0) this.list.splice(twin, 1); // the same edge under another address
      node.name = name;
    }
    node.served++;
    const back = node.state !== "up";
    node.state = "up";
    if (node !== this.current && this.current.state === "down") this.#move(node, "failed");
    else if (back) this.#changed();
  }

  failed(node) {
    if (node.state === "down") return;
    node.state = "down";
    this.#changed();
  }

  /** The viewer's own choice; what is chosen already is given back to the service. */
  choose(node) {
    const again = this.pinned && node === this.current;
    this.pinned = !again;
    if (node !== this.current) this.#move(node, "chosen");
    else this.#changed();
  }

  /** Pathways of a steering answer, which are nodes by name and others: the viewer's choice before all. @param {string[]} priority */
  order(priority) {
    const { name } = this.current;
    return this.pinned && name ? [name, ...priority.filter((id) => id !== name)] : priority;
  }

  /** Media comes from a node as the service says. */
  follow(node) {
    if (node && node !== this.current && !this.pinned && this.current.state !== "down") this.#move(node, "steered");
  }

  /** True if the node answers a small request now; notes what it found. */
  async check(node) {
    try {
      await fetch(node.url + this.#probe, { signal: AbortSignal.timeout(PROBE_TIMEOUT_MS), cache: "no-store" });
    } catch {
      this.failed(node);
      return false;
    }
    const back = node.state !== "up";
    node.state = "up";
    if (back) this.#changed();
    return true;
  }

  #probeDown() {
    if (document.hidden) return;
    for (const node of this.list) if (node.state === "down") void this.check(node);
  }

  #move(node, why) {
    const from = this.current;
    this.current = node;
    if (why === "failed") this.pinned = false;
    this.dispatchEvent(new CustomEvent("move", { detail: { from, to: node, why } }));
    this.#changed();
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}
