package proof

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
)

// suspectBytes of a body are kept from the page of the first wrong byte on:
// enough to hold a whole stamp wherever the page begins.
const suspectBytes = 2*PageBytes + StampBytes

// verifier compares a body with the truth while it streams.
type verifier struct {
	oracle *Oracle
	body   *Body                               // nil until choose has seen the first bytes
	choose func(off int64, first []byte) *Body // when the version is not known yet
	off    int64                               // of the next byte
	end    int64                               // where it should end, -1 = not known
	full   bool                                // it is a whole body

	verified int64
	want     []byte
	suspect  []byte // from the first wrong page on
	from     int64  // offset of suspect
	problem  string // what was wrong
}

func (v *verifier) write(p []byte) {
	if len(p) == 0 {
		return
	}
	if v.body == nil {
		v.body = v.choose(v.off, p)
		if v.full {
			v.end = v.body.size
		}
	}
	off := v.off
	v.off += int64(len(p))
	if v.end >= 0 && v.off > v.end {
		p = p[:max(0, v.end-off)]
	}
	switch {
	case v.problem != "":
	case v.suspect != nil:
		v.collect(p)
	default:
		v.compare(p, off)
	}
}

// compare checks bytes while all was right until now.
func (v *verifier) compare(p []byte, off int64) {
	if cap(v.want) < len(p) {
		v.want = make([]byte, len(p))
	}
	want := v.want[:len(p)]
	v.body.fill(want, off)
	first := differ(p, want)
	if first < 0 {
		v.verified += int64(len(p))
		return
	}
	v.verified += int64(first)
	wrong := off + int64(first)
	v.from = wrong - wrong%PageBytes
	v.suspect = make([]byte, wrong-v.from, suspectBytes)
	v.body.fill(v.suspect, v.from) // they came and were right
	v.collect(p[first:])
}

// collect keeps what stands around the wrong byte until there is enough of it.
func (v *verifier) collect(p []byte) {
	v.suspect = append(v.suspect, p[:min(len(p), suspectBytes-len(v.suspect))]...)
	if len(v.suspect) == suspectBytes {
		v.close()
	}
}

// close says what was wrong, once there is no more to see.
func (v *verifier) close() {
	if v.suspect != nil && v.problem == "" {
		v.problem = v.oracle.Explain(v.body, v.from, v.suspect)
	}
}

// boundaryOf returns the boundary of a multipart/byteranges response, or "".
func boundaryOf(h http.Header) string {
	kind, params, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil || kind != "multipart/byteranges" {
		return ""
	}
	return params["boundary"]
}

// covers says whether s starts where one of the ranges asked for starts, and
// ends where one of them ends: a server may join ranges, not invent them.
func covers(asked []span, s span) bool {
	starts, ends := false, false
	for _, a := range asked {
		starts = starts || a.start == s.start
		ends = ends || a.end() == s.end()
	}
	return starts && ends
}

// tap counts what a multipart reader reads, and remembers how it ended.
type tap struct {
	check *check
	body  io.Reader
	end   error
}

func (t *tap) Read(p []byte) (int, error) {
	if stop := t.check.options.StopAfter; stop > 0 {
		if t.check.result.Bytes >= stop {
			t.end = errLeft
			return 0, errLeft
		}
		p = p[:min(int64(len(p)), stop-t.check.result.Bytes)]
	}
	n, err := t.body.Read(p)
	t.check.received(n)
	if err != nil && err != io.EOF { // the end itself, not an error that wraps it
		t.end = err
	}
	return n, err
}

// multiparts checks a 206 of several ranges (RFC 9110, 14.6). Its rate is not
// limited.
func (k *check) multiparts(boundary string) {
	truth, ok := k.tag()
	if !ok {
		k.fail(ErrMultipart, "the version of its parts is not known")
		k.drain(true)
		return
	}
	if k.response.Header.Get("Content-Range") != "" {
		k.fail(ErrMultipart, "a Content-Range in the head") // RFC 9110, 15.3.7.2
	}
	t := &tap{check: k, body: k.response.Body}
	got, err := k.parts(multipart.NewReader(t, boundary), truth.Body)
	if err == nil {
		_, err = io.Copy(io.Discard, t) // the epilogue; a clean end is checked here
	}
	switch {
	case k.result.Body == BodyWrong:
	case errors.Is(t.end, errLeft):
		k.result.Body = BodyLeft
	case t.end != nil:
		k.fail(ErrAborted, "after %d bytes: %w", k.result.Bytes, t.end)
		k.result.Body = BodyAborted
	case errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF):
		k.fail(ErrShortEnd, "after %d bytes, in the middle of the parts", k.result.Bytes)
		k.result.Body = BodyShort
	case err != nil:
		k.fail(ErrMultipart, "%w", err)
		k.result.Body = BodyWrong
	default:
		k.result.Body = BodyOK
		k.complete(got, truth.Body.size)
	}
}

// parts checks one part after the other and returns the ranges they held.
func (k *check) parts(r *multipart.Reader, body *Body) ([]span, error) {
	var got []span
	for {
		part, err := r.NextRawPart()
		if err == io.EOF { // only the bare EOF is the closing boundary
			return got, nil
		}
		if err != nil {
			return got, err
		}
		s, size, err := parseContentRange(part.Header.Get("Content-Range"))
		if err != nil || s.start < 0 {
			return got, fmt.Errorf("part %d with Content-Range %q", len(got)+1, part.Header.Get("Content-Range"))
		}
		k.contentRange(s, size, body.size)
		v := &verifier{oracle: k.client.options.Oracle, body: body, off: s.start, end: s.end()}
		_, err = io.Copy(writerFunc(v.write), part)
		v.close()
		k.result.Verified += v.verified
		switch {
		case v.problem != "":
			k.fail(ErrWrongByte, "part %d: %s", len(got)+1, v.problem)
			k.result.Body = BodyWrong
		case err != nil:
			return got, err
		case v.off != v.end:
			return got, fmt.Errorf("part %d ends at %d, its Content-Range at %d", len(got)+1, v.off, v.end)
		}
		got = append(got, s)
	}
}

// complete checks that each range asked for came.
func (k *check) complete(got []span, size int64) {
	asked, _ := parseRange(k.request.Header.Get("Range"), size)
	for _, a := range asked {
		found := false
		for _, s := range got {
			found = found || s.start <= a.start && s.end() >= a.end()
		}
		if !found {
			k.fail(ErrMultipart, "bytes %d-%d are missing", a.start, a.end()-1)
			k.result.Body = BodyWrong
		}
	}
}

// writerFunc makes a func that takes bytes an io.Writer.
type writerFunc func(p []byte)

func (f writerFunc) Write(p []byte) (int, error) {
	f(p)
	return len(p), nil
}
