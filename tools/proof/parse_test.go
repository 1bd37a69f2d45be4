package proof

import (
	"reflect"
	"testing"
)

func TestParseCacheStatus(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in       []string
		want     []CacheStatus
		outcomes []string
	}{
		{nil, nil, nil},
		{[]string{"n1; hit"}, []CacheStatus{{Cache: "n1", Hit: true}}, []string{"hit"}},
		{
			[]string{`"n 1";hit;ttl=-412`, `n2; fwd=stale; fwd-status=304; collapsed=?0; stored; key="a\"b"; detail=X; other=?1`},
			[]CacheStatus{
				{Cache: "n 1", Hit: true, TTL: -412, HasTTL: true},
				{Cache: "n2", Fwd: "stale", FwdStatus: 304, Stored: true, Key: `a"b`, Detail: "X"},
			},
			[]string{"stale", "miss"},
		},
		{
			[]string{"a; fwd=uri-miss; collapsed, b; fwd=bypass, c; fwd=method, d; fwd=request, e;hit=?0, f; hit; ttl=0"},
			[]CacheStatus{
				{Cache: "a", Fwd: "uri-miss", Collapsed: true},
				{Cache: "b", Fwd: "bypass"},
				{Cache: "c", Fwd: "method"},
				{Cache: "d", Fwd: "request"},
				{Cache: "e"},
				{Cache: "f", Hit: true, HasTTL: true},
			},
			[]string{"collapsed", "pass", "pass", "pass", "", "hit"},
		},
	} {
		got, err := ParseCacheStatus(c.in)
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%q: got %+v, %v, want %+v", c.in, got, err, c.want)
			continue
		}
		for i, s := range got {
			if s.Outcome() != c.outcomes[i] {
				t.Errorf("%q member %d: got %q, want %q", c.in, i, s.Outcome(), c.outcomes[i])
			}
		}
	}
	for _, bad := range []string{
		"", "n;", "n; =1", "n; hit=1", "n; hit=?2", "n; fwd=\"miss\"", "n; ttl=x", "n; ttl=-", "n; ttl=1234567890123456", "n; key=a",
		"n,", "n hit", "n; hit; fwd=miss", `"n`, `"n\x"`, "\"n\x01\"", "1; hit", "?1; hit", "n; Hit",
	} {
		if got, err := ParseCacheStatus([]string{bad}); err == nil {
			t.Errorf("%q: got %+v, want an error", bad, got)
		}
	}
}

func FuzzParseCacheStatus(f *testing.F) {
	f.Add(`"n 1";hit;ttl=-412, n2; fwd=stale; fwd-status=304; collapsed=?0; stored; key="a\"b"; detail=X`)
	f.Fuzz(func(t *testing.T, line string) {
		list, err := ParseCacheStatus([]string{line})
		if err == nil && len(list) == 0 {
			t.Error("neither members nor an error")
		}
	})
}

func TestParseRange(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		header string
		size   int64
		want   []span
		state  rangeState
	}{
		{"", 10, nil, rangeNone},
		{"items=0-1", 10, nil, rangeNone},
		{"bytes=", 10, nil, rangeNone},
		{"bytes=,", 10, nil, rangeNone},
		{"bytes=5", 10, nil, rangeNone},
		{"bytes=2-1", 10, nil, rangeNone},
		{"bytes=-", 10, nil, rangeNone},
		{"bytes=a-b", 10, nil, rangeNone},
		{"bytes=0-1,x", 10, nil, rangeNone},
		{"bytes=0-0", 10, []span{{0, 1}}, rangeSome},
		{"bytes=5-", 10, []span{{5, 5}}, rangeSome},
		{"bytes=5-100", 10, []span{{5, 5}}, rangeSome},
		{"bytes=-3", 10, []span{{7, 3}}, rangeSome},
		{"bytes=-30", 10, []span{{0, 10}}, rangeSome},
		{"bytes=-0", 10, nil, rangeUnsatisfiable},
		{"bytes=10-", 10, nil, rangeUnsatisfiable},
		{"bytes=0-", 0, nil, rangeUnsatisfiable},
		{"bytes= 0-1 , 10-, 3-4", 10, []span{{0, 2}, {3, 2}}, rangeSome},
	} {
		got, state := parseRange(c.header, c.size)
		if state != c.state || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%q of %d: got %v, %d, want %v, %d", c.header, c.size, got, state, c.want, c.state)
		}
	}
}

func TestParseContentRange(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]struct {
		s    span
		size int64
	}{
		"bytes 0-9/100": {span{0, 10}, 100}, "bytes 5-5/*": {span{5, 1}, -1}, "bytes */7": {span{-1, -1}, 7},
	} {
		s, size, err := parseContentRange(in)
		if err != nil || s != want.s || size != want.size {
			t.Errorf("%q: got %v, %d, %v, want %v", in, s, size, err, want)
		}
	}
	for _, bad := range []string{"", "bytes", "bytes 0-9", "items 0-9/10", "bytes 9-0/10", "bytes 0-10/10", "bytes */*", "bytes -9/10", "bytes 0-/10", "bytes 0-9/-1"} {
		if s, size, err := parseContentRange(bad); err == nil {
			t.Errorf("%q: got %v, %d, want an error", bad, s, size)
		}
	}
}

func FuzzParseRange(f *testing.F) {
	f.Add("bytes=0-1,5-,-3", "bytes 0-9/10", int64(10))
	f.Fuzz(func(t *testing.T, header, content string, size int64) {
		size = max(size, 0)
		spans, _ := parseRange(header, size)
		for _, s := range spans {
			if s.start < 0 || s.length <= 0 || s.end() > size {
				t.Fatalf("%q of %d: %v", header, size, s)
			}
		}
		s, total, err := parseContentRange(content)
		if err == nil && s.start >= 0 && total >= 0 {
			again, n, err := parseContentRange(s.contentRange(total))
			if err != nil || again != s || n != total {
				t.Fatalf("%q: %v, then %v, %v", content, s, again, err)
			}
		}
	})
}

func FuzzParseFault(f *testing.F) {
	for _, text := range []string{"stall=1000:30s", "trickle=1KiB/1s", "length=-10", "other"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		once, err := ParseFault(text)
		if err != nil {
			return
		}
		if twice, err := ParseFault(once.String()); err != nil || twice != once {
			t.Fatalf("%q: got %v, %v, want %v", text, twice, err, once)
		}
	})
}

func TestParseSize(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]int64{"0": 0, "17": 17, "17B": 17, "2KiB": 2048, "3MiB": 3 << 20, "1GiB": 1 << 30} {
		if got, err := ParseSize(in); err != nil || got != want {
			t.Errorf("%q: got %d, %v, want %d", in, got, err, want)
		}
	}
	for _, bad := range []string{"", "B", "-1", "1KB", "1K", "1.5MiB", "99999999999999999999", "9223372036854775807GiB"} {
		if got, err := ParseSize(bad); err == nil {
			t.Errorf("%q: got %d, want an error", bad, got)
		}
	}
}
