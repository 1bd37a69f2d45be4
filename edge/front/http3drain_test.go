package front

import (
	"context"
	"errors"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/quic-go/quic-go/quicvarint"
)

// serverFrames reads the server's control stream: the settings, and a channel with the
// numbers of its GOAWAY frames, which is closed at the end.
func serverFrames(t *testing.T, conn *quic.Conn) (settings string, goAway <-chan uint64) {
	t.Helper()
	str, err := conn.AcceptUniStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	frames := frameReader{str: str, buf: make([]byte, uniBufferBytes)}
	if kind, err := frames.varint(); kind != streamControl || err != nil {
		t.Fatalf("a stream of type %d, %v", kind, err)
	}
	frame := func() (uint64, string, error) {
		kind, length, err := frames.head()
		if err != nil {
			return 0, "", err
		}
		payload, err := frames.payload(int(length))
		return kind, string(payload), err
	}
	kind, settings, err := frame()
	if kind != h3Settings || err != nil {
		t.Fatalf("the first frame is of type %d, %v", kind, err)
	}
	said := make(chan uint64, 8)
	go func() { // until the connection ends
		defer close(said)
		for {
			kind, payload, err := frame()
			if err != nil {
				return
			}
			if id, _, err := quicvarint.Parse([]byte(payload)); kind == h3GoAway && err == nil {
				said <- id
			}
		}
	}()
	return settings, said
}

// On a drain the client hears twice of it (RFC 9114, 5.2): not to begin requests, and which
// of them are not answered. What runs ends well, and the connection then.
func TestHTTP3GoAway(t *testing.T) {
	t.Parallel()
	begun, finish := make(chan struct{}), make(chan struct{})
	s := start(t, Options{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(begun)
		<-finish
		_, _ = io.WriteString(w, "body")
	})})
	conn := s.dialQUIC(t, nil)
	settings, goAway := serverFrames(t, conn)
	if want := string(quicvarint.Append([]byte{settingMaxFieldSection}, maxHeaderBytes)); settings != want {
		t.Errorf("settings %x, want %x", settings, want)
	}
	ask := func() *quic.Stream {
		str, err := conn.OpenStream()
		if err != nil {
			t.Fatal(err)
		}
		_, _ = str.Write([]byte(headerFrame(":method", "GET", ":scheme", "https", ":authority", "x", ":path", "/")))
		_ = str.Close()
		_ = str.SetReadDeadline(time.Now().Add(patience))
		return str
	}
	first := ask()
	<-begun
	s.stop()
	for _, want := range []uint64{noStream, 4} {
		if got, ok := <-goAway; got != want || !ok {
			t.Errorf("GOAWAY %d, %v, want %d", got, ok, want)
		}
	}
	if got := outcomeOf(ask().Read); got != (outcome{stream: http3.ErrCodeRequestRejected}) {
		t.Errorf("a request after GOAWAY: %+v", got)
	}
	close(finish)
	if got := outcomeOf(first.Read); got != (outcome{answered: true}) {
		t.Errorf("the request before GOAWAY: %+v", got)
	}
	select {
	case <-conn.Context().Done():
	case <-time.After(patience):
		t.Fatal("the connection stays")
	}
	var end *quic.ApplicationError
	if !errors.As(context.Cause(conn.Context()), &end) || http3.ErrCode(end.ErrorCode) != http3.ErrCodeNoError {
		t.Errorf("the connection ended with %v", context.Cause(conn.Context()))
	}
}

// A connection without requests ends, and one with a request does not.
func TestHTTP3IdleTimeout(t *testing.T) {
	t.Parallel()
	finish := make(chan struct{})
	const idle = time.Second // a busy machine is late with what keeps a connection alive
	s := start(t, Options{IdleTimeout: idle, Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-finish })})
	config := &quic.Config{KeepAlivePeriod: idle / 4}
	silent, busy := s.dialQUIC(t, config), s.dialQUIC(t, config)
	str, err := busy.OpenStream()
	if err != nil {
		t.Fatal(err)
	}
	_, _ = str.Write([]byte(headerFrame(":method", "GET", ":scheme", "https", ":authority", "x", ":path", "/")))
	_ = str.Close()
	<-silent.Context().Done()
	<-time.After(2 * idle)
	if busy.Context().Err() != nil {
		t.Errorf("a connection with a request ended: %v", context.Cause(busy.Context()))
	}
	close(finish)
	<-busy.Context().Done()
	for _, conn := range []*quic.Conn{silent, busy} {
		var end *quic.ApplicationError
		if !errors.As(context.Cause(conn.Context()), &end) || http3.ErrCode(end.ErrorCode) != http3.ErrCodeNoError {
			t.Errorf("the connection ended with %v", context.Cause(conn.Context()))
		}
	}
}
