package token

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/md5"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Order is what a new token is to say.
type Order struct {
	URL     Request   // what it is for: Scheme, Host, Port, canonical Path and Query
	Begin   time.Time // zero: at once
	End     time.Time // zero: never, where the kind has that
	Claims  []byte    // CAT: JSON as ReadClaims takes it; URISigning: JSON; beside what the fields here say, which go first
	Subject string    // CAT, URISigning: sub; TypeA: uid; Akamai: id
	Paths   []string  // Akamai: the acl; CloudFront: one pattern of URLs, for a custom policy; nil: the URL alone
	Client  string    // Akamai, CloudFront, SecureLink, URISigning: the client's address; CloudFront, URISigning: or a network
	Path    bool      // TypeC: in the path, not in the query
	SHA256  bool      // CloudFront: in place of SHA-1
	KeyID   string    // which key signs; "": the first that can
}

// Minted is a new token, in the forms that its kind has.
type Minted struct {
	Kind    Kind              `json:"kind"`
	Token   string            `json:"token,omitempty"` // alone, for a field or a cookie; "" for kinds that are one with their URL
	URL     string            `json:"url"`             // the URL with it
	Cookies map[string]string `json:"cookies,omitempty"`
	Key     string            `json:"key,omitempty"` // id of the key that signed
	Expires time.Time         `json:"expires,omitzero"`
}

// Mint makes a token of a scheme. Of the scheme it takes what concerns the form: keys, names, salt and the like.
func Mint(o Scheme, order Order) (Minted, error) {
	s, err := newScheme(o, 1)
	if err != nil {
		return Minted{}, fmt.Errorf("token: %w", err)
	}
	key := o.Keys.Signer(order.KeyID)
	if key == nil {
		return Minted{}, fmt.Errorf("token: no key with the id %q can sign", order.KeyID)
	}
	m := Minted{Kind: o.Kind, Key: key.ID, Expires: order.End}
	q := order.URL
	switch o.Kind {
	case CAT, URISigning:
		if o.Kind == CAT {
			m.Token, err = mintCAT(key, &order)
		} else {
			m.Token, err = mintPackage(key, &order)
		}
		m.URL = with(q, s.Carriers.Query, m.Token)
		if s.Carriers.Cookie != "" {
			m.Cookies = map[string]string{s.Carriers.Cookie: m.Token}
		}
	case Akamai:
		m.Token, err = s.mintAkamai(key, &order)
		m.URL = with(q, s.Carriers.Query, m.Token)
		if s.Carriers.Cookie != "" {
			m.Cookies = map[string]string{s.Carriers.Cookie: m.Token}
		}
	case CloudFront:
		err = s.mintCloudFront(key, &order, &m)
	default:
		m.URL, err = s.mintURL(key, &order)
	}
	return m, err
}

func with(q Request, pairs ...string) string {
	uri := q.uri()
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i] == "" || pairs[i+1] == "" {
			continue
		}
		mark := "?"
		if strings.Contains(uri, "?") {
			mark = "&"
		}
		uri += mark + pairs[i] + "=" + pairs[i+1]
	}
	return uri
}

func mintCAT(key *Key, order *Order) (string, error) {
	set := map[any]any{}
	if len(order.Claims) > 0 {
		var err error
		if set, err = ReadClaims(order.Claims); err != nil {
			return "", err
		}
	}
	if order.Subject != "" {
		set[int64(claimSubject)] = order.Subject
	}
	if !order.Begin.IsZero() {
		set[int64(claimNotBefore)] = order.Begin.Unix()
	}
	if !order.End.IsZero() {
		set[int64(claimExpires)] = order.End.Unix()
	}
	c, err := newCodec()
	if err != nil {
		return "", err
	}
	return c.seal(key, set)
}

func mintPackage(key *Key, order *Order) (string, error) {
	claims := map[string]any{}
	if len(order.Claims) > 0 {
		if err := json.Unmarshal(order.Claims, &claims); err != nil {
			return "", fmt.Errorf("token: claims: %w", err)
		}
	}
	own := map[string]any{"sub": order.Subject, "cdniip": order.Client}
	if !order.Begin.IsZero() {
		own["nbf"] = order.Begin.Unix()
	}
	if !order.End.IsZero() {
		own["exp"] = order.End.Unix()
	}
	maps.DeleteFunc(own, func(_ string, v any) bool { return v == "" })
	maps.Copy(claims, own)
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	return key.makeJWS(payload)
}

func (s *scheme) mintAkamai(key *Key, order *Order) (string, error) {
	if order.End.IsZero() {
		return "", errors.New("token: akamai needs an end")
	}
	var fields []string
	if order.Client != "" {
		fields = append(fields, "ip="+s.escaped(order.Client))
	}
	if !order.Begin.IsZero() {
		fields = append(fields, "st="+strconv.FormatInt(order.Begin.Unix(), 10))
	}
	fields = append(fields, "exp="+strconv.FormatInt(order.End.Unix(), 10))
	if order.Paths != nil {
		fields = append(fields, "acl="+strings.Join(order.Paths, "!"))
	}
	if order.Subject != "" {
		fields = append(fields, "id="+s.escaped(order.Subject))
	}
	signed := strings.Join(fields, "~")
	return signed + "~hmac=" + hex.EncodeToString(s.akamaiSum(key.Secret, signed, order.Paths == nil, order.URL.Path)), nil
}

func (s *scheme) mintCloudFront(key *Key, order *Order, m *Minted) error {
	if order.End.IsZero() || key.Private == nil {
		return errors.New("token: cloudfront needs an end and a private key")
	}
	uri, end := order.URL.uri(), order.End.Unix()
	custom := order.Paths != nil || order.Client != "" || !order.Begin.IsZero()
	text := cannedPolicy(uri, end)
	if custom {
		condition := map[string]any{"DateLessThan": map[string]int64{"AWS:EpochTime": end}}
		if !order.Begin.IsZero() {
			condition["DateGreaterThan"] = map[string]int64{"AWS:EpochTime": order.Begin.Unix()}
		}
		if order.Client != "" {
			condition["IpAddress"] = map[string]string{"AWS:SourceIp": order.Client}
		}
		resource := uri
		if len(order.Paths) > 0 {
			resource = order.Paths[0]
		}
		var err error
		if text, err = json.Marshal(map[string]any{"Statement": []any{map[string]any{"Resource": resource, "Condition": condition}}}); err != nil {
			return err
		}
	}
	hash, name := crypto.SHA1, ""
	if order.SHA256 {
		hash, name = crypto.SHA256, "SHA256"
	}
	signature, err := signPolicy(key, hash, text)
	if err != nil {
		return err
	}
	m.Cookies = map[string]string{"CloudFront-Signature": encodeCF(signature), "CloudFront-Key-Pair-Id": key.ID}
	if name != "" {
		m.Cookies["CloudFront-Hash-Algorithm"] = name
	}
	policy, expires := "", strconv.FormatInt(end, 10)
	if custom {
		policy, expires = encodeCF(text), ""
		m.Cookies["CloudFront-Policy"] = policy
	} else {
		m.Cookies["CloudFront-Expires"] = expires
	}
	m.URL = with(order.URL, "Policy", policy, "Expires", expires, "Key-Pair-Id", key.ID, "Hash-Algorithm", name, "Signature", encodeCF(signature))
	return nil
}

func signPolicy(key *Key, hash crypto.Hash, text []byte) ([]byte, error) {
	sum := digest(hash, text)
	if private, ok := key.Private.(*ecdsa.PrivateKey); ok {
		return ecdsa.SignASN1(rand.Reader, private, sum)
	}
	return key.Private.Sign(rand.Reader, sum, hash)
}

// mintURL signs a URL as the clouds and nginx do. Their time is the one from which the edge counts its own time to live.
func (s *scheme) mintURL(key *Key, order *Order) (string, error) {
	q := order.URL
	if order.End.IsZero() && s.Kind != SecureLink {
		return "", fmt.Errorf("token: %s needs a time", s.Kind)
	}
	at := strconv.FormatInt(order.End.Unix(), 10)
	switch {
	case s.Kind == TypeB:
		at = order.End.In(s.zone).Format(timeB)
	case s.Kind == TypeC, s.Kind == TypeF && s.Hex:
		at = strconv.FormatInt(order.End.Unix(), 16)
	}
	sum := func(parts ...string) string {
		hash := md5.Sum([]byte(strings.Join(parts, "")))
		return hex.EncodeToString(hash[:])
	}
	secret := string(key.Secret)
	switch s.Kind {
	case TypeA:
		var random [16]byte
		if _, err := rand.Read(random[:]); err != nil {
			return "", err
		}
		middle := "-" + hex.EncodeToString(random[:]) + "-" + or(order.Subject, "0") + "-"
		if strings.Contains(order.Subject, "-") {
			return "", errors.New("token: a uid holds no dash")
		}
		return with(q, s.Carriers.Query, at+middle+sum(q.Path, "-", at, middle, secret)), nil
	case TypeB:
		path := q.Path
		q.Path = "/" + at + "/" + sum(secret, at, path) + path
		return q.uri(), nil
	case TypeC:
		hash := sum(secret, q.Path, at)
		if order.Path || s.Carriers.Query == "" {
			q.Path = "/" + hash + "/" + at + q.Path
			return q.uri(), nil
		}
		return with(q, s.Carriers.Query, hash, s.TimeQuery, at), nil
	case TypeF:
		return with(q, s.Carriers.Query, sum(secret, q.Path, at), s.TimeQuery, at), nil
	default: // SecureLink
	}
	end := int64(0)
	if !order.End.IsZero() {
		end = order.End.Unix()
	}
	if order.Client != "" {
		q.Addr = addrOf(order.Client)
	}
	hash, expires := s.signSecureLink(&q, end, key.Secret)
	return with(q, s.Carriers.Query, hash, s.TimeQuery, expires), nil
}

// Explained is what a token says, whether it is good or not.
type Explained struct {
	Kind      Kind           `json:"kind"`
	Algorithm string         `json:"algorithm,omitempty"`
	KeyID     string         `json:"key,omitempty"`
	Claims    map[string]any `json:"claims,omitempty"`
	Notes     []string       `json:"notes,omitempty"` // what an edge would mind, whatever the request
}

// Explain reads a Common Access Token, a JWS or an EdgeAuth token without checking its signature.
func Explain(text string) (Explained, error) {
	switch {
	case strings.Contains(text, "hmac="):
		e := Explained{Kind: Akamai, Claims: map[string]any{}}
		for field := range strings.SplitSeq(text, "~") {
			name, value, _ := strings.Cut(field, "=")
			if decoded, err := url.PathUnescape(value); err == nil {
				value = decoded
			}
			e.Claims[name] = value
		}
		return e, nil
	case strings.Count(text, ".") == 2:
		return explainJWS(text)
	}
	c, err := newCodec()
	if err != nil {
		return Explained{}, err
	}
	m, failed := c.unwrap(text)
	if failed != nil {
		return Explained{}, failed
	}
	e := Explained{Kind: CAT, Algorithm: m.algorithm, KeyID: m.keyID}
	var set map[any]any
	if err := c.dec.Unmarshal(m.Payload, &set); err != nil {
		return e, errors.New("token: the claims are no map")
	}
	e.Claims = setToJSON(set)
	claims, failed := readClaims(set, 0)
	switch {
	case failed != nil:
		e.Notes = append(e.Notes, failed.Error())
	case claims.unsupported != nil:
		e.Notes = append(e.Notes, claims.unsupported.Error())
	}
	if claims != nil && claims.end == 0 {
		e.Notes = append(e.Notes, "it never ends")
	}
	return e, nil
}

func explainJWS(text string) (Explained, error) {
	parts := strings.Split(text, ".")
	e := Explained{Kind: URISigning}
	var h struct {
		Algorithm string `json:"alg"`
		ID        string `json:"kid"`
	}
	header, err1 := decode64(parts[0])
	payload, err2 := decode64(parts[1])
	if err := errors.Join(err1, err2); err != nil {
		return e, errors.New("token: a part is no base64url")
	}
	if err := errors.Join(json.Unmarshal(header, &h), json.Unmarshal(payload, &e.Claims)); err != nil {
		return e, fmt.Errorf("token: %w", err)
	}
	e.Algorithm, e.KeyID = h.Algorithm, h.ID
	return e, nil
}
