// node --test testdata/parsers.test.mjs
import assert from "node:assert/strict";
import { test } from "node:test";
import { outcome, parse } from "../static/cachestatus.js";
import { media, multivariant } from "../static/manifest.js";

const cases = [
  ["", "unknown", "", ""],
  [null, "unknown", "", ""],
  ["edge-2; hit; ttl=31535999", "hit", "edge-2", "edge-2"],
  ["edge-1; fwd=uri-miss; stored", "origin", "edge-1", "origin"],
  ["edge-2; hit; ttl=9, edge-1; fwd=uri-miss; stored", "peer", "edge-1", "edge-2"],
  ["edge-2; fwd=uri-miss; fwd-status=200, edge-1; fwd=uri-miss; collapsed", "origin", "edge-1", "origin"],
  ["edge-2;hit,edge-1;hit", "hit", "edge-1", "edge-1"],
  ['"edge, \\"one\\"; hit"; fwd=miss; detail="a, b; hit"', "origin", 'edge, "one"; hit', "origin"],
  ["edge-1; hit=?0x; HIT", "hit", "edge-1", "edge-1"],
  [", ,;", "origin", "", "origin"],
];

for (const [header, kind, node, source] of cases) {
  test(`outcome ${header}`, () => {
    const got = outcome(header);
    assert.deepEqual([got.kind, got.node, got.source], [kind, node, source]);
  });
}

test("parameters", () => {
  assert.deepEqual(parse('a; ttl=-5; key="x\\"y;z"; stored'), [{ name: "a", params: { ttl: "-5", key: 'x"y;z', stored: true } }]);
});

test("nothing makes it throw or hang", () => {
  for (const text of ['"', '"\\', "=;=,=", "a;".repeat(1000), '"'.repeat(999), "\u0000,\u0000"]) outcome(text);
});

test("playlists", () => {
  const top = multivariant('#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",URI="a.m3u8"\r\n#EXT-X-STREAM-INF:BANDWIDTH=900,AVERAGE-BANDWIDTH=500,CODECS="avc1,mp4a",RESOLUTION=1280x720\nv.m3u8\n');
  assert.deepEqual(top, { variants: [{ uri: "v.m3u8", height: 720, bitrate: 500 }], audio: ["a.m3u8"] });
  const list = media('#EXTM3U\n#EXT-X-MAP:URI="i.mp4"\n#EXTINF:2.0,\n1.m4s\n#EXTINF:1.5,\n2.m4s\n');
  assert.deepEqual(list, { maps: ["i.mp4"], segments: [{ uri: "1.m4s", start: 0, duration: 2 }, { uri: "2.m4s", start: 2, duration: 1.5 }] });
});
