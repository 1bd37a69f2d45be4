package edge

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"weir/edge/field"
	"weir/edge/upstream"
)

// pass forwards the request as it is and relays the answer, without the cache.
func (e *Edge) pass(x *Exchange, reason string) {
	if !e.beginFetch(x) {
		e.shed(x, x.class(false))
		return
	}
	defer e.endFetch(x.site)
	r := x.Request
	h := r.Header.Clone()
	field.RemoveHopByHop(h)
	if !x.Peer {
		passForwarded(x, h)
	}
	dropReport(x.site, h)
	if !strings.EqualFold(h.Get("Expect"), "100-continue") {
		delete(h, "Expect")
	}
	request := &upstream.Request{
		Method: r.Method, Host: x.Target.Host, Path: x.Target.Path, Query: x.Target.Query, Header: h, Length: r.ContentLength,
	}
	if r.ContentLength != 0 && r.Method != http.MethodGet && r.Method != http.MethodHead {
		request.Body = r.Body
	}
	if x.status.Forward == "" {
		x.status.Forward = passToken(reason)
	}
	if reason != "method" {
		x.status.Detail = reason
	}
	hints := &interim{w: x.w, old: r.ProtoMajor == 1 && r.ProtoMinor == 0}
	request.Interim = hints.pass
	resp, err := e.fetchFromOrigin(r.Context(), x.site, request)
	hints.end()
	if err != nil {
		e.fail(x, err)
		return
	}
	x.upstream = resp.Header["Cache-Status"]
	e.invalidate(x, resp)
	e.relay(x, resp, reason)
}

// passForwarded takes off a request what would make of it another one behind us than the one that the site's rules have
// seen, and says who asks. The method alone may be another where no rule looks at it: pages cannot send all there are.
func passForwarded(x *Exchange, h http.Header) {
	methods := [...]string{"X-Http-Method", "X-Http-Method-Override", "X-Method-Override"}
	var kept [len(methods)][]string
	if x.Request.Method == http.MethodPost && x.site.Access == nil {
		for i, name := range methods {
			kept[i] = h[name]
		}
	}
	field.RemoveForwarded(h)
	for i, name := range methods {
		if kept[i] != nil {
			h[name] = kept[i]
		}
	}
	if client, _, err := net.SplitHostPort(x.Request.RemoteAddr); err == nil {
		h.Set("X-Forwarded-For", client)
	}
}

// passToken is the fwd parameter of Cache-Status for a reason to pass.
func passToken(reason string) field.Forward {
	switch reason {
	case "method":
		return field.ForwardMethod
	case "precondition", "no-store":
		return field.ForwardRequest
	}
	return field.ForwardBypass
}

// relay streams a response that is not stored; each byte goes on as it comes.
func (e *Edge) relay(x *Exchange, resp *upstream.Response, reason string) {
	defer resp.Body.Close()
	x.Outcome, x.Source, x.Reason = Pass, resp.From, reason
	h := x.w.Header()
	field.RemoveHopByHop(resp.Header)
	for name, values := range resp.Header {
		if name != "Cache-Status" && name != "Alt-Svc" && (name != surrogateControl || x.seesSurrogate()) {
			h[name] = values
		}
	}
	x.hideTags(h)
	removeOwn(h)
	if x.Peer {
		x.sayFetched(h, e.fetchedAt(resp), e.options.Purges.Time(time.Now()))
	}
	field.AddVia(h, 1, 1, e.options.Name)
	if resp.Status >= 500 { // RFC 9209, 2: behind what those before us say of it
		why := field.ProxyStatus{Node: e.options.Name, NextHop: nextHop(resp), NextProtocol: resp.Protocol, ReceivedStatus: resp.Status}
		why.Add(h)
	}
	x.status.ForwardStatus = resp.Status
	e.setCacheStatus(x)
	if x.tailored != nil && e.relayTailored(x, resp) {
		return
	}
	if resp.Length >= 0 && resp.Status != http.StatusNotModified {
		h.Set("Content-Length", strconv.FormatInt(resp.Length, 10))
	}
	x.begin(resp.Status)
	if x.Request.Method == http.MethodHead {
		return
	}
	if err := x.copy(resp.Body); err != nil {
		x.Aborted, x.Err = true, err
		return
	}
	x.trailer(resp)
}

// nextHop names who answered in Proxy-Status (RFC 9209, 2.1.2); an origin's
// address is nobody's business.
func nextHop(resp *upstream.Response) string {
	if resp.Node != "" {
		return resp.Node
	}
	return string(resp.From)
}

// copy sends body and flushes whenever the upstream pauses.
func (x *Exchange) copy(body io.Reader) error {
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	control := http.NewResponseController(x.w)
	for {
		n, err := body.Read(*buffer)
		if n > 0 {
			if x.writePieces(control, (*buffer)[:n]); x.Aborted {
				return x.Err
			}
			if werr := control.Flush(); werr != nil {
				return clientGone(werr)
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// begin writes the response head.
func (x *Exchange) begin(status int) {
	x.Status = status
	x.FirstByte = time.Since(x.Start)
	x.dress()
	x.w.WriteHeader(status)
}

// fail answers for an upstream that could not (RFC 9209 names the error).
func (e *Edge) fail(x *Exchange, err error) {
	x.Outcome, x.Err = Failed, err
	kind, source := upstream.InternalError, upstream.FromSelf
	var failure *upstream.Error
	switch {
	case errors.As(err, &failure):
		kind, source = failure.Kind, failure.Source
	case errors.Is(err, context.Canceled):
		kind = upstream.DestinationUnavail
	}
	x.Source, x.Reason = source, string(kind)
	h := x.w.Header()
	why := field.ProxyStatus{Node: e.options.Name, Error: field.ProxyError(kind)}
	line := "the upstream did not answer: "
	if source == upstream.FromClient {
		line = "the request did not come to its end: "
		if x.Request.ProtoMajor == 1 {
			h.Set("Connection", "close") // where it ends nobody knows
		}
	}
	if failure != nil && source != upstream.FromSelf && source != upstream.FromClient {
		why.NextHop, why.ReceivedStatus = string(source), failure.Status
	}
	why.Add(h)
	if x.Peer {
		sayFailed(h, kind, err)
	}
	status := why.Error.Status()
	if x.unvalidated {
		status = http.StatusGatewayTimeout // RFC 9111, 5.2.2.2
	}
	if status == http.StatusServiceUnavailable {
		h.Set("Retry-After", "1")
	}
	e.setCacheStatus(x)
	e.text(x, status, line+string(kind))
}

// setCacheStatus appends our member after those of the upstreams (RFC 9211, 2).
func (e *Edge) setCacheStatus(x *Exchange) {
	h := x.w.Header()
	if len(x.upstream) > 0 {
		h["Cache-Status"] = append([]string(nil), x.upstream...)
	}
	x.status.Add(h)
}

// clientError is a failure to write to the client.
type clientError struct{ err error }

func (c clientError) Error() string { return "send to client: " + c.err.Error() }
func (c clientError) Unwrap() error { return c.err }

func clientGone(err error) error { return clientError{err} }
