package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"weir/tools/proof"
)

// The ways a request fails, as the report calls them. A status that is not the right one is its number.
const (
	failConnect  = "connect"  // no connection
	failTLS      = "tls"      // no trust
	failSilent   = "silent"   // no byte came for too long
	failBroken   = "broken"   // the connection ended before the response began
	failCut      = "cut"      // the body broke off visibly
	failShort    = "short"    // the body ended as if it were whole, and is not
	failPlaylist = "playlist" // it cannot be read, or leads elsewhere
)

var errSilent = errors.New("flood: no byte came for too long")

// failure is why a request failed.
type failure struct {
	kind string
	err  error
}

// answer is a response that is whole.
type answer struct {
	bytes     int64
	hash      uint64
	etag      string
	firstByte time.Duration // from the request to the first byte of the body
	took      time.Duration // to the last one
	outcome   string        // of the nearest cache, in the words of Cache-Status
	oddity    [2]string     // kind and text of a promise that the head broke
	body      []byte        // if it was to be kept
	list      *playlist     // and read
}

// getter asks for objects. Safe for concurrent use.
type getter struct {
	seed    maphash.Seed
	host    string        // the Host field, "" = the edge's
	silence time.Duration // how long to wait for the next byte
	buffers sync.Pool
}

const copyBytes = 32 << 10

func newGetter(seed maphash.Seed, host string, silence time.Duration) *getter {
	return &getter{seed: seed, host: host, silence: silence, buffers: sync.Pool{New: func() any { return new([copyBytes]byte) }}}
}

// get asks base for a resource or, if length is not 0, a range of it, and reads all of it; keep returns the body too. The
// failure of a request whose ctx has ended means nothing.
func (g *getter) get(ctx context.Context, over http.RoundTripper, base *url.URL, o object, keep bool) (*answer, *failure) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watch := time.AfterFunc(g.silence, func() { cancel(errSilent) })
	defer watch.Stop()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, base.Scheme+"://"+base.Host+o.name, http.NoBody)
	if err != nil {
		return nil, &failure{failPlaylist, err}
	}
	request.Host = g.host
	request.Header.Set("User-Agent", "weir-flood")
	want := http.StatusOK
	if field := rangeField(o.first, o.length); field != "" {
		request.Header.Set("Range", field)
		want = http.StatusPartialContent
	}
	begin := time.Now()
	response, err := over.RoundTrip(request)
	if err != nil {
		return nil, headFailure(ctx, request.URL, err)
	}
	defer response.Body.Close()
	a := &answer{etag: response.Header.Get("ETag")}
	if response.StatusCode != want {
		return nil, &failure{strconv.Itoa(response.StatusCode), fmt.Errorf("%s: status %d", request.URL, response.StatusCode)}
	}
	a.judge(response.Header)
	if err := g.read(a, response.Body, keep, func() { watch.Reset(g.silence) }, begin); err != nil {
		return nil, bodyFailure(ctx, request.URL, a, err)
	}
	if n := response.ContentLength; n >= 0 && n != a.bytes || o.length > 0 && o.length != a.bytes {
		return nil, &failure{failShort, fmt.Errorf("%s: %d bytes, and %d were promised", request.URL, a.bytes, max(n, o.length))}
	}
	return a, nil
}

// judge reads the promises of the head.
func (a *answer) judge(h http.Header) {
	if ages := h.Values("Age"); len(ages) > 0 {
		// RFC 9111, 5.1: one non-negative number of seconds.
		if _, err := natural(ages[0]); err != nil || len(ages) > 1 {
			a.oddity = [2]string{"age", fmt.Sprintf("Age: %q", ages)}
		}
	}
	a.outcome = "none"
	caches, err := proof.ParseCacheStatus(h.Values("Cache-Status"))
	switch {
	case err != nil:
		a.oddity = [2]string{"cache-status", err.Error()}
	case len(caches) > 0 && caches[len(caches)-1].Outcome() != "":
		a.outcome = caches[len(caches)-1].Outcome()
	}
}

// read takes the body in; alive is called for every piece of it.
func (g *getter) read(a *answer, body io.Reader, keep bool, alive func(), begin time.Time) error {
	var hash maphash.Hash
	hash.SetSeed(g.seed)
	b, _ := g.buffers.Get().(*[copyBytes]byte)
	defer g.buffers.Put(b)
	for {
		n, err := body.Read(b[:])
		if n > 0 {
			alive()
			if a.bytes == 0 {
				a.firstByte = time.Since(begin)
			}
			a.bytes += int64(n)
			_, _ = hash.Write(b[:n]) // it never fails
			if keep {
				if len(a.body)+n > maxPlaylistBytes {
					return fmt.Errorf("%w: longer than %d bytes", errPlaylist, maxPlaylistBytes)
				}
				a.body = append(a.body, b[:n]...)
			}
		}
		if err == io.EOF {
			a.took, a.hash = time.Since(begin), hash.Sum64()
			if a.bytes == 0 {
				a.firstByte = a.took
			}
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func headFailure(ctx context.Context, u *url.URL, err error) *failure {
	err = fmt.Errorf("%s: %w", u, err)
	certificate, alert := new(tls.CertificateVerificationError), tls.AlertError(0)
	switch {
	case errors.Is(context.Cause(ctx), errSilent):
		return &failure{failSilent, err}
	case errors.As(err, &certificate), errors.As(err, &alert):
		return &failure{failTLS, err}
	case errors.Is(err, errDial):
		return &failure{failConnect, err}
	}
	return &failure{failBroken, err}
}

func bodyFailure(ctx context.Context, u *url.URL, a *answer, err error) *failure {
	err = fmt.Errorf("%s: after %d bytes: %w", u, a.bytes, err)
	switch {
	case errors.Is(context.Cause(ctx), errSilent):
		return &failure{failSilent, err}
	case errors.Is(err, errPlaylist):
		return &failure{failPlaylist, err}
	}
	return &failure{failCut, err}
}

// rangeField is "" for all of a resource.
func rangeField(first, length int64) string {
	if length == 0 {
		return ""
	}
	return fmt.Sprintf("bytes=%d-%d", first, first+length-1)
}
