package edge

import (
	"net/http"
	"net/url"
	"sync"
	"time"

	"weir/cache"
	"weir/cache/freshness"
)

// Why tells what this node makes of a GET of a URL without special request
// fields, and what it made of those before.
type Why struct {
	Key    string   // canonical, as stored under
	Hosts  []string // of the site that serves it; nil: none does, all else is empty
	State  string   // hit, stale, purged or miss, as a request would find it now
	Stored *Stored  // nil: nothing
	Ask    []Ask    // who is asked on a miss, in turn; the last is the origin
	Past   []Past   // the last ones that were no hits, newest first
}

// Ask is an upstream that a miss would ask.
type Ask struct {
	Node string // "": the origin
	As   string // owner, shield, shield of REGION, former owner (for what it has stored), origin
}

// String names both.
func (a Ask) String() string {
	if a.Node == "" {
		return "the " + a.As
	}
	return a.Node + " (" + a.As + ")"
}

// Stored is a response that a node has.
type Stored struct {
	Status    int
	Header    http.Header // as received; not to be changed
	Bytes     int64       // of the body; -1 while that grows without a known length
	Growing   bool
	Slices    int64     // that a large body is kept in; 0: none
	Present   int64     // of them, those that are stored
	Fetched   time.Time // when the fetch from the origin began; zero: not known
	Age       time.Duration
	Lifetime  time.Duration // from the time of Age 0
	Vary      []string      // request fields that select it, as they were asked for
	Freshness freshness.Freshness
}

// Past is a request that was not answered by a fresh stored response.
type Past struct {
	Time     time.Time
	Outcome  Outcome
	Detail   string // our member of Cache-Status
	Reason   string // why refused, passed or failed, "" else
	Source   string
	Status   int
	Duration time.Duration
}

const (
	historySize = 4096 // exchanges: about 600 KiB
	historyShow = 8
)

// history remembers the last exchanges that were no hits, nor waited for another one.
// Safe for concurrent use.
type history struct {
	mu   sync.Mutex // guards the fields below
	ring []remembered
	next int
}

type remembered struct {
	id   cache.ID
	past Past
}

func (h *history) add(x *Exchange) {
	past := Past{
		Time: x.Start, Outcome: x.Outcome, Detail: x.CacheStatus(), Reason: x.Reason, Source: string(x.Source), Status: x.Status, Duration: x.Duration,
	}
	id := x.primary
	if id == (cache.ID{}) { // its key was not looked up
		id = cache.NewKey(x.Target.KeyText()).ID
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.ring) < historySize {
		h.ring = append(h.ring, remembered{id, past})
		return
	}
	h.ring[h.next] = remembered{id, past}
	h.next = (h.next + 1) % historySize
}

// of returns the newest of a key.
func (h *history) of(id cache.ID) (list []Past) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range h.ring {
		at := (h.next + len(h.ring) - 1 - i) % len(h.ring)
		if h.ring[at].id == id {
			if list = append(list, h.ring[at].past); len(list) == historyShow {
				break
			}
		}
	}
	return list
}

// Why explains an absolute URL. The error says what is wrong with it. It costs a
// lookup, which counts as a use of what is stored.
func (e *Edge) Why(text string) (*Why, error) {
	target, err := parseURL(text)
	if err != nil {
		return nil, err
	}
	u := &url.URL{Path: target.Path}
	x := &Exchange{Request: &http.Request{Method: http.MethodGet, Header: http.Header{}, URL: u}, Target: target, site: e.sites.Load().find(target.Host)}
	w := &Why{Key: target.KeyText()}
	if x.site == nil {
		w.State = "misdirected"
		return w, nil
	}
	w.Hosts = x.site.Hosts
	e.lookup(x)
	w.Past = e.history.of(x.primary)
	for _, c := range e.plan(&flight{key: x.key, place: x.key.ID, target: target, site: x.site, hops: hopsClient}, "").candidates {
		w.Ask = append(w.Ask, e.askOf(c, x.site))
	}
	object := e.find(x)
	if object == nil {
		w.State = "miss"
		return w, nil
	}
	defer object.Release()
	now := time.Now()
	lasts, ok := e.reusable(x, object, now)
	switch {
	case !ok:
		w.State = "purged"
	case lasts.Fresh(now):
		w.State = "hit"
	default:
		w.State = "stale"
	}
	w.Stored = e.stored(x, object, lasts, now)
	return w, nil
}

func (e *Edge) askOf(c candidate, site *Site) Ask {
	switch {
	case c.node == nil:
		return Ask{"", "origin"}
	case c.stored:
		return Ask{c.node.Name, "former owner"}
	case c.hops == hopsHome:
		return Ask{c.node.Name, "shield of " + site.Home}
	case c.hops == hopsShield:
		if t := e.options.Tiers(); t.Zone != t.Shield {
			return Ask{c.node.Name, "shield"}
		}
	}
	return Ask{c.node.Name, "owner"}
}

func (e *Edge) stored(x *Exchange, o *cache.Object, lasts freshness.Freshness, now time.Time) *Stored {
	head := o.Head()
	s := &Stored{
		Status: head.Status, Header: head.Header, Bytes: o.Size(), Growing: !o.Complete(),
		Age: lasts.Age(now), Lifetime: lasts.Lifetime, Freshness: lasts,
	}
	if !head.Fetched.IsZero() {
		s.Fetched = now.Add(-e.options.Purges.Time(now).Sub(head.Fetched))
	}
	s.Vary, _ = varyNames(head.Header)
	if head.Sliced > 0 {
		v := versionOf(x, o)
		s.Bytes, s.Slices = v.size, v.slices()
		for n := range s.Slices {
			if e.options.Cache.Has(v.slice(n)) {
				s.Present++
			}
		}
	}
	return s
}
