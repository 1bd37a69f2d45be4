package front

import (
	"errors"
	"io"
	"net/http"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
)

// On a path that is too narrow for both, audio that is more urgent (RFC 9218) than the
// video that began before it does not share the path with it.
func TestHTTP3Priority(t *testing.T) {
	t.Parallel()
	const video, audio, bytesPerSecond = 1_000_000, 100_000, 400_000
	s := start(t, Options{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		size, _ := strconv.Atoi(r.URL.Path[1:])
		w.Header()["Content-Length"] = []string{r.URL.Path[1:]}
		_, _ = w.Write(make([]byte, size))
	})})
	// fetch returns how long the audio took while the video was under way.
	fetch := func(t *testing.T, videoPriority, audioPriority string) time.Duration {
		t.Helper()
		path := newUDPPath(t, s.HTTPSAddr())
		path.set(func() { path.rate = bytesPerSecond })
		c, url := path.h3Client(t, s, &quic.Config{MaxIdleTimeout: patience})
		ask := func(size int, priority string) *http.Response {
			req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/"+strconv.Itoa(size), nil)
			if priority != "" {
				req.Header.Set("Priority", priority)
			}
			res, err := c.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			return res
		}
		first := ask(video, videoPriority)
		if _, err := io.CopyN(io.Discard, first.Body, video/10); err != nil { // it is well under way
			t.Fatal(err)
		}
		rest := make(chan error, 1)
		go func() {
			_, err := io.Copy(io.Discard, first.Body)
			rest <- errors.Join(err, first.Body.Close())
		}()
		begin := time.Now()
		second := ask(audio, audioPriority)
		n, err := io.Copy(io.Discard, second.Body)
		_ = second.Body.Close()
		took := time.Since(begin)
		if err = errors.Join(err, <-rest); n != audio || err != nil {
			t.Errorf("%d of %d bytes, %v", n, audio, err)
		}
		return took
	}
	silent, urgent := fetch(t, "", ""), fetch(t, "u=5", "u=1")
	late := fetch(t, "u=1", "u=5")
	t.Logf("audio beside video: %v without a word, %v when urgent, %v when not", silent, urgent, late)
	if late < 2*urgent {
		t.Errorf("audio took %v when urgent and %v when not, want less than half", urgent, late)
	}
}

func TestParsePriority(t *testing.T) {
	t.Parallel()
	base := priority{urgency: 3}
	for value, want := range map[string]priority{
		"":                   base,
		"u=1":                {1, false},
		"i":                  {3, true},
		"u=0, i":             {0, true},
		" u=7 ,i=?0":         {7, false},
		"u=8":                base,
		"u=-1":               base,
		"u=1, u=5":           {5, false},
		"i=?1;x=y":           {3, true},
		`a="u=1,u=2", u=4`:   {4, false},
		`a="x\\", u=4`:       {4, false},
		`u=1, a="x`:          base,
		"u=":                 base,
		"u=1,,i":             base,
		"u=12":               base,
		"x=(a b), u=2, i=?1": {2, true},
		"=1":                 base,
	} {
		if got := parsePriority(value, base); got != want {
			t.Errorf("%q is %+v, want %+v", value, got, want)
		}
	}
	if got := parsePriority("i", priority{urgency: 1}); got != (priority{1, true}) {
		t.Errorf("what the origin leaves out comes from the client: %+v", got)
	}
}

func FuzzPriority(f *testing.F) {
	f.Add("u=1, i")
	f.Add(`a="\\", u=4;x`)
	f.Fuzz(func(t *testing.T, value string) {
		p := parsePriority(value, priority{urgency: 3})
		if p.urgency < 0 || p.urgency > 7 {
			t.Errorf("%q has the urgency %d", value, p.urgency)
		}
	})
}

func TestUrgencyOf(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		kind, path string
		want       int8
	}{
		{"application/vnd.apple.mpegurl; charset=utf-8", "/x", urgencyPlaylist},
		{"Application/DASH+XML", "/x", urgencyPlaylist},
		{"audio/mp4", "/x.m4s", urgencyAudio},
		{"text/vtt", "/x", urgencyAudio},
		{"video/mp4", "/x.m4s", urgencyDefault},
		{"video/mp4", "/x.m4a", urgencyAudio},
		{"video/mp2t", "/x.aac", urgencyDefault},
		{"", "/a.b/x", urgencyDefault},
		{"", "/x.M3U8", urgencyPlaylist},
		{"application/octet-stream", "/x.mpd", urgencyPlaylist},
		{"text/html", "/x.mpd", urgencyDefault},
	} {
		if got := urgencyOf(http.Header{"Content-Type": {tt.kind}}, tt.path); got != tt.want {
			t.Errorf("%q at %s has the urgency %d, want %d", tt.kind, tt.path, got, tt.want)
		}
	}
}

// What decides on a priority, and what goes before what.
func TestPriorityOfAStream(t *testing.T) {
	t.Parallel()
	var last atomic.Pointer[http3Stream]
	s := start(t, Options{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if said := r.URL.Query().Get("origin"); said != "" {
			w.Header().Set("Priority", said)
		}
		w.Header().Set("Content-Type", "audio/mp4")
		last.Store(r.Context().(*http3Stream))
	})})
	for name, tt := range map[string]struct {
		update, field, path string
		want                priority
	}{
		"nobody says anything":          {"", "", "/", priority{urgencyAudio, true}},
		"the client says something":     {"", "u=5", "/", priority{5, false}},
		"the client says that it could": {"", "none", "/", priority{urgencyDefault, false}},
		"the client says it beforehand": {"u=6, i", "u=5", "/", priority{6, true}},
		"the origin says something":     {"", "u=5, i", "/?origin=u%3D0", priority{0, true}},
		"the origin alone":              {"", "", "/?origin=u%3D4", priority{4, true}},
	} {
		t.Run(name, func(t *testing.T) {
			conn := s.dialQUIC(t, nil)
			ask := func(path, field string) {
				str, err := conn.OpenStream()
				if err != nil {
					t.Fatal(err)
				}
				lines := []string{":method", "GET", ":scheme", "https", ":authority", "x", ":path", path}
				if field != "" {
					lines = append(lines, "priority", field)
				}
				_, _ = str.Write([]byte(headerFrame(lines...)))
				_ = str.Close()
				if end := outcomeOf(str.Read); !end.answered {
					t.Fatalf("%+v", end)
				}
			}
			if tt.update != "" {
				ask("/", "")
				control, err := conn.OpenUniStream()
				if err != nil {
					t.Fatal(err)
				}
				_, _ = control.Write([]byte("\x00" + settingsFrame() + h3Frame(h3PriorityUpdate, "\x04"+tt.update)))
				for end := time.Now().Add(patience); !last.Load().conn.expects(4); runtime.Gosched() {
					if time.Now().After(end) {
						t.Fatal("PRIORITY_UPDATE is not heard of")
					}
				}
			}
			ask(tt.path, tt.field)
			stream := last.Load()
			stream.conn.mu.Lock()
			defer stream.conn.mu.Unlock()
			if stream.rank.priority != tt.want {
				t.Errorf("got %+v, want %+v", stream.rank.priority, tt.want)
			}
		})
	}
}

// expects tells whether a priority is known of a stream that has not come.
func (c *quicConn) expects(id quic.StreamID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.ranks.early[uint64(id)]
	return ok
}
