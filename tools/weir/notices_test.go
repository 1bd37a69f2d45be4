package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"weir/cache/tag"
	"weir/cluster"
	"weir/cluster/notice"
	"weir/configs"
	"weir/edge/console"
)

// soloNode is a node that is built and not run.
func soloNode(t *testing.T) *node {
	t.Helper()
	config := configs.Default()
	config.Node.Name, config.Node.Dir, config.Listen.HTTPS = "edge-1", t.TempDir(), ""
	config.Sites = []configs.Site{{Hosts: []string{"*"}, Origins: []string{"http://127.0.0.1:9"}}}
	n, err := newNode(nodeOptions{config: config, log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.close)
	return n
}

// TestObeyNeedsNoCommonClock: what was fetched here before a purge reached the node that posted it is gone, and what was
// fetched later is not, whatever that node takes the time to be.
func TestObeyNeedsNoCommonClock(t *testing.T) {
	t.Parallel()
	for _, skew := range []time.Duration{-time.Hour, 0, time.Hour} {
		n := soloNode(t)
		now := time.Now()
		body, err := json.Marshal(tag.Purge{ID: "edge-2-1", Time: now.Add(skew), Kind: tag.URL, Items: []string{"v.example/a"}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := n.obey([]notice.Record{{Origin: notice.Origin{Node: "edge-2"}, Age: time.Minute, Body: body}}); err != nil {
			t.Fatal(err)
		}
		for ago, want := range map[time.Duration]bool{time.Minute + time.Second: true, time.Minute: true, 30 * time.Second: false, -time.Second: false} {
			if got := n.purges.Check("v.example/a", nil, now.Add(-ago), now.Add(time.Minute)).Hard; got != want {
				t.Errorf("the other clock is %s off, fetched %s ago: purged %v, want %v", skew, ago, got, want)
			}
		}
		if n.purges.Check("v.example/b", nil, now.Add(-time.Hour), now).Hard {
			t.Error("another URL is purged")
		}
	}
}

// TestObeyWhatIsNotUnderstood: a purge of a newer build may mean anything.
func TestObeyWhatIsNotUnderstood(t *testing.T) {
	t.Parallel()
	for _, body := range []string{`{"kind":"host","items":["v.example"]}`, `{"kind":"url"}`, `7`} {
		n := soloNode(t)
		if _, err := n.obey([]notice.Record{{Origin: notice.Origin{Node: "edge-2"}, Body: json.RawMessage(body)}}); err != nil {
			t.Fatal(err)
		}
		if !n.purges.Check("v.example/a", nil, time.Now().Add(-time.Second), time.Now()).Hard {
			t.Errorf("%s purges nothing", body)
		}
	}
}

// TestNoticesAreNotForClients: a client cannot post one, nor have a node ask another for that path.
func TestNoticesAreNotForClients(t *testing.T) {
	t.Parallel()
	n := soloNode(t)
	for _, method := range []string{http.MethodPost, http.MethodGet} {
		r := httptest.NewRequest(method, "http://v.example/", http.NoBody)
		r.URL.Path, r.RequestURI = noticePath, noticePath
		w := httptest.NewRecorder()
		n.onceCurrent(n.edge).ServeHTTP(w, r)
		if w.Code != http.StatusBadRequest {
			t.Errorf("%s: got %d, want 400", method, w.Code)
		}
	}
}

// syncs are files that are appended to and synced at the same time.
type syncs []*os.File

func newSyncs(b *testing.B, n int) (files syncs) {
	b.Helper()
	for i := range n {
		file, err := os.OpenFile(filepath.Join(b.TempDir(), fmt.Sprint(i)), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { file.Close() })
		files = append(files, file)
	}
	return files
}

func (s syncs) run(b *testing.B) time.Duration {
	b.Helper()
	began := time.Now()
	var work sync.WaitGroup
	for _, file := range s {
		work.Go(func() {
			if _, err := file.WriteString(strings.Repeat("x", 60)); err != nil {
				b.Error(err)
			}
			if err := file.Sync(); err != nil {
				b.Error(err)
			}
		})
	}
	work.Wait()
	return time.Since(began)
}

// reportTimes reports the median and p99.
func reportTimes(b *testing.B, name string, took []time.Duration) {
	b.Helper()
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, name+"ms-median")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, name+"ms-p99")
}

// BenchmarkPurge has one of ten nodes purge, over loopback with fsync on each; and, in turn, does nothing but nine syncs
// at the same time and one before, which a purge cannot do without.
func BenchmarkPurge(b *testing.B) {
	const size = 10
	secret := cluster.NewSecret()
	var nodes []*node
	var join []string
	for i := range size {
		config := configs.Default()
		config.Node.Name, config.Node.Dir = fmt.Sprint("edge-", i), b.TempDir()
		config.Listen.HTTP, config.Listen.HTTPS, config.Listen.Admin = "127.0.0.1:0", "", ""
		config.Cluster.Gossip, config.Cluster.Peer, config.Cluster.Join = "127.0.0.1:0", "127.0.0.1:0", join
		config.Cache.Disk, config.Cache.Memory = 64<<20, 16<<20
		config.Sites = []configs.Site{{Hosts: []string{"*"}, Origins: []string{"http://127.0.0.1:9"}}}
		keyring, err := cluster.NewKeyring(cluster.KeyringOptions{Secrets: cluster.Secrets{secret}})
		if err != nil {
			b.Fatal(err)
		}
		n, err := newNode(nodeOptions{config: config, keyring: keyring, log: slog.New(slog.DiscardHandler), hurry: true})
		if err == nil {
			err = n.listen()
		}
		if err != nil {
			b.Fatal(err)
		}
		running := start(context.Background(), n.run)
		b.Cleanup(func() { _ = running.stop() })
		<-n.current()
		nodes, join = append(nodes, n), append(join, n.cluster.Addr())
	}
	for len(nodes[0].noticePeers()) < size-1 {
		time.Sleep(10 * time.Millisecond)
	}
	var took, floor []time.Duration
	acknowledged := 0
	first, rest := newSyncs(b, 1), newSyncs(b, size-1)
	for i := 0; b.Loop(); i++ {
		began := time.Now()
		receipt, err := nodes[0].purge(b.Context(), console.Purge{Kind: "tag", Items: []string{fmt.Sprint("title-", i)}})
		took = append(took, time.Since(began))
		if err != nil || len(receipt.Nodes) != size {
			b.Fatalf("%+v, %v", receipt, err)
		}
		acknowledged += size - len(receipt.Missing())
		floor = append(floor, first.run(b)+rest.run(b))
	}
	b.ReportMetric(100*float64(acknowledged)/float64(size*len(took)), "%acknowledged")
	reportTimes(b, "", took)
	reportTimes(b, "syncs-", floor)
}
