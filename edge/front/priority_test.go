package front

import (
	"errors"
	"io"
	"net/http"
	"strconv"
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
