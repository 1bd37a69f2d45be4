package front

import (
	"bytes"
	"net/http"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"

	"weir/tools/proof/quicraw"
)

const (
	// floodDatagrams is how many a flood sends at most.
	floodDatagrams = 1200
	// floodStep is how many of them are under way at once: fewer than any queue holds, so that none is lost and all cost.
	floodStep = 32
	// floodPayload is how much is put into a packet.
	floodPayload = 1100
)

// many is a frame as often as a packet holds it.
func many(frame []byte) []byte { return bytes.Repeat(frame, floodPayload/len(frame)) }

// A quicFlood is what one connection may be flooded with. The handshake is over, and a request was answered.
type quicFlood struct {
	name   string
	silent bool     // nothing is acknowledged, and the congestion window is full
	ends   []uint64 // the error by which the server ends it, any of them; nil: it does not
	heap   int64    // what the server may hold more for it, bytes; 0: 1 MiB
	send   func(c *quicraw.Conn, i uint64) []byte
}

// quicFloods: i counts the datagrams from 0.
var quicFloods = []quicFlood{
	{name: "PING, one a packet", send: func(c *quicraw.Conn, _ uint64) []byte { return c.Packet(quicraw.Data, quicraw.Ping()) }},
	{name: "PING", send: func(c *quicraw.Conn, _ uint64) []byte { return c.Packet(quicraw.Data, many(quicraw.Ping())) }},
	{name: "PADDING alone", send: func(c *quicraw.Conn, _ uint64) []byte { return c.Packet(quicraw.Data, quicraw.Padding(floodPayload)) }},
	{name: "PATH_CHALLENGE, nothing acknowledged", silent: true, send: func(c *quicraw.Conn, i uint64) []byte {
		return c.Packet(quicraw.Data, many(quicraw.PathChallenge(i)))
	}},
	{name: "PATH_CHALLENGE, one a packet", silent: true, send: func(c *quicraw.Conn, i uint64) []byte {
		return c.Packet(quicraw.Data, quicraw.PathChallenge(i))
	}},
	{name: "ACK, one a packet", send: func(c *quicraw.Conn, _ uint64) []byte { return c.Packet(quicraw.Data, c.Acks(quicraw.Data)) }},
	{name: "ACK", send: func(c *quicraw.Conn, _ uint64) []byte { return c.Packet(quicraw.Data, many(c.Acks(quicraw.Data))) }},
	{name: "ACK of one packet in flight, over and over", silent: true, send: func(c *quicraw.Conn, _ uint64) []byte {
		return c.Packet(quicraw.Data, many(quicraw.Ack(quicraw.Range{Smallest: 2, Largest: 2})))
	}},
	{name: "every other packet number", send: func(c *quicraw.Conn, _ uint64) []byte {
		c.Skip(quicraw.Data, 1)
		return c.Packet(quicraw.Data, quicraw.Ping())
	}},
	{name: "MAX_DATA rising", send: func(c *quicraw.Conn, i uint64) []byte {
		return c.Packet(quicraw.Data, many(quicraw.Numbers(quicraw.TypeMaxData, 1<<29+i)))
	}},
	{name: "MAX_STREAM_DATA", send: func(c *quicraw.Conn, i uint64) []byte {
		return c.Packet(quicraw.Data, many(quicraw.Numbers(quicraw.TypeMaxStreamData, 0, 1<<29+i)))
	}},
	{name: "MAX_STREAMS rising", send: func(c *quicraw.Conn, i uint64) []byte {
		return c.Packet(quicraw.Data, many(quicraw.Numbers(quicraw.TypeMaxStreams, 1000+i)))
	}},
	{name: "DATA_BLOCKED", send: func(c *quicraw.Conn, i uint64) []byte {
		return c.Packet(quicraw.Data, many(quicraw.Numbers(quicraw.TypeDataBlocked, i)))
	}},
	{name: "STOP_SENDING of a stream that is over", send: func(c *quicraw.Conn, _ uint64) []byte {
		return c.Packet(quicraw.Data, many(quicraw.Numbers(quicraw.TypeStopSending, 0, 1)))
	}},
	{name: "empty STREAM", send: func(c *quicraw.Conn, _ uint64) []byte {
		return c.Packet(quicraw.Data, many(quicraw.Stream(4, 0, nil, false)))
	}},
	{name: "STREAM, the same byte", send: func(c *quicraw.Conn, _ uint64) []byte {
		return c.Packet(quicraw.Data, many(quicraw.Stream(4, 1, []byte("x"), false)))
	}},
	{name: "CRYPTO, the same byte", send: func(c *quicraw.Conn, _ uint64) []byte {
		return c.Packet(quicraw.Data, many(quicraw.Crypto(1, []byte("x"))))
	}},
	{name: "CRYPTO with gaps", ends: []uint64{quicInternal}, send: func(c *quicraw.Conn, i uint64) []byte {
		return c.Packet(quicraw.Data, quicraw.Crypto(2*i+1, []byte("x")))
	}},
	{name: "STREAM with gaps", ends: []uint64{quicInternal}, send: func(c *quicraw.Conn, i uint64) []byte {
		return c.Packet(quicraw.Data, quicraw.Stream(4, 2*i+1, []byte("x"), false))
	}},
	// The worst three: see the package's comment.
	{name: "STREAM with gaps, all streams", ends: []uint64{quicInternal}, heap: 24 << 20, send: func(c *quicraw.Conn, i uint64) []byte {
		const each = 120 // frames in a packet
		var b []byte
		for k := range uint64(each) {
			b = append(b, quicraw.Stream(4+i%maxStreams*4, 2*(i/maxStreams*each+k)+1, []byte("x"), false)...)
		}
		return c.Packet(quicraw.Data, b)
	}},
	{name: "STREAM, the same byte behind many gaps", send: func(c *quicraw.Conn, i uint64) []byte {
		const gaps, each = 960, 120
		if i >= gaps/each {
			return c.Packet(quicraw.Data, many(quicraw.Stream(4, 2*gaps-1, []byte("x"), false)))
		}
		var b []byte
		for k := range uint64(each) {
			b = append(b, quicraw.Stream(4, 2*(i*each+k)+1, []byte("x"), false)...)
		}
		return c.Packet(quicraw.Data, b)
	}},
	{name: "RETIRE_CONNECTION_ID, nothing acknowledged", silent: true, ends: []uint64{quicInternal}, heap: 4 << 20, send: func(c *quicraw.Conn, i uint64) []byte {
		const each = 200
		var b []byte
		for k := range uint64(each) {
			b = append(b, quicraw.Numbers(quicraw.TypeRetireConnectionID, 1+i*each+k)...)
		}
		return c.Packet(quicraw.Data, b)
	}},
	{name: "NEW_CONNECTION_ID, all before retired", silent: true, ends: []uint64{quicInternal}, heap: 2 << 20, send: func(c *quicraw.Conn, i uint64) []byte {
		const each = 25
		var b []byte
		for k := range uint64(each) {
			b = append(b, quicraw.NewConnectionID(1+i*each+k, 1+i*each+k)...)
		}
		return c.Packet(quicraw.Data, b)
	}},
	{name: "packets that cannot be opened", send: func(c *quicraw.Conn, _ uint64) []byte {
		b := c.Packet(quicraw.Data, quicraw.Padding(floodPayload))
		b[len(b)-1] ^= 1
		return b
	}},
	{name: "one packet again and again", send: func(c *quicraw.Conn, i uint64) []byte {
		if i > 0 {
			c.Skip(quicraw.Data, ^uint64(0)) // one back
		}
		return c.Packet(quicraw.Data, quicraw.Padding(floodPayload))
	}},
	{name: "requests that are given up", ends: []uint64{uint64(http3.ErrCodeExcessiveLoad), quicStreamLimit}, send: func(c *quicraw.Conn, i uint64) []byte {
		const code = uint64(http3.ErrCodeRequestCanceled)
		id, request := 4+4*i, rawGet("/wait")
		return c.Packet(quicraw.Data, quicraw.Stream(id, 0, request, true),
			quicraw.Numbers(quicraw.TypeResetStream, id, code, uint64(len(request))), quicraw.Numbers(quicraw.TypeStopSending, id, code))
	}},
}

// Not parallel: it measures the process. What both sides have spent is logged; what is checked is the end, memory, bytes
// sent, and handlers begun.
func TestQUICFloods(t *testing.T) {
	if underRace {
		t.Skip("the race detector takes ten times as long, and memory of its own")
	}
	var conn atomic.Pointer[quicConn]
	var begun atomic.Int64
	big := make([]byte, 256<<10)
	s := start(t, Options{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch s, ok := r.Context().(*http3Stream); {
		case r.URL.Path == "/honest" && ok:
			conn.Store(s.conn)
		case r.URL.Path == "/big":
			_, _ = w.Write(big) // until the client says that it has it
			return
		case r.URL.Path != "/honest":
			begun.Add(1)
		}
		honest(w, r)
	})})
	client, url := s.client(t, "h2")
	_ = control(t, client, url+"/honest", honestBody, 1)
	defer calmAgain(t)()
	for _, flood := range quicFloods {
		t.Run(flood.name, func(t *testing.T) {
			runtime.LockOSThread() // the CPU of the sender is counted by the thread, which ends with it
			c := s.rawHTTP3(t)
			if err := answered(c); err != nil {
				t.Fatal(err)
			}
			server := conn.Load().conn
			if flood.silent {
				_ = c.Send(quicraw.Data, quicraw.Stream(400-4, 0, rawGet("/big"), true))
				_, _ = c.Receive(time.Now().Add(patience))
			}
			handlers, heap := begun.Load(), heapInUse()
			before, mine, all := server.ConnectionStats(), threadCPU(), processCPU()
			sent, bytes := 0, 0
			for i := range uint64(floodDatagrams) {
				d := flood.send(c, i)
				if c.Write(d) != nil || server.Context().Err() != nil {
					break
				}
				sent++
				bytes += len(d)
				if i%floodStep == floodStep-1 {
					for end := time.Now().Add(patience); server.Context().Err() == nil && time.Now().Before(end) &&
						server.ConnectionStats().BytesReceived-before.BytesReceived < uint64(bytes); {
						<-time.After(20 * time.Microsecond)
					}
				}
			}
			mine = threadCPU() - mine
			all = processCPU() - all - mine
			grown, after := heapInUse()-heap, server.ConnectionStats()
			out := int64(after.BytesSent - before.BytesSent)
			each := begun.Load() - handlers
			t.Logf("%d datagrams of %d bytes; our CPU/theirs %.1f; %d KiB more memory, %.1f bytes for each that came; %.2f bytes sent for each; %d handlers",
				sent, bytes/sent, float64(all)/float64(mine), grown>>10, float64(grown)/float64(bytes), float64(out)/float64(bytes), each)
			limit := flood.heap
			if limit == 0 {
				limit = 1 << 20
			}
			if grown > limit {
				t.Errorf("%d bytes more memory, want at most %d", grown, limit)
			}
			if out > int64(bytes)+int64(len(big)) {
				t.Errorf("%d bytes sent for %d", out, bytes)
			}
			if each > 2*oddEvents {
				t.Errorf("%d handlers were begun", each)
			}
			switch {
			case flood.ends != nil:
				if end, err := c.Closed(time.Now().Add(patience)); err != nil || !slices.Contains(flood.ends, end.ID) {
					t.Errorf("closed with %#x %q, %v, want %#x", end.ID, end.Data, err, flood.ends)
				}
			case server.Context().Err() != nil:
				t.Error("the connection has ended")
			}
			_ = control(t, client, url+"/honest", honestBody, 1)
		})
	}
}
