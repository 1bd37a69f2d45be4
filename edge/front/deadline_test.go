package front

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strconv"
	"testing"
	"testing/synctest"
	"time"
)

// fakeSocket notes the deadlines that reach it.
type fakeSocket struct{ set []time.Time }

func (s *fakeSocket) SetWriteDeadline(t time.Time) error {
	s.set = append(s.set, t)
	return nil
}

func TestWriteDeadlineReachesTheSocketWhenAWriteNeedsIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const minute = time.Minute
		var (
			d    writeDeadline
			s    fakeSocket
			none time.Time
			base = time.Now()
		)
		at := func(d time.Duration) time.Time { return base.Add(d) }
		step := func(name string, deadline time.Time, change bool, stands time.Time) {
			t.Helper()
			before := len(s.set)
			_ = d.set(&s, deadline)
			if len(s.set) != before && d.writes == 0 {
				t.Errorf("%s: the socket was told before a write", name)
			}
			d.begin(&s)
			d.end()
			if changed := len(s.set) > before; changed != change {
				t.Errorf("%s: the socket's deadline changed: %v, want %v", name, changed, change)
			}
			if !d.armed.Equal(stands) || len(s.set) > 0 && !s.set[len(s.set)-1].Equal(stands) {
				t.Errorf("%s: %v stands in the socket, want %v", name, d.armed, stands)
			}
		}
		step("none yet", none, false, none)
		step("the first", at(minute), true, at(minute))
		step("the same", at(minute), false, at(minute))
		time.Sleep(7 * time.Second)
		step("a bit later", at(67*time.Second), false, at(minute))
		time.Sleep(time.Second)
		step("an eighth later", at(68*time.Second), true, at(68*time.Second))
		step("earlier", at(20*time.Second), true, at(20*time.Second))
		time.Sleep(10 * time.Second)
		step("a tenth of a second after it, soon", at(20100*time.Millisecond), false, at(20*time.Second))
		time.Sleep(2100 * time.Millisecond) // now it has passed
		step("after it has passed, a short one", at(20400*time.Millisecond), true, at(20400*time.Millisecond))
		step("none", none, true, none)
		step("in the past", at(0), true, at(0))

		d.begin(&s)
		step("while a write runs", at(minute), true, at(minute))
		before := len(s.set)
		if _ = d.set(&s, none); len(s.set) != before+1 {
			t.Error("a write that runs is not told that there is no deadline any more")
		}
		if _ = d.set(&s, base); len(s.set) != before+2 || !s.set[before+1].Equal(base) {
			t.Error("a write that runs is not told to end")
		}
		d.end()
	})
}

// What net/http does around each write of HTTP/2, and the edge before each body.
func TestWriteDeadlineIsCheap(t *testing.T) {
	var d writeDeadline
	s := &fakeSocket{}
	allocs := testing.AllocsPerRun(1000, func() {
		_ = d.set(s, time.Now().Add(writeStall))
		d.begin(s)
		d.end()
		_ = d.set(s, time.Time{})
	})
	if allocs != 0 || len(s.set) > 2 {
		t.Errorf("%v allocations a write, %d changes of the socket's deadline in 1000 writes, want 0 and 1", allocs, len(s.set))
	}
}

// A deadline that passed between two requests of a connection is no concern of the
// second, whether it sets one or not.
func TestAnOldWriteDeadlineIsForgotten(t *testing.T) {
	t.Parallel()
	const short = 100 * time.Millisecond
	s := start(t, Options{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/without" {
			_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(short))
		}
		_, _ = io.WriteString(w, "whole")
	})})
	for _, secure := range []bool{false, true} {
		c := s.dial(t, secure, "http/1.1")
		r := bufio.NewReader(c)
		for _, path := range []string{"/with", "/without", "/with", "/with"} {
			_, _ = io.WriteString(c, "GET "+path+" HTTP/1.1\r\nHost: x\r\n\r\n")
			res, err := http.ReadResponse(r, nil)
			if err != nil {
				t.Fatalf("secure %v, %s: %v", secure, path, err)
			}
			if body, err := io.ReadAll(res.Body); string(body) != "whole" || err != nil {
				t.Errorf("secure %v, %s: %q, %v", secure, path, body, err)
			}
			<-time.After(2 * short)
		}
	}
}

// A deadline that is pushed before every write ends the writes to a client that takes
// nothing, over every protocol.
func TestPushedWriteDeadlineEndsAStalledBody(t *testing.T) {
	t.Parallel()
	const limit = 300 * time.Millisecond
	file, content := segment(t, 1<<20)
	type result struct {
		err   error
		stuck time.Duration // in the last write
	}
	results := make(chan result, 1)
	s := start(t, Options{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		w.Header().Set("Content-Length", strconv.Itoa(100*len(content)))
		var err error
		var begin time.Time
		for i := 0; i < 100 && err == nil; i++ {
			begin = time.Now()
			_ = rc.SetWriteDeadline(begin.Add(limit))
			if r.URL.Path == "/file" {
				_, err = w.(io.ReaderFrom).ReadFrom(newFileRange(file, 0, int64(len(content))))
			} else {
				_, err = w.Write(content)
			}
		}
		results <- result{err, time.Since(begin)}
		panic(http.ErrAbortHandler)
	})})
	eachProtocol(t, s, func(t *testing.T, c *http.Client, url string, _ int) {
		for _, path := range []string{"/file", "/bytes"} {
			res, err := c.Get(url + path) // the body is not read
			if err != nil {
				t.Fatal(err)
			}
			got := <-results
			if got.err == nil || got.stuck < limit/2 || got.stuck > patience/2 {
				t.Errorf("%s: the last write ended with %v after %v, want an error after %v", path, got.err, got.stuck, limit)
			}
			_ = res.Body.Close()
		}
	})
}

// BenchmarkWriteDeadline is what HTTP/2 does with deadlines around a write, with our
// connection and with the socket itself.
func BenchmarkWriteDeadline(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	socket, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = socket.Close() }()
	b.Run("socket", func(b *testing.B) {
		for b.Loop() {
			_ = socket.SetWriteDeadline(time.Now().Add(writeStall))
			_ = socket.SetWriteDeadline(time.Time{})
		}
	})
	b.Run("kept", func(b *testing.B) {
		var d writeDeadline
		for b.Loop() {
			_ = d.set(socket, time.Now().Add(writeStall))
			d.begin(socket)
			d.end()
			_ = d.set(socket, time.Time{})
		}
	})
}

// In the clear a file goes out in large pieces: a deadline that passes begins anew where enough of it was taken.
func TestProgressInTheClear(t *testing.T) {
	t.Parallel()
	const span = time.Minute
	for _, tt := range []struct {
		name string
		span time.Duration // 0: no deadline
		sent int64
		want bool
	}{
		{"nothing was taken", span, 0, false},
		{"a byte a second", span, 60, false},
		{"a byte too few", span, leastBytesPerSecond*60 - 1, false},
		{"enough", span, leastBytesPerSecond * 60, true},
		{"enough for a shorter time", span / 2, leastBytesPerSecond * 30, true},
		{"no deadline", 0, 1 << 20, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var d writeDeadline
				var socket fakeSocket
				if tt.span > 0 {
					_ = d.set(&socket, time.Now().Add(tt.span))
				}
				d.begin(&socket)
				time.Sleep(tt.span)
				socket.set = nil
				again := d.again(&socket, tt.sent)
				if again != tt.want || again != (len(socket.set) > 0) || again && !socket.set[0].Equal(time.Now().Add(tt.span)) {
					t.Errorf("again = %v, want %v; the socket has the deadlines %v", again, tt.want, socket.set)
				}
			})
		})
	}
}
