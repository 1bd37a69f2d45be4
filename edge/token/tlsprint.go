package token

import "strings"

// tlsPrint is cattprint: how the client has to say hello.
type tlsPrint struct {
	kind  int64
	value string // lower case
}

// Members of cattprint, and the kinds of fingerprints that are known here: of the many, those that a ClientHello tells.
const (
	printKind  = 0
	printValue = 1

	printJA3 = 0
	printJA4 = 2
)

func readPrint(value any) (*tlsPrint, *Error) {
	set, ok := value.(map[any]any)
	if !ok {
		return nil, wrong(Malformed, "want a map")
	}
	p := &tlsPrint{kind: -1}
	for label, v := range set {
		var err *Error
		switch label {
		case int64(printKind):
			if p.kind, err = integer(v); err == nil && p.kind != printJA3 && p.kind != printJA4 {
				err = wrong(Unsupported, "fingerprints of the kind %d are not known here: want JA3 (0) or JA4 (2)", p.kind)
			}
		case int64(printValue):
			p.value, err = text(v)
			p.value = strings.ToLower(p.value)
		default:
			err = wrong(Unsupported, "the member %.20v of a fingerprint is unknown", label)
		}
		if err != nil {
			return nil, err
		}
	}
	if p.kind < 0 || p.value == "" {
		return nil, wrong(Malformed, "a fingerprint needs a kind and a value")
	}
	return p, nil
}

// of is the fingerprint of that kind of a request.
func (p *tlsPrint) of(q *Request) string {
	if p.kind == printJA3 {
		return q.JA3
	}
	return q.JA4
}
