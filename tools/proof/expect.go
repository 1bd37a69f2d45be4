package proof

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// expectCommand compares what came with what should.
type expectCommand struct {
	of    string   // "", "origin" or "network"
	names []string // client; origin and path; from and to
	terms []term
	times *term // how many results must match, nil = all
}

// keysOf lists the keys an expectation of a kind may use.
func keysOf(of string) []string {
	switch of {
	case "origin":
		return []string{"requests", "in-flight", "max-in-flight", "bytes", "paths", "per-path", "most", "method", "status"}
	case "network":
		return []string{"dials"}
	default:
		return []string{
			"status", "outcome", "body", "version", "bytes", "verified", "age", "ttfb", "head", "total",
			"protocol", "error", "cache-status", "count", "times",
		}
	}
}

func parseExpect(args []string) (command, error) {
	c := &expectCommand{}
	usage := "[CLIENT] KEY=VALUE…, origin NAME PATH KEY=VALUE…, or network FROM TO KEY=VALUE…"
	if err := need(args, 1, -1, usage); err != nil {
		return nil, err
	}
	names := 0
	if _, isTerm := parseTerm(args[0]); !isTerm {
		names = 1
		if args[0] == "origin" || args[0] == "network" {
			c.of, args, names = args[0], args[1:], 2
		}
	}
	if err := need(args, names+1, -1, usage); err != nil {
		return nil, err
	}
	c.names = args[:names]
	for _, w := range args[names:] {
		t, ok := parseTerm(w)
		if !ok {
			return nil, fmt.Errorf("%q is not KEY=VALUE", w)
		}
		if err := t.check(c.of); err != nil {
			return nil, err
		}
		if t.key == "times" {
			c.times = &t
			continue
		}
		c.terms = append(c.terms, t)
	}
	return c, nil
}

// check says whether a term can be evaluated at all.
func (t term) check(of string) error {
	if !slices.Contains(keysOf(of), t.key) && (of == "network" || !strings.HasPrefix(t.key, "header.")) {
		return fmt.Errorf("key %q is unknown here, there are %s and header.NAME", t.key, strings.Join(keysOf(of), ", "))
	}
	switch t.op {
	case "~", "!~":
		if _, err := regexp.Compile(t.value); err != nil {
			return err
		}
	case "<", ">", "<=", ">=":
		if _, err := parseNumber(t.value, durationKey(t.key)); err != nil {
			return err
		}
	}
	return nil
}

func durationKey(key string) bool {
	return slices.Contains([]string{"age", "ttfb", "head", "total"}, key)
}

// parseNumber reads a number, a size, or a duration; a duration without a unit
// is in seconds.
func parseNumber(s string, duration bool) (float64, error) {
	if duration {
		if n, err := strconv.ParseInt(s, 10, 32); err == nil {
			return float64(n) * float64(time.Second), nil
		}
		d, err := time.ParseDuration(s)
		return float64(d), err
	}
	if strings.Trim(s, "-.0123456789") == "" {
		return strconv.ParseFloat(s, 64)
	}
	n, err := ParseSize(s)
	return float64(n), err
}

// holds compares a value with the term.
func (t term) holds(got string) bool {
	switch t.op {
	case "~", "!~":
		return regexp.MustCompile(t.value).MatchString(got) == (t.op == "~")
	case "=", "!=":
		equal := false
		for want := range strings.SplitSeq(t.value, "|") {
			equal = equal || got == want || t.sameNumber(got, want)
		}
		return equal == (t.op == "=")
	}
	a, errA := parseNumber(got, durationKey(t.key))
	b, errB := parseNumber(t.value, durationKey(t.key))
	if errA != nil || errB != nil {
		return false
	}
	switch t.op {
	case "<":
		return a < b
	case ">":
		return a > b
	case "<=":
		return a <= b
	default:
		return a >= b
	}
}

func (t term) sameNumber(got, want string) bool {
	a, errA := parseNumber(got, durationKey(t.key))
	b, errB := parseNumber(want, durationKey(t.key))
	return errA == nil && errB == nil && a == b
}

// attribute returns what a result has under a key.
func (r Result) attribute(key string) string {
	switch key {
	case "status":
		return strconv.Itoa(r.Status)
	case "outcome":
		return r.Outcome()
	case "body":
		return string(r.Body)
	case "version":
		return strconv.FormatUint(r.Version, 10)
	case "bytes":
		return strconv.FormatInt(r.Bytes, 10)
	case "verified":
		return strconv.FormatInt(r.Verified, 10)
	case "age":
		if r.Age < 0 {
			return "none"
		}
		return strconv.FormatInt(r.Age, 10)
	case "ttfb":
		return r.FirstByte.String()
	case "head":
		return r.Head.String()
	case "total":
		return r.Total.String()
	case "protocol":
		return r.Protocol
	case "error":
		if r.Err == nil {
			return ""
		}
		return r.Err.Error()
	case "cache-status":
		return strings.Join(r.Header.Values("Cache-Status"), ", ")
	default:
		return strings.Join(r.Header.Values(strings.TrimPrefix(key, "header.")), ", ")
	}
}

func (c *expectCommand) run(r *runner) error {
	switch c.of {
	case "origin":
		return c.origin(r)
	case "network":
		got := r.network.Dials(c.names[0], c.names[1])
		return c.all(func(string) string { return strconv.Itoa(got) })
	default:
		return c.results(r)
	}
}

func (c *expectCommand) all(get func(key string) string) error {
	var errs error
	for _, t := range c.terms {
		if got := get(t.key); !t.holds(got) {
			errs = errors.Join(errs, fmt.Errorf("got %s %q, want %s", t.key, got, t))
		}
	}
	return errs
}

func (c *expectCommand) origin(r *runner) error {
	o := r.origins[c.names[0]]
	if o == nil {
		return fmt.Errorf("no origin %q", c.names[0])
	}
	pattern := c.names[1]
	if pattern == "*" {
		pattern = "/*"
	}
	pattern = Canonical(pattern)
	sum := o.handler.Sum(pattern)
	if c.names[1] == "*" {
		sum.Count = o.handler.Total()
	}
	var last Seen
	for _, s := range o.handler.Requests() {
		if matches(pattern, "", s.Path) {
			last = s
		}
	}
	return c.all(func(key string) string {
		switch key {
		case "requests":
			return strconv.Itoa(sum.Requests)
		case "in-flight":
			return strconv.Itoa(sum.InFlight)
		case "max-in-flight":
			return strconv.Itoa(sum.MaxInFlight)
		case "bytes":
			return strconv.FormatInt(sum.Bytes, 10)
		case "paths":
			return strconv.Itoa(sum.Paths)
		case "per-path":
			return strconv.FormatFloat(float64(sum.Requests)/float64(max(sum.Paths, 1)), 'f', 3, 64)
		case "most":
			return strconv.Itoa(sum.MostPerPath)
		case "method":
			return last.Method
		case "status":
			return strconv.Itoa(last.Status)
		default:
			return strings.Join(last.Header.Values(strings.TrimPrefix(key, "header.")), ", ")
		}
	})
}

// results compares the last results of a client: all of them, or the number
// that matches with times.
func (c *expectCommand) results(r *runner) error {
	name := r.last
	if len(c.names) > 0 {
		name = c.names[0]
	}
	g := r.groups[name]
	if g == nil {
		return fmt.Errorf("client %q has asked for nothing", name)
	}
	if g.running {
		return fmt.Errorf("client %q is still at it: wait %s first", name, name)
	}
	matched, wrong := 0, error(nil)
	for _, result := range g.results {
		err := c.all(func(key string) string {
			if key == "count" {
				return strconv.Itoa(len(g.results))
			}
			return result.attribute(key)
		})
		if err == nil {
			matched++
		} else if wrong == nil {
			wrong = fmt.Errorf("%w\n\t%s", err, result)
		}
	}
	for _, t := range c.terms {
		g.explained = g.explained || t.key == "status" || t.key == "body" || t.key == "error"
	}
	if c.times != nil {
		if !c.times.holds(strconv.Itoa(matched)) {
			return fmt.Errorf("%d of %d results match, want %s", matched, len(g.results), c.times)
		}
		return nil
	}
	return wrong
}
