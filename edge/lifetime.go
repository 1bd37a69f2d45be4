package edge

import (
	"net/http"

	"weir/cache/freshness"
	"weir/edge/upstream"
)

// response is what freshness is computed from: what the upstream said, with the
// header as it will be stored.
func (e *Edge) response(f *flight, resp *upstream.Response, header http.Header) freshness.Response {
	r := freshness.Response{
		Status: resp.Status, Header: header, RequestTime: resp.RequestTime, ResponseTime: resp.ResponseTime,
		Targeted: f.site.Targeted,
	}
	if f.site.Surrogate {
		r.Surrogate = e.options.Loop
	}
	return r
}

// freshness computes it for a response that is stored, or renewed by a 304.
func (e *Edge) freshness(f *flight, resp *upstream.Response, header http.Header) freshness.Freshness {
	if age := resp.Header["Age"]; len(age) > 0 { // not stored, but it counts
		header = header.Clone()
		header["Age"] = age
	}
	r := e.response(f, resp, header)
	if f.stale != nil && resp.Status == http.StatusNotModified {
		r.Status = f.stale.Head().Status // RFC 9111, 4.3.4: a 304 renews the stored response
	}
	return e.lifetime(f, r)
}

// lifetime is what freshness.Of says, with the lifetimes that the site and media
// have where the response names none.
func (e *Edge) lifetime(f *flight, r freshness.Response) freshness.Freshness {
	fallback, ours := mediaLifetime(f.target.Path, r)
	if !ours && f.site.Heuristic {
		fallback = freshness.Heuristic(r)
	}
	f.lifetimeOurs = ours && !r.Explicit()
	return boundError(f.target.Path, r.Status, freshness.Of(r, fallback))
}
