package edge

import (
	"context"
	"net/http"

	"weir/cache/freshness"
	"weir/edge/field"
	"weir/edge/upstream"
)

// fetch places the fill: it asks the key's owners in turn and then the origin.
func (e *Edge) fetch(ctx context.Context, f *flight, request *upstream.Request) (*upstream.Response, error) {
	p := e.plan(f, "")
	f.owner = p.owner
	return e.fetchFrom(ctx, f, request, p.candidates)
}

// get is a request for the flight's target.
func (f *flight) get(header http.Header) *upstream.Request {
	return &upstream.Request{Method: http.MethodGet, Host: f.target.Host, Path: f.target.Path, Query: f.target.Query, Header: header}
}

const surrogateCapability = "Surrogate-Capability"

func (e *Edge) fetchFromOrigin(ctx context.Context, site *Site, request *upstream.Request) (*upstream.Response, error) {
	removeOwn(request.Header)
	field.AddCDNLoop(request.Header, e.options.Loop)
	delete(request.Header, surrogateCapability) // a client's would say what we can do
	if site.Surrogate {
		request.Header[surrogateCapability] = []string{e.options.Loop + `="Surrogate/1.0"`}
	}
	resp, err := site.Origin.Fetch(ctx, request)
	told := false
	defer func() {
		if !told && resp != nil {
			_ = resp.Body.Close() // a panic ends the request
		}
	}()
	e.options.Fetched(upstream.FromOrigin, statusOf(resp))
	told = true
	return resp, err
}

// statusOf is 0 when there was no response.
func statusOf(resp *upstream.Response) int {
	if resp == nil {
		return 0
	}
	return resp.Status
}

// upstreamHeader is the request head of a fill: the client's end-to-end fields
// without what asks for a part or a condition, and without fields that name
// another host or scheme, which an origin may reflect but no key holds.
func (f *flight) upstreamHeader() http.Header {
	h := f.request.Clone()
	field.RemoveHopByHop(h)
	field.RemoveForwarded(h)
	removeOwn(h)
	for _, name := range [...]string{
		"Range", "If-Range", "If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since",
		"Expect", "Content-Length",
	} {
		delete(h, name)
	}
	dropReport(f.site, h)
	if !f.site.RequestControl {
		delete(h, "Cache-Control") // what one client wants of caches decides nothing for the others
		delete(h, "Pragma")
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
