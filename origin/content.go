package origin

import (
	"fmt"
	"io"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"
	"time"

	"weir/origin/asset"
	"weir/origin/cmaf"
)

// content is a response body with what its headers need: bytes in memory, then ranges of a file.
type content struct {
	kind     string // Content-Type
	etag     string // strong, with its quotes
	lifetime string // Cache-Control
	modified time.Time
	memory   []byte
	file     *asset.File // nil if all is in memory
	ranges   []cmaf.Range
}

// fileContent is a whole file of a packaged folder. Its ETag is made of size and modification time; two writes of equal
// length within the clock's grain of a file system cannot be told apart.
func fileContent(f *asset.File, name string) *content {
	ext := strings.ToLower(path.Ext(name))
	c := &content{
		kind: contentTypes[ext], lifetime: forFile, modified: f.ModTime, file: f,
		etag:   fmt.Sprintf(`"%x-%x"`, f.SizeBytes, f.ModTime.UnixNano()),
		ranges: []cmaf.Range{{Offset: 0, Length: f.SizeBytes}},
	}
	if c.kind == "" {
		c.kind = "application/octet-stream"
	}
	if c.kind == typeHLS || c.kind == typeDASH {
		c.lifetime = forPlaylist
	}
	return c
}

func (c *content) bytes() int64 {
	n := int64(len(c.memory))
	for _, r := range c.ranges {
		n += r.Length
	}
	return n
}

// deliver answers with c: conditions, then ranges, then the bytes (RFC 9110, 13.2.2).
func (o *Origin) deliver(w http.ResponseWriter, r *http.Request, c *content) {
	h := w.Header()
	h.Set("ETag", c.etag)
	h.Set("Cache-Control", c.lifetime)
	h.Set("Accept-Ranges", "bytes")
	if !c.modified.IsZero() {
		h.Set("Last-Modified", c.modified.UTC().Format(http.TimeFormat))
	}
	if status := precondition(r.Header, c); status != 0 {
		if status == http.StatusPreconditionFailed {
			h.Set("Cache-Control", "no-store")
		}
		w.WriteHeader(status)
		return
	}
	size := c.bytes()
	from, length, status := int64(0), size, http.StatusOK
	if spec := r.Header.Get("Range"); spec != "" && r.Method == http.MethodGet && sameAsRange(r.Header, c) {
		start, n, answer := parseRange(spec, size)
		switch answer {
		case rangeIgnored: // the whole is sent
		case rangeGood:
			from, length, status = start, n, http.StatusPartialContent
			h.Set("Content-Range", "bytes "+strconv.FormatInt(from, 10)+"-"+strconv.FormatInt(from+length-1, 10)+"/"+strconv.FormatInt(size, 10))
		case rangeOutside:
			h.Set("Content-Range", "bytes */"+strconv.FormatInt(size, 10))
			h.Del("ETag")
			h.Del("Last-Modified")
			fail(w, http.StatusRequestedRangeNotSatisfiable, "the range lies outside")
			return
		}
	}
	h.Set("Content-Type", c.kind)
	h.Set("Content-Length", strconv.FormatInt(length, 10))
	w.WriteHeader(status)
	if r.Method == http.MethodHead {
		return
	}
	if err := c.send(w, from, length); err != nil && r.Context().Err() == nil {
		o.log.Debug("send", "path", r.URL.Path, "error", err)
		// The header promised more than was sent: end the connection, so that the client does not take it for the whole.
		panic(http.ErrAbortHandler)
	}
}

// sendfileBytes is from which length on a range of a file is handed to the connection by itself. Below it is
// gathered: an interleaved source has a range of some kilobytes for each frame. A choice, not a measurement.
const sendfileBytes = 16 << 10

// bufferBytes is the size of the buffers that gather small ranges, and that carry files which are not on disk.
const bufferBytes = 128 << 10

var (
	headers = sync.Pool{New: func() any { return new([]byte) }}
	buffers = sync.Pool{New: func() any { return new([bufferBytes]byte) }}
)

// send writes length bytes of c from the byte from on.
func (c *content) send(w io.Writer, from, length int64) error {
	if n := int64(len(c.memory)); from < n {
		part := c.memory[from:min(n, from+length)]
		if _, err := w.Write(part); err != nil {
			return err
		}
		from, length = n, length-int64(len(part))
	}
	from -= int64(len(c.memory))
	out := gather{w: w, file: c.file}
	defer out.release()
	for _, r := range c.ranges {
		if length == 0 {
			break
		}
		if from >= r.Length {
			from -= r.Length
			continue
		}
		n := min(r.Length-from, length)
		if err := out.send(r.Offset+from, n); err != nil {
			return err
		}
		from, length = 0, length-n
	}
	return out.flush()
}

// gather sends ranges of a file: large ones by the connection itself, small ones together from a buffer.
type gather struct {
	w      io.Writer
	file   *asset.File
	buffer *[bufferBytes]byte
	filled int
}

// send sends n bytes of the file at off.
func (g *gather) send(off, n int64) error {
	if f := g.file.OS(); f != nil && n >= sendfileBytes {
		if rf, ok := g.w.(io.ReaderFrom); ok {
			if err := g.flush(); err != nil {
				return err
			}
			if _, err := f.Seek(off, io.SeekStart); err != nil {
				return err
			}
			sent, err := rf.ReadFrom(&io.LimitedReader{R: f, N: n})
			if err == nil && sent < n {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
	}
	for n > 0 {
		if g.buffer == nil {
			g.buffer = buffers.Get().(*[bufferBytes]byte)
		}
		part := g.buffer[g.filled:min(int64(bufferBytes), int64(g.filled)+n)]
		got, err := g.file.ReadAt(part, off)
		if got < len(part) {
			if err == nil || err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		g.filled += got
		off, n = off+int64(got), n-int64(got)
		if g.filled == bufferBytes {
			if err := g.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (g *gather) flush() error {
	if g.filled == 0 {
		return nil
	}
	_, err := g.w.Write(g.buffer[:g.filled])
	g.filled = 0
	return err
}

func (g *gather) release() {
	if g.buffer != nil {
		buffers.Put(g.buffer)
	}
}
