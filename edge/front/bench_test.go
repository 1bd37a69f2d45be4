package front

import (
	"fmt"
	"io"
	"net/http"
	"syscall"
	"testing"
	"time"
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
