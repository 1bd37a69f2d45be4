package token

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"reflect"

	"github.com/fxamacker/cbor/v2"
	"github.com/veraison/go-cose"
)

// Tags (RFC 8392, 6; RFC 9052, 2) and header labels (RFC 9052, 3.1; RFC 9596) that are understood.
const (
	tagMac0  = 17
	tagSign1 = 18
	tagCWT   = 61

	labelAlgorithm   = 1
	labelCritical    = 2
	labelContentType = 3
	labelKeyID       = 4
	labelType        = 16

	algorithmHS256 = 5 // HMAC 256/256
	algorithmES256 = -7
	algorithmPS256 = -37
)

// coseName is the algorithm in the words of JWA; "" for one that is not used here.
func coseName(algorithm int64) string {
	switch algorithm {
	case algorithmHS256:
		return "HS256"
	case algorithmES256:
		return "ES256"
	case algorithmPS256:
		return "PS256"
	}
	return ""
}

// codec reads and writes CBOR within bounds: nothing twice in a map, little depth, few members.
type codec struct {
	dec cbor.DecMode
	enc cbor.EncMode
}

func newCodec() (codec, error) {
	dec, err := cbor.DecOptions{
		DupMapKey: cbor.DupMapKeyEnforcedAPF, MaxNestedLevels: 16, MaxArrayElements: 256, MaxMapPairs: 128, IndefLength: cbor.IndefLengthForbidden,
		IntDec: cbor.IntDecConvertSignedOrFail, UTF8: cbor.UTF8RejectInvalid, DefaultMapType: reflect.TypeFor[map[any]any](),
	}.DecMode()
	if err != nil {
		return codec{}, err
	}
	enc, err := cbor.EncOptions{Sort: cbor.SortBytewiseLexical, Time: cbor.TimeUnix}.EncMode()
	return codec{dec, enc}, err
}

// envelope is a COSE_Mac0 or a COSE_Sign1 (RFC 9052, 4.2 and 6.2), which have one shape.
type envelope struct {
	_           struct{} `cbor:",toarray"`
	Protected   []byte
	Unprotected map[any]any
	Payload     []byte
	Signature   []byte
}

// opened is a COSE message with what its headers say.
type opened struct {
	envelope

	content   []byte // the message without tags
	sign1     bool
	algorithm string
	keyID     string
	cwtTag    bool
	coseTag   bool
}

// unwrap takes a token apart without checking its signature.
func (c codec) unwrap(text string) (*opened, *Error) {
	b, err := decode64(text)
	if err != nil {
		return nil, wrong(Malformed, "it is no base64url")
	}
	m := &opened{content: b}
	tag := uint64(0)
	for range 2 {
		number, content, ok := cutTag(m.content)
		if !ok {
			break
		}
		m.content = content
		if number == tagCWT && !m.cwtTag {
			m.cwtTag = true
			continue
		}
		tag, m.coseTag = number, true
		break
	}
	if err := c.dec.Unmarshal(m.content, &m.envelope); err != nil {
		return nil, wrong(Malformed, "it is no COSE message of four parts")
	}
	protected := map[any]any{}
	if len(m.Protected) > 0 {
		if err := c.dec.Unmarshal(m.Protected, &protected); err != nil {
			return nil, wrong(Malformed, "the protected header is no map")
		}
	}
	if err := m.headers(protected); err != nil {
		return nil, err
	}
	m.sign1 = m.algorithm != "HS256"
	if m.coseTag && tag != tagMac0 && tag != tagSign1 || m.coseTag && m.sign1 != (tag == tagSign1) {
		return nil, wrong(Malformed, "the tag %d and the algorithm %s do not go together", tag, m.algorithm)
	}
	return m, nil
}

// cutTag takes the tag off that a message begins with, in its shortest form (RFC 8949, 3.4): the decoder would go through all
// of the message for each.
func cutTag(b []byte) (number uint64, content []byte, ok bool) {
	switch {
	case len(b) > 1 && b[0] == 0xd8 && b[1] >= 24:
		return uint64(b[1]), b[2:], true
	case len(b) > 0 && b[0] >= 0xc0 && b[0] < 0xd8:
		return uint64(b[0] - 0xc0), b[1:], true
	}
	return 0, b, false
}

func (m *opened) headers(protected map[any]any) *Error {
	number, ok := protected[int64(labelAlgorithm)].(int64)
	if !ok {
		return wrong(Malformed, "the protected header names no algorithm")
	}
	if m.algorithm = coseName(number); m.algorithm == "" {
		return wrong(Unsupported, "the algorithm %d is none of HS256, ES256, PS256", number)
	}
	if critical, ok := protected[int64(labelCritical)]; ok { // RFC 9052, 3.1: what is critical must be understood
		list, ok := critical.([]any)
		if !ok || len(list) == 0 {
			return wrong(Malformed, "crit of the header is no list")
		}
		for _, label := range list {
			switch label {
			case int64(labelAlgorithm), int64(labelContentType), int64(labelKeyID), int64(labelType):
			default:
				return wrong(Unsupported, "the header %v is critical and unknown", label)
			}
		}
	}
	if m.Unprotected[int64(labelCritical)] != nil {
		return wrong(Malformed, "crit must be protected")
	}
	id := protected[int64(labelKeyID)]
	if id == nil {
		id = m.Unprotected[int64(labelKeyID)]
	}
	switch id := id.(type) {
	case []byte:
		m.keyID = string(id)
	case string:
		m.keyID = id
	}
	return nil
}

// open checks the signature of a token and returns its claims and the key that signed it.
func (c codec) open(keys *Keys, text string) (*opened, *Key, *Error) {
	m, failed := c.unwrap(text)
	if failed != nil {
		return nil, nil, failed
	}
	suitable := keys.suitable(m.keyID, m.algorithm)
	if len(suitable) == 0 {
		return nil, nil, wrong(UnknownKey, "no key here has the id %.40q and the algorithm %s", m.keyID, m.algorithm)
	}
	for _, key := range suitable {
		if m.signedBy(key) {
			return m, key, nil
		}
	}
	return nil, nil, wrong(BadSignature, "the signature is not of the key %.40q", m.keyID)
}

// signedBy checks the signature: of RFC 9053, 2, those of JWS, over another text. go-cose would read the message once more.
func (m *opened) signedBy(key *Key) bool {
	context := "MAC0"
	if m.sign1 {
		context = "Signature1"
	}
	return key.verify(m.algorithm, toSign(context, m.Protected, m.Payload), m.Signature)
}

func coseAlgorithm(name string) cose.Algorithm {
	if name == "PS256" {
		return cose.AlgorithmPS256
	}
	return cose.AlgorithmES256
}

// toSign is what a COSE_Mac0 or a COSE_Sign1 signs (RFC 9052, 6.3 and 4.4): the array [context, protected, h”, payload].
func toSign(context string, protected, payload []byte) []byte {
	text := make([]byte, 0, 16+len(context)+len(protected)+len(payload))
	text = append(append(text, 0x84, 0x60|byte(len(context))), context...)
	text = append(appendHead(text, len(protected)), protected...)
	text = append(text, 0x40)
	return append(appendHead(text, len(payload)), payload...)
}

// appendHead writes the head of a byte string under 64 KiB (RFC 8949, 3).
func appendHead(b []byte, n int) []byte {
	switch {
	case n < 24:
		return append(b, 0x40|byte(n))
	case n < 1<<8:
		return append(b, 0x58, byte(n))
	}
	return append(b, 0x59, byte(n>>8), byte(n))
}

// seal signs claims: base64url of tag 61 around a tagged COSE message.
func (c codec) seal(key *Key, claims map[any]any) (string, error) {
	payload, err := c.enc.Marshal(claims)
	if err != nil {
		return "", err
	}
	var content any
	switch algorithm := key.algorithm(); {
	case algorithm == "HS256":
		protected, err := c.enc.Marshal(map[int64]any{labelAlgorithm: algorithmHS256})
		if err != nil {
			return "", err
		}
		tag, err := key.sign(algorithm, toSign("MAC0", protected, payload))
		if err != nil {
			return "", err
		}
		content = cbor.Tag{Number: tagMac0, Content: []any{protected, keyHeader(key), payload, tag}}
	case (algorithm == "ES256" || algorithm == "PS256") && key.Private != nil:
		message := cose.NewSign1Message()
		message.Payload = payload
		message.Headers.Protected.SetAlgorithm(coseAlgorithm(algorithm))
		if key.ID != "" {
			message.Headers.Unprotected[int64(labelKeyID)] = []byte(key.ID)
		}
		signer, err := cose.NewSigner(coseAlgorithm(algorithm), key.Private)
		if err != nil {
			return "", err
		}
		if err := message.Sign(rand.Reader, nil, signer); err != nil {
			return "", err
		}
		raw, err := message.MarshalCBOR()
		if err != nil {
			return "", err
		}
		content = cbor.RawMessage(raw)
	default:
		return "", errors.New("token: there is no key that can sign a Common Access Token")
	}
	raw, err := c.enc.Marshal(cbor.Tag{Number: tagCWT, Content: content})
	if err != nil {
		return "", err
	}
	if text := base64.RawURLEncoding.EncodeToString(raw); len(text) <= maxTokenBytes {
		return text, nil
	}
	return "", fmt.Errorf("token: a token of more than %d bytes is refused everywhere", maxTokenBytes)
}

func keyHeader(key *Key) map[int64]any {
	if key.ID == "" {
		return map[int64]any{}
	}
	return map[int64]any{labelKeyID: []byte(key.ID)}
}
