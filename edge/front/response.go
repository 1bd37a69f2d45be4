package front

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"sync"
)

// FileRanger is a source for ReadFrom whose remaining bytes are N bytes of file
// from offset off on. The file is shared: its own position is neither used nor
// moved. It has to stay open until ReadFrom returns. Read must give the same bytes,
// for the answers that cannot be sent from the file (HEAD, chunked); after a send
// from the file, Read's position is where it was.
type FileRanger interface {
	io.Reader
	FileRange() (file *os.File, off, n int64)
}

// copyBytes is the size of the pieces in which a file is read where sendfile(2) does
// not reach. A client that stalls does not pin one, see roomer and http3Response.sendFile.
const copyBytes = 64 << 10

// joinBytes is the size of a file up to which the head waits in the kernel for the
// file's first bytes. Server CPU, with sixteen connections over loopback, was 0.78x that
// of a head in a packet of its own at 200 KiB and 0.89x at 512 KiB, but 1.6x at 2 MiB.
const joinBytes = 512 << 10

var (
	copyBuffers  = sync.Pool{New: func() any { return new([copyBytes]byte) }}
	smallBuffers = sync.Pool{New: func() any { return new([leastPiece]byte) }}
	firstBuffers = sync.Pool{New: func() any { return new([firstPiece]byte) }}
)

// takeBuffer returns a buffer for n bytes, or for a piece of them, of firstPiece, leastPiece or copyBytes; it goes back by giveBuffer.
func takeBuffer(n int64) []byte {
	switch {
	case n <= firstPiece:
		return firstBuffers.Get().(*[firstPiece]byte)[:]
	case n <= leastPiece:
		return smallBuffers.Get().(*[leastPiece]byte)[:]
	}
	return copyBuffers.Get().(*[copyBytes]byte)[:]
}

func giveBuffer(buf []byte) {
	switch len(buf) {
	case firstPiece:
		firstBuffers.Put((*[firstPiece]byte)(buf))
	case leastPiece:
		smallBuffers.Put((*[leastPiece]byte)(buf))
	default:
		copyBuffers.Put((*[copyBytes]byte)(buf))
	}
}

// responseWriter adds ReadFrom to the ResponseWriter of a protocol. It has Unwrap for
// http.ResponseController.
type responseWriter struct {
	http.ResponseWriter
	// direct is the ReadFrom of HTTP/1.1 in the clear, which reaches tcpConn; else nil.
	direct io.ReaderFrom
	conn   *tcpConn        // below direct; nil where there is none of ours
	way    pathed          // nil where nobody knows
	room   roomer          // of TLS; nil where nobody knows
	ctx    context.Context //nolint:containedctx // of the request, for room: ReadFrom has none
	body   bool            // the response may have a body, as the method is not HEAD
}

// newResponseWriter wraps w, which writes to conn, what connKey stands for.
func newResponseWriter(w http.ResponseWriter, r *http.Request, conn any) *responseWriter {
	rw := &responseWriter{ResponseWriter: w, body: r.Method != http.MethodHead, ctx: r.Context()}
	rw.way, _ = conn.(pathed)
	rw.room, _ = conn.(roomer)
	if r.TLS == nil {
		rw.direct, _ = w.(io.ReaderFrom)
		rw.conn, _ = conn.(*tcpConn)
	}
	return rw
}

// Write sends p. What takes buffers to encrypt it waits for room in the socket before: a client that stalls holds none.
func (w *responseWriter) Write(p []byte) (int, error) {
	if w.room == nil || len(p) <= firstPiece {
		return w.ResponseWriter.Write(p)
	}
	sent := 0
	for sent < len(p) {
		room, err := w.room.room(w.ctx)
		if err != nil {
			return sent, err
		}
		n, err := w.ResponseWriter.Write(p[sent:min(len(p), sent+room)])
		if sent += n; err != nil {
			return sent, err
		}
	}
	return sent, nil
}

// ReadFrom sends src, from its file if it is a FileRanger. It returns
// io.ErrUnexpectedEOF when a file ends before its range does; in the clear the
// connection is gone then, elsewhere the Handler must not return but panic with
// http.ErrAbortHandler, unless it announced a Content-Length.
func (w *responseWriter) ReadFrom(src io.Reader) (int64, error) {
	if !w.body {
		return discard(src)
	}
	file, ok := src.(FileRanger)
	if !ok {
		return w.copyFrom(src)
	}
	if w.direct == nil {
		return w.copyFile(file)
	}
	// net/http reads the first 512 bytes by hand to guess their type, unless the header
	// is out already: then the body is one sendfile from its first byte on.
	if w.conn == nil || !joinsHead(file) {
		if err := w.FlushError(); err != nil {
			return 0, err
		}
		return w.direct.ReadFrom(src)
	}
	w.conn.beforeFile()
	err := w.FlushError()
	w.conn.fileNext()
	defer w.conn.afterFile()
	if err != nil {
		return 0, err
	}
	return w.direct.ReadFrom(src)
}

// joinsHead tells whether head and body leave together.
func joinsHead(src FileRanger) bool {
	_, _, n := src.FileRange()
	return n <= joinBytes
}

// discard stands in for sending the body of a HEAD, of which HTTP/2 would complain.
func discard(src io.Reader) (int64, error) {
	if file, ok := src.(FileRanger); ok {
		_, _, n := file.FileRange()
		return n, nil
	}
	return io.Copy(io.Discard, src)
}

// copyFrom passes on any other source. In the clear, net/http still finds an *os.File
// or a TCP connection and has the kernel copy it.
func (w *responseWriter) copyFrom(src io.Reader) (int64, error) {
	if w.direct != nil {
		return w.direct.ReadFrom(src)
	}
	buf := copyBuffers.Get().(*[copyBytes]byte)
	defer copyBuffers.Put(buf)
	return io.CopyBuffer(writerOnly{w.ResponseWriter}, readerOnly{src}, buf[:])
}

// A fileSender is the ResponseWriter of HTTP/2 or HTTP/3: n bytes of file from off on go out as copyFileRange has them.
type fileSender interface {
	sendFile(file *os.File, off, n int64) (int64, error)
}

func (w *responseWriter) copyFile(src FileRanger) (int64, error) {
	file, off, n := src.FileRange()
	if file == nil {
		return w.copyFrom(src)
	}
	if mux, ok := w.ResponseWriter.(fileSender); ok {
		return mux.sendFile(file, off, n)
	}
	if w.room == nil {
		return copyFileRange(w.ResponseWriter, file, off, n)
	}
	for sent := int64(0); ; {
		room, err := w.room.room(w.ctx)
		if err != nil {
			return sent, err
		}
		piece, err := copyFileRange(w.ResponseWriter, file, off+sent, min(int64(room), n-sent))
		if sent += piece; err != nil || sent == n {
			return sent, err
		}
	}
}

// Flush implements http.Flusher.
func (w *responseWriter) Flush() { _ = w.FlushError() } // http.Flusher has no error

// FlushError sends what was written so far to the client.
func (w *responseWriter) FlushError() error {
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// WriteString implements io.StringWriter.
func (w *responseWriter) WriteString(s string) (int, error) {
	return io.WriteString(w.ResponseWriter, s)
}

// Unwrap returns the protocol's own ResponseWriter.
func (w *responseWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// copyFileRange writes n bytes of file from off on, by reads at explicit offsets.
func copyFileRange(dst io.Writer, file *os.File, off, n int64) (int64, error) {
	buf := takeBuffer(n)
	defer giveBuffer(buf)
	var sent int64
	for sent < n {
		piece := buf[:min(n-sent, int64(len(buf)))]
		got, err := file.ReadAt(piece, off+sent)
		written, werr := dst.Write(piece[:got])
		sent += int64(written)
		switch {
		case werr != nil:
			return sent, werr
		case got == len(piece):
		case err == nil || errors.Is(err, io.EOF):
			return sent, io.ErrUnexpectedEOF
		default:
			return sent, err
		}
	}
	return sent, nil
}

// writerOnly and readerOnly hide every method but one, so that io.CopyBuffer uses
// its buffer and does not come back to ReadFrom.
type (
	writerOnly struct{ io.Writer }
	readerOnly struct{ io.Reader }
)
