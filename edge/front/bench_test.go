package front

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// cpuSeconds is what the process has used so far, user and system.
func cpuSeconds(b *testing.B) float64 {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}

// reportCPU reports CPU seconds per GiB; the client's share is in them.
func reportCPU(b *testing.B, begin float64, bytesEach int) {
	b.Helper()
	b.ReportMetric((cpuSeconds(b)-begin)*(1<<30)/float64(bytesEach)/float64(b.N), "cpu-s/GiB")
}

// BenchmarkTLSWrite compares a write(2) for each record with batches of them. The
// client reads and does not decrypt.
func BenchmarkTLSWrite(b *testing.B) {
	_, content := segment(b, segmentBytes)
	for _, batched := range []bool{false, true} {
		b.Run(fmt.Sprintf("batched=%v", batched), func(b *testing.B) {
			ours, _, client := tlsPair(b)
			drained := make(chan struct{})
			go func() {
				defer close(drained)
				_, _ = io.Copy(io.Discard, struct{ io.Reader }{client.NetConn()})
			}()
			var w io.Writer = ours.Conn
			if batched {
				w = ours
			}
			b.SetBytes(segmentBytes)
			begin := cpuSeconds(b)
			for b.Loop() {
				if _, err := w.Write(content); err != nil {
					b.Fatal(err)
				}
			}
			reportCPU(b, begin, segmentBytes)
			_ = ours.Close()
			<-drained
		})
	}
}

// BenchmarkGet asks for a segment from its file, over each protocol.
func BenchmarkGet(b *testing.B) {
	file, _ := segment(b, segmentBytes)
	length := []string{fmt.Sprint(segmentBytes)}
	s := start(b, Options{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Content-Length"] = length
		_, _ = w.(io.ReaderFrom).ReadFrom(newFileRange(file, 0, segmentBytes))
	})})
	for _, p := range protocols {
		b.Run(p.name, func(b *testing.B) {
			c, url := s.client(b, p.name)
			b.SetBytes(segmentBytes)
			b.ReportAllocs()
			begin := cpuSeconds(b)
			for b.Loop() {
				res, err := c.Get(url)
				if err != nil {
					b.Fatal(err)
				}
				if n, err := io.Copy(io.Discard, res.Body); n != segmentBytes || err != nil {
					b.Fatal(n, err)
				}
				_ = res.Body.Close()
			}
			reportCPU(b, begin, segmentBytes)
		})
	}
}

// BenchmarkHTTP3 compares this package's HTTP/3 with http3.Server, both on quic-go's QUIC:
// a playlist of 1,000 bytes and one of 10,000, and a segment. The client, whose CPU counts,
// has its request encoded and does not look at the answer.
func BenchmarkHTTP3(b *testing.B) {
	file, content := segment(b, segmentBytes)
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		size, _ := strconv.Atoi(r.URL.Path[1:])
		h := w.Header()
		h["Content-Length"] = []string{r.URL.Path[1:]}
		h["Content-Type"] = []string{"application/vnd.apple.mpegurl"}
		h["Cache-Control"] = []string{"max-age=2"}
		h["Etag"] = []string{`"5f3e2d1c0b"`}
		h["Cache-Status"] = []string{`weir; hit; ttl=1`}
		if size < segmentBytes {
			_, _ = w.Write(content[:size])
		} else if rf, ok := w.(io.ReaderFrom); ok {
			_, _ = rf.ReadFrom(newFileRange(file, 0, segmentBytes))
		} else {
			_, _ = copyFileRange(w, file, 0, segmentBytes)
		}
	})
	ours := start(b, Options{Handler: handler})
	theirs := startHTTP3Server(b, ours.opts.TLS, handler)
	for _, size := range []int{1000, 10_000, segmentBytes} {
		for _, server := range []struct{ name, addr string }{{"http3.Server", theirs}, {"weir", ours.HTTPSAddr()}} {
			b.Run(fmt.Sprintf("%d/%s", size, server.name), func(b *testing.B) {
				conn, err := quic.DialAddr(b.Context(), server.addr, &tls.Config{RootCAs: ours.pool, NextProtos: []string{"h3"}}, nil)
				if err != nil {
					b.Fatal(err)
				}
				header := []byte(headerFrame(":method", "GET", ":scheme", "https", ":authority", "x", ":path", fmt.Sprintf("/%d", size),
					"user-agent", "someone's player", "accept", "*/*", "cmcd-request", "bl=1000"))
				buf := make([]byte, 64<<10)
				begin := cpuSeconds(b)
				b.ReportAllocs()
				for b.Loop() {
					str, err := conn.OpenStreamSync(b.Context())
					if err != nil {
						b.Fatal(err)
					}
					_, _ = str.Write(header)
					_ = str.Close()
					n := 0
					for err == nil {
						var m int
						m, err = str.Read(buf)
						n += m
					}
					if n < size || err != io.EOF {
						b.Fatal(n, err)
					}
				}
				b.ReportMetric((cpuSeconds(b)-begin)*1e6/float64(b.N), "cpu-µs/op")
				_ = conn.CloseWithError(0, "")
			})
		}
	}
}

// startHTTP3Server runs http3.Server with the windows that this package has.
func startHTTP3Server(b *testing.B, config *tls.Config, handler http.Handler) string {
	b.Helper()
	socket, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	s := &http3.Server{Handler: handler, TLSConfig: config, QUICConfig: &quic.Config{MaxIncomingStreams: maxStreams}}
	var serving sync.WaitGroup
	serving.Go(func() { _ = s.Serve(socket) })
	b.Cleanup(func() {
		_ = s.Close()
		serving.Wait()
		_ = socket.Close()
	})
	return socket.LocalAddr().String()
}
