// node --test testdata/downloads.test.mjs
import assert from "node:assert/strict";
import { test } from "node:test";
import { parse } from "hls-parser";
import { downloads } from "../static/sdk/downloads.js";
import { beginning, mpd, sequence } from "../static/sdk/mpd.js";
import { localize, multivariant } from "../static/sdk/playlist.js";

const A = "https://a.example";
const B = "https://b.example";
const EXPIRES = 1700000000000 + 86400e3;

/** The Cache API as far as it is used. room: bytes. */
class FakeCaches {
  all = new Map();
  room = Infinity;

  async keys() { return [...this.all.keys()]; }
  async has(name) { return this.all.has(name); }
  async delete(name) { return this.all.delete(name); }
  async open(name) {
    if (!this.all.has(name)) this.all.set(name, new Map());
    const held = this.all.get(name);
    return {
      keys: async () => [...held.keys()].map((url) => ({ url })),
      match: async (url) => held.get(url)?.clone(),
      delete: async (url) => held.delete(url),
      put: async (url, response) => {
        if ((this.room -= Number(response.headers.get("content-length"))) < 0) throw new DOMException("full", "QuotaExceededError");
        held.set(url, response);
      },
    };
  }

  async text(id, name) {
    return this.all.get(`weir-kept-${id}`).get(`/player/kept/${id}/${name}`).clone().text();
  }
}

const body = (name) => new TextEncoder().encode(`${name} `.repeat(20));
const PLAYLIST = '#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-MAP:URI="v/init.mp4?t=1"\n#EXTINF:2,\nv/1.m4s?t=1\n#EXTINF:2,\nv/2.m4s?t=1\n#EXT-X-ENDLIST\n';
const AUDIO = '#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-MAP:URI="a.mp4",BYTERANGE="10@0"\n#EXTINF:4,\n#EXT-X-BYTERANGE:30@10\na.mp4\n#EXT-X-ENDLIST\n';

/**
 * Servers with one title. answer(url, init, n) may answer in their place: a Response, null (no network), or undefined.
 */
function service(answer = () => undefined, options = {}) {
  const asked = [];
  const waited = [];
  const env = {
    time: 1700000000000,
    caches: new FakeCaches(),
    fetch: async (url, init = {}) => {
      init.signal?.throwIfAborted();
      const given = await answer(url, init, asked.push({ url, ...init }));
      if (given === null) throw new TypeError("network");
      if (given) return given;
      const { pathname } = new URL(url);
      const json = (status, value) => new Response(JSON.stringify(value), { status, headers: { "content-type": "application/json" } });
      if (init.method === "DELETE") return new Response(null, { status: 204 });
      if (pathname === "/sdk/v1/downloads") {
        return json(201, {
          download: "d1", asset: "film", rendition: { bandwidth: 800000, codecs: "avc1.64001f,mp4a.40.2", height: 720 }, playlists: [`${A}/v.m3u8?t=0`, `${A}/a.m3u8?t=0`],
          files: 5, bytes: body("/v/init.mp4").length + 2 * body("/v/1.m4s").length + 40, exact: true, duration_s: 4, licenses: {}, expires: new Date(EXPIRES).toISOString(), ...options,
        });
      }
      if (pathname.startsWith("/sdk/v1/downloads/")) return json(200, { expires: new Date(EXPIRES + 1000).toISOString() });
      if (pathname === "/sdk/v1/cmcd") return new Response(null, { status: 204 });
      if (pathname === "/sdk/v1/token") return json(200, { name: "t", value: "new", carry: "query", expires: "" });
      if (pathname === "/v.m3u8") return new Response(PLAYLIST);
      if (pathname === "/a.m3u8") return new Response(AUDIO);
      return file(body(pathname), init);
    },
    wait: async (ms, signal) => (signal?.throwIfAborted(), void waited.push(ms)),
    random: () => 1,
    now: () => env.time,
    storage: null,
  };
  return { env, asked, waited, caches: env.caches, open: () => downloads({ server: [A, B], env }) };
}

/** A file, or the part that is asked for. breaks: the body breaks off after so many bytes. */
function file(bytes, { headers = {} } = {}, { etag = '"1"', breaks = Infinity } = {}) {
  const [, from, to] = /^bytes=(\d+)-(\d*)$/.exec(headers.Range ?? "") ?? [];
  const conditional = headers["If-Range"] && headers["If-Range"] !== etag;
  const partial = from !== undefined && !conditional;
  const part = partial ? bytes.slice(Number(from), to ? Number(to) + 1 : undefined) : bytes;
  const stream = new ReadableStream({
    start(controller) {
      if (part.length <= breaks) controller.enqueue(part);
      else controller.enqueue(part.slice(0, breaks));
    },
    pull(controller) { // what was queued has been read
      if (part.length <= breaks) controller.close();
      else controller.error(new TypeError("broken off"));
    },
  }, { highWaterMark: 0 });
  return new Response(stream, { status: partial ? 206 : 200, headers: { etag, "content-type": "video/mp4", ...(partial && { "content-range": `bytes ${from}-${Number(from) + part.length - 1}/${bytes.length}` }) } });
}

/** Until it is in one of the states, or has a problem. */
const until = (one, ...states) => new Promise((resolve) => {
  const look = () => (states.includes(one.state) || one.problem) && resolve();
  one.addEventListener("change", look);
  look();
});

test("a playlist is written for files of its own", () => {
  const { text, pieces } = localize('#EXTM3U\n#EXT-X-MAP:BYTERANGE="10@5",URI="all.mp4"\n#EXT-X-KEY:METHOD=AES-128,URI="k.bin",IV=0x1\n#EXTINF:2,\n#EXT-X-BYTERANGE:100@15\nall.mp4\n#EXTINF:2,\n#EXT-X-BYTERANGE:50\nall.mp4\n#EXT-X-MAP:URI="all.mp4",BYTERANGE="10@5"\n#EXTINF:2,\n../x/1.m4s?q\n#EXT-X-ENDLIST', `${A}/d/v.m3u8`, "0");
  assert.deepEqual(pieces, [
    { name: "0/0.mp4", url: `${A}/d/all.mp4`, range: [5, 14] }, { name: "0/1.bin", url: `${A}/d/k.bin` },
    { name: "0/2.mp4", url: `${A}/d/all.mp4`, range: [15, 114] }, { name: "0/3.mp4", url: `${A}/d/all.mp4`, range: [115, 164] }, { name: "0/4.m4s", url: `${A}/x/1.m4s?q` },
  ]);
  assert.equal(text, '#EXTM3U\n#EXT-X-MAP:URI="0/0.mp4"\n#EXT-X-KEY:METHOD=AES-128,URI="0/1.bin",IV=0x1\n#EXTINF:2,\n0/2.mp4\n#EXTINF:2,\n0/3.mp4\n#EXT-X-MAP:URI="0/0.mp4"\n#EXTINF:2,\n0/4.m4s\n#EXT-X-ENDLIST');
});

test("the multivariant playlist is one that others read", () => {
  const { variants } = parse(multivariant({ bandwidth: 800000, codecs: "avc1.64001f,mp4a.40.2", height: 720 }, ["0.m3u8", "1.m3u8"]));
  assert.deepEqual([variants.length, variants[0].uri, variants[0].codecs, variants[0].audio[0].uri], [1, "0.m3u8", "avc1.64001f,mp4a.40.2", "1.m3u8"]);
  assert.equal(parse(multivariant({ bandwidth: 0, codecs: "", height: 0 }, ["0.m3u8"])).variants[0].audio.length, 0);
});

test("a title is loaded whole, and told of", async () => {
  const { env, asked, caches, open } = service();
  const all = await open();
  const one = await all.add({ asset: "film", title: "The film", device: "car" });
  const told = [];
  one.addEventListener("progress", ({ detail }) => told.push(detail.bytes));
  await until(one, "kept");
  assert.deepEqual([one.problem, one.part, one.bytes, told.at(-1)], [null, 1, one.record.bytes, one.record.bytes]);
  assert.equal(await caches.text("d1", "0/1.m4s"), "/v/1.m4s ".repeat(20));
  assert.equal(await caches.text("d1", "1/1.mp4"), new TextDecoder().decode(body("/a.mp4").slice(10, 40)));
  assert.match(await caches.text("d1", "master.m3u8"), /AUDIO="sound"\n0\.m3u8/);
  assert.equal(JSON.parse(asked[0].body).device, "car");
  assert.equal(await all.add({ asset: "film" }), one, "the same title again");
  const again = (await downloads({ server: A, env })).list;
  assert.deepEqual(again.map((d) => [d.id, d.state, d.record.title]), [["d1", "kept", "The film"]]);
  assert.match(again[0].manifest ?? "", /player\/kept\/d1\/master\.m3u8$/);
});
globalThis.location ??= { href: "https://page.example/" };

test("what broke off goes on with the byte after", async () => {
  let first = true;
  const { open, caches, asked } = service((url, init) => {
    if (!url.includes("/v/2.m4s") || !first) return undefined;
    first = false;
    return file(body("/v/2.m4s"), init, { breaks: 70 });
  });
  const one = await (await open()).add({ asset: "film" });
  await until(one, "kept");
  assert.equal(await caches.text("d1", "0/2.m4s"), "/v/2.m4s ".repeat(20));
  assert.equal(one.bytes, one.record.bytes);
  const ask = asked.filter(({ url }) => url.includes("/v/2.m4s")).at(-1);
  assert.deepEqual([ask.headers.Range, ask.headers["If-Range"]], ["bytes=70-", '"1"']);
});

test("another version is loaded from its beginning", async () => {
  let n = 0;
  const { open, caches } = service((url, init) => {
    if (!url.includes("/v/2.m4s")) return undefined;
    return n++ ? file(new TextEncoder().encode("new"), init, { etag: '"2"' }) : file(body("/v/2.m4s"), init, { breaks: 70 });
  });
  const one = await (await open()).add({ asset: "film" });
  await until(one, "kept");
  assert.equal(await caches.text("d1", "0/2.m4s"), "new");
  assert.equal(one.bytes, one.record.bytes - body("/v/2.m4s").length + 3);
});

test("pause; after a reload only the rest is loaded", async () => {
  let wanted;
  const hold = new Promise((resolve) => (wanted = resolve));
  let holding = true;
  const { env, asked, caches, open } = service(async (url, init) => {
    if (!holding || !url.includes("/v/2.m4s")) return undefined;
    wanted();
    return new Promise((_, reject) => init.signal.addEventListener("abort", () => reject(init.signal.reason)));
  });
  const one = await (await open()).add({ asset: "film" });
  await hold;
  while (caches.all.get("weir-kept-d1").size < 8) await new Promise((resolve) => setTimeout(resolve)); // record, 3 playlists, 4 files
  await one.pause();
  assert.deepEqual([one.state, one.problem], ["paused", null]);
  const before = asked.length;
  const later = (await downloads({ server: A, env })).list[0];
  assert.deepEqual([later.state, later.bytes > 0], ["paused", true]);
  assert.equal(asked.length, before, "a paused one goes on when the viewer says so");
  holding = false;
  await later.resume();
  assert.deepEqual(asked.slice(before).map(({ url }) => new URL(url).pathname), ["/v.m3u8", "/a.m3u8", "/v/2.m4s"]);
  assert.deepEqual([later.state, later.bytes], ["kept", later.record.bytes]);
});

test("what was being loaded when the page went goes on by itself", async () => {
  const { env, open, caches } = service();
  const one = await (await open()).add({ asset: "film" });
  await until(one, "kept");
  const cache = caches.all.get("weir-kept-d1");
  cache.delete("/player/kept/d1/0/1.m4s");
  cache.set("/player/kept/d1/record.json", new Response(JSON.stringify({ ...one.record, state: "loading" })));
  const later = (await downloads({ server: A, env })).list[0];
  await until(later, "kept");
  assert.equal(later.problem, null);
  assert.equal(await caches.text("d1", "0/1.m4s"), "/v/1.m4s ".repeat(20));
});

test("a title that changed meanwhile is loaded anew", async () => {
  const { env, open, caches } = service();
  const one = await (await open()).add({ asset: "film" });
  await until(one, "kept");
  const cache = caches.all.get("weir-kept-d1");
  cache.set("/player/kept/d1/record.json", new Response(JSON.stringify({ ...one.record, state: "loading", plan: "[other]" })));
  cache.set("/player/kept/d1/0/1.m4s", new Response("of the other"));
  await until((await downloads({ server: A, env })).list[0], "kept");
  assert.equal(await caches.text("d1", "0/1.m4s"), "/v/1.m4s ".repeat(20));
});

test("a token that is over is renewed, a server that is gone is left", async () => {
  const { open, asked } = service((url) => {
    if (url.startsWith(B)) return url.includes("t=old") ? new Response(null, { status: 403 }) : undefined;
    return /\/v[./]/.test(url) ? null : undefined;
  }, { token: { name: "t", value: "old", carry: "query", expires: "" } });
  const one = await (await open()).add({ asset: "film" });
  await until(one, "kept");
  assert.equal(one.problem, null);
  assert.ok(asked.some(({ url }) => url.startsWith(`${B}/v/1.m4s`) && url.includes("t=new")), "the new token is sent");
});

for (const [name, answer, options, kind, state, words] of [
  ["no room in the browser", undefined, { room: 600 }, "room", "paused", /no more room.*Remove something/],
  ["no network", (url) => (url.includes("/v/") ? null : undefined), {}, "unreachable", "loading", /network/],
  ["not there any more", (url) => (url.includes("/v/") ? new Response(null, { status: 404 }) : undefined), {}, "asset", "paused", /taken down/],
  ["a fault that stays", (url) => (url.includes("/v/") ? new Response(null, { status: 503 }) : undefined), {}, "answer", "paused", /503/],
]) {
  test(`it stops in words: ${name}`, async () => {
    const { open, caches } = service(answer);
    caches.room = options.room ?? Infinity;
    const one = await (await open()).add({ asset: "film" });
    await until(one, "kept");
    assert.deepEqual([one.problem?.kind, one.state], [kind, state]);
    assert.match(one.problem.words.text, words);
    await one.pause();
  });
}

test("what the service refuses is no download", async () => {
  const { open } = service((url) => (url.endsWith("/downloads") ? new Response(JSON.stringify({ type: "/sdk/v1/problems/downloads", limit: 1, sessions: [{ asset: "news", device: "tv" }] }), { status: 409, headers: { "content-type": "application/problem+json" } }) : undefined));
  const all = await open();
  const refused = await all.add({ asset: "film" }).then(() => null, (e) => e);
  assert.match(refused.words.text, /One title at a time may be kept, and there is news on a television/);
  assert.deepEqual(all.list, []);
});

test("what is over is removed, what was ended elsewhere too", async () => {
  for (const [after, answer] of [[2 * 86400e3, undefined], [0, (url, { method }) => (url.endsWith("/downloads/d1") && method !== "DELETE" ? new Response(null, { status: 410 }) : undefined)]]) {
    const { env, open, caches } = service(answer);
    await until(await (await open()).add({ asset: "film" }), "kept");
    env.time += after;
    const all = await downloads({ server: A, env });
    const why = new Promise((resolve) => all.addEventListener("removed", ({ detail }) => resolve(detail.error)));
    void all.list;
    assert.match((await why).words.text, /not be played any more/);
    assert.deepEqual([all.list, caches.all.size], [[], 0]);
  }
});

test("what is removed makes room here and in the account", async () => {
  const { open, asked, caches } = service();
  const all = await open();
  const one = await all.add({ asset: "film" });
  await until(one, "kept");
  await one.remove();
  assert.deepEqual([all.list, caches.all.size, asked.at(-1).method, new URL(asked.at(-1).url).pathname], [[], 0, "DELETE", "/sdk/v1/downloads/d1"]);
});

test("what is kept is said to be wanted", async () => {
  const { env, open } = service();
  await until(await (await open()).add({ asset: "film" }), "kept");
  const [one] = (await downloads({ server: A, env })).list;
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setTimeout(resolve));
  assert.equal(Date.parse(one.record.expires), EXPIRES + 1000);
});

/** A box with that content, as ISO/IEC 14496-12 writes it, behind another one and before some more. */
function box(type, ...words) {
  const view = new DataView(new ArrayBuffer(64));
  [...type].forEach((c, i) => view.setUint8(12 + i, c.charCodeAt(0)));
  words.forEach((word, i) => view.setUint32(16 + 4 * i, word));
  return view.buffer;
}

test("an MPD of what is kept: both tracks on one clock, each with its own times", () => {
  const { text } = localize('#EXTM3U\n#EXT-X-MAP:URI="i.mp4"\n#EXTINF:2.002,\n1.m4s\n#EXTINF:2.002,\n2.m4s\n#EXTINF:0.5,\n3.m4s\n#EXT-X-ENDLIST', `${A}/v/i.m3u8`, "0");
  const picture = { ...sequence(text), ...beginning(box("mdhd", 0, 0, 0, 30000), box("tfdt", 0, 300000)) };
  const sound = { init: "1/0.mp4", media: "1/$Number$.m4s", first: "1/1.m4s", durations: [4.504], ...beginning(box("mdhd", 1 << 24, 0, 0, 0, 0, 48000), box("tfdt", 1 << 24, 0, 480480)) };
  const out = mpd({ bandwidth: 800000, codecs: 'avc1.64001f, mp4a.40.2"', height: 720 }, [picture, sound]);
  assert.match(out, /type="static".*mediaPresentationDuration="PT4\.504S"/s);
  assert.match(out, /contentType="video" mimeType="video\/mp4" codecs="avc1\.64001f">/);
  assert.match(out, /timescale="30000" presentationTimeOffset="300000" startNumber="1" initialization="0\/0\.mp4" media="0\/\$Number\$\.m4s"><SegmentTimeline><S t="300000" d="60060"\/><S d="60060"\/><S d="15000"\/>/);
  assert.match(out, /contentType="audio".*codecs="mp4a\.40\.2&#34;">.*timescale="48000" presentationTimeOffset="480000".*<S t="480480" d="216192"\/>/);
  assert.match(mpd({ bandwidth: 0, codecs: "mp4a.40.2", height: 0 }, [sound]), /^(?!.*video).*contentType="audio".*bandwidth="1"/s);
});

for (const [name, text] of [
  ["encrypted", '#EXT-X-KEY:METHOD=SAMPLE-AES,URI="skd://x"\n#EXT-X-MAP:URI="0/0.mp4"\n#EXTINF:2,\n0/1.m4s'],
  ["put together", '#EXT-X-MAP:URI="0/0.mp4"\n#EXTINF:2,\n0/1.m4s\n#EXT-X-DISCONTINUITY\n#EXTINF:2,\n0/2.m4s'],
  ["of two tracks", '#EXT-X-MAP:URI="0/0.mp4"\n#EXTINF:2,\n0/1.m4s\n#EXT-X-MAP:URI="0/2.mp4"\n#EXTINF:2,\n0/3.m4s'],
  ["the same file twice", '#EXT-X-MAP:URI="0/0.mp4"\n#EXTINF:2,\n0/1.m4s\n#EXTINF:2,\n0/1.m4s'],
  ["a transport stream", "#EXTINF:2,\n0/0.ts\n#EXTINF:2,\n0/1.ts"],
  ["empty", "#EXTM3U"],
]) {
  test(`no MPD says it: ${name}`, () => assert.equal(sequence(text), null));
}

test("what is kept and no fragmented MP4 is refused in words", async () => {
  const { open } = service();
  const one = await (await open()).add({ asset: "film" });
  await until(one, "kept");
  const video = Object.assign(new EventTarget(), { buffered: { length: 0 }, currentTime: 0, duration: 0, readyState: 0, playbackRate: 1 });
  const refused = await one.play(video, { engine: { name: "dash.js", format: "dash", attach() {}, destroy() {} } }).then(() => "", (e) => e.words.text);
  assert.match(refused, /no fragmented MP4|only players of HLS/);
});
