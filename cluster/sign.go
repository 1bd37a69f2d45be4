package cluster

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

const (
	signKeyLabel = "weir cluster v1 request key"
	signVersion  = "weir request v1"

	signatureField = "Weir-Signature"   // NAME TIME NONCE MAC, with blanks between them
	digestField    = "Weir-Body-Sha256" // in requests with a body
	unsignedField  = "Weir-Unsigned"    // in the refusal, so that it is not taken for somebody's answer

	signTolerance  = 30 * time.Second // between two clocks, and on the way
	nonceBytes     = 12
	maxSignedBytes = 16 << 20 // of a body, which is held in memory until its hash is known

	maxUnsignedLines = 1 // in the log, a second
)

// signedFields are signed where they are there, beside all that begin with Weir-: what says which bytes are wanted.
func signedFields() []string { return []string{"If-None-Match", "If-Range", "Range"} }

// Signer signs the requests of one node to others, and verifies theirs, where peers speak HTTP in the clear. A signature
// (HMAC-SHA-256) covers method, host, path and query, both nodes' names, time and nonce, the fields that say which bytes
// are wanted, all fields that begin with Weir-, and the SHA-256 of a body. It is made with the keyring's first secret and
// good with any. All methods may be called at the same time.
type Signer struct {
	keyring *Keyring
	name    string
	log     *slog.Logger
	refused atomic.Int64
	lines   limiter
}

// NewSigner returns the signer of the node called name. Refusals go to log, one a second at most; nil discards.
func NewSigner(k *Keyring, name string, log *slog.Logger) *Signer {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Signer{keyring: k, name: name, log: log}
}

// Refused returns how many requests the handler has refused.
func (s *Signer) Refused() int64 { return s.refused.Load() }

// Sign signs a request to the node called to, whose body is body. It changes the header.
func (s *Signer) Sign(r *http.Request, to string, body []byte) {
	r.Header.Del(digestField) // a client's may have come this far
	if body != nil {
		r.Header.Set(digestField, digest(body))
	}
	nonce := make([]byte, nonceBytes)
	rand.Read(nonce) // never fails: crypto/rand ends the program instead
	sig := signature{from: s.name, time: time.Now().UnixMilli(), nonce: base64.RawURLEncoding.EncodeToString(nonce)}
	host := r.Host
	if host == "" {
		host = r.URL.Host
	}
	sig.mac = mac(s.keyring.current.Load().signing[0], sig.text(r, host, r.URL.RequestURI(), to))
	r.Header.Set(signatureField, sig.String())
}

// Handler passes on to next what another node has signed for this one, without the signature's fields, and answers
// everything else with 403 before it does any work.
//
// Who records a request can send it again for 30 seconds. That is harmless: the answer to a GET is what was seen before,
// and notices count once.
func (s *Signer) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		from, err := s.verify(r, time.Now())
		if err == nil {
			err = checkBody(w, r)
		}
		if err != nil {
			s.refused.Add(1)
			if s.lines.allow(time.Now(), maxUnsignedLines) {
				s.log.Warn("request refused that no node has signed", "from", r.RemoteAddr, "claims", from, "error", err)
			}
			w.Header().Set(unsignedField, "1")
			http.Error(w, "not signed by a node of this cluster", http.StatusForbidden)
			return
		}
		r.Header.Del(signatureField)
		r.Header.Del(digestField)
		next.ServeHTTP(w, r)
	})
}

var (
	errUnsigned = errors.New("no signature")
	errOddSign  = errors.New("signature that cannot be read")
	errBadSign  = errors.New("signature that no secret here has made")
	errBadBody  = errors.New("a body that is not the one signed")
)

// verify returns the name of the node that has signed r.
func (s *Signer) verify(r *http.Request, now time.Time) (from string, err error) {
	switch len(r.Header[signatureField]) {
	case 0:
		return "", errUnsigned
	case 1:
	default:
		return "", errOddSign
	}
	sig, ok := parseSignature(r.Header[signatureField][0])
	if !ok {
		return "", errOddSign
	}
	if age := now.Sub(time.UnixMilli(sig.time)); age.Abs() > signTolerance {
		return sig.from, fmt.Errorf("signature of %v ago: at most %v: are the clocks right?", age.Round(time.Second), signTolerance)
	}
	text := sig.text(r, r.Host, r.RequestURI, s.name)
	for _, key := range s.keyring.current.Load().signing {
		if hmac.Equal(sig.mac, mac(key, text)) {
			return sig.from, nil
		}
	}
	return sig.from, errBadSign
}

// checkBody reads the body that was signed, if there is one, and holds it to its hash.
func checkBody(w http.ResponseWriter, r *http.Request) error {
	signed := r.Header[digestField]
	if len(signed) == 0 {
		if r.ContentLength != 0 {
			return errBadBody
		}
		return nil
	}
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxSignedBytes))
	if err != nil {
		return err
	}
	if digest(text) != signed[0] || len(signed) > 1 {
		return errBadBody
	}
	r.Body = io.NopCloser(bytes.NewReader(text))
	return nil
}

// signature is the value of the field.
type signature struct {
	from  string
	time  int64 // Unix milliseconds, by the signer's clock
	nonce string
	mac   []byte
}

// String returns what parseSignature reads.
func (s *signature) String() string {
	return s.from + " " + strconv.FormatInt(s.time, 10) + " " + s.nonce + " " + base64.RawURLEncoding.EncodeToString(s.mac)
}

func parseSignature(text string) (s signature, ok bool) {
	words := strings.Split(text, " ")
	if len(words) != 4 || len(words[2]) != base64.RawURLEncoding.EncodedLen(nonceBytes) || !isNonce(words[2]) || checkName(words[0]) != nil {
		return s, false
	}
	s.from, s.nonce = words[0], words[2]
	var err error
	if s.time, err = strconv.ParseInt(words[1], 10, 64); err != nil || strconv.FormatInt(s.time, 10) != words[1] {
		return s, false
	}
	s.mac, err = base64.RawURLEncoding.Strict().DecodeString(words[3])
	return s, err == nil && len(s.mac) == sha256.Size
}

func isNonce(s string) bool {
	for i := range len(s) {
		if c := s[i]; !isAlphanumeric(c) && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// text is what is signed: a line for each thing, none of which can hold a line's end.
func (s *signature) text(r *http.Request, host, target, to string) []byte {
	b := make([]byte, 0, 512)
	for _, line := range []string{signVersion, r.Method, host, target, s.from, to, strconv.FormatInt(s.time, 10), s.nonce} {
		b = append(append(b, line...), '\n')
	}
	names := signedFields()
	for name := range r.Header {
		if strings.HasPrefix(name, "Weir-") && name != signatureField {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		for _, value := range r.Header[name] {
			b = append(append(append(b, name...), ": "...), strings.Trim(value, " \t")...)
			b = append(b, '\n')
		}
	}
	return b
}

func mac(key, text []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(text)
	return h.Sum(nil)
}

func digest(body []byte) string {
	sum := sha256.Sum256(body)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
