package front

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// caught keeps a panic to the connection that it happens in: it is counted, and end is called. It is deferred.
func (c *counters) caught(log *slog.Logger, in string, end func()) {
	if p := recover(); p != nil {
		c.panics.Add(1)
		log.Error("a connection panicked", "in", in, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		end()
	}
}

var errBroken = errors.New("front: internal error")

// guardTLS keeps a panic of the functions that choose certificates to the handshake: over QUIC it runs in goroutines
// that are not ours.
func (c *counters) guardTLS(config *tls.Config, log *slog.Logger) {
	if get := config.GetCertificate; get != nil {
		config.GetCertificate = func(hello *tls.ClientHelloInfo) (cert *tls.Certificate, err error) {
			defer c.caught(log, "the choice of a certificate", func() { cert, err = nil, errBroken })
			return get(hello)
		}
	}
	if get := config.GetConfigForClient; get != nil {
		config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (its *tls.Config, err error) {
			defer c.caught(log, "the choice of a TLS configuration", func() { its, err = nil, errBroken })
			return get(hello)
		}
	}
}

// guard runs what reads a stream. A panic there ends the connection, for what the stream shares with others may be half
// done.
func (c *quicConn) guard(run func()) {
	defer c.part.stats.caught(c.part.log, "a stream of HTTP/3", func() {
		_ = c.conn.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeInternalError), "") // closed is closed
	})
	run()
}
