// node --test testdata/api.test.mjs
import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import { readFileSync } from "node:fs";
import { mock, test } from "node:test";

const { poll } = await import("data:text/javascript," + encodeURIComponent(readFileSync(new URL("../page/api.js", import.meta.url))));

test("a page that polls for days keeps nothing of each time", async () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  globalThis.fetch = async () => Response.json({});
  const end = new AbortController();
  let answers = 0;
  const over = poll("/v1/status", () => "", end.signal, { answer: () => answers++, failure: assert.fail, refused: assert.fail });
  while (answers < 50) {
    for (let i = 0; i < 20; i++) await Promise.resolve();
    await new Promise((resolve) => setImmediate(resolve));
    mock.timers.tick(1000);
  }
  assert.ok(getEventListeners(end.signal, "abort").length <= 1);
  end.abort();
  await over;
  mock.timers.reset();
});
