package front

import (
	"net/http"
	"net/url"
	"strings"
)

// Bounds of a request in HTTP/1.1 beside maxHeaderBytes and maxFields.
const (
	maxTargetBytes   = 8 << 10
	maxChunkDigits   = 15      // of the size of a chunk: 2^60 bytes
	maxLengthDigits  = 18      // of Content-Length
	maxExtension     = 256     // bytes behind the size of a chunk
	maxExcess        = 8 << 10 // half of net/http's own
	maxTrailerBytes  = 2 << 10 // of the trailer section; net/http reads 4 KiB
	longestKnownName = len("transfer-encoding")
	longestCaptured  = 32 // bytes of a value that is looked at
)

// What a byte may be part of (RFC 9110, 5.5 and 5.6.2; RFC 9112, 3.2).
const (
	inToken = 1 << iota
	inValue
	inTarget
	inPath // of a target, and neither '%' nor '?'
	inHost
	inHex
)

// octets says of each byte what it may be part of.
var octets = func() (table [256]byte) { //nolint:gochecknoglobals // a table, never written
	for c := range table {
		b := byte(c)
		letter := b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z'
		digit := b >= '0' && b <= '9'
		if letter || digit || strings.IndexByte("!#$%&'*+-.^_`|~", b) >= 0 {
			table[c] |= inToken
		}
		if b >= ' ' && b != 0x7f || b == '\t' {
			table[c] |= inValue
		}
		if b > ' ' && b != 0x7f {
			table[c] |= inTarget
			if b != '%' && b != '?' {
				table[c] |= inPath
			}
		}
		if letter || digit || strings.IndexByte(".-_:[]", b) >= 0 {
			table[c] |= inHost
		}
		if digit || b >= 'a' && b <= 'f' || b >= 'A' && b <= 'F' {
			table[c] |= inHex
		}
	}
	return table
}()

// http1Step is what the next byte belongs to.
type http1Step uint8

const (
	stepStart   http1Step = iota // of a request
	stepStartLF                  // an empty line before it
	stepMethod
	stepTarget
	stepVersion
	stepVersionLF
	stepField // the first byte of a field line, or of the empty line
	stepName
	stepBlank // before a value
	stepValue
	stepValueLF
	stepEndLF
	stepBody // of a known length, or of a chunk
	stepSize
	stepExtension
	stepSizeLF
	stepChunkCR
	stepChunkLF
)

// knownField is a field that decides about the framing, or about net/http's own refusals.
type knownField uint8

const (
	fieldOther knownField = iota
	fieldHost
	fieldLength
	fieldCoding
	fieldExpect
	fieldTrailer
)

// http1Refusal is the answer to a request that ends its connection.
type http1Refusal struct {
	status int
	why    reason
}

// http1Walk goes through the bytes of a connection's requests, one after the other, and finds where it ought to end:
// it is stricter than net/http, so that what it lets pass net/http takes, and frames alike (RFC 9112). It keeps no more
// than one field's beginning. It is not safe for concurrent use.
type http1Walk struct {
	fields int // limit of field lines
	bytes  int // limit of the head

	step     http1Step
	no       http1Refusal // once it is over
	body     bool         // what is wrong is in a body: its request has been handed on
	trailers bool         // the fields are those behind a chunked body
	old      bool         // HTTP/1.0
	chunked  bool
	connect  bool // the method is CONNECT
	escape   int8 // digits that a percent sign in the path still needs
	query    bool // the target has come to its query
	known    knownField
	hosts    uint8
	expects  uint8
	lengths  uint8
	codings  uint8
	method   int // bytes
	target   int // bytes
	used     int // bytes of the head, or of trailers
	lines    int // fields so far
	name     [longestKnownName]byte
	nameLen  int
	value    [longestCaptured]byte
	valueLen int
	gap      bool   // white space has come after a host's first byte
	long     []byte // an absolute target, or the value of Trailer; nil otherwise
	left     int64  // bytes of the body, or of a chunk
	digits   int    // of the size of a chunk
	extended bool   // something follows that size
	behind   bool   // it began in the middle of a read
	piped    int    // such requests, and as many more as their heads have pipedBytes
	excess   int64  // bytes around chunks beyond what the bytes in them explain
}

// refuse ends the walk.
func (w *http1Walk) refuse(status int, why reason) { w.no = http1Refusal{status, why} }

func (w *http1Walk) over() bool { return w.no.status != 0 }

// begun tells whether a head has begun and not ended.
func (w *http1Walk) begun() bool { return w.step < stepBody && w.step != stepStart && !w.trailers }

// begin gets ready for a request.
func (w *http1Walk) begin() {
	*w = http1Walk{fields: w.fields, bytes: w.bytes, name: w.name, value: w.value, piped: w.piped}
}

// next goes through p and tells how many of its bytes may be handed on, which is all of them but for a request that is
// refused: of its head the last byte never is. Bytes that are no part of a request are cut out of p, which then is shorter.
// Hot path: no allocation but for a target in absolute form and for Trailer; a nanosecond a byte.
func (w *http1Walk) next(p []byte) int {
	n := len(p)
	for i := 0; i < n; {
		if w.step == stepBody {
			k := min(int64(n-i), w.left)
			i += int(k)
			if w.left -= k; w.left > 0 {
				return n
			}
			if w.step = stepChunkCR; !w.chunked {
				w.begin()
			}
			continue
		}
		if w.step == stepStart && p[i] == '\r' && w.used == 0 {
			// RFC 9112, 2.2: one empty line before a request is ignored.
			w.step = stepStartLF
			n = i + copy(p[i:n], p[i+1:n])
			continue
		}
		if w.step == stepStartLF {
			if p[i] != '\n' {
				w.refuse(http.StatusBadRequest, http1Syntax)
				return i
			}
			w.step, w.used = stepStart, 1
			n = i + copy(p[i:n], p[i+1:n])
			continue
		}
		if w.step == stepStart && i > 0 {
			w.behind = true
			w.piped++
		}
		i = w.line(p[:n], i)
		if w.over() {
			return i
		}
	}
	return n
}

// line takes the byte at i, and more where a run of them is of one kind. It returns where it stopped.
func (w *http1Walk) line(p []byte, i int) int {
	from := i
	switch w.step {
	case stepMethod, stepStart:
		i = w.takeMethod(p, i)
	case stepTarget:
		i = w.takeTarget(p, i)
	case stepVersion:
		i = w.takeVersion(p, i)
	case stepField:
		i = w.takeField(p, i)
	case stepName:
		i = w.takeName(p, i)
	case stepBlank, stepValue:
		i = w.takeValue(p, i)
	case stepVersionLF, stepValueLF, stepEndLF, stepSizeLF, stepChunkLF:
		i = w.takeLF(p, i)
	case stepSize, stepExtension:
		i = w.takeSize(p, i)
	case stepChunkCR:
		if p[i] != '\r' {
			w.badBody()
			return i
		}
		w.step, i = stepChunkLF, i+1
	case stepStartLF, stepBody: // next's own
	}
	if w.step >= stepBody || w.step == stepStart || w.over() {
		return i
	}
	w.used += i - from
	if w.behind {
		w.piped += w.used/pipedBytes - (w.used-(i-from))/pipedBytes
	}
	switch {
	case w.trailers && w.used > maxTrailerBytes:
		w.badBody()
		return i - (w.used - maxTrailerBytes)
	case w.used > w.bytes:
		w.refuse(http.StatusRequestHeaderFieldsTooLarge, headerBytes)
		return i - (w.used - w.bytes)
	}
	return i
}

// badBody refuses what follows a head that is on its way.
func (w *http1Walk) badBody() {
	w.body = true
	w.refuse(http.StatusBadRequest, http1Framing)
}

// badLine refuses a line of a head, or of trailers.
func (w *http1Walk) badLine() {
	if w.trailers {
		w.badBody()
		return
	}
	w.refuse(http.StatusBadRequest, http1Syntax)
}

func (w *http1Walk) takeMethod(p []byte, i int) int {
	w.step = stepMethod
	for ; i < len(p); i++ {
		c := p[i]
		if c == ' ' && w.method > 0 {
			w.connect = string(w.value[:w.valueLen]) == http.MethodConnect
			w.step, w.valueLen = stepTarget, 0
			return i + 1
		}
		if octets[c]&inToken == 0 || w.method == longestCaptured {
			w.refuse(http.StatusBadRequest, http1Syntax)
			return i
		}
		w.value[w.method] = c
		w.method++
		w.valueLen = w.method
	}
	return i
}

func (w *http1Walk) takeTarget(p []byte, i int) int {
	for ; i < len(p); i++ {
		c := p[i]
		if c == ' ' && w.target > 0 {
			return w.endTarget(i)
		}
		if octets[c]&inTarget == 0 {
			w.refuse(http.StatusBadRequest, http1Syntax)
			return i
		}
		if w.target++; w.target > maxTargetBytes {
			w.refuse(http.StatusRequestURITooLong, targetForm)
			return i
		}
		switch {
		case w.target == 1 && c != '/':
			w.long = append(make([]byte, 0, 64), c)
		case w.long != nil:
			w.long = append(w.long, c)
		case w.query:
			for i+1 < len(p) && octets[p[i+1]]&inTarget != 0 && w.target < maxTargetBytes {
				i++
				w.target++
			}
		case w.escape > 0:
			if octets[c]&inHex == 0 {
				w.refuse(http.StatusBadRequest, targetForm)
				return i
			}
			w.escape--
		case c == '%':
			w.escape = 2
		case c == '?':
			w.query = true
		default:
			end := skipPath(p, i+1, maxTargetBytes-w.target)
			for end < len(p) && octets[p[end]]&inPath != 0 && w.target+end-i <= maxTargetBytes {
				end++
			}
			w.target += end - i - 1
			i = end - 1
		}
	}
	return i
}

// endTarget judges the form of the target (RFC 9112, 3.2).
func (w *http1Walk) endTarget(i int) int {
	switch {
	case w.connect:
		w.refuse(http.StatusMethodNotAllowed, connectMethod)
		return i
	case w.escape > 0, w.long != nil && string(w.long) != "*" && !absoluteForm(string(w.long)):
		w.refuse(http.StatusBadRequest, targetForm)
		return i
	}
	w.long, w.step, w.valueLen = nil, stepVersion, 0
	return i + 1
}

// absoluteForm tells whether a target is http://authority/… as a proxy would be asked for.
func absoluteForm(target string) bool {
	u, err := url.ParseRequestURI(target)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && u.User == nil && allIn(u.Host, inHost)
}

func allIn(s string, class byte) bool {
	for i := range len(s) {
		if octets[s[i]]&class == 0 {
			return false
		}
	}
	return true
}

func (w *http1Walk) takeVersion(p []byte, i int) int {
	for ; i < len(p); i++ {
		c := p[i]
		if c == '\r' {
			return w.endVersion(i)
		}
		if w.valueLen == len("HTTP/1.1") || octets[c]&inTarget == 0 {
			w.refuse(http.StatusBadRequest, http1Syntax)
			return i
		}
		w.value[w.valueLen] = c
		w.valueLen++
	}
	return i
}

// endVersion takes HTTP/1.1 and HTTP/1.0; what is another version by its form gets 505.
func (w *http1Walk) endVersion(i int) int {
	switch v := w.value[:w.valueLen]; {
	case string(v) == "HTTP/1.1":
	case string(v) == "HTTP/1.0":
		w.old = true
	case len(v) == len("HTTP/1.1") && string(v[:5]) == "HTTP/" && isDigit(v[5]) && v[6] == '.' && isDigit(v[7]):
		w.refuse(http.StatusHTTPVersionNotSupported, httpVersion)
		return i
	default:
		w.refuse(http.StatusBadRequest, http1Syntax)
		return i
	}
	w.step = stepVersionLF
	return i + 1
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func (w *http1Walk) takeLF(p []byte, i int) int {
	if p[i] != '\n' { // RFC 9112, 2.2: a bare CR is no end of a line
		if w.step == stepSizeLF || w.step == stepChunkLF {
			w.badBody()
		} else {
			w.badLine()
		}
		return i
	}
	switch w.step {
	case stepEndLF:
		return w.endHead(i)
	case stepSizeLF:
		w.endSize()
	case stepChunkLF:
		w.beginSize()
	default:
		w.step = stepField
	}
	return i + 1
}

// endHead judges a head as a whole, or ends the trailers. At i is its last byte.
func (w *http1Walk) endHead(i int) int {
	if w.trailers {
		w.begin()
		return i + 1
	}
	switch {
	case w.hosts > 1 || w.hosts == 0 && !w.old: // RFC 9112, 3.2
		w.refuse(http.StatusBadRequest, twoHosts)
		return i
	case w.codings > 0 && (w.lengths > 0 || w.old): // RFC 9112, 6.1
		w.refuse(http.StatusBadRequest, http1Framing)
		return i
	case w.codings > 0:
		w.chunked = true
		w.beginSize()
	case w.lengths > 0 && w.left > 0:
		w.step = stepBody
	default:
		w.begin()
	}
	return i + 1
}
