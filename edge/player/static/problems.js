// What went wrong, and what to do about it, in words for whoever sits in front.

const NODE_HELP = "An edge with a certificate of its own making has to be accepted once: open its address, accept, come back.";

/**
 * @param {{kind: string, status?: number, url?: string, message?: string}} failure
 * @param {import("./nodes.js").Nodes} nodes
 * @returns {{title: string, text: string, links: string[]}}
 */
export function explain({ kind, status = 0, url = "", message = "" }, nodes) {
  const path = url && new URL(url, location.href).pathname;
  switch (kind) {
    case "unsupported":
      return {
        title: "This browser cannot play HLS here",
        text: "It has no HLS of its own, and this edge has no hls.js to help it. Run npm ci in edge/player and start the edge again, or open the page in Chromium 142 or later, Chrome, Edge or Safari.",
        links: [],
      };
    case "media":
      return {
        title: "The picture cannot be decoded",
        text: `The edge delivered the stream, but this browser cannot decode it. The sample is H.264 with AAC: a build of Chromium without these codecs cannot show it.${message ? ` The browser says: ${message}` : ""}`,
        links: [],
      };
    case "config":
      return { title: "The edge answers, but not about its player", text: `/player/config.json ${status ? `answered ${status}` : "could not be read"}. Reload the page; if that does not help, this edge runs another version than the page.`, links: [] };
    case "status":
      return { ...byStatus(status, path, nodes), links: [] };
  }
  const others = nodes.list.length > 1;
  return {
    title: others ? "No edge answers" : `${nodes.label(nodes.current)} does not answer`,
    text: `${others ? "All of them were tried" : "It is the only edge this page knows"}; playback goes on by itself as soon as one is back. ${NODE_HELP}`,
    links: nodes.list.map((n) => n.url),
  };
}

function byStatus(status, path, nodes) {
  const who = nodes.label(nodes.current);
  if (status === 404 || status === 410) {
    return { title: "There is no such title", text: `${who} answers, but ${path} is not there (${status}). Check that the origin serves this title and that the edge's --origin points at it.` };
  }
  if (status === 401 || status === 403) {
    return { title: "Not allowed", text: `${who} refused ${path} (${status}). The title needs a token that this page does not have, or the one it has is over.` };
  }
  if (status === 502 || status === 503 || status === 504) {
    return { title: "The origin does not answer", text: `The edges are well, but they cannot fetch ${path} from the origin (${status}). Check that the origin is running and reachable from the edges.` };
  }
  return { title: `The edge answered ${status}`, text: `${who} could not deliver ${path}. Its log has the reason.` };
}
