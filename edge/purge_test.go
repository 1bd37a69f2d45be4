package edge

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"weir/cache"
	"weir/cache/tag"
	"weir/cluster/ring"
	"weir/edge/upstream"
	"weir/tools/proof"
)

// owned puts an owner between the edge and its origin and returns a path that the owner holds.
func (b *bench) owned(owner *httptest.Server) (path string) {
	b.t.Helper()
	peers, err := upstream.NewPeers(upstream.PeerOptions{
		TLS:      &tls.Config{InsecureSkipVerify: true},                              //nolint:gosec // the server is the test's
		Patience: time.Minute, ConnectTimeout: time.Minute, SignTimeout: time.Minute, // the machine may be busy
	})
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(peers.Close)
	nodes := ring.New([]ring.Node{{Name: "edge-1"}, {Name: "edge-2", Addr: owner.Listener.Addr().String()}})
	b.edge.options.Peers, b.edge.options.Tiers = peers, func() ring.Tiers { return ring.Tiers{Zone: nodes, Shield: nodes} }
	path = "/a"
	for first := ""; first != "edge-2"; {
		path += "a"
		for node := range nodes.Owners(cache.NewKey("127.0.0.1" + path).ID.Hash64()) {
			first = node.Name
			break
		}
	}
	return path
}

// purge purges as an operator would; BASE in an item is where the bench is.
func (b *bench) purge(kind tag.Kind, soft bool, items ...string) (removed int) {
	b.t.Helper()
	items = slices.Clone(items) // tests beside this one have them, too
	for i := range items {
		items[i] = strings.ReplaceAll(items[i], "BASE", b.url)
	}
	p, err := b.edge.Plan(kind, items, soft)
	if err != nil {
		b.t.Fatal(err)
	}
	removed, err = b.edge.Apply(p)
	if err != nil {
		b.t.Fatal(err)
	}
	return removed
}

// tagged is an origin whose responses say how often it was asked, and with which condition.
func tagged(control string, down *atomic.Bool) http.HandlerFunc {
	var n atomic.Int64
	return func(w http.ResponseWriter, r *http.Request) {
		if down.Load() {
			panic(http.ErrAbortHandler)
		}
		h := w.Header()
		h.Set("Cache-Control", control)
		h.Set("Vary", "X")
		h.Set("ETag", `"1"`)
		switch {
		case strings.HasPrefix(r.URL.Path, "/words"):
			h.Set("Surrogate-Key", "one title-1 two")
		case strings.HasPrefix(r.URL.Path, "/list"):
			h.Set("Cache-Tag", "one, title-1, two")
		case strings.HasPrefix(r.URL.Path, "/edge"):
			h.Set("Edge-Cache-Tag", "title-1")
		case strings.HasPrefix(r.URL.Path, "/group"):
			h.Set("Cache-Groups", `"title-1";x=1, "other"`)
		}
		if r.Header.Get("If-None-Match") != "" {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		fmt.Fprintf(w, "%s %d", r.Header.Get("X"), n.Add(1))
	}
}

func TestPurge(t *testing.T) {
	t.Parallel()
	all := []string{"/a", "/b", "/vod/1", "/vod/1?x=1", "/vod/2", "/words", "/list", "/edge", "/group"}
	tests := []struct {
		kind  tag.Kind
		items []string
		gone  []string
	}{
		{tag.URL, []string{"BASE/a"}, []string{"/a"}},
		{tag.URL, []string{"BASE/%61", "HTTPS://127.0.0.1:1/b"}, []string{"/a", "/b"}},
		{tag.URL, []string{"BASE/vod/1"}, []string{"/vod/1"}},
		{tag.URL, []string{"http://other.example/a"}, nil},
		{tag.Prefix, []string{"BASE/vod/"}, []string{"/vod/1", "/vod/1?x=1", "/vod/2"}},
		{tag.Prefix, []string{"BASE/vod/1"}, []string{"/vod/1", "/vod/1?x=1"}},
		{tag.Prefix, []string{"BASE/vod/1?"}, []string{"/vod/1?x=1"}},
		{tag.Prefix, []string{"BASE"}, all},
		{tag.Prefix, []string{"http://127.0.0.1.example/"}, nil},
		{tag.Tag, []string{"title-1"}, []string{"/words", "/list", "/edge", "/group"}},
		{tag.Tag, []string{"two", "other"}, []string{"/words", "/list", "/group"}},
		{tag.Tag, []string{"title"}, nil},
		{tag.All, nil, all},
	}
	for _, tt := range tests {
		for _, soft := range []bool{false, true} {
			t.Run(fmt.Sprint(tt.kind, tt.items, soft), func(t *testing.T) {
				t.Parallel()
				b := newBench(t, tagged("max-age=600", new(atomic.Bool)))
				get := func(path, x string) got { return b.do("GET", path, "X", x) }
				before := map[string]string{}
				for _, path := range all {
					for _, x := range []string{"p", "q"} { // variants
						before[path+x] = get(path, x).body
						b.want(path+" before", get(path, x), 200, "; hit", before[path+x])
					}
				}
				b.purge(tt.kind, soft, tt.items...)
				gone := " " + strings.Join(tt.gone, " ") + " "
				for _, path := range all {
					for _, x := range []string{"p", "q"} {
						g := get(path, x)
						switch {
						case !strings.Contains(gone, " "+path+" "):
							b.want(path+" is another one", g, 200, "; hit", before[path+x])
						case soft:
							b.want(path+" is stale", g, 200, "fwd=stale; fwd-status=304", before[path+x])
						case g.body == before[path+x] || strings.Contains(g.header.Get("Cache-Status"), "; hit"):
							t.Errorf("%s %s: got %q, %q, after the purge", path, x, g.body, g.header.Get("Cache-Status"))
						}
						// A hit, or the end of the fill before.
						if again := get(path, x); again.body != g.body || strings.Contains(again.header.Get("Cache-Status"), "fwd-status") {
							t.Errorf("%s %s is not stored anew: %q, %q", path, x, again.body, again.header.Get("Cache-Status"))
						}
					}
				}
			})
		}
	}
}

// TestHardPurgesEndAResponseAndSoftOnesItsLifetime: what RFC 5861 allows for stale responses counts from a soft purge on.
func TestHardPurgesEndAResponseAndSoftOnesItsLifetime(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, control string
		soft, down    bool
		status        int
		outcome, body string
	}{
		{"hard, stale-if-error", "max-age=600, stale-if-error=600", false, true, 502, "fwd=uri-miss", ""},
		{"soft, stale-if-error", "max-age=600, stale-if-error=600", true, true, 200, "; hit; ttl=", " 1"},
		{"soft, nothing allowed", "max-age=600", true, true, 502, "fwd=stale", ""},
		{"soft, must-revalidate", "max-age=600, must-revalidate, stale-if-error=600", true, true, 504, "fwd=stale", ""},
		{"hard, stale-while-revalidate", "max-age=600, stale-while-revalidate=600", false, false, 200, "fwd=uri-miss", " 2"},
		{"soft, stale-while-revalidate", "max-age=600, stale-while-revalidate=600", true, false, 200, "; hit; ttl=", " 1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			down := new(atomic.Bool)
			b := newBench(t, tagged(tt.control, down))
			b.do("GET", "/words")
			b.purge(tag.Tag, tt.soft, "one")
			down.Store(tt.down)
			g := b.do("GET", "/words")
			if g.status != http.StatusOK {
				g.body = ""
			}
			b.want("after the purge", g, tt.status, tt.outcome, tt.body)
			if status := g.header.Get("Cache-Status"); strings.Contains(status, "hit") && !strings.Contains(status, "ttl=0") && !strings.Contains(status, "ttl=-") {
				t.Errorf("a stale response says %s", status)
			}
			if removed := b.edge.Dropped(); (removed == 1) == tt.soft {
				t.Errorf("%d responses dropped", removed)
			}
		})
	}
}

// TestSoftPurgesDoNotLengthenALife: the windows of RFC 5861 begin at the end of the lifetime where that was earlier.
func TestSoftPurgesDoNotLengthenALife(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		table, err := tag.New(tag.Options{}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		stored, err := cache.New(cache.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer stored.Close()
		e := &Edge{options: Options{Purges: table}}
		turn := stored.Begin(cache.NewKey("h/a"), nil)
		head := cache.Head{Status: 200, Header: http.Header{}, Fetched: time.Now()}
		head.Freshness.Lifetime, head.Freshness.StaleIfError, head.Freshness.ResponseTime = 10*time.Second, 10*time.Second, time.Now()
		o, err := turn.Fill.Start(head, cache.NewKey("h/a"))
		if err != nil {
			t.Fatal(err)
		}
		defer o.Release()
		defer turn.Fill.Abort(io.EOF)
		check := func(url string, fresh, onError bool) {
			t.Helper()
			f, ok := e.reusable(&Exchange{url: url, site: &Site{}}, o, time.Now())
			if !ok || f.Fresh(time.Now()) != fresh || f.OnError(time.Now()) != onError {
				t.Errorf("got %v, fresh %v, on error %v", ok, f.Fresh(time.Now()), f.OnError(time.Now()))
			}
		}
		soften := func(url string, at time.Time) {
			t.Helper()
			if err := table.Purge(tag.Purge{Time: at, Kind: tag.URL, Items: []string{url}, Soft: true}); err != nil {
				t.Fatal(err)
			}
		}
		check("h/a", true, true)
		time.Sleep(4 * time.Second)
		soften("h/a", time.Now())
		check("h/a", false, true) // its life ends after 4 s, and after 14 s its use for errors
		soften("h/b", time.Now().Add(time.Hour))
		check("h/b", false, true) // the clock was set back: not in an hour
		time.Sleep(9 * time.Second)
		check("h/a", false, true)
		check("h/c", false, true)
		time.Sleep(2 * time.Second)
		check("h/a", false, false)
		check("h/c", false, true)
		time.Sleep(6 * time.Second)
		soften("h/a", time.Now())
		check("h/a", false, false)
		check("h/c", false, false)
	})
}

// TestAFillThatBeganBeforeAPurgeIsNeitherJoinedNorStored.
func TestAFillThatBeganBeforeAPurgeIsNeitherJoinedNorStored(t *testing.T) {
	t.Parallel()
	for _, purge := range []struct {
		kind  tag.Kind
		soft  bool
		items []string
	}{{tag.URL, false, []string{"BASE/a"}}, {tag.Prefix, false, []string{"BASE/"}}, {tag.Tag, false, []string{"t"}}, {tag.All, false, nil}, {tag.Tag, true, []string{"t"}}} {
		t.Run(fmt.Sprint(purge), func(t *testing.T) {
			t.Parallel()
			release, held := make(chan struct{}), make(chan struct{})
			var asked atomic.Int64
			b := newBench(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Cache-Control", "max-age=600")
				w.Header().Set("Surrogate-Key", "t")
				if asked.Add(1) > 1 {
					_, _ = io.WriteString(w, "after")
					return
				}
				_, _ = io.WriteString(w, "bef")
				_ = http.NewResponseController(w).Flush()
				close(held)
				<-release
				_, _ = io.WriteString(w, "ore")
			})
			first, begun := make(chan got, 1), make(chan struct{})
			go func() { first <- b.watch("GET", "/a", begun) }() // ends with the fill
			<-held
			<-begun
			b.purge(purge.kind, purge.soft, purge.items...)
			if g := b.do("GET", "/a"); g.body != "after" {
				t.Errorf("who asks after the purge: %q, %v", g.body, g.err)
			}
			close(release)
			if g := <-first; g.body != "before" {
				t.Errorf("who asked before the purge: %q, %v", g.body, g.err)
			}
			b.want("once both fills have ended", b.do("GET", "/a"), 200, "; hit", "after")
		})
	}
}

// TestAFillThatNobodyMeetsIsNotStored where it was purged while it ran.
func TestAFillThatNobodyMeetsIsNotStored(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	b := newBench(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "max-age=600")
		w.Header().Set("Surrogate-Key", "t")
		_, _ = io.WriteString(w, "bef")
		_ = http.NewResponseController(w).Flush()
		<-release
		_, _ = io.WriteString(w, "ore")
	})
	first, begun := make(chan got, 1), make(chan struct{})
	go func() { first <- b.watch("GET", "/a", begun) }() // ends with the fill
	<-begun
	b.purge(tag.Tag, false, "t")
	close(release)
	if g := <-first; g.body != "before" {
		t.Errorf("who asked before the purge: %q, %v", g.body, g.err)
	}
	if n := b.cache.Stats().Objects; n != 0 {
		t.Errorf("%d responses are stored", n)
	}
}

// TestAPurgeDuringARevalidation: what the origin confirms is not what it was asked for.
func TestAPurgeDuringARevalidation(t *testing.T) {
	t.Parallel()
	release, held := make(chan struct{}), make(chan struct{})
	var asked atomic.Int64
	b := newBench(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=0, stale-if-error=600")
		w.Header().Set("ETag", `"1"`)
		if r.Header.Get("If-None-Match") != "" {
			close(held)
			<-release
			w.WriteHeader(http.StatusNotModified)
			return
		}
		fmt.Fprint(w, asked.Add(1))
	})
	b.do("GET", "/a")
	second := make(chan got, 1)
	go func() { second <- b.do("GET", "/a") }() // ends with the fill
	<-held
	b.purge(tag.Prefix, false, "BASE/")
	close(release)
	if g := <-second; g.body != "2" {
		t.Errorf("got %q, %v, the purged response", g.body, g.err)
	}
}

// TestTagFieldsStayInside: clients do not get them, other nodes do.
func TestTagFieldsStayInside(t *testing.T) {
	t.Parallel()
	for _, show := range []bool{false, true} {
		for _, control := range []string{"max-age=600", "no-store"} {
			t.Run(fmt.Sprint(show, control), func(t *testing.T) {
				t.Parallel()
				b := newSiteBench(t, Site{ShowTags: show}, func(w http.ResponseWriter, _ *http.Request) {
					for _, name := range []string{"Surrogate-Key", "Cache-Tag", "Edge-Cache-Tag", "Cache-Groups"} {
						w.Header().Set(name, `"a"`)
					}
					w.Header().Set("Weir-Fetched-Ago", "5")
					w.Header().Set("Cache-Control", control)
				})
				for range 2 {
					g := b.do("GET", "/a")
					for _, name := range []string{"Surrogate-Key", "Cache-Tag", "Edge-Cache-Tag"} {
						if got := g.header.Get(name) != ""; got != show {
							t.Errorf("a client gets %s: %v", name, got)
						}
					}
					if g.header.Get("Cache-Groups") == "" || g.header.Get("Weir-Fetched-Ago") != "" {
						t.Errorf("a client gets %v", g.header)
					}
					w := httptest.NewRecorder()
					r := httptest.NewRequest(http.MethodGet, b.url+"/a", http.NoBody)
					r.RequestURI = "/a"
					b.edge.PeerHandler().ServeHTTP(w, r)
					if w.Header().Get("Cache-Tag") == "" || w.Header().Get("Weir-Fetched-Ago") == "" {
						t.Errorf("a peer gets %v", w.Header())
					}
				}
			})
		}
	}
}

// TestWhatAPeerFetchedBeforeAPurge is not taken from it; what it fetched since is.
func TestWhatAPeerFetchedBeforeAPurge(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		ago   string // what the owner says
		kind  tag.Kind
		items []string
		want  string
	}{
		{"an hour ago, tag", "3600000000000", tag.Tag, []string{"t"}, "origin"},
		{"an hour ago, all", "3600000000000", tag.All, nil, "origin"},
		{"an hour ago, another tag", "3600000000000", tag.Tag, []string{"u"}, "owner"},
		{"for this request", "0", tag.Tag, []string{"t"}, "owner"},
		{"it does not say", "", tag.Tag, []string{"t"}, "origin"},
		{"it does not say, another tag", "", tag.Tag, []string{"u"}, "owner"},
		{"nonsense", "-1", tag.Tag, []string{"t"}, "origin"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, cacheable(600, "origin"))
			owner := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Cache-Control", "max-age=600")
				w.Header().Set("Surrogate-Key", "t")
				if tt.ago != "" {
					w.Header().Set("Weir-Fetched-Ago", tt.ago)
				}
				_, _ = io.WriteString(w, "owner")
			}))
			owner.EnableHTTP2 = true
			owner.StartTLS()
			t.Cleanup(owner.Close)
			path := b.owned(owner)
			b.purge(tt.kind, false, tt.items...)
			b.want("after the purge", b.do("GET", path), 200, "fwd=uri-miss", tt.want)
			if tt.want == "owner" {
				b.do("GET", path) // what an owner has is kept on the second request
			}
			b.want("again", b.do("GET", path), 200, "; hit", tt.want)
			b.purge(tag.Tag, false, "t")
			if g := b.do("GET", path); tt.want == "owner" && strings.Contains(g.header.Get("Cache-Status"), "; hit") {
				t.Error("the tags of the owner's response were lost")
			}
		})
	}
}

// TestWhatAPeerIsTold: 0 only where its request made this node ask the origin.
func TestWhatAPeerIsTold(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for _, tt := range []struct {
		outcome Outcome
		source  upstream.Source
		fetched time.Time
		want    string
	}{
		{Miss, upstream.FromOrigin, now.Add(-5 * time.Second), "0"},
		{Pass, upstream.FromOrigin, now.Add(-5 * time.Second), "0"},
		{Miss, upstream.FromPeer, now.Add(-5 * time.Second), "5000000000"}, // the former owner had it
		{Pass, upstream.FromPeer, now.Add(-5 * time.Second), "5000000000"},
		{Hit, upstream.FromSelf, now.Add(-5 * time.Second), "5000000000"},
		{Collapsed, upstream.FromOrigin, now.Add(-5 * time.Second), "5000000000"},
		{Hit, upstream.FromSelf, time.Time{}, ""},
		{Miss, upstream.FromPeer, time.Time{}, ""},
		{Hit, upstream.FromSelf, now.Add(5 * time.Second), ""}, // the clock was set back
	} {
		h := http.Header{}
		(&Exchange{Outcome: tt.outcome, Source: tt.source}).sayFetched(h, tt.fetched, now)
		if got := h.Get(fetchedAgo); got != tt.want {
			t.Errorf("%v from %v, fetched %v ago: says %q, want %q", tt.outcome, tt.source, now.Sub(tt.fetched), got, tt.want)
		}
	}
}

// TestCacheGroups is RFC 9875: a response to an unsafe method ends the groups that it lists, of its own host.
func TestCacheGroups(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=600")
		if r.URL.Path != "/other" {
			w.Header().Set("Cache-Groups", `"title", "all"`)
		}
		if list := r.Header.Get("End"); list != "" {
			w.Header().Set("Cache-Group-Invalidation", list)
		}
		if r.Header.Get("Fail") != "" {
			w.WriteHeader(http.StatusConflict)
		}
	})
	for _, path := range []string{"/a", "/b", "/other"} {
		b.do("GET", path)
	}
	for _, tt := range []struct {
		name, method string
		header       []string
		gone         bool
	}{
		{"a safe method", "OPTIONS", []string{"End", `"title"`}, false},
		{"an error", "POST", []string{"End", `"title"`, "Fail", "1"}, false},
		{"another group", "POST", []string{"End", `"titles"`}, false},
		{"malformed", "POST", []string{"End", `"title", x`}, false},
		{"another host", "POST", []string{"End", `"title"`, "Host", "other.example"}, false},
		{"both", "POST", []string{"End", `"x", "title";y`}, true},
		{"once more", "DELETE", []string{"End", `"all"`}, true},
	} {
		r, err := http.NewRequestWithContext(t.Context(), tt.method, b.url+"/write", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(tt.header); i += 2 {
			if r.Header.Set(tt.header[i], tt.header[i+1]); tt.header[i] == "Host" {
				r.Host = tt.header[i+1]
			}
		}
		resp, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		for _, path := range []string{"/a", "/b"} {
			if hit := strings.Contains(b.do("GET", path).header.Get("Cache-Status"), "; hit"); hit == tt.gone {
				t.Errorf("%s: %s is a hit: %v", tt.name, path, hit)
			}
		}
		b.want(tt.name, b.do("GET", "/other"), 200, "; hit", "")
	}
}

func TestPlan(t *testing.T) {
	t.Parallel()
	b := newBench(t, cacheable(1, ""))
	for _, tt := range []struct {
		kind  tag.Kind
		items []string
		want  string // canonical, or what the error says
		index int    // of the wrong item; -1: none
	}{
		{tag.URL, []string{"http://H.example:80/%61?b=c&CMCD=x"}, "h.example/a?b=c", -1},
		{tag.URL, []string{"https://h.example"}, "h.example/", -1},
		{tag.URL, []string{"https://h.example?a"}, "h.example/?a", -1},
		{tag.Prefix, []string{"https://[::1]:443/a%2fb"}, "[::1]/a%2Fb", -1},
		{tag.Tag, []string{"a b"}, "a b", -1},
		{tag.URL, nil, "nothing", -2},
		{tag.Tag, make([]string, 1001), "more than 1000", -2},
		{tag.URL, []string{"http://a/", "/b"}, "http://", 1},
		{tag.URL, []string{"ftp://a/b"}, "http://", 0},
		{tag.URL, []string{"http:///b"}, "host", 0},
		{tag.URL, []string{"http://u@a/b"}, "host", 0},
		{tag.Prefix, []string{"http://a/../b"}, "dot", 0},
		{tag.Prefix, []string{"http://a/b%4"}, "percent-encoding", 0},
		{tag.URL, []string{"http://a/b#c"}, "byte", 0},
		{tag.Tag, []string{""}, "tag", 0},
		{tag.Tag, []string{"a\nb"}, "tag", 0},
	} {
		p, err := b.edge.Plan(tt.kind, tt.items, false)
		var wrong *ItemError
		switch {
		case tt.index == -1:
			if err != nil || p.Items[0] != tt.want || p.ID == "" || p.Time.IsZero() {
				t.Errorf("%s %q: got %+v, %v, want %q", tt.kind, tt.items, p, err, tt.want)
			}
		case err == nil || !strings.Contains(err.Error(), tt.want):
			t.Errorf("%s %q: got %v, want %q", tt.kind, tt.items, err, tt.want)
		case errors.As(err, &wrong) != (tt.index >= 0) || wrong != nil && wrong.Index != tt.index:
			t.Errorf("%s %q: got %v, want it about item %d", tt.kind, tt.items, err, tt.index)
		}
	}
}

// TestStrangersDoNotPurge: the method of that name is for nobody.
func TestStrangersDoNotPurge(t *testing.T) {
	t.Parallel()
	b := newBench(t, cacheable(600, "x"))
	b.do("GET", "/a")
	for _, method := range []string{"PURGE", "BAN"} {
		if g := b.do(method, "/a"); g.status != http.StatusMethodNotAllowed {
			t.Errorf("%s: got %d", method, g.status)
		}
		b.want("after "+method, b.do("GET", "/a"), 200, "; hit", "x")
	}
}

// TestClockSetBackAfterAPurge: a clock that was a day ahead when the node started, and has been set right, lets what is
// fetched after a purge be kept, and the next purge covers it; a peer is told how old it is.
func TestClockSetBackAfterAPurge(t *testing.T) {
	t.Parallel()
	for _, by := range []time.Duration{24 * time.Hour, -24 * time.Hour} {
		b := newBench(t, tagged("max-age=600", new(atomic.Bool)))
		started := proof.Stepped(time.Now(), by)
		table, err := tag.New(tag.Options{}, started)
		if err != nil {
			t.Fatal(err)
		}
		if err := table.Purge(tag.Purge{Kind: tag.Tag, Items: []string{"title-1"}, Time: table.Stamp(started)}); err != nil {
			t.Fatal(err)
		}
		b.edge.options.Purges = table
		asked := func() int64 {
			before := b.origin.Load()
			b.do("GET", "/words")
			return b.origin.Load() - before
		}
		asked()
		if n := asked(); n != 0 {
			t.Errorf("set by %v: what was fetched after the purge of before is not kept", -by)
		}
		for _, soft := range []bool{false, true} {
			b.purge(tag.Tag, soft, "title-1")
			if first, second := asked(), asked(); first != 1 || second != 0 {
				t.Errorf("set by %v, soft %v: the origin is asked %d and %d times, want once", -by, soft, first, second)
			}
		}
	}
}
