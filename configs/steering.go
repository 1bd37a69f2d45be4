package configs

import (
	"fmt"
	"net/url"
	"os"
	"reflect"
	"strconv"
	"time"
)

// Steering says how viewers are spread over edges and other ways to the same content.
type Steering struct {
	// PolicyFile has these keys in a file of their own, all but this one: they take the place of those here. Empty: none.
	PolicyFile string `yaml:"policy_file"`
	// Server is the URL of who answers players, https://HOST. Empty: the edges themselves, by their own names.
	Server string `yaml:"server"`
	// TTL is how long a player keeps to an answer. 0 means 60 s.
	TTL Duration `yaml:"ttl"`
	// Spread is how many edges the viewers of a title go to. 0 means 2.
	Spread int `yaml:"spread"`
	// Weight is the share of viewers that the edges get together, relative to Pathways. 0 means 1.
	Weight float64 `yaml:"weight"`
	// Pathways are other ways to the same content.
	Pathways []Pathway `yaml:"pathways"`
}

// Pathway is another way to the same content, such as another CDN.
type Pathway struct {
	// ID is its name: letters, digits, '.', '-' and '_', none of a node.
	ID string `yaml:"id"`
	// Host takes the place of an edge's host, and port, in all URLs.
	Host string `yaml:"host"`
	// Weight is its share of viewers. 0: it stands in when others fail.
	Weight float64 `yaml:"weight"`
	// Hours are other weights at some times; the first that fits counts.
	Hours []Hours `yaml:"hours"`
	// Contract has the weight follow a volume.
	Contract Contract `yaml:"contract"`
	// Regions are those whose viewers may go there. Empty: all.
	Regions []string `yaml:"regions"`
	// Params are added to the query of every URL.
	Params map[string]string `yaml:"params"`
}

// Hours is a weight at some times of the week.
type Hours struct {
	When   string  `yaml:"when"` // as in Rule.Times
	Weight float64 `yaml:"weight"`
}

// Contract is a volume that a pathway is to serve from a day up to another one. There is none where Volume is 0.
type Contract struct {
	From   string `yaml:"from"` // see ParseDay
	Until  string `yaml:"until"`
	Volume Bytes  `yaml:"volume"`
	Served Bytes  `yaml:"served"`
}

// ParseDay reads YYYY-MM-DD, which begins at midnight UTC, or a moment as RFC 3339 has it.
func ParseDay(text string) (time.Time, error) {
	if day, err := time.Parse(time.DateOnly, text); err == nil {
		return day, nil
	}
	return time.Parse(time.RFC3339, text)
}

// LoadSteering reads a policy file and checks it. The error is a [Problems], or says why the file could not be read.
func LoadSteering(path string) (*Steering, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read steering policy: %w", err)
	}
	s := &Steering{}
	c := &Config{file: path, marks: map[string]mark{}}
	d := &decoder{file: path, marks: c.marks}
	if root := d.parse(text); root != nil {
		d.mapping(root, "", reflect.ValueOf(s).Elem())
	}
	if len(d.problems) > 0 {
		return nil, d.problems
	}
	v := &validator{c: c}
	if s.PolicyFile != "" {
		v.bad("policy_file", s.PolicyFile, "stands in a policy file", "remove it: there is one file")
	}
	v.steering("", s)
	if len(v.problems) > 0 {
		return nil, v.problems
	}
	return s, nil
}

func (v *validator) steering(path string, s *Steering) {
	if s.Server != "" && !isServer(s.Server) {
		v.bad(join(path, "server"), s.Server, strconv.Quote(s.Server)+" is no server", "write server: https://steer.example.com")
	}
	if s.TTL < 0 {
		v.bad(join(path, "ttl"), s.TTL, "is negative", "write ttl: 60s")
	}
	if s.Spread < 0 {
		v.bad(join(path, "spread"), s.Spread, "is negative", "write a number of edges")
	}
	v.share(join(path, "weight"), s.Weight)
	seen := map[string]bool{}
	for i, p := range s.Pathways {
		at := itemPath(join(path, "pathways"), i)
		switch {
		case !plainName(p.ID, 64):
			v.bad(at+".id", p.ID, strconv.Quote(p.ID)+" is no name of a pathway", "write letters, digits, '.', '-' and '_'")
			v.placeAt(at)
		case seen[p.ID]:
			v.bad(at+".id", p.ID, "another pathway is called so", "give each a name of its own")
		}
		seen[p.ID] = true
		if u, err := url.Parse("https://" + p.Host); err != nil || p.Host == "" || u.Host != p.Host {
			v.bad(at+".host", p.Host, strconv.Quote(p.Host)+" is no host", "write host: video.example.com, with a port if need be")
			v.placeAt(at)
		}
		v.share(at+".weight", p.Weight)
		for j, h := range p.Hours {
			v.share(itemPath(at+".hours", j)+".weight", h.Weight)
		}
		v.contract(at+".contract", &p.Contract)
	}
}

func (v *validator) share(path string, weight float64) {
	if !(weight >= 0 && weight <= 1e6) {
		v.bad(path, weight, "is not from 0 to 1000000", "write weight: 1, or 0 to stand in for others")
	}
}

func (v *validator) contract(path string, c *Contract) {
	if *c == (Contract{}) {
		return
	}
	from, err := ParseDay(c.From)
	if err != nil {
		v.bad(path+".from", c.From, strconv.Quote(c.From)+" is no day", "write from: 2026-01-01")
		v.placeAt(path)
	}
	until, errUntil := ParseDay(c.Until)
	if errUntil != nil || err == nil && !from.Before(until) {
		v.bad(path+".until", c.Until, strconv.Quote(c.Until)+" is no later day", "write until: 2027-01-01, the day after the last")
		v.placeAt(path)
	}
	if c.Volume <= 0 {
		v.bad(path+".volume", c.Volume, "is nothing", "write volume: 500TB")
		v.placeAt(path)
	}
	if c.Served < 0 {
		v.bad(path+".served", c.Served, "is negative", "write served: 0, or what was served up to now")
	}
}

// isServer tells whether a text is https://HOST, or http://HOST.
func isServer(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" && text == u.Scheme+"://"+u.Host
}
