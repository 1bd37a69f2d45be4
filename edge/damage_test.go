package edge

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"syscall"
	"testing"
)

// A stored file that is cut while it is served: no client takes what it got for the whole, and the next one gets the whole
// from the origin.
func TestStoredFileIsCut(t *testing.T) {
	t.Parallel()
	body := strings.Repeat("0123456789abcdef", 100_000)
	b := newBench(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		_, _ = w.Write([]byte(body))
	})
	if got := b.do(http.MethodGet, "/film.mp4"); got.err != nil || got.body != body {
		t.Fatalf("%d bytes, %v", len(got.body), got.err)
	}
	b.mu.Lock()
	key := b.seen[0].key
	b.mu.Unlock()
	o := b.cache.Get(key)
	if o == nil {
		t.Fatal("nothing is stored")
	}
	stored, _ := o.File()
	if err := stored.Truncate(700_000); err != nil {
		t.Fatal(err)
	}
	o.Release()
	if got := b.do(http.MethodGet, "/film.mp4"); got.err == nil || !strings.HasPrefix(body, got.body) {
		t.Errorf("%d bytes end without an error", len(got.body))
	}
	if got := b.do(http.MethodGet, "/film.mp4"); got.err != nil || got.body != body {
		t.Errorf("afterwards: %d bytes, %v", len(got.body), got.err)
	}
	if n := b.origin.Load(); n != 2 {
		t.Errorf("the origin was asked %d times, want 2", n)
	}
	if n := b.cache.Stats().Corrupt; n != 1 {
		t.Errorf("%d objects are damaged, want 1", n)
	}
}

// failingWriter sends from files, and fails.
type failingWriter struct {
	deafWriter

	err error
}

func (w *failingWriter) ReadFrom(io.Reader) (int64, error) { return 0, w.err }

// What a connection could not read of a stored file is dropped; a client that is gone does no harm to it.
func TestStoredFileIsUnreadable(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		err  error
		want int64 // objects that are dropped
	}{
		{"the disk", &os.PathError{Op: "read", Path: "a", Err: syscall.EIO}, 1},
		{"a file that was cut", io.ErrUnexpectedEOF, 1},
		{"the client", &net.OpError{Op: "write", Net: "tcp", Err: syscall.EPIPE}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, cacheable(3600, strings.Repeat("x", 1<<20)))
			b.do(http.MethodGet, "/film.mp4")
			r := httptest.NewRequest(http.MethodGet, b.url+"/film.mp4", http.NoBody)
			r.RequestURI = "/film.mp4"
			func() {
				defer func() { _ = recover() }() // the response is broken off
				b.edge.ServeHTTP(&failingWriter{deafWriter: deafWriter{header: http.Header{}}, err: tt.err}, r)
				t.Error("the response has a clean end")
			}()
			if n := b.cache.Stats().Corrupt; n != tt.want {
				t.Errorf("%d objects are dropped, want %d", n, tt.want)
			}
		})
	}
}
