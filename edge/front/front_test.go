package front

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

const segmentBytes = 2 << 20

// patience bounds every wait of a test that is not expected to come true.
const patience = 20 * time.Second

// fileRange is a FileRanger over part of a shared file.
type fileRange struct {
	*io.SectionReader
	file   *os.File
	off, n int64
}

func newFileRange(f *os.File, off, n int64) fileRange {
	return fileRange{SectionReader: io.NewSectionReader(f, off, n), file: f, off: off, n: n}
}

func (r fileRange) FileRange() (*os.File, int64, int64) { return r.file, r.off, r.n }

// segment makes a file of random bytes.
func segment(t testing.TB, size int) (*os.File, []byte) {
	t.Helper()
	var seed [32]byte
	content := make([]byte, size)
	_, _ = rand.NewChaCha8(seed).Read(content)
	name := filepath.Join(t.TempDir(), "segment")
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f, content
}

// running is a Server under test.
type running struct {
	*Server
	pool *x509.CertPool
	stop func() // ends Run's context
	done chan struct{}
	err  error // Run's result, once done is closed
}

// start runs a Server on loopback until the test ends.
func start(t testing.TB, o Options, adjust ...func(*Server)) *running {
	t.Helper()
	dir := t.TempDir()
	cert, err := MintCertificate(dir, nil, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	o.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	r := startWith(t, o, adjust...)
	r.pool.AppendCertsFromPEM(ca)
	return r
}

// startWith is start with the certificates of the options; the pool is empty.
func startWith(t testing.TB, o Options, adjust ...func(*Server)) *running {
	t.Helper()
	o.HTTP, o.HTTPS = "127.0.0.1:0", "127.0.0.1:0"
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	for _, change := range adjust {
		change(s)
	}
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	r := &running{Server: s, pool: x509.NewCertPool(), done: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	r.stop = cancel
	go func() { // ended by the cleanup below
		defer close(r.done)
		r.err = s.Run(ctx)
	}()
	t.Cleanup(func() { r.wait(t) })
	return r
}

// wait ends the server, if it runs, and waits for it.
func (r *running) wait(t testing.TB) {
	t.Helper()
	r.stop()
	select {
	case <-r.done:
		if r.err != nil {
			t.Errorf("Run: %v", r.err)
		}
	case <-time.After(patience):
		t.Fatal("Run does not end")
	}
}

// refused is what the server has refused so far: by reason, those of which there is one.
func (r *running) refused() map[string]int64 {
	counts := r.Stats().Refused
	maps.DeleteFunc(counts, func(_ string, n int64) bool { return n == 0 })
	return counts
}

// refusedOnce checks that there was one refusal, for why; none for allowed.
func (r *running) refusedOnce(t testing.TB, name string, why reason) {
	t.Helper()
	want := map[string]int64{why.String(): 1}
	if why == allowed {
		clear(want)
	}
	if got := r.refused(); !maps.Equal(got, want) {
		t.Errorf("%s: refused %v, want %v", name, got, want)
	}
}

// protocols are the four ways to ask.
var protocols = []struct {
	name  string
	major int
}{{"h1", 1}, {"h1+tls", 1}, {"h2", 2}, {"h3", 3}}

// client returns a client for one protocol, and the URL prefix to ask it with.
func (r *running) client(t testing.TB, protocol string) (*http.Client, string) {
	t.Helper()
	config := &tls.Config{RootCAs: r.pool}
	switch protocol {
	case "h3":
		tr := &http3.Transport{TLSClientConfig: config, QUICConfig: &quic.Config{MaxIdleTimeout: patience}}
		t.Cleanup(func() { _ = tr.Close() })
		return &http.Client{Transport: tr, Timeout: patience}, "https://" + r.HTTPSAddr()
	case "h1":
		tr := &http.Transport{}
		t.Cleanup(tr.CloseIdleConnections)
		return &http.Client{Transport: tr, Timeout: patience}, "http://" + r.HTTPAddr()
	}
	var p http.Protocols
	p.SetHTTP1(protocol == "h1+tls")
	p.SetHTTP2(protocol == "h2")
	tr := &http.Transport{TLSClientConfig: config, Protocols: &p}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: patience}, "https://" + r.HTTPSAddr()
}

// eachProtocol runs test for every protocol against one server.
func eachProtocol(t *testing.T, r *running, test func(t *testing.T, c *http.Client, url string, major int)) {
	for _, p := range protocols {
		t.Run(p.name, func(t *testing.T) {
			c, url := r.client(t, p.name)
			test(t, c, url, p.major)
		})
	}
}

// get asks and reads all of the body.
func get(c *http.Client, url string) (*http.Response, []byte, error) {
	res, err := c.Get(url)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	return res, body, err
}

func TestServe(t *testing.T) {
	t.Parallel()
	file, content := segment(t, segmentBytes)
	mux := http.NewServeMux()
	mux.HandleFunc("/small", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%d %v %s", r.ProtoMajor, r.TLS != nil, r.Host)
	})
	mux.HandleFunc("/file", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(content)))
		if n, err := w.(io.ReaderFrom).ReadFrom(newFileRange(file, 0, segmentBytes)); n != segmentBytes || err != nil {
			t.Errorf("ReadFrom = %d, %v", n, err)
		}
	})
	mux.HandleFunc("/part", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.(io.ReaderFrom).ReadFrom(newFileRange(file, 1000, 300_000))
	})
	mux.HandleFunc("/chunked", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.(io.ReaderFrom).ReadFrom(newFileRange(file, 0, segmentBytes))
	})
	mux.HandleFunc("/bytes", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(content) })
	mux.HandleFunc("/reader", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.Copy(w, bytes.NewReader(content)) })
	s := start(t, Options{Handler: mux})

	eachProtocol(t, s, func(t *testing.T, c *http.Client, url string, major int) {
		t.Parallel()
		secure := strings.HasPrefix(url, "https:")
		host := strings.TrimPrefix(strings.TrimPrefix(url, "https://"), "http://")
		res, body, err := get(c, url+"/small")
		if err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprintf("%d %v %s", major, secure, host); string(body) != want || res.ProtoMajor != major {
			t.Errorf("got %q by HTTP/%d, want %q", body, res.ProtoMajor, want)
		}
		_, port, _ := strings.Cut(host, ":")
		want := ""
		if secure && major < 3 {
			want = `h3=":` + port + `"; ma=86400`
		}
		if got := res.Header.Get("Alt-Svc"); got != want {
			t.Errorf("Alt-Svc = %q, want %q", got, want)
		}
		for _, path := range []string{"/file", "/chunked", "/bytes", "/reader"} {
			if _, body, err := get(c, url+path); err != nil || !bytes.Equal(body, content) {
				t.Errorf("GET %s: %d bytes, %v, want the %d of the file", path, len(body), err, len(content))
			}
		}
		head, err := c.Head(url + "/file")
		if err != nil || head.ContentLength != segmentBytes {
			t.Fatalf("HEAD: %v, %v", head, err)
		}
		_ = head.Body.Close()
		if _, body, err := get(c, url+"/small"); err != nil || len(body) == 0 {
			t.Errorf("after HEAD: %q, %v", body, err)
		}
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() {
				if _, body, err := get(c, url+"/part"); err != nil || !bytes.Equal(body, content[1000:301_000]) {
					t.Errorf("concurrent GET: %d bytes, %v", len(body), err)
				}
			})
		}
		all.Wait()
	})
}

func TestBodyThatEndsEarly(t *testing.T) {
	t.Parallel()
	file, content := segment(t, 256<<10)
	mux := http.NewServeMux()
	mux.HandleFunc("/abort/length", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "2000000")
		_, _ = w.Write(content)
		panic(http.ErrAbortHandler)
	})
	mux.HandleFunc("/abort/chunked", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(content)
		panic(http.ErrAbortHandler)
	})
	mux.HandleFunc("/bug", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(content)
		panic("a bug")
	})
	mux.HandleFunc("/short", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "2000000")
		n, err := w.(io.ReaderFrom).ReadFrom(newFileRange(file, 0, 2000000))
		if n != int64(len(content)) || err != io.ErrUnexpectedEOF { //nolint:errorlint // the contract
			t.Errorf("ReadFrom of a short file = %d, %v", n, err)
		}
	})
	mux.HandleFunc("/ok", func(http.ResponseWriter, *http.Request) {})
	s := start(t, Options{Handler: mux})
	bugs := int64(0)
	eachProtocol(t, s, func(t *testing.T, c *http.Client, url string, _ int) {
		for _, path := range []string{"/abort/length", "/abort/chunked", "/bug", "/short"} {
			res, body, err := get(c, url+path)
			if err == nil {
				t.Errorf("GET %s: %d bytes with status %s and a clean end", path, len(body), res.Status)
			}
		}
		bugs++
		if got := s.Stats().Panics; got != bugs {
			t.Errorf("%d panics counted, want %d", got, bugs)
		}
		if _, _, err := get(c, url+"/ok"); err != nil {
			t.Errorf("the next request: %v", err)
		}
	})
	if got := s.Stats(); got.ShortFiles != 1 || got.Running != 0 {
		t.Errorf("ShortFiles = %d, Running = %d, want 1 and 0", got.ShortFiles, got.Running)
	}
}

// An HTTP/1.0 body without a length ends with the connection, which then must not be
// closed as if all was well.
func TestHTTP10AbortIsAReset(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "half of it")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})})
	for _, secure := range []bool{false, true} {
		c := s.dial(t, secure)
		if _, err := io.WriteString(c, "GET / HTTP/1.0\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(c); err == nil {
			t.Errorf("secure %v: %q and a clean end", secure, got)
		}
	}
}

func TestWriteDeadline(t *testing.T) {
	t.Parallel()
	file, content := segment(t, 8<<20)
	type result struct {
		err  error
		took time.Duration
	}
	results := make(chan result, 1)
	s := start(t, Options{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begin := time.Now()
		if err := http.NewResponseController(w).SetWriteDeadline(begin.Add(300 * time.Millisecond)); err != nil {
			t.Errorf("SetWriteDeadline: %v", err)
		}
		w.Header().Set("Content-Length", fmt.Sprint(100*len(content)))
		var err error
		for i := 0; i < 100 && err == nil; i++ {
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
			res, err := c.Get(url + path) // the body is not read: the client stalls
			if err != nil {
				t.Fatal(err)
			}
			got := <-results
			if got.err == nil || got.took > 5*time.Second {
				t.Errorf("%s: write ended with %v after %v, want an error at the deadline", path, got.err, got.took)
			}
			_ = res.Body.Close()
		}
	})
}

// A deadline that is pushed ahead lets a body take longer than any one deadline.
func TestWriteDeadlinePushed(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		rc := http.NewResponseController(w)
		for range 6 {
			if err := rc.SetWriteDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
				t.Errorf("SetWriteDeadline: %v", err)
			}
			_, _ = io.WriteString(w, "tick")
			if err := rc.Flush(); err != nil {
				t.Errorf("Flush: %v", err)
			}
			<-time.After(80 * time.Millisecond)
		}
	})})
	eachProtocol(t, s, func(t *testing.T, c *http.Client, url string, _ int) {
		t.Parallel()
		if _, body, err := get(c, url); err != nil || len(body) != 24 {
			t.Errorf("%q, %v, want six ticks", body, err)
		}
	})
}

func TestDrainWhileABodyRuns(t *testing.T) {
	t.Parallel()
	for _, p := range protocols {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			begun, finish := make(chan struct{}), make(chan struct{})
			_, content := segment(t, segmentBytes)
			mux := http.NewServeMux()
			mux.HandleFunc("/other", func(http.ResponseWriter, *http.Request) {})
			mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
				_, _ = w.Write(content[:1000])
				_ = http.NewResponseController(w).Flush()
				close(begun)
				<-finish
				_, _ = w.Write(content[1000:])
			})
			s := start(t, Options{Handler: mux})
			c, url := s.client(t, p.name)
			go func() {
				defer close(finish)
				<-begun
				s.stop()
				// Soon nothing new gets in, by the open connection or another.
				other := &http.Client{Transport: c.Transport, Timeout: time.Second}
				for end := time.Now().Add(patience); ; {
					if _, _, err := get(other, url+"/other"); err != nil {
						break
					}
					if time.Now().After(end) {
						t.Error("requests are answered while draining")
						break
					}
				}
				<-time.After(2 * lingerQuiet) // what runs may be silent for a while
			}()
			if _, body, err := get(c, url); err != nil || !bytes.Equal(body, content) {
				t.Errorf("%d bytes, %v, want all %d", len(body), err, len(content))
			}
			s.wait(t)
		})
	}
}

func TestDrainCutsWhatDoesNotEnd(t *testing.T) {
	t.Parallel()
	for _, p := range protocols {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			s := start(t, Options{DrainTimeout: 100 * time.Millisecond, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.WriteString(w, "begun")
				_ = http.NewResponseController(w).Flush()
				<-r.Context().Done()
				panic(http.ErrAbortHandler)
			})})
			c, url := s.client(t, p.name)
			res, err := c.Get(url)
			if err != nil {
				t.Fatal(err)
			}
			s.wait(t)
			if body, err := io.ReadAll(res.Body); err == nil {
				t.Errorf("%q and a clean end, want an error", body)
			}
			_ = res.Body.Close()
			if got := s.Stats(); got.Running != 0 || got.Cleartext.Open+got.HTTP1.Open+got.HTTP2.Open+got.HTTP3.Open != 0 {
				t.Errorf("after Run: %+v", got)
			}
		})
	}
}

// Not parallel: it counts the goroutines of the process.
func TestNoGoroutineIsLeft(t *testing.T) {
	before := runtime.NumGoroutine()
	t.Run("run", func(t *testing.T) {
		s := start(t, Options{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "x") })})
		eachProtocol(t, s, func(t *testing.T, c *http.Client, url string, _ int) {
			for range 3 {
				if _, _, err := get(c, url); err != nil {
					t.Error(err)
				}
			}
		})
		s.dial(t, false)
		s.dial(t, true)
	})
	for end := time.Now().Add(patience); runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Now().After(end) {
			buf := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, buf[:runtime.Stack(buf, true)])
		}
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	h := http.NotFoundHandler()
	for name, o := range map[string]Options{
		"no handler":        {HTTP: ":0"},
		"no address":        {Handler: h},
		"no certificate":    {Handler: h, HTTPS: ":0"},
		"no certificates":   {Handler: h, HTTPS: ":0", TLS: &tls.Config{}},
		"negative duration": {Handler: h, HTTP: ":0", IdleTimeout: -1},
	} {
		if s, err := New(o); err == nil {
			t.Errorf("%s: %v, nil", name, s)
		}
	}
}
