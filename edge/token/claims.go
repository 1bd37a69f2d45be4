package token

import (
	"math"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/fxamacker/cbor/v2"
)

// Claims by label: RFC 8392 and CTA-5007-B; the composites are of draft-lemmons-cose-composite-claims.
const (
	claimIssuer    = 1
	claimSubject   = 2
	claimAudience  = 3
	claimExpires   = 4
	claimNotBefore = 5
	claimIssuedAt  = 6
	claimID        = 7
	claimConfirm   = 8
	claimOr        = 41
	claimNor       = 42
	claimAnd       = 43
	claimEncrypted = 44
	claimCritical  = 45
	claimGeohash   = 282
	claimReplay    = 308
	claimRejection = 309
	claimVersion   = 310
	claimNetworks  = 311
	claimURI       = 312
	claimMethods   = 313
	claimALPN      = 314
	claimHeader    = 315
	claimCountries = 316
	claimCircles   = 317
	claimAltitude  = 318
	claimClientKey = 319
	claimIfData    = 320
	claimDPoP      = 321
	claimIf        = 322
	claimRenewal   = 323
	claimTLSPrint  = 324
)

// Tags of addresses (RFC 9164) and of times (RFC 8949, 3.4.2).
const (
	tagEpoch = 1
	tagIPv4  = 52
	tagIPv6  = 54
)

// Values of catreplay.
const (
	replayOnce   = 1 // good for one request
	replayDetect = 2 // good for many, and the second is noted
)

// claims are what a Common Access Token says. Immutable once read.
type claims struct {
	issuer, subject string
	audience        []string // nil: none named
	begin, end      int64
	id              []byte
	replay          int64
	reject          float64        // probability of a refusal
	networks        []netip.Prefix // with systems: where the client may be; both nil: anywhere
	systems         []int64
	uri             []conditions
	methods         []string
	protocols       []string
	header          []conditions
	countries       []string
	circles         []circle
	cells           []string // geohashes
	clientKeys      [][]byte // SHA-256 of SubjectPublicKeyInfo
	proof           possession
	print           *tlsPrint // nil: any
	altitude        *altitude // nil: anywhere
	or, nor, and    []*claims
	renewal         *renewal
	actions         map[int64]action
	nested          bool // inside another set

	unsupported *Error // a claim that cannot be checked: the set never holds, whatever the rest says
}

// conditions are on one component of the URI or one field.
type conditions struct {
	which int
	name  string // of a field, in canonical form
	list  []match
}

// renewal is catr.
type renewal struct {
	how                        int64
	add, deadline              int64 // seconds
	cookie, header             string
	cookieParams, headerParams []string
	status                     int
}

// The ways of catr.
const (
	renewAutomatic = iota
	renewCookie
	renewHeader
	renewRedirect
)

// defaultDeadline is how many seconds before its end a token is renewed where catr says nothing.
const defaultDeadline = 60

// action is what catif has an edge answer where a claim does not hold.
type action struct {
	status int
	header []actionField
	keyID  string
}

type actionField struct {
	name, text string
	claims     map[any]any // of a token to write after text; nil: none
}

// maxDepth is how deep claims sets may lie in one another.
const maxDepth = 4

// readClaims reads a claims set.
func readClaims(set map[any]any, depth int) (*claims, *Error) {
	c := &claims{nested: depth > 0}
	for label, value := range set {
		n, ok := label.(int64)
		if !ok {
			continue // a private claim
		}
		err := c.read(n, value, depth)
		switch {
		case err == nil:
		case err.Reason == Unsupported:
			if err.label = n; c.unsupported == nil || n < c.unsupported.label {
				c.unsupported = err
			}
		default:
			err.Text = claimName(n) + ": " + err.Text
			return nil, err
		}
	}
	if set[int64(claimDPoP)] != nil && c.proof.thumbprint == nil && c.unsupported == nil {
		c.unsupported = wrong(Unsupported, "catdpop stands there without cnf")
	}
	return c, nil
}

// read reads one claim. One that is unknown says nothing, unless crit names it (RFC 8392, 3).
func (c *claims) read(label int64, value any, depth int) (err *Error) {
	if nested := depth > 0; nested && (label == claimReplay || label == claimRenewal || label == claimIf || label == claimCritical || label == claimConfirm || label == claimDPoP) {
		return wrong(Unsupported, "%s stands inside another claim", claimName(label))
	}
	switch label {
	case claimIssuer:
		c.issuer, err = text(value)
	case claimSubject:
		c.subject, err = text(value)
	case claimAudience:
		c.audience, err = texts(value)
	case claimExpires:
		c.end, err = seconds(value)
	case claimNotBefore:
		c.begin, err = seconds(value)
	case claimIssuedAt:
		_, err = seconds(value)
	case claimID:
		c.id, err = bytesOf(value)
	case claimReplay:
		if c.replay, err = integer(value); err == nil && (c.replay < 0 || c.replay > replayDetect) {
			err = wrong(Unsupported, "catreplay %d is unknown", c.replay)
		}
	case claimRejection:
		c.reject, err = probability(value)
	case claimVersion:
		var version int64
		if version, err = integer(value); err == nil && version != 1 {
			err = wrong(Unsupported, "version %d is unknown", version)
		}
	case claimNetworks:
		err = c.readNetworks(value)
	case claimURI:
		err = c.readURI(value)
	case claimMethods:
		c.methods, err = texts(value)
	case claimALPN:
		c.protocols, err = texts(value)
	case claimHeader:
		err = c.readHeader(value)
	case claimCountries:
		c.countries, err = texts(value)
	case claimCircles:
		c.circles, err = readCircles(value)
	case claimGeohash:
		c.cells, err = texts(value)
	case claimClientKey:
		err = c.readClientKeys(value)
	case claimOr, claimNor, claimAnd:
		err = c.readComposite(label, value, depth)
	case claimRenewal:
		c.renewal, err = readRenewal(value)
	case claimIf:
		c.actions, err = readActions(value)
	case claimCritical:
		err = readCritical(value)
	case claimAltitude:
		c.altitude, err = readAltitude(value)
	case claimConfirm:
		err = c.readConfirm(value)
	case claimDPoP:
		err = c.readDPoP(value)
	case claimTLSPrint:
		c.print, err = readPrint(value)
	case claimEncrypted:
		err = wrong(Unsupported, "%s cannot be checked here", claimName(label))
	}
	return err
}

// readCritical refuses a set that says what must be understood and is not (crit).
func readCritical(value any) *Error {
	list, ok := value.([]any)
	if !ok {
		return wrong(Malformed, "want a list")
	}
	for _, label := range list {
		if n, ok := label.(int64); !ok || claimName(n) == "" {
			return wrong(Unsupported, "the claim %.40v is critical and unknown", label)
		}
	}
	return nil
}

func (c *claims) readNetworks(value any) *Error {
	list, ok := value.([]any)
	if !ok {
		return wrong(Malformed, "want a list")
	}
	c.networks, c.systems = []netip.Prefix{}, []int64{}
	for _, item := range list {
		switch item := item.(type) {
		case int64:
			c.systems = append(c.systems, item)
		case cbor.Tag:
			network, err := taggedNetwork(item)
			if err != nil {
				return err
			}
			c.networks = append(c.networks, network)
		case string: // some issuers write networks as text
			network, ok := networkOf(item)
			if !ok {
				return wrong(Malformed, "%.40q is no network", item)
			}
			c.networks = append(c.networks, network)
		default:
			return wrong(Malformed, "want networks and numbers of autonomous systems")
		}
	}
	return nil
}

// networkOf reads a network, or an address, which is a network of one.
func networkOf(text string) (netip.Prefix, bool) {
	if network, err := netip.ParsePrefix(text); err == nil {
		return network.Masked(), true
	}
	addr, err := netip.ParseAddr(text)
	addr = addr.Unmap()
	return netip.PrefixFrom(addr, addr.BitLen()), err == nil
}

// taggedNetwork reads an address or prefix (RFC 9164): bytes, or the length and the bytes that are not zero.
func taggedNetwork(t cbor.Tag) (netip.Prefix, *Error) {
	size := 4
	switch t.Number {
	case tagIPv4:
	case tagIPv6:
		size = 16
	default:
		return netip.Prefix{}, wrong(Malformed, "the tag %d is none of a network", t.Number)
	}
	content, bits := t.Content, int64(size*8)
	if pair, ok := content.([]any); ok && len(pair) == 2 {
		n, ok := pair[0].(int64)
		if !ok || n < 0 || n > bits {
			return netip.Prefix{}, wrong(Malformed, "the length of a prefix is none")
		}
		bits, content = n, pair[1]
	}
	b, ok := content.([]byte)
	if !ok || len(b) > size || len(b) < size && int64(len(b)) < (bits+7)/8 && len(b) > 0 && b[len(b)-1] == 0 {
		return netip.Prefix{}, wrong(Malformed, "an address is no bytes of its length")
	}
	full := make([]byte, size)
	copy(full, b)
	addr, _ := netip.AddrFromSlice(full)
	return netip.PrefixFrom(addr, int(bits)).Masked(), nil
}

func (c *claims) readURI(value any) *Error {
	list, ok := value.(map[any]any)
	if !ok {
		return wrong(Malformed, "want a map")
	}
	for label, how := range list {
		which, ok := label.(int64)
		if !ok || which < 0 || which >= components {
			return wrong(Unsupported, "the component %.20v of a URI is unknown", label)
		}
		all, err := readMatches(how)
		if err != nil {
			return err
		}
		c.uri = append(c.uri, conditions{which: int(which), list: all})
	}
	return nil
}

func (c *claims) readHeader(value any) *Error {
	list, ok := value.(map[any]any)
	if !ok {
		return wrong(Malformed, "want a map")
	}
	for label, how := range list {
		name, ok := label.(string)
		if !ok || !fieldName(name) && name != "" {
			return wrong(Unsupported, "the field %.40v has no name", label)
		}
		all, err := readMatches(how)
		if err != nil {
			return err
		}
		c.header = append(c.header, conditions{name: http.CanonicalHeaderKey(name), list: all})
	}
	return nil
}

func (c *claims) readClientKeys(value any) *Error {
	list, ok := value.([]any)
	if !ok {
		list = []any{value}
	}
	c.clientKeys = [][]byte{}
	for _, item := range list {
		b, err := bytesOf(item)
		if err != nil || len(b) != 32 {
			return wrong(Malformed, "want the SHA-256 of a public key")
		}
		c.clientKeys = append(c.clientKeys, b)
	}
	return nil
}

func (c *claims) readComposite(label int64, value any, depth int) *Error {
	list, ok := value.([]any)
	if !ok || len(list) == 0 {
		return wrong(Malformed, "want a list of claims sets")
	}
	if depth == maxDepth {
		return wrong(Unsupported, "claims sets lie deeper than %d in one another", maxDepth)
	}
	var sets []*claims
	for _, item := range list {
		set, ok := item.(map[any]any)
		if !ok {
			return wrong(Malformed, "want a list of claims sets")
		}
		inner, err := readClaims(set, depth+1)
		if err != nil {
			return err
		}
		sets = append(sets, inner)
	}
	switch label {
	case claimOr:
		c.or = sets
	case claimNor:
		c.nor = sets
	default:
		c.and = sets
	}
	return nil
}

func readRenewal(value any) (*renewal, *Error) {
	set, ok := value.(map[any]any)
	if !ok {
		return nil, wrong(Malformed, "want a map")
	}
	r := &renewal{deadline: defaultDeadline, status: http.StatusFound, how: -1}
	for label, v := range set {
		var err *Error
		var n int64
		switch label {
		case int64(0):
			r.how, err = integer(v)
		case int64(1):
			r.add, err = integer(v)
		case int64(2):
			r.deadline, err = integer(v)
		case int64(3):
			r.cookie, err = text(v)
		case int64(4):
			r.header, err = text(v)
		case int64(5):
			r.cookieParams, err = texts(v)
		case int64(6):
			r.headerParams, err = texts(v)
		case int64(7):
			n, err = integer(v)
			r.status = int(n)
		default:
			err = wrong(Unsupported, "the parameter %.20v is unknown", label)
		}
		if err != nil {
			return nil, err
		}
	}
	return r, r.check()
}

func (r *renewal) check() *Error {
	switch {
	case r.how < renewAutomatic || r.how > renewRedirect:
		return wrong(Unsupported, "the kind %d of renewal is unknown", r.how)
	case r.add <= 0 || r.add > maxSeconds || r.deadline < 0 || r.deadline > maxSeconds:
		return wrong(Malformed, "expadd and deadline are no times")
	case r.status != http.StatusMovedPermanently && r.status != http.StatusFound && r.status != http.StatusSeeOther &&
		r.status != http.StatusTemporaryRedirect && r.status != http.StatusPermanentRedirect:
		return wrong(Malformed, "the status %d is none of a redirect", r.status)
	case r.header != "" && !fieldName(r.header) || r.cookie != "" && !fieldName(r.cookie):
		return wrong(Malformed, "a name is none of a field or cookie")
	}
	for _, p := range slices.Concat(r.cookieParams, r.headerParams) {
		if !fieldValue(p) {
			return wrong(Malformed, "a parameter holds what a field cannot")
		}
	}
	return nil
}

// readActions reads catif: by claim, a status, fields, and the id of a key.
func readActions(value any) (map[int64]action, *Error) {
	set, ok := value.(map[any]any)
	if !ok {
		return nil, wrong(Malformed, "want a map")
	}
	actions := map[int64]action{}
	for label, v := range set {
		n, ok := label.(int64)
		list, ok2 := v.([]any)
		if !ok || !ok2 || len(list) == 0 || len(list) > 3 {
			return nil, wrong(Malformed, "want a list for each claim")
		}
		a, err := readAction(list)
		if err != nil {
			return nil, err
		}
		actions[n] = a
	}
	return actions, nil
}

func readAction(list []any) (a action, err *Error) {
	status, err := integer(list[0])
	if err != nil || status < 300 || status > 599 {
		return a, wrong(Malformed, "want a status from 300 to 599")
	}
	a.status = int(status)
	if len(list) > 2 {
		switch id := list[2].(type) {
		case string:
			a.keyID = id
		case []byte:
			a.keyID = string(id)
		default:
			return a, wrong(Malformed, "the id of a key is no text")
		}
	}
	if len(list) == 1 {
		return a, nil
	}
	fields, ok := list[1].(map[any]any)
	if !ok {
		return a, wrong(Malformed, "want a map of fields")
	}
	for label, v := range fields {
		f := actionField{}
		name, ok := label.(string)
		if !ok || !fieldName(name) {
			return a, wrong(Malformed, "%.40v is no field that may be set", label)
		}
		f.name = http.CanonicalHeaderKey(name)
		if pair, ok := v.([]any); ok && len(pair) == 2 { // a text, and claims for a token behind it
			if f.claims, ok = pair[1].(map[any]any); !ok {
				return a, wrong(Malformed, "the claims of a new token are no map")
			}
			v = pair[0]
		}
		if f.text, err = text(v); err != nil || !fieldValue(f.text) {
			return a, wrong(Malformed, "the value of %s is none", f.name)
		}
		a.header = append(a.header, f)
	}
	return a, nil
}

func text(v any) (string, *Error) {
	if s, ok := v.(string); ok {
		return s, nil
	}
	return "", wrong(Malformed, "want text")
}

// texts takes one text for a list of one.
func texts(v any) ([]string, *Error) {
	if s, ok := v.(string); ok {
		return []string{s}, nil
	}
	list, ok := v.([]any)
	if !ok {
		return nil, wrong(Malformed, "want a list of texts")
	}
	all := []string{}
	for _, item := range list {
		switch s := item.(type) {
		case string:
			all = append(all, s)
		case []byte: // names of protocols may be bytes
			all = append(all, string(s))
		default:
			return nil, wrong(Malformed, "want a list of texts")
		}
	}
	return all, nil
}

func bytesOf(v any) ([]byte, *Error) {
	switch b := v.(type) {
	case []byte:
		return b, nil
	case string:
		return []byte(b), nil
	}
	return nil, wrong(Malformed, "want bytes")
}

func integer(v any) (int64, *Error) {
	if n, ok := v.(int64); ok {
		return n, nil
	}
	return 0, wrong(Malformed, "want an integer")
}

// seconds reads a NumericDate (RFC 8392, 2); never 0, which would be no bound.
func seconds(v any) (int64, *Error) {
	switch t := v.(type) {
	case int64:
		if t <= maxSeconds {
			return max(t, 1), nil
		}
	case float64:
		if t <= maxSeconds { // false where it is not a number
			return int64(math.Max(t, 1)), nil
		}
	case time.Time:
		if s := t.Unix(); s <= maxSeconds {
			return max(s, 1), nil
		}
	}
	return 0, wrong(Malformed, "want a time in seconds")
}

// probability reads per cent as an integer, or a fraction.
func probability(v any) (float64, *Error) {
	p := -1.0
	switch n := v.(type) {
	case int64:
		p = float64(n) / 100
	case float64:
		p = n
	}
	if !(p >= 0 && p <= 1) { // also when it is not a number
		return 0, wrong(Unsupported, "the probability has a form that is not known here")
	}
	return p, nil
}
