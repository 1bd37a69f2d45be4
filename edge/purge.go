package edge

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"weir/cache"
	"weir/cache/freshness"
	"weir/cache/tag"
	"weir/edge/field"
)

// maxItems bounds one purge: more are several.
const maxItems = 1000

// Errors of [Edge.Plan]; each is the caller's fault.
var (
	errPurgeNothing = errors.New("edge: nothing is named")
	errPurgeItems   = fmt.Errorf("edge: more than %d items", maxItems)
	errPurgeURL     = errors.New("edge: it does not begin with http:// or https:// and a host")
	errPurgeSite    = errors.New("edge: no site here serves this host")
	errPurgeTag     = errors.New("edge: no field can carry such a tag")
)

// ItemError tells which item of a purge is wrong, and how.
type ItemError struct {
	Index int // in the list
	Item  string
	Err   error
}

func (e *ItemError) Error() string { return fmt.Sprintf("purge %q: %v", e.Item, e.Err) }

// Unwrap returns what is wrong.
func (e *ItemError) Unwrap() error { return e.Err }

// Plan makes a purge of now: absolute URLs and beginnings of such become canonical, as they are in keys. Whoever has it
// hands it to [Edge.Apply], here and on other nodes. The error is an *ItemError where one item is wrong.
func (e *Edge) Plan(kind tag.Kind, items []string, soft bool) (tag.Purge, error) {
	switch {
	case kind != tag.All && len(items) == 0:
		return tag.Purge{}, errPurgeNothing
	case len(items) > maxItems:
		return tag.Purge{}, errPurgeItems
	}
	canonical := make([]string, 0, len(items))
	for i, item := range items {
		text, err := e.canonicalItem(kind, item)
		if err != nil {
			return tag.Purge{}, &ItemError{Index: i, Item: item, Err: err}
		}
		canonical = append(canonical, text)
	}
	return e.stamped(kind, canonical, soft), nil
}

// stamped makes a purge that no other one has the ID of: names are unique in a cluster, stamps on a node.
func (e *Edge) stamped(kind tag.Kind, items []string, soft bool) tag.Purge {
	at := e.options.Purges.Stamp(time.Now())
	return tag.Purge{ID: e.options.Name + "-" + strconv.FormatInt(at.UnixNano(), 36), Time: at, Kind: kind, Items: items, Soft: soft}
}

func (e *Edge) canonicalItem(kind tag.Kind, item string) (string, error) {
	if kind == tag.Tag {
		if item == "" || strings.ContainsAny(item, "\r\n\x00") || strings.Trim(item, " \t") != item {
			return "", errPurgeTag
		}
		return item, nil
	}
	target, err := parseURL(item)
	if err != nil {
		return "", err
	}
	if e.sites.Load().find(target.Host) == nil {
		return "", errPurgeSite
	}
	text := target.KeyText()
	if kind == tag.Prefix && target.Query == "" && strings.HasSuffix(item, "?") {
		text += "?" // every query of that path, and no longer path
	}
	return text, nil
}

// parseURL brings an absolute URL to canonical form; one without a path is that of the root.
func parseURL(text string) (Target, error) {
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok || !strings.EqualFold(scheme, "http") && !strings.EqualFold(scheme, "https") {
		return Target{}, errPurgeURL
	}
	host, target := rest, "/"
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		if host, target = rest[:i], rest[i:]; target[0] == '?' {
			target = "/" + target
		}
	}
	return ParseTarget(host, target)
}

// Apply obeys purges, made here or on another node, and returns how many stored responses it removed at once: those
// whose key they name. The rest is dropped when it is met. Once it returns, nothing that they cover is served to whoever
// asks from now on, also after a restart; an error means that the last could not be made sure of.
func (e *Edge) Apply(purges ...tag.Purge) (removed int, err error) {
	for i, p := range purges {
		apply := e.options.Purges.Invalidate
		if i == len(purges)-1 {
			apply = e.options.Purges.Purge // waits until the others are on the disk, too
		}
		if failed := apply(p); failed != nil {
			err = errors.Join(err, fmt.Errorf("purge %s: %w", p.ID, failed))
		}
		removed += e.remove(p)
	}
	return removed, err
}

// remove frees what a hard purge names by key. A fill that runs for it is not stored.
func (e *Edge) remove(p tag.Purge) (removed int) {
	if p.Soft || p.Kind != tag.URL {
		return 0
	}
	for _, url := range p.Items {
		if e.options.Cache.Remove(cache.NewKey(url)) {
			removed++
		}
	}
	e.dropped.Add(int64(removed))
	return removed
}

// Dropped returns how many stored responses were removed because of purges, by name or when they were met.
func (e *Edge) Dropped() int64 { return e.dropped.Load() }

// drop frees a response that a purge has ended.
func (e *Edge) drop(o *cache.Object) {
	if e.options.Cache.Evict(o) {
		e.dropped.Add(1)
	}
}

// verdict is what purges mean for a response of the exchange's target.
//
// Hot path: see tag.Table.Check.
func (e *Edge) verdict(x *Exchange, o *cache.Object, now time.Time) tag.Verdict {
	head := o.Head()
	return e.options.Purges.Check(x.url, head.Tags, head.Fetched, now)
}

// outdated tells whether a response was fetched before a purge that covers it, or is doubtful.
func (e *Edge) outdated(x *Exchange, o *cache.Object) bool {
	now := time.Now()
	return e.verdict(x, o, now) != tag.Verdict{} || e.doubtful(x.site, o.Head().Fetched, now)
}

// doubtful tells whether a response of a strict site may have been purged without this node's having heard of it. One
// from the future of the purges' clock may have been fetched at any time.
//
// Hot path: for strict sites what Options.Doubt costs, for others nothing.
func (e *Edge) doubtful(site *Site, fetched, now time.Time) bool {
	if !site.Strict || e.options.Doubt == nil {
		return false
	}
	doubt, clock := e.options.Doubt(now), e.options.Purges
	return !doubt.IsZero() && (fetched.Before(clock.Time(doubt)) || fetched.After(clock.Time(now)))
}

// detailDoubt is why a response was validated that is not stale, in Cache-Status.
const detailDoubt = "no-majority"

// reusable returns how long a stored response may be used; false after a hard purge. A soft one ends its lifetime, so
// that what RFC 5861 allows for stale responses begins there. One that is doubtful is to be validated before each use.
func (e *Edge) reusable(x *Exchange, o *cache.Object, now time.Time) (freshness.Freshness, bool) {
	fresh, v := o.Head().Freshness, e.verdict(x, o, now)
	if !v.Soft.IsZero() {
		since := v.Soft
		if since.After(now) { // of another process that shares the directory
			since = now
		}
		fresh.Lifetime = min(fresh.Lifetime, fresh.Age(since))
	}
	fresh.NoCache = fresh.NoCache || e.doubtful(x.site, o.Head().Fetched, now)
	return fresh, !v.Hard
}

// ended tells whether a hard purge covers a response that a fill has, or is about to have.
func (e *Edge) ended(f *flight, head *cache.Head) bool {
	return e.options.Purges.Check(f.target.KeyText(), head.Tags, head.Fetched, time.Now()).Hard
}

// tagsOf are the names that a response can be purged by beside its URL. A cache group (RFC 9875) belongs to its host;
// operators may name it as a tag.
func tagsOf(host string, h http.Header) []uint64 {
	names := field.Tags(h)
	groups, _ := field.Groups(h["Cache-Groups"]) // malformed: none
	for _, group := range groups {
		names = append(names, group, tag.Group(host, group))
	}
	return tag.Set(names)
}

// hideTags takes off the fields that tags came in, unless the client is another node, or the site shows them.
func (x *Exchange) hideTags(h http.Header) {
	if x.Peer || x.site.ShowTags {
		return
	}
	for _, name := range field.TagFields() {
		delete(h, name)
	}
}
