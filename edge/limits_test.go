package edge

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"weir/edge/limit"
)

// timedWriter notes when how much of a body was written. With it a file is taken as a connection takes it.
type timedWriter struct {
	*httptest.ResponseRecorder

	start    time.Time
	sent     int64
	largest  int64
	files    int64 // bytes taken from a file
	over     func(sent int64, after time.Duration)
	deadline time.Time
	late     bool // a write came after the deadline
}

func (w *timedWriter) SetWriteDeadline(t time.Time) error { w.deadline = t; return nil }

func (w *timedWriter) note(n int64) {
	w.sent, w.largest = w.sent+n, max(w.largest, n)
	w.late = w.late || time.Now().After(w.deadline)
	if w.over != nil {
		w.over(w.sent, time.Since(w.start))
	}
}

func (w *timedWriter) Write(p []byte) (int, error) {
	w.note(int64(len(p)))
	return w.ResponseRecorder.Write(p)
}

// fileWriter is a timedWriter of HTTP/1.1 in the clear.
type fileWriter struct{ *timedWriter }

func (w fileWriter) ReadFrom(r io.Reader) (int64, error) {
	n, err := io.Copy(w.Body, r)
	w.files += n
	w.note(n)
	return n, err
}

// from sends a request of a client at an address.
func from(addr, method, target string) *http.Request {
	r := httptest.NewRequest(method, "http://site.example"+target, http.NoBody)
	r.RequestURI, r.RemoteAddr = target, netip.AddrPortFrom(netip.MustParseAddr(addr), 1000).String()
	return r
}

// TestPacing: whatever way a body takes to the client, what all requests of a client get is the burst and then the rate, to the
// byte and the millisecond, and no write is late by its deadline.
func TestPacing(t *testing.T) {
	t.Parallel()
	const rate, burst = 64 << 10, 256 << 10 // a piece takes longer than a stall may: see the deadline
	bodies := map[string]int{"/large.ts": 1 << 20, "/small.m3u8": 48 << 10, "/private.ts": 1 << 20, "/film.mp4": 9 << 20}
	origin := func(w http.ResponseWriter, r *http.Request) {
		body := strings.Repeat("0123456789abcdef", bodies[r.URL.Path]/16)
		if r.URL.Path == "/private.ts" {
			w.Header().Set("Cache-Control", "private")
			_, _ = io.WriteString(w, body)
			return
		}
		w.Header().Set("Cache-Control", "max-age=600")
		w.Header().Set("Etag", `"1"`)
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(body))
	}
	for _, tt := range []struct {
		name, path string
		file       bool
		requests   int // at once
	}{
		{"sendfile", "/large.ts", true, 1},
		{"sendfile, two at once", "/large.ts", true, 2},
		{"write", "/large.ts", false, 1},
		{"write, three at once", "/large.ts", false, 3},
		{"from memory", "/small.m3u8", false, 12},
		{"passed", "/private.ts", false, 2},
		{"slices", "/film.mp4", false, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			site := Site{Limits: &Limits{Client: Bounds{Bytes: limit.Rate{PerSecond: rate, Burst: burst}}}}
			inTime(t, site, origin, func(b *timeBench) {
				start := time.Now()
				var mu sync.Mutex
				var total int64
				var all sync.WaitGroup
				for range tt.requests {
					all.Go(func() {
						w := &timedWriter{ResponseRecorder: httptest.NewRecorder(), start: start}
						before := int64(0)
						w.over = func(sent int64, after time.Duration) {
							mu.Lock()
							defer mu.Unlock()
							total, before = total+sent-before, sent
							if most := burst + int64(rate*after.Seconds()) + 1; total > most {
								t.Errorf("%d bytes after %v, more than %d", total, after, most)
							}
						}
						var to http.ResponseWriter = w
						if tt.file {
							to = fileWriter{w}
						}
						b.edge.ServeHTTP(to, from("192.0.2.1", http.MethodGet, tt.path))
						if w.Body.Len() != bodies[tt.path] || w.late {
							t.Errorf("%d bytes of %d came, late %v", w.Body.Len(), bodies[tt.path], w.late)
						}
						if w.largest > leastPiece || tt.file != (w.files > 0) {
							t.Errorf("the largest piece has %d bytes, %d bytes came from a file", w.largest, w.files)
						}
					})
				}
				all.Wait()
				want := time.Duration(float64(tt.requests*bodies[tt.path]-burst) / rate * float64(time.Second))
				if took := time.Since(start); took < want-time.Millisecond || took > want+time.Millisecond {
					t.Errorf("took %v, want %v", took, want)
				}
			})
		})
	}
}

// TestAPacedReaderHoldsUpNobody: neither the fetch that it caused, nor another client that reads the same object, nor one
// that has no bounds.
func TestAPacedReaderHoldsUpNobody(t *testing.T) {
	t.Parallel()
	const size = 4 << 20
	site := Site{Limits: &Limits{
		Client: Bounds{Bytes: limit.Rate{PerSecond: 64 << 10, Burst: 64 << 10}},
		Exempt: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")},
	}}
	inTime(t, site, cacheable(600, strings.Repeat("x", size)), func(b *timeBench) {
		start := time.Now()
		var slow sync.WaitGroup
		slow.Go(func() {
			b.edge.ServeHTTP(httptest.NewRecorder(), from("192.0.2.1", http.MethodGet, "/a.ts"))
			if took, want := time.Since(start), 63*time.Second; took < want-time.Millisecond {
				t.Errorf("the paced reader took %v, want %v", took, want)
			}
		})
		time.Sleep(time.Second)
		if n := b.edge.options.Cache.Stats().Fills; n != 0 {
			t.Errorf("the fetch is not over after a second: %d run", n)
		}
		w := httptest.NewRecorder()
		now := time.Now()
		b.edge.ServeHTTP(w, from("198.51.100.7", http.MethodGet, "/a.ts"))
		if took := time.Since(now); took > 0 || w.Body.Len() != size {
			t.Errorf("a reader without bounds took %v for %d bytes", took, w.Body.Len())
		}
		now = time.Now()
		b.edge.ServeHTTP(httptest.NewRecorder(), func() *http.Request {
			r := from("192.0.2.2", http.MethodGet, "/a.ts")
			r.Header.Set("Range", "bytes=0-65535")
			return r
		}())
		if took := time.Since(now); took > 0 {
			t.Errorf("the burst of another client took %v", took)
		}
		slow.Wait()
	})
}

// TestAPacedReaderThatLeaves is let go at once.
func TestAPacedReaderThatLeaves(t *testing.T) {
	t.Parallel()
	site := Site{Limits: &Limits{Client: Bounds{Bytes: limit.Rate{PerSecond: 64 << 10}, Concurrent: 1}}}
	inTime(t, site, cacheable(600, strings.Repeat("x", 4<<20)), func(b *timeBench) {
		r := from("192.0.2.1", http.MethodGet, "/a.ts")
		ctx, leave := context.WithTimeout(b.t.Context(), 10*time.Millisecond)
		defer leave()
		start := time.Now()
		func() {
			defer func() { _ = recover() }() // the response is broken off
			b.edge.ServeHTTP(httptest.NewRecorder(), r.WithContext(ctx))
		}()
		if took := time.Since(start); took > 10*time.Millisecond {
			t.Errorf("it was let go after %v", took)
		}
		if n := b.edge.Limits().Running; n != 0 {
			t.Errorf("%d requests count as running", n)
		}
	})
}

// goneWriter takes so many bytes, then its client is gone.
type goneWriter struct {
	*httptest.ResponseRecorder

	takes int
}

func (w *goneWriter) Write(p []byte) (int, error) {
	n := min(w.takes, len(p))
	if w.takes -= n; n < len(p) {
		return n, syscall.ECONNRESET
	}
	return n, nil
}

// goneFileWriter takes them from a file.
type goneFileWriter struct{ *goneWriter }

func (w goneFileWriter) ReadFrom(r io.Reader) (int64, error) {
	n, err := io.CopyN(io.Discard, r, int64(w.takes))
	if w.takes -= int(n); err == nil {
		err = syscall.ECONNRESET
	}
	return n, err
}

// TestWhoLeavesIsNotCharged: of what clients ask for and do not take nothing is owed by those who share a bound with them,
// neither where a write fails nor where they leave while they wait, and no bucket holds more than its burst for it.
func TestWhoLeavesIsNotCharged(t *testing.T) {
	t.Parallel()
	const rate, burst, aborts, took = 1 << 20, 1 << 20, 200, 1000
	site := Site{Limits: &Limits{Network: Bounds{Bytes: limit.Rate{PerSecond: rate, Burst: burst}}, Site: Bounds{Bytes: limit.Rate{PerSecond: rate, Burst: burst}}}}
	for _, tt := range []struct {
		name   string
		writer func() http.ResponseWriter
		sent   int // of each
		waits  bool
	}{
		{"a write fails", func() http.ResponseWriter { return &goneWriter{httptest.NewRecorder(), took} }, took, false},
		{"sendfile fails", func() http.ResponseWriter { return goneFileWriter{&goneWriter{httptest.NewRecorder(), took}} }, took, false},
		{"nothing is taken", func() http.ResponseWriter { return &goneWriter{httptest.NewRecorder(), 0} }, 0, false},
		{"a wait ends", func() http.ResponseWriter { return &goneWriter{httptest.NewRecorder(), 0} }, 0, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			inTime(t, site, cacheable(600, strings.Repeat("x", 4<<20)), func(b *timeBench) {
				get := func(w http.ResponseWriter, last int, until time.Duration) time.Duration {
					begun, r := time.Now(), from("192.0.2.1", http.MethodGet, "/a.ts")
					if last > 0 {
						r.Header.Set("Range", "bytes=0-"+strconv.Itoa(last-1))
					}
					ctx, leave := context.WithTimeout(b.t.Context(), until)
					defer leave()
					defer func() { _ = recover() }() // the response may be broken off
					b.edge.ServeHTTP(w, r.WithContext(ctx))
					return time.Since(begun)
				}
				get(httptest.NewRecorder(), 0, time.Hour)
				time.Sleep(time.Minute) // the buckets are full
				if tt.waits {
					get(httptest.NewRecorder(), burst, time.Hour)
				}
				begun := time.Now()
				for range aborts {
					get(tt.writer(), 0, 10*time.Millisecond)
				}
				gained := int(rate * time.Since(begun).Seconds()) // while they waited
				if !tt.waits {
					gained += burst
				}
				gained = min(gained, burst)
				want := time.Duration(float64(2*burst-gained+aborts*tt.sent) / rate * float64(time.Second))
				if took := get(httptest.NewRecorder(), 2*burst, time.Hour); took < want-time.Millisecond || took > want+time.Millisecond {
					t.Errorf("after %d that left another waits %v, want %v", aborts, took, want)
				}
			})
		})
	}
}

// TestRequestLimits: who is refused, as what, and until when; and that nothing else pays for it.
func TestRequestLimits(t *testing.T) {
	t.Parallel()
	one := Bounds{Requests: limit.Rate{PerSecond: 0.5, Burst: 2}}
	type request struct {
		addr   string
		status int
	}
	ok := func(addrs ...string) (list []request) {
		for _, a := range addrs {
			list = append(list, request{a, http.StatusOK})
		}
		return list
	}
	no := func(addr string) request { return request{addr, http.StatusTooManyRequests} }
	for _, tt := range []struct {
		name   string
		limits Limits
		send   []request
		reason string
	}{
		{"client", Limits{Client: one}, append(ok("192.0.2.1", "192.0.2.1"), no("192.0.2.1"), request{"192.0.2.2", 200}), "client-rate"},
		{"client, IPv6", Limits{Client: one}, append(ok("2001:db8::1", "2001:db8::ffff:2"), no("2001:db8::3"), request{"2001:db8:0:1::1", 200}), "client-rate"},
		{"mapped", Limits{Client: one}, append(ok("192.0.2.1", "::ffff:192.0.2.1"), no("192.0.2.1")), "client-rate"},
		{"network", Limits{Network: one}, append(ok("192.0.2.1", "192.0.2.2"), no("192.0.2.3"), request{"192.0.3.1", 200}), "network-rate"},
		{"network of its own size", Limits{Network: one, IPv4Bits: 16}, append(ok("192.0.2.1", "192.0.3.2"), no("192.0.4.3"), request{"192.1.2.1", 200}), "network-rate"},
		{"network, IPv6", Limits{Network: one}, append(ok("2001:db8::1", "2001:db8:0:ff::1"), no("2001:db8:0:1::1"), request{"2001:db8:0:100::1", 200}), "network-rate"},
		{"site", Limits{Site: one}, append(ok("192.0.2.1", "198.51.100.1"), no("203.0.113.1")), "site-rate"},
		{"exempt", Limits{Site: one, Client: one, Exempt: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}, append(ok("192.0.2.1", "192.0.2.1", "192.0.2.1", "198.51.100.1", "203.0.113.1"), no("203.0.113.2")), "site-rate"},
		{"a narrow one takes nothing of a wide one", Limits{Client: Bounds{Requests: limit.Rate{PerSecond: 0.5, Burst: 1}}, Site: one}, append(ok("192.0.2.1"), no("192.0.2.1"), no("192.0.2.1"), request{"192.0.2.2", 200}), "client-rate"},
		{"client, concurrent", Limits{Client: Bounds{Concurrent: 1}}, ok("192.0.2.1", "192.0.2.1", "192.0.2.1"), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			inTime(t, Site{Limits: &tt.limits}, cacheable(600, "body"), func(b *timeBench) {
				refused := 0
				for i, s := range tt.send {
					w := httptest.NewRecorder()
					b.edge.ServeHTTP(w, from(s.addr, http.MethodGet, "/a"))
					if w.Code != s.status {
						t.Errorf("request %d of %s: %d, want %d", i+1, s.addr, w.Code, s.status)
					}
					if w.Code == http.StatusTooManyRequests {
						refused++
						if after, err := strconv.Atoi(w.Header().Get("Retry-After")); err != nil || after < 1 || after > 2 || w.Header().Get("Cache-Control") != "no-store" {
							t.Errorf("got %v", w.Header())
						}
					}
				}
				counted := int64(0)
				for _, reason := range Reasons() {
					counted += b.edge.Refused(reason)
				}
				if tt.reason != "" && b.edge.Refused(tt.reason) != int64(refused) || counted != int64(refused) {
					t.Errorf("%d refused, %d counted, %d as %s", refused, counted, b.edge.Refused(tt.reason), tt.reason)
				}
				if n := b.origin.Load(); n != 1 {
					t.Errorf("the origin was asked %d times", n)
				}
				time.Sleep(2 * time.Second) // what Retry-After has said
				w := httptest.NewRecorder()
				if b.edge.ServeHTTP(w, from(tt.send[0].addr, http.MethodGet, "/a")); w.Code != http.StatusOK {
					t.Errorf("after the wait: %d", w.Code)
				}
				for range 5 { // another node
					w := httptest.NewRecorder()
					if b.edge.PeerHandler().ServeHTTP(w, from("192.0.2.1", http.MethodGet, "/a")); w.Code != http.StatusOK {
						t.Errorf("another node gets %d", w.Code)
					}
				}
			})
		})
	}
}

// TestConcurrentRequests: as many as may run do, and each that ends makes room, however it ends.
func TestConcurrentRequests(t *testing.T) {
	t.Parallel()
	limits := &Limits{Client: Bounds{Concurrent: 2}, Network: Bounds{Concurrent: 3}}
	origin := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/broken" {
			panic(http.ErrAbortHandler)
		}
		time.Sleep(8 * time.Second)
		w.Header().Set("Cache-Control", "no-store")
	}
	inTime(t, Site{Limits: limits}, origin, func(b *timeBench) {
		var all sync.WaitGroup
		send := func(addr, path string, status int) {
			all.Go(func() {
				w := httptest.NewRecorder()
				b.edge.ServeHTTP(w, from(addr, http.MethodGet, path))
				if w.Code != status {
					t.Errorf("%s %s: %d, want %d", addr, path, w.Code, status)
				}
			})
			time.Sleep(time.Second)
		}
		send("192.0.2.1", "/1", 200)
		send("192.0.2.1", "/2", 200)
		send("192.0.2.1", "/3", 429)
		send("192.0.2.2", "/4", 200)
		send("192.0.2.3", "/5", 429)
		if n := b.edge.Limits().Running; n != 6 { // three, each for its client and its network
			t.Errorf("%d count as running, want 6", n)
		}
		all.Wait()
		send("192.0.2.1", "/broken", http.StatusBadGateway)
		all.Wait()
		if n := b.edge.Limits().Running; n != 0 {
			t.Errorf("%d count as running when all is over", n)
		}
		if n := b.edge.Refused("client-concurrency") + b.edge.Refused("network-concurrency"); n != 2 {
			t.Errorf("%d refusals are counted, want 2", n)
		}
	})
}

// TestTokenLimits: all that a token's subject asks for is one, wherever it comes from.
func TestTokenLimits(t *testing.T) {
	t.Parallel()
	site := &Site{Hosts: []string{"*"}, Limits: &Limits{Token: Bounds{Requests: limit.Rate{PerSecond: 1, Burst: 1}}}}
	inTime(t, *site, cacheable(600, "body"), func(b *timeBench) {
		sites := b.edge.sites.Load()
		for i, tt := range []struct {
			addr, subject string
			refused       bool
		}{{"192.0.2.1", "a", false}, {"198.51.100.1", "a", true}, {"192.0.2.1", "b", false}, {"192.0.2.1", "", false}, {"192.0.2.1", "", false}} {
			x := &Exchange{Request: from(tt.addr, http.MethodGet, "/a"), Start: time.Now(), Subject: tt.subject, site: sites.find("x")}
			if no := b.edge.limit(x, perToken, perSite); (no != nil) != tt.refused || no != nil && no.reason != "token-rate" {
				t.Errorf("request %d: got %v", i+1, no)
			}
		}
	})
}

// TestLimitsChangeOnReload: what runs goes on by its own, what comes has the new ones, and nobody's bucket is filled by it.
func TestLimitsChangeOnReload(t *testing.T) {
	t.Parallel()
	slow := Site{Limits: &Limits{Client: Bounds{Bytes: limit.Rate{PerSecond: 64 << 10, Burst: 64 << 10}, Requests: limit.Rate{PerSecond: 0.01, Burst: 2}}}}
	inTime(t, slow, cacheable(600, strings.Repeat("x", 1<<20)), func(b *timeBench) {
		var all sync.WaitGroup
		start := time.Now()
		all.Go(func() {
			w := httptest.NewRecorder()
			b.edge.ServeHTTP(w, from("192.0.2.1", http.MethodGet, "/a.ts"))
			if took := time.Since(start); took < 15*time.Second-time.Millisecond || took > 15*time.Second+time.Millisecond || w.Body.Len() != 1<<20 {
				t.Errorf("%d bytes in %v, want all in 15 s", w.Body.Len(), took)
			}
		})
		time.Sleep(time.Second)
		use := func(l *Limits) {
			old := b.edge.sites.Load().find("x")
			sites, err := NewSites(&Site{Hosts: old.Hosts, Origin: old.Origin, Limits: l})
			if err != nil {
				t.Fatal(err)
			}
			b.edge.SetSites(sites)
		}
		use(&Limits{Client: Bounds{Requests: limit.Rate{PerSecond: 0.01, Burst: 2}}})
		for i, want := range []int{http.StatusOK, http.StatusTooManyRequests} { // one of two is used up
			w := httptest.NewRecorder()
			if b.edge.ServeHTTP(w, from("192.0.2.1", http.MethodGet, "/a.ts")); w.Code != want {
				t.Errorf("request %d after the reload: %d, want %d", i+1, w.Code, want)
			}
		}
		use(nil)
		w := httptest.NewRecorder()
		if b.edge.ServeHTTP(w, from("192.0.2.1", http.MethodGet, "/a.ts")); w.Code != http.StatusOK {
			t.Errorf("without limits: %d", w.Code)
		}
		all.Wait()
	})
}

// TestLimitsAllocateNothing: a hit costs with all limits on what it costs without.
func TestLimitsAllocateNothing(t *testing.T) { //nolint:paralleltest // it counts allocations
	big := Bounds{Requests: limit.Rate{PerSecond: 1e9, Burst: 1e9}, Bytes: limit.Rate{PerSecond: 1e12, Burst: 1e12}, Concurrent: 1 << 20}
	b := newSiteBench(t, Site{Limits: &Limits{Client: big, Network: big, Site: big}}, cacheable(3600, "body"))
	b.do(http.MethodGet, "/hot")
	r := httptest.NewRequest(http.MethodGet, b.url+"/hot", http.NoBody)
	r.RequestURI = "/hot"
	w := &deafWriter{header: http.Header{}}
	b.edge.options.Observe = func(x *Exchange) { _ = x.CacheStatus() }
	if allocs := testing.AllocsPerRun(200, func() {
		clear(w.header)
		b.edge.ServeHTTP(w, r)
	}); allocs > hotHitAllocations || w.status != http.StatusOK {
		t.Errorf("status %d, %v allocations a hit, want at most %d", w.status, allocs, hotHitAllocations)
	}
}

// BenchmarkLimits is a hit with and without nine limits.
func BenchmarkLimits(b *testing.B) {
	big := Bounds{Requests: limit.Rate{PerSecond: 1e9, Burst: 1e9}, Bytes: limit.Rate{PerSecond: 1e12, Burst: 1e12}, Concurrent: 1 << 20}
	for name, limits := range map[string]*Limits{"off": nil, "on": {Client: big, Network: big, Site: big}} {
		b.Run(name, func(b *testing.B) {
			bench := newSiteBench(b, Site{Limits: limits}, cacheable(3600, strings.Repeat("x", 1536)))
			bench.do(http.MethodGet, "/hot")
			r := httptest.NewRequest(http.MethodGet, bench.url+"/hot", http.NoBody)
			r.RequestURI = "/hot"
			bench.edge.options.Observe = func(*Exchange) {}
			w := &deafWriter{header: http.Header{}}
			b.ReportAllocs()
			for b.Loop() {
				clear(w.header)
				bench.edge.ServeHTTP(w, r)
			}
		})
	}
}

// TestASlowPaceIsNoStall: between two pieces more time passes than a client may stall, and no write is late.
func TestASlowPaceIsNoStall(t *testing.T) {
	t.Parallel()
	site := Site{Limits: &Limits{Client: Bounds{Bytes: limit.Rate{PerSecond: 128}}}}
	inTime(t, site, cacheable(600, strings.Repeat("x", 4*leastPiece)), func(b *timeBench) {
		w := &timedWriter{ResponseRecorder: httptest.NewRecorder(), start: time.Now()}
		b.edge.ServeHTTP(w, from("192.0.2.1", http.MethodGet, "/a.ts"))
		if took := time.Since(w.start); w.late || took < 3*2*time.Minute || w.Body.Len() != 4*leastPiece {
			t.Errorf("%d bytes in %v, a write was late: %v", w.Body.Len(), took, w.late)
		}
	})
}

// TestStalledReadersKeepLittle: what is written to a thousand clients that take nothing is in small pieces, where the
// connection cannot send from a file.
func TestStalledReadersKeepLittle(t *testing.T) {
	t.Parallel()
	inTime(t, Site{}, cacheable(600, strings.Repeat("x", 1<<20)), func(b *timeBench) {
		b.ask("/a.ts")
		var all sync.WaitGroup
		var held atomic.Int64
		release := make(chan struct{})
		for range 1000 {
			all.Go(func() {
				b.edge.ServeHTTP(&stalledWriter{header: http.Header{}, held: &held, release: release}, from("192.0.2.1", http.MethodGet, "/a.ts"))
			})
		}
		synctest.Wait()
		if most := int64(1000 * bufferBytes); held.Load() > most {
			t.Errorf("%d bytes wait in writes, want at most %d", held.Load(), most)
		}
		close(release)
		all.Wait()
	})
}

// stalledWriter takes nothing until it is released.
type stalledWriter struct {
	header  http.Header
	held    *atomic.Int64
	release chan struct{}
}

func (w *stalledWriter) Header() http.Header { return w.header }
func (w *stalledWriter) WriteHeader(int)     {}
func (w *stalledWriter) Write(p []byte) (int, error) {
	w.held.Add(int64(len(p)))
	<-w.release
	return len(p), nil
}
