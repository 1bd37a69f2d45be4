package main

import (
	"flag"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"weir/tools/proof"
)

var scaleNodes = flag.Int("scale.nodes", 12, "`number` of nodes that TestScale ends with")

// scaleScript is one fetch per object, a purge that all acknowledge, and a loss, on
// as many nodes as there are.
const scaleScript = `
origin o cache-control=max-age=3600
nodes edge NODES origin=o
do edge-* await NODES
start a GET http://site.example/o/4KiB/{n%OBJECTS} via edge-* xREQUESTS during 20s
advance 10s
do edge-1 purge all
wait a
expect status=200 body=ok
expect origin o /o/4KiB/* paths=OBJECTS most<=3

fault o /o/64KiB/hot delay=2s
client b GET http://site.example/o/64KiB/hot via edge-* xREQUESTS
expect status=200 body=ok
expect origin o /o/64KiB/hot requests=1

kill edge-2
client c GET http://site.example/o/4KiB/{n%OBJECTS} via edge-* xREQUESTS during 10s
expect status=200 body=ok ttfb<=1100ms
do edge-* await REST
bump site.example/*
do edge-3 purge prefix http://site.example/o/ missing edge-2
advance 1ms
purged site.example/*
client d GET http://site.example/o/64KiB/hot via edge-* xREST
expect status=200 body=ok version=2
`

// TestScale runs one script on few nodes and on many. A hundred:
//
//	go test ./tools/weir -run TestScale -scale.nodes 100 -timeout 0 -v
func TestScale(t *testing.T) {
	t.Parallel()
	for _, nodes := range []int{3, *scaleNodes} {
		t.Run(fmt.Sprint(nodes), func(t *testing.T) {
			t.Parallel()
			script, err := proof.ParseScript("scale", []byte(strings.NewReplacer(
				"NODES", fmt.Sprint(nodes), "REST", fmt.Sprint(nodes-1), "OBJECTS", fmt.Sprint(10*nodes), "REQUESTS", fmt.Sprint(30*nodes),
			).Replace(scaleScript)))
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			synctest.Test(t, func(t *testing.T) {
				if err := script.Run(t, newLab); err != nil {
					t.Error(err)
				}
			})
			t.Logf("%d nodes in %s", nodes, time.Since(began).Round(time.Second))
		})
	}
}
