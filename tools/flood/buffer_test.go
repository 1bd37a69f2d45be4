package main

import (
	"fmt"
	"testing"
	"time"
)

// TestBuffer: steps are "SECONDS what": at that time after the viewer pressed play, a track is loaded on by a second
// (v, s), ends (V, S), or playback is looked at (-).
func TestBuffer(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		steps []string
		want  string // state head startup stalls stalled
	}{
		{"nothing comes", []string{"9 -"}, "waiting 0s 0s 0 0s"},
		{"sound alone does not start", []string{"1 s", "9 -"}, "waiting 0s 0s 0 0s"},
		{"both start", []string{"1 v", "2 s", "2.5 -"}, "playing 500ms 2s 0 0s"},
		{"up to what is there", []string{"1 v", "1 s", "2 -"}, "playing 1s 1s 0 0s"},
		{"a track runs dry", []string{"1 v", "1 v", "1 s", "4 -"}, "standing 1s 1s 1 0s"},
		{"and goes on", []string{"1 v", "1 v", "1 s", "4 s", "4.5 -"}, "playing 1.5s 1s 1 2s"},
		{"twice", []string{"1 v", "1 s", "4 s", "5 v", "8 v", "9 s", "9.5 -"}, "playing 2.5s 1s 2 6s"},
		{"a track that has ended does not matter", []string{"1 v", "1 v", "1 s", "1 S", "2.5 -"}, "playing 1.5s 1s 0 0s"},
		{"the end is no stall", []string{"1 v", "1 v", "1 s", "1 S", "1 V", "9 -"}, "over 2s 1s 0 0s"},
		{"the end after a stall", []string{"1 v", "1 s", "3 V", "3 S", "9 -"}, "over 1s 1s 1 1s"},
		{"all ends while nothing began", []string{"1 V", "2 S", "3 -"}, "over 0s 2s 0 0s"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			start := time.Unix(1000, 0)
			b := newBuffer(2, 10*time.Second, start)
			for _, step := range tt.steps {
				var at float64
				var what rune
				if _, err := fmt.Sscanf(step, "%g %c", &at, &what); err != nil {
					t.Fatal(step, err)
				}
				now := start.Add(time.Duration(at * float64(time.Second)))
				switch what {
				case 'v', 's':
					b.add(map[rune]int{'v': 0, 's': 1}[what], time.Second, now)
				case 'V', 'S':
					b.end(map[rune]int{'V': 0, 'S': 1}[what], now)
				default:
					b.advance(now)
				}
			}
			names := [...]string{"waiting", "playing", "standing", "over"}
			if got := fmt.Sprintf("%s %v %v %d %v", names[b.state], b.head, b.startup, b.stalls, b.stalled); got != tt.want {
				t.Errorf("%q: got %s, want %s", tt.steps, got, tt.want)
			}
		})
	}
}

func TestBufferSaysWhenToLoad(t *testing.T) {
	t.Parallel()
	start := time.Unix(1000, 0)
	b := newBuffer(1, 3*time.Second, start)
	due := func() time.Duration { return b.due(0).Sub(start) }
	for i, want := range []time.Duration{0, 0, 0, 0, time.Second} { // the fifth segment fits a second later
		if i > 0 {
			b.add(0, time.Second, start)
		}
		if got := due(); i < 3 && got != 0 || i == 4 && got != want {
			t.Errorf("after %d segments: due at %v, want %v", i, got, want)
		}
	}
	b.advance(start.Add(2 * time.Second))
	if got := due(); got != 2*time.Second {
		t.Errorf("with less than the target: due at %v, want now", got)
	}
	if got := b.remaining(); got != 2*time.Second {
		t.Errorf("remaining: got %v, want 2s", got)
	}
	b.close(start.Add(6 * time.Second))
	if b.stalls != 1 || b.stalled != 2*time.Second {
		t.Errorf("a stall that lasts: %d, %v, want 1, 2s", b.stalls, b.stalled)
	}
}
