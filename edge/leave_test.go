package edge

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"weir/tools/proof"
)

// leaving is a kind of response, and what is promised of it when those who ask leave.
type leaving struct {
	name   string
	rule   proof.Rule
	breaks bool // the first fetch breaks off at some byte; where there is a strong ETag it is taken up again
	asked  int  // how often the origin may be asked for one object, by four clients
}

const leavingBytes = 32 << 10

var leavings = []leaving{
	{name: "length", asked: 1},
	{name: "chunked", rule: proof.Rule{Chunked: true}, asked: 1},
	{name: "resumed", breaks: true, asked: 2},
	{name: "broken", rule: proof.Rule{NoValidator: true, NoRange: true}, breaks: true, asked: 2},
	{name: "broken-chunked", rule: proof.Rule{NoValidator: true, NoRange: true, Chunked: true}, breaks: true, asked: 2},
	{name: "passed", rule: proof.Rule{CacheControl: "no-store"}, asked: 4},
}

// breakingOrigin serves each object at the pace of a client, some only by half the first time.
type breakingOrigin struct {
	*proof.Origin // what it serves in the end

	first *proof.Origin // serves who asks first
	mu    sync.Mutex    // guards the field below
	asked map[string]bool
}

const breakingPoints = 64

// newBreakingOrigin has the objects of leavings at /o/BYTES/NAME/POINT/…; what breaks off does so at one of the points.
func newBreakingOrigin(random *rand.Rand) *breakingOrigin {
	options := proof.OriginOptions{Oracle: proof.NewOracle("leave")}
	o := &breakingOrigin{Origin: proof.NewOrigin(options), first: proof.NewOrigin(options), asked: map[string]bool{}}
	for _, origin := range []*proof.Origin{o.Origin, o.first} {
		origin.Fault("/*", proof.Fault{Kind: proof.FaultTrickle, N: leavingBytes / 8, For: 10 * time.Millisecond})
	}
	for _, kind := range leavings {
		prefix := fmt.Sprintf("/o/%d/%s/", leavingBytes, kind.name)
		options.Oracle.SetRule(prefix+"*", kind.rule)
		for point := range breakingPoints {
			if kind.breaks {
				o.first.Fault(fmt.Sprintf("%s%d/*", prefix, point), proof.Fault{Kind: proof.FaultTruncate, At: random.Int64N(leavingBytes)})
			}
		}
	}
	return o
}

func (o *breakingOrigin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	again := o.asked[r.URL.Path]
	o.asked[r.URL.Path] = true
	o.mu.Unlock()
	if again {
		o.Origin.ServeHTTP(w, r)
		return
	}
	o.first.ServeHTTP(w, r)
}

func (o *breakingOrigin) requests(path string) int {
	return o.Count(path).Requests + o.first.Count(path).Requests
}

// TestClientsThatLeave: clients go at any byte of what they have caused to be fetched, thousands of them, while it comes.
// What is fetched goes on, and is whole for who comes next; what is broken off is never a hit, nor looks whole; what may
// not be stored is fetched no further; and nothing is left running.
func TestClientsThatLeave(t *testing.T) { //nolint:paralleltest // it counts goroutines
	leaves := 2000
	if testing.Short() {
		leaves = 500
	}
	base := runtime.NumGoroutine()
	var c leavingClients
	origin := newBreakingOrigin(rand.New(rand.NewPCG(1, 2)))
	inTime(t, Site{}, origin.ServeHTTP, func(b *timeBench) {
		c = leavingClients{t: t, origin: origin, server: &pipes{conns: make(chan net.Conn), done: make(chan struct{})}}
		server := &http.Server{Handler: b.edge, ReadHeaderTimeout: time.Hour}
		var served, all sync.WaitGroup
		served.Go(func() { _ = server.Serve(c.server) }) // ends by Close
		const workers = 16
		for worker := range workers {
			all.Go(func() {
				random := rand.New(rand.NewPCG(3, uint64(worker)))
				for i := worker; i < leaves; i += workers {
					c.object(leavings[i%len(leavings)], i, random)
				}
			})
		}
		all.Wait()
		synctest.Wait()
		running := origin.Total().InFlight + origin.first.Total().InFlight
		if fills := b.edge.options.Cache.Stats().Fills; running != 0 || fills != 0 {
			t.Errorf("%d requests at the origin and %d fills still run", running, fills)
		}
		_ = server.Close()
		served.Wait()
		b.edge.sites.Load().all.Origin.Close() // its idle connections
		synctest.Wait()
		if n := runtime.NumGoroutine(); n > base+5 { // the bubble's own, and the origin's server
			t.Errorf("%d goroutines, %d before", n, base)
		}
	})
	t.Logf("%d clients, %d left before the end; later %d hits, %d saw a fetch break off", leaves, c.left.Load(), c.hits.Load(), c.broken.Load())
	if c.left.Load() < int64(leaves)*8/10 || c.hits.Load() < int64(leaves) || c.broken.Load() == 0 {
		t.Error("that is not what the test is about")
	}
}

// leavingClients are the clients of TestClientsThatLeave.
type leavingClients struct {
	t                  *testing.T
	origin             *breakingOrigin
	server             *pipes
	left, hits, broken atomic.Int64
}

// object has one client leave, and three ask behind it for the same.
func (c *leavingClients) object(kind leaving, number int, random *rand.Rand) {
	path := fmt.Sprintf("/o/%d/%s/%d/%d", leavingBytes, kind.name, number%breakingPoints, number)
	n := random.Int64N(leavingBytes + 500) // a head has less than 500 bytes
	if c.leave(path, n) {
		c.left.Add(1)
	}
	time.Sleep(time.Duration(random.Int64N(100)) * time.Millisecond)
	truth := c.truth(path)
	for turn := range 3 {
		g := c.whole(path)
		status := g.header.Get("Cache-Status")
		hit := strings.Contains(status, "; hit")
		if hit {
			c.hits.Add(1)
		}
		switch {
		case g.err != nil && turn == 0 && kind.breaks && !hit && strings.HasPrefix(truth, g.body):
			c.broken.Add(1) // it has joined the fetch that broke off, and sees that it did
		case g.status == http.StatusBadGateway && turn == 0 && kind.breaks && !hit:
			c.broken.Add(1) // so too, before the head had gone out
		case g.err != nil || g.status != http.StatusOK || g.body != truth:
			c.t.Errorf("%s, turn %d: status %d, %d bytes, right %v, %v, %s", path, turn, g.status, len(g.body), strings.HasPrefix(truth, g.body), g.err, status)
		case turn == 2 && kind.name != "passed" && !hit:
			c.t.Errorf("%s: it is not stored in the end: %s", path, status)
		}
		time.Sleep(100 * time.Millisecond)
	}
	if sent := c.origin.first.Count(path).Bytes; kind.name == "passed" && n < leavingBytes/2 && sent == leavingBytes {
		c.t.Errorf("%s: all was fetched for a client that left at byte %d", path, n)
	}
	if n := c.origin.requests(path); n > kind.asked {
		c.t.Errorf("%s: the origin was asked %d times, want at most %d", path, n, kind.asked)
	}
}

func (c *leavingClients) truth(path string) string {
	body := c.origin.Oracle().Truth("h", path, http.Header{}, 1).Body
	var all strings.Builder
	if _, err := io.Copy(&all, io.NewSectionReader(body, 0, body.Size())); err != nil {
		c.t.Error(err)
	}
	return all.String()
}

// ask sends a request on a connection of its own.
func (c *leavingClients) ask(path string) net.Conn {
	ours, theirs := net.Pipe()
	c.server.conns <- theirs
	_, _ = fmt.Fprintf(ours, "GET %s HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", path)
	return ours
}

// leave asks, reads n bytes of the answer, its head first, and hangs up. It tells whether there was more to come.
func (c *leavingClients) leave(path string, n int64) bool {
	conn := c.ask(path)
	_, err := io.CopyN(io.Discard, conn, n)
	_ = conn.Close()
	return err == nil
}

// whole asks and reads to the end.
func (c *leavingClients) whole(path string) got {
	conn := c.ask(path)
	defer conn.Close()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return got{err: err, header: http.Header{}}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return got{resp.StatusCode, resp.Header, string(body), err}
}
