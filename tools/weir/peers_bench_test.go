package main

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"weir/cluster"
)

// BenchmarkPeers has one process ask another for objects of 2 MiB that the other has on disk, and reports what each spends
// on it in processor time: kept is of a node that stores what it gets, relayed of one that only passes it on.
//
//	go test ./tools/weir -run NONE -bench Peers -benchtime 1x
func BenchmarkPeers(b *testing.B) {
	const size, objects = 2 << 20, 256
	body := make([]byte, size)
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "max-age=6000")
		w.Header().Set("Content-Length", strconv.Itoa(size))
		_, _ = w.Write(body) // a node that goes away sees it itself
	}))
	b.Cleanup(origin.Close)
	for _, cleartext := range []bool{false, true} {
		b.Run(map[bool]string{false: "tls", true: "cleartext"}[cleartext], func(b *testing.B) {
			p := startPeers(b, origin.URL, cleartext)
			for i := range objects {
				fetchPlain(b, p.owner.http, "/"+strconv.Itoa(i))
			}
			for b.Loop() {
				for _, pass := range []string{"relayed", "kept"} {
					server, asker := p.owner.cpu(b), p.asker.cpu(b)
					began := time.Now()
					for i := range objects {
						fetchPlain(b, p.asker.http, "/"+strconv.Itoa(i))
					}
					const gib = float64(objects*size) / (1 << 30)
					b.ReportMetric((p.owner.cpu(b)-server).Seconds()/gib, pass+"-owner-s/GiB")
					b.ReportMetric((p.asker.cpu(b)-asker).Seconds()/gib, pass+"-asker-s/GiB")
					b.ReportMetric(time.Since(began).Seconds()/gib, pass+"-s/GiB")
				}
			}
		})
	}
}

// peerPair is a node that owns every key, and one that asks it.
type peerPair struct{ owner, asker peerProcess }

type peerProcess struct {
	*process

	http string
}

// cpu returns the processor time that the process has taken.
func (p *peerProcess) cpu(b *testing.B) time.Duration {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.process.cmd.Process.Pid))
	if err != nil {
		b.Fatal(err)
	}
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	var ticks int64
	for _, field := range fields[11:13] { // utime and stime, see proc(5)
		n, err := strconv.ParseInt(string(field), 10, 64)
		if err != nil {
			b.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / 100 // of Linux, as programs see them
}

func startPeers(b *testing.B, origin string, cleartext bool) *peerPair {
	b.Helper()
	dir := b.TempDir()
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte(cluster.NewSecret().Reveal()), 0o600); err != nil {
		b.Fatal(err)
	}
	join := ""
	start := func(name string, weight float64) peerProcess {
		file := filepath.Join(dir, name+".yaml")
		text := fmt.Sprintf(`
node: {name: %s, dir: %s}
listen: {http: "127.0.0.1:0", https: "", admin: "127.0.0.1:0"}
cache: {disk: 4GiB, memory: 16MiB}
cluster: {gossip: "127.0.0.1:0", peer: "127.0.0.1:0", cleartext: %v, secret_file: %s, weight: %v, join: [%s]}
sites: [{hosts: ["*"], origins: ["%s"]}]
`, name, filepath.Join(dir, name), cleartext, secret, weight, join, origin)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			b.Fatal(err)
		}
		p := peerProcess{process: startWeir(b, "edge", "-c", file)}
		up := p.await(b, `edge is up.*`)
		p.http = word(up, "http=")
		gossip := p.await(b, `gossip is up.* gossip=(\S+)`)
		join = strconv.Quote(gossip)
		awaitReady(b, word(up, "admin="))
		return p
	}
	pair := &peerPair{owner: start("owner", 1000)}
	pair.asker = start("asker", 0.001)
	pair.owner.await(b, "member joined.*asker")
	return pair
}

// word returns what follows prefix, up to the next blank.
func word(line, prefix string) string {
	_, rest, _ := strings.Cut(line, prefix)
	rest, _, _ = strings.Cut(rest, " ")
	return rest
}
