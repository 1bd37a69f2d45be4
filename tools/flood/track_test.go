package main

import (
	"errors"
	"fmt"
	"testing"
	"time"
)

// listOf makes n segments of a second.
func listOf(sequence int64, n int, ended bool) *media {
	m := &media{target: time.Second, sequence: sequence, ended: ended}
	for i := range n {
		m.segments = append(m.segments, segment{
			piece: piece{uri: fmt.Sprint(sequence + int64(i))}, begin: time.Duration(i) * time.Second, duration: time.Second,
		})
	}
	return m
}

func TestTrackEnters(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		list     *media
		next     int64
		position time.Duration
		again    bool
		want     string
	}{
		{"a film at its beginning", listOf(1, 9, true), 0, 0, false, "1"},
		{"a film in its middle", listOf(5, 9, true), 0, 4 * time.Second, true, "9"},
		{"nearly there is there", listOf(5, 9, true), 0, 3900 * time.Millisecond, true, "9"},
		{"a film at its end", listOf(1, 3, true), 0, 3 * time.Second, true, "none"},
		{"live three segments before its end", listOf(10, 9, false), 0, 0, false, "16"},
		{"live that has just begun", listOf(10, 2, false), 0, 0, false, "10"},
		{"live with nothing yet", listOf(0, 0, false), 0, 0, false, "none"},
		{"another rendition of live", listOf(10, 9, false), 17, 0, true, "17"},
		{"another rendition of live, too late", listOf(10, 9, false), 3, 0, true, "10"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			k := &track{next: tt.next, position: tt.position}
			k.enter("/p", tt.list, tt.again, time.Unix(0, 0))
			got := "none"
			if s, found := k.segment(); found {
				got = s.uri
			}
			if got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestTrackUpdates(t *testing.T) {
	t.Parallel()
	now := time.Unix(100, 0)
	tests := []struct {
		name    string
		list    *media
		next    int64
		skipped int64
		back    bool
		reload  time.Duration
	}{
		{"one more", listOf(11, 5, false), 15, 0, false, time.Second},
		{"the same", listOf(10, 5, false), 15, 0, false, time.Second / 2},
		{"far ahead", listOf(18, 5, false), 18, 3, false, time.Second},
		{"back", listOf(9, 5, false), 15, 0, true, time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			k := &track{list: listOf(10, 5, false), next: 15}
			skipped, back := k.update(tt.list, now)
			if skipped != tt.skipped || back != tt.back || k.next != tt.next || k.reload.Sub(now) != tt.reload {
				t.Errorf("skipped %d, back %v, next %d, reload after %v; want %+v", skipped, back, k.next, k.reload.Sub(now), tt)
			}
		})
	}
}

func TestResolve(t *testing.T) {
	t.Parallel()
	known := func(host string) bool { return host == "edge" }
	for reference, want := range map[string]string{
		"seg.m4s": "/vod/a/seg.m4s", "../b/seg.m4s?x=1": "/vod/b/seg.m4s?x=1", "/c": "/c", "http://edge/d": "/d", "//edge/e": "/e", "a%2Fb": "/vod/a/a%2Fb",
	} {
		if got, err := resolve("/vod/a/index.m3u8?q=1", reference, known); err != nil || got != want {
			t.Errorf("%s: got %q, %v; want %q", reference, got, err, want)
		}
	}
	for _, reference := range []string{"http://other/d", "//other", "mailto:a", "%zz", "data:,x"} {
		if got, err := resolve("/vod/a/index.m3u8", reference, known); !errors.Is(err, errPlaylist) {
			t.Errorf("%s: got %q, %v; want errPlaylist", reference, got, err)
		}
	}
}

func TestChoose(t *testing.T) {
	t.Parallel()
	variants := []variant{{bandwidth: 2_000_000}, {bandwidth: 500_000}, {bandwidth: 8_000_000}}
	tests := []struct {
		choice choice
		speed  throughput
		want   int64
	}{
		{auto, 0, 500_000},
		{auto, 100, 500_000},
		{auto, 3_000_000, 2_000_000},
		{auto, 1e9, 8_000_000},
		{highest, 100, 8_000_000},
		{lowest, 1e9, 500_000},
	}
	for _, tt := range tests {
		if got := variants[tt.choice.choose(variants, tt.speed)].bandwidth; got != tt.want {
			t.Errorf("%s at %g bit/s: got %d, want %d", tt.choice, tt.speed, got, tt.want)
		}
	}
	var speed throughput
	speed.add(1000, time.Second)
	if speed != 0 {
		t.Errorf("a small transfer counts as %g bit/s", speed)
	}
	speed.add(125_000, time.Second)
	speed.add(250_000, time.Second)
	if speed != 1_300_000 {
		t.Errorf("1 and 2 Mbit/s are %g bit/s, want 1.3e6", speed)
	}
}

func TestPercentiles(t *testing.T) {
	t.Parallel()
	var h histogram
	if got := h.percentile(0.5); got != 0 {
		t.Errorf("of nothing: %v", got)
	}
	for i := range 1000 {
		h.add(time.Duration(i+1) * time.Millisecond)
	}
	for p, want := range map[float64]time.Duration{0: time.Millisecond, 0.5: 500 * time.Millisecond, 0.99: 990 * time.Millisecond, 1: time.Second} {
		if got := h.percentile(p); got < want || got > want*1045/1000 {
			t.Errorf("percentile %g: got %v, want %v to 4.5 %% more", p, got, want)
		}
	}
	h.add(100 * time.Hour)
	h.add(-1)
	if got := h.percentile(1); got < time.Hour || h.count() != 1002 {
		t.Errorf("the longest: %v of %d", got, h.count())
	}
}

// TestListsAreBounded: however many playlists there are, and each is right.
func TestListsAreBounded(t *testing.T) {
	t.Parallel()
	var l lists
	for i := range int64(3 * maxLists) {
		a := &answer{hash: uint64(i), body: []byte(fmt.Sprintf("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-MEDIA-SEQUENCE:%d\n", i))}
		p, failed := l.parse(a)
		again, _ := l.parse(&answer{hash: uint64(i), body: []byte("not read again")})
		if failed != nil || p.media.sequence != i || again != p || a.body != nil || len(l.read) > maxLists {
			t.Fatalf("playlist %d: %+v, %v, again %p and %p, %d are kept", i, p, failed, p, again, len(l.read))
		}
	}
}
