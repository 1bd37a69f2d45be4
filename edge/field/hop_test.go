package field

import (
	"errors"
	"net/http"
	"reflect"
	"strings"
	"testing"
)

func TestRemoveHopByHop(t *testing.T) {
	t.Parallel()
	h := http.Header{
		"Connection":        {"close, x-one", " X-TWO\t,, "},
		"X-One":             {"1"},
		"X-Two":             {"2"},
		"X-Three":           {"3"},
		"Keep-Alive":        {"timeout=5"},
		"Te":                {"trailers"},
		"Transfer-Encoding": {"chunked"},
		"Upgrade":           {"h2c"},
		"Proxy-Connection":  {"close"},
		"Etag":              {`"a"`},
	}
	RemoveHopByHop(h)
	if want := (http.Header{"X-Three": {"3"}, "Etag": {`"a"`}}); !reflect.DeepEqual(h, want) {
		t.Errorf("got %v, want %v", h, want)
	}
	h = http.Header{"Connection": {"cache-control, set-cookie, host"}, "Cache-Control": {"private"}, "Set-Cookie": {"a=b"}}
	RemoveHopByHop(h)
	if want := (http.Header{"Cache-Control": {"private"}, "Set-Cookie": {"a=b"}}); !reflect.DeepEqual(h, want) {
		t.Errorf("got %v, want %v", h, want)
	}
}

func TestRemoveForwarded(t *testing.T) {
	t.Parallel()
	h := http.Header{}
	for _, name := range []string{
		"Forwarded", "X-Forwarded-For", "X-Forwarded-Anything", "X-Original-URL", "X-Rewrite-URL", "X-Host", "X-Real-IP",
		"X-HTTP-Method-Override",
	} {
		h.Set(name, "canary")
	}
	h.Set("Range", "bytes=0-1")
	RemoveForwarded(h)
	if len(h) != 1 || h.Get("Range") == "" {
		t.Errorf("left: %v", h)
	}
}

func TestVia(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		major, minor int
		name, want   string
	}{
		{1, 1, "edge-1", "1.1 edge-1"},
		{1, 0, "edge-1", "1.0 edge-1"},
		{2, 0, "edge-1", "2 edge-1"},
		{3, 0, "edge-1", "3 edge-1"},
		{1, 1, "edge 1,\r\nx", "1.1 edge-1---x"},
		{1, 1, "", "1.1 -"},
	} {
		if got := Via(tt.major, tt.minor, tt.name); got != tt.want {
			t.Errorf("Via(%d, %d, %q) = %q, want %q", tt.major, tt.minor, tt.name, got, tt.want)
		}
	}
	h := http.Header{"Via": {"1.0 a", "1.1 b"}}
	AddVia(h, 2, 0, "c")
	if got, want := h["Via"], []string{"1.0 a, 1.1 b, 2 c"}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestCDNLoop(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		in   []string
		want []string
		err  error
	}{
		{"one", []string{"a"}, []string{"a"}, nil},
		{"parameters", []string{`foo123.foocdn.example, barcdn.example; trace="abcdef, x"`, "AnotherCDN; abc=123; def=\"456\""}, []string{"foo123.foocdn.example", "barcdn.example", "AnotherCDN"}, nil},
		{"host and port", []string{"[::1]:80"}, []string{"[::1]:80"}, nil},
		{"empty elements", []string{",a,,b,"}, []string{"a", "b"}, nil},
		{"quote that does not end", []string{`a; b="`}, nil, ErrLoop},
		{"blank inside", []string{"a b"}, nil, ErrLoop},
		{"only parameters", []string{"; a=b"}, nil, ErrLoop},
		{"too many", []string{strings.Repeat("a,", MaxLoopMembers) + "a"}, nil, ErrLoop},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := ParseCDNLoop(tt.in)
			if !errors.Is(err, tt.err) || !reflect.DeepEqual(got, tt.want) {
				t.Errorf("ParseCDNLoop(%q) = %q, %v, want %q, %v", tt.in, got, err, tt.want, tt.err)
			}
		})
	}
	h := http.Header{}
	AddCDNLoop(h, "weir")
	AddCDNLoop(h, "WEIR")
	AddCDNLoop(h, "other")
	if n, err := CDNLoopCount(h, "weir"); n != 2 || err != nil {
		t.Errorf("counted %d, %v in %q, want 2", n, err, h["Cdn-Loop"])
	}
	if n, err := CDNLoopCount(http.Header{"Cdn-Loop": {`"`}}, "weir"); n != 0 || !errors.Is(err, ErrLoop) {
		t.Errorf("counted %d, %v in a broken field", n, err)
	}
}

func FuzzParseCDNLoop(f *testing.F) {
	for _, s := range []string{"a, b; c=d", `a; b="x, \" y", c`, "[::1]:80"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ids, err := ParseCDNLoop([]string{s})
		if err != nil {
			return
		}
		again, err := ParseCDNLoop([]string{strings.Join(ids, ", ")})
		if err != nil || !reflect.DeepEqual(ids, again) {
			t.Errorf("ParseCDNLoop(%q) = %q, again %q, %v", s, ids, again, err)
		}
	})
}

func FuzzRemoveHopByHop(f *testing.F) {
	f.Add("close, x-a, cache-control")
	f.Fuzz(func(t *testing.T, connection string) {
		h := http.Header{"Connection": {connection}, "Cache-Control": {"private"}, "Te": {"x"}}
		RemoveHopByHop(h)
		if len(h) != 1 || h["Cache-Control"] == nil {
			t.Errorf("Connection %q left %v", connection, h)
		}
	})
}
