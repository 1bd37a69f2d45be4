// Cache-Status (RFC 9211): what the caches on the way did with one request.

/**
 * Splits at a separator outside quoted strings.
 * @param {string} text
 * @param {string} separator
 */
function split(text, separator) {
  const parts = [];
  let part = "";
  let quoted = false;
  for (let i = 0; i < text.length; i++) {
    const c = text[i];
    if (quoted && c === "\\") {
      part += c + (text[++i] ?? "");
    } else if (c === separator && !quoted) {
      parts.push(part);
      part = "";
    } else {
      if (c === '"') quoted = !quoted;
      part += c;
    }
  }
  parts.push(part);
  return parts.map((p) => p.trim()).filter((p) => p !== "");
}

/** Removes the quotes of a structured string; other items stay as they are. */
function bare(item) {
  return item.startsWith('"') && item.endsWith('"') && item.length > 1
    ? item.slice(1, -1).replace(/\\(.)/g, "$1")
    : item;
}

/**
 * Returns one entry per cache, the one nearest the origin first (RFC 9211, 2).
 * @param {string | null | undefined} header
 * @returns {{name: string, params: Record<string, string | true>}[]}
 */
export function parse(header) {
  return split(header ?? "", ",").map((member) => {
    const [name, ...rest] = split(member, ";");
    const params = {};
    for (const parameter of rest) {
      const at = parameter.indexOf("=");
      if (at < 0) params[parameter.toLowerCase()] = true;
      else params[parameter.slice(0, at).trim().toLowerCase()] = bare(parameter.slice(at + 1).trim());
    }
    return { name: bare(name ?? ""), params };
  });
}

/**
 * Says where the bytes came from: "hit" (the nearest edge had them), "peer"
 * (another edge had them), "origin", or "unknown" when no header could be seen.
 * @param {string | null | undefined} header
 */
export function outcome(header) {
  const caches = parse(header);
  const nearest = caches.at(-1);
  if (!nearest) return { kind: "unknown", node: "", source: "", header: "" };
  const had = caches.findLast((cache) => "hit" in cache.params);
  const kind = !had ? "origin" : had === nearest ? "hit" : "peer";
  return { kind, node: nearest.name, source: had ? had.name : "origin", header: header ?? "" };
}
