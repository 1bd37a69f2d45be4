// Reports of players, written and read by the industry's own library.
//
//   node cmcd.mjs encode SEED COUNT   lines of {text, query, headers} of random reports
//   node cmcd.mjs compare             reads lines of {theirs, ours}; both must say the same
//   node cmcd.mjs hops                reads lines of CMSD-Dynamic, prints what each says as JSON
import { createInterface } from 'node:readline';
import { isDeepStrictEqual } from 'node:util';
import { decodeCmcd, encodeCmcd, toCmcdHeaders } from '@svta/cml-cmcd';
import { decodeCmsdDynamic } from '@svta/cml-cmsd';

const [command, seed, count] = process.argv.slice(2);

function random(seed) {
  let s = seed >>> 0; // mulberry32
  return () => {
    s = (s + 0x6d2b79f5) >>> 0;
    let t = Math.imul(s ^ (s >>> 15), s | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

function report(rand) {
  const int = (n) => 1 + Math.floor(rand() * n);
  const maybe = (make) => (rand() < 0.5 ? make() : undefined);
  const pick = (...list) => list[Math.floor(rand() * list.length)];
  const word = () => Array.from({ length: int(20) }, () => pick(...'abcXYZ019 -_."\\/&=,;')).join('');
  const v = pick(1, 2);
  const number = (n, round = 1) => maybe(() => (v === 2 ? [int(n) * round] : int(n) * round));
  const data = {
    br: number(50000), bl: number(600, 100), tb: number(60000), mtp: number(900, 100),
    d: maybe(() => int(20000)), dl: maybe(() => int(600) * 100), rtp: maybe(() => int(900) * 100),
    bs: maybe(() => true), su: maybe(() => true), pr: maybe(() => pick(0.5, 1.25, 2)),
    cid: maybe(word), sid: maybe(word),
    ot: maybe(() => pick('v', 'a', 'av', 'm', 'i', 'c', 'tt', 'k', 'o')), sf: maybe(() => pick('d', 'h', 's', 'o')), st: maybe(() => pick('v', 'l')),
    nor: maybe(() => (v === 2 ? [`../${int(9)}/seg ${int(99)}.m4s`] : `../${int(9)}/seg ${int(99)}.m4s`)),
    'com.example-extra': maybe(word),
  };
  if (v === 2) {
    Object.assign(data, { v, ltc: maybe(() => int(9000)), nr: maybe(() => true), bg: maybe(() => true), sn: maybe(() => int(99)), sta: maybe(() => pick('s', 'p', 'k', 'r', 'a')) });
  }
  for (const key of Object.keys(data)) if (data[key] === undefined) delete data[key];
  return { data, options: { version: v } };
}

// plain is a report with what may be written in two ways in one: lists of one as their value, tokens as text.
function plain(text) {
  const out = {};
  for (let [key, value] of Object.entries(decodeCmcd(text))) {
    if (key.includes('-') || key === 'v' && value === 1) continue;
    if (Array.isArray(value) && value.length === 1) [value] = value;
    if (value && typeof value === 'object' && 'description' in value) value = value.description;
    if (key === 'nor') value = decodeURIComponent(value);
    out[key] = value;
  }
  return out;
}

if (command === 'encode') {
  const rand = random(Number(seed));
  for (let i = 0; i < Number(count); i++) {
    const { data, options } = report(rand);
    const text = encodeCmcd(data, options);
    console.log(JSON.stringify({ text, query: `x=1&CMCD=${encodeURIComponent(text)}`, headers: toCmcdHeaders(data, options) }));
  }
} else {
  for await (const line of createInterface({ input: process.stdin })) {
    if (command === 'hops') {
      console.log(JSON.stringify(decodeCmsdDynamic(line)));
      continue;
    }
    const { theirs, ours } = JSON.parse(line);
    const [a, b] = [plain(theirs), plain(ours)];
    if (!isDeepStrictEqual(a, b)) console.log(JSON.stringify({ theirs, ours, a, b }));
  }
}
