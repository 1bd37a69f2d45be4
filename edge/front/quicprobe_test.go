package front

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/http"
	"slices"
	"testing"
	"time"

	"weir/tools/proof/quicraw"
)

// elsewhere is another socket of the client's, at the same address.
func (r *running) elsewhere(t testing.TB) *net.UDPConn {
	t.Helper()
	c, err := net.DialUDP("udp", nil, r.sockets.udp.LocalAddr().(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetReadBuffer(1 << 20)
	return c
}

// Who sends PATH_CHALLENGE from an address that may be another's has a few answers sent there, of 1,200 bytes each, not one
// for each packet; and the connection goes on.
func TestPathProbesAreBounded(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Handler: http.HandlerFunc(honest)})
	c := s.rawHTTP3(t)
	if err := c.Send(quicraw.Data, quicraw.NewConnectionID(1, 0), quicraw.NewConnectionID(2, 0)); err != nil {
		t.Fatal(err)
	}
	if err := answered(c); err != nil {
		t.Fatal(err)
	}
	victim := s.elsewhere(t)
	const sent = 1000
	for i := range sent {
		if _, err := victim.Write(c.Packet(quicraw.Data, quicraw.PathChallenge(uint64(i)))); err != nil {
			t.Fatal(err)
		}
		if i%100 == 0 { // no more than a socket holds
			if err := answered(c); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := answered(c); err != nil {
		t.Errorf("the client itself: %v", err)
	}
	got, buf := 0, make([]byte, 2048)
	for got < probesPerPath {
		_ = victim.SetReadDeadline(time.Now().Add(patience))
		n, err := victim.Read(buf)
		if err != nil {
			t.Fatalf("%d answers, want %d: %v", got, probesPerPath, err)
		}
		packets, err := c.Open(buf[:n])
		if err != nil || len(packets) != 1 {
			t.Fatalf("%+v, %v", packets, err)
		}
		if !slices.ContainsFunc(packets[0].Frames, func(f quicraw.Frame) bool {
			return f.Type == quicraw.TypePathResponse && bytes.Equal(f.Data, binary.BigEndian.AppendUint64(nil, uint64(got)))
		}) {
			t.Errorf("answer %d: %+v", got, packets)
		}
		got++
	}
	_ = victim.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if n, err := victim.Read(buf); err == nil {
		t.Errorf("one more answer of %d bytes", n)
	}
	refused := s.Stats().Refused[pathProbes.String()]
	t.Logf("%d answers of %d bytes for %d packets, %d not sent", got, probeBytes, sent, refused)
	if refused == 0 || refused > sent-probesPerPath {
		t.Errorf("%d answers were not sent, want at most %d", refused, sent-probesPerPath)
	}
}

// The budget is by port and by address.
func TestProbeBudget(t *testing.T) {
	t.Parallel()
	g := &pathGuard{}
	now := time.Now()
	allowed := func(ip string, port int) (n int) {
		for g.allows(now, &net.UDPAddr{IP: net.ParseIP(ip), Port: port}) {
			n++
		}
		return n
	}
	if n := allowed("192.0.2.1", 1); n != probesPerPath {
		t.Errorf("%d probes to one port, want %d", n, probesPerPath)
	}
	all := probesPerPath
	for port := 2; port < 100; port++ {
		all += allowed("192.0.2.1", port)
	}
	if all != probesPerClient {
		t.Errorf("%d probes to one address, want %d", all, probesPerClient)
	}
	if n := allowed("2001:db8::1", 1); n != probesPerPath {
		t.Errorf("%d probes to another address, want %d", n, probesPerPath)
	}
	if now = now.Add(budgetWindow); allowed("192.0.2.1", 1) != probesPerPath {
		t.Error("nothing again when the time is over")
	}
}

// Who is known when there is room for no others keeps its budget.
func TestProbeBudgetWhenFull(t *testing.T) {
	t.Parallel()
	g := &pathGuard{}
	now := time.Now()
	allows := func(i int) bool {
		return g.allows(now, &net.UDPAddr{IP: net.IPv4(10, 0, byte(i>>8), byte(i)), Port: 1})
	}
	for i := range probedPaths {
		if got := allows(i); got != (i < probedPaths/2) { // each is a port and an address
			t.Fatalf("address %d: %v", i, got)
		}
	}
	for range probesPerPath - 1 {
		if !allows(0) {
			t.Fatal("a port that is known has no budget left, because there are many others")
		}
	}
	if allows(0) {
		t.Errorf("more than %d probes to one port", probesPerPath)
	}
}
