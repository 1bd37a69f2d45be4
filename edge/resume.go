package edge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"weir/edge/byterange"
	"weir/edge/upstream"
)

// maxResumes is how often one body may be taken up again: a source that breaks
// off each time must not be asked for ever.
const maxResumes = 3

// errOtherVersion says that the rest of a body could not be had because its
// source has another version now, or cannot say that it has the same.
var errOtherVersion = errors.New("edge: the rest belongs to another version")

// resumingBody is a response body that outlives its upstream. Where one breaks
// off, the rest is fetched by a range that holds for the same version only
// (If-Range, RFC 9110, 13.1.5) from the next owner or the origin; readers of the
// fill notice nothing. One goroutine reads it.
type resumingBody struct {
	edge      *Edge
	ctx       context.Context // of the fill
	flight    *flight
	body      io.ReadCloser
	node      string // the peer it comes from, "" for the origin
	validator string // strong, "" if the response had none: then nothing is taken up again
	off       int64  // of the next byte in the representation
	end       int64  // of the last byte that is wanted, and one
	size      int64  // of the whole representation, -1 if unknown: then nothing is taken up again
	left      int    // resumes
	pace      pace   // of body
	overtook  bool   // a slow peer was left, or could not be
}

// resuming wraps the body of a response that is being stored.
func (e *Edge) resuming(ctx context.Context, f *flight, resp *upstream.Response) *resumingBody {
	b := &resumingBody{edge: e, ctx: ctx, flight: f, body: resp.Body, node: resp.Node, end: resp.Length, size: resp.Length, left: maxResumes}
	if etag := resp.Header.Get("Etag"); strings.HasPrefix(etag, `"`) && resp.Length > 0 && resp.Status == http.StatusOK {
		b.validator = etag
	}
	return b
}

func (b *resumingBody) Read(p []byte) (int, error) {
	for {
		asked := time.Now()
		n, err := b.body.Read(p)
		b.off += int64(n)
		if err == nil && b.node != "" && b.pace.tooSlow(n, time.Since(asked)) {
			b.overtake()
		}
		if err == nil || err == io.EOF { // a wrapped EOF is not the end of this body
			return n, err
		}
		if again := b.resume(err); again != nil {
			return n, errors.Join(err, again)
		}
		if n > 0 {
			return n, nil
		}
	}
}

const (
	// slowPeerBytes a second is less than any peer's link has; so slow is one whose
	// machine or network is sick, or one whose own upstream is.
	slowPeerBytes = 32 << 10
	// slowPeerTime of waiting is judged at a time.
	slowPeerTime = 3 * time.Second
	// slowPeerGap is what one wait counts at most: a body that stands still waits for
	// the origin, and has a limit of its own.
	slowPeerGap = time.Second
)

// pace is how fast a body came lately, while somebody waited for it.
type pace struct {
	bytes  int64
	waited time.Duration
}

// tooSlow counts n bytes that were waited for, and judges once in a while.
//
// Hot path: once for each piece of a fill from a peer, no allocation.
func (p *pace) tooSlow(n int, waited time.Duration) bool {
	p.bytes += int64(n)
	p.waited += min(waited, slowPeerGap)
	if p.waited < slowPeerTime {
		return false
	}
	slow := float64(p.bytes) < slowPeerBytes*p.waited.Seconds()
	*p = pace{}
	return slow
}

// overtake leaves a peer that sends too slowly for another upstream, if one has the
// same version; once, and as far as the budget of retries goes: the peer may be slow
// because the origin is. What fails changes nothing.
func (b *resumingBody) overtake() {
	peers := b.edge.options.Peers
	if b.validator == "" || b.overtook || b.off == b.end || !peers.Retry() {
		return
	}
	b.overtook = true
	slow, node := b.body, b.node
	resp, err := b.edge.fetchRest(b.ctx, b.flight, b.request(), node)
	if err == nil {
		err = b.take(resp)
	}
	if err != nil {
		b.edge.options.Log.Info("a slow peer is not left: the rest is nowhere else", "key", b.flight.key.Text, "peer", node, "error", err)
		return
	}
	_ = slow.Close() // it is not needed any more
	peers.Slow(node)
	b.edge.options.Log.Info("left a slow peer", "key", b.flight.key.Text, "at", b.off, "of", b.size, "peer", node, "now", b.node)
}

// Close ends the transfer.
func (b *resumingBody) Close() error { return b.body.Close() }

// resume replaces the body that broke with one of the rest. Its error says why
// that could not be.
func (b *resumingBody) resume(broken error) error {
	switch {
	case b.validator == "":
		return errors.New("not resumed: the response has no strong validator or no length")
	case b.left == 0:
		return fmt.Errorf("not resumed: it broke off %d times", maxResumes+1)
	case b.ctx.Err() != nil:
		return b.ctx.Err()
	}
	b.left--
	_ = b.body.Close() // it is broken already
	resp, err := b.edge.fetchRest(b.ctx, b.flight, b.request(), b.node)
	if err == nil {
		err = b.take(resp)
	}
	if err != nil {
		return fmt.Errorf("resume at byte %d: %w", b.off, err)
	}
	b.edge.options.Log.Info("took up a broken body elsewhere", "key", b.flight.key.Text, "at", b.off, "of", b.size, "from", string(resp.From), "peer", resp.Node, "cause", broken)
	return nil
}

// request asks for the bytes that are still to come.
func (b *resumingBody) request() *upstream.Request {
	header := b.flight.upstreamHeader()
	header.Set("Range", byteRange(b.off, b.end))
	header.Set("If-Range", b.validator)
	return b.flight.get(header)
}

// byteRange is the Range field for bytes [off, end).
func byteRange(off, end int64) string {
	return "bytes=" + strconv.FormatInt(off, 10) + "-" + strconv.FormatInt(end-1, 10)
}

// take makes a response the body, if it is the rest of the same version; if not
// it is closed. A source that knows no ranges sends the whole again: what is
// there already is skipped.
func (b *resumingBody) take(resp *upstream.Response) error {
	if err := b.check(resp); err != nil {
		_ = resp.Body.Close() // nothing of it is used
		return err
	}
	b.body, b.node = resp.Body, resp.Node
	return nil
}

func (b *resumingBody) check(resp *upstream.Response) error {
	switch resp.Status {
	case http.StatusPartialContent:
		if !b.sameVersion(resp) {
			return errOtherVersion
		}
		want := byterange.Range{Start: b.off, Length: b.end - b.off}.ContentRange(b.size)
		if got := resp.Header.Get("Content-Range"); got != want {
			return fmt.Errorf("got %q, want %q", got, want)
		}
		return nil
	case http.StatusOK:
		if !b.sameVersion(resp) || resp.Length != b.size {
			return errOtherVersion
		}
		_, err := io.CopyN(io.Discard, resp.Body, b.off)
		return err
	case http.StatusNotFound, http.StatusGone, http.StatusPreconditionFailed, http.StatusRequestedRangeNotSatisfiable:
		return errOtherVersion
	}
	return &upstream.Error{Op: "fetch a range", Source: resp.From, Kind: upstream.DestinationUnavail, Err: fmt.Errorf("got status %d", resp.Status)}
}

// sameVersion compares validators. A 206 to If-Range may leave out Last-Modified
// (RFC 9110, 15.3.7): then that it is a 206 says that the date held.
func (b *resumingBody) sameVersion(resp *upstream.Response) bool {
	if strings.HasPrefix(b.validator, `"`) {
		return resp.Header.Get("Etag") == b.validator
	}
	last := resp.Header.Get("Last-Modified")
	return last == b.validator || last == "" && resp.Status == http.StatusPartialContent
}

// fetchRest asks where the fill may ask, but for the peer that just broke off.
func (e *Edge) fetchRest(ctx context.Context, f *flight, request *upstream.Request, broken string) (*upstream.Response, error) {
	if broken == "" {
		return e.fetchFromOrigin(ctx, f.site, request)
	}
	return e.fetchFrom(ctx, f, request, e.plan(f, broken).candidates)
}
