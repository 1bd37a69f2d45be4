package front

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// A udpPath stands between one client and a server, and may change the client's source
// port, the server, or what passes.
type udpPath struct {
	front *net.UDPConn // the client's side

	mu      sync.Mutex // guards the fields below
	client  *net.UDPAddr
	server  *net.UDPAddr
	back    *net.UDPConn   // the server's side
	all     []*net.UDPConn // every back there was
	first   [][]byte       // the datagrams of the client, while recording
	record  bool
	hold    bool // nothing goes to the client
	rate    int  // bytes a second to the client; 0: no limit
	free    time.Time
	reading sync.WaitGroup
}

func newUDPPath(t *testing.T, server string) *udpPath {
	t.Helper()
	front, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	p := &udpPath{front: front}
	p.turn(t, server)
	p.rebind(t)
	p.reading.Go(p.forth)
	t.Cleanup(func() {
		_ = front.Close()
		p.mu.Lock()
		for _, c := range p.all {
			_ = c.Close()
		}
		p.mu.Unlock()
		p.reading.Wait()
	})
	return p
}

func (p *udpPath) address() string { return p.front.LocalAddr().String() }

// turn leads the path to another server.
func (p *udpPath) turn(t *testing.T, server string) {
	t.Helper()
	addr, err := net.ResolveUDPAddr("udp", server)
	if err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.server = addr
}

// rebind gives the client another source port.
func (p *udpPath) rebind(t *testing.T) {
	t.Helper()
	back, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	_ = back.SetReadBuffer(1 << 20)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.back, p.all = back, append(p.all, back)
	p.reading.Go(func() { p.forthBack(back) })
}

func (p *udpPath) forth() {
	buf := make([]byte, 2048)
	for {
		n, client, err := p.front.ReadFromUDP(buf)
		if err != nil {
			return
		}
		p.mu.Lock()
		p.client = client
		if p.record {
			p.first = append(p.first, bytes.Clone(buf[:n]))
		}
		back, server := p.back, p.server
		p.mu.Unlock()
		_, _ = back.WriteToUDP(buf[:n], server)
	}
}

func (p *udpPath) forthBack(back *net.UDPConn) {
	buf := make([]byte, 2048)
	for {
		n, _, err := back.ReadFromUDP(buf)
		if err != nil {
			return
		}
		p.mu.Lock()
		// What comes to an old port is lost, as at a NAT.
		client, pass := p.client, back == p.back && !p.hold
		var wait time.Duration
		if p.rate > 0 {
			now := time.Now()
			if p.free.Before(now) {
				p.free = now
			}
			wait = p.free.Sub(now)
			p.free = p.free.Add(time.Duration(n) * time.Second / time.Duration(p.rate))
			pass = pass && wait < 100*time.Millisecond // the queue of a bottleneck
		}
		p.mu.Unlock()
		if wait > time.Millisecond && pass {
			<-time.After(wait)
		}
		if pass {
			_, _ = p.front.WriteToUDP(buf[:n], client)
		}
	}
}

func (p *udpPath) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
}

// h3Client is a client over this path.
func (p *udpPath) h3Client(t *testing.T, r *running, config *quic.Config) (*http.Client, string) {
	t.Helper()
	tr := &http3.Transport{TLSClientConfig: &tls.Config{RootCAs: r.pool}, QUICConfig: config}
	t.Cleanup(func() { _ = tr.Close() })
	return &http.Client{Transport: tr, Timeout: patience}, "https://" + p.address()
}

// The source port of a client changes twenty times while it downloads. The client pings
// now and then, as browsers do: one that only listens is not found again.
func TestNATRebinding(t *testing.T) {
	t.Parallel()
	file, content := segment(t, 2<<20)
	s := start(t, Options{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Content-Length"] = []string{strconv.Itoa(len(content))}
		_, _ = w.(io.ReaderFrom).ReadFrom(newFileRange(file, 0, int64(len(content))))
	})})
	path := newUDPPath(t, s.HTTPSAddr())
	c, url := path.h3Client(t, s, &quic.Config{MaxIdleTimeout: patience, KeepAlivePeriod: 300 * time.Millisecond})
	c.Timeout = 3 * patience
	res, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	const changes = 20
	got, longest := make([]byte, len(content)), time.Duration(0)
	for i := range changes + 1 {
		from, to := len(got)*i/(changes+1), len(got)*(i+1)/(changes+1)
		begin := time.Now()
		if _, err := io.ReadFull(res.Body, got[from:to]); err != nil {
			t.Fatalf("after %d changes: %v", i, err)
		}
		longest = max(longest, time.Since(begin))
		path.rebind(t)
	}
	t.Logf("the longest of %d parts took %v", changes+1, longest)
	if !bytes.Equal(got, content) || longest > 3*time.Second {
		t.Errorf("right bytes: %v, longest part %v", bytes.Equal(got, content), longest)
	}
	if n := s.Stats().Refused[pathProbes.String()]; n > 0 { // after a change of port whole packets are as long as probes
		t.Errorf("%d packets were taken for probes, or were too many", n)
	}
}

// The clients of a server that is gone, and has come back with the same key, learn of it
// by stateless resets, not by their idle time-out.
func TestStatelessReset(t *testing.T) {
	t.Parallel()
	_, content := segment(t, 1<<20)
	begun := make(chan struct{}, 100)
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write(content[:100_000])
		if r.URL.Path == "/again" {
			_, _ = w.Write(content[100_000:])
			return
		}
		_ = http.NewResponseController(w).Flush()
		begun <- struct{}{}
		<-r.Context().Done()
	})
	o := Options{Handler: handler, QUICKey: []byte("a secret of the test's"), QUICNode: "a", DrainTimeout: time.Millisecond}
	one, two := start(t, o), start(t, o)
	const clients = 50
	type client struct {
		path *udpPath
		tr   *http.Client
		url  string
		res  *http.Response
	}
	all := make([]client, clients)
	for i := range all {
		path := newUDPPath(t, one.HTTPSAddr())
		c, url := path.h3Client(t, one, &quic.Config{MaxIdleTimeout: time.Minute, KeepAlivePeriod: 500 * time.Millisecond})
		res, err := c.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		all[i] = client{path, c, url, res}
		<-begun
	}
	var ending sync.WaitGroup
	var longest, wrong atomic.Int64
	for _, c := range all {
		c.path.turn(t, two.HTTPSAddr())
		ctx, cancel := context.WithCancel(t.Context())
		ending.Go(func() { // nothing smaller than a request is answered by a reset
			req, _ := http.NewRequestWithContext(ctx, http.MethodGet, c.url+"/wait", nil)
			if res, err := c.tr.Do(req); err == nil {
				_ = res.Body.Close()
			}
		})
		ending.Go(func() {
			defer cancel()
			begin := time.Now()
			_, err := io.Copy(io.Discard, c.res.Body)
			_ = c.res.Body.Close()
			var reset *quic.StatelessResetError
			if !errors.As(err, &reset) {
				wrong.Add(1)
			}
			longest.Store(max(longest.Load(), int64(time.Since(begin))))
		})
	}
	ending.Wait()
	t.Logf("the last of %d clients knew after %v", clients, time.Duration(longest.Load()))
	if wrong.Load() > 0 || longest.Load() > int64(15*time.Second) {
		t.Errorf("%d clients learned otherwise, the last after %v", wrong.Load(), time.Duration(longest.Load()))
	}
	c := all[1]
	tr := &http3.Transport{TLSClientConfig: &tls.Config{RootCAs: two.pool}}
	defer func() { _ = tr.Close() }()
	if _, body, err := get(&http.Client{Transport: tr, Timeout: patience}, c.url+"/again"); err != nil || !bytes.Equal(body, content) {
		t.Errorf("again: %d bytes, %v", len(body), err)
	}
}

// Requests in early data are answered before the handshake is over, if they are safe; and
// whoever sends them again, from another address, gets nothing unsafe done.
func TestEarlyData(t *testing.T) {
	t.Parallel()
	var posts atomic.Int64
	earlyGets := make(chan string, 1000)
	s := start(t, Options{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			posts.Add(1)
		} else if r.URL.Path == "/early" {
			earlyGets <- r.Header.Get("Early-Data")
		}
		_, _ = io.WriteString(w, "ok")
	})})
	path := newUDPPath(t, s.HTTPSAddr())
	config := &tls.Config{RootCAs: s.pool, ClientSessionCache: tls.NewLRUClientSessionCache(10)}
	ask := func(method, target string, during func()) (*http.Response, error) {
		tr := &http3.Transport{TLSClientConfig: config, QUICConfig: &quic.Config{MaxIdleTimeout: patience}}
		defer func() { _ = tr.Close() }()
		req, _ := http.NewRequestWithContext(t.Context(), method, "https://"+path.address()+target, nil)
		if during != nil {
			go during()
		}
		res, err := tr.RoundTrip(req)
		if err == nil {
			_, _ = io.Copy(io.Discard, res.Body)
			_ = res.Body.Close()
		}
		return res, err
	}
	if res, err := ask(http.MethodGet, "/", nil); err != nil || res.StatusCode != http.StatusOK {
		t.Fatal(res, err)
	}
	// Nothing comes back, so that the handshake cannot end, until the handler was called.
	path.set(func() { path.hold, path.record = true, true })
	res, err := ask(http3.MethodGet0RTT, "/early", func() {
		select {
		case field := <-earlyGets:
			if field != "1" {
				t.Errorf("Early-Data: %q, want 1", field)
			}
		case <-time.After(patience / 2):
			t.Error("the handler is not called before the handshake is over")
		}
		path.set(func() { path.hold = false })
	})
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%v, %v", res, err)
	}
	var first [][]byte
	path.set(func() { first, path.first = path.first, nil })

	// quic-go's client sends no POST early: it is made to take it for a GET. What it
	// recorded is sent again from other addresses.
	replay := func() {
		for range 100 {
			back, err := net.Dial("udp", s.HTTPSAddr())
			if err != nil {
				t.Fatal(err)
			}
			for _, datagram := range first {
				_, _ = back.Write(datagram)
			}
			_ = back.Close()
		}
	}
	replay()
	if posts.Load() != 0 {
		t.Error("a POST was handled")
	}
	if res, err := ask(http.MethodGet, "/", nil); err != nil || res.StatusCode != http.StatusOK {
		t.Errorf("after the replays: %v, %v", res, err)
	}
	for len(earlyGets) > 0 {
		if field := <-earlyGets; field != "1" {
			t.Errorf("a replayed request came with Early-Data %q", field)
		}
	}
}

// An unsafe request in early data is refused, and may be sent again.
func TestEarlyPost(t *testing.T) {
	t.Parallel()
	var posts atomic.Int64
	s := start(t, Options{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			posts.Add(1)
		}
	})})
	path := newUDPPath(t, s.HTTPSAddr())
	config := &tls.Config{RootCAs: s.pool, NextProtos: []string{"h3"}, ClientSessionCache: tls.NewLRUClientSessionCache(10)}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, err := quic.DialAddr(ctx, path.address(), config, nil)
	if err != nil {
		t.Fatal(err)
	}
	post := headerFrame(":method", "POST", ":scheme", "https", ":authority", "x", ":path", "/")
	send := func(conn *quic.Conn) string {
		str, err := conn.OpenStreamSync(ctx)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = str.Write([]byte(post))
		_ = str.Close()
		if refused := s.Stats().Refused[earlyData.String()]; posts.Load() == 1 && refused == 0 {
			path.set(func() { path.hold = true }) // the next one stays early
		}
		answer := make(chan string, 1)
		go func() {
			_ = str.SetReadDeadline(time.Now().Add(patience))
			b, _ := io.ReadAll(str)
			answer <- string(b)
		}()
		for end := time.Now().Add(patience / 2); time.Now().Before(end); {
			select {
			case b := <-answer:
				return b
			case <-time.After(5 * time.Millisecond):
				if s.Stats().Refused[earlyData.String()] == 1 {
					path.set(func() { path.hold = false })
				}
			}
		}
		return <-answer
	}
	if answer := send(conn); posts.Load() != 1 || answer == "" {
		t.Fatalf("%d posts, %q", posts.Load(), answer)
	}
	_ = conn.CloseWithError(0, "")
	path.set(func() { path.hold = true })
	early, err := quic.DialAddrEarly(ctx, path.address(), config, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = early.CloseWithError(0, "") }()
	answer := send(early)
	if posts.Load() != 1 || s.Stats().Refused[earlyData.String()] != 1 || answer == "" || !early.ConnectionState().Used0RTT {
		t.Errorf("%d posts, %v refused, %q, early: %v", posts.Load(), s.Stats().Refused, answer, early.ConnectionState().Used0RTT)
	}
	if send(early); posts.Load() != 2 {
		t.Errorf("%d posts after the handshake, want 2", posts.Load())
	}
}

// firstFlight records what a client sends to a server that does not answer.
func firstFlight(t *testing.T) []byte {
	t.Helper()
	silent, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	ctx, cancel := context.WithCancel(t.Context())
	var dialling sync.WaitGroup
	dialling.Go(func() {
		_, _ = quic.DialAddr(ctx, silent.LocalAddr().String(), &tls.Config{
			ServerName: "localhost", NextProtos: []string{"h3"}, CurvePreferences: []tls.CurveID{tls.X25519}, // all in one datagram
		}, nil)
	})
	buf := make([]byte, 2048)
	_ = silent.SetReadDeadline(time.Now().Add(patience))
	n, _, err := silent.ReadFromUDP(buf)
	cancel()
	dialling.Wait()
	if err != nil {
		t.Fatal(err)
	}
	return buf[:n]
}

// A forged address gets at most three times what came from it (RFC 9000, 8.1), and is no
// connection; and when many come, it gets a Retry, through which honest clients pass.
func TestForgedAddresses(t *testing.T) {
	t.Parallel()
	s := start(t, Options{HeaderTimeout: time.Second, Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})})
	forge := func(flight []byte) *net.UDPConn {
		c, err := net.DialUDP("udp", nil, s.sockets.udp.LocalAddr().(*net.UDPAddr))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write(flight); err != nil {
			t.Fatal(err)
		}
		return c
	}
	flight := firstFlight(t)
	c := forge(flight)
	defer func() { _ = c.Close() }()
	got, buf := 0, make([]byte, 2048)
	_ = c.SetReadDeadline(time.Now().Add(3 * time.Second)) // the server gives up after one
	for {
		n, err := c.Read(buf)
		if err != nil {
			break
		}
		got += n
	}
	t.Logf("%d bytes for a packet of %d", got, len(flight))
	const goodbye = 64 // quic-go does not count the packet that says it
	if got == 0 || got > 3*len(flight)+goodbye {
		t.Errorf("%d bytes for a packet of %d", got, len(flight))
	}
	if stats := s.Stats().HTTP3; stats.Accepted != 0 || stats.Open != 0 {
		t.Errorf("%+v, want no connection", stats)
	}
	// Over the limit.
	d, err := net.DialUDP("udp", nil, s.sockets.udp.LocalAddr().(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	for range 3 * retryFrom {
		_, _ = d.Write(flight)
		binary.BigEndian.PutUint32(flight[8:], binary.BigEndian.Uint32(flight[8:])+1) // another connection ID
	}
	client, url := s.client(t, "h3")
	if _, _, err := get(client, url); err != nil {
		t.Errorf("an honest client meanwhile: %v", err)
	}
	retries := 0
	_ = d.SetReadDeadline(time.Now().Add(time.Second))
	for n, err := d.Read(buf); err == nil; n, err = d.Read(buf) {
		const form = 0xf0 // of a Retry packet: RFC 9000, 17.2.5
		if n > 0 && buf[0]&form == form {
			retries++
		}
	}
	if retries == 0 {
		t.Errorf("no Retry for %d handshakes at once", 3*retryFrom)
	}
	t.Logf("%d retries", retries)
}

func TestQUICKeys(t *testing.T) {
	t.Parallel()
	keys := func(o Options) quicKeys {
		if o.TLS == nil {
			o.TLS = &tls.Config{}
		}
		k, err := newQUICKeys(o)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	cert, err := MintCertificate(t.TempDir(), nil, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	certified := &tls.Config{Certificates: []tls.Certificate{cert}}
	a, b := keys(Options{QUICKey: []byte("k"), QUICNode: "a"}), keys(Options{QUICKey: []byte("k"), QUICNode: "b"})
	if a.token != b.token || a.reset == b.reset {
		t.Error("nodes with one key: want the same tokens and different resets")
	}
	if a != keys(Options{QUICKey: []byte("k"), QUICNode: "a", TLS: certified}) {
		t.Error("the key is not all that counts")
	}
	if one, again := keys(Options{TLS: certified}), keys(Options{TLS: certified}); one != again {
		t.Error("without a key, want the certificate's")
	}
	if one, again := keys(Options{}), keys(Options{}); one == again {
		t.Error("without anything, want random keys")
	}
	if other := keys(Options{QUICKey: []byte("l"), QUICNode: "a"}); other.token == a.token || other.reset == a.reset {
		t.Error("two keys give the same")
	}
}

// An address token is good for its address alone: from another one the client is taken for
// a stranger, and served (RFC 9000, 8.1.3).
func TestAddressTokenFromElsewhere(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})})
	store := quic.NewLRUTokenStore(10, 10)
	for _, ip := range []string{"127.0.0.1", "127.0.0.2", "127.0.0.1"} {
		socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(ip)})
		if err != nil {
			t.Skipf("no address %s here: %v", ip, err)
		}
		tr := &quic.Transport{Conn: socket}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		conn, err := tr.Dial(ctx, s.sockets.udp.LocalAddr(), &tls.Config{RootCAs: s.pool, ServerName: "localhost", NextProtos: []string{"h3"}}, &quic.Config{TokenStore: store})
		if err != nil {
			t.Fatalf("from %s: %v", ip, err)
		}
		str, err := conn.OpenStreamSync(ctx)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = str.Write([]byte(headerFrame(":method", "GET", ":scheme", "https", ":authority", "x", ":path", "/")))
		_ = str.Close()
		if got := outcomeOf(str.Read); !got.answered {
			t.Errorf("from %s: %+v", ip, got)
		}
		_ = conn.CloseWithError(0, "")
		cancel()
		_ = tr.Close()
		_ = socket.Close()
	}
}
