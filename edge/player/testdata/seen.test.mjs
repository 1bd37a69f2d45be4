// node --test testdata/seen.test.mjs
import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { decodeCmcd } from "@svta/cml-cmcd";
import { Seen } from "../static/sdk/seen.js";
import { Token } from "../static/sdk/cmcd.js";
import { Servers } from "../static/sdk/wire.js";

/** A service whose answers to batches are given: a status, null (no network), or "lost" (it came, its answer did not). */
function service() {
  const held = new Map();
  const taken = []; // [key, records] as they came
  const cache = {
    keys: async () => [...held.keys()].map((url) => ({ url })), match: async (url) => held.get(url)?.clone(), delete: async (url) => held.delete(url),
    put: async (url, response) => void held.set(url, response),
  };
  const at = { answer: 204, time: 1700000000000 };
  const env = {
    fetch: async (url, { headers, body }) => {
      assert.equal(new URL(url).pathname, "/sdk/v1/cmcd");
      assert.equal(headers["Content-Type"], "application/cmcd");
      if (at.answer === null) throw new TypeError("network");
      taken.push([headers["Idempotency-Key"], body.split("\n").map((line) => ({ ...decodeCmcd(line), offline: /(^|,)weir-offline(,|$)/.test(line) }))]);
      if (at.answer === "lost") throw new TypeError("network");
      return new Response(null, { status: at.answer });
    },
    wait: async () => {}, random: () => 1, now: () => at.time, storage: null,
  };
  const open = () => new Seen({ open: async () => cache, has: async () => held.size > 0 }, new Servers("https://a.example"), env);
  return { at, held, taken, open };
}

const told = async (viewing, events) => {
  for (const event of events) viewing.add(event, { sta: new Token("p") });
  await new Promise((resolve) => setTimeout(resolve));
};

test("what was watched without a network is told when there is one, with the times at which it was", async () => {
  const { at, held, taken, open } = service();
  at.answer = null;
  const viewing = open().begin("film");
  await told(viewing, ["ps"]);
  at.time += 30000;
  await told(viewing, ["t"]);
  assert.equal(held.size, 1);
  at.time += 3 * 86400e3;
  at.answer = 204;
  await open().send(); // another page, days later
  assert.deepEqual(taken.map(([, records]) => records.map(({ e, ts, sn, cid, v, offline }) => [e, ts, sn, cid, v, offline])), [
    [["ps", 1700000000000, 0, "film", 2, true], ["t", 1700000030000, 1, "film", 2, true]],
  ]);
  assert.equal(held.size, 0);
});

test("an answer that was lost: the same batch goes again by the same key, what comes after by another", async () => {
  const { at, taken, open } = service();
  const seen = open();
  const viewing = seen.begin("film");
  await told(viewing, ["ps", "t"]);
  at.answer = "lost";
  await seen.send();
  at.time += 1000;
  await told(viewing, ["t"]);
  at.answer = 204;
  await seen.send();
  const [first, again, rest] = taken;
  assert.deepEqual([again, taken.length], [first, 3]);
  assert.notEqual(rest[0], first[0]);
  assert.deepEqual([first, rest].map(([, records]) => records.map(({ sn }) => sn)), [[0, 1], [2]]);
  assert.equal(first[1][0].sid, rest[1][0].sid);
});

test("what another page has sent is not sent again with what comes after", async () => {
  const { taken, open } = service();
  const viewing = open().begin("film");
  await told(viewing, ["ps", "t"]);
  await open().send();
  await told(viewing, ["t", "t"]);
  await open().send();
  assert.deepEqual(taken.map(([, records]) => records.map(({ sn }) => sn)), [[0, 1], [2, 3]]);
  assert.notEqual(taken[0][0], taken[1][0]);
});

for (const [name, answer, left] of [["what is refused goes", 400, 0], ["a service that wants none now gets it later", 429, 1], ["and one that has a fault", 500, 1]]) {
  test(name, async () => {
    const { at, held, open } = service();
    at.answer = answer;
    const seen = open();
    await told(seen.begin("film"), ["ps"]);
    await seen.send();
    assert.equal(held.size, left);
  });
}

test("where the network is not there yet after all, it is tried again within seconds", async () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  try {
    const { at, held, taken, open } = service();
    at.answer = null;
    const seen = open();
    seen.begin("film").add("ps", {});
    const settle = async () => {
      for (let i = 0; i < 200; i++) await Promise.resolve();
    };
    await settle();
    await seen.send();
    at.answer = 204;
    mock.timers.tick(1100);
    await settle();
    assert.deepEqual([held.size, taken.length], [0, 1]);
  } finally {
    mock.timers.reset();
  }
});

test("there is a bound to how much waits, and to how long", async () => {
  const { at, held, taken, open } = service();
  at.answer = null;
  const viewing = open().begin("film");
  for (let i = 0; i < 52; i++) {
    at.time += 1000;
    await told(viewing, Array.from({ length: 100 }, () => "t"));
  }
  assert.equal(held.size, 50);
  at.time += 15 * 86400e3;
  at.answer = 204;
  await open().send();
  assert.deepEqual([held.size, taken.length], [0, 0]);
});
