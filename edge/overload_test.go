package edge

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"weir/edge/limit"
)

// protect gives the edge of a bench an Overload.
func (b *timeBench) protect(o OverloadOptions) *Overload {
	if o.Signals == nil {
		o.Signals = func() (time.Duration, int64) { return 0, 0 }
	}
	v := NewOverload(o)
	b.edge.options.Overload = v
	b.edge.useFetches(b.edge.sites.Load())
	return v
}

// asPeer is ask for another node.
func (b *timeBench) asPeer(path string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, "http://site.example"+path, http.NoBody)
	r.RequestURI = path
	w := httptest.NewRecorder()
	b.edge.PeerHandler().ServeHTTP(finalWriter{w}, r)
	return w
}

// finalWriter is a recorder that leaves out signs of life.
type finalWriter struct{ *httptest.ResponseRecorder }

func (w finalWriter) WriteHeader(status int) {
	if status >= 200 {
		w.ResponseRecorder.WriteHeader(status)
	}
}

// press raises the pressure, by delay.
func (v *Overload) press(value float64) {
	for v.pressure.Value() < value-0.002 {
		v.pressure.Update(limit.Signals{Delay: time.Hour, Target: time.Millisecond})
	}
}

// TestShedsInOrder: misses before hits, segments before playlists, what is stale rather than nothing, and never what
// another node asks for.
func TestShedsInOrder(t *testing.T) {
	t.Parallel()
	origin := func(w http.ResponseWriter, r *http.Request) {
		control := "max-age=600"
		if strings.HasPrefix(r.URL.Path, "/stale") {
			control = "max-age=1, stale-if-error=600"
		}
		if strings.HasPrefix(r.URL.Path, "/behind") {
			control = "max-age=1, stale-while-revalidate=600"
		}
		say(w, []string{"Cache-Control", control}, "body")
	}
	stored := []string{"/hit.ts", "/hit.m3u8", "/stale.ts", "/stale.m3u8", "/behind.ts"}
	for _, tt := range []struct {
		pressure float64
		sheds    string // paths
	}{
		{0, ""},
		{0.999, "/miss.ts"},
		{1.999, "/miss.ts /miss.m3u8"},
		{2.999, "/miss.ts /miss.m3u8 /hit.ts /stale.ts /behind.ts"},
		{4, "/miss.ts /miss.m3u8 /hit.ts /stale.ts /behind.ts /hit.m3u8 /stale.m3u8"},
	} {
		t.Run(fmt.Sprint(tt.pressure), func(t *testing.T) {
			t.Parallel()
			inTime(t, Site{}, origin, func(b *timeBench) {
				v := b.protect(OverloadOptions{})
				for _, path := range stored {
					b.ask(path)
				}
				time.Sleep(2 * time.Second)
				v.press(tt.pressure)
				before := b.origin.Load()
				var shed int64
				for _, path := range append(stored, "/miss.ts", "/miss.m3u8") {
					w, aborted := b.ask(path)
					want := http.StatusOK
					if strings.Contains(" "+tt.sheds+" ", " "+path+" ") {
						shed++
						want = http.StatusServiceUnavailable
						after, err := strconv.Atoi(w.Header().Get("Retry-After"))
						if err != nil || after < 1 || after > 5 || w.Header().Get("Cache-Control") != "no-store" {
							t.Errorf("%s: Retry-After %q, Cache-Control %q", path, w.Header().Get("Retry-After"), w.Header().Get("Cache-Control"))
						}
					}
					if w.Code != want || aborted {
						t.Errorf("pressure %v, %s: %d, want %d", tt.pressure, path, w.Code, want)
					}
				}
				time.Sleep(time.Second) // what is fetched behind
				if asked := b.origin.Load() - before; tt.pressure > 2 && asked > 0 {
					t.Errorf("pressure %v: the origin was asked %d times", tt.pressure, asked)
				}
				counted := int64(0)
				for _, reason := range Reasons() {
					counted += b.edge.Refused(reason)
				}
				if counted != shed {
					t.Errorf("%d were shed, %d are counted", shed, counted)
				}
				for _, path := range []string{"/hit.ts", "/another.ts"} {
					if w := b.asPeer(path); w.Code != http.StatusOK {
						t.Errorf("pressure %v: another node gets %d for %s", tt.pressure, w.Code, path)
					}
				}
				if s := v.Stats(); s.Requests != 0 || s.Fetches != 0 || (shed > 0) == s.LastShed.IsZero() {
					t.Errorf("when all is over: %+v", s)
				}
			})
		})
	}
}

// TestFetchesAreBounded: so many at once and no more; the last of them are for playlists; who joins one is not turned away,
// nor is another node; and what is over makes room.
func TestFetchesAreBounded(t *testing.T) {
	t.Parallel()
	origin := func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(time.Second)
		say(w, []string{"Cache-Control", "max-age=600"}, "body")
	}
	inTime(t, Site{}, origin, func(b *timeBench) {
		v := b.protect(OverloadOptions{Fetches: 10})
		var all sync.WaitGroup
		codes := map[string]*atomic.Int64{}
		send := func(path string, status int) {
			name := path + " " + strconv.Itoa(status)
			if codes[name] == nil {
				codes[name] = new(atomic.Int64)
			}
			n := codes[name]
			all.Go(func() {
				if w, _ := b.ask(path); w.Code == status {
					n.Add(1)
				}
			})
			time.Sleep(time.Millisecond)
		}
		for i := range 9 {
			send(fmt.Sprintf("/%d.ts", i), 200)
		}
		send("/9.ts", 503)
		send("/0.m3u8", 200)
		send("/1.m3u8", 503)
		send("/0.ts", 200) // joins
		peer := make(chan int, 1)
		all.Go(func() { peer <- b.asPeer("/9.ts").Code })
		time.Sleep(time.Millisecond)
		if s := v.Stats(); s.Fetches != 11 || s.Requests != 11 {
			t.Errorf("got %+v, want 11 fetches, that of another node included, and 11 requests of clients", s)
		}
		all.Wait()
		for name, n := range codes {
			want := int64(1)
			if name == "/0.ts 200" {
				want = 2
			}
			if n.Load() != want {
				t.Errorf("%s: %d times, want %d", name, n.Load(), want)
			}
		}
		if code := <-peer; code != http.StatusOK {
			t.Errorf("another node gets %d", code)
		}
		time.Sleep(time.Second)
		if w, _ := b.ask("/more.ts"); w.Code != http.StatusOK {
			t.Errorf("when all is over: %d", w.Code)
		}
		if n := b.origin.Load(); n != 12 {
			t.Errorf("the origin was asked %d times, want 12", n)
		}
	})
}

// TestRequestsAreBounded: each class may fill its part.
func TestRequestsAreBounded(t *testing.T) {
	t.Parallel()
	for c, most := range []int64{7, 8, 9, 10} {
		v := NewOverload(OverloadOptions{Requests: 10})
		for n := range int64(20) {
			v.requests.Store(n)
			if got := v.admits(limit.Class(c)); got != (n <= most) {
				t.Errorf("%v with %d running, itself included: %v", limit.Class(c), n, got)
			}
		}
	}
}

// TestHitsThriveWhileTheOriginDrowns: three times what the origin can do is asked of it, open loop, beside hits. With
// an Overload hits take no time, most that the origin does is of use, and it is not asked for more than it can.
func TestHitsThriveWhileTheOriginDrowns(t *testing.T) {
	t.Parallel()
	const work, workers, seconds = time.Second, 80, 20 // 80 a second
	const misses = 3 * workers * int(time.Second/work)
	run := func(protected bool) (hits, good, most float64, asked int64) {
		var slots chan struct{} // of the bubble
		origin := func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/hot.ts" {
				select {
				case slots <- struct{}{}:
				case <-r.Context().Done():
					return
				}
				time.Sleep(work)
				<-slots
			}
			say(w, []string{"Cache-Control", "max-age=600"}, "body")
		}
		inTime(t, Site{}, origin, func(b *timeBench) {
			slots = make(chan struct{}, workers)
			var v *Overload
			if protected {
				v = b.protect(OverloadOptions{Fetches: 4096, Delay: 100 * time.Millisecond})
				ctx, cancel := context.WithCancel(b.t.Context())
				var ran sync.WaitGroup
				ran.Go(func() { _ = v.Run(ctx) })
				defer ran.Wait()
				defer cancel()
			}
			b.ask("/hot.ts")
			var hit, useful, peak atomic.Int64
			var all sync.WaitGroup
			for i := range misses * seconds {
				judged := i >= misses*seconds/2
				all.Go(func() {
					begun := time.Now()
					if w, _ := b.ask(fmt.Sprintf("/%d.ts", i)); judged && w.Code == http.StatusOK && time.Since(begun) <= 3*work {
						useful.Add(1)
					}
				})
				if i%4 == 0 {
					all.Go(func() {
						begun := time.Now()
						if w, _ := b.ask("/hot.ts"); judged && w.Code == http.StatusOK && time.Since(begun) < time.Millisecond {
							hit.Add(1)
						}
					})
				}
				time.Sleep(time.Second / time.Duration(misses))
				if v != nil {
					peak.Store(max(peak.Load(), v.Stats().Fetches))
				}
			}
			all.Wait()
			hits = float64(hit.Load()) / float64(misses*seconds/8)
			good = float64(useful.Load()) / float64(misses*seconds/2/3)
			most, asked = float64(peak.Load()), b.origin.Load()
			time.Sleep(10 * time.Minute) // until the origin has done what nobody waits for
		})
		return hits, good, most, asked
	}
	hits, good, most, asked := run(true)
	t.Logf("protected: %.0f %% of the hits at once; %.0f %% of what the origin can do is of use; at most %.0f fetches at once, %d in all", 100*hits, 100*good, most, asked)
	if hits < 0.9 || good < 0.8 {
		t.Error("want 90 % of the hits, and 80 % of what the origin can do")
	}
	_, bare, _, _ := run(false)
	t.Logf("bare: %.0f %% of what the origin can do is of use", 100*bare)
	if bare > 0.5 {
		t.Errorf("without protection %.2f of the origin's work is of use: the load is none", bare)
	}
}

// TestHotHitOverload: what protection costs a hit is no allocation.
func TestHotHitOverload(t *testing.T) { //nolint:paralleltest // it counts allocations
	filled, r := hot(t, 1536)
	e, err := New(Options{
		Name: "edge-1", Cache: filled.options.Cache, Sites: filled.sites.Load(), Observe: func(x *Exchange) { _ = x.CacheStatus() },
		Overload: NewOverload(OverloadOptions{Fetches: 10, Requests: 10, Delay: time.Second, Memory: 1 << 30}),
	})
	if err != nil {
		t.Fatal(err)
	}
	w := &deafWriter{header: http.Header{}}
	if allocs := testing.AllocsPerRun(200, func() {
		clear(w.header)
		e.ServeHTTP(w, r)
	}); allocs > hotHitAllocations || w.status != http.StatusOK {
		t.Errorf("status %d, %v allocations a hit, want at most %d", w.status, allocs, hotHitAllocations)
	}
}

// TestRuntimeSignals: they are there, and of a sane size.
func TestRuntimeSignals(t *testing.T) {
	t.Parallel()
	s := newRuntimeSignals()
	s.read()
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {})
	}
	all.Wait()
	if delay, memory := s.read(); delay < 0 || delay > time.Minute || memory < 1<<20 || memory > 16<<30 {
		t.Errorf("got %v, %d bytes", delay, memory)
	}
}

// TestAnotherNodeTriesAgain: what has joined a fetch that was turned away asks for itself, where it is another node's.
func TestAnotherNodeTriesAgain(t *testing.T) {
	t.Parallel()
	inTime(t, Site{}, cacheable(600, "body"), func(b *timeBench) {
		b.protect(OverloadOptions{})
		w := httptest.NewRecorder()
		x := &Exchange{Request: from("192.0.2.1", http.MethodGet, "/a.ts"), Peer: true, w: w, site: b.edge.sites.Load().find("x")}
		if again := b.edge.settle(x, nil, nil, nil, errOverload, nil); !again || x.Outcome != Refused || w.Body.Len() > 0 {
			t.Errorf("again %v, outcome %v, %q", again, x.Outcome, w.Body)
		}
		x.Peer = false
		if again := b.edge.settle(x, nil, nil, nil, errOverload, nil); again || w.Code != http.StatusServiceUnavailable {
			t.Errorf("a client: again %v, status %d", again, w.Code)
		}
	})
}

// TestFetchesAheadCount: what is fetched ahead counts as long as it is fetched, and is turned away as any other miss.
func TestFetchesAheadCount(t *testing.T) {
	t.Parallel()
	origin := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/2.ts" {
			time.Sleep(time.Second)
		}
		say(w, []string{"Cache-Control", "max-age=600"}, "body")
	}
	inTime(t, Site{Reports: &Reports{Prefetch: true}}, origin, func(b *timeBench) {
		v := b.protect(OverloadOptions{Fetches: 10})
		ask := func(next string) {
			r := from("192.0.2.1", http.MethodGet, "/1.ts")
			r.Header.Set("CMCD-Request", `nor="`+next+`"`)
			b.edge.ServeHTTP(httptest.NewRecorder(), r)
			synctest.Wait()
		}
		ask("2.ts")
		ask("2.ts") // joins nobody
		site := b.edge.sites.Load().list[0].fetches
		if n, own := v.Stats().Fetches, site.Stats().Running; n != 1 || own != 1 {
			t.Errorf("%d fetches count, %d of the site's, while one runs", n, own)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		ask("2.ts") // is stored
		v.press(0.999)
		ask("3.ts")
		if n, own := v.Stats().Fetches, site.Stats().Running; n != 0 || own != 0 {
			t.Errorf("%d fetches count, %d of the site's, when all are over", n, own)
		}
		if n := b.origin.Load(); n != 2 {
			t.Errorf("the origin was asked %d times, want 2", n)
		}
	})
}

// stuckWriter is a client that takes nothing until it is let go.
type stuckWriter struct {
	*httptest.ResponseRecorder
	free <-chan struct{}
}

func (w stuckWriter) Write(p []byte) (int, error) {
	<-w.free
	return w.ResponseRecorder.Write(p)
}

// TestRefreshBehindWaitsForNobody: what comes in place of a stale response, and is for one request alone, is given up at once,
// and not when the client has taken the stale one.
func TestRefreshBehindWaitsForNobody(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	origin := func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) == 1 {
			say(w, []string{"Cache-Control", "max-age=1, stale-while-revalidate=600"}, "body")
			return
		}
		say(w, []string{"Cache-Control", "no-store"}, "for one alone")
	}
	inTime(t, Site{}, origin, func(b *timeBench) {
		v := b.protect(OverloadOptions{Fetches: 10})
		b.ask("/a.ts")
		time.Sleep(2 * time.Second)
		free := make(chan struct{})
		w := stuckWriter{httptest.NewRecorder(), free}
		var client sync.WaitGroup
		ctx, leave := context.WithCancel(b.t.Context())
		defer leave()
		client.Go(func() { b.edge.ServeHTTP(w, from("192.0.2.1", http.MethodGet, "/a.ts").WithContext(ctx)) })
		synctest.Wait()
		if n := v.Stats().Fetches; asked.Load() != 2 || n != 0 {
			t.Errorf("the origin was asked %d times, and %d fetches run while the client takes nothing", asked.Load(), n)
		}
		close(free)
		client.Wait()
		if w.Body.String() != "body" {
			t.Errorf("the client got %q", w.Body)
		}
	})
}
