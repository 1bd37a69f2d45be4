package front

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// A reader that stalls, longer than a piece waits for it, and then goes on gets the right bytes.
func TestReadersThatStallAndGoOn(t *testing.T) {
	t.Parallel()
	const size = 16<<20 + 1
	file, content := segment(t, size)
	s := start(t, Options{Listen: smallSockets(1), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, err := strconv.Atoi(r.URL.Path[1:])
		if err != nil {
			t.Error(err)
		}
		w.Header().Set("Content-Length", r.URL.Path[1:])
		w.Header().Set("X-Long", strings.Repeat("x", 3000))
		if sent, err := w.(io.ReaderFrom).ReadFrom(newFileRange(file, 0, int64(n))); sent != int64(n) || err != nil {
			t.Errorf("ReadFrom = %d, %v", sent, err)
		}
	})})
	narrow := &http3.Transport{TLSClientConfig: &tls.Config{RootCAs: s.pool}, QUICConfig: &quic.Config{
		InitialStreamReceiveWindow: 1000, MaxStreamReceiveWindow: 1000, MaxIdleTimeout: patience,
	}}
	t.Cleanup(func() { _ = narrow.Close() })
	for _, tt := range []struct {
		name, protocol string
		transport      http.RoundTripper
		size, stalls   int
	}{
		{"h1+tls", "h1+tls", nil, size, 2},
		{"h2", "h2", nil, size, 2},
		{"h3", "h3", nil, size, 2},
		{"h3 with a window of less than the header", "h3", narrow, 40_000, 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, url := s.client(t, tt.protocol)
			if tt.transport != nil {
				c.Transport = tt.transport
			}
			c.Timeout = 3 * patience
			res, err := c.Get(url + "/" + strconv.Itoa(tt.size))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = res.Body.Close() }()
			got := make([]byte, tt.size)
			for i := range tt.stalls {
				<-time.After(2 * pieceWait)
				if _, err := io.ReadFull(res.Body, got[len(got)*i/tt.stalls:len(got)*(i+1)/tt.stalls]); err != nil {
					t.Fatal(err)
				}
			}
			if n, err := res.Body.Read(make([]byte, 1)); n != 0 || err != io.EOF || !bytes.Equal(got, content[:tt.size]) {
				t.Errorf("%d bytes more, %v; right bytes: %v", n, err, bytes.Equal(got, content[:tt.size]))
			}
		})
	}
}

// Only what passes because of the piece's own deadline is waited for.
func TestPieceDeadline(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for _, tt := range []struct {
		name string
		want time.Time
		err  error
		wait bool
	}{
		{"the handler has none", time.Time{}, os.ErrDeadlineExceeded, true},
		{"the handler's is later", now.Add(time.Hour), os.ErrDeadlineExceeded, true},
		{"the handler's has passed", now.Add(-time.Second), os.ErrDeadlineExceeded, false},
		{"another error", time.Time{}, io.ErrClosedPipe, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var d pieceDeadline
			var stream deadlines
			_ = d.set(&stream, tt.want)
			d.hurry(&stream)
			if got := d.hurried(tt.err); got != tt.wait {
				t.Errorf("hurried = %v, want %v", got, tt.wait)
			}
			d.ease(&stream)
			between := stream[1]
			if stream[0] != tt.want || stream[2] != tt.want || tt.want.After(now) && !between.Before(tt.want) || tt.want.Before(now) && !tt.want.IsZero() && between != tt.want {
				t.Errorf("the stream had the deadlines %v, want %v but while a piece is under way", stream, tt.want)
			}
		})
	}
}

type deadlines []time.Time

func (d *deadlines) SetWriteDeadline(t time.Time) error {
	*d = append(*d, t)
	return errors.ErrUnsupported
}

// A buffer is no larger than the piece that it is for: a client that takes nothing keeps it.
func TestBuffersFitTheirPieces(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]int{1: firstPiece, firstPiece: firstPiece, firstPiece + 1: leastPiece, leastPiece: leastPiece, leastPiece + 1: copyBytes, 1 << 30: copyBytes} {
		for range 2 { // once from the pool, most likely
			buf := takeBuffer(n)
			if len(buf) != want || cap(buf) != want {
				t.Errorf("a buffer for %d bytes has %d of %d, want %d", n, len(buf), cap(buf), want)
			}
			giveBuffer(buf)
		}
	}
}
