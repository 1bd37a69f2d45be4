// node --test testdata/nodes.test.mjs
import assert from "node:assert/strict";
import { test } from "node:test";
import { fetchFromNodes } from "../static/loader.js";
import { Nodes } from "../static/nodes.js";

const [A, B, C] = ["https://a.example", "https://b.example", "https://c.example"];

/** Nodes of which some do not answer, and where each request went. */
function begin({ dead = [] } = {}) {
  globalThis.setInterval = () => 0; // nobody looks after nodes that are down
  const nodes = new Nodes([{ name: "a", url: A }, { name: "b", url: B }, { name: "c", url: C }], A);
  const asked = [];
  const moves = [];
  nodes.addEventListener("move", ({ detail: { from, to, why } }) => moves.push([from.name, to.name, why]));
  globalThis.fetch = async (url) => {
    asked.push(url);
    if (dead.includes(new URL(url).origin)) throw new TypeError("no answer");
    return new Response("x", { headers: { "cache-status": `${new URL(url).host[0]}; hit` } });
  };
  const load = async (url) => {
    const { node } = await fetchFromNodes(nodes, url, { signal: new AbortController().signal });
    nodes.follow(node);
  };
  return { nodes, asked, moves, load, node: (name) => nodes.list.find((n) => n.name === name), dead };
}

test("nodes: a request goes to the node that it names, and playback is there", async () => {
  const { nodes, asked, moves, load } = begin();
  await load(`${A}/1`);
  await load(`${B}/2?x=1`);
  await load("/3"); // names none
  assert.deepEqual(asked, [`${A}/1`, `${B}/2?x=1`, `${B}/3`]);
  assert.deepEqual(moves, [["a", "b", "steered"]]);
  assert.equal(nodes.pinned, false);
});

test("nodes: another CDN is asked itself, and is no node", async () => {
  const { asked, moves, load } = begin();
  await load("https://cdn.example/1");
  assert.deepEqual([asked, moves], [["https://cdn.example/1"], []]);
});

test("nodes: the viewer's choice goes before what the service says, until it is given back", async () => {
  const { nodes, asked, moves, load, node } = begin();
  nodes.choose(node("c"));
  await load(`${A}/1`);
  await load(`${B}/2`);
  assert.deepEqual(asked, [`${C}/1`, `${C}/2`]);
  assert.deepEqual(nodes.order(["cdn", "b", "c"]), ["c", "cdn", "b"]);
  nodes.choose(node("c"));
  assert.equal(nodes.pinned, false);
  assert.deepEqual(nodes.order(["cdn", "b", "c"]), ["cdn", "b", "c"]);
  await load(`${B}/3`);
  assert.deepEqual(asked.slice(2), [`${B}/3`]);
  assert.deepEqual(moves, [["a", "c", "chosen"], ["c", "b", "steered"]]);
  nodes.choose(node("b")); // where it plays
  await load(`${A}/4`);
  assert.deepEqual([asked[3], nodes.pinned], [`${B}/4`, true]);
});

test("nodes: one that dies is left, chosen or not, and asked no more", async () => {
  for (const chosen of [false, true]) {
    const { nodes, asked, moves, load, node, dead } = begin();
    if (chosen) nodes.choose(node("a"));
    dead.push(A);
    await load(`${A}/1`);
    await load(`${A}/2`);
    assert.deepEqual(asked, [`${A}/1`, `${B}/1`, `${B}/2`]);
    assert.deepEqual([moves, nodes.pinned], [[["a", "b", "failed"]], false]);
  }
});
