package main

import (
	"fmt"
	"strings"

	"weir/tools/proof"
)

const honestHead = "GET /o/16KiB/hot.m4s HTTP/1.1\r\nHost: 127.0.0.1\r\n"

// attacks are all of them.
var attacks = []attack{
	{name: "h1 slow headers", honest: proof.H1, workers: 1000, once: slowly(honestHead + "X: y\r\n\r\n")},
	{name: "h1 idle connections", honest: proof.H1, workers: 1000, once: held("")},
	{name: "h1 connect and leave", honest: proof.H1, workers: 4, once: connectOnly},
	{name: "h1 connect from 200 networks", honest: proof.H1, workers: 4, networks: 200, once: connectOnly},
	{name: "h1 2000 fields", honest: proof.H1, workers: 4, once: refusedOnce([]byte(honestHead + strings.Repeat("a: b\r\n", 2000) + "\r\n"))},
	{name: "h1 large field", honest: proof.H1, workers: 4, once: refusedOnce([]byte(honestHead + "A: " + strings.Repeat("b", 256<<10) + "\r\n\r\n"))},
	{name: "h1 31 KiB of header", honest: proof.H1, workers: 4, once: flood([]byte(honestHead+strings.Repeat("A: "+strings.Repeat("b", 300)+"\r\n", 99)+"\r\n"), 1)},
	{name: "h1 garbage", honest: proof.H1, workers: 4, once: refusedOnce([]byte(strings.Repeat("\x00\xffgarbage \r\n", 5000)))},
	{name: "h1 two lengths", honest: proof.H1, workers: 4, once: refusedOnce([]byte("POST /o/16KiB/hot.m4s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /x HTTP/1.1\r\nHost: x\r\n\r\n"))},
	{name: "h1 refused and pipelined", honest: proof.H1, workers: 4, once: flood(repeated("GET /vod/%%00/%d HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"))},
	{name: "h1 hits pipelined", honest: proof.H1, workers: 4, once: flood(repeated("GET /o/16/hot HTTP/1.1\r\nHost: 127.0.0.1\r\nX: %d\r\n\r\n"))},
	{name: "h1 ranges", honest: proof.H1, workers: 4, once: flood(repeated("GET /o/16KiB/hot.m4s HTTP/1.1\r\nHost: 127.0.0.1\r\nX: %d\r\nRange: bytes=" + strings.Repeat("0-0,5-5,", 50) + "9-9\r\n\r\n"))},
	{name: "h1 queries of a cold key", honest: proof.H1, workers: 4, once: queryFlood},
	{name: "h1 readers that stall", honest: proof.H1, workers: 500, once: held("GET /o/8MiB/large HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")},

	{name: "tls hello and leave", honest: proof.H2, workers: 4, once: helloOnly},
	{name: "tls handshakes", honest: proof.H2, workers: 4, once: handshakeOnly},
	{name: "tls garbage", honest: proof.H2, workers: 4, once: tlsGarbage},
	{name: "tls slow hello", honest: proof.H2, workers: 1000, once: slowHello},

	{name: "h2 rapid reset", honest: proof.H2, workers: 4, once: floodHTTP2(h2RapidReset)},
	{name: "h2 made resets by window", honest: proof.H2, workers: 4, once: floodHTTP2(h2ZeroIncrement)},
	{name: "h2 made resets by body", honest: proof.H2, workers: 4, once: floodHTTP2(h2LateBody)},
	{name: "h2 too many streams", honest: proof.H2, workers: 4, once: floodHTTP2(h2Streams)},
	{name: "h2 continuations", honest: proof.H2, workers: 4, once: floodHTTP2(h2Continuations)},
	{name: "h2 empty continuations", honest: proof.H2, workers: 4, once: floodHTTP2(h2EmptyContinuations)},
	{name: "h2 pings", honest: proof.H2, workers: 4, once: floodHTTP2(h2Pings)},
	{name: "h2 settings", honest: proof.H2, workers: 4, once: floodHTTP2(h2Settings)},
	{name: "h2 priorities", honest: proof.H2, workers: 4, once: floodHTTP2(h2Priorities)},
	{name: "h2 unknown frames", honest: proof.H2, workers: 4, once: floodHTTP2(h2Unknown)},
	{name: "h2 empty bodies", honest: proof.H2, workers: 4, once: floodHTTP2(h2EmptyData)},
	{name: "h2 table bomb", honest: proof.H2, workers: 4, once: floodHTTP2(h2Bomb)},
	// Nothing of it is wrong: it is for the rates of sites[].limits. It is 6 to 9.
	{name: "h2 hits", honest: proof.H2, workers: 4, ratio: 15, once: hitsHTTP2},
	{name: "h2 window of zero", honest: proof.H2, workers: 20, once: zeroWindow},

	{name: "h3 forged initials", honest: proof.H3, workers: 1, once: forgedInitials},
	{name: "h3 garbage", honest: proof.H3, workers: 1, once: quicGarbage},
	{name: "h3 handshakes", honest: proof.H3, workers: 4, once: quicHandshakes},
	{name: "h3 slow headers", honest: proof.H3, workers: 10, once: h3SlowHeaders},
	{name: "h3 stream resets", honest: proof.H3, workers: 4, once: h3Resets},
	{name: "h3 table bomb", honest: proof.H3, workers: 4, once: h3Bomb},
	{name: "h3 priority updates", honest: proof.H3, workers: 4, once: h3Priorities},
	{name: "h3 readers that stall", honest: proof.H3, workers: 10, once: h3Stalled},
}

// floodUnits is how many requests are written at once.
const floodUnits = 500

// repeated are so many requests, each with its number.
func repeated(format string) ([]byte, int64) {
	var text strings.Builder
	for i := range floodUnits {
		fmt.Fprintf(&text, format, i)
	}
	return []byte(text.String()), floodUnits
}
