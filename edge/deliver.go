package edge

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"weir/cache"
	"weir/edge/byterange"
	"weir/edge/field"
)

const (
	stallLimit = 60 * time.Second // a client that takes nothing for so long is let go
	leastRate  = 2 << 10          // bytes a second, below which a client makes no progress
	// sendfileBytes and stepBytes are what goes out within stallLimit, by sendfile, where the connection sees to leastRate,
	// and otherwise.
	sendfileBytes = 1 << 20
	stepBytes     = leastRate * int64(stallLimit/time.Second)
	bufferBytes   = 32 << 10 // what does not go out from a file goes in pieces of so much
)

// buffers hold what is passed on, and pieces of small bodies that still grow. A client that stalls keeps one.
var buffers = sync.Pool{New: func() any { b := make([]byte, bufferBytes); return &b }}

// deliver sends a stored response, complete or still growing.
//
// Hot path. A hit costs the header fields and one write, or one sendfile.
func (e *Edge) deliver(x *Exchange, o *cache.Object) {
	if x.tailored != nil && e.deliverTailored(x, o) {
		return
	}
	head := o.Head()
	if head.Status == http.StatusOK && notModified(x.Request, head.Header) {
		e.deliverNotModified(x, o)
		return
	}
	size := o.Size()
	if head.Sliced > 0 {
		size = head.Sliced
	}
	ranges, unsatisfiable := requestedRanges(x.Request, head, size)
	if head.Sliced > 0 && !unsatisfiable && x.Request.Method != http.MethodHead {
		if !e.openFirst(x, o, ranges) {
			return
		}
		defer x.slices.close()
	}
	e.header(x, o)
	switch {
	case unsatisfiable:
		e.unsatisfiable(x, size)
	case len(ranges) == 0:
		e.deliverWhole(x, o, size)
	case len(ranges) == 1:
		e.deliverRange(x, o, ranges[0], size)
	default:
		e.deliverParts(x, o, ranges, size)
	}
}

// openFirst opens the slice where a response from slices begins. It is false where that has answered.
func (e *Edge) openFirst(x *Exchange, o *cache.Object, ranges []byterange.Range) bool {
	first := byterange.Range{Length: o.Head().Sliced}
	if len(ranges) > 0 {
		first = ranges[0]
	}
	end := first.Start + first.Length
	if onlyIfCached(x.Request) && !e.hasSlices(versionOf(x, o), first.Start, end) {
		e.onlyIfCached(x)
		return false
	}
	if err := e.openSliced(x, o, first.Start, end); err != nil {
		e.notSliced(x, err)
		return false
	}
	return true
}

func (e *Edge) deliverNotModified(x *Exchange, o *cache.Object) {
	e.header(x, o)
	h := x.w.Header()
	for _, name := range [...]string{"Content-Type", "Content-Encoding", "Content-Language"} { // RFC 9110, 15.4.5
		delete(h, name)
	}
	x.begin(http.StatusNotModified)
}

func (e *Edge) header(x *Exchange, o *cache.Object) {
	head := o.Head()
	h := x.w.Header()
	for name, values := range head.Header {
		h[name] = values // shared: net/http only reads them
	}
	if !x.seesSurrogate() {
		delete(h, surrogateControl)
	}
	if len(head.Tags) > 0 {
		x.hideTags(h)
	}
	now, fresh := time.Now(), head.Freshness
	if x.Outcome == Stale {
		fresh, _ = e.reusable(x, o, now) // a soft purge may have ended it
	}
	if x.Peer {
		if e.heat.hot(x.key.ID.Hash64(), now) {
			h[hotField] = isHot
		}
		x.sayFetched(h, x.fetched(o), e.options.Purges.Time(now))
	}
	age := fresh.Age(now)
	// RFC 9111, 5.1: Age says that the origin neither made nor validated it for this request. Of what is kept in slices
	// the head was stored where one of those had to be fetched.
	if x.Outcome != Miss || x.aged || x.status.Forward == field.ForwardPartial {
		h["Age"] = x.value(valueAge, strconv.FormatInt(int64(age/time.Second), 10))
	}
	x.status.TTL, x.status.HasTTL = fresh.Lifetime-age, x.status.Hit || x.status.Stored || x.status.Collapsed
	if x.member = x.status.String(); len(x.upstream) == 0 && len(h["Cache-Status"]) == 0 {
		h["Cache-Status"] = x.value(valueCacheStatus, x.member)
	} else {
		e.setCacheStatus(x)
	}
	if head.Status == http.StatusOK {
		h["Accept-Ranges"] = acceptRanges
	}
}

var isHot = []string{"1"} //nolint:gochecknoglobals // never changed

var acceptRanges = []string{"bytes"} //nolint:gochecknoglobals // never changed

func (e *Edge) deliverWhole(x *Exchange, o *cache.Object, size int64) {
	if size >= 0 && bodyAllowed(o.Head().Status) {
		x.w.Header()["Content-Length"] = x.value(valueContentLength, strconv.FormatInt(size, 10))
	}
	x.begin(o.Head().Status)
	e.body(x, o, 0, size)
}

func (e *Edge) deliverRange(x *Exchange, o *cache.Object, r byterange.Range, size int64) {
	h := x.w.Header()
	h.Set("Content-Range", r.ContentRange(size))
	h.Set("Content-Length", strconv.FormatInt(r.Length, 10))
	x.begin(http.StatusPartialContent)
	e.body(x, o, r.Start, r.Start+r.Length)
}

// deliverParts sends several ranges, or the whole where that is shorter (RFC 9110,
// 14.2 lets a server answer so): nobody gets more bytes than the whole has.
func (e *Edge) deliverParts(x *Exchange, o *cache.Object, ranges []byterange.Range, size int64) {
	h := x.w.Header()
	parts := byterange.NewMultipart(ranges, size, h.Get("Content-Type"), uint64(x.Start.UnixNano()))
	if parts.ContentLength() > size {
		e.deliverWhole(x, o, size)
		return
	}
	h.Set("Content-Type", parts.ContentType())
	h.Set("Content-Length", strconv.FormatInt(parts.ContentLength(), 10))
	x.begin(http.StatusPartialContent)
	if x.Request.Method == http.MethodHead {
		return
	}
	var line []byte
	for i, r := range ranges {
		line = parts.AppendHeader(line[:0], i)
		if x.write(line); x.Aborted {
			return
		}
		if e.body(x, o, r.Start, r.Start+r.Length); x.Aborted {
			return
		}
	}
	x.write(parts.AppendEnd(line[:0]))
}

// write sends bytes that are in memory.
func (x *Exchange) write(p []byte) {
	n, err := x.w.Write(p)
	if x.Sent += int64(n); err != nil {
		x.Aborted, x.Err = true, clientGone(err)
	}
}

// writePieces is write for a body, in pieces where it is paced.
func (x *Exchange) writePieces(control *http.ResponseController, p []byte) {
	for first := true; first || len(p) > 0 && !x.Aborted; first = false {
		piece := p[:x.piece(int64(len(p)))]
		if err := x.pace(control, int64(len(piece))); err != nil {
			x.Aborted, x.Err = true, clientGone(err)
			return
		}
		x.write(piece)
		p = p[len(piece):]
	}
}

func (e *Edge) unsatisfiable(x *Exchange, size int64) {
	h := x.w.Header()
	for _, name := range [...]string{"Content-Type", "Content-Encoding", "Content-Language", "Etag", "Last-Modified", "Cache-Control", "Expires"} {
		delete(h, name)
	}
	h.Set("Content-Range", "bytes */"+strconv.FormatInt(size, 10))
	e.text(x, http.StatusRequestedRangeNotSatisfiable, "the range lies outside of the "+strconv.FormatInt(size, 10)+" bytes")
}

// body sends bytes [off, end) of the object, waiting for those that are still
// to come; end < 0 means to the end. A body that cannot be sent whole leaves
// x.Aborted set.
func (e *Edge) body(x *Exchange, o *cache.Object, off, end int64) {
	if x.Request.Method == http.MethodHead {
		return
	}
	if x.tailored != nil && x.tailored.body != nil {
		x.writePieces(http.NewResponseController(x.w), x.tailored.body[off:end])
		return
	}
	if x.slices != nil {
		if err := x.slices.send(http.NewResponseController(x.w), off, end); err != nil {
			x.Aborted, x.Err = true, err
		}
		return
	}
	if off == end || !bodyAllowed(o.Head().Status) { // whole from the start, but see follow
		if _, _, err := o.Wait(x.Request.Context(), off); err != nil {
			x.Aborted, x.Err = true, err
		}
		return
	}
	control := http.NewResponseController(x.w)
	if whole := o.Bytes(); whole != nil {
		if end < 0 {
			end = int64(len(whole))
		}
		x.writePieces(control, whole[off:end])
		return
	}
	if err := x.follow(control, o, off, end); err != nil {
		x.Aborted, x.Err = true, err
	}
}

// follow sends what is there, then waits for more, until end. The last piece of
// a growing object waits until the object is stored: whoever has a response
// whole finds it in the cache, and what could not be kept whole is not ended.
func (x *Exchange) follow(control *http.ResponseController, o *cache.Object, off, end int64) error {
	ctx := x.Request.Context()
	for end < 0 || off < end {
		avail, done, err := o.Wait(ctx, off)
		if end >= 0 && avail >= end {
			avail = end
			if !done && end == o.Size() && err == nil {
				_, done, err = o.Wait(ctx, end)
			}
			if err != nil {
				return err
			}
		}
		if avail > off {
			if serr := x.send(control, o, off, avail-off); serr != nil {
				return serr
			}
			off = avail
		}
		switch {
		case err != nil:
			return err
		case done && end < 0:
			return nil
		case done && off < end:
			return short(o, off, end)
		case !done:
			if err := control.Flush(); err != nil { // what is sent goes out before the wait
				return clientGone(err)
			}
		}
	}
	return nil
}

// send passes on n bytes that are there. A connection that can sends them from the file, over every protocol, and holds
// nothing of ours for a client that stalls.
func (x *Exchange) send(control *http.ResponseController, o *cache.Object, off, n int64) error {
	file, base := o.File()
	to, ok := x.w.(io.ReaderFrom)
	if !ok || file == nil {
		return x.sendCopy(control, o, off, n)
	}
	step := stepBytes
	if x.Request.TLS == nil && x.Request.ProtoMajor == 1 {
		step = sendfileBytes
	}
	section := fileSection{file: file}
	for n > 0 {
		piece := min(n, x.piece(step))
		if err := x.pace(control, piece); err != nil {
			return clientGone(err)
		}
		section.off, section.left = base+off, piece
		sent, err := to.ReadFrom(&section)
		x.Sent += sent
		if err != nil || sent == 0 {
			return unsent(o, off, err)
		}
		off, n = off+sent, n-sent
	}
	return nil
}

// unsent is why a body cannot go on at byte off.
func unsent(o *cache.Object, off int64, err error) error {
	if unreadable := (*os.PathError)(nil); errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &unreadable) || err == nil {
		o.Discard() // somebody cut the file, or the disk cannot read it
	}
	if err == nil {
		return short(o, off, o.Size())
	}
	return clientGone(err)
}

// short says that a body ends too early.
func short(o *cache.Object, off, end int64) error {
	return fmt.Errorf("body of %s ends at byte %d of %d: %w", o.Key().Text, off, end, io.ErrUnexpectedEOF)
}

// sendCopy is send by way of memory.
func (x *Exchange) sendCopy(control *http.ResponseController, o *cache.Object, off, n int64) error {
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	for n > 0 {
		piece := (*buffer)[:min(n, x.piece(int64(len(*buffer))))]
		if _, err := o.ReadAt(piece, off); err != nil {
			o.Discard() // somebody cut the file, or the disk cannot read it
			return fmt.Errorf("read %s at byte %d: %w", o.Key().Text, off, err)
		}
		if err := x.pace(control, int64(len(piece))); err != nil {
			return clientGone(err)
		}
		sent, err := x.w.Write(piece)
		x.Sent += int64(sent)
		if err != nil {
			return clientGone(err)
		}
		off, n = off+int64(sent), n-int64(sent)
	}
	return nil
}

// progress pushes the write deadline: no limit on the whole transfer, but on
// the time without a step of it, which begins after a pause of our own.
func (x *Exchange) progress(control *http.ResponseController, pause time.Duration) {
	_ = control.SetWriteDeadline(time.Now().Add(pause + stallLimit)) // a writer without deadlines has no stalled clients either
}

// fileSection is a piece of a shared file as the front's connection takes it:
// sent by sendfile with an explicit offset, the file's own position untouched.
type fileSection struct {
	file *os.File
	off  int64
	left int64
}

// FileRange tells a connection that can send from a file what to send.
func (s *fileSection) FileRange() (f *os.File, off, n int64) { return s.file, s.off, s.left }

// Read serves writers that cannot send from a file.
func (s *fileSection) Read(p []byte) (int, error) {
	if s.left == 0 {
		return 0, io.EOF
	}
	n, err := s.file.ReadAt(p[:min(int64(len(p)), s.left)], s.off)
	s.off, s.left = s.off+int64(n), s.left-int64(n)
	if errors.Is(err, io.EOF) && n > 0 {
		err = nil
	}
	return n, err
}

// requestedRanges is nil for the whole body. Only a GET whose size is known may
// be answered in part; RFC 9110, 14.2 lets a server ignore Range otherwise.
func requestedRanges(r *http.Request, head *cache.Head, size int64) (ranges []byterange.Range, unsatisfiable bool) {
	lines := r.Header["Range"]
	if len(lines) == 0 || r.Method != http.MethodGet || head.Status != http.StatusOK || size < 0 {
		return nil, false
	}
	if condition := r.Header.Get("If-Range"); condition != "" && !byterange.IfRange(condition, head.Header.Get("Etag"), head.Header.Get("Last-Modified"), head.Header.Get("Date")) {
		return nil, false
	}
	ranges, err := byterange.Parse(strings.Join(lines, ","), size)
	return ranges, errors.Is(err, byterange.ErrUnsatisfiable)
}

// notModified decides the conditions of RFC 9110, 13.2.2 that a GET of a stored
// 200 can meet.
func notModified(r *http.Request, stored http.Header) bool {
	if values := r.Header["If-None-Match"]; len(values) > 0 {
		return etagListed(strings.Join(values, ","), stored.Get("Etag"))
	}
	since := r.Header.Get("If-Modified-Since")
	if since == "" {
		return false
	}
	// RFC 9111, 4.3.2: without Last-Modified, the Date stands for it; storedHeader has
	// set one where the origin did not.
	last := stored.Get("Last-Modified")
	if last == "" {
		last = stored.Get("Date")
	}
	modified, err := http.ParseTime(last)
	if err != nil {
		return false
	}
	when, err := http.ParseTime(since)
	return err == nil && !modified.After(when)
}

// etagListed compares weakly (RFC 9110, 8.8.3.2).
func etagListed(list, etag string) bool {
	if strings.TrimSpace(list) == "*" {
		return true
	}
	if etag == "" {
		return false
	}
	etag = strings.TrimPrefix(etag, "W/")
	for list != "" {
		list = strings.TrimLeft(list, " \t,")
		list = strings.TrimPrefix(list, "W/")
		if !strings.HasPrefix(list, `"`) {
			return false
		}
		end := strings.IndexByte(list[1:], '"')
		if end < 0 {
			return false
		}
		if list[:end+2] == etag {
			return true
		}
		list = list[end+2:]
	}
	return false
}

func bodyAllowed(status int) bool {
	return status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified
}
