package quicraw

import (
	"bytes"
	"crypto/tls"
	"encoding/hex"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"weir/tools/proof"
)

const patience = 20 * time.Second

func bytesOf(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// RFC 9001, A.1.
func TestInitialKeys(t *testing.T) {
	t.Parallel()
	client, server := initialKeys(bytesOf(t, "8394c8f03e515708"))
	for name, tt := range map[string]struct {
		got  *keys
		want string
	}{
		"client": {client, "fa044b2f42a3fd3b46fb255c"},
		"server": {server, "0ac1493ca1905853b0bba03e"},
	} {
		if want := bytesOf(t, tt.want); !bytes.Equal(tt.got.iv[:], want) {
			t.Errorf("%s: iv %x, want %x", name, tt.got.iv, want)
		}
	}
}

// RFC 9001, A.2: the client's first packet, padded; its tag is over all of it.
func TestSealInitial(t *testing.T) {
	t.Parallel()
	client, _ := initialKeys(bytesOf(t, "8394c8f03e515708"))
	payload := bytesOf(t, "060040f1010000ed0303ebf8fa56f12939b9584a3896472ec40bb863cfd3e86804fe3a47f06a2b69484c"+
		"00000413011302010000c000000010000e00000b6578616d706c652e636f6dff01000100000a00080006001d0017001800100007"+
		"000504616c706e000500050100000000003300260024001d00209370b2c9caa47fbabaf4559fedba753de171fa71f50f1ce15d43"+
		"e994ec74d748002b0003020304000d0010000e0403050306030203080408050806002d00020101001c00024001003900320408ff"+
		"ffffffffffffff05048000ffff07048000ffff0801100104800075300901100f088394c8f03e51570806048000ffff")
	payload = append(payload, Padding(1162-len(payload))...)
	head := bytesOf(t, "c300000001088394c8f03e5157080000449e00000002")
	packet := client.seal(head, 2, payload)
	first := bytesOf(t, "c000000001088394c8f03e5157080000449e7b9aec34d1b1c98dd7689fb8ec11d242b123dc9b")
	last := bytesOf(t, "e221af44860018ab0856972e194cd934")
	if len(packet) != MinDatagram || !bytes.HasPrefix(packet, first) || !bytes.HasSuffix(packet, last) {
		t.Errorf("%d bytes: %x … %x, want %x … %x", len(packet), packet[:len(first)], packet[len(packet)-len(last):], first, last)
	}
	if number, got, err := unprotect(client, packet); err != nil || number != 2 || !bytes.Equal(got, payload) {
		t.Errorf("opened again: packet %d of %d bytes, %v", number, len(got), err)
	}
}

// unprotect opens one of the packets of RFC 9001, A.
func unprotect(k *keys, packet []byte) (uint64, []byte, error) {
	number, from, err := k.unmask(packet, 18, -1)
	if err != nil {
		return 0, nil, err
	}
	payload, err := k.open(packet, number, from)
	return number, payload, err
}

// RFC 9001, A.3: the server's answer.
func TestOpenInitial(t *testing.T) {
	t.Parallel()
	_, server := initialKeys(bytesOf(t, "8394c8f03e515708"))
	packet := bytesOf(t, "cf000000010008f067a5502a4262b5004075c0d95a482cd0991cd25b0aac406a5816b6394100f37a1c69797554780b"+
		"b38cc5a99f5ede4cf73c3ec2493a1839b3dbcba3f6ea46c5b7684df3548e7ddeb9c3bf9c73cc3f3bded74b562bfb19fb84022f8ef4cd"+
		"d93795d77d06edbb7aaf2f58891850abbdca3d20398c276456cbc42158407dd074ee")
	want := bytesOf(t, "02000000000600405a020000560303eefce7f7b37ba1d1632e96677825ddf73988cfc79825df566dc5430b9a045a12"+
		"00130100002e00330024001d00209d3c940d89690b84d08a60993c144eca684d1081287c834d5311bcf32bb9da1a002b00020304")
	broken := bytes.Clone(packet)
	broken[40] ^= 1
	number, payload, err := unprotect(server, packet)
	if err != nil || number != 1 || !bytes.Equal(payload, want) {
		t.Fatalf("packet %d, %x, %v, want 1, %x", number, payload, err, want)
	}
	if _, _, err := unprotect(server, broken); err == nil {
		t.Error("a packet with a wrong bit was opened")
	}
	frames, err := parseFrames(payload)
	if err != nil || len(frames) != 2 || frames[0].Type != TypeAck || frames[1].Type != TypeCrypto || len(frames[1].Data) != 90 {
		t.Errorf("%+v, %v", frames, err)
	}
}

// RFC 9000, A.1 and A.3.
func TestNumbers(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]uint64{"c2197c5eff14e88c": 151288809941952652, "9d7f3e7d": 494878333, "7bbd": 15293, "25": 37} {
		b := bytesOf(t, text)
		r := &reader{b: b}
		if got := r.number(); got != want || r.bad || len(r.b) > 0 {
			t.Errorf("%s: %d, want %d", text, got, want)
		}
		if got := AppendVarint(nil, want); !bytes.Equal(got, b) {
			t.Errorf("%d: %x, want %s", want, got, text)
		}
	}
	if got := wholeNumber(0xa82f30ea, 0x9b32, 16); got != 0xa82f9b32 {
		t.Errorf("packet number %x, want a82f9b32", got)
	}
}

func TestSeen(t *testing.T) {
	t.Parallel()
	var s space
	for _, n := range []uint64{5, 0, 7, 6, 1, 6, 3} {
		s.seen(n)
	}
	if want := []Range{{5, 7}, {3, 3}, {0, 1}}; !slices.Equal(s.got, want) {
		t.Errorf("%v, want %v", s.got, want)
	}
	if frames, err := parseFrames(Ack(s.got...)); err != nil || !slices.Equal(frames[0].Acked, s.got) {
		t.Errorf("%+v, %v, want %v", frames, err, s.got)
	}
}

// FuzzFrames: what is no frame is an error, and nothing is read twice.
func FuzzFrames(f *testing.F) {
	for _, b := range [][]byte{
		Ping(), Ack(Range{3, 9}, Range{0, 1}), Crypto(5, []byte("x")), Stream(4, 0, []byte("x"), true), NewConnectionID(1, 0),
		PathChallenge(7), PathResponse(make([]byte, 8)), Close(10), Numbers(TypeMaxData, 1<<40),
		{TypeAck, 0xff},
	} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		frames, err := parseFrames(payload)
		if err == nil && len(frames) > len(payload) {
			t.Errorf("%d frames in %d bytes", len(frames), len(payload))
		}
	})
}

// server echoes every stream, and demands a proof of the address where retry is set.
func server(t *testing.T, retry bool) (address string, client *tls.Config) {
	t.Helper()
	config, client := proof.Certificate(t)
	config.NextProtos, client.NextProtos, client.ServerName = []string{"echo"}, []string{"echo"}, "localhost"
	socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	tr := &quic.Transport{Conn: socket}
	if retry {
		tr.VerifySourceAddress = func(net.Addr) bool { return true }
	}
	l, err := tr.Listen(config, nil)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { // ends with the transport
		defer close(done)
		conn, err := l.Accept(t.Context())
		if err != nil {
			return
		}
		for {
			str, err := conn.AcceptStream(t.Context())
			if err != nil {
				return
			}
			_, _ = io.Copy(str, str)
			_ = str.Close()
		}
	}()
	t.Cleanup(func() {
		_ = tr.Close()
		<-done
		_ = socket.Close()
	})
	return socket.LocalAddr().String(), client
}

// It speaks with a QUIC stack that is not its own: a handshake, also by way of a Retry, streams of many packets, and the
// end that it is told of.
func TestConn(t *testing.T) {
	t.Parallel()
	for _, retry := range []bool{false, true} {
		address, config := server(t, retry)
		c, err := Dial(address, config, Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.CloseSocket() }()
		if err := c.Handshake(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		if retried := c.Retries == 1; retried != retry {
			t.Errorf("%d retries, want one: %v", c.Retries, retry)
		}
		for range 100 { // quic-go updates its keys within
			want := bytes.Repeat([]byte("echo"), 250)
			if got, err := c.Ask(want, time.Now().Add(patience)); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%d bytes back, %v, want %d", len(got), err, len(want))
			}
		}
		if err := c.Send(Data, Numbers(TypeHandshakeDone)); err != nil { // only a server may
			t.Fatal(err)
		}
		if c.phase != keyPhase {
			t.Error("no update of keys")
		}
		const protocolViolation = 0xa
		if end, err := c.Closed(time.Now().Add(patience)); err != nil || end.ID != protocolViolation {
			t.Errorf("closed: %+v, %v, want %#x", end, err, protocolViolation)
		}
	}
}
