package cmcd

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync"
)

// newest is the version of CMCD that is known.
const newest = 2

// Bounds of a report.
const (
	reportBytes = 8 << 10 // a request target is not longer either
	nextObjects = 8       // of nor, and of ec; what is more is ignored
)

// Errors of a report. It is empty then.
var (
	// ErrNewer tells that the report has a version that is not known, and so is ignored (CTA-5004-B, 6).
	ErrNewer = errors.New("cmcd: the report is of a newer version")
	// ErrLong tells that the report is longer than 8 KiB.
	ErrLong = errors.New("cmcd: the report is too long")
)

// By tells how a report came.
type By uint8

// The ways. None: there is no report.
const (
	None By = iota
	Header
	Query
	Body
)

// String is none, header, query or body.
func (b By) String() string {
	switch b {
	case Header:
		return "header"
	case Query:
		return "query"
	case Body:
		return "body"
	case None:
	}
	return "none"
}

// Type is the object type that one value of a list is about.
type Type uint8

// The types: Any is a value that is of none.
const (
	Any Type = iota
	Video
	Audio
	AudioVideo
	OtherType

	nTypes = iota
)

// Next is an object that the player will ask for.
type Next struct {
	Path  []byte // relative to the URL of the request, unescaped
	Range []byte // "first-last", in bytes; empty: the whole
}

// Report is what a player says. The zero value is empty. Texts are valid until the next Parse.
type Report struct {
	has     uint64 // bit k: there is a value of Key k
	numbers [nKeys]int64
	words   [nKeys][]byte
	typed   [nKeys][nTypes]int64
	types   [nKeys]uint8 // which of these are there
	next    [nextObjects]Next
	codes   [nextObjects][]byte
	nNext   int
	nCodes  int
	ignored int    // members that were none
	buffer  []byte // where texts lie whose escapes are resolved
}

// Reset empties the report.
func (r *Report) Reset() {
	r.has, r.nNext, r.nCodes, r.ignored = 0, 0, 0, 0
	r.buffer = r.buffer[:0]
}

// Has tells whether there is a value.
func (r *Report) Has(k Key) bool { return r.has&(1<<k) != 0 }

// Empty tells whether there is none at all.
func (r *Report) Empty() bool { return r.has == 0 }

// Ignored is how many members were not understood.
func (r *Report) Ignored() int { return r.ignored }

// Int is a number; for a key with object types that of the first that is there, of none, video, both, audio; PlaybackRate is
// in thousandths. 0: there is none.
func (r *Report) Int(k Key) int64 {
	switch {
	case !r.Has(k):
		return 0
	case shapes[k].kind != typed:
		return r.numbers[k]
	}
	for _, t := range [...]Type{Any, Video, AudioVideo, Audio, OtherType} {
		if n, ok := r.Typed(k, t); ok {
			return n
		}
	}
	return 0
}

// Typed is the value for one object type.
func (r *Report) Typed(k Key, t Type) (int64, bool) {
	if !r.Has(k) || t >= nTypes || r.types[k]&(1<<t) == 0 {
		return 0, false
	}
	return r.typed[k][t], true
}

// Bool is a boolean; false: there is none.
func (r *Report) Bool(k Key) bool { return r.Has(k) && shapes[k].kind == boolean && r.numbers[k] != 0 }

// Text is a string or token; nil: there is none.
func (r *Report) Text(k Key) []byte {
	if !r.Has(k) {
		return nil
	}
	return r.words[k]
}

// Next are the objects of nor, at most 8. The slice is the report's.
func (r *Report) Next() []Next {
	if !r.Has(NextObject) {
		return nil
	}
	return r.next[:r.nNext]
}

// Codes are the error codes of ec, at most 8. The slice is the report's.
func (r *Report) Codes() [][]byte {
	if !r.Has(ErrorCodes) {
		return nil
	}
	return r.codes[:r.nCodes]
}

// ParseRequest reads the report of a request from its fields, or else from its query, which is as it stands in the target.
// With an error, or without a report, r is empty.
//
// Hot path. Allocates nothing once the buffer has grown.
func (r *Report) ParseRequest(h http.Header, query string) (By, error) {
	r.Reset()
	by := None
	for _, name := range [...]string{"Cmcd-Object", "Cmcd-Request", "Cmcd-Session", "Cmcd-Status"} {
		for _, value := range h[name] {
			by = Header
			if len(r.buffer)+len(value) > reportBytes {
				r.Reset()
				return by, ErrLong
			}
			r.buffer = append(append(r.buffer, ','), value...)
		}
	}
	if by == Header {
		return by, r.parse()
	}
	value, ok := Parameter(query)
	if !ok {
		return None, nil
	}
	if len(value) > reportBytes {
		return Query, ErrLong
	}
	r.buffer = appendUnescaped(r.buffer, value)
	return Query, r.parse()
}

// Parse reads one report as it stands in a field or in a line of events.
func (r *Report) Parse(report []byte) error {
	r.Reset()
	if len(report) > reportBytes {
		return ErrLong
	}
	r.buffer = append(r.buffer, report...)
	return r.parse()
}

// Parameter finds CMCD in a query; of several the first. It is still escaped.
func Parameter(query string) (string, bool) {
	for query != "" {
		at := strings.Index(query, "CMCD=")
		if at < 0 {
			return "", false
		}
		begins := at == 0 || query[at-1] == '&'
		query = query[at+len("CMCD="):]
		if begins {
			value, _, _ := strings.Cut(query, "&")
			return value, true
		}
	}
	return "", false
}

// appendUnescaped resolves percent-encoding; '+' stays, as players encode spaces as %20 (RFC 3986).
func appendUnescaped[T string | []byte](dst []byte, value T) []byte {
	for i := 0; i < len(value); i++ {
		c := value[i]
		if c == '%' && i+2 < len(value) {
			high, ok1 := fromHex(value[i+1])
			low, ok2 := fromHex(value[i+2])
			if ok1 && ok2 {
				c, i = high<<4|low, i+2
			}
		}
		dst = append(dst, c)
	}
	return dst
}

func fromHex(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

// SetInt sets a number, or a boolean by 0 or 1.
func (r *Report) SetInt(k Key, n int64) {
	r.has |= 1 << k
	r.numbers[k] = n
	if shapes[k].kind == typed {
		r.typed[k], r.types[k] = [nTypes]int64{n}, 1<<Any
	}
}

// SetText sets a string or token, which the report keeps.
func (r *Report) SetText(k Key, s []byte) {
	r.has |= 1 << k
	r.words[k] = s
}

// AppendTo writes the report as one line: lists in the shape of version 2 where they have object types.
func (r *Report) AppendTo(dst []byte) []byte {
	was := len(dst)
	for k := range Key(nKeys) {
		if !r.Has(k) {
			continue
		}
		if len(dst) > was {
			dst = append(dst, ',')
		}
		dst = append(dst, shapes[k].name...)
		switch shapes[k].kind {
		case boolean:
			if r.numbers[k] == 0 {
				dst = append(dst, "=?0"...)
			}
		case integer:
			dst = strconv.AppendInt(append(dst, '='), r.numbers[k], 10)
		case decimal:
			dst = strconv.AppendFloat(append(dst, '='), float64(r.numbers[k])/1000, 'f', -1, 64)
		case token:
			dst = append(append(dst, '='), r.words[k]...)
		case text:
			dst = appendString(append(dst, '='), r.words[k])
		case typed:
			dst = r.appendTyped(append(dst, '='), k)
		case texts:
			dst = r.appendTexts(append(dst, '='), k)
		}
	}
	return dst
}

func (r *Report) appendTyped(dst []byte, k Key) []byte {
	if r.types[k] == 1<<Any {
		return strconv.AppendInt(dst, r.typed[k][Any], 10)
	}
	dst = append(dst, '(')
	for t := range Type(nTypes) {
		n, ok := r.Typed(k, t)
		if !ok {
			continue
		}
		if dst[len(dst)-1] != '(' {
			dst = append(dst, ' ')
		}
		dst = append(strconv.AppendInt(dst, n, 10), [...]string{"", ";v", ";a", ";av", ";o"}[t]...)
	}
	return append(dst, ')')
}

func (r *Report) appendTexts(dst []byte, k Key) []byte {
	dst = append(dst, '(')
	if k == ErrorCodes {
		for i, code := range r.Codes() {
			if i > 0 {
				dst = append(dst, ' ')
			}
			dst = appendString(dst, code)
		}
		return append(dst, ')')
	}
	for i, next := range r.Next() {
		if i > 0 {
			dst = append(dst, ' ')
		}
		if dst = appendString(dst, next.Path); len(next.Range) > 0 {
			dst = appendString(append(dst, ";r="...), next.Range)
		}
	}
	return append(dst, ')')
}

// appendString writes an sf-string (RFC 8941, 3.3.3).
func appendString(dst, s []byte) []byte {
	dst = append(dst, '"')
	for _, c := range s {
		if c == '"' || c == '\\' {
			dst = append(dst, '\\')
		}
		dst = append(dst, c)
	}
	return append(dst, '"')
}

// Pool lends reports. The zero value is ready; safe for concurrent use.
type Pool struct{ pool sync.Pool }

// Get returns an empty report.
func (p *Pool) Get() *Report {
	r, ok := p.pool.Get().(*Report)
	if !ok {
		return new(Report)
	}
	r.Reset()
	return r
}

// Put takes it back: nothing of it may be in use any more.
func (p *Pool) Put(r *Report) { p.pool.Put(r) }
