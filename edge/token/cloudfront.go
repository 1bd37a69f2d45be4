package token

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// policy is what a CloudFront policy says, once its signature was found right.
type policy struct {
	resource   string // a URL in which, but for canned ones, '*' stands for any run of characters and '?' for any one
	canned     bool
	begin, end int64
	network    netip.Prefix // the zero value: any client
}

// The parts of a CloudFront token besides the signature.
const (
	cfPolicy = iota
	cfExpires
	cfKeyPair
	cfHash
)

// findCloudFront takes the parameters, and the cookies, of signed URLs.
func (s *scheme) findCloudFront(q *Request, found *candidates) *Error {
	var err *Error
	if s.Carriers.Query != "" {
		names, values := [5]string{"Policy", "Expires", "Key-Pair-Id", "Hash-Algorithm", "Signature"}, [5]string{}
		err = q.takeParameters(names[:], values[:])
		for i := range values {
			values[i] = unescape(values[i])
		}
		found.add(candidate{text: values[4], parts: values, at: inQuery})
	}
	if s.Carriers.Cookie != "" {
		names := [5]string{"CloudFront-Policy", "CloudFront-Expires", "CloudFront-Key-Pair-Id", "CloudFront-Hash-Algorithm", "CloudFront-Signature"}
		values := [5]string{}
		q.takeCookies(names[:], values[:])
		found.add(candidate{text: values[4], parts: values, at: inCookie})
	}
	return err
}

func (s *scheme) checkCloudFront(v *Verifier, q *Request, c *candidate, now time.Time) (Grant, *Error) {
	uri := q.uri()
	key := memoKey{c.text, c.parts[cfPolicy], c.parts[cfKeyPair]}
	if c.parts[cfPolicy] == "" { // a canned policy is for the one URL
		key[1] = c.parts[cfExpires] + " " + uri
	}
	p, ok := s.policies.get(key)
	if !ok {
		var err *Error
		if p, err = s.openPolicy(c, uri); err != nil {
			return Grant{}, err
		}
		s.policies.put(key, p)
	}
	if err := v.within(p.begin, p.end, now); err != nil {
		return Grant{}, err
	}
	// A canned policy is held against the URL too: what is sent in the place of a policy may name its place in the memory.
	if p.canned && uri != p.resource || !p.canned && !glob(p.resource, uri, '?') {
		return Grant{}, wrong(Claim, "the policy is not for %s", clip(uri))
	}
	if p.network != (netip.Prefix{}) && !p.network.Contains(q.Addr.Unmap()) {
		return Grant{}, wrong(Claim, "the policy is not for the client %s", q.Addr)
	}
	return Grant{Kind: CloudFront, Key: c.parts[cfKeyPair], Expires: unix(p.end)}, nil
}

func (s *scheme) openPolicy(c *candidate, uri string) (*policy, *Error) {
	signature, err := decodeCF(c.text)
	if err != nil {
		return nil, wrong(Malformed, "the signature is no base64")
	}
	var text []byte
	canned := &policy{resource: uri, canned: true} // the signature holds for this URL alone
	if encoded := c.parts[cfPolicy]; encoded != "" {
		if text, err = decodeCF(encoded); err != nil {
			return nil, wrong(Malformed, "the policy is no base64")
		}
	} else {
		if canned.end, err = strconv.ParseInt(c.parts[cfExpires], 10, 40); err != nil || canned.end <= 0 {
			return nil, wrong(Malformed, "there is neither a policy nor a time")
		}
		text = cannedPolicy(uri, canned.end)
	}
	hash := crypto.SHA1
	switch c.parts[cfHash] {
	case "", "SHA1":
	case "SHA256":
		hash = crypto.SHA256
	default:
		return nil, wrong(Unsupported, "the hash algorithm %.20q is unknown", c.parts[cfHash])
	}
	if failed := s.signedPolicy(c.parts[cfKeyPair], hash, text, signature); failed != nil {
		return nil, failed
	}
	if c.parts[cfPolicy] == "" {
		return canned, nil
	}
	return readPolicy(text)
}

// signedPolicy checks a signature. SHA-1 is what CloudFront's signers use unless told otherwise: an attack needs a second
// preimage, or an issuer that signs what others write.
func (s *scheme) signedPolicy(id string, hash crypto.Hash, text, signature []byte) *Error {
	known := false
	for _, k := range s.Keys.list {
		if k.ID != id {
			continue
		}
		known = true
		switch public := k.Public.(type) {
		case *rsa.PublicKey:
			if rsa.VerifyPKCS1v15(public, hash, digest(hash, text), signature) == nil {
				return nil
			}
		case *ecdsa.PublicKey:
			if ecdsa.VerifyASN1(public, digest(hash, text), signature) {
				return nil
			}
		}
	}
	if !known {
		return wrong(UnknownKey, "no key here has the id %.40q", id)
	}
	return wrong(BadSignature, "the key %.40q did not sign this policy for this URL", id)
}

func digest(hash crypto.Hash, text []byte) []byte {
	if hash == crypto.SHA256 {
		sum := sha256.Sum256(text)
		return sum[:]
	}
	sum := sha1.Sum(text)
	return sum[:]
}

func cannedPolicy(uri string, end int64) []byte {
	return []byte(`{"Statement":[{"Resource":"` + uri + `","Condition":{"DateLessThan":{"AWS:EpochTime":` + strconv.FormatInt(end, 10) + `}}}]}`)
}

// readPolicy reads a custom policy. A condition that is unknown refuses.
func readPolicy(text []byte) (*policy, *Error) {
	type date struct {
		Seconds int64 `json:"AWS:EpochTime"`
	}
	var all struct {
		Statement []struct {
			Resource  string `json:"Resource"`
			Condition struct {
				DateLessThan    *date `json:"DateLessThan"`
				DateGreaterThan *date `json:"DateGreaterThan"`
				IPAddress       *struct {
					Source string `json:"AWS:SourceIp"`
				} `json:"IpAddress"`
			} `json:"Condition"`
		} `json:"Statement"`
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&all); err != nil || decoder.More() {
		return nil, wrong(Malformed, "the policy has a form that is not known here")
	}
	if len(all.Statement) != 1 {
		return nil, wrong(Malformed, "the policy has %d statements, not one", len(all.Statement))
	}
	statement := &all.Statement[0]
	p := &policy{resource: or(statement.Resource, "*")}
	end := statement.Condition.DateLessThan
	if end == nil || end.Seconds <= 0 || end.Seconds > maxSeconds {
		return nil, wrong(Malformed, "the policy has no DateLessThan")
	}
	p.end = end.Seconds
	if begin := statement.Condition.DateGreaterThan; begin != nil {
		p.begin = min(max(begin.Seconds, 1), maxSeconds)
	}
	if ip := statement.Condition.IPAddress; ip != nil {
		var ok bool
		if p.network, ok = networkOf(ip.Source); !ok {
			return nil, wrong(Malformed, "the address %.40q is none", ip.Source)
		}
	}
	return p, nil
}

// decodeCF decodes base64 with '-', '_' and '~' in place of '+', '=' and '/'.
func decodeCF(text string) ([]byte, error) {
	return base64.StdEncoding.DecodeString(strings.NewReplacer("-", "+", "_", "=", "~", "/").Replace(text))
}

func encodeCF(b []byte) string {
	return strings.NewReplacer("+", "-", "=", "_", "/", "~").Replace(base64.StdEncoding.EncodeToString(b))
}
