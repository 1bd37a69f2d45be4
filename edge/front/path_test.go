package front

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"weir/edge"
)

// A path is looked at once a second, and without an allocation.
func TestPathIsLookedAtNowAndThen(t *testing.T) { //nolint:paralleltest // it counts allocations
	synctest.Test(t, func(t *testing.T) {
		var p path
		looks := int64(0)
		look := func() (int64, time.Duration) { looks++; return looks, time.Duration(looks) }
		for i := range 30 {
			if rate, rtt := p.of(look); rate != int64(i/10)+1 || int64(rtt) != rate {
				t.Errorf("after %d tenths of a second: %d, %v", i, rate, rtt)
			}
			time.Sleep(pathEvery / 10)
		}
		if looks != 3 {
			t.Errorf("%d looks in three seconds", looks)
		}
		if n := testing.AllocsPerRun(100, func() { p.of(look) }); n != 0 {
			t.Errorf("%v allocations", n)
		}
	})
}

// The way to a client is known over every protocol.
func TestPath(t *testing.T) {
	t.Parallel()
	file, _ := segment(t, segmentBytes)
	s := start(t, Options{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rate, rtt := w.(*responseWriter).Path()
		w.Header()["Content-Length"] = []string{strconv.Itoa(segmentBytes)}
		w.Header()["X-Path"] = []string{strconv.FormatInt(rate, 10), rtt.String()}
		_, _ = w.(io.ReaderFrom).ReadFrom(newFileRange(file, 0, segmentBytes))
		switch c := r.Context().Value(connKey{}).(type) { // so that it is looked at anew
		case *tcpConn:
			c.path.looked.Store(0)
		case *http1TLSConn:
			c.raw.path.looked.Store(0)
		case *http2Conn:
			c.conn.(*tlsConn).raw.path.looked.Store(0)
		case *http3Stream:
			c.conn.path.looked.Store(0)
		}
	})})
	eachProtocol(t, s, func(t *testing.T, c *http.Client, url string, _ int) {
		for i := range 3 {
			res, _, err := get(c, url)
			if err != nil {
				t.Fatal(err)
			}
			way := res.Header["X-Path"]
			if rate, _ := strconv.ParseInt(way[0], 10, 64); i > 0 && rate < 1<<20 || way[1] == "0s" {
				t.Errorf("request %d: %s bytes a second, a round trip of %s", i+1, way[0], way[1])
			}
		}
	})
}

// TestWayIsTold: what a player is told of the way to it is that of the connection (CTA-5006).
func TestWayIsTold(t *testing.T) {
	t.Parallel()
	inVirtualTime(t, edge.Site{Reports: &edge.Reports{Dynamic: true}}, 100_000, func(t *testing.T, v *virtual) {
		body := v.open("h3", "CMCD-Request", "bl=1000")
		hop := body.(*virtualBody).header.Get("Cmsd-Dynamic")
		if _, err := v.read(body, 0, 0); err != nil {
			t.Fatal(err)
		}
		// The window that a connection begins with is 32 packets, and goes out in a round trip.
		if !strings.HasPrefix(hop, `"edge";etp=`) || !strings.HasSuffix(hop, ";rd=0;rtt="+strconv.FormatInt((2*virtualLatency).Milliseconds(), 10)) {
			t.Errorf("got %s", hop)
		}
	})
}
