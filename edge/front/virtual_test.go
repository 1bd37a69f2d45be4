package front

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/quic-go/quic-go/testutils/simnet"

	"weir/cache"
	"weir/edge"
	"weir/edge/upstream"
)

// virtual is a front door with an edge behind it in virtual time, that is asked over networks in memory for an object that
// is stored.
type virtual struct {
	t       *testing.T
	edge    *edge.Edge
	content []byte

	http, https *connQueue
	config      *tls.Config
	network     *simnet.Simnet
	link        *simnet.SimConn // of the clients

	mu    sync.Mutex // guards the field below
	ended []edge.Exchange
}

// virtualLatency is the time of a packet of QUIC from end to end.
const virtualLatency = 10 * time.Millisecond

// inVirtualTime runs test before an edge with a site's rules, whose hosts and origin are filled in.
func inVirtualTime(t *testing.T, site edge.Site, size int, test func(t *testing.T, v *virtual)) {
	t.Helper()
	_, content := segment(t, size)
	synctest.Test(t, func(t *testing.T) {
		var running sync.WaitGroup
		v := &virtual{t: t, content: content, http: newConnQueue(&net.TCPAddr{Port: 80}), https: newConnQueue(&net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 443})}
		behind := newConnQueue(&net.TCPAddr{})
		origin := &http.Server{ReadHeaderTimeout: time.Hour, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "max-age=86400")
			http.ServeContent(w, r, "hot.bin", time.Time{}, bytes.NewReader(content))
		})}
		running.Go(func() { _ = origin.Serve(behind) }) // ends by Close
		group, err := upstream.NewGroup(upstream.Options{URLs: []string{"http://origin"}, Dial: func(context.Context, string, string) (net.Conn, error) {
			ours, theirs := net.Pipe()
			behind.put(theirs)
			return ours, nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		site.Hosts, site.Origin = []string{"*"}, group
		sites, err := edge.NewSites(&site)
		if err != nil {
			t.Fatal(err)
		}
		store, err := cache.New(cache.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if v.edge, err = edge.New(edge.Options{Name: "edge", Cache: store, Sites: sites, Observe: v.observe}); err != nil {
			t.Fatal(err)
		}
		cert, err := MintCertificate(t.TempDir(), nil, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		pool := x509.NewCertPool()
		ca, err := x509.ParseCertificate(cert.Certificate[len(cert.Certificate)-1])
		if err != nil {
			t.Fatal(err)
		}
		pool.AddCert(ca)
		v.config = &tls.Config{RootCAs: pool, ServerName: "localhost"}
		v.network = &simnet.Simnet{Router: &simnet.PerfectRouter{}}
		way := simnet.NodeBiDiLinkSettings{Latency: virtualLatency}
		socket := v.network.NewEndpoint(&net.UDPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 443}, way)
		v.link = v.network.NewEndpoint(&net.UDPAddr{IP: net.IPv4(192, 0, 2, 2), Port: 9000}, way)
		if err := v.network.Start(); err != nil {
			t.Fatal(err)
		}
		s, err := New(Options{
			HTTP: "192.0.2.1:80", HTTPS: "192.0.2.1:443", Handler: v.edge, TLS: &tls.Config{Certificates: []tls.Certificate{cert}}, DrainTimeout: time.Millisecond,
			Listen: func(_, address string) (net.Listener, error) {
				if address == "192.0.2.1:80" {
					return v.http, nil
				}
				return v.https, nil
			},
			ListenPacket: func(string, string) (net.PacketConn, error) { return socket, nil },
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		running.Go(func() {
			if err := s.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		if _, err := v.read(v.open("h1"), 0, 0); err != nil {
			t.Fatal(err)
		}
		test(t, v)
		stop()
		_ = origin.Close()
		v.edge.Close(t.Context())
		group.Close()
		running.Wait()
		_ = v.network.Close()
		_ = v.link.Close()
		_ = store.Close() // in memory
	})
}

func (v *virtual) observe(x *edge.Exchange) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.ended = append(v.ended, edge.Exchange{Sent: x.Sent, Duration: x.Duration, Aborted: x.Aborted})
}

// last is the exchange that has ended last.
func (v *virtual) last() edge.Exchange {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.ended[len(v.ended)-1]
}

// open asks for the object with fields, names and values in turn. The body is read to its end or closed.
func (v *virtual) open(protocol string, fields ...string) io.ReadCloser {
	v.t.Helper()
	r, err := http.NewRequestWithContext(v.t.Context(), http.MethodGet, "https://localhost/hot", http.NoBody)
	if err != nil {
		v.t.Fatal(err)
	}
	for i := 0; i+1 < len(fields); i += 2 {
		r.Header.Set(fields[i], fields[i+1])
	}
	var transport http.RoundTripper
	var end func()
	switch protocol {
	case "h1":
		r.URL.Scheme = "http"
		tr := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return v.pipe(v.http), nil }}
		transport, end = tr, tr.CloseIdleConnections
	case "h1+tls", "h2":
		config := v.config.Clone()
		var protocols http.Protocols
		protocols.SetHTTP1(protocol != "h2")
		if protocol == "h2" {
			protocols.SetHTTP2(true)
			config.NextProtos = []string{"h2"}
		}
		tr := &http.Transport{Protocols: &protocols, DialTLSContext: func(context.Context, string, string) (net.Conn, error) {
			return tls.Client(v.pipe(v.https), config), nil
		}}
		transport, end = tr, tr.CloseIdleConnections
	case "h3":
		dialer := &quic.Transport{Conn: v.link}
		tr := &http3.Transport{TLSClientConfig: v.config, Dial: func(ctx context.Context, _ string, config *tls.Config, qc *quic.Config) (*quic.Conn, error) {
			return dialer.DialEarly(ctx, &net.UDPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 443}, config, qc)
		}}
		transport, end = tr, func() { _, _ = tr.Close(), dialer.Close() }
	}
	res, err := transport.RoundTrip(r)
	if err != nil {
		v.t.Fatalf("%s: %v", protocol, err)
	}
	return &virtualBody{res.Body, res.Header, end}
}

func (v *virtual) pipe(to *connQueue) net.Conn {
	ours, theirs := net.Pipe()
	to.put(theirs)
	return ours
}

type virtualBody struct {
	io.ReadCloser

	header http.Header
	end    func()
}

func (b *virtualBody) Close() error {
	err := b.ReadCloser.Close()
	b.end()
	return err
}

// read reads a body to its end, compares it with the object, and returns how long that took: as it comes, or so many bytes
// with a pause after each.
func (v *virtual) read(body io.ReadCloser, pause time.Duration, bytesEach int) (took time.Duration, err error) {
	v.t.Helper()
	begin, buf := time.Now(), make([]byte, 64<<10)
	if pause > 0 {
		buf = buf[:bytesEach]
	}
	got := 0
	for err == nil {
		var n int
		n, err = io.ReadFull(body, buf)
		if !bytes.Equal(buf[:n], v.content[got:got+n]) {
			v.t.Fatalf("wrong bytes after %d", got)
		}
		got += n
		time.Sleep(pause)
	}
	took = time.Since(begin)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		if err = nil; got < len(v.content) {
			err = io.ErrUnexpectedEOF
		}
	}
	_ = body.Close()
	synctest.Wait()
	return took, err
}

// TestProgress: a client that takes a byte a second is ended a minute after what the connection itself takes, and one that
// takes thousands is not, however long that lasts. In the clear it is the socket that sees to small rates (TestProgressInTheClear).
func TestProgress(t *testing.T) {
	t.Parallel()
	const size, stall = 8_000_000, time.Minute
	for protocol, rate := range map[string]int{"h1": 20 << 10, "h1+tls": 4 << 10, "h2": 4 << 10, "h3": 8 << 10} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			inVirtualTime(t, edge.Site{}, size, func(t *testing.T, v *virtual) {
				body := v.open(protocol)
				for one, n := make([]byte, 1), 0; n < 100; n++ {
					_, _ = body.Read(one)
					time.Sleep(time.Second)
				}
				_ = body.Close()
				synctest.Wait()
				if x := v.last(); !x.Aborted || x.Duration < stall || x.Duration > stall+10*time.Second {
					t.Errorf("a byte a second: %d bytes went out in %v, broken off %v; want an end after %v", x.Sent, x.Duration, x.Aborted, stall)
				}
				took, err := v.read(v.open(protocol), time.Second, rate)
				if x := v.last(); err != nil || x.Aborted || took < size/time.Duration(rate)*time.Second {
					t.Errorf("%d bytes a second: %v after %v, %d bytes went out, broken off %v", rate, err, took, x.Sent, x.Aborted)
				}
			})
		})
	}
}

// TestPaceByReport: a body goes out as fast as the player has use for, after a second's worth, over every protocol, where the
// site's rules say so; what keeps a player alive goes before.
func TestPaceByReport(t *testing.T) {
	t.Parallel()
	const size = 2_000_000
	fast, slow := edge.Site{Reports: &edge.Reports{}}, edge.Site{Reports: &edge.Reports{Pace: true}}
	for _, tt := range []struct {
		name, report string
		site         edge.Site
		want         time.Duration
	}{
		{"as asked", "rtp=1600,ot=v,br=800", slow, 9 * time.Second},
		{"of no type", "rtp=1600", slow, 9 * time.Second},
		{"never below the bit rate", "rtp=800,ot=v,br=(1600;v),v=2", slow, 17 * time.Second / 3},
		{"nor that of a player that is fast", "rtp=800,ot=av,br=800,pr=2", slow, 17 * time.Second / 3},
		{"an empty buffer", "rtp=1600,ot=v,br=800,bs", slow, 0},
		{"a start", "rtp=1600,ot=v,br=800,su", slow, 0},
		{"no media", "rtp=1600,ot=m", slow, 0},
		{"nothing asked", "ot=v,br=800", slow, 0},
		{"the site does not", "rtp=1600,ot=v,br=800", fast, 0},
	} {
		for _, protocol := range []string{"h1", "h1+tls", "h2", "h3"} {
			t.Run(tt.name+"/"+protocol, func(t *testing.T) {
				t.Parallel()
				site := tt.site
				inVirtualTime(t, site, size, func(t *testing.T, v *virtual) {
					if _, err := v.read(v.open(protocol, "CMCD-Request", tt.report), 0, 0); err != nil {
						t.Fatal(err)
					}
					slack := 50 * time.Millisecond
					if protocol == "h3" {
						slack += 50 * virtualLatency // it has a congestion window, which grows by the round trip
					}
					if x := v.last(); x.Duration < tt.want || x.Duration > tt.want+slack {
						t.Errorf("%d bytes went out in %v, want %v", x.Sent, x.Duration, tt.want)
					}
					if n := v.edge.Reports().Paced; (n == 1) != (tt.want > 0) {
						t.Errorf("%d responses count as paced", n)
					}
				})
			})
		}
	}
}
