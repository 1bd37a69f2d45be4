package front

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/asn1"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"weir/tools/proof/quicraw"
)

// quicToken is what quic-go's address tokens hold. It is not told outside of quic-go, but without knowing it there is no
// token of yesterday to be had: the control rows tell when it changes.
type quicToken struct {
	Retry                    bool
	Address                  []byte
	Sent                     int64
	RTT                      int64
	Destination, RetrySource []byte
}

// seal makes a token.
func (k quicToken) seal(t *testing.T, key quic.TokenGeneratorKey) []byte {
	t.Helper()
	plain, err := asn1.Marshal(k)
	if err != nil {
		t.Fatal(err)
	}
	salt := bytes.Repeat([]byte{7}, 32)
	secret, err := hkdf.Key(sha256.New, key[:], salt, "quic-go token source", 32)
	if err != nil {
		t.Fatal(err)
	}
	block, err := aes.NewCipher(secret)
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		t.Fatal(err)
	}
	return aead.Seal(salt, nil, plain, nil)
}

// Where every client has to prove its address, a token does so if it was made for that address, and not too long ago; with any
// other one the client is a stranger, or has to begin again (RFC 9000, 8.1.2 and 8.1.3).
func TestQUICTokenAges(t *testing.T) {
	t.Parallel()
	const own, another = "\x00\x7f\x00\x00\x01", "\x00\x7f\x00\x00\x02" // 127.0.0.1 and .2
	o := Options{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), QUICKey: []byte("a secret of the test's")}
	s := start(t, o, func(s *Server) { s.retryFrom = 0 })
	keys, err := newQUICKeys(o)
	if err != nil {
		t.Fatal(err)
	}
	given := func(address string, age time.Duration) []byte {
		return quicToken{Address: []byte(address), Sent: time.Now().Add(-age).UnixNano(), RTT: 1}.seal(t, keys.token)
	}
	ofRetry := func(address string, age time.Duration) []byte {
		return quicToken{
			Retry: true, Address: []byte(address), Sent: time.Now().Add(-age).UnixNano(), Destination: []byte("original"), RetrySource: []byte("of Retry"),
		}.seal(t, keys.token)
	}
	flipped := func(b []byte, at int) []byte {
		b[at] ^= 1
		return b
	}
	const believed, asked, over = "believed", "asked to prove it", "refused"
	i := 0
	for name, tt := range map[string]struct {
		token []byte
		want  string
	}{
		"none":                      {nil, asked},
		"given":                     {given(own, 0), believed},
		"given an hour ago":         {given(own, time.Hour), believed},
		"given yesterday":           {given(own, 25*time.Hour), asked},
		"given elsewhere":           {given(another, 0), asked},
		"given, salt flipped":       {flipped(given(own, 0), 0), asked},
		"given, a bit flipped":      {flipped(given(own, 0), 50), asked},
		"given, cut off":            {given(own, 0)[:50], asked},
		"given, of the salt alone":  {given(own, 0)[:32], asked},
		"given by another server":   {quicToken{Address: []byte(own), Sent: time.Now().UnixNano()}.seal(t, quic.TokenGeneratorKey{1}), asked},
		"of a Retry":                {ofRetry(own, 0), believed},
		"of a Retry, late":          {ofRetry(own, 2*defaultHeaderTimeout+time.Second), over},
		"of a Retry, elsewhere":     {ofRetry(another, 0), over},
		"of a Retry, a bit flipped": {flipped(ofRetry(own, 0), 60), asked},
		"of a Retry, with long IDs": {quicToken{
			Retry: true, Address: []byte(own), Sent: time.Now().UnixNano(), Destination: make([]byte, 20), RetrySource: make([]byte, 20),
		}.seal(t, keys.token), believed},
	} {
		i++
		c := s.rawQUIC(t, quicraw.Options{Token: tt.token, Destination: fmt.Appendf(nil, "client%02d", i)})
		if err := c.Answer(); err != nil {
			t.Fatal(err)
		}
		for len(c.Got(quicraw.Initial)) == 0 && c.Retries == 0 {
			if _, err := c.Receive(time.Now().Add(patience)); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		got := believed
		switch {
		case c.Retries > 0:
			got = asked
		case c.Ended != nil && c.Ended.ID == quicInvalidToken:
			got = over
		}
		if got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
	if open := s.Stats().HTTP3.Open; open != 0 {
		t.Errorf("%d connections", open)
	}
}
