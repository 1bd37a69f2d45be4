package front

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"testing"
	"testing/synctest"

	"golang.org/x/net/http2"
)

// coldFile is one whose disk takes its time.
type coldFile struct {
	*bytes.Reader

	cached int64         // bytes in memory
	asked  chan struct{} // gets a value for each read from disk
	spin   chan struct{} // which each of them needs
}

func (f *coldFile) readCached(p []byte, off int64) int {
	n, _ := f.Reader.ReadAt(p[:max(0, min(int64(len(p)), f.cached-off))], off)
	return n
}

// ReadAt implements io.ReaderAt.
func (f *coldFile) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > f.cached {
		f.asked <- struct{}{}
		<-f.spin
		f.cached = max(f.cached, off+int64(len(p)))
	}
	return f.Reader.ReadAt(p, off)
}

// While a piece of a file comes from disk, the other streams of the connection go on, and what is in memory is on its way.
func TestHTTP2ColdFile(t *testing.T) {
	t.Parallel()
	const cached, all = 20 << 10, 3*copyBytes + 1
	for _, length := range []int64{all, cached + 1} { // the second file is shorter than it should be
		synctest.Test(t, func(t *testing.T) {
			file := &coldFile{bytes.NewReader(make([]byte, length)), cached, make(chan struct{}), make(chan struct{})}
			sent := make(chan error, 1)
			p := newTestPart(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodPost {
					w.WriteHeader(http.StatusOK)
					sent <- w.(*http2Response).sendBody(&bodySource{file: file, left: all}, true)
				} else {
					_, _ = w.Write(make([]byte, 100))
				}
			})
			c := dialPart(t, p, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20})
			_ = c.framer.WriteWindowUpdate(0, 1<<20)
			want := func(stream uint32, n int, when string) {
				t.Helper()
				if _, sizes := c.got(); sizes[stream] != n {
					t.Errorf("%s: %d bytes of stream %d, want %d", when, sizes[stream], stream, n)
				}
			}
			c.send(t, rawFrame(frameHeaders, flagEndHeaders|flagEndStream, 1, postBlock))
			<-file.asked
			want(1, frameBytes, "what is in memory")
			c.send(t, rawFrame(frameHeaders, flagEndHeaders|flagEndStream, 3, getBlock))
			want(3, 100, "another stream")
			if length < all {
				file.spin <- struct{}{}
				if err := <-sent; !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Errorf("a file that is too short: %v", err)
				}
				c.close(p)
				return
			}
			for range 2 {
				file.spin <- struct{}{}
				<-file.asked
			}
			file.spin <- struct{}{}
			want(1, all-frameBytes, "the rest")
			if err := <-sent; err != nil {
				t.Error(err)
			}
			c.close(p)
		})
	}
}

// heldFile is one that can be read when somebody has let it.
type heldFile struct {
	asked, spin chan struct{}
}

func (f heldFile) readCached(p []byte, _ int64) int {
	f.asked <- struct{}{}
	<-f.spin
	return len(p)
}

// ReadAt implements io.ReaderAt.
func (f heldFile) ReadAt(p []byte, off int64) (int, error) { return f.readCached(p, off), nil }

// Nothing of a stream follows our RST_STREAM (RFC 9113, 5.1), also if a piece was on its way, whose bytes other streams may have.
func TestHTTP2NothingBehindReset(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		file := heldFile{make(chan struct{}), make(chan struct{})}
		p := newTestPart(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost {
				w.WriteHeader(http.StatusOK)
				if w.(*http2Response).sendBody(&bodySource{file: file, left: frameBytes}, true) == nil {
					t.Error("no error")
				}
			} else {
				_, _ = w.Write(make([]byte, defaultWindow))
			}
		})
		c := dialPart(t, p, http2.Setting{ID: http2.SettingInitialWindowSize, Val: defaultWindow})
		c.send(t, rawFrame(frameHeaders, flagEndHeaders|flagEndStream, 1, postBlock))
		<-file.asked
		c.send(t, rawFrame(frameWindowUpdate, 0, 1, "\x00\x00\x00\x00"))
		synctest.Wait()
		file.spin <- struct{}{}
		synctest.Wait()
		c.send(t, rawFrame(frameHeaders, flagEndHeaders|flagEndStream, 3, getBlock))
		synctest.Wait()
		reset, rest := false, 0
		for len(c.frames) > 0 {
			switch f := <-c.frames; f := f.(type) {
			case *http2.RSTStreamFrame:
				reset = true
			case *sentData:
				if f.StreamID == 1 {
					t.Errorf("%d bytes of the stream; reset before: %v", f.bytes, reset)
				} else {
					rest += f.bytes
				}
			case *http2.HeadersFrame:
				if f.StreamID == 1 && reset {
					t.Error("a header behind the reset")
				}
			}
		}
		if !reset || rest != defaultWindow {
			t.Errorf("reset: %v; %d bytes of the other stream, want all of the connection's window", reset, rest)
		}
		c.close(p)
	})
}
