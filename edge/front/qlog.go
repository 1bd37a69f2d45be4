package front

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/quic-go/quic-go"
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
