package proof

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestBodyReadAt(t *testing.T) {
	t.Parallel()
	o := NewOracle("s")
	body := o.Truth("h", "/o/1MiB/a", nil, 3).Body
	whole, err := io.ReadAll(io.NewSectionReader(body, 0, body.Size()))
	if err != nil || len(whole) != 1<<20 {
		t.Fatalf("got %d bytes, %v, want 1 MiB", len(whole), err)
	}
	for _, at := range []struct{ off, n int64 }{{0, 1}, {1, 63}, {63, 2}, {4095, 2}, {4096, 4096}, {5000, 10000}, {1<<20 - 1, 1}} {
		p := make([]byte, at.n)
		if _, err := body.ReadAt(p, at.off); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(p, whole[at.off:at.off+at.n]) {
			t.Errorf("ReadAt(%d bytes, %d) differs from the whole", at.n, at.off)
		}
	}
	if n, err := body.ReadAt(make([]byte, 10), 1<<20-4); n != 4 || !errors.Is(err, io.EOF) {
		t.Errorf("ReadAt over the end: got %d, %v, want 4, EOF", n, err)
	}
	if _, err := body.ReadAt(make([]byte, 1), 1<<20); !errors.Is(err, io.EOF) {
		t.Errorf("ReadAt at the end: got %v, want EOF", err)
	}
	again := NewOracle("s").Truth("H:80", "/o/1MiB/%61", nil, 3).Body
	p := make([]byte, 9000)
	again.fill(p, 77)
	if !bytes.Equal(p, whole[77:9077]) {
		t.Error("two oracles with one secret disagree")
	}
	if bytes.Count(whole, []byte(stampMagic)) != 256 {
		t.Errorf("got %d stamps, want 256", bytes.Count(whole, []byte(stampMagic)))
	}
}

func TestIdentity(t *testing.T) {
	t.Parallel()
	o := NewOracle("s")
	o.SetRule("/v*", Rule{Vary: []string{"Accept-Language"}, Keyed: []string{"Cookie"}})
	base := o.Truth("h", "/v1", http.Header{"Cookie": {"u=1"}}, 1).Body
	for name, other := range map[string]*Body{
		"host":    o.Truth("i", "/v1", http.Header{"Cookie": {"u=1"}}, 1).Body,
		"path":    o.Truth("h", "/v2", http.Header{"Cookie": {"u=1"}}, 1).Body,
		"query":   o.Truth("h", "/v1?a", http.Header{"Cookie": {"u=1"}}, 1).Body,
		"version": o.Truth("h", "/v1", http.Header{"Cookie": {"u=1"}}, 2).Body,
		"keyed":   o.Truth("h", "/v1", http.Header{"Cookie": {"u=2"}}, 1).Body,
		"vary":    o.Truth("h", "/v1", http.Header{"Cookie": {"u=1"}, "Accept-Language": {"de"}}, 1).Body,
	} {
		a, b := make([]byte, 256), make([]byte, 256)
		base.fill(a, 0)
		other.fill(b, 0)
		if bytes.Equal(a[StampBytes:], b[StampBytes:]) || other.ETag() == base.ETag() {
			t.Errorf("another %s gives the same body or tag", name)
		}
	}
	same := o.Truth("H:443", "/v%31", http.Header{"Cookie": {"u=1"}, "Other": {"x"}}, 1).Body
	if same.ETag() != base.ETag() {
		t.Errorf("got %s, want %s", same.ETag(), base.ETag())
	}
}

func TestRules(t *testing.T) {
	t.Parallel()
	o := NewOracle("")
	o.SetRule("/*", Rule{Size: 1})
	o.SetRule("/a/*", Rule{Size: 2})
	o.SetRule("/a/b", Rule{Size: 3})
	o.SetRule("host/*", Rule{Size: 4})
	o.SetRule("host/a/*", Rule{Size: 5})
	o.SetRule("/a/b", Rule{Size: 6})
	for _, c := range []struct {
		host, path string
		want       int64
	}{
		{"x", "/z", 1}, {"x", "/a/c", 2}, {"x", "/a/b", 6}, {"HOST:1", "/z", 4}, {"host", "/a/c", 5}, {"host", "/a/b", 6},
	} {
		if got := o.Rule(c.host, c.path).Size; got != c.want {
			t.Errorf("Rule(%s, %s): got size %d, want %d", c.host, c.path, got, c.want)
		}
	}
	for path, want := range map[string]int64{
		"/o/2MiB/a": 2 << 20, "/o/1500/a": 1500, "/o/0/a": 0, "/o/3KiB": 3 << 10, "/o/x/a": DefaultSize, "/p": DefaultSize,
	} {
		if got := NewOracle("").Rule("h", path).Size; got != want {
			t.Errorf("size of %s: got %d, want %d", path, got, want)
		}
	}
}

func TestVersions(t *testing.T) {
	t.Parallel()
	o := NewOracle("")
	start := time.Unix(1000, 0)
	o.SetRule("/every", Rule{Every: 10 * time.Second})
	o.Bump("/b*", start.Add(5*time.Second))
	o.Bump("/b*", start.Add(8*time.Second))
	for _, c := range []struct {
		path string
		at   int
		want uint64
	}{{"/a", 9, 1}, {"/b", 4, 1}, {"/b", 5, 2}, {"/bb", 7, 2}, {"/b", 8, 3}, {"/every", 0, 101}, {"/every", 9, 101}, {"/every", 10, 102}} {
		if got := o.Version("h", c.path, start.Add(time.Duration(c.at)*time.Second)); got != c.want {
			t.Errorf("Version(%s, %d): got %d, want %d", c.path, c.at, got, c.want)
		}
	}
}

func TestCanonical(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"": "/", "/a": "/a", "/%61.m4s": "/a.m4s", "/a%2fb": "/a%2Fb", "/%7E%zz%4": "/~%zz%4", "?x": "/?x", "/a%C3%a9": "/a%C3%A9",
	} {
		if got := Canonical(in); got != want {
			t.Errorf("Canonical(%q): got %q, want %q", in, got, want)
		}
	}
}

func TestExplain(t *testing.T) {
	t.Parallel()
	o := NewOracle("s")
	want := o.Truth("h", "/o/64KiB/a", nil, 5).Body
	read := func(b *Body, off, n int64) []byte {
		p := make([]byte, n)
		b.fill(p, off)
		return p
	}
	flipped := read(want, 8192, 4096)
	flipped[100] ^= 4
	mixed := append(read(want, 8192, 1000), read(o.Truth("h", "/o/64KiB/a", nil, 6).Body, 9192, 7000)...)
	short := append(read(want, 8192, 1000), read(o.Truth("h", "/o/64KiB/a", nil, 4).Body, 9192, 500)...)
	foreign := read(NewOracle("other").Truth("h", "/zz", nil, 5).Body, 8192, 4096)
	damaged := read(o.Truth("h", "/o/64KiB/b", nil, 5).Body, 8192, 4096)
	damaged[1000] ^= 1
	for _, c := range []struct {
		name string
		got  []byte
		want string
	}{
		{"right", read(want, 8192, 5000), ""},
		{"flip", flipped, "noise: 1 wrong of 4096"},
		{"object", read(o.Truth("h", "/o/64KiB/b", nil, 5).Body, 8192, 4096), "other object: h/o/64KiB/b version 5, page 2"},
		{"damaged object", damaged, "page 2, itself damaged"},
		{"unknown object", foreign, "not known here"},
		{"version", read(o.Truth("h", "/o/64KiB/a", nil, 4).Body, 8192, 4096), "other version: 4, page 2"},
		{"far version", read(o.Truth("h", "/o/64KiB/a", nil, 500).Body, 8192, 4096), "other version: 500, page 2"},
		{"mixed", mixed, "byte 9192 (page 2, offset 1000 in it) of h/o/64KiB/a version 5: other version: 6, page 3"},
		{"mixed, no stamp", short, "other version: 4 at the same offset"},
		{"page", read(want, 16384, 4096), "other page: 4"},
		{"shift", read(want, 8193, 8192), "shifted by -1"},
		{"shift, no stamp", read(want, 8193, 80)[60:], "shifted"},
		{"zeros", make([]byte, 4096), "zeros"},
		{"noise", bytes.Repeat([]byte("<html>"), 700), "noise"},
	} {
		off := int64(8192)
		if c.name == "shift, no stamp" {
			off += 60
		}
		if got := o.Explain(want, off, c.got); !strings.Contains(got, c.want) || (c.want == "") != (got == "") {
			t.Errorf("%s: got %q, want %q in it", c.name, got, c.want)
		}
	}
	if got := o.Explain(want, 65536-10, read(want, 65536-10, 30)); !strings.Contains(got, "20 bytes past the end") {
		t.Errorf("past the end: got %q", got)
	}
}

func TestParseETag(t *testing.T) {
	t.Parallel()
	b := NewOracle("").Truth("h", "/", nil, 12).Body
	version, hash, ok := ParseETag(b.ETag())
	if !ok || version != 12 || hash != b.hash {
		t.Errorf("ParseETag(%s): got %d, %x, %v", b.ETag(), version, hash, ok)
	}
	for _, bad := range []string{"", `"x"`, `W/` + b.ETag(), `"v-0000000000000000"`, `"v1-00"`, `v1-0000000000000000`, `"v1-000000000000000g"`} {
		if _, _, ok := ParseETag(bad); ok {
			t.Errorf("ParseETag(%s) took it", bad)
		}
	}
}

func BenchmarkBody(b *testing.B) {
	body := NewOracle("s").Truth("h", "/o/64MiB/a", nil, 1).Body
	p := make([]byte, readBytes)
	b.SetBytes(int64(len(p)))
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		body.fill(p, int64(i%2000)*readBytes)
	}
}
