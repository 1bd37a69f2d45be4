package edge

import (
	"math"
	"net/http"
	"strconv"
	"strings"

	"weir/cache"
	"weir/edge/byterange"
	"weir/edge/upstream"
)

const (
	// sliceBytes is the length of a slice: a file of 2 MiB costs as little per
	// byte to write, find and send as a larger one.
	sliceBytes = 2 << 20
	// wholeBytes is up to which length a representation is stored as one object.
	// Segments lie below it, long films far above.
	wholeBytes = 8 << 20
	// runSlices is how many slices one upstream request asks for at most. A run
	// lies inside an aligned group of so many, which has one owner on the ring.
	runSlices = 4
	// maxRuns is how many runs there are at a time for clients, and for peers with each number of hops: two nodes
	// that ask each other must not wait for each other's. Others wait. Each holds a buffer and a connection's of 64 KiB.
	maxRuns = 32
	// runBytes is a run's buffer: what is read before readers see it.
	runBytes = 64 << 10
)

// version is one version of a large representation: what its slices have in
// common. Immutable.
type version struct {
	key       cache.Key // of the object that has the head
	url       string    // of the target alone, as purges name it
	tags      []uint64  // of the head: what purges it, purges its slices
	target    Target
	site      *Site
	request   http.Header // of a request that the representation answers
	hops      int         // what the request may still have us ask
	validator string      // strong, see strongValidator
	size      int64
}

// slice is the key of slice n. It holds the validator, so that two versions
// never mix: slices of an older one are not found any more.
func (v *version) slice(n int64) cache.Key {
	return cache.NewKey(v.key.Text + "\n#" + strconv.FormatInt(n, 10) + " " + v.validator)
}

// slices is their number.
func (v *version) slices() int64 { return ceilSlice(v.size) }

// sliceEnd is the offset behind the last byte of slice n.
func (v *version) sliceEnd(n int64) int64 { return min((n+1)*sliceBytes, v.size) }

// place is where the ring puts the group of slice n.
func (v *version) place(n int64) cache.ID { return groupPlace(v.key, n) }

// groupPlace is that of a key whose version is not known yet: who asks for a part of
// something unknown asks the node that will be asked for the rest of its group. The
// first group lies with the head, since who asks for the whole gets both.
func groupPlace(key cache.Key, n int64) cache.ID {
	if n < runSlices {
		return key.ID
	}
	return cache.NewKey(key.Text + "\n#group " + strconv.FormatInt(n/runSlices, 10)).ID
}

// ceilSlice is the number of slices that hold the first n bytes.
func ceilSlice(n int64) int64 { return n/sliceBytes + min(1, n%sliceBytes) }

// groupEnd is the number behind the last slice of n's group.
func groupEnd(n int64) int64 { return (n/runSlices + 1) * runSlices }

// versionOf describes the representation that a stored head stands for.
func versionOf(x *Exchange, o *cache.Object) *version {
	return &version{
		key: o.Key(), url: x.url, tags: o.Head().Tags, target: x.Target, site: x.site, request: x.Request.Header, hops: x.hops,
		validator: strongValidator(o.Head().Header), size: o.Head().Sliced,
	}
}

// strongValidator returns a value for If-Range that names this version and no
// other (RFC 9110, 8.8.1): a strong entity tag, else a Last-Modified that is old
// enough; "" for none.
func strongValidator(h http.Header) string {
	if etag := h.Get("Etag"); strings.HasPrefix(etag, `"`) {
		return etag
	}
	last := h.Get("Last-Modified")
	if last != "" && byterange.IfRange(last, "", last, h.Get("Date")) {
		return last
	}
	return ""
}

// part is the first range that a request asks for, before the size is known.
type part struct{ start, end int64 }

// wantedPart is the whole where there is no range, and nothing for a HEAD, and for a
// suffix: where that begins is not known.
func wantedPart(r *http.Request) part {
	whole := part{0, math.MaxInt64}
	lines := r.Header["Range"]
	switch {
	case r.Method != http.MethodGet:
		return part{}
	case len(lines) == 0:
		return whole
	}
	ranges, err := byterange.Parse(strings.Join(lines, ","), math.MaxInt64)
	if err != nil {
		return whole
	}
	if first := ranges[0]; first.Start < math.MaxInt64/2 {
		return part{first.Start, first.Start + first.Length}
	}
	return part{}
}

// probe is the range to ask an upstream for when nothing is known of a target yet
// and the client wants a part past the first slice: the slices of that part, up
// to the end of their group. ok is false where the whole is asked for, as small
// things come at once then.
func (p part) probe() (off, end int64, ok bool) {
	if p.start < sliceBytes {
		return 0, 0, false
	}
	n := p.start / sliceBytes
	last := groupEnd(n) * sliceBytes
	if p.end < last {
		last = ceilSlice(p.end) * sliceBytes
	}
	return n * sliceBytes, last, true
}

// asWhole turns the answer to a probe into the head of the whole representation;
// ok is false if it is none that slices can be made of. The body stays the part.
func asWhole(resp *upstream.Response, off, end int64) (ok bool) {
	text, found := strings.CutPrefix(resp.Header.Get("Content-Range"), "bytes "+strconv.FormatInt(off, 10)+"-")
	last, total, cut := strings.Cut(text, "/")
	size, err := strconv.ParseInt(total, 10, 64)
	if !found || !cut || err != nil || size <= off || strongValidator(resp.Header) == "" {
		return false
	}
	if last != strconv.FormatInt(min(end, size)-1, 10) {
		return false
	}
	delete(resp.Header, "Content-Range")
	delete(resp.Header, "Content-Length")
	resp.Status, resp.Length = http.StatusOK, size
	return true
}

// sliceable tells whether a whole 200 is stored in slices: it is large, and the
// rest of it can be asked for by ranges that hold for this version only.
func (e *Edge) sliceable(resp *upstream.Response) bool {
	return resp.Status == http.StatusOK && resp.Length > wholeBytes && e.options.Cache.Fits(sliceBytes) &&
		strings.EqualFold(resp.Header.Get("Accept-Ranges"), "bytes") && strongValidator(resp.Header) != ""
}
