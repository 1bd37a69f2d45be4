package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"weir/tools/proof"
)

// studio serves a title of ten segments of a second, video and sound, and a live channel of one segment a second, all
// from memory. fault sees every request first and reports whether it has answered.
type studio struct {
	fault func(w http.ResponseWriter, r *http.Request) bool
	begun time.Time
}

func (s *studio) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Status", "edge; hit; ttl=5")
	w.Header().Set("Age", "3")
	if s.fault != nil && s.fault(w, r) {
		return
	}
	switch name := strings.TrimPrefix(r.URL.Path, "/t/"); name {
	case "master.m3u8":
		s.send(w, "#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"g\",NAME=\"n\",URI=\"sound.m3u8\"\n"+
			"#EXT-X-STREAM-INF:BANDWIDTH=400000,AUDIO=\"g\"\nlow.m3u8\n#EXT-X-STREAM-INF:BANDWIDTH=4000000,AUDIO=\"g\"\nhigh.m3u8\n")
	case "low.m3u8", "high.m3u8", "sound.m3u8":
		name = strings.TrimSuffix(name, ".m3u8")
		s.send(w, "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-MAP:URI=\""+name+"-init\"\n"+segments(name, 0, 10)+"#EXT-X-ENDLIST\n")
	case "file.m3u8":
		s.send(w, "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-MAP:URI=\"file\",BYTERANGE=\"100@0\"\n#EXTINF:1,\n#EXT-X-BYTERANGE:1000@100\nfile\n#EXTINF:1,\n#EXT-X-BYTERANGE:900\nfile\n#EXT-X-ENDLIST\n")
	case "live.m3u8":
		n := int(time.Since(s.begun) / time.Second)
		w.Header().Set("ETag", fmt.Sprintf(`"%d"`, n))
		s.send(w, fmt.Sprintf("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-MEDIA-SEQUENCE:%d\n%s", n, segments("live", n, 6)))
	default:
		w.Header().Set("ETag", `"`+name+`"`)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(contents(name)))
	}
}

func (s *studio) send(w http.ResponseWriter, text string) { _, _ = io.WriteString(w, text) }

func segments(name string, from, n int) string {
	var b strings.Builder
	for i := from; i < from+n; i++ {
		fmt.Fprintf(&b, "#EXTINF:1,\n%s-%d\n", name, i)
	}
	return b.String()
}

func contents(name string) []byte { return bytes.Repeat([]byte(name+"."), 4000) }

// watchers are what a test floods: studios on a network in memory, in a bubble.
type watchers struct {
	t       *testing.T
	network *proof.Network
	servers []func()
}

// watch runs a test in a bubble with these studios as http://a, http://b and so on.
func watch(t *testing.T, studios []*studio, test func(t *testing.T, w *watchers)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &watchers{t: t, network: proof.NewNetwork(1)}
		for i, s := range studios {
			l, err := w.network.Listen(string(rune('a'+i)) + ":80")
			if err != nil {
				t.Fatal(err)
			}
			s.begun = time.Now().Add(-time.Minute)
			w.servers = append(w.servers, proof.Serve(l, s, nil))
		}
		test(t, w)
		for _, stop := range w.servers {
			stop()
		}
		time.Sleep(time.Minute) // virtual: what the servers had begun ends
	})
}

// flood runs a command line with --json.
func (w *watchers) flood(ctx context.Context, args ...string) (code int, r *report) {
	w.t.Helper()
	var out, errs bytes.Buffer
	code = run(ctx, append(args, "--json", "-q", "--ramp=0s"), streams{&out, &errs}, func(ctx context.Context, _, address string) (net.Conn, error) {
		return w.network.Dial(ctx, "viewer", address)
	})
	r = &report{}
	if err := json.Unmarshal(out.Bytes(), r); err != nil {
		w.t.Fatalf("flood %q: exit code %d, %v: %s%s", args, code, err, out.String(), errs.String())
	}
	return code, r
}

// want compares what stands in a report.
func (w *watchers) want(code, wantCode int, r *report, want string) {
	w.t.Helper()
	got := fmt.Sprintf("lost %d finished %d stalls %d failed %d failovers %d wrong %d", r.Lost, r.Finished, r.Stalls.Count, r.Failed, r.Failovers, r.Wrong.Count)
	if code != wantCode || got != want {
		text, _ := json.Marshal(r)
		w.t.Errorf("exit code %d, %s; want %d, %s\n%s", code, got, wantCode, want, text)
	}
}

func TestEverybodySeesTheFilm(t *testing.T) {
	watch(t, []*studio{{}, {}}, func(t *testing.T, w *watchers) {
		code, r := w.flood(t.Context(), "http://a", "http://b", "--path=/t/master.m3u8", "--viewers=20", "--verify-against=http://a")
		w.want(code, exitOK, r, "lost 0 finished 20 stalls 0 failed 0 failovers 0 wrong 0")
		if r.Seconds < 10 || r.Seconds > 10.1 {
			t.Errorf("ten seconds took %g", r.Seconds)
		}
		// Two inits and ten segments each for 20 viewers, and three playlists or, when they chose up, four.
		if r.Requests < 20*(3+22) || r.Requests > 20*(4+23) || r.Edges[0].Outcomes["hit"] != r.Edges[0].Requests || r.Edges[1].Home.Viewers != 10 {
			t.Errorf("%d requests, %+v", r.Requests, r.Edges)
		}
		if r.Objects < 22 || r.Origin.Verified != int64(r.Objects) || r.Origin.Failed != 0 {
			t.Errorf("%d objects, %+v", r.Objects, r.Origin)
		}
	})
}

func TestFastDoesNotWait(t *testing.T) {
	watch(t, []*studio{{}}, func(t *testing.T, w *watchers) {
		code, r := w.flood(t.Context(), "http://a", "--path=/t/master.m3u8", "--viewers=5", "--fast", "--buffer=2s", "--rendition=lowest")
		w.want(code, exitOK, r, "lost 0 finished 5 stalls 0 failed 0 failovers 0 wrong 0")
		if r.Seconds > 1 || r.Requests != 5*(3+22) {
			t.Errorf("%d requests in %g s", r.Requests, r.Seconds)
		}
	})
}

func TestRanges(t *testing.T) {
	watch(t, []*studio{{}}, func(t *testing.T, w *watchers) {
		code, r := w.flood(t.Context(), "http://a", "--path=/t/file.m3u8", "--viewers=2", "--fast", "--verify-against=http://a")
		w.want(code, exitOK, r, "lost 0 finished 2 stalls 0 failed 0 failovers 0 wrong 0")
		if r.Objects != 3 || r.Requests != 2*4 || r.Bytes < 4000 || r.Bytes > 5000 || r.Origin.Verified != 3 {
			t.Errorf("%d objects, %d requests, %d bytes, %+v", r.Objects, r.Requests, r.Bytes, r.Origin)
		}
	})
}

// TestWrongBytesAreFound: one bit in one segment of one edge.
func TestWrongBytesAreFound(t *testing.T) {
	flip := func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/t/sound-4" {
			return false
		}
		b := contents("sound-4")
		b[17] ^= 1
		w.Header().Set("ETag", `"sound-4"`)
		_, _ = w.Write(b)
		return true
	}
	watch(t, []*studio{{}, {fault: flip}}, func(t *testing.T, w *watchers) {
		code, r := w.flood(t.Context(), "http://a", "http://b", "--path=/t/master.m3u8", "--viewers=2")
		w.want(code, exitBad, r, "lost 0 finished 2 stalls 0 failed 0 failovers 0 wrong 1")
		if f := r.Wrong.First; len(f) != 1 || f[0].URL != "/t/sound-4" || f[0].Edges[0] == f[0].Edges[1] {
			t.Errorf("got %+v", f)
		}
		code, r = w.flood(t.Context(), "http://b", "--path=/t/master.m3u8", "--viewers=3", "--verify-against=http://a")
		w.want(code, exitBad, r, "lost 0 finished 3 stalls 0 failed 0 failovers 0 wrong 1")
		if f := r.Wrong.First; len(f) != 1 || f[0].URL != "/t/sound-4" || f[0].Edges != [2]string{"http://b", "http://a"} {
			t.Errorf("got %+v", f)
		}
	})
}

// TestPlaylistsOfOneVersionAreCompared: they may change, but not under one strong validator.
func TestPlaylistsOfOneVersionAreCompared(t *testing.T) {
	text := "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-ENDLIST\n"
	tagged := func(etag, more string) *studio {
		return &studio{fault: func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("ETag", etag)
			_, _ = io.WriteString(w, text+more)
			return true
		}}
	}
	watch(t, []*studio{tagged(`"1"`, ""), tagged(`"1"`, "#\n"), tagged(`"2"`, "# \n"), tagged(`W/"1"`, "#  \n")}, func(t *testing.T, w *watchers) {
		code, r := w.flood(t.Context(), "http://a", "http://b", "--path=/p", "--viewers=2", "--fast")
		w.want(code, exitBad, r, "lost 0 finished 2 stalls 0 failed 0 failovers 0 wrong 1")
		code, r = w.flood(t.Context(), "http://a", "http://c", "http://d", "--path=/p", "--viewers=3", "--fast")
		w.want(code, exitOK, r, "lost 0 finished 3 stalls 0 failed 0 failovers 0 wrong 0")
	})
}

// TestFailover: an edge dies while viewers watch; they go on at the other one, and those of the other notice nothing.
func TestFailover(t *testing.T) {
	watch(t, []*studio{{}, {}}, func(t *testing.T, w *watchers) {
		time.AfterFunc(3*time.Second, func() { w.network.Kill("a") })
		code, r := w.flood(t.Context(), "http://a", "http://b", "--path=/t/master.m3u8", "--viewers=10", "--buffer=3s", "--failover")
		w.want(code, exitOK, r, "lost 0 finished 10 stalls 0 failed 5 failovers 5 wrong 0")
		if len(r.Edges[1].Failed) > 0 || r.Edges[1].Home.Failovers > 0 {
			t.Errorf("the other edge: %+v", r.Edges[1])
		}
	})
}

func TestWithoutFailoverTheyGiveUp(t *testing.T) {
	watch(t, []*studio{{}, {}}, func(t *testing.T, w *watchers) {
		time.AfterFunc(3*time.Second, func() { w.network.Kill("a") })
		code, r := w.flood(t.Context(), "http://a", "http://b", "--path=/t/master.m3u8", "--viewers=10", "--buffer=3s")
		w.want(code, exitBad, r, fmt.Sprintf("lost 5 finished 5 stalls 5 failed %d failovers 0 wrong 0", 5*rounds))
		if r.Edges[0].Home.Lost != 5 || r.Edges[0].Failed[failConnect] < 5*(rounds-1) {
			t.Errorf("the dead edge: %+v", r.Edges[0])
		}
	})
}

// TestSilence: an edge that hangs is left after the timeout, which the buffer hides or not.
func TestSilence(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ buffer, want string }{
		{"6s", "lost 0 finished 2 stalls 0 failed 1 failovers 1 wrong 0"},
		{"2s", "lost 0 finished 2 stalls 1 failed 1 failovers 1 wrong 0"},
	} {
		t.Run(tt.buffer, func(t *testing.T) {
			watch(t, []*studio{{}, {}}, func(t *testing.T, w *watchers) {
				time.AfterFunc(1500*time.Millisecond, func() { w.network.Cut("viewer", "a") })
				code, r := w.flood(t.Context(), "http://a", "http://b", "--path=/t/master.m3u8", "--viewers=2", "--buffer="+tt.buffer, "--timeout=4s", "--failover")
				w.want(code, exitOK, r, tt.want)
				if r.Edges[0].Failed[failSilent] != 1 || r.Edges[0].Home.Stalls != r.Stalls.Count {
					t.Errorf("the edge that hangs: %+v", r.Edges[0])
				}
				if s := r.Stalls.Seconds; r.Stalls.Count > 0 && (s < 1 || s > 4) || r.Stalls.Count == 0 && s != 0 {
					t.Errorf("stalled %g s", s)
				}
			})
		})
	}
}

// TestStall: a segment that takes ten seconds, with two in the buffer.
func TestStall(t *testing.T) {
	slow := func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "-5") {
			time.Sleep(10 * time.Second) // virtual
		}
		return false
	}
	watch(t, []*studio{{fault: slow}}, func(t *testing.T, w *watchers) {
		code, r := w.flood(t.Context(), "http://a", "--path=/t/sound.m3u8", "--viewers=1", "--buffer=2s", "--timeout=20s")
		w.want(code, exitOK, r, "lost 0 finished 1 stalls 1 failed 0 failovers 0 wrong 0")
		if s := r.Stalls; s.Seconds < 7.9 || s.Seconds > 8.1 || s.Viewers != 1 || s.Share != 1 || s.Longest != s.Seconds {
			t.Errorf("got %+v, want a stall of 8 s", s)
		}
	})
}

// TestSlowBodies: bytes that trickle for longer than the timeout are no silence; a stall that lasts when time is up counts.
func TestSlowBodies(t *testing.T) {
	trickle := func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/t/sound-5" {
			return false
		}
		for range 10 {
			_, _ = w.Write(make([]byte, 1000))
			_ = http.NewResponseController(w).Flush()
			time.Sleep(3 * time.Second) // virtual
		}
		return true
	}
	watch(t, []*studio{{fault: trickle}}, func(t *testing.T, w *watchers) {
		code, r := w.flood(t.Context(), "http://a", "--path=/t/sound.m3u8", "--viewers=1", "--buffer=2s", "--timeout=4s")
		w.want(code, exitOK, r, "lost 0 finished 1 stalls 1 failed 0 failovers 0 wrong 0")
		code, r = w.flood(t.Context(), "http://a", "--path=/t/sound.m3u8", "--viewers=1", "--buffer=2s", "--timeout=4s", "--duration=15s")
		w.want(code, exitOK, r, "lost 0 finished 0 stalls 1 failed 0 failovers 0 wrong 0")
		if s := r.Stalls; s.Seconds < 9.9 || s.Seconds > 10.1 {
			t.Errorf("got %+v, want a stall of 10 s", s)
		}
	})
}

// TestCutBodies: a body that breaks off is a failure, and is asked for again.
func TestCutBodies(t *testing.T) {
	cut := false
	breakOff := func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "-5") || cut {
			return false
		}
		cut = true
		w.Header().Set("Content-Length", "40000")
		_, _ = w.Write(make([]byte, 20000))
		panic(http.ErrAbortHandler)
	}
	watch(t, []*studio{{fault: breakOff}}, func(t *testing.T, w *watchers) {
		code, r := w.flood(t.Context(), "http://a", "--path=/t/sound.m3u8", "--viewers=1", "--fast")
		w.want(code, exitOK, r, "lost 0 finished 1 stalls 0 failed 1 failovers 0 wrong 0")
		if r.Edges[0].Failed[failCut] != 1 || !strings.Contains(r.Edges[0].Examples[failCut], "/t/sound-5: after 20000 bytes") {
			t.Errorf("got %+v", r.Edges[0])
		}
	})
}

// TestBadAnswers: what ends a viewer, and how it is called.
func TestBadAnswers(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		kind string
		say  string
	}{
		"an error":            {"503", ""},
		"no playlist":         {failPlaylist, "<html>"},
		"leads elsewhere":     {failPlaylist, "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nhttp://elsewhere/v.m3u8\n"},
		"variants in variant": {failPlaylist, "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nv.m3u8\n"},
	} {
		t.Run(name, func(t *testing.T) {
			answer := func(w http.ResponseWriter, _ *http.Request) bool {
				if tt.say == "" {
					w.WriteHeader(http.StatusServiceUnavailable)
				}
				_, _ = io.WriteString(w, tt.say)
				return true
			}
			watch(t, []*studio{{fault: answer}}, func(t *testing.T, w *watchers) {
				code, r := w.flood(t.Context(), "http://a", "--path=/t/master.m3u8", "--viewers=1")
				if code != exitBad || r.Lost != 1 || r.Failed == 0 || r.Edges[0].Failed[tt.kind] != r.Failed {
					t.Errorf("exit code %d, %+v", code, r)
				}
			})
		})
	}
}

// TestOddities: promises whose breach no viewer sees are told, and do no harm.
func TestOddities(t *testing.T) {
	odd := func(w http.ResponseWriter, r *http.Request) bool {
		switch r.URL.Path {
		case "/t/sound-1":
			w.Header().Set("Age", "-1")
		case "/t/sound-2":
			w.Header().Set("Cache-Status", "edge; hit; fwd=miss")
		case "/t/sound-3":
			w.Header().Set("ETag", `"other"`)
			_, _ = w.Write(contents("sound-3"))
			return true
		}
		return false
	}
	watch(t, []*studio{{}, {fault: odd}}, func(t *testing.T, w *watchers) {
		code, r := w.flood(t.Context(), "http://a", "http://b", "--path=/t/sound.m3u8", "--viewers=2", "--fast")
		w.want(code, exitOK, r, "lost 0 finished 2 stalls 0 failed 0 failovers 0 wrong 0")
		if got := counts(r.Edges[1].Oddities); got != "age 1 cache-status 1" || r.ETags != 1 || !strings.Contains(r.ETagPair, "/t/sound-3") {
			t.Errorf("oddities %s, ETags differ %d times: %s", got, r.ETags, r.ETagPair)
		}
	})
}

// TestLive: a channel is followed at its edge until time is up.
func TestLive(t *testing.T) {
	watch(t, []*studio{{}, {}}, func(t *testing.T, w *watchers) {
		code, r := w.flood(t.Context(), "http://a", "http://b", "--path=/t/live.m3u8", "--viewers=10", "--duration=20s")
		w.want(code, exitOK, r, "lost 0 finished 0 stalls 0 failed 0 failovers 0 wrong 0")
		if r.Objects < 20 || r.Objects > 24 || r.Skipped != 0 || r.Seconds < 20 || r.Seconds > 20.1 {
			t.Errorf("%d segments, %d skipped in %g s", r.Objects, r.Skipped, r.Seconds)
		}
	})
}

// TestLiveThatGoesBack: a playlist that is older than the one before is told.
func TestLiveThatGoesBack(t *testing.T) {
	times := 0
	old := func(w http.ResponseWriter, r *http.Request) bool {
		times++
		if times != 12 || r.URL.Path != "/t/live.m3u8" {
			times -= map[bool]int{true: 1, false: 0}[r.URL.Path != "/t/live.m3u8"]
			return false
		}
		_, _ = io.WriteString(w, "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-MEDIA-SEQUENCE:3\n"+segments("live", 3, 6))
		return true
	}
	watch(t, []*studio{{fault: old}}, func(t *testing.T, w *watchers) {
		code, r := w.flood(t.Context(), "http://a", "--path=/t/live.m3u8", "--viewers=1", "--duration=20s")
		w.want(code, exitOK, r, "lost 0 finished 0 stalls 0 failed 0 failovers 0 wrong 0")
		if got := counts(r.Edges[0].Oddities); got != "sequence 1" {
			t.Errorf("oddities %s, want sequence 1", got)
		}
	})
}

// TestItEndsWhenTold: with a duration viewers begin again; an interrupt ends all with a report.
func TestItEndsWhenTold(t *testing.T) {
	watch(t, []*studio{{}}, func(t *testing.T, w *watchers) {
		code, r := w.flood(t.Context(), "http://a", "--path=/t/master.m3u8", "--viewers=4", "--duration=25s")
		w.want(code, exitOK, r, "lost 0 finished 8 stalls 0 failed 0 failovers 0 wrong 0")
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		code, r = w.flood(ctx, "http://a", "--path=/t/master.m3u8", "--viewers=4", "--verify-against=http://a")
		w.want(code, exitOK, r, "lost 0 finished 0 stalls 0 failed 0 failovers 0 wrong 0")
		if r.Seconds < 5 || r.Seconds > 5.1 {
			t.Errorf("it took %g s", r.Seconds)
		}
	})
}

// TestWhatIsPrinted: a line each second, and tables at the end.
func TestWhatIsPrinted(t *testing.T) {
	watch(t, []*studio{{}}, func(t *testing.T, w *watchers) {
		var out, errs bytes.Buffer
		code := run(t.Context(), []string{"http://a", "--path=/t/master.m3u8", "--viewers=3", "--ramp=2s"}, streams{&out, &errs}, func(ctx context.Context, _, address string) (net.Conn, error) {
			return w.network.Dial(ctx, "viewer", address)
		})
		lines := strings.Split(strings.TrimSpace(errs.String()), "\n")
		if code != exitOK || len(lines) != 11 || !strings.Contains(lines[4], "5 s  3 viewers  ") {
			t.Errorf("exit code %d, %d lines of progress:\n%s", code, len(lines), errs.String())
		}
		for _, want := range []string{"viewers      3 ", "start-up", "wrong bytes  0", "http://a"} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("the report does not say %q:\n%s", want, out.String())
			}
		}
	})
}
