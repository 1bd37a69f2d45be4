package front

import (
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/quic-go/qpack"
)

// someLines is a section as a browser might send it.
const someLines = "\x00\x00\xd1\xd7\x50\x01x\x51\x1d/a/long/path/to/a/segment.m4s"

// The static table is that of another implementation.
func TestStaticTable(t *testing.T) {
	t.Parallel()
	for i, want := range staticTable {
		line := appendPrefixInt([]byte{0, 0}, 0xc0, 6, uint64(i))
		got, err := qpack.NewDecoder().Decode(line)()
		if err != nil || got.Name != want.name || got.Value != want.value {
			t.Errorf("entry %d is %+v, %v, want %+v", i, got, err, want)
		}
	}
}

func TestFieldSection(t *testing.T) {
	t.Parallel()
	get := "\x00\x00\xd1\xd7" + fieldLines(":authority", "x", ":path", "/p?q=1")
	for name, tt := range map[string]struct {
		section string
		want    string // host, target and header
		err     error
	}{
		"plain":             {get + fieldLines("cmcd-request", "a", "range", "bytes=0-"), "x /p?q=1 Cmcd-Request=a Range=bytes=0-", nil},
		"repeated":          {get + fieldLines("a", "1", "b", "2", "a", "3"), "x /p?q=1 A=1|3 B=2", nil},
		"cookies":           {get + fieldLines("cookie", "a=1", "cookie", "b=2"), "x /p?q=1 Cookie=a=1; b=2", nil},
		"host":              {"\x00\x00\xd1\xd7\xc1" + fieldLines("host", "y"), "y /", nil},
		"same host":         {get + fieldLines("host", "X"), "x /p?q=1", nil},
		"length":            {get + fieldLines("content-length", "5", "content-length", "5"), "x /p?q=1 Content-Length=5", nil},
		"two lengths":       {get + fieldLines("content-length", "5", "content-length", "6"), "", errMalformed},
		"signed length":     {get + fieldLines("content-length", "+5"), "", errMalformed},
		"huffman":           {"\x00\x00\xd1\xd7\xc1\x50\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff", "www.example.com /", nil},
		"negative base":     {"\x00\x80\xd1\xd7\xc1", "", errQPACK},
		"bad huffman":       {"\x00\x00\xd1\xd7\xc1\x50\x81\x00", "", errQPACK},
		"too large":         {get + fieldLines("x", strings.Repeat("y", maxHeaderBytes)), "", errTooLarge},
		"many small":        {get + strings.Repeat(fieldLines("x", ""), maxHeaderBytes/fieldOverhead), "", errTooLarge},
		"no method":         {"\x00\x00\xd7\xc1" + fieldLines(":authority", "x"), "", errMalformed},
		"two hosts":         {get + fieldLines("host", "x", "host", "x"), "", errMalformed},
		"user information":  {"\x00\x00\xd1\xd7\xc1" + fieldLines(":authority", "a@x"), "", errMalformed},
		"empty authority":   {"\x00\x00\xd1\xd7\xc1" + fieldLines(":authority", ""), "", errMalformed},
		"absolute path":     {"\x00\x00\xd1\xd7" + fieldLines(":authority", "x", ":path", "http://y/"), "", errMalformed},
		"asterisk":          {"\x00\x00\xd1\xd7" + fieldLines(":authority", "x", ":path", "*"), "", errMalformed},
		"asterisk, options": {"\x00\x00\xd3\xd7" + fieldLines(":authority", "x", ":path", "*"), "x *", nil},
		"protocol":          {get + fieldLines(":protocol", "websocket"), "", errMalformed},
		"status":            {"\x00\x00\xd1\xd7\xc1" + fieldLines(":authority", "x", ":status", "200"), "", errMalformed},
		"connect, a path":   {"\x00\x00\xcf\xc1" + fieldLines(":authority", "x:1"), "", errMalformed},
		"empty name":        {get + fieldLines("", "x"), "", errMalformed},
		"name with a space": {get + fieldLines("a b", "x"), "", errMalformed},
		"pseudo, too late":  {get + fieldLines("a", "b", ":method", "GET"), "", errMalformed},
		"upgrade":           {get + fieldLines("upgrade", "h2c"), "", errMalformed},
		"te":                {get + fieldLines("te", "trailers"), "x /p?q=1 Te=trailers", nil},
		"method, no token":  {"\x00\x00\xd7\xc1" + fieldLines(":method", "G T", ":authority", "x"), "", errMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var s fieldSection
			err := s.decode([]byte(tt.section), maxHeaderBytes)
			var r *http.Request
			if err == nil {
				r, err = s.request(3)
			}
			if !errors.Is(err, tt.err) || tt.want != "" && described(r) != tt.want {
				t.Errorf("%q, %v, want %q, %v", described(r), err, tt.want, tt.err)
			}
		})
	}
}

// described is a request's host, target and header, sorted.
func described(r *http.Request) string {
	if r == nil {
		return ""
	}
	words := []string{r.Host, r.RequestURI}
	for _, name := range sortedKeys(r.Header) {
		words = append(words, name+"="+strings.Join(r.Header[name], "|"))
	}
	return strings.Join(words, " ")
}

// What we encode, another implementation decodes.
func TestAppendField(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("v", 300)
	fields := [][2]string{{":status", "200"}, {"Content-Type", "video/mp4"}, {"Cache-Control", "no-cache"}, {"X-Cache-Status", long}, {"A", ""}, {"ETag", `"1"`}}
	b := []byte{0, 0}
	for _, f := range fields {
		b = appendField(b, f[0], f[1])
	}
	next := qpack.NewDecoder().Decode(b)
	for _, f := range fields {
		got, err := next()
		if err != nil || got.Name != strings.ToLower(f[0]) || got.Value != f[1] {
			t.Errorf("%q decodes to %+v, %v", f, got, err)
		}
	}
	if _, err := next(); err != io.EOF {
		t.Errorf("after the last: %v", err)
	}
}

func TestDecodeDoesNotAllocate(t *testing.T) {
	var s fieldSection
	lines := []byte(someLines)
	if allocs := testing.AllocsPerRun(1000, func() {
		if err := s.decode(lines, maxHeaderBytes); err != nil {
			t.Fatal(err)
		}
	}); allocs != 0 {
		t.Errorf("%v allocations, want 0", allocs)
	}
	buf := make([]byte, 0, 512)
	if allocs := testing.AllocsPerRun(1000, func() { buf = appendField(buf[:0], "Content-Type", "video/mp4") }); allocs != 0 {
		t.Errorf("%v allocations to encode, want 0", allocs)
	}
}

func BenchmarkSection(b *testing.B) {
	var s fieldSection
	lines := []byte(someLines + fieldLines("user-agent", "someone's player", "range", "bytes=0-"))
	for b.Loop() {
		if err := s.decode(lines, maxHeaderBytes); err != nil {
			b.Fatal(err)
		}
		if _, err := s.request(3); err != nil {
			b.Fatal(err)
		}
	}
}

// Another implementation and ours understand the same sections, and alike; and what makes a
// request makes the same one when it is encoded again.
func FuzzSection(f *testing.F) {
	f.Add([]byte(someLines))
	f.Add([]byte("\x00\x00" + fieldLines(":method", "CONNECT", "x", strings.Repeat("y", 200))))
	f.Add([]byte("\x00\x00\x5f\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"))
	f.Add([]byte("\x00\x00\xd1\xd7\xc1\x50\x84\xf1\xe3\xc2\xe5"))
	f.Fuzz(func(t *testing.T, b []byte) {
		const limit = 1 << 30
		var s, again fieldSection
		err := s.decode(b, limit)
		theirs, theirErr := decodeWithQPACK(b)
		if err != nil {
			return // we are stricter about a negative base
		}
		if theirErr != nil {
			if b[1] != 0 {
				return // a base that nothing refers to is no error (RFC 9204, 4.5.1.2)
			}
			t.Fatalf("%x is a section, but another implementation says %v", b, theirErr)
		}
		encoded := []byte{0, 0}
		for i, l := range s.lines {
			name, value := string(s.text[l.begin:l.name]), string(s.text[l.name:l.tail])
			if l.entry >= 0 {
				name = staticTable[l.entry].name
			}
			if l.whole {
				value = staticTable[l.entry].value
			}
			if theirs[i].Name != name || theirs[i].Value != value {
				t.Fatalf("%x: line %d is %q: %q, and to another implementation %+v", b, i, name, value, theirs[i])
			}
		}
		r, err := s.request(3)
		if err != nil {
			return
		}
		for _, f := range [][2]string{{":method", r.Method}, {":authority", r.Host}} {
			encoded = appendField(encoded, f[0], f[1])
		}
		if r.Method != http.MethodConnect {
			encoded = appendField(appendField(encoded, ":scheme", "https"), ":path", r.RequestURI)
		}
		for name, values := range r.Header {
			encoded = appendFields(encoded, name, values, appendField)
		}
		if err := again.decode(encoded, limit); err != nil {
			t.Fatalf("%x: encoded as %x: %v", b, encoded, err)
		}
		if second, err := again.request(3); err != nil || described(second) != described(r) {
			t.Fatalf("%x: %q, encoded again %q, %v", b, described(r), described(second), err)
		}
	})
}

func decodeWithQPACK(b []byte) (all []qpack.HeaderField, err error) {
	next := qpack.NewDecoder().Decode(b)
	for {
		f, err := next()
		if err == io.EOF {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		all = append(all, f)
	}
}

func sortedKeys(h http.Header) []string { return slices.Sorted(maps.Keys(h)) }
