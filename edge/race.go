package edge

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"weir/edge/upstream"
)

// race asks the upstreams of one fetch: the next one when one fails, and one more
// when the first is silent for longer than it is known to be. The first response
// wins. One goroutine runs it.
type race struct {
	edge    *Edge
	flight  *flight
	request *upstream.Request
	left    []candidate // to be asked, in order; the origin is last
	running []*attempt
	hedged  bool
	failed  bool // a peer could not reach its upstream
	replies chan reply
	over    chan struct{} // closed at the end: responses that come later are closed
}

// attempt is one upstream that is being asked.
type attempt struct {
	candidate

	cancel context.CancelFunc
	signed chan struct{} // closed at a sign of life
}

type reply struct {
	*attempt

	response *upstream.Response
	err      error
}

// errMisdirected is the answer of a peer that does not know the site (yet).
var errMisdirected = &upstream.Error{Op: "fetch", Source: upstream.FromPeer, Kind: upstream.DestinationUnavail, Retry: true, Err: errors.New("the peer does not serve this host")}

// errPurgedHere is the answer of a peer that has what was purged here since: the
// origin is asked.
var errPurgedHere = &upstream.Error{Op: "fetch", Source: upstream.FromPeer, Kind: upstream.DestinationUnavail, Err: errors.New("the peer has what was purged here")}

// errNotStored is the answer of a peer that was asked for what it has stored only.
var errNotStored = &upstream.Error{Op: "fetch", Source: upstream.FromPeer, Kind: upstream.DestinationUnavail, Retry: true, Err: errors.New("the peer has it not stored")}

// errPeerCannot is the answer of a peer that could not reach the origin.
var errPeerCannot = errors.New("the peer could not reach its upstream")

const (
	// handoverTime is how long after a change of owners the former one is asked for
	// what it has stored: most of what is watched now is asked for within it.
	handoverTime = 10 * time.Minute
	// formerPatience is how long it may take to say a word; the origin is next.
	formerPatience = 50 * time.Millisecond
)

// fetchFrom asks the candidates. A viewer never sees a peer's failure: the last
// candidate is the origin, and its failure is the one that is returned.
func (e *Edge) fetchFrom(ctx context.Context, f *flight, request *upstream.Request, candidates []candidate) (*upstream.Response, error) {
	if len(candidates) == 1 {
		f.reaches(0)
		return e.fetchFromOrigin(ctx, f.site, request)
	}
	r := &race{edge: e, flight: f, request: request, left: candidates, replies: make(chan reply), over: make(chan struct{})}
	defer close(r.over)
	return r.run(ctx)
}

func (r *race) run(ctx context.Context) (*upstream.Response, error) {
	peers := r.edge.options.Peers
	first := r.ask(ctx)
	patience := time.NewTimer(r.patience(first))
	defer patience.Stop()
	silent := first.signed
	for {
		select {
		case <-silent:
			patience.Stop()
			silent = nil
		case <-patience.C:
			if !r.hedged && len(r.left) > 0 && (first.stored || peers.Hedge()) {
				r.hedged = true
				r.ask(ctx)
			}
		case answer := <-r.replies:
			r.running = slices.DeleteFunc(r.running, func(a *attempt) bool { return a == answer.attempt })
			if answer.err == nil {
				r.won(answer)
				return answer.response, nil
			}
			answer.cancel()
			if len(r.running) > 0 {
				continue
			}
			if len(r.left) == 0 || ctx.Err() != nil {
				return nil, answer.err
			}
			if r.goOn(answer); len(r.left) == 0 {
				return nil, answer.err
			}
			if next := r.ask(ctx); next.node != nil {
				silent = next.signed
				patience.Reset(r.patience(next))
			}
		}
	}
}

// patience is how long to wait for a sign of life.
func (r *race) patience(a *attempt) time.Duration {
	if a.stored {
		return formerPatience
	}
	return r.edge.options.Peers.Patience(a.node.Name, a.far())
}

// goOn chooses who is asked after a failure: the next owner, or the origin at once
// where too much fails, or the request may not be sent to another peer.
func (r *race) goOn(failed reply) {
	if failed.stored {
		return // it was not counted on
	}
	var failure *upstream.Error
	again := (!errors.As(failed.err, &failure) || failure.Retry) && r.edge.options.Peers.Retry()
	switch {
	case errors.Is(failed.err, errPeerCannot) && (r.failed || !again): // it may be the origin: no third is asked
		r.left = nil
	case errors.Is(failed.err, errPeerCannot):
		r.failed, r.left = true, r.left[:1]
	case !again:
		r.left = r.left[len(r.left)-1:]
	}
}

// ask sends the request to the next candidate.
func (r *race) ask(ctx context.Context) *attempt {
	ctx, cancel := context.WithCancel(ctx)
	a := &attempt{candidate: r.left[0], cancel: cancel, signed: make(chan struct{})}
	r.left = r.left[1:]
	r.running = append(r.running, a)
	r.reaches()
	r.edge.fills.Add(1) // that of the caller is still counted
	go func() {         // ends with the attempt; Close waits for it
		defer r.edge.fills.Done()
		response, err := r.fetch(ctx, a)
		select {
		case r.replies <- reply{a, response, err}:
		case <-r.over:
			if response != nil {
				_ = response.Body.Close() // another one won
			}
			cancel()
		}
	}()
	return a
}

// reaches notes how far the fill depends on others: one of those that run is enough.
func (r *race) reaches() {
	least := hopsClient
	for _, a := range r.running {
		least = min(least, a.reach())
	}
	r.flight.reaches(least)
}

func (r *race) fetch(ctx context.Context, a *attempt) (resp *upstream.Response, err error) {
	e, request := r.edge, *r.request
	defer e.recovered(r.flight.key, func(broken error) {
		if resp != nil {
			_ = resp.Body.Close() // nobody else has it
		}
		resp, err = nil, broken
	})
	request.Header = r.request.Header.Clone() // two attempts may run at a time
	if a.node == nil {
		return e.fetchFromOrigin(ctx, r.flight.site, &request)
	}
	a.introduce(&request)
	signed := false
	request.Far = a.far()
	request.Interim = func(int, http.Header) {
		if !signed {
			signed = true
			close(a.signed)
		}
	}
	resp, err = e.options.Peers.Fetch(ctx, a.node.Name, a.node.Addr, &request)
	e.options.Fetched(upstream.FromPeer, statusOf(resp))
	if err == nil && resp.Status == http.StatusMisdirectedRequest {
		_ = resp.Body.Close() // a line of text
		return nil, errMisdirected
	}
	if err == nil && resp.Header.Get(failedField) != "" {
		_ = resp.Body.Close() // a line of text
		return nil, failedThrough(a.node.Name, resp.Header.Get(failedField))
	}
	if err == nil && a.stored && resp.Status == http.StatusGatewayTimeout {
		_ = resp.Body.Close() // a line of text
		return nil, errNotStored
	}
	if err == nil && e.predates(r.flight, resp) {
		_ = resp.Body.Close() // nothing of it is used
		return nil, errPurgedHere
	}
	if err != nil && ctx.Err() == nil {
		e.options.Log.Warn("peer did not answer; asking the next", "peer", a.node.Name, "key", r.flight.key.Text, "error", err)
	}
	return resp, err
}

// sayFailed tells another node that the path to the origin is broken here, and whether
// somebody else was tried already.
func sayFailed(h http.Header, kind upstream.Kind, err error) {
	text := string(kind)
	switch {
	case errors.Is(err, errRoundabout):
		text = failedRoundabout
	case errors.Is(err, errPeerCannot):
		text += triedElsewhere
	}
	h.Set(failedField, text)
}

const (
	triedElsewhere   = ";tried"
	failedRoundabout = "roundabout" // nothing is broken: the node waits for another one, which may be the one that asks
)

// failedThrough reads that. One more is asked where it may be that node's path alone
// that is broken: not an origin that is silent, nor what was tried twice.
func failedThrough(node, text string) *upstream.Error {
	if text == failedRoundabout {
		return &upstream.Error{Op: "fetch through peer " + node, Source: upstream.FromPeer, Kind: upstream.DestinationUnavail, Retry: true, Err: errRoundabout}
	}
	word, tried := strings.CutSuffix(text, triedElsewhere)
	kind := upstream.Kind(word)
	silent := kind == upstream.HTTPResponseTimeout || kind == upstream.ConnectionReadTimeout
	return &upstream.Error{Op: "fetch through peer " + node, Source: upstream.FromPeer, Kind: kind, Retry: !tried && !silent, Err: errPeerCannot}
}

// introduce says what the node is asked for.
func (c candidate) introduce(r *upstream.Request) {
	h := r.Header
	h.Set(hopsField, strconv.Itoa(c.hops))
	h.Set(ringField, strconv.FormatUint(c.version, 16))
	if !r.Deadline.IsZero() {
		left := time.Until(r.Deadline) - hopMargin
		h.Set(deadlineField, strconv.FormatInt(max(left, 0).Milliseconds(), 10))
	}
	if c.stored {
		h.Set("Cache-Control", "only-if-cached")
	}
}

// won lets the others go, and lets a silent peer's slowness count.
func (r *race) won(winner reply) {
	for _, a := range r.running {
		select {
		case <-a.signed:
		default:
			if a.node != nil && r.hedged && !a.stored {
				r.edge.options.Peers.Slow(a.node.Name)
			}
		}
		a.cancel()
	}
	winner.response.Body = &ownedBody{ReadCloser: winner.response.Body, cancel: winner.cancel}
}

// ownedBody ends its attempt when it is closed.
type ownedBody struct {
	io.ReadCloser

	cancel context.CancelFunc
}

// Close ends the transfer.
func (b *ownedBody) Close() error {
	defer b.cancel()
	return b.ReadCloser.Close()
}
