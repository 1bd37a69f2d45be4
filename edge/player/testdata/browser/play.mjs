// Plays a stream in a real Chromium and tells what a viewer would have seen.
//
//   node play.mjs '{"url":"https://127.0.0.1:8443/vod/demo/master.m3u8","player":"hls.js","seconds":6}'
//   node play.mjs -            the same JSON on standard input
//   node play.mjs serve        one such JSON a line, each answered by a result line; one browser for those whose switches are alike
//
// While it plays, standard output has a line `PLAYED 1.5` (seconds played, one
// decimal) every half second, so that whoever started it can act in mid
// playback: kill an edge at the first line >= 6.0, say. The last line is one
// JSON object, the result. Standard error is for people. Lines on standard
// input, if open, are ignored; SIGTERM ends the browser too.
//
// Exit status: 0 all expectations met, 1 some were not (result.failures says
// which), 2 it could not run (no result line, reason on standard error).
//
// Arguments (only url is required):
//
//   url          manifest, or with player "page" the address of the player page
//   player       "page" | "hls.js" | "dash.js" | "shaka"; default "page".
//                The last three run in a harness page on a loopback origin of its
//                own, so CORS and Timing-Allow-Origin are needed as in real life
//   config       object given to the player (hls.js config, dash.js settings, shaka
//                configuration); ignored for "page"
//   seconds      played seconds to reach; default 6. A title that ends before is
//                repeated (played goes on counting)
//   from         position in seconds to go to once it plays; default 0: none
//   timeout      seconds after which the run is given up; default seconds + 30
//   maxStalls    stalls allowed; default 0, -1 = any, whatever hls.js says of them
//   protocol     "h3" | "h2" | "http/1.1": every segment must have used it
//   lastProtocol the newest segment must have used it (an Alt-Svc upgrade)
//   visible      true: resource timing must show the protocol of every segment to
//                the page (Timing-Allow-Origin); default false
//   strip        true: read the frame number that the sample title carries in its
//                picture; fails if none could be read or if one is off by more than
//                3 frames from the media time it was drawn at
//   quic         "off" | "altsvc" | "forced"; default "off". altsvc = QUIC only as
//                the server's Alt-Svc offers it; forced = without TCP
//   quicHosts    ["127.0.0.1:8443", …] hosts to use QUIC on; default the url's
//   spki         base64 SHA-256 of the leaf's public key, or a list of them: those
//                certificates are accepted, nothing else. Needed for QUIC with a
//                private certificate. Without it all TLS certificates are accepted
//   choose       position of an edge in the page's list, from 0, that the viewer chooses after a second of playback; default -1, none
//   screenshot   path of a PNG taken when `seconds` are reached (also on failure)
//   width, height, scale   of the window; default 1280, 800, 1
//   pointer      "mouse" | "touch" | "none" (a television's remote control); default "mouse"
//   chromium     path; default $CHROMIUM, else chromium, chromium-browser or
//                google-chrome in $PATH
//   allowErrors  true: failed requests are reported but are no failure; default
//                true for "page" (fail-over is its job), else false
//
// Result:
//
//   ok           all expectations met
//   failures     [text]
//   browser      version
//   player, engine      engine: what "page" chose ("hls.js" or "browser")
//   startedMs    from load (page: from navigation) to the first `playing`; 0 = never
//   firstFrameMs the same to the first frame on screen
//   playedSeconds, position, ended, seconds
//   stalls       [{at: position, ms}] frozen >= 250 ms while it should have moved
//   dropped, decoded    frames
//   requests     [{url, kind: manifest|init|segment|steering, protocol, visible, status,
//                cacheStatus, age, bytes, ms, fromCache, failed, done}] in order of sending;
//                protocol as the browser's network stack has it, visible as resource
//                timing shows it to the page ("" = hidden), failed = net error text
//   protocols    {"h3": 12} of segments
//   nodes        {"edge-1": 12} of segments, nearest cache by Cache-Status
//   outcomes     {"hit": 9, "peer": 1, "origin": 2, "unknown": 0} of segments
//   frames       [{at, until, frame}] read from the picture; it was drawn between
//                these media times
//   errors       [text] player errors, page errors, console errors
//   page         the page's own account (window.weir()), player "page" only

import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";
import { flags, launch, run } from "./run.mjs";

const DEFAULTS = {
  player: "page", config: {}, seconds: 6, from: 0, maxStalls: 0, protocol: "", lastProtocol: "", visible: false, strip: false,
  quic: "off", quicHosts: [], spki: [], choose: -1, screenshot: "", width: 1280, height: 800, scale: 1, pointer: "mouse", chromium: "",
};

function usage(text) {
  console.error(`play.mjs: ${text}`);
  process.exit(2);
}

/** Reads and checks the arguments: a misspelt one is an error, not a test that tests nothing. */
export function parse(text) {
  const given = JSON.parse(text);
  const known = [...Object.keys(DEFAULTS), "url", "timeout", "allowErrors"];
  const stranger = Object.keys(given).find((key) => !known.includes(key));
  if (stranger) throw new Error(`unknown argument ${stranger}`);
  if (!given.url) throw new Error("url is missing");
  const a = { ...DEFAULTS, ...given };
  a.timeout ??= a.seconds + 30;
  a.allowErrors ??= a.player === "page";
  a.spki = [a.spki].flat().filter(Boolean);
  if (!["page", "hls.js", "dash.js", "shaka"].includes(a.player)) throw new Error(`player ${a.player} is none of page, hls.js, dash.js, shaka`);
  if (!["off", "altsvc", "forced"].includes(a.quic)) throw new Error(`quic ${a.quic} is none of off, altsvc, forced`);
  if (!["mouse", "touch", "none"].includes(a.pointer)) throw new Error(`pointer ${a.pointer} is none of mouse, touch, none`);
  if (a.quic !== "off" && a.quicHosts.length === 0) a.quicHosts = [new URL(a.url).host];
  return a;
}

/** Runs what comes on standard input, one after the other. */
async function serve(say) {
  let browser = null;
  let switches = "";
  for await (const line of createInterface({ input: process.stdin })) {
    const options = parse(line);
    const wanted = flags(options).join(" ");
    if (wanted !== switches) {
      await browser?.close();
      [browser, switches] = [await launch(options), wanted];
    }
    say(JSON.stringify(await run(options, say, browser)));
  }
  await browser?.close();
}

if (import.meta.url === pathToFileURL(process.argv[1]).href && process.argv[2] === "serve") {
  await serve((line) => process.stdout.write(`${line}\n`)).catch((error) => usage(error.stack));
} else if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  let options;
  try {
    const text = process.argv[2];
    options = parse(text === "-" ? readFileSync(0, "utf8") : text ?? usage("one JSON argument is needed, or - to read it"));
  } catch (error) {
    usage(error.message);
  }
  try {
    const result = await run(options, (line) => process.stdout.write(`${line}\n`));
    process.stdout.write(`${JSON.stringify(result)}\n`, () => process.exit(result.ok ? 0 : 1));
  } catch (error) {
    usage(error.stack);
  }
}
