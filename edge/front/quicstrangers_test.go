package front

import (
	"bytes"
	"encoding/binary"
	"log/slog"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/ipv4"
)

const testMark = 0xa1b2c3d4

func marked(length int, header ...byte) []byte {
	b := binary.BigEndian.AppendUint32(header, testMark)
	return append(b, make([]byte, length-len(b))...)
}

// Packets of our connections are read whatever comes beside them; of others so many in a window.
func TestStrangers(t *testing.T) { //nolint:paralleltest // it counts allocations
	const most = 7
	long := func(version uint32, length int) []byte {
		b := binary.BigEndian.AppendUint32([]byte{0xc3}, version)
		return append(b, make([]byte, length-len(b))...)
	}
	for _, tt := range []struct {
		name string
		in   []byte
		want int
	}{
		{"our short header", marked(30, 0x43), 1000},
		{"our long header", marked(100, 0xe3, 0, 0, 0, 1, connIDBytes), 1000},
		{"our mark elsewhere", marked(30, 0x43, 0), mostLost},
		{"Initial", long(1, 1200), most},
		{"Initial of version 2", long(0x6b3343cf, 1200), most},
		{"Initial, short", long(1, 1199), mostLost},
		{"unknown version", long(0x1a2a3a4a, 1200), mostLost},
		{"short header", make([]byte, 30), mostLost},
		{"one byte", []byte{0xc3}, mostLost},
		{"nothing", nil, mostLost},
	} {
		s, now := strangers{mark: testMark, most: most}, time.Unix(1, 0)
		for window := range 2 {
			got := 0
			for range 1000 {
				if s.takes(tt.in, now) {
					got++
				}
			}
			if got != tt.want {
				t.Errorf("%s: %d packets are read in window %d, want %d", tt.name, got, window, tt.want)
			}
			now = now.Add(strangerWindow)
		}
		if n := testing.AllocsPerRun(100, func() { s.takes(tt.in, now) }); n != 0 {
			t.Errorf("%s: %v allocations", tt.name, n)
		}
	}
}

// What is kept of a batch is whole, in order, and with its address; what is not is counted.
func TestReadWithoutStrangers(t *testing.T) {
	t.Parallel()
	socket, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	from, err := net.DialUDP("udp4", nil, socket.LocalAddr().(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	r := &refusals{log: slog.New(slog.DiscardHandler)}
	g := guardPaths(socket, testMark, r).(*pathGuard)
	g.strangers.begun = time.Now().Add(time.Hour) // the window does not end
	g.strangers.lost = mostLost
	ours := func(i int) []byte { return append(marked(20+i, 0x43), byte(i)) }
	const sent = 50
	for i := range sent {
		for _, b := range [][]byte{make([]byte, 30+i%3), ours(i)} {
			if _, err := from.Write(b); err != nil {
				t.Fatal(err)
			}
		}
	}
	packets := make([]ipv4.Message, 8)
	for i := range packets {
		packets[i].Buffers, packets[i].OOB = [][]byte{make([]byte, 1452)}, make([]byte, 128)
	}
	_ = socket.SetReadDeadline(time.Now().Add(patience))
	for got := 0; got < sent; {
		n, err := g.ReadBatch(packets, 0)
		if err != nil {
			t.Fatalf("%d packets: %v", got, err)
		}
		for _, p := range packets[:n] {
			if b := p.Buffers[0][:p.N]; !bytes.Equal(b, ours(got)) || p.Addr.String() != from.LocalAddr().String() {
				t.Fatalf("packet %d is % x from %v", got, b, p.Addr)
			}
			got++
		}
	}
	if n := r.counts[quicStrangers].Load(); n != sent {
		t.Errorf("%d refusals, want %d", n, sent)
	}
}

// A flood gets no second's handshakes at once, and then none until it is over.
func TestRetryLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &retryLimit{most: 200}
		free := 0
		for range 5000 { // for five seconds
			if !l.exceeded(nil) {
				free++
			}
			time.Sleep(time.Millisecond)
		}
		if free != 20 {
			t.Errorf("%d handshakes without a proof of the address, want 20", free)
		}
		if time.Sleep(time.Second); l.exceeded(nil) {
			t.Error("a proof is asked for when the flood is over")
		}
	})
}
