package front

import (
	"sync"
	"sync/atomic"

	"golang.org/x/net/http2/hpack"
)

const (
	// maxHeaderList is what net/http makes of maxHeaderBytes: it allows for ten fields that a proxy adds.
	maxHeaderList = maxHeaderBytes + 10*fieldOverhead
	// hpackTable is the dynamic table that a client may use: the default (RFC 9113, 6.5.2), which net/http leaves.
	hpackTable = 4 << 10
	// maxNotes is how many streams are remembered after their refusal, the oldest being forgotten: net/http has fewer open.
	maxNotes = 2 * maxStreams
)

// http2Requests follows the requests of an HTTP/2 connection as far as it takes to count, once each, those that net/http
// refuses without a word to us.
//
// What comes in tells why: a header that is too large, a field that only HTTP/1.1 has, a length that is not the body's.
// What goes out tells that: the first frame of the answer, RST_STREAM or GOAWAY. So nothing is counted that net/http has let
// pass. Requests that the entry refuses are the entry's to count, but for their lengths, for which net/http may reset the
// stream at the same time. A body that ends too early is refused by nobody but the Handler, who finds an error in it.
type http2Requests struct {
	refused func(reason) // is told of each

	// The fields below belong to the one goroutine that reads.
	decoder *hpack.Decoder
	fresh   bool // the block begins a request
	stream  uint32
	padding int // of the frame
	size    int // of the fields, as RFC 9113, 10.5.1 counts it
	te      int // fields of that name
	lengths int
	length  int64 // that the request announces
	why     reason
	bodies  map[uint32]int64 // what is to come of the bodies of announced length; at most maxStreams

	data atomic.Uint32 // the stream of the last DATA frame

	mu    sync.Mutex // guards the fields below
	notes []http2Note
	next  int // that is overwritten, once there are maxNotes
}

// http2Note is a stream that is going to be refused, or whose end is no refusal any more.
type http2Note struct {
	stream uint32
	why    reason // allowed once it has been counted
}

func newHTTP2Requests(refused func(reason)) *http2Requests {
	q := &http2Requests{refused: refused}
	q.decoder = hpack.NewDecoder(hpackTable, q.field)
	return q
}

// begin takes the header of a frame that came in. Fresh is for HEADERS that open a stream.
func (q *http2Requests) begin(f frame, fresh bool) {
	q.padding = 0
	if f.length < f.before() { // net/http hangs up
		q.count(http2Malformed)
	}
	switch f.kind {
	case frameHeaders:
		q.fresh, q.stream, q.size, q.te, q.lengths, q.length, q.why = fresh, f.stream, 0, 0, 0, 0, allowed
		q.decoder.SetEmitEnabled(fresh) // of trailers only what they do to the table
	case frameData:
		q.data.Store(f.stream)
	case frameReset:
		delete(q.bodies, f.stream)
	}
}

// payload takes a piece of its payload, at being its place. Hot path: of a header, an allocation for each string that is
// not in a table of HPACK.
func (q *http2Requests) payload(f frame, at int, p []byte) {
	if f.kind != frameHeaders && f.kind != frameContinuation && (f.kind != frameData || len(q.bodies) == 0) {
		return
	}
	if at == 0 && f.has(flagPadded) && f.kind != frameContinuation {
		q.padding = int(p[0])
	}
	p = p[:max(0, min(len(p), f.length-q.padding-at))]
	p = p[min(len(p), max(0, f.before()-at)):]
	if f.kind == frameData {
		if left, ok := q.bodies[f.stream]; ok {
			q.bodies[f.stream] = left - int64(len(p))
		}
		return
	}
	_, _ = q.decoder.Write(p) // net/http ends the connection for its errors
}

// end takes the end of a frame.
func (q *http2Requests) end(f frame, lastOfBlock, lastOfStream bool) {
	if lastOfBlock {
		_ = q.decoder.Close() // as above
		if q.fresh && q.why == allowed && q.length > 0 {
			if lastOfStream {
				q.refuse(badField)
			} else {
				q.expect()
			}
		}
		if q.fresh {
			return
		}
	}
	if left, ok := q.bodies[f.stream]; ok && (lastOfStream || left < 0) {
		delete(q.bodies, f.stream)
		if left > 0 { // RFC 9113, 8.1.1
			q.note(f.stream, badField)
			q.settle(f.stream, allowed)
		}
	}
}

// expect notes the length of a body that is to come.
func (q *http2Requests) expect() {
	if len(q.bodies) >= maxStreams { // of streams that the server has ended
		clear(q.bodies)
	}
	if q.bodies == nil {
		q.bodies = map[uint32]int64{}
	}
	q.bodies[q.stream] = q.length
}

// field judges a field.
func (q *http2Requests) field(f hpack.HeaderField) {
	if q.size += int(f.Size()); q.size > maxHeaderList {
		q.refuse(headerBytes)
		return
	}
	switch f.Name {
	case "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade": // RFC 9113, 8.2.2
		q.refuse(badField)
	case "te":
		if q.te++; q.te > 1 || f.Value != "trailers" && f.Value != "" {
			q.refuse(badField)
		}
	case "content-length":
		var w http1Walk
		if q.lengths++; q.lengths > 1 || !w.length([]byte(f.Value)) {
			q.refuse(badField)
		}
		q.length = w.left
	}
}

// refuse notes that the request whose header is read is going to be refused.
func (q *http2Requests) refuse(why reason) {
	q.why = why
	q.decoder.SetEmitEnabled(false) // the verdict stands
	q.note(q.stream, why)
}

// sent takes a frame that went out. Code is that of RST_STREAM or GOAWAY.
func (q *http2Requests) sent(f frame, code uint32) {
	switch {
	case f.kind == frameHeaders:
		q.settle(f.stream, allowed)
	case f.kind == frameReset && !blames(code):
		q.note(f.stream, allowed) // what comes for it after that is late, no more
		q.settle(f.stream, allowed)
	case f.kind == frameReset:
		q.settle(f.stream, http2Malformed)
	case f.kind == frameGoAway && blames(code):
		q.settleConn()
	}
}

// blames tells whether an error code says that the client was wrong: not when a Handler gave up, or did not want a body.
func blames(code uint32) bool { return code != codeNoError && code != codeInternalError }

// note notes what becomes of a stream, if nothing is noted yet.
func (q *http2Requests) note(stream uint32, why reason) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.findLocked(stream) != nil {
		return
	}
	if len(q.notes) < maxNotes {
		q.notes = append(q.notes, http2Note{stream, why})
		return
	}
	q.notes[q.next] = http2Note{stream, why}
	q.next = (q.next + 1) % maxNotes
}

// settle counts the refusal of a stream, once: for what is noted, else for why.
func (q *http2Requests) settle(stream uint32, why reason) {
	if why != allowed {
		q.note(stream, why)
	}
	q.mu.Lock()
	n := q.findLocked(stream)
	counts := allowed
	if n != nil {
		counts, n.why = n.why, allowed
	}
	q.mu.Unlock()
	q.count(counts)
}

// settleConn counts the end of the connection: for the last request that was to be refused, if that is what ended it. For
// the body of one that was refused there is nothing to count: net/http, which resets a stream whose header is malformed
// without having opened it, takes what follows for a breach of its own.
func (q *http2Requests) settleConn() {
	q.mu.Lock()
	why := http2Malformed
	if n := q.findLocked(q.data.Load()); n != nil && n.why == allowed {
		why = allowed
	}
	var last *http2Note
	for i := range q.notes {
		if n := &q.notes[i]; n.why != allowed && (last == nil || n.stream > last.stream) {
			last = n
		}
	}
	if last != nil {
		why, last.why = last.why, allowed
	}
	q.mu.Unlock()
	q.count(why)
}

func (q *http2Requests) count(why reason) {
	if why != allowed {
		q.refused(why)
	}
}

func (q *http2Requests) findLocked(stream uint32) *http2Note {
	for i := range q.notes {
		if q.notes[i].stream == stream {
			return &q.notes[i]
		}
	}
	return nil
}
