package token

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/fxamacker/cbor/v2"
)

// The names of labels inside claims, in JSON: of the ways to match and of the parameters of catr.
func matchNames() []named {
	return []named{
		{matchExact, "exact"},
		{matchPrefix, "prefix"},
		{matchSuffix, "suffix"},
		{matchContains, "contains"},
		{matchRegex, "regex"},
		{matchSHA256, "sha256"},
		{matchSHA512256, "sha512-256"},
	}
}

func confirmNames() []named { return []named{{confirmThumbprint, "jkt"}} }

func dpopNames() []named {
	return []named{{dpopCritical, "crit"}, {dpopWindow, "window"}, {dpopOnce, "jti"}}
}

func printNames() []named {
	return []named{{printKind, "fingerprint-type"}, {printValue, "fingerprint-value"}}
}

func renewalNames() []named {
	return []named{
		{0, "type"},
		{1, "expadd"},
		{2, "deadline"},
		{3, "cookie-name"},
		{4, "header-name"},
		{5, "cookie-params"},
		{6, "header-params"},
		{7, "status"},
	}
}

func renewalKinds() []named {
	return []named{
		{renewAutomatic, "automatic"},
		{renewCookie, "cookie"},
		{renewHeader, "header"},
		{renewRedirect, "redirect"},
	}
}

func componentList() []named {
	var all []named
	for i, name := range componentNames() {
		all = append(all, named{int64(i), name})
	}
	return all
}

// ReadClaims reads claims from JSON, by the names that CTA-5007-B and RFC 8392 give them: {"iss": "…", "exp": 1700000000,
// "catu": {"path": {"prefix": "/vod/"}}, "catm": ["GET"], "catr": {"type": "cookie", "expadd": 600}}. cti, cattpk and hashes are
// hexadecimal, jkt of cnf is base64url, catnip has networks and numbers. A name that is unknown is an error; a number as a name is a label.
func ReadClaims(text []byte) (map[any]any, error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var set map[string]any
	if err := decoder.Decode(&set); err != nil {
		return nil, fmt.Errorf("token: claims: %w", err)
	}
	if decoder.More() {
		return nil, errors.New("token: claims: there is more behind the object")
	}
	claims, err := setFromJSON(set)
	if err != nil {
		return nil, fmt.Errorf("token: claims: %w", err)
	}
	if _, failed := readClaims(claims, 0); failed != nil { // what no verifier can read is not minted
		return nil, fmt.Errorf("token: claims: %s", failed.Text)
	}
	return claims, nil
}

func setFromJSON(set map[string]any) (map[any]any, error) {
	claims := map[any]any{}
	for name, value := range set {
		label, ok := claimLabel(name)
		if !ok {
			n, err := strconv.ParseInt(name, 10, 64)
			if err != nil {
				return nil, fmt.Errorf("%q is no claim", name)
			}
			label = n
		}
		v, err := claimFromJSON(label, value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		claims[label] = v
	}
	return claims, nil
}

func claimFromJSON(label int64, value any) (any, error) {
	switch label {
	case claimID:
		return unhex(value)
	case claimClientKey:
		if list, ok := value.([]any); ok {
			return eachOf(list, unhex)
		}
		return unhex(value)
	case claimNetworks:
		list, ok := value.([]any)
		if !ok {
			return nil, errors.New("want a list")
		}
		return eachOf(list, networkFromJSON)
	case claimURI:
		return renamed(value, componentList(), matchesFromJSON)
	case claimHeader:
		return mapped(value, matchesFromJSON)
	case claimRenewal:
		return renewalFromJSON(value)
	case claimConfirm:
		return renamed(value, confirmNames(), func(v any) (any, error) {
			if s, ok := v.(string); ok {
				return decode64(s)
			}
			return nil, errors.New("want base64url")
		})
	case claimDPoP:
		return renamed(value, dpopNames(), plain)
	case claimTLSPrint:
		return renamed(value, printNames(), plain)
	case claimOr, claimNor, claimAnd:
		list, ok := value.([]any)
		if !ok {
			return nil, errors.New("want a list")
		}
		return eachOf(list, innerFromJSON)
	case claimIf:
		return renamed(value, claimList(), actionFromJSON)
	case claimCritical:
		list, ok := value.([]any)
		if !ok {
			return nil, errors.New("want a list")
		}
		return eachOf(list, func(v any) (any, error) {
			if name, ok := v.(string); ok {
				if label, ok := claimLabel(name); ok {
					return label, nil
				}
			}
			return plain(v)
		})
	}
	return plain(value)
}

func innerFromJSON(v any) (any, error) {
	set, ok := v.(map[string]any)
	if !ok {
		return nil, errors.New("want a claims set")
	}
	return setFromJSON(set)
}

func networkFromJSON(v any) (any, error) {
	if s, ok := v.(string); ok {
		network, err := netip.ParsePrefix(s)
		if err != nil {
			addr, err := netip.ParseAddr(s)
			if err != nil {
				return nil, fmt.Errorf("%q is no network", s)
			}
			return cbor.Tag{Number: addrTag(addr), Content: addr.AsSlice()}, nil
		}
		b := network.Masked().Addr().AsSlice()
		for len(b) > 0 && b[len(b)-1] == 0 { // RFC 9164, 3.1.2: zeros at the end are left out
			b = b[:len(b)-1]
		}
		return cbor.Tag{Number: addrTag(network.Addr()), Content: []any{int64(network.Bits()), b}}, nil
	}
	return plain(v)
}

func addrTag(a netip.Addr) uint64 {
	if a.Is4() {
		return tagIPv4
	}
	return tagIPv6
}

func matchesFromJSON(v any) (any, error) {
	return renamed(v, matchNames(), plain)
}

func renewalFromJSON(v any) (any, error) {
	r, err := renamed(v, renewalNames(), plain)
	if err != nil {
		return nil, err
	}
	if name, ok := r[int64(0)].(string); ok {
		i := slices.IndexFunc(renewalKinds(), func(n named) bool { return n.name == name })
		if i < 0 {
			return nil, fmt.Errorf("the type %q is none", name)
		}
		r[int64(0)] = renewalKinds()[i].label
	}
	return r, nil
}

// actionFromJSON reads [status, {"Field": "text" or ["text", {claims}]}, "key id"].
func actionFromJSON(v any) (any, error) {
	list, ok := v.([]any)
	if !ok || len(list) == 0 {
		return nil, errors.New("want a list: status, fields, key")
	}
	status, err := plain(list[0])
	if err != nil || len(list) == 1 {
		return []any{status}, err
	}
	fields, err := mapped(list[1], func(v any) (any, error) {
		if pair, ok := v.([]any); ok && len(pair) == 2 {
			inner, err := innerFromJSON(pair[1])
			return []any{pair[0], inner}, err
		}
		return plain(v)
	})
	if err != nil || len(list) == 2 {
		return []any{status, fields}, err
	}
	return []any{status, fields, list[2]}, nil
}

// plain turns what JSON has into what CBOR gives.
func plain(v any) (any, error) {
	switch v := v.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n, nil
		}
		return v.Float64()
	case []any:
		return eachOf(v, plain)
	case map[string]any:
		return mapped(v, plain)
	}
	return v, nil
}

func eachOf(list []any, convert func(any) (any, error)) (any, error) {
	all := make([]any, len(list))
	for i := range list {
		var err error
		if all[i], err = convert(list[i]); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func mapped(v any, convert func(any) (any, error)) (map[any]any, error) {
	return renamed(v, nil, convert)
}

// renamed turns names into labels; without a list of names they stay.
func renamed(v any, names []named, convert func(any) (any, error)) (map[any]any, error) {
	list, ok := v.(map[string]any)
	if !ok {
		return nil, errors.New("want an object")
	}
	all := map[any]any{}
	for name, value := range list {
		inner, err := convert(value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if names == nil {
			all[name] = inner
			continue
		}
		i := slices.IndexFunc(names, func(n named) bool { return n.name == name })
		if i < 0 {
			return nil, fmt.Errorf("%q is unknown", name)
		}
		all[names[i].label] = inner
	}
	return all, nil
}

func unhex(v any) (any, error) {
	s, ok := v.(string)
	if !ok {
		return nil, errors.New("want hexadecimal text")
	}
	b, err := hex.DecodeString(s)
	if err != nil {
		return nil, errors.New("want hexadecimal text")
	}
	return b, nil
}

// setToJSON is what ReadClaims reads, as far as it can be said there.
func setToJSON(set map[any]any) map[string]any {
	all := map[string]any{}
	for label, value := range set {
		n, ok := label.(int64)
		name := claimName(n)
		if !ok || name == "" {
			name = fmt.Sprint(label)
		}
		all[name] = claimToJSON(n, value)
	}
	return all
}

func claimToJSON(label int64, v any) any {
	switch label {
	case claimURI:
		return labelled(v, componentList(), matchesToJSON)
	case claimHeader:
		return labelled(v, nil, matchesToJSON)
	case claimRenewal:
		r := labelled(v, renewalNames(), readable)
		if m, ok := r.(map[string]any); ok {
			if n, ok := m["type"].(int64); ok {
				m["type"] = nameOf(renewalKinds(), n)
			}
		}
		return r
	case claimConfirm:
		return labelled(v, confirmNames(), func(v any) any {
			if b, ok := v.([]byte); ok {
				return base64.RawURLEncoding.EncodeToString(b)
			}
			return readable(v)
		})
	case claimDPoP:
		return labelled(v, dpopNames(), readable)
	case claimTLSPrint:
		return labelled(v, printNames(), readable)
	case claimOr, claimNor, claimAnd:
		if list, ok := v.([]any); ok {
			all := make([]any, len(list))
			for i := range list {
				if set, ok := list[i].(map[any]any); ok {
					all[i] = setToJSON(set)
				}
			}
			return all
		}
	case claimIf:
		return labelled(v, claimList(), actionToJSON)
	case claimCritical:
		if list, ok := v.([]any); ok {
			all := make([]any, len(list))
			for i := range list {
				all[i] = readable(list[i])
				if n, ok := list[i].(int64); ok && claimName(n) != "" {
					all[i] = claimName(n)
				}
			}
			return all
		}
	}
	return readable(v)
}

func matchesToJSON(v any) any { return labelled(v, matchNames(), readable) }

func actionToJSON(v any) any {
	list, ok := v.([]any)
	if !ok || len(list) < 2 {
		return readable(v)
	}
	all := []any{list[0], labelled(list[1], nil, func(v any) any {
		if pair, ok := v.([]any); ok && len(pair) == 2 {
			if set, ok := pair[1].(map[any]any); ok {
				return []any{pair[0], setToJSON(set)}
			}
		}
		return readable(v)
	})}
	for _, rest := range list[2:] {
		if b, ok := rest.([]byte); ok {
			rest = string(b)
		}
		all = append(all, rest)
	}
	return all
}

func nameOf(names []named, label int64) string {
	for _, n := range names {
		if n.label == label {
			return n.name
		}
	}
	return strconv.FormatInt(label, 10)
}

// labelled turns labels into names.
func labelled(v any, names []named, convert func(any) any) any {
	m, ok := v.(map[any]any)
	if !ok {
		return readable(v)
	}
	all := map[string]any{}
	for label, value := range m {
		name := fmt.Sprint(label)
		if n, ok := label.(int64); ok && names != nil {
			name = nameOf(names, n)
		}
		all[name] = convert(value)
	}
	return all
}

// readable turns what CBOR gives into what JSON has.
func readable(v any) any {
	switch v := v.(type) {
	case []byte:
		return hex.EncodeToString(v)
	case time.Time:
		return v.Unix()
	case cbor.Tag:
		if v.Number == tagIPv4 || v.Number == tagIPv6 {
			if network, err := taggedNetwork(v); err == nil {
				if network.IsSingleIP() {
					return network.Addr().String()
				}
				return network.String()
			}
		}
		return readable(v.Content)
	case []any:
		all := make([]any, len(v))
		for i := range v {
			all[i] = readable(v[i])
		}
		return all
	case map[any]any:
		return labelled(v, nil, readable)
	}
	return v
}
