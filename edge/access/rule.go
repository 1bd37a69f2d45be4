package access

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Rule allows or denies the requests for which all its conditions hold. A condition that is empty holds for every
// request; one with several values holds for each of them.
type Rule struct {
	Deny      bool
	Networks  []netip.Prefix // that the client's address lies in
	Countries []string       // where that is: ISO 3166-1, two capital letters
	Systems   []uint32       // the autonomous systems that announce it
	Methods   []string
	Paths     []string // of the canonical target without query; '*' stands for any run of characters
	Referrers []string // hosts in Referer: a name, "*.name" for those below it, "none" where there is no such field
	Agents    []string // parts of User-Agent; upper and lower case are the same
	Times     []Window
}

// Request is what rules look at.
type Request struct {
	Addr     netip.Addr // of the client; the zero value lies in no network
	Method   string
	Path     string
	Referrer string // the field's value, "" for none
	Agent    string
	Time     time.Time
}

// List is rules in order. The zero value allows everything.
type List struct {
	rules []Rule
	asks  bool // for countries or systems
}

// New checks the rules and copies them. An error begins with the number of the rule, from 1.
func New(rules []Rule) (*List, error) {
	l := &List{rules: slices.Clone(rules)}
	for i := range l.rules {
		r := &l.rules[i]
		if err := r.check(); err != nil {
			return nil, fmt.Errorf("access: rule %d: %w", i+1, err)
		}
		r.Agents = slices.Clone(r.Agents)
		for k := range r.Agents {
			r.Agents[k] = strings.ToLower(r.Agents[k])
		}
		l.asks = l.asks || len(r.Countries) > 0 || len(r.Systems) > 0
	}
	return l, nil
}

func (r *Rule) check() error {
	for _, c := range r.Countries {
		if len(c) != 2 || c != strings.ToUpper(c) {
			return fmt.Errorf("country %q: want two capital letters", c)
		}
	}
	for _, p := range r.Paths {
		if !strings.HasPrefix(p, "/") && !strings.HasPrefix(p, "*") {
			return fmt.Errorf("path %q: want it to begin with / or *", p)
		}
	}
	for _, h := range r.Referrers {
		if h == "" || strings.ContainsAny(h, "/: ") || strings.Contains(strings.TrimPrefix(h, "*."), "*") {
			return fmt.Errorf("referrer %q: want a host name, *.NAME or none", h)
		}
	}
	if slices.Contains(r.Agents, "") {
		return errors.New("an empty user agent is part of every one")
	}
	return nil
}

// Allows tells whether the request may go on, and by which rule, from 1; 0: none held. geo may be nil: then no request
// is in any country or system.
//
// Hot path: no allocation but the database's.
func (l *List) Allows(q *Request, geo *Geo) (ok bool, rule int) {
	var where Place
	if l.asks {
		where = geo.Find(q.Addr)
	}
	for i := range l.rules {
		if l.rules[i].holds(q, &where) {
			return !l.rules[i].Deny, i + 1
		}
	}
	return true, 0
}

func (r *Rule) holds(q *Request, where *Place) bool {
	return (len(r.Networks) == 0 || r.inNetwork(q.Addr)) &&
		(len(r.Countries) == 0 || slices.Contains(r.Countries, where.Country)) &&
		(len(r.Systems) == 0 || slices.Contains(r.Systems, where.System)) &&
		(len(r.Methods) == 0 || slices.Contains(r.Methods, q.Method)) &&
		(len(r.Paths) == 0 || r.onPath(q.Path)) &&
		(len(r.Referrers) == 0 || r.referred(q.Referrer)) &&
		(len(r.Agents) == 0 || r.byAgent(q.Agent)) &&
		(len(r.Times) == 0 || r.inTime(q.Time))
}

func (r *Rule) inNetwork(a netip.Addr) bool {
	a = a.Unmap()
	for _, p := range r.Networks {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

func (r *Rule) onPath(path string) bool {
	for _, p := range r.Paths {
		if glob(p, path) {
			return true
		}
	}
	return false
}

func (r *Rule) referred(field string) bool {
	host := hostOf(field)
	for _, pattern := range r.Referrers {
		name, below := strings.CutPrefix(pattern, "*.")
		switch {
		case pattern == "none":
			if field == "" {
				return true
			}
		case below:
			if len(host) > len(name) && strings.EqualFold(host[len(host)-len(name):], name) && host[len(host)-len(name)-1] == '.' {
				return true
			}
		case strings.EqualFold(host, name):
			return true
		}
	}
	return false
}

func (r *Rule) byAgent(field string) bool {
	for _, part := range r.Agents {
		if containsFold(field, part) {
			return true
		}
	}
	return false
}

func (r *Rule) inTime(now time.Time) bool {
	for i := range r.Times {
		if r.Times[i].Contains(now) {
			return true
		}
	}
	return false
}
