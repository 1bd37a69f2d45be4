package edge

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"weir/cache"
	"weir/edge/field"
	"weir/edge/manifest"
	"weir/edge/upstream"
)

// Limits of manifests that are rewritten; larger ones go out as they are stored.
const (
	manifestBytes = 4 << 20  // a day of LL-HLS
	memoBytes     = 64 << 10 // of one that is remembered
	memoPlaces    = 512      // so that at most 32 MiB are
)

// tailored is an exchange's manifest, made for its viewer. The stored one stays as it is, for all.
type tailored struct {
	rewrite    manifest.Rewrite
	mark       uint64      // of what the rewrite does
	own        bool        // made for this viewer alone: not worth remembering
	conditions http.Header // what the request asks about the representation, which is this one and not the stored one
	body       []byte      // nil: not made yet, or sent as it is stored
	etag       string
}

// aboutRepresentation are the request fields that depend on which representation is meant.
//
//nolint:gochecknoglobals // never changed
var aboutRepresentation = [...]string{"Range", "If-Range", "If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since"}

// Tailoring is what a [Site.Tailor] wants to be made of a manifest. The zero value is nothing.
type Tailoring struct {
	Filter   *manifest.Filter   // in the place of that of the device class; nil: as the class says
	Child    manifest.Child     // what children carry; nil: nothing
	Steering *manifest.Steering // nil: as it is stored
	// Mark is the same for two viewers whose Child and Steering are, and never 0 then: what is made is remembered. 0: it is
	// for this viewer alone.
	Mark uint64
}

// tailor prepares the request for a manifest that is made for its viewer: by the device that the query names, and by what
// children are to carry. false: the request is answered.
//
// Hot path. No allocation for what is no manifest.
func (e *Edge) tailor(x *Exchange) bool {
	if x.site.Devices == nil && x.site.Tailor == nil || !isPlaylist(x.Target.Path) {
		return true
	}
	if x.Request.Method != http.MethodGet && x.Request.Method != http.MethodHead {
		return true
	}
	t := &x.tailoring
	if x.site.Devices != nil {
		v, known, err := x.site.Devices.read(x.Target.Query)
		if err != nil {
			e.problem(x, "device", http.StatusBadRequest, "The capabilities cannot be read", err.Error())
			return false
		}
		if known {
			x.Session, x.Target.Query = v.session, v.rest
			t.rewrite.Filter, t.mark = v.filter, v.filter.Fingerprint()
			if t.rewrite.Child = v.child(x.Target.Path); t.rewrite.Child != nil {
				t.own, t.mark = v.session != "", t.mark*31+hashOf(v.said)
			}
		}
	}
	if x.site.Tailor != nil {
		t.add(x.site.Tailor(x.Request, x.Target))
	}
	if t.rewrite.Filter == nil && t.rewrite.Child == nil && t.rewrite.Steering == nil {
		return true
	}
	h := x.Request.Header
	for _, name := range aboutRepresentation {
		if values := h[name]; len(values) > 0 {
			if t.conditions == nil {
				t.conditions = http.Header{}
			}
			t.conditions[name] = values
			delete(h, name)
		}
	}
	delete(h, "Accept-Encoding") // it has to be read
	x.tailored = t
	return true
}

// add joins what the site's own func wants to what the device class asks for.
func (t *tailored) add(o Tailoring) {
	if o.Filter != nil {
		t.rewrite.Filter = o.Filter
		t.mark = t.mark*31 + o.Filter.Fingerprint()
	}
	t.rewrite.Child = manifest.Both(t.rewrite.Child, o.Child)
	t.rewrite.Steering = o.Steering
	t.own = t.own || (o.Child != nil || o.Steering != nil) && o.Mark == 0
	t.mark = t.mark*31 + o.Mark
}

// deliverTailored sends a stored manifest as its viewer gets it. It returns false for what is no manifest that can be read:
// it goes out as it is stored.
//
// Hot path. What is remembered costs what a small hit costs.
func (e *Edge) deliverTailored(x *Exchange, o *cache.Object) bool {
	head, t := o.Head(), x.tailored
	if head.Status != http.StatusOK || head.Sliced > 0 || o.Size() > manifestBytes {
		return false
	}
	place := e.memo.place(x.key.ID, t.mark)
	if made := place.Load(); made != nil && !t.own && made.of(x.key.ID, head, t.mark) {
		t.body, t.etag = made.body, made.etag
	} else {
		stored, err := readWhole(x.Request.Context(), o)
		if err == nil {
			t.body, err = t.make(stored, head.Header)
		}
		if err != nil {
			return e.notTailored(x, err)
		}
		t.etag = t.tag(head.Header.Get("Etag"))
		if !t.own && len(t.body) <= memoBytes {
			place.Store(&madeManifest{id: x.key.ID, at: head.ResponseTime, mark: t.mark, body: t.body, etag: t.etag})
		}
	}
	e.sendTailored(x, o)
	return true
}

// sendTailored answers conditions and ranges about what the viewer gets.
func (e *Edge) sendTailored(x *Exchange, o *cache.Object) {
	t, size := x.tailored, int64(len(x.tailored.body))
	e.header(x, o)
	x.showTailored()
	if len(t.conditions) == 0 {
		e.deliverWhole(x, o, size)
		return
	}
	about := &http.Request{Method: x.Request.Method, Header: t.conditions}
	shown := &cache.Head{Status: http.StatusOK, Header: t.shown(o.Head().Header)}
	if preconditioned(about) && !preconditionsHold(about, shown.Header) {
		e.text(x, http.StatusPreconditionFailed, "the manifest for this device is not the one that the condition names")
		return
	}
	if notModified(about, shown.Header) {
		h := x.w.Header()
		for _, name := range [...]string{"Content-Type", "Content-Encoding", "Content-Language"} { // RFC 9110, 15.4.5
			delete(h, name)
		}
		x.begin(http.StatusNotModified)
		return
	}
	ranges, unsatisfiable := requestedRanges(about, shown, size)
	switch {
	case unsatisfiable:
		e.unsatisfiable(x, size)
	case len(ranges) == 0:
		e.deliverWhole(x, o, size)
	case len(ranges) == 1:
		e.deliverRange(x, o, ranges[0], size)
	default:
		e.deliverParts(x, o, ranges, size)
	}
}

// relayTailored is deliverTailored for a response that is not stored; false: it is to be relayed. What was read of its body
// goes back in front of it.
func (e *Edge) relayTailored(x *Exchange, resp *upstream.Response) bool {
	t := x.tailored
	if resp.Status != http.StatusOK || resp.Length > manifestBytes {
		return false
	}
	if x.Request.Method == http.MethodHead { // its length and, without one of the origin's, its tag are not known
		if stored := resp.Header.Get("Etag"); stored != "" {
			t.etag = t.tag(stored)
		}
		x.showTailored()
		x.begin(http.StatusOK)
		return true
	}
	stored, err := io.ReadAll(io.LimitReader(resp.Body, manifestBytes+1))
	if err == nil && len(stored) <= manifestBytes {
		t.body, err = t.make(stored, resp.Header)
	}
	switch {
	case errors.Is(err, manifest.ErrEmpty):
		return e.notTailored(x, err)
	case errors.Is(err, manifest.ErrFormat) || len(stored) > manifestBytes:
		resp.Body = replay{io.MultiReader(bytes.NewReader(stored), resp.Body), resp.Body}
		return false
	case err != nil:
		x.Aborted, x.Err = true, err
		x.begin(http.StatusOK)
		return true
	}
	t.etag = t.tag(resp.Header.Get("Etag"))
	h := x.w.Header()
	x.showTailored()
	if about := (&http.Request{Method: x.Request.Method, Header: t.conditions}); notModified(about, t.shown(resp.Header)) {
		x.begin(http.StatusNotModified)
		return true
	}
	h.Set("Content-Length", strconv.Itoa(len(t.body)))
	x.begin(http.StatusOK)
	x.writePieces(http.NewResponseController(x.w), t.body)
	return true
}

// replay is a body of which the beginning was read before.
type replay struct {
	io.Reader

	body io.Closer
}

// Close closes the body.
func (r replay) Close() error { return r.body.Close() }

// notTailored answers for a manifest that cannot be made; false: it goes out as it is stored.
func (e *Edge) notTailored(x *Exchange, err error) bool {
	x.tailored.body = nil
	switch {
	case errors.Is(err, manifest.ErrEmpty):
		x.status = field.CacheStatus{}
		for name := range x.w.Header() {
			delete(x.w.Header(), name)
		}
		e.problem(x, "device", http.StatusNotAcceptable, "No rendition fits the device", "nothing of this title is within what the device plays; ask without a device class for all of it")
		return true
	case errors.Is(err, manifest.ErrFormat):
		return false
	}
	if ctx := x.Request.Context(); ctx.Err() != nil {
		x.Outcome, x.Err, x.Aborted = Failed, context.Cause(ctx), true
		x.Reason = "client-gone"
		return true
	}
	e.fail(x, err)
	return true
}

// readWhole reads a body, waiting for what is still to come.
func readWhole(ctx context.Context, o *cache.Object) ([]byte, error) {
	if whole := o.Bytes(); whole != nil {
		return whole, nil
	}
	for off := int64(0); ; {
		avail, done, err := o.Wait(ctx, off)
		if err != nil {
			return nil, err
		}
		if avail > manifestBytes {
			return nil, manifest.ErrFormat
		}
		if off = avail; !done {
			continue
		}
		body := make([]byte, avail)
		if _, err := o.ReadAt(body, 0); err != nil && !errors.Is(err, io.EOF) {
			o.Discard() // somebody cut the file, or the disk cannot read it
			return nil, err
		}
		return body, nil
	}
}

// make rewrites a manifest, which may be compressed.
func (t *tailored) make(stored []byte, header http.Header) ([]byte, error) {
	switch coding := header.Get("Content-Encoding"); {
	case coding == "" || strings.EqualFold(coding, "identity"):
	case strings.EqualFold(coding, "gzip"):
		unzip, err := gzip.NewReader(bytes.NewReader(stored))
		if err != nil {
			return nil, manifest.ErrFormat
		}
		if stored, err = io.ReadAll(io.LimitReader(unzip, manifestBytes+1)); err != nil || len(stored) > manifestBytes {
			return nil, manifest.ErrFormat
		}
	default:
		return nil, manifest.ErrFormat
	}
	return t.rewrite.Append(make([]byte, 0, len(stored)+len(stored)/8), stored)
}

// shown returns the fields that conditions are held against.
func (t *tailored) shown(stored http.Header) http.Header {
	return http.Header{"Etag": {t.etag}, "Date": stored["Date"]}
}

// tag is the stored one with the mark of what was done to it: as strong as that, and another one when the profile is. Where
// none is stored, or the mark does not tell viewers apart, it comes from the bytes.
func (t *tailored) tag(stored string) string {
	mark := strconv.FormatUint(t.mark, 36)
	if t.own || len(stored) < 2 || stored[len(stored)-1] != '"' {
		return `"` + strconv.FormatUint(hashOf(string(t.body)), 36) + "-" + mark + `"`
	}
	return stored[:len(stored)-1] + "-" + mark + `"`
}

// showTailored changes the fields that are about the stored bytes. Last-Modified goes: when a profile changes it would say that
// nothing has.
func (x *Exchange) showTailored() {
	h := x.w.Header()
	for _, name := range [...]string{"Last-Modified", "Content-Length", "Content-Encoding", "Content-Md5", "Content-Digest", "Repr-Digest", "Digest", "Etag"} {
		delete(h, name)
	}
	if x.tailored.etag != "" {
		h["Etag"] = x.value(valueETag, x.tailored.etag)
	}
}

// memo remembers manifests that were made. Each has one place, and the next one that has it too takes it. Safe for concurrent
// use.
type memo struct {
	places [memoPlaces]atomic.Pointer[madeManifest]
}

// madeManifest is one of them. Immutable.
type madeManifest struct {
	id   cache.ID
	at   time.Time // when the response came that it was made of
	mark uint64
	body []byte
	etag string
}

func (m *memo) place(id cache.ID, mark uint64) *atomic.Pointer[madeManifest] {
	return &m.places[(id.Hash64()^mark)%memoPlaces]
}

// of tells whether it was made of that response in that way.
func (m *madeManifest) of(id cache.ID, head *cache.Head, mark uint64) bool {
	return m.id == id && m.mark == mark && m.at.Equal(head.ResponseTime)
}
