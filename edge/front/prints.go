package front

import (
	"context"
	"crypto/md5" //nolint:gosec // it is what JA3 is made of
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
)

// Extensions that the fingerprints treat differently (RFC 8446, 4.2).
const (
	extensionServerName = 0
	extensionALPN       = 16
	extensionVersions   = 43
)

// prints are the fingerprints of a ClientHello, the first one where a client is asked for another. They are there once the
// handshake is over.
type prints struct {
	quic     bool
	ja3, ja4 string
}

// printsKey is the key under which the context of a handshake holds where its fingerprints go.
type printsKey struct{}

// A printed is a connection that knows the fingerprints of its client.
type printed interface{ prints() *prints }

// Prints returns the fingerprints of the client's TLS: JA3, the MD5 in hexadecimal, and JA4; "" without TLS.
func (w *responseWriter) Prints() (ja3, ja4 string) {
	var p *prints
	if http3, ok := w.ResponseWriter.(*http3Response); ok {
		p, _ = http3.stream.conn.conn.Context().Value(printsKey{}).(*prints)
	} else if c, ok := w.way.(printed); ok {
		p = c.prints()
	}
	if p == nil {
		return "", ""
	}
	return p.ja3, p.ja4
}

func (c *tlsConn) prints() *prints { return c.hello }

func (c *http2Conn) prints() *prints {
	if c.tls == nil {
		return nil
	}
	return c.tls.prints()
}

// withPrints is the context for a handshake whose fingerprints are noted.
func withPrints(ctx context.Context, p *prints) context.Context {
	return context.WithValue(ctx, printsKey{}, p)
}

// notePrints has handshakes note the fingerprints of their clients.
func notePrints(config *tls.Config) {
	next := config.GetConfigForClient
	config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if p, ok := hello.Context().Value(printsKey{}).(*prints); ok && !hello.HelloRetryRequest {
			p.ja3, p.ja4 = ja3(hello), ja4(hello, p.quic)
		}
		if next == nil {
			return nil, nil //nolint:nilnil // the configuration as it is
		}
		return next(hello)
	}
}

// ja3 is the MD5 of version, cipher suites, extensions, groups and point formats in the client's order, in decimal, without
// GREASE (github.com/salesforce/ja3).
func ja3(hello *tls.ClientHelloInfo) string {
	version := uint16(tls.VersionTLS12) // what the field says beside supported_versions (RFC 8446, 4.1.2)
	if !slices.Contains(hello.Extensions, extensionVersions) && len(hello.SupportedVersions) > 0 {
		version = slices.Max(hello.SupportedVersions)
	}
	points := make([]uint16, len(hello.SupportedPoints))
	for i, p := range hello.SupportedPoints {
		points[i] = uint16(p)
	}
	text := strconv.AppendUint(make([]byte, 0, 512), uint64(version), 10)
	for _, list := range [][]uint16{hello.CipherSuites, hello.Extensions, numbers(hello.SupportedCurves), points} {
		text = decimals(append(text, ','), withoutGREASE(list))
	}
	sum := md5.Sum(text) //nolint:gosec // as above
	return hex.EncodeToString(sum[:])
}

// ja4 is what the client offers in words and numbers, and hashes of its sorted cipher suites, and of its sorted extensions with
// the signature algorithms in its order, without GREASE (github.com/FoxIO-LLC/ja4, technical_details/JA4.md).
func ja4(hello *tls.ClientHelloInfo, quic bool) string {
	transport, name, version := "t", "i", "00"
	if quic {
		transport = "q"
	}
	if slices.Contains(hello.Extensions, extensionServerName) {
		name = "d"
	}
	if versions := withoutGREASE(hello.SupportedVersions); len(versions) > 0 {
		version = map[uint16]string{tls.VersionTLS13: "13", tls.VersionTLS12: "12", tls.VersionTLS11: "11", tls.VersionTLS10: "10"}[slices.Max(versions)]
	}
	suites, extensions := withoutGREASE(hello.CipherSuites), withoutGREASE(hello.Extensions)
	count := len(extensions)
	extensions = slices.DeleteFunc(extensions, func(e uint16) bool { return e == extensionServerName || e == extensionALPN })
	slices.Sort(suites)
	slices.Sort(extensions)
	room := make([]byte, 0, 512)
	ciphers := shortSum(hexadecimals(room, suites))
	offered := hexadecimals(room, extensions)
	if algorithms := withoutGREASE(numbers(hello.SignatureSchemes)); len(algorithms) > 0 && len(offered) > 0 {
		offered = hexadecimals(append(offered, '_'), algorithms)
	}
	return fmt.Sprintf("%s%s%s%02d%02d%s_%s_%s", transport, version, name, min(len(suites), 99), min(count, 99), ends(hello.SupportedProtos),
		ciphers, shortSum(offered))
}

// ends are the first and the last character of the first protocol; of one that has others than letters and digits there, those
// of its hexadecimal form.
func ends(protocols []string) string {
	if len(protocols) == 0 || protocols[0] == "" {
		return "00"
	}
	p := protocols[0]
	if !alphanumeric(p[0]) || !alphanumeric(p[len(p)-1]) {
		p = hex.EncodeToString([]byte(p))
	}
	return p[:1] + p[len(p)-1:]
}

func alphanumeric(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

func shortSum(text []byte) string {
	if len(text) == 0 {
		return "000000000000"
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:6])
}

// withoutGREASE copies what is no reserved value (RFC 8701, 2).
func withoutGREASE(list []uint16) []uint16 {
	return slices.DeleteFunc(slices.Clone(list), func(n uint16) bool { return n&0x0f0f == 0x0a0a && n>>8 == n&0xff })
}

func numbers[N ~uint16](list []N) []uint16 {
	plain := make([]uint16, len(list))
	for i, n := range list {
		plain[i] = uint16(n)
	}
	return plain
}

// decimals writes numbers as JA3 has them, hexadecimals as JA4 does: four digits each.
func decimals(text []byte, list []uint16) []byte {
	for i, n := range list {
		if i > 0 {
			text = append(text, '-')
		}
		text = strconv.AppendUint(text, uint64(n), 10)
	}
	return text
}

func hexadecimals(text []byte, list []uint16) []byte {
	for i, n := range list {
		if i > 0 {
			text = append(text, ',')
		}
		text = hex.AppendEncode(text, []byte{byte(n >> 8), byte(n)})
	}
	return text
}
