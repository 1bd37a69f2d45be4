package front

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3/qlog"
	"github.com/quic-go/quic-go/qlogwriter"
)

const (
	qlogSuffix = ".sqlog"
	// qlogBuffer is what of a trace waits to be written.
	qlogBuffer = 16 << 10
)

// A Qlog is a directory that gets a qlog file for each QUIC connection (draft-ietf-quic-qlog-main-schema), to look into
// trouble. The files tell who asked for what: nobody but their owner may read them. Of queries, and of the fields that may
// hold a secret, they have no values. They need much of the disk, and a slow disk slows the connections. Safe for
// concurrent use.
type Qlog struct {
	dir   string
	limit int64
	log   *slog.Logger

	mu    sync.Mutex // guards the fields below
	files []*qlogFile
	bytes int64 // of them
	ended bool
}

// OpenQlog makes sure that there is a directory of that name that can be written to, and notes the files that it has
// from before: those whose names end in .sqlog. Whenever all of them have more than limitBytes the oldest is removed, also
// one that is being written; one that is alone ends there.
func OpenQlog(dir string, limitBytes int64, log *slog.Logger) (*Qlog, error) {
	q := &Qlog{dir: dir, limit: limitBytes, log: log}
	if q.log == nil {
		q.log = slog.New(slog.DiscardHandler)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("front: make the folder of qlog files: %w", err)
	}
	probe, err := os.CreateTemp(dir, ".weir-*")
	if err != nil {
		return nil, fmt.Errorf("front: write to the folder of qlog files: %w", err)
	}
	_, _ = probe.Close(), os.Remove(probe.Name()) // it was writable
	names, err := filepath.Glob(filepath.Join(dir, "*"+qlogSuffix))
	if err != nil {
		return nil, fmt.Errorf("front: list the qlog files: %w", err)
	}
	for _, name := range names {
		if about, err := os.Lstat(name); err == nil && about.Mode().IsRegular() {
			q.files = append(q.files, &qlogFile{folder: q, name: name, size: about.Size(), since: about.ModTime().UnixNano()})
			q.bytes += about.Size()
		}
	}
	slices.SortFunc(q.files, func(a, b *qlogFile) int { return cmp.Compare(a.since, b.since) })
	q.reserve(nil, 0)
	return q, nil
}

// trace returns what writes a file for a connection; nil where there is to be none.
func (q *Qlog) trace(id quic.ConnectionID) *qlogwriter.FileSeq {
	f := &qlogFile{folder: q, name: filepath.Join(q.dir, id.String()+qlogSuffix)}
	var err error
	// Exclusive: the client chooses the name.
	if f.file, err = os.OpenFile(f.name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
		q.log.Warn("connection is not traced", "error", err)
		return nil
	}
	q.mu.Lock()
	ended := q.ended
	if !ended {
		q.files = append(q.files, f)
	}
	q.mu.Unlock()
	if ended {
		f.remove()
		return nil
	}
	return qlogwriter.NewConnectionFileSeq(bufferedQlog{bufio.NewWriterSize(f, qlogBuffer), f}, false, id)
}

// reserve makes room for n bytes of a file, and tells whether there is any.
func (q *Qlog) reserve(f *qlogFile, n int64) bool {
	q.mu.Lock()
	var gone []*qlogFile
	for q.bytes+n > q.limit && len(q.files) > 0 && (len(q.files) > 1 || q.files[0] != f) {
		oldest := q.files[0]
		oldest.ended = true
		q.files, q.bytes = q.files[1:], q.bytes-oldest.size
		gone = append(gone, oldest)
	}
	room := f != nil && !f.ended && !q.ended && q.bytes+n <= q.limit
	if room {
		q.bytes += n
		f.size += n
	} else if f != nil {
		f.ended = true
	}
	q.mu.Unlock()
	for _, f := range gone {
		f.remove()
	}
	return room
}

// end ends all files where they are.
func (q *Qlog) end() {
	q.mu.Lock()
	q.ended = true
	files := q.files
	q.files = nil
	q.mu.Unlock()
	for _, f := range files {
		_ = f.Close() // it is what it is
	}
}

// qlogFile is one file of a Qlog.
type qlogFile struct {
	folder *Qlog
	name   string
	file   *os.File // nil: from before
	since  int64    // of one from before, nanoseconds since 1970

	// The fields below are guarded by the mutex of folder.
	size  int64
	ended bool
}

// Write implements io.Writer. It takes everything: the trace is no reason to fail.
func (f *qlogFile) Write(p []byte) (int, error) {
	if f.folder.reserve(f, int64(len(p))) {
		if _, err := f.file.Write(p); err != nil && !errors.Is(err, os.ErrClosed) {
			f.folder.log.Warn("connection is traced no further", "error", err)
			_ = f.file.Close()
		}
	}
	return len(p), nil
}

// Close implements io.Closer.
func (f *qlogFile) Close() error {
	if f.file == nil {
		return nil
	}
	return f.file.Close()
}

func (f *qlogFile) remove() {
	_ = f.Close() // it may be closed
	if err := os.Remove(f.name); err != nil && !errors.Is(err, os.ErrNotExist) {
		f.folder.log.Warn("an old qlog file stays", "error", err)
	}
}

// bufferedQlog is a file that is written in large pieces.
type bufferedQlog struct {
	*bufio.Writer
	file *qlogFile
}

// Close implements io.Closer.
func (b bufferedQlog) Close() error { return errors.Join(b.Flush(), b.file.Close()) }

// trace is the Tracer of quic-go.
func (p *quicPart) trace(_ context.Context, _ bool, id quic.ConnectionID) qlogwriter.Trace {
	q := p.qlog.Load()
	if q == nil {
		return nil
	}
	trace := q.trace(id)
	if trace == nil {
		return nil
	}
	p.traces.Go(trace.Run) // until the connection has ended
	return trace
}

// The events of HTTP/3 are the headers, either way, and GOAWAY. With them the streams of
// the transport's events have names.

func (s *http3Stream) traceRequest() {
	r := s.request
	path, _, query := strings.Cut(r.RequestURI, "?")
	if query {
		path += "?"
	}
	s.conn.qlog.RecordEvent(qlog.FrameParsed{StreamID: s.str.StreamID(), Raw: noLengths(), Frame: tracedHeader(r.Header,
		qlog.HeaderField{Name: ":method", Value: r.Method}, qlog.HeaderField{Name: ":authority", Value: r.Host},
		qlog.HeaderField{Name: ":path", Value: path})})
}

func (w *http3Response) trace(status int) {
	s := w.stream
	s.conn.qlog.RecordEvent(qlog.FrameCreated{
		StreamID: s.str.StreamID(), Raw: noLengths(),
		Frame: tracedHeader(w.fields, qlog.HeaderField{Name: ":status", Value: strconv.Itoa(status)}),
	})
}

func (c *quicConn) traceGoAway(from quic.StreamID) {
	c.qlog.RecordEvent(qlog.FrameCreated{StreamID: c.settings.StreamID(), Raw: noLengths(), Frame: qlog.Frame{Frame: qlog.GoAwayFrame{StreamID: from}}})
}

// noLengths leaves the lengths of a frame out.
func noLengths() qlog.RawInfo {
	return qlog.RawInfo{Length: qlog.OmitLength, PayloadLength: qlog.OmitLength}
}

func tracedHeader(header http.Header, fields ...qlog.HeaderField) qlog.Frame {
	for name, values := range header {
		for _, value := range values {
			if !traceable(name) {
				value = ""
			}
			fields = append(fields, qlog.HeaderField{Name: strings.ToLower(name), Value: value})
		}
	}
	return qlog.Frame{Frame: qlog.HeadersFrame{HeaderFields: fields}}
}

// traceable tells whether the values of a field may be written down: those of any other may hold a token.
func traceable(name string) bool {
	switch name {
	case "Accept-Encoding", "Age", "Alt-Svc", "Cache-Control", "Cache-Status", "Content-Encoding", "Content-Length", "Content-Range", "Content-Type",
		"Date", "Early-Data", "Etag", "If-Modified-Since", "If-None-Match", "If-Range", "Last-Modified", "Priority", "Range", "User-Agent":
		return true
	}
	return false
}
