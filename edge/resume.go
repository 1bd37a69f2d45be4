package edge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

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
	off, size int64
	left      int // resumes
}

// resuming wraps the body of a response that is being stored.
func (e *Edge) resuming(ctx context.Context, f *flight, resp *upstream.Response) *resumingBody {
	b := &resumingBody{edge: e, ctx: ctx, flight: f, body: resp.Body, node: resp.Node, size: resp.Length, left: maxResumes}
	if etag := resp.Header.Get("Etag"); strings.HasPrefix(etag, `"`) && resp.Length > 0 && resp.Status == http.StatusOK {
		b.validator = etag
	}
	return b
}

func (b *resumingBody) Read(p []byte) (int, error) {
	for {
		n, err := b.body.Read(p)
		b.off += int64(n)
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
	header := b.flight.upstreamHeader()
	header.Set("Range", "bytes="+strconv.FormatInt(b.off, 10)+"-")
	header.Set("If-Range", b.validator)
	resp, err := b.edge.fetchRest(b.ctx, b.flight, header, b.node)
	if err != nil {
		return fmt.Errorf("resume at byte %d: %w", b.off, err)
	}
	if err := b.take(resp); err != nil {
		_ = resp.Body.Close() // nothing of it is used
		return fmt.Errorf("resume at byte %d: %w", b.off, err)
	}
	b.edge.options.Log.Info("took up a broken body elsewhere", "key", b.flight.key.Text, "at", b.off, "of", b.size, "from", string(resp.From), "peer", resp.Node, "cause", broken)
	b.body, b.node = resp.Body, resp.Node
	return nil
}

// take checks that the response is the rest of the same version. A source that
// knows no ranges sends the whole again: what is there already is skipped.
func (b *resumingBody) take(resp *upstream.Response) error {
	if resp.Header.Get("Etag") != b.validator {
		return errOtherVersion
	}
	switch resp.Status {
	case http.StatusPartialContent:
		want := fmt.Sprintf("bytes %d-%d/%d", b.off, b.size-1, b.size)
		if got := resp.Header.Get("Content-Range"); got != want {
			return fmt.Errorf("got %q, want %q", got, want)
		}
		return nil
	case http.StatusOK:
		if resp.Length != b.size {
			return errOtherVersion
		}
		_, err := io.CopyN(io.Discard, resp.Body, b.off)
		return err
	}
	return fmt.Errorf("got status %d", resp.Status)
}

// fetchRest asks where the fill may ask, but for the peer that just broke off.
func (e *Edge) fetchRest(ctx context.Context, f *flight, header http.Header, broken string) (*upstream.Response, error) {
	request := &upstream.Request{Method: http.MethodGet, Host: f.target.Host, Path: f.target.Path, Query: f.target.Query, Header: header}
	if !f.peer && broken != "" {
		if resp := e.fetchFromOwner(ctx, f, request, broken); resp != nil {
			return resp, nil
		}
	}
	return e.fetchFromOrigin(ctx, f.site, request)
}
