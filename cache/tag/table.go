package tag

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Defaults of [Options]. A name costs 48 to 96 bytes of memory, and 96 more once its kind has been folded.
const (
	DefaultURLs     = 1 << 18
	DefaultPrefixes = 1 << 14
	DefaultTags     = 1 << 18
)

const leastNames = 4 // of a kind: a quarter of them is folded

// Options of a [Table]. The zero value keeps purges in memory only.
type Options struct {
	File                 string       // where purges are kept; its directory exists; "": nowhere
	URLs, Prefixes, Tags int          // names to tell apart, at least 4; 0: the defaults
	Log                  *slog.Logger // nil: discard
	Shared               bool         // another process still has the file, see Share
}

// Table remembers purges. Safe for concurrent use.
type Table struct {
	began time.Time // by the machine's clock, with its monotonic reading
	start int64     // the table's clock at that time, see Time

	// newest is the time of the latest purge of all: what was fetched later is not looked up.
	newest atomic.Int64
	all    generation
	reach  atomic.Int64 // what the file says that the table's clock may reach

	mu                   sync.Mutex // guards last and changes of the fields below; Check reads them without
	last                 int64      // latest time given or seen
	ahead                bool       // of the clock of the process that shares the file, since New
	urls, prefixes, tags generations
	lengths              atomic.Pointer[[]int] // of the prefixes, each once, ascending

	told    atomic.Pointer[func() error] // see Share
	counts  [4]atomic.Int64              // purges by kind, as in Kinds
	journal *journal                     // nil without a file
}

// New reads the file and starts nothing. now is when its clock begins, see Time. An
// error means that the file cannot be used at all.
func New(o Options, now time.Time) (*Table, error) {
	t := &Table{began: now, start: now.UnixNano(), ahead: o.Shared}
	for _, kind := range []struct {
		of          *generations
		limit, most int
		name        string
	}{{&t.urls, o.URLs, DefaultURLs, "URLs"}, {&t.prefixes, o.Prefixes, DefaultPrefixes, "Prefixes"}, {&t.tags, o.Tags, DefaultTags, "Tags"}} {
		if kind.limit == 0 {
			kind.limit = kind.most
		}
		if kind.limit < leastNames {
			return nil, fmt.Errorf("tag: Options.%s of %d is below %d", kind.name, kind.limit, leastNames)
		}
		kind.of.limit = kind.limit
	}
	if o.File == "" {
		return t, nil
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	var err error
	if t.journal, err = openJournal(o.File, t, now, o.Log, o.Shared); err != nil {
		return nil, err
	}
	t.start = max(t.start, t.last+1, t.reach.Load())
	return t, nil
}

// Close closes the file. What is purged later is not kept.
func (t *Table) Close() error {
	if t.journal == nil {
		return nil
	}
	return t.journal.close()
}

// Stamp returns the time of a purge that is made now, by the table's clock: later than every other purge, and not before
// any fetch.
func (t *Table) Stamp(now time.Time) time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last = max(t.time(now), t.last+1)
	return time.Unix(0, t.last).UTC()
}

// Purge applies p; once it returns, p also holds after a crash of the machine. On an error p holds until the process
// ends, unless p is malformed; one of Share's told is about another process alone.
func (t *Table) Purge(p Purge) error { return t.apply(p, true) }

// Invalidate is Purge without the wait for the disk: after a crash of the machine, not of the process, p may be lost.
func (t *Table) Invalidate(p Purge) error { return t.apply(p, false) }

func (t *Table) apply(p Purge, durable bool) error {
	entries, err := entriesOf(p)
	if err != nil {
		return err
	}
	t.mu.Lock()
	for _, e := range entries {
		t.enterLocked(e)
	}
	t.mu.Unlock()
	t.counts[slices.Index(Kinds(), p.Kind)].Add(1)
	if t.journal == nil {
		return nil
	}
	err = t.journal.append(entries, t, durable)
	if told := t.told.Load(); told != nil {
		err = cmp.Or(err, (*told)())
	}
	return err
}

// entriesOf takes a purge apart.
func entriesOf(p Purge) ([]entry, error) {
	at := p.Time.UnixNano()
	if at <= 0 {
		return nil, errors.New("tag: a purge needs a time after 1970")
	}
	var t times
	if t.hard = at; p.Soft {
		t = times{soft: at}
	}
	if p.Kind == All {
		return []entry{{kind: All, times: t}}, nil
	}
	var of seed
	switch p.Kind {
	case URL:
		of = urlSeed
	case Prefix:
		of = prefixSeed
	case Tag:
		of = tagSeed
	default:
		return nil, fmt.Errorf("tag: a purge of the kind %q", p.Kind)
	}
	entries := make([]entry, 0, len(p.Items))
	for _, item := range p.Items {
		if item == "" || len(item) > maxLength {
			return nil, fmt.Errorf("tag: a purge by %s of %d bytes", p.Kind, len(item))
		}
		e := entry{kind: p.Kind, hash: of.hash(item), times: t}
		if p.Kind == Prefix {
			e.length = len(item)
		}
		entries = append(entries, e)
	}
	return entries, nil
}

func (t *Table) enterLocked(e entry) {
	if e.isReached() {
		for known := t.reach.Load(); known < e.hard && !t.reach.CompareAndSwap(known, e.hard); {
			known = t.reach.Load()
		}
		return
	}
	switch e.kind {
	case All:
		t.all.raise(e.times)
	case Prefix:
		if e.length > 0 {
			t.addLengthLocked(e.length)
		}
		e.enter(&t.prefixes)
	case URL:
		e.enter(&t.urls)
	case Tag:
		e.enter(&t.tags)
	}
	t.last = max(t.last, e.latest())
	if at := e.latest(); at > t.newest.Load() {
		t.newest.Store(at)
	}
}

// addLengthLocked notes how long a prefix is; what is folded keeps its length.
func (t *Table) addLengthLocked(n int) {
	var lengths []int
	if known := t.lengths.Load(); known != nil {
		lengths = *known
	}
	i, ok := slices.BinarySearch(lengths, n)
	if ok {
		return
	}
	lengths = slices.Insert(slices.Clone(lengths), i, n)
	t.lengths.Store(&lengths)
}

// Verdict is what purges mean for one response. The zero value: nothing.
type Verdict struct {
	Hard bool      // it is not to be used any more, for nothing
	Soft time.Time // since when it counts as stale, by the process's clock; zero: it does not
}

// Check holds a response against the purges: the canonical URL that it answers, its tags as Set makes them, and when
// the fetch from the origin began, by the table's clock. The zero time means that nobody knows: every purge covers it.
//
// Hot path: one atomic load for what was fetched after the last purge. Else two passes of hashing over the URL at most,
// and a lookup for it, for each length of a prefix and for each tag. No allocation, no lock.
func (t *Table) Check(url string, tags []uint64, fetched, now time.Time) Verdict {
	newest := t.newest.Load()
	if newest == 0 {
		return Verdict{}
	}
	at := int64(0)
	if !fetched.IsZero() {
		at = fetched.UnixNano()
	}
	if at > t.time(now) {
		at = 0
	}
	if at > newest {
		return Verdict{}
	}
	found := t.all.load().with(t.byURL(url, at))
	if t.tags.covers(at) {
		for _, hash := range tags {
			if hash == every {
				found = found.with(t.tags.newest.load())
			}
			found = found.with(t.tags.lookup(hash))
		}
	}
	var v Verdict
	v.Hard = found.hard != 0 && found.hard >= at
	if found.soft != 0 && found.soft >= at {
		v.Soft = t.machine(found.soft)
	}
	return v
}

// byURL looks the URL and its prefixes up in one pass.
func (t *Table) byURL(url string, at int64) (found times) {
	prefixes := t.prefixes.covers(at)
	if !prefixes && !t.urls.covers(at) {
		return found
	}
	var lengths []int
	if p := t.lengths.Load(); p != nil && prefixes {
		lengths = *p
	}
	h := uint64(fnvBasis)
	for i := range len(url) {
		h = (h ^ uint64(url[i])) * fnvPrime
		if len(lengths) > 0 && lengths[0] == i+1 {
			found = found.with(t.prefixes.lookup(prefixSeed.finish(h)))
			lengths = lengths[1:]
		}
	}
	return found.with(t.urls.lookup(urlSeed.finish(h)))
}

// Stats are counts since New.
type Stats struct {
	Purges map[Kind]int64 // applied, by kind
	Names  int            // told apart now
	Folded int            // that are not told apart any more
}

// Stats returns a snapshot.
func (t *Table) Stats() Stats {
	s := Stats{Purges: map[Kind]int64{}}
	for i, kind := range Kinds() {
		s.Purges[kind] = t.counts[i].Load()
	}
	for _, g := range [...]*generations{&t.urls, &t.prefixes, &t.tags} {
		s.Names += int(g.used.Load())
		s.Folded += int(g.folded.Load())
	}
	return s
}
