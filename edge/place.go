package edge

import (
	"context"
	"errors"
	"net/http"
	"path"

	"weir/cache"
	"weir/cache/freshness"
	"weir/edge/field"
	"weir/edge/upstream"
)

// fetch places the fill: it asks the key's owners in turn and then the origin.
// An owner that is this node itself, and a request from a peer, go straight to
// the origin.
func (e *Edge) fetch(ctx context.Context, f *flight, request *upstream.Request) (*upstream.Response, error) {
	// After an invalidation here an owner may still hold the response of before.
	_, invalidated := e.marks.last(cache.NewKey(f.target.KeyText()).ID)
	if !f.peer && !invalidated && e.options.Ring != nil && e.options.Peers != nil {
		if resp := e.fetchFromOwner(ctx, f, request, ""); resp != nil {
			return resp, nil
		}
	}
	return e.fetchFromOrigin(ctx, f.site, request)
}

// get is a request for the flight's target.
func (f *flight) get(header http.Header) *upstream.Request {
	return &upstream.Request{Method: http.MethodGet, Host: f.target.Host, Path: f.target.Path, Query: f.target.Query, Header: header}
}

const surrogateCapability = "Surrogate-Capability"

func (e *Edge) fetchFromOrigin(ctx context.Context, site *Site, request *upstream.Request) (*upstream.Response, error) {
	field.AddCDNLoop(request.Header, e.options.Loop)
	delete(request.Header, surrogateCapability) // a client's would say what we can do
	if site.Surrogate {
		request.Header[surrogateCapability] = []string{e.options.Loop + `="Surrogate/1.0"`}
	}
	resp, err := site.Origin.Fetch(ctx, request)
	e.options.Fetched(upstream.FromOrigin, statusOf(resp))
	return resp, err
}

// statusOf is 0 when there was no response.
func statusOf(resp *upstream.Response) int {
	if resp == nil {
		return 0
	}
	return resp.Status
}

// fetchFromOwner returns nil when this node should ask the origin itself: it
// is the owner, or no owner can be reached; but names a peer that is not to be
// asked. A viewer never sees a peer's failure.
func (e *Edge) fetchFromOwner(ctx context.Context, f *flight, request *upstream.Request, but string) *upstream.Response {
	for owner := range e.options.Ring().Owners(f.place.Hash64()) {
		if owner.Name == e.options.Name {
			return nil
		}
		if owner.Addr == "" || owner.Name == but || !e.options.Peers.Usable(owner.Name) {
			continue
		}
		resp, err := e.options.Peers.Fetch(ctx, owner.Name, owner.Addr, request)
		e.options.Fetched(upstream.FromPeer, statusOf(resp))
		if err == nil && resp.Status == http.StatusMisdirectedRequest {
			_ = resp.Body.Close() // the peer does not know the site (yet)
			continue
		}
		if err == nil {
			return resp
		}
		e.options.Log.Warn("peer did not answer; asking the next", "peer", owner.Name, "key", f.key.Text, "error", err)
		if failure := (*upstream.Error)(nil); errors.As(err, &failure) && !failure.Retry {
			return nil
		}
	}
	return nil
}

// upstreamHeader is the request head of a fill: the client's end-to-end fields
// without what asks for a part or a condition, and without fields that name
// another host or scheme, which an origin may reflect but no key holds.
func (f *flight) upstreamHeader() http.Header {
	h := f.request.Clone()
	field.RemoveHopByHop(h)
	field.RemoveForwarded(h)
	for _, name := range [...]string{
		"Range", "If-Range", "If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since",
		"Cache-Control", "Pragma", "Expect", "Content-Length",
		"Cmcd-Request", "Cmcd-Object", "Cmcd-Status", "Cmcd-Session",
	} {
		delete(h, name)
	}
	if codings := acceptEncoding(h); codings != "" {
		h.Set("Accept-Encoding", codings)
	} else {
		delete(h, "Accept-Encoding")
	}
	if f.stale != nil {
		for name, values := range freshness.Conditional(f.stale.Head().Header) {
			h[name] = values
		}
	}
	return h
}

// isMedia tells media by the last part of a path: these get lifetimes of ours
// where the origin names none; plain HTTP content does not.
func isMedia(p string) bool {
	switch path.Ext(p) {
	case ".m3u8", ".mpd", ".m4s", ".mp4", ".m4v", ".m4a", ".cmfv", ".cmfa", ".cmft", ".ts", ".aac", ".vtt":
		return true
	}
	return false
}
