// The dialog that purges: what is sent, and the receipt.

import { Refused, Rejected, ask } from "./api.js";
import { element } from "./panels.js";

const byID = (id) => document.getElementById(id);

const examples = {
  urls: "https://video.example.com/vod/demo/master.m3u8",
  prefixes: "https://video.example.com/vod/demo/",
  tags: "title-42",
  all: "",
};

// listen makes the dialog work. token returns the node's, refused is told that it is not.
export function listen(token, refused) {
  const dialog = byID("purge");
  byID("purge-open").addEventListener("click", () => { dialog.showModal(); choose(); });
  byID("purge-close").addEventListener("click", () => dialog.close());
  byID("purge-kind").addEventListener("change", choose);
  byID("purge-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    byID("purge-send").disabled = true;
    try {
      show(receipt(await ask("/v1/purge", token(), request())));
    } catch (error) {
      if (error instanceof Refused) {
        dialog.close();
        return refused(error.message);
      }
      const text = error instanceof Rejected ? error.message : "The node does not answer: nobody knows whether it has purged.";
      show([element("p", "signin-error", text)]);
    } finally {
      byID("purge-send").disabled = false;
    }
  });
}

// choose shows what the kind needs.
function choose() {
  const kind = byID("purge-kind").value;
  byID("purge-named").hidden = kind === "all";
  byID("purge-items").required = kind !== "all";
  byID("purge-items").placeholder = examples[kind];
  byID("purge-send").textContent = kind === "all" ? "Purge everything" : "Purge";
  show([]);
}

function request() {
  const kind = byID("purge-kind").value;
  const items = byID("purge-items").value.split("\n").map((line) => line.trim()).filter(Boolean);
  return { [kind]: kind === "all" ? true : items, soft: byID("purge-soft").checked };
}

function receipt(answer) {
  const rows = answer.nodes.map((node) => {
    const state = element("span", "state", node.state);
    state.dataset.tone = node.state === "applied" ? "good" : "warn";
    const name = element("th", "", node.node);
    name.scope = "row";
    const what = node.error ? "obeys when it can be reached" : `${node.removed} removed at once`;
    return element("tr", "", name, element("td", "", state), element("td", "num right", what));
  });
  const named = answer.items.length === 1 ? answer.items[0] : answer.items.length > 1 ? `${answer.items.length} names` : "everything";
  return [
    element("p", "", answer.soft ? "Stale from now on: " : "Not served any more: ", element("span", "mono key", named)),
    element("table", "", element("tbody", "", ...rows)),
    element("p", "mono key", `${answer.id} · ${new Date(answer.time).toLocaleString()}`),
  ];
}

function show(nodes) { byID("purge-answer").replaceChildren(...nodes); }
