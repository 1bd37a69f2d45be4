// node --test testdata/sdk.test.mjs
import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import { readFileSync } from "node:fs";
import { afterEach, mock, test } from "node:test";
import { decodeCmcd } from "@svta/cml-cmcd";
import { Reporter, Token, encode } from "../static/sdk/cmcd.js";
import { forget, recall, remember } from "../static/sdk/resume.js";
import { play } from "../static/sdk/weir.js";
import { Servers, ask, backoff, browserEnv, retryAfter } from "../static/sdk/wire.js";
import { explain } from "../static/sdk/words.js";

/** An env whose servers answer by a script: a function of the request, or a list of answers, the last one repeated. */
function fake(answers) {
  const asked = [];
  const waited = [];
  const kept = new Map();
  const env = {
    time: 1700000000000,
    fetch: async (url, init = {}) => {
      asked.push({ url, ...init });
      const answer = typeof answers === "function" ? await answers(url, init, asked.length) : answers[Math.min(asked.length, answers.length) - 1];
      if (answer === null) throw new TypeError("network");
      const { status = 200, body = {}, text = JSON.stringify(body), headers = {} } = answer;
      const type = status >= 400 ? "application/problem+json" : "application/json";
      return new Response(status === 204 ? null : text, { status, headers: { "content-type": type, ...headers } });
    },
    wait: async (ms) => void waited.push(ms),
    random: () => 1,
    now: () => env.time,
    storage: { getItem: (k) => kept.get(k) ?? null, setItem: (k, v) => void kept.set(k, v), removeItem: (k) => void kept.delete(k) },
  };
  return { env, asked, waited, kept };
}
const problem = (name, status, more = {}) => ({ status, body: { type: `/sdk/v1/problems/${name}`, status, ...more } });
const A = "https://a.example";
const B = "https://b.example";

test("a server that does not answer is left for the next one at once", async () => {
  const { env, asked, waited } = fake((url) => (url.startsWith(A) ? null : {}));
  const servers = new Servers([A, B]);
  await ask(servers, "/x", { method: "POST" }, env);
  assert.deepEqual([asked.map((r) => r.url), waited, servers.current], [[`${A}/x`, `${B}/x`], [], B]);
  await ask(servers, `${A}/y?z`, {}, env);
  assert.equal(asked.at(-1).url, `${B}/y?z`);
});

for (const [name, answers, requests, waits, ends] of [
  ["502 goes on at once, after a round with a pause", [{ status: 502 }, { status: 504 }, {}], 3, [500], ""],
  ["503 is waited for as long as it says", [{ ...problem("busy", 503), headers: { "retry-after": "7" } }, {}], 2, [7000], ""],
  ["429 without a time is backed off from", [{ status: 429 }, { status: 429 }, {}], 3, [500, 1000], ""],
  ["an hour is too long to wait", [{ ...problem("busy", 503), headers: { "retry-after": "3600" } }], 1, [], "busy"],
  ["what is wrong is not repeated", [problem("request", 400)], 1, [], "request"],
  ["nobody answers", [null], 10, [500, 1000, 2000, 4000], "unreachable"],
  ["the page of a network that wants a login is no answer", [{ text: "<html>" }, {}], 2, [], ""],
  ["and where there is nothing else, nobody answers", [{ text: "<html>" }], 10, [500, 1000, 2000, 4000], "unreachable"],
  ["a conflict is an answer", [problem("sessions", 409)], 1, [], "sessions"],
]) {
  test(name, async () => {
    const { env, asked, waited } = fake(answers);
    const kind = await ask(new Servers([A, B]), "/x", {}, env).then(() => "", (e) => e.kind);
    assert.deepEqual([asked.length, waited, kind], [requests, waits, ends]);
  });
}

test("no wait is longer than half a minute, none is the same", () => {
  assert.deepEqual([backoff(1, { random: () => 0 }), backoff(1, { random: () => 1 }), backoff(40, { random: () => 1 })], [250, 500, 30000]);
});

test("a wait leaves nothing behind, and ends at once where it is over already", async () => {
  const { wait } = browserEnv();
  const end = new AbortController();
  await wait(0, end.signal);
  assert.equal(getEventListeners(end.signal, "abort").length, 0);
  const waiting = wait(60000, end.signal);
  end.abort(new Error("over"));
  await assert.rejects(waiting, /over/);
  await assert.rejects(wait(60000, end.signal), /over/);
});

test("Retry-After", () => {
  const now = Date.parse("Thu, 01 Jan 2026 00:00:00 GMT");
  for (const [field, ms] of [[null, -1], ["", -1], ["3", 3000], ["Thu, 01 Jan 2026 00:00:09 GMT", 9000], ["Thu, 01 Jan 2020 00:00:00 GMT", 0], ["soon", -1]]) {
    assert.equal(retryAfter(field, now), ms, String(field));
  }
});

test("servers: a request goes where steering sends it, but not to a server that was left", async () => {
  const { env } = fake((url) => (url.startsWith(A) ? null : {}));
  const servers = new Servers([A, B]);
  assert.deepEqual([servers.route(`${B}/s`), servers.route("/s"), servers.route("https://cdn.example/s")], [`${B}/s`, `${A}/s`, "https://cdn.example/s"]);
  await ask(servers, "/x", {}, env);
  assert.deepEqual([servers.route(`${A}/s`), servers.route(`${B}/s`)], [`${B}/s`, `${B}/s`]);
  servers.move(A);
  assert.deepEqual([servers.route(`${A}/s`), servers.route(`${B}/s`)], [`${A}/s`, `${A}/s`]);
});

test("servers: no strangers, no nonsense", () => {
  const servers = new Servers([`${A}/path`, "ftp://x", "nonsense"]);
  servers.learn([B, A]);
  assert.deepEqual([servers.list, servers.on("https://other.example/s"), servers.on("/p?q", B)], [[A, B], "https://other.example/s", `${B}/p?q`]);
  assert.throws(() => new Servers("nonsense"), TypeError);
});

test("every problem has words of its own", () => {
  const sessions = [{ session: "1", asset: "demo", device: "tv", label: "Living room" }, { session: "2", asset: "news", device: "car" }];
  const words = explain("sessions", { problem: { limit: 2, sessions } });
  assert.match(words.text, /2 streams.*demo on “Living room” and news on a car.*here instead/);
  assert.equal(words.todo, "replace");
  const document = JSON.parse(readFileSync(new URL("../../sdk/openapi.json", import.meta.url)));
  const named = document.paths["/sdk/v1/problems/{name}"].parameters[0].schema.enum;
  const own = ["lost", "unreachable", "unsupported", "media", "storage", "expired"];
  const titles = new Map([[explain("answer", {}).title, "what has no words"]]);
  for (const kind of [...named, ...own]) {
    const { title, text, todo } = explain(kind, { detail: "Why." });
    assert.ok(!titles.has(title), `${kind} has the words of ${titles.get(title)}`);
    assert.match(text, /^[A-Z0-9].*[.?]$/, kind);
    assert.ok(["replace", "retry", "wait", "open", "none"].includes(todo), kind);
    titles.set(title, kind);
  }
  assert.match(explain("answer", { status: 500 }).text, /500/);
});

test("a record is a dictionary that others read", () => {
  const text = encode({ v: 2, e: new Token("ps"), sid: 'a "b"\\\n', bl: [1200], pr: 1.5, bg: true, br: undefined, x: false, ts: 1700000000000, mtp: Number.NaN });
  assert.equal(text, 'bg,bl=(1200),e=ps,pr=1.5,sid="a \\"b\\"\\\\",ts=1700000000000,v=2');
  const { sid, bl, ts, bg } = decodeCmcd(text);
  assert.deepEqual([sid, bl, ts, bg], ['a "b"\\', [1200], 1700000000000, true]);
});

const begun = new Set();
afterEach(async () => { // also where a test failed: a session left open keeps the process
  for (const session of begun) await session.close();
  begun.clear();
});

/** Lets what was started go as far as it can. */
const settle = async () => {
  for (let i = 0; i < 20; i++) await Promise.resolve();
};

for (const [name, answers, left, sent] of [
  ["sent once", [{ status: 204 }], 0, 1],
  ["kept while there is no network", [null, null, { status: 204 }], 0, 3],
  ["kept while the server wants none", [{ status: 429, headers: { "retry-after": "60" } }, { status: 204 }], 0, 2],
  ["kept over a fault", [{ status: 500 }, { status: 204 }], 0, 2],
  ["dropped where it is never taken", [{ status: 400 }], 0, 1],
  ["ended by 410", [{ status: 410 }], 0, 1],
]) {
  test(`reports: ${name}`, async () => {
    mock.timers.enable({ apis: ["setTimeout"] });
    try {
      const { env, asked } = fake(answers);
      const reporter = new Reporter(() => `${A}/sdk/v1/cmcd`, { sid: "s" }, env);
      reporter.add("ps", { sta: new Token("p") });
      reporter.add("t", {});
      for (let i = 0; i < 90; i++) {
        env.time += 1000;
        mock.timers.tick(1000);
        await settle();
      }
      assert.deepEqual([reporter.waiting, asked.length], [left, sent]);
      assert.equal(asked[0].headers["Content-Type"], "application/cmcd");
      assert.equal(asked.at(-1).body, 'e=ps,sid="s",sn=0,sta=p,ts=1700000000000,v=2\ne=t,sid="s",sn=1,ts=1700000000000,v=2');
      reporter.add("t", {});
      assert.equal(reporter.waiting, name === "ended by 410" ? 0 : 1);
    } finally {
      mock.timers.reset();
    }
  });
}

test("reports that could not be sent wait for the next session", async () => {
  const { env, asked } = fake([null, null, { status: 204 }]);
  const first = new Reporter(() => A, { sid: "1" }, env);
  first.add("ps", {});
  first.close();
  await settle();
  const second = new Reporter(() => A, { sid: "2" }, env);
  assert.equal(second.waiting, 1);
  second.add("ps", {});
  await second.send();
  await second.send();
  assert.equal(asked.at(-1).body.split("\n").length, 2);
  second.close();
});

for (const [name, answer, left] of [["arrive once", { status: 204 }, 0], ["wait for the next session where they do not arrive", null, 2]]) {
  test(`reports on their way when the page is left ${name}`, async () => {
    let arrive;
    const { env, asked } = fake((_, __, n) => (n === 1 ? new Promise((resolve) => (arrive = () => resolve(answer))) : { status: 204 }));
    const reporter = new Reporter(() => A, { sid: "1" }, env);
    reporter.add("ps", {});
    reporter.add("t", {});
    const sent = reporter.send();
    await settle();
    reporter.add("e", {});
    reporter.close();
    arrive();
    await sent;
    await settle();
    assert.deepEqual(asked.map(({ body }) => body.split("\n").length), [2, 1]);
    const next = new Reporter(() => A, { sid: "2" }, env);
    assert.equal(next.waiting, left);
    next.close();
  });
}

test("resume", () => {
  const { env } = fake([{}]);
  for (const [position, duration, want] of [[300, 3600, 300], [5, 3600, 0], [3590, 3600, 0], [60, 90, 0], [300, Infinity, 0]]) {
    remember("film", position, duration, env);
    assert.equal(recall("film", env), want, `${position} of ${duration}`);
    forget("film", env);
  }
  remember("film", 300, 3600, env);
  env.time += 91 * 86400e3;
  assert.equal(recall("film", env), 0);
  assert.equal(recall("film", { ...env, storage: { getItem: () => "{broken" } }), 0);
});

/** A video element and an engine as far as a session needs them. */
function stage() {
  const video = Object.assign(new EventTarget(), {
    currentTime: 0, duration: 600, paused: false, muted: false, readyState: 4, playbackRate: 1, buffered: { length: 0 },
    play: async () => {}, pause() { this.paused = true; }, canPlayType: () => "",
  });
  const opened = [];
  const engine = {
    name: "fake", format: "hls", did: [],
    attach(_, host) { this.host = host; }, open: (url, at) => void opened.push([url, at]), stop() { this.did.push("stop"); }, destroy() { this.did.push("destroy"); },
  };
  return { video, engine, opened };
}

const answer = (id, server = A) => ({
  status: 201, body: {
    session: id, asset: "film", device: "web", manifests: { hls: `${server}/vod/film/master.m3u8?session=${id}` }, steering: "", licenses: {},
    heartbeat: { url: `${server}/sdk/v1/sessions/${id}/heartbeat`, every_s: 30, lease_s: 75 }, end: `${server}/sdk/v1/sessions/${id}/end`,
    cmcd: { sid: id, cid: "film", version: 2, mode: "query", keys: ["sid"], events: `${server}/sdk/v1/cmcd`, every_s: 30 },
    buffer: { goal_s: 30, refill_s: 8, offline_s: 0 }, expires: new Date(1700000075000).toISOString(),
  },
});
const beat = { every_s: 30, lease_s: 75, expires: new Date(1700000105000).toISOString(), audio_only: false };

/** A session whose heartbeats are answered in turn. */
async function begin(beats, options = {}) {
  globalThis.document ??= { createElement: () => ({ canPlayType: () => "" }), hidden: false };
  globalThis.navigator ??= { userAgent: "node" };
  const { video, engine, opened } = stage();
  const plays = [];
  const network = fake((url, { method, body, headers }) => {
    if (url.endsWith("/sdk/v1/sessions")) {
      plays.push({ ...JSON.parse(body), key: headers["Idempotency-Key"] });
      return options.plays?.[plays.length - 1] ?? answer(`s${plays.length}`);
    }
    if (url.includes("/config")) return { body: { nodes: [A, B], features: [] } };
    if (url.endsWith("/heartbeat")) return beats.length ? beats.shift() : { body: beat };
    if (url.endsWith("/token")) return options.token;
    if (url.endsWith("/time")) return options.time ? options.time(url) : {};
    return method === "DELETE" ? { status: 204 } : { status: 204 };
  });
  const session = await play(video, { server: A, asset: "film", device: "web", engine, ...options.play, env: { ...network.env, ...options.play?.env } });
  begun.add(session);
  const events = [];
  for (const name of ["ended", "problem", "recovered", "moved", "offline", "online", "driving"]) session.addEventListener(name, ({ detail }) => events.push([name, detail]));
  return { session, video, engine, opened, plays, events, ...network };
}

test("a session: play, heartbeat, close", async () => {
  const { session, engine, opened, asked, plays } = await begin([]);
  assert.deepEqual(opened, [[`${A}/vod/film/master.m3u8?session=s1`, 0]]);
  assert.deepEqual([plays[0].asset, plays[0].device, plays[0].replace], ["film", "web", false]);
  assert.match(plays[0].key, /^[0-9a-f]{32}$/);
  await session.heartbeat();
  assert.equal(JSON.parse(asked.at(-1).body).state, "s");
  assert.equal(session.expires, 1700000105000);
  await session.close();
  assert.deepEqual([asked.at(-1).method, asked.at(-1).url, engine.did], ["DELETE", `${A}/sdk/v1/sessions/s1`, ["destroy"]]);
});

test("a session that was ended stops, and can go on in place of another", async () => {
  const { session, video, engine, opened, events, plays } = await begin([problem("ended", 410)]);
  video.currentTime = 42;
  await session.heartbeat();
  assert.equal(events[0][0], "ended");
  assert.match(events[0][1].words.text, /Play again/);
  assert.deepEqual([engine.did, video.paused], [["stop"], true]);
  await session.replace();
  assert.deepEqual([plays[1].replace, opened.at(-1)], [true, [`${A}/vod/film/master.m3u8?session=s2`, 42]]);
  await session.close();
});

test("a session that the service has forgotten is opened anew, and playback goes on", async () => {
  const { session, engine, events, plays, opened } = await begin([problem("not-found", 404)]);
  await session.heartbeat();
  assert.deepEqual([session.id, plays.length, opened.length, engine.did, events], ["s2", 2, 1, [], []]);
  await session.close();
});

test("what gave up the play call has no say later", async () => {
  const call = new AbortController();
  const { session } = await begin([problem("not-found", 404)], { play: { signal: call.signal } });
  call.abort();
  await session.heartbeat();
  assert.equal(session.id, "s2");
  await session.close();
});

test("a session that is closed while it is opened anew stays closed", async () => {
  let open;
  const plays = [answer("s1"), new Promise((resolve) => (open = () => resolve(answer("s2"))))];
  const { session, plays: calls } = await begin([problem("not-found", 404)], { plays });
  const beating = session.heartbeat();
  while (calls.length < 2) await settle();
  await session.close();
  open();
  await beating;
  assert.equal(session.id, "s1");
});

test("a page that comes back finds its place taken, and says so", async () => {
  const listeners = {};
  const { fetch } = globalThis;
  globalThis.addEventListener = (name, f) => void (listeners[name] = f);
  try {
    const { session, events } = await begin([], { plays: [answer("s1"), problem("sessions", 409)] });
    globalThis.fetch = async () => new Response();
    listeners.pagehide();
    listeners.pageshow({ persisted: true });
    await settle();
    for (let i = 0; i < 5; i++) await new Promise((resolve) => setTimeout(resolve));
    assert.deepEqual(events.map(([name, { kind }]) => [name, kind]), [["ended", "sessions"]]);
    await session.close();
  } finally {
    delete globalThis.addEventListener;
    globalThis.fetch = fetch;
  }
});

test("too many: the error has words, and names the others", async () => {
  const others = [{ session: "x", asset: "demo", device: "tv", label: "Den", started: "" }];
  const refused = await begin([], { plays: [problem("sessions", 409, { limit: 1, sessions: others })] }).then(() => null, (e) => e);
  assert.deepEqual([refused.kind, refused.sessions, refused.words.todo], ["sessions", others, "replace"]);
  const { session, plays } = await begin([], { play: { replace: true } });
  assert.equal(plays[0].replace, true);
  await session.close();
});

test("the service is away and comes back", async () => {
  const { session, events } = await begin([null, null, null, null]);
  await session.heartbeat();
  await session.heartbeat();
  assert.deepEqual([events.map(([name]) => name), session.away], [["offline"], true]);
  await session.heartbeat();
  assert.deepEqual([events.map(([name]) => name), session.away], [["offline", "online"], false]);
  await session.close();
});

for (const routes of [true, false]) {
  test(`a server that died is left, by an engine that ${routes ? "routes" : "does not route"}`, async () => {
    const { session, video, engine, opened, events } = await begin([], { time: (url) => (url.startsWith(A) ? null : {}) });
    await settle();
    engine.routes = routes;
    video.currentTime = 20;
    engine.host.doubt();
    await settle();
    await settle();
    assert.deepEqual(events, [["moved", { from: A, to: B }]]);
    assert.deepEqual([session.server, engine.host.route(`${A}/seg`)], [B, `${B}/seg`]);
    assert.deepEqual(opened.slice(1), routes ? [] : [[`${B}/vod/film/master.m3u8?session=s1`, 20]]);
    await session.close();
  });
}

for (const [failure, kind] of [[{ kind: "status", status: 404 }, "asset"], [{ kind: "status", status: 406 }, "playable"], [{ kind: "media", message: "why" }, "media"]]) {
  test(`a failure that does not pass: ${kind}`, async () => {
    const { session, video, engine, events } = await begin([]);
    engine.host.failed(failure);
    await settle();
    assert.deepEqual(events.map(([name, detail]) => [name, detail.kind]), [["problem", kind]]);
    video.dispatchEvent(new Event("timeupdate"));
    assert.equal(events.at(-1)[0], "recovered");
    await session.close();
  });
}

test("a token that is over is renewed once", async () => {
  const { session, engine, events, plays, opened } = await begin([]);
  engine.host.failed({ kind: "status", status: 403 });
  for (let i = 0; i < 5; i++) await settle();
  assert.deepEqual([plays.length, opened.at(-1)[0], events], [2, `${A}/vod/film/master.m3u8?session=s2`, []]);
  engine.host.failed({ kind: "status", status: 403 });
  await settle();
  assert.equal(events[0][1].kind, "forbidden");
  await session.close();
});

test("a session with tokens gets a new one, and keeps its place", async () => {
  const token = { carry: "query", name: "CAT", value: "old", expires: "" };
  const first = answer("s1");
  first.body.token = token;
  first.body.manifests.hls += "&CAT=old";
  const { session, engine, plays, opened, asked } = await begin([], { plays: [first], token: { body: { ...token, value: "new" } } });
  engine.host.failed({ kind: "status", status: 403 });
  for (let i = 0; i < 5; i++) await settle();
  assert.deepEqual([plays.length, opened.at(-1)[0], session.id], [1, `${A}/vod/film/master.m3u8?session=s1&CAT=new`, "s1"]);
  assert.ok(asked.some(({ url, body }) => url.endsWith("/sdk/v1/token") && JSON.parse(body).session === "s1"));
  await session.close();
});

test("a session whose token is not renewed makes room for the next one", async () => {
  const first = answer("s1");
  first.body.token = { carry: "header", name: "X", value: "old", expires: "" };
  const { session, engine, plays, asked } = await begin([], { plays: [first], token: problem("not-found", 404) });
  assert.deepEqual(engine.host.headers, { X: "old" });
  engine.host.failed({ kind: "status", status: 401 });
  for (let i = 0; i < 6; i++) await settle();
  const order = asked.map(({ url, method }) => `${method ?? "GET"} ${new URL(url).pathname}`);
  assert.deepEqual([plays.length, session.id], [2, "s2"]);
  assert.ok(order.indexOf("DELETE /sdk/v1/sessions/s1") < order.lastIndexOf("POST /sdk/v1/sessions"), order);
  assert.deepEqual(engine.host.headers, {});
  await session.close();
});

test("a car that drives", async () => {
  const { session, asked, events } = await begin([{ body: { ...beat, audio_only: true } }, { body: beat }]);
  await session.setDriving(true);
  assert.equal(JSON.parse(asked.at(-1).body).driving, true);
  assert.equal(session.audioOnly, true);
  await session.setDriving(false);
  assert.deepEqual([session.audioOnly, events.map(([name]) => name)], [false, ["driving", "driving", "driving", "driving"]]);
  await session.close();
});

test("a title is resumed where the viewer left it, unless that is not wanted", async () => {
  const { session, video, kept } = await begin([]);
  video.currentTime = 250;
  video.dispatchEvent(new Event("pause"));
  await session.close();
  assert.equal(JSON.parse(kept.get("weir:resume:film")).position, 250);
  for (const [resume, want] of [[true, 250], [false, 0]]) {
    const again = await begin([], { play: { resume, env: { storage: { getItem: (k) => (k.includes("resume") ? kept.get(k) : null), setItem() {}, removeItem() {} } } } });
    assert.equal(again.opened[0][1], want);
    await again.session.close();
  }
});
