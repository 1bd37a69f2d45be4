package front

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"testing"
	"time"
)

// A watchedRange calls sending when it is about to be sent: the head is out then, or
// waits in the kernel.
type watchedRange struct {
	fileRange
	sending func()
	asked   int
}

func (r *watchedRange) FileRange() (*os.File, int64, int64) {
	if r.asked++; r.asked == 2 { // first the size decides, then the connection sends
		r.sending()
	}
	return r.fileRange.FileRange()
}

func TestTheHeadLeavesWithTheFile(t *testing.T) {
	t.Parallel()
	file, content := segment(t, joinBytes+1)
	look, looked := make(chan struct{}), make(chan struct{})
	s := start(t, Options{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.URL.Path[1:])
		w.Header()["Content-Length"] = []string{r.URL.Path[1:]}
		_, _ = w.(io.ReaderFrom).ReadFrom(&watchedRange{fileRange: newFileRange(file, 0, int64(n)), sending: func() {
			look <- struct{}{}
			<-looked
		}})
	})})
	c := s.dial(t, false)
	// alone asks for n bytes and tells whether the head comes before the file is sent.
	alone := func(n int) bool {
		_, _ = fmt.Fprintf(c, "GET /%d HTTP/1.1\r\nHost: x\r\n\r\n", n)
		<-look
		_ = c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		first := make([]byte, 4<<10)
		got, _ := c.Read(first)
		_ = c.SetReadDeadline(time.Now().Add(patience))
		looked <- struct{}{}
		res, err := http.ReadResponse(bufio.NewReader(io.MultiReader(bytes.NewReader(first[:got]), c)), nil)
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(res.Body); !bytes.Equal(body, content[:n]) || err != nil {
			t.Errorf("%d of %d bytes, %v", len(body), n, err)
		}
		return got > 0
	}
	const tries = 5 // the kernel waits for 0.2 s only, which a busy machine may take
	early := 0
	for early < tries && alone(joinBytes) {
		early++
	}
	if early == tries {
		t.Errorf("the head of a small file came alone %d times", early)
	}
	if !alone(joinBytes + 1) {
		t.Error("the head of a large file waited for it")
	}
}

// Where nothing of the file follows, the head must not wait for it: the kernel would
// keep it for 0.2 s, and the handler here waits for the client to have it.
func TestTheHeadDoesNotWaitForAFileThatDoesNotCome(t *testing.T) {
	t.Parallel()
	file, _ := segment(t, 1<<10)
	seen := make(chan struct{})
	s := start(t, Options{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/empty" {
			_, _ = w.(io.ReaderFrom).ReadFrom(newFileRange(file, 0, 0))
		} else {
			w.WriteHeader(http.StatusNoContent)
			_, _ = w.(io.ReaderFrom).ReadFrom(newFileRange(file, 0, 1<<10))
		}
		<-seen
	})})
	c := s.dial(t, false)
	r := bufio.NewReader(c)
	for _, path := range []string{"/empty", "/forbidden"} {
		begin := time.Now()
		_, _ = io.WriteString(c, "GET "+path+" HTTP/1.1\r\nHost: x\r\n\r\n")
		if _, err := r.Peek(1); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		took := time.Since(begin)
		seen <- struct{}{}
		if took > 150*time.Millisecond {
			t.Errorf("%s: the head came after %v", path, took)
		}
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
	}
}
