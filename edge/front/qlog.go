package front

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3/qlog"
	"github.com/quic-go/quic-go/qlogwriter"
)

// tracer returns what writes a qlog file for each connection into dir; nil for no dir.
func (p *quicPart) tracer(dir string) func(context.Context, bool, quic.ConnectionID) qlogwriter.Trace {
	if dir == "" {
		return nil
	}
	return func(_ context.Context, _ bool, id quic.ConnectionID) qlogwriter.Trace {
		// Exclusive: the client chooses the name.
		f, err := os.OpenFile(filepath.Join(dir, id.String()+".sqlog"), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			p.log.Warn("connection is not traced", "error", err)
			return nil
		}
		trace := qlogwriter.NewConnectionFileSeq(bufferedFile{bufio.NewWriter(f), f}, false, id)
		p.traces.Go(trace.Run) // until the connection has ended
		return trace
	}
}

// bufferedFile is a file that is written in large pieces.
type bufferedFile struct {
	*bufio.Writer
	file io.Closer
}

// Close implements io.Closer.
func (f bufferedFile) Close() error { return errors.Join(f.Flush(), f.file.Close()) }

// The events of HTTP/3 are the headers, either way, and GOAWAY. With them the streams of
// the transport's events have names.

func (s *http3Stream) traceRequest() {
	r := s.request
	s.conn.qlog.RecordEvent(qlog.FrameParsed{StreamID: s.str.StreamID(), Raw: noLengths(), Frame: tracedHeader(r.Header,
		qlog.HeaderField{Name: ":method", Value: r.Method}, qlog.HeaderField{Name: ":authority", Value: r.Host},
		qlog.HeaderField{Name: ":path", Value: r.RequestURI})})
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
			fields = append(fields, qlog.HeaderField{Name: strings.ToLower(name), Value: value})
		}
	}
	return qlog.Frame{Frame: qlog.HeadersFrame{HeaderFields: fields}}
}
