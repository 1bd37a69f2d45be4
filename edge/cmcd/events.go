package cmcd

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
)

// ErrType tells that a body is of none of the types that events come in.
var ErrType = errors.New("cmcd: the body is no application/cmcd, text/cmcd or application/json")

// Events calls each for every report in a body of that Content-Type: lines of application/cmcd (CTA-5004-B, 3.3) and of
// text/cmcd, its name of before, or objects of application/json (CTA-5004, 2.2), alone, in an array, or one to a line. The
// report is its own and valid during the call alone. Lines that have no value at all, and those of a newer version, are
// counted in bad. each may end it by returning false.
func Events(contentType string, body []byte, each func(*Report) bool) (bad int, err error) {
	kind, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return 0, ErrType
	}
	r := new(Report)
	switch kind {
	case "application/cmcd", "text/cmcd":
	case "application/json":
		return eventsOfJSON(body, r, each)
	default:
		return 0, ErrType
	}
	for line := range bytes.Lines(body) {
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		if err := r.Parse(line); err != nil || r.Empty() {
			bad++
			continue
		}
		if !each(r) {
			break
		}
	}
	return bad, nil
}

func eventsOfJSON(body []byte, r *Report, each func(*Report) bool) (bad int, err error) {
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	for decoder.More() {
		var value any
		if err := decoder.Decode(&value); err != nil {
			return bad, fmt.Errorf("cmcd: read events: %w", err)
		}
		list, ok := value.([]any)
		if !ok {
			list = []any{value}
		}
		for _, one := range list {
			object, ok := one.(map[string]any)
			if !ok || r.Parse(dictionary(object)) != nil || r.Empty() {
				bad++
				continue
			}
			if !each(r) {
				return bad, nil
			}
		}
	}
	return bad, nil
}

// dictionary writes an object as a structured field, with what can stand in one; the parser judges it.
func dictionary(object map[string]any) []byte {
	var b []byte
	for name, value := range object {
		if k, ok := keyOf([]byte(name)); ok {
			b = appendMember(append(append(b, ','), shapes[k].name...), value)
		}
	}
	return b
}

func appendMember(b []byte, value any) []byte {
	switch v := value.(type) {
	case bool:
		if v {
			return b
		}
		return append(b, "=?0"...)
	case json.Number:
		return append(append(b, '='), v...)
	case string:
		return appendString(append(b, '='), []byte(v))
	case []any:
		b = append(b, "=("...)
		for _, one := range v {
			switch one := one.(type) {
			case json.Number:
				b = append(append(b, one...), ' ')
			case string:
				b = append(appendString(b, []byte(one)), ' ')
			}
		}
		return append(b, ')')
	}
	return append(b, '=') // no value: malformed
}
