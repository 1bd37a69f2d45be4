package main

import (
	"os"
	"testing"
	"time"
)

// startTrials is how often the node is started in each round.
const startTrials = 3

// startResult is how long a node takes to be ready, and how large its program is.
type startResult struct {
	First        series  `json:"first_ms"`     // with an empty directory: the certificate is minted
	Again        series  `json:"again_ms"`     // with the directory of the first
	Size         float64 `json:"size_mib"`     // of the program as built
	StrippedSize float64 `json:"stripped_mib"` // without symbols: -ldflags "-s -w"
}

// start measures from the start of the process to the first 200 of /readyz.
func (c *comparison) start(t *testing.T) {
	c.Start = &startResult{Size: fileMiB(t, c.binary), StrippedSize: fileMiB(t, c.build(t, "-ldflags", "-s -w"))}
	for range *compareRounds * startTrials {
		dir := t.TempDir()
		c.Start.First = append(c.Start.First, c.startOnce(t, dir))
		c.Start.Again = append(c.Start.Again, c.startOnce(t, dir))
	}
}

func (c *comparison) startOnce(t *testing.T, dir string) float64 {
	t.Helper()
	begin := time.Now()
	weir := c.weirEdge(t, c.binary, dir, "http://127.0.0.1:1") // it is never asked
	weir.await(t, weir.readyURL(), time.Millisecond)
	took := time.Since(begin)
	weir.stop()
	return milliseconds(took)
}

func fileMiB(t *testing.T, path string) float64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return float64(info.Size()) / (1 << 20)
}
