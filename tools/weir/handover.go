package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"
)

// What the two processes of a hand-over tell each other, in this order; each is a line of JSON on a socket between them, whose
// end is the end of the other process. Until serving the old one may end the new one at any time and go on, having lost
// nothing: what it gave away before are copies of sockets, and a directory that it takes back.
//
//   - Listening sockets are shared as they are, and both accept for a moment. HTTP/3 has a second UDP socket, see front.Heir.
//     Connections stay with the old process until they end, or listen.drain_timeout does.
//   - The directory of the cache goes to the new process while the old one serves from it (cache.Cache.Yield), because the
//     new one is not ready before it knows what it has.
//   - The file of purges is read by the new process before it serves, and again before the old one acknowledges a purge.
//   - Play sessions and downloads are told before the new process serves, and once more when gossip is free: what the old one
//     has opened or renewed between. A renewal that comes to the old process later, on a connection that is there, is lost;
//     the next one finds the session in the new process. One-time tokens that were used are told with them. What is known of
//     how viewers fare goes with gossip, and what the old one hears of it while it drains at its end.
//   - Gossip goes last and without a farewell. Requests wait in the new process until it has found the others again, which
//     takes some milliseconds, and no longer than after any other start.
//
// One generation drains at a time: with two, a third socket would have to be found among the packets, and a node with three
// caches in memory is not what its operator has planned for.
const (
	saySockets  = "sockets"  // old: these come with you
	sayPrepared = "prepared" // new: my configuration is good; give me the directory
	sayYours    = "yours"    // old: it is yours
	sayReady    = "ready"    // new: I could serve
	sayBook     = "book"     // old: a part of the play sessions or downloads; as many as there are, before go and gossip
	sayGo       = "go"       // old: serve; new connections are yours
	sayServing  = "serving"  // new: I do; be off
	sayGossip   = "gossip"   // old: I have left gossip without a word; it is yours

	sayFailed = "failed" // new, until serving: I cannot, because of that; and ends

	sayPurged = "purged" // old, from go on: there is something new in the file of purges
	sayObeyed = "obeyed" // new: I have read it; one for each of the former, in their order
)

// takeOverVariable names the descriptor on which a process is told what it takes over.
const takeOverVariable = "WEIR_TAKE_OVER"

// firstDescriptor is that of the first file that a child gets beside its standard streams.
const firstDescriptor = 3

const (
	// obeyTimeout is how long a purge waits for the new process to follow.
	obeyTimeout = time.Second
	// gossipTimeout is how long the new process waits for the old one to leave gossip, which takes milliseconds. With
	// both in it the other nodes would see one address and two lives.
	gossipTimeout = 5 * time.Second
)

// Books, in messages.
const (
	bookSessions  = "sessions"
	bookDownloads = "downloads"
	bookSpent     = "spent" // one-time tokens
	bookReports   = "reports"
	bookQuality   = "quality"
)

// message is one line.
type message struct {
	Say     string   `json:"say"`
	Sockets []socket `json:"sockets,omitempty"` // their descriptors follow that of the line
	Version string   `json:"version,omitempty"`
	Error   string   `json:"error,omitempty"`

	Book string          `json:"book,omitempty"` // one of the above
	Part json.RawMessage `json:"part,omitempty"` // of session.Book.Export, or quality.Ledger.Export
	Key  []byte          `json:"key,omitempty"`  // of the IDs of sessions, with go

	Members []string `json:"members,omitempty"` // of the region, with gossip: where to find them
	Relays  []string `json:"relays,omitempty"`  // of all regions, on one of them
}

// line is one process's end. One goroutine at a time reads, one writes.
type line struct {
	conn net.Conn
	in   *bufio.Reader
	half []byte // of a message, when its reader ran out of time
	out  *json.Encoder
}

func newLine(file *os.File) (*line, error) {
	conn, err := net.FileConn(file)
	_ = file.Close() // conn has its own copy
	if err != nil {
		return nil, err
	}
	return &line{conn: conn, in: bufio.NewReader(conn), out: json.NewEncoder(conn)}, nil
}

func (l *line) say(m message) error { return l.out.Encode(m) }

// hear reads the next message. After a deadline it can be called again, which a json.Decoder cannot.
func (l *line) hear() (m message, err error) {
	text, err := l.in.ReadBytes('\n')
	if l.half = append(l.half, text...); err != nil {
		return m, err
	}
	text, l.half = l.half, nil
	return m, json.Unmarshal(text, &m)
}

// await reads the next message, which has to be one of those that come then.
func (l *line) await(ctx context.Context, say ...string) (m message, err error) {
	_ = l.conn.SetReadDeadline(time.Time{}) // a closed one needs none, here and below
	stop := context.AfterFunc(ctx, func() { _ = l.conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	if m, err = l.hear(); err != nil {
		return m, errors.Join(ctx.Err(), err)
	}
	if m.Say == sayFailed {
		return m, errors.New(m.Error)
	}
	if !slices.Contains(say, m.Say) {
		return m, fmt.Errorf("the other process says %q where it should say %q", m.Say, say)
	}
	return m, nil
}

// A takeOver is the new process's side of a hand-over.
type takeOver struct {
	line   *line
	gossip chan struct{} // closed when gossip is free
	once   sync.Once     // closes it
	met    message       // what came with it; written before that
	gone   chan struct{} // closed when the process before has ended
}

// inherit returns what this process was given, and the process that it takes over from; nil for both where it was started
// in another way.
func inherit(ctx context.Context) (*takeOver, *sockets, error) {
	given := &sockets{}
	text := os.Getenv(takeOverVariable)
	if text == "" {
		var err error
		given.given, err = activated()
		return nil, given, err
	}
	_ = os.Unsetenv(takeOverVariable) // it is not for the next process
	number, err := strconv.Atoi(text)
	if err != nil || number < firstDescriptor {
		return nil, nil, usageError{fmt.Errorf("%s is %q: it is set by weir upgrade alone", takeOverVariable, text)}
	}
	l, err := newLine(os.NewFile(uintptr(number), "hand-over"))
	if err != nil {
		return nil, nil, fmt.Errorf("take over: %w", err)
	}
	m, err := l.await(ctx, saySockets) // it has been written already
	if err != nil {
		return nil, nil, fmt.Errorf("take over: %w", err)
	}
	for i, s := range m.Sockets {
		s.file = os.NewFile(uintptr(number+1+i), s.Name)
		given.given = append(given.given, s)
	}
	return &takeOver{line: l, gossip: make(chan struct{}), gone: make(chan struct{})}, given, nil
}

// prepared waits for the directory. All methods of a nil takeOver do nothing.
func (t *takeOver) prepared(ctx context.Context) error {
	if t == nil {
		return nil
	}
	return t.exchange(ctx, message{Say: sayPrepared, Version: version}, sayYours)
}

// ready waits until this process is to serve, and takes in what it is told until then.
func (t *takeOver) ready(ctx context.Context, take func(message) error) error {
	if t == nil {
		return nil
	}
	err := t.line.say(message{Say: sayReady})
	for err == nil {
		var m message
		if m, err = t.line.await(ctx, sayBook, sayGo); err != nil {
			break
		}
		if err = take(m); err == nil && m.Say == sayGo {
			return nil
		}
	}
	return fmt.Errorf("take over: %w", err)
}

// failed tells the process before why this one cannot take over. It is the last word.
func (t *takeOver) failed(err error) {
	if t != nil && err != nil {
		_ = t.line.say(message{Say: sayFailed, Error: err.Error()}) // that process sees the end of this one, too
	}
}

// serving tells the process before to go. What goes wrong from now on does not stop this one.
func (t *takeOver) serving() {
	if t != nil {
		_ = t.line.say(message{Say: sayServing}) // follow sees the end of the line
	}
}

func (t *takeOver) exchange(ctx context.Context, m message, answer string) error {
	err := t.line.say(m)
	if err == nil {
		_, err = t.line.await(ctx, answer)
	}
	if err != nil {
		return fmt.Errorf("take over: %w", err)
	}
	return nil
}

// follow hears the process before until that has ended, or ctx has: what it knows, that gossip is free, and that it was asked to purge
// something while it drains.
func (t *takeOver) follow(ctx context.Context, obey func() error, take func(message) error) {
	defer close(t.gone)
	defer t.line.conn.Close()
	defer t.free()
	stop := context.AfterFunc(ctx, func() { _ = t.line.conn.SetReadDeadline(time.Unix(1, 0)) }) // a closed one needs none
	defer stop()
	for {
		m, err := t.line.hear()
		if err != nil {
			return
		}
		switch m.Say {
		case sayBook:
			_ = take(m) // it is that process's last word on it
		case sayGossip:
			t.met = m
			t.free()
		case sayPurged:
			if obey() != nil || t.line.say(message{Say: sayObeyed}) != nil {
				return // that process tells who purges, now and later
			}
		}
	}
}

// free tells that gossip is.
func (t *takeOver) free() { t.once.Do(func() { close(t.gossip) }) }

// awaitGossip waits until gossip is free, and returns who is there.
func (t *takeOver) awaitGossip(ctx context.Context) message {
	if t == nil {
		return message{}
	}
	select {
	case <-t.gossip:
		return t.met
	case <-time.After(gossipTimeout):
	case <-ctx.Done():
	}
	return message{}
}

// running tells whether the process before still drains.
func (t *takeOver) running() bool {
	if t == nil {
		return false
	}
	select {
	case <-t.gone:
		return false
	default:
		return true
	}
}
