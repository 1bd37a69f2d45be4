package edge

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"time"

	"weir/cluster/ring"
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
	replies chan reply
	over    chan struct{} // closed at the end: responses that come later are closed
}

// candidate is an upstream to ask.
type candidate struct {
	node   *ring.Node // nil: the origin
	stored bool       // only for what it has stored
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

const (
	// handoverTime is how long after a change of owners the former one is asked for
	// what it has stored: most of what is watched now is asked for within it.
	handoverTime = 10 * time.Minute
	// formerPatience is how long it may take to say a word; the origin is next.
	formerPatience = 50 * time.Millisecond
)

// candidates are the owners to ask in turn, then the origin. An owner that is this
// node itself, and a request from a peer, go straight to the origin, but for what
// the former owner has stored. but names a peer that is not to be asked.
func (e *Edge) candidates(f *flight, but string) []candidate {
	var owners []candidate
	if e.options.Ring == nil || e.options.Peers == nil {
		return []candidate{{}}
	}
	nodes, hash, mine := e.options.Ring(), f.place.Hash64(), f.peer
	for owner := range nodes.Owners(hash) {
		if mine = mine || owner.Name == e.options.Name; mine {
			break
		}
		if e.askable(owner, but) {
			owners = append(owners, candidate{node: owner})
		}
	}
	if len(owners) > 1 && e.options.Peers.Crowded(owners[0].node.Name, nodes.Len()) {
		owners[0], owners[1] = owners[1], owners[0]
	}
	if former := e.former(nodes, hash); mine && len(owners) == 0 && former != nil && e.askable(former, but) {
		owners = append(owners, candidate{node: former, stored: true})
	}
	return append(owners, candidate{})
}

func (e *Edge) askable(n *ring.Node, but string) bool {
	return n.Name != e.options.Name && n.Addr != "" && n.Name != but && e.options.Peers.Usable(n.Name)
}

// former is the node that owned the key until a short while ago: one that drains,
// or, where this node is new, the one that would own it without this node, which
// is the next on the list (rendezvous hashing). nil: nobody.
func (e *Edge) former(nodes *ring.Ring, hash uint64) *ring.Node {
	if n := nodes.Former(hash); n != nil {
		return n
	}
	if e.options.Joined.IsZero() || time.Since(e.options.Joined) > handoverTime {
		return nil
	}
	for n := range nodes.Owners(hash) {
		if n.Name != e.options.Name {
			return n
		}
	}
	return nil
}

// fetchFrom asks the candidates. A viewer never sees a peer's failure: the last
// candidate is the origin, and its failure is the one that is returned.
func (e *Edge) fetchFrom(ctx context.Context, f *flight, request *upstream.Request, candidates []candidate) (*upstream.Response, error) {
	if len(candidates) == 1 {
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
			r.goOn(answer)
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
	return r.edge.options.Peers.Patience(a.node.Name)
}

// goOn chooses who is asked after a failure: the next owner, or the origin at once
// where too much fails, or the request may not be sent to another peer.
func (r *race) goOn(failed reply) {
	var failure *upstream.Error
	again := !errors.As(failed.err, &failure) || failure.Retry
	if failed.stored {
		return // the origin is all that is left
	}
	if !again || !r.edge.options.Peers.Retry() {
		r.left = r.left[len(r.left)-1:]
	}
}

// ask sends the request to the next candidate.
func (r *race) ask(ctx context.Context) *attempt {
	ctx, cancel := context.WithCancel(ctx)
	a := &attempt{candidate: r.left[0], cancel: cancel, signed: make(chan struct{})}
	r.left = r.left[1:]
	r.running = append(r.running, a)
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

func (r *race) fetch(ctx context.Context, a *attempt) (*upstream.Response, error) {
	e, request := r.edge, *r.request
	request.Header = r.request.Header.Clone() // two attempts may run at a time
	if a.node == nil {
		return e.fetchFromOrigin(ctx, r.flight.site, &request)
	}
	if a.stored {
		request.Header.Set("Cache-Control", "only-if-cached")
	}
	signed := false
	request.Interim = func(int, http.Header) {
		if !signed {
			signed = true
			close(a.signed)
		}
	}
	resp, err := e.options.Peers.Fetch(ctx, a.node.Name, a.node.Addr, &request)
	e.options.Fetched(upstream.FromPeer, statusOf(resp))
	if err == nil && resp.Status == http.StatusMisdirectedRequest {
		_ = resp.Body.Close() // a line of text
		return nil, errMisdirected
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
