package token

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"maps"
	"math"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// cat is a Common Access Token whose signature was found right.
type cat struct {
	claims *claims
	set    map[any]any // as signed, to sign anew
	key    *Key
	sum    [sha256.Size]byte // what one-time tokens are known by
}

// checkCAT checks a Common Access Token. Hot path: no allocation for a token that was seen before and holds.
func (s *scheme) checkCAT(ctx context.Context, v *Verifier, q *Request, c *candidate, now time.Time) (Grant, *Error) {
	key := memoKey{c.text}
	t, ok := s.cats.get(key)
	if !ok {
		var err *Error
		if t, err = s.openCAT(v, c.text); err != nil {
			return Grant{}, err
		}
		s.cats.put(key, t)
	}
	q.token = c.text
	err := t.claims.hold(s, v, q, now)
	if err == nil && t.claims.proof.thumbprint != nil {
		err = t.claims.holdProof(ctx, v, q, now)
	}
	if err != nil {
		err.Answer = s.answer(v, t.claims, err.label, now)
		return Grant{}, err
	}
	g := Grant{Kind: CAT, Subject: t.claims.subject, Key: t.key.ID, Expires: unix(t.claims.end)}
	if err := s.replayed(ctx, v, t, q, now, &g); err != nil {
		err.Answer = s.answer(v, t.claims, claimReplay, now)
		return Grant{}, err
	}
	if s.Renew && t.claims.renewable(now) {
		var err error
		if g.Renewal, err = s.renewCAT(v, t, q, c.at, now); err != nil {
			return Grant{}, wrong(UnknownKey, "no new token can be made: %v", err)
		}
	}
	return g, nil
}

// renewable tells whether it is time for the next token, and that would last longer: one that does not is of no use, and where
// it comes by a redirect the client would be sent round for ever. One that is good once is used up.
func (c *claims) renewable(now time.Time) bool {
	r := c.renewal
	return r != nil && c.end != 0 && now.Unix() >= c.end-r.deadline && (now.Unix()+r.add > c.end || c.replay == replayOnce)
}

func (s *scheme) openCAT(v *Verifier, text string) (*cat, *Error) {
	m, key, failed := v.codec.open(s.Keys, text)
	if failed != nil {
		return nil, failed
	}
	t := &cat{key: key}
	if err := v.codec.dec.Unmarshal(m.Payload, &t.set); err != nil {
		return nil, wrong(Malformed, "the claims are no map")
	}
	if t.claims, failed = readClaims(t.set, 0); failed != nil {
		return nil, failed
	}
	hash := sha256.New()
	if t.claims.id != nil { // RFC 8392, 3.1.7: unique for its issuer
		hash.Write([]byte("cti\x00" + t.claims.issuer + "\x00"))
		hash.Write(t.claims.id)
	} else { // what is signed: the text can be written in other ways
		hash.Write([]byte("claims\x00"))
		hash.Write(m.Payload)
	}
	hash.Sum(t.sum[:0])
	return t, nil
}

// hold checks what a token says against a request, the cheap and the frequent first.
func (c *claims) hold(s *scheme, v *Verifier, q *Request, now time.Time) *Error {
	if c.unsupported != nil {
		e := *c.unsupported
		return &e
	}
	if err := v.within(c.begin, c.end, now); err != nil {
		if err.label = claimExpires; err.Reason == NotYet {
			err.label = claimNotBefore
		}
		return err
	}
	if !c.nested || c.issuer != "" { // a nested set need not say what the whole does
		if err := s.issued(c.issuer); err != nil {
			err.label = claimIssuer
			return err
		}
	}
	if !c.nested || c.audience != nil {
		if err := s.addressed(c.audience); err != nil {
			err.label = claimAudience
			return err
		}
	}
	return c.holdParts(s, v, q, now)
}

// holdParts checks all that a nested set may say too, but time and parties.
func (c *claims) holdParts(s *scheme, v *Verifier, q *Request, now time.Time) *Error {
	for i := range c.uri {
		if u := &c.uri[i]; !allHold(u.list, q.component(u.which)) {
			return unmet(claimURI, "the %s %s of the URI is another one", componentNames()[u.which], clip(q.component(u.which)))
		}
	}
	if c.methods != nil && !slices.Contains(c.methods, q.Method) {
		return unmet(claimMethods, "the method %s is none of it", clip(q.Method))
	}
	if c.protocols != nil && !slices.Contains(c.protocols, q.Protocol) {
		return unmet(claimALPN, "the protocol %s is none of it", q.Protocol)
	}
	for i := range c.header {
		if f := &c.header[i]; !allHold(f.list, firstOf(q.Header[f.name])) {
			return unmet(claimHeader, "the field %s has another value", f.name)
		}
	}
	if err := c.holdPlace(v, q); err != nil {
		return err
	}
	if c.clientKeys != nil && !c.hasKey(q.ClientKey) {
		return unmet(claimClientKey, "the client's certificate has another key, or it has none")
	}
	if c.print != nil && c.print.of(q) != c.print.value {
		return unmet(claimTLSPrint, "the client's TLS has the fingerprint %q", c.print.of(q))
	}
	if c.reject > 0 {
		if v.options.Chance == nil {
			return wrong(Unsupported, "catpor cannot be checked here")
		}
		if v.options.Chance() < c.reject {
			return unmet(claimRejection, "it was refused by chance, as it asks to be")
		}
	}
	return c.holdComposites(s, v, q, now)
}

// holdPlace checks where the client is. Who cannot be found is nowhere.
func (c *claims) holdPlace(v *Verifier, q *Request) *Error {
	if c.networks == nil && c.countries == nil && c.circles == nil && c.cells == nil && c.altitude == nil {
		return nil
	}
	addr := q.Addr.Unmap()
	near := slices.ContainsFunc(c.networks, func(n netip.Prefix) bool { return n.Contains(addr) })
	var p Place
	if v.options.Locate != nil && (!near && len(c.systems) > 0 || c.countries != nil || c.circles != nil || c.cells != nil || c.altitude != nil) {
		p = v.options.Locate(addr)
	}
	if c.networks != nil && !near && (p.System == 0 || !slices.Contains(c.systems, int64(p.System))) {
		return unmet(claimNetworks, "the client %s is outside its networks", addr)
	}
	if c.countries != nil && (p.Country == "" || !slices.Contains(c.countries, p.Country)) {
		return unmet(claimCountries, "the country %q of the client is none of it", p.Country)
	}
	if c.circles != nil && (!p.Located || !slices.ContainsFunc(c.circles, func(o circle) bool { return o.has(p) })) {
		return unmet(claimCircles, "the client is elsewhere, or nobody knows where")
	}
	if c.cells != nil && (!p.Located || !inGeohash(c.cells, p)) {
		return unmet(claimGeohash, "the client is elsewhere, or nobody knows where")
	}
	if c.altitude != nil && !(p.Elevated && math.Abs(p.Altitude-c.altitude.meters) <= c.altitude.deviation) {
		return unmet(claimAltitude, "the client is higher or lower, or nobody knows how high")
	}
	return nil
}

func (c *claims) hasKey(key []byte) bool {
	if len(key) == 0 {
		return false
	}
	sum, found := sha256.Sum256(key), 0
	for _, want := range c.clientKeys {
		found |= subtle.ConstantTimeCompare(want, sum[:])
	}
	return found == 1
}

// holdComposites checks or, nor and and. What cannot be checked neither holds nor fails to: it refuses in nor as well.
func (c *claims) holdComposites(s *scheme, v *Verifier, q *Request, now time.Time) *Error {
	for _, set := range c.and {
		if err := set.hold(s, v, q, now); err != nil {
			err.label = claimAnd
			return err
		}
	}
	for _, set := range c.nor {
		if err := set.hold(s, v, q, now); err == nil {
			return unmet(claimNor, "one of its sets holds")
		} else if err.Reason == Unsupported {
			return err
		}
	}
	if c.or == nil {
		return nil
	}
	var unsure *Error
	for _, set := range c.or {
		switch err := set.hold(s, v, q, now); {
		case err == nil:
			return nil
		case err.Reason == Unsupported:
			unsure = err
		}
	}
	if unsure != nil {
		return unsure
	}
	return unmet(claimOr, "none of its sets holds")
}

// unmet is a claim that does not hold.
func unmet(label int64, format string, args ...any) *Error {
	err := wrong(Claim, claimName(label)+": "+format, args...)
	err.label = label
	return err
}

func firstOf(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}

// replayed keeps one-time tokens from being used again. It comes last: a request that is refused uses nothing up.
func (s *scheme) replayed(ctx context.Context, v *Verifier, t *cat, q *Request, now time.Time, g *Grant) *Error {
	switch t.claims.replay {
	case replayDetect:
		if v.options.Replays != nil && t.claims.end != 0 {
			g.Reused = !v.firstSeen(ctx, t, now)
		}
		return nil
	case replayOnce:
	default:
		return nil
	}
	switch {
	case q.EarlyData: // RFC 8470, 5.2
		return wrong(TooEarly, "it is good for one request, and early data can be replayed")
	case v.options.Once == nil:
		return wrong(Unsupported, "nothing remembers one-time tokens here")
	case t.claims.end == 0:
		return wrong(Unsupported, "it is good for one request and never ends: it would have to be remembered for ever")
	}
	first, err := v.options.Once(ctx, t.sum, time.Unix(t.claims.end, 0).Add(v.options.Leeway).Sub(now))
	switch {
	case err != nil:
		return wrong(Unsure, "whether it was used before cannot be told: %v", err)
	case !first:
		return wrong(Replayed, "it was used before")
	}
	return nil
}

// firstSeen tells whether a token was not seen before: here, and where that is told, on another node.
//
// Hot path: the others are asked at the first use here alone.
func (v *Verifier) firstSeen(ctx context.Context, t *cat, now time.Time) bool {
	end := time.Unix(t.claims.end, 0).Add(v.options.Leeway)
	if first := v.options.Replays.note(t.sum, end, now); !first || v.options.Seen == nil {
		return first
	}
	first, err := v.options.Seen(ctx, t.sum, end.Sub(now))
	return first || err != nil // it is allowed in any case
}

// renewCAT makes the next token: the same claims, and another end.
func (s *scheme) renewCAT(v *Verifier, t *cat, q *Request, at carrier, now time.Time) (*Renewal, error) {
	set := maps.Clone(t.set)
	set[int64(claimExpires)] = now.Unix() + t.claims.renewal.add
	if t.claims.replay == replayOnce { // it is another one
		id := make([]byte, 16)
		if _, err := rand.Read(id); err != nil {
			return nil, err
		}
		set[int64(claimID)] = id
	}
	text, err := v.codec.seal(s.signer(t.key), set)
	if err != nil {
		return nil, err
	}
	r, how := t.claims.renewal, t.claims.renewal.how
	if how == renewAutomatic {
		how = map[carrier]int64{inHeader: renewHeader, inCookie: renewCookie, inQuery: renewRedirect}[at]
	}
	switch how {
	case renewCookie:
		params := r.cookieParams
		if params == nil {
			params = []string{"Path=/", "HttpOnly"}
			if q.Scheme == "https" {
				params = append(params, "Secure", "SameSite=None") // pages of others play it
			}
		}
		return &Renewal{Field: "Set-Cookie", Value: cookie(or(r.cookie, or(s.Carriers.Cookie, DefaultCarriers(CAT).Cookie)), text, params)}, nil
	case renewRedirect:
		if q.Method != http.MethodGet && q.Method != http.MethodHead || s.Carriers.Query == "" {
			return nil, nil //nolint:nilnil // there is no place for a new one, and the old one still holds
		}
		mark := "?"
		if q.Query != "" {
			mark = "&"
		}
		return &Renewal{Field: "Location", Value: q.uri() + mark + s.Carriers.Query + "=" + text, Status: r.status}, nil
	}
	name := http.CanonicalHeaderKey(or(r.header, or(s.Carriers.Header, DefaultCarriers(CAT).Header)))
	return &Renewal{Field: name, Value: strings.Join(append([]string{text}, r.headerParams...), "; ")}, nil
}

// answer is what catif wants to be answered where the claim does not hold; nil: nothing, or it cannot be made.
func (s *scheme) answer(v *Verifier, c *claims, label int64, now time.Time) *Response {
	a, ok := c.actions[label]
	if !ok || label == 0 {
		return nil
	}
	r := &Response{Status: a.status, Header: http.Header{}}
	for _, f := range a.header {
		value := f.text
		if f.claims != nil {
			key := s.Keys.Signer(a.keyID)
			if key == nil {
				return nil
			}
			set := maps.Clone(f.claims)
			if set[int64(claimIssuedAt)] == nil {
				set[int64(claimIssuedAt)] = now.Unix()
			}
			text, err := v.codec.seal(key, set)
			if err != nil {
				return nil
			}
			value += text
		}
		r.Header.Add(f.name, value)
	}
	return r
}
