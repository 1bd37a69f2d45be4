package proof

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Entry is one request in a History.
type Entry struct {
	Start, Head, End time.Time
	As, Node         string
	Method, URL      string
	Range            string
	Status           int
	Version          uint64 // 0 = not known
	Bytes            int64
	Age              int64 // seconds, -1 = none
	Outcome          string
	Body             BodyState
}

func (r Result) entry() Entry {
	return Entry{
		Start: r.Start, Head: r.Start.Add(r.Head), End: r.Start.Add(r.Total),
		As: r.As, Node: r.Node, Method: r.Method, URL: r.URL, Range: r.Range, Status: r.Status,
		Version: r.Version, Bytes: r.Bytes, Age: r.Age, Outcome: r.Outcome(), Body: r.Body,
	}
}

// String is the line of a history: the fields in their order, separated by
// spaces, times in UTC with nanoseconds, texts escaped as in a URL query, an
// absent text as "-".
func (e Entry) String() string {
	stamp := func(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }
	return strings.Join([]string{
		stamp(e.Start), stamp(e.Head), stamp(e.End), word(e.As), word(e.Node), word(e.Method), word(e.URL), word(e.Range),
		strconv.Itoa(e.Status), strconv.FormatUint(e.Version, 10), strconv.FormatInt(e.Bytes, 10), strconv.FormatInt(e.Age, 10),
		word(e.Outcome), word(string(e.Body)),
	}, " ")
}

func word(s string) string {
	switch s {
	case "":
		return "-"
	case "-":
		return "%2D"
	default:
		return url.QueryEscape(s)
	}
}

// ParseEntry reads what Entry.String wrote.
func ParseEntry(line string) (Entry, error) {
	f := strings.Split(line, " ")
	if len(f) != 14 {
		return Entry{}, fmt.Errorf("history line has %d fields, want 14: %q", len(f), line)
	}
	var e Entry
	var errs error
	for i, t := range []*time.Time{&e.Start, &e.Head, &e.End} {
		var err error
		*t, err = time.Parse(time.RFC3339Nano, f[i])
		errs = errors.Join(errs, err)
	}
	body := ""
	for _, text := range []struct {
		at int
		to *string
	}{{3, &e.As}, {4, &e.Node}, {5, &e.Method}, {6, &e.URL}, {7, &e.Range}, {12, &e.Outcome}, {13, &body}} {
		if f[text.at] == "-" {
			continue
		}
		var err error
		*text.to, err = url.QueryUnescape(f[text.at])
		errs = errors.Join(errs, err)
	}
	e.Body = BodyState(body)
	status, err := strconv.Atoi(f[8])
	e.Status = status
	errs = errors.Join(errs, err)
	e.Version, err = strconv.ParseUint(f[9], 10, 64)
	errs = errors.Join(errs, err)
	e.Bytes, err = strconv.ParseInt(f[10], 10, 64)
	errs = errors.Join(errs, err)
	e.Age, err = strconv.ParseInt(f[11], 10, 64)
	if errs = errors.Join(errs, err); errs != nil {
		return Entry{}, fmt.Errorf("history line %q: %w", line, errs)
	}
	return e, nil
}

// History holds what clients got, for checks after the fact. The zero value
// is empty and ready; it grows without bound, by about 300 bytes a request. All
// methods may be called at the same time.
type History struct {
	mu      sync.Mutex // guards the fields below
	entries []Entry
	purges  []Purge
}

// Purge is an acknowledged purge: from At on no version older than the one
// current then may be served for URLs that match Pattern (as Oracle.SetRule).
type Purge struct {
	Pattern string
	At      time.Time // when the acknowledgement came
}

// Add puts an entry in.
func (h *History) Add(e Entry) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.entries = append(h.entries, e)
}

// Purged puts an acknowledged purge in.
func (h *History) Purged(p Purge) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.purges = append(h.purges, p)
}

// Entries returns a copy, in the order the requests ended.
func (h *History) Entries() []Entry {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]Entry(nil), h.entries...)
}

// Write prints one line per entry.
func (h *History) Write(w io.Writer) error {
	out := bufio.NewWriter(w)
	for _, e := range h.Entries() {
		if _, err := fmt.Fprintln(out, e); err != nil {
			return fmt.Errorf("write history: %w", err)
		}
	}
	return out.Flush()
}

// ReadHistory reads what Write wrote.
func ReadHistory(r io.Reader) (*History, error) {
	h := &History{}
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		e, err := ParseEntry(lines.Text())
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		h.Add(e)
	}
	return h, lines.Err()
}

// CheckStaleness compares every entry with the oracle: a response that carries
// version v is legal only if v was current at some time between bound before
// the request started and the response's end; after a purge of the URL, only if it
// is not older than the purge. truth names the host whose body is expected
// for a URL's host; nil = the same. The error joins one per wrong entry.
func (h *History) CheckStaleness(oracle *Oracle, bound time.Duration, truth func(host string) string) error {
	h.mu.Lock()
	purges := append([]Purge(nil), h.purges...)
	h.mu.Unlock()
	var errs error
	for _, e := range h.Entries() {
		u, err := url.Parse(e.URL)
		if e.Version == 0 || err != nil {
			continue // no version was seen
		}
		host := u.Host
		if truth != nil {
			host = truth(host)
		}
		path := Canonical(u.EscapedPath())
		if u.RawQuery != "" {
			path += "?" + u.RawQuery
		}
		oldest := oracle.Version(host, path, e.Start.Add(-bound))
		newest := oracle.Version(host, path, e.End)
		for _, p := range purges {
			if !p.At.After(e.Start) && matches(p.Pattern, host, path) {
				oldest = max(oldest, oracle.Version(host, path, p.At))
			}
		}
		if e.Version < oldest || e.Version > newest {
			errs = errors.Join(errs, fmt.Errorf("%w: version %d where %d to %d are legal: %s", ErrStale, e.Version, oldest, newest, e))
		}
	}
	return errs
}
