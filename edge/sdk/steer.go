package sdk

import (
	"cmp"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// steeringManifest is the answer (RFC 8216bis, 7.2).
type steeringManifest struct {
	Version  int      `json:"VERSION"`
	TTL      int      `json:"TTL"`
	Reload   string   `json:"RELOAD-URI"`
	Priority []string `json:"PATHWAY-PRIORITY"`
	Clones   []clone  `json:"PATHWAY-CLONES,omitempty"`
}

// clone lets a player use a pathway that the manifest does not list.
type clone struct {
	Base        string      `json:"BASE-ID"`
	ID          string      `json:"ID"`
	Replacement replacement `json:"URI-REPLACEMENT"`
}

type replacement struct {
	Host   string            `json:"HOST"`
	Params map[string]string `json:"PARAMS,omitempty"`
}

// maxListed bounds the pathways that a question may name: manifests list fewer.
const maxListed = 16

// question is what a player asks with: the query of its URL, without what the player adds.
type question struct {
	asset   string
	session string
	from    string   // the pathway of the manifest's own URLs; "": ".", as in all MPDs
	listed  []string // the others that the manifest lists
	avoid   shunned
}

// shunned is a pathway that did badly for a viewer. It travels in the URL of the next question, so that nothing is kept here.
type shunned struct {
	pathway string
	until   int64 // Unix seconds
}

// shunTime is how long: a few times the TTL, as the viewer else came back before anything can have changed.
const shunTime = 5 * time.Minute

func (q *question) path() string {
	query := url.Values{}
	for name, value := range map[string]string{"session": q.session, "from": q.from, "listed": strings.Join(q.listed, ",")} {
		if value != "" {
			query.Set(name, value)
		}
	}
	if q.avoid.pathway != "" {
		query.Set("avoid", q.avoid.pathway+"@"+strconv.FormatInt(q.avoid.until, 10))
	}
	return expand("/steer/v1/{asset}", q.asset) + "?" + query.Encode()
}

func readQuestion(asset string, query url.Values, now time.Time) (*question, *problem) {
	if p := checkName(asset); p != nil {
		return nil, p
	}
	q := &question{asset: asset, session: query.Get("session"), from: query.Get("from")}
	if list := query.Get("listed"); list != "" {
		q.listed = strings.Split(list, ",")
	}
	if id, until, ok := strings.Cut(query.Get("avoid"), "@"); ok {
		seconds, err := strconv.ParseInt(until, 10, 64)
		if err == nil && seconds > now.Unix() && seconds <= now.Add(shunTime).Unix() {
			q.avoid = shunned{id, seconds}
		}
	}
	named := map[string][]string{"from": {cmp.Or(q.from, ".")}, "listed": q.listed, "avoid": {cmp.Or(q.avoid.pathway, ".")}}
	for _, field := range []string{"from", "listed", "avoid"} {
		if len(named[field]) > maxListed || slices.ContainsFunc(named[field], func(id string) bool { return id != "." && !isPathway(id) }) {
			p := newProblem("request", field+" is the name of a pathway, or a list of them")
			p.Field = field
			return nil, p
		}
	}
	return q, nil
}

func isPathway(id string) bool {
	return id != "" && len(id) <= 64 && id != "." && !strings.ContainsFunc(id, func(r rune) bool { return notWord(r) || r == ':' })
}

// steer answers a player that asks where to load from next.
func (a *API) steer(w http.ResponseWriter, r *http.Request) *problem {
	now := time.Now()
	q, p := readQuestion(r.PathValue("asset"), r.URL.Query(), now)
	if p != nil {
		return p
	}
	v := a.viewerOf(q, r)
	if v.starves = a.options.Starves != nil && a.options.Starves(r); v.starves && v.current != "" {
		q.avoid = shunned{v.current, now.Add(shunTime).Unix()}
	}
	plan := a.plan(r, now)
	ways, troubled := plan.ways(v)

	m := steeringManifest{Version: 1, TTL: int(cmp.Or(a.options.Steering.TTL, defaultTTL).Seconds())}
	if troubled {
		m.TTL = min(m.TTL, int(troubledTTL.Seconds()))
	}
	// Absolute: shaka resolves no other one that comes in an answer.
	m.Reload = cmp.Or(a.server(plan, ways, true), base(r)) + q.path()
	// dash.js says nothing of itself in its first question.
	dash := r.URL.Query().Has("_DASH_pathway") || q.from == "" && !r.URL.Query().Has("_HLS_pathway")
	for _, way := range ways {
		m.Priority = append(m.Priority, way.ID)
		if way.ID != cmp.Or(q.from, ".") && !slices.Contains(q.listed, way.ID) {
			m.clone(cmp.Or(q.from, "."), &way, portOf(r.Host), dash)
		}
	}
	if len(m.Priority) == 0 {
		m.Priority = []string{cmp.Or(q.from, ".")}
	}
	writeJSON(w, http.StatusOK, m)
	return nil
}

// clone adds a way that the manifest does not list. In HLS a clone has another host and the same port (RFC 8216bis, 7.2): a player
// uses one at another port only if its manifest lists it. In DASH the host has its port with it.
func (m *steeringManifest) clone(from string, way *Pathway, port string, dash bool) {
	host := way.Host
	if !dash {
		if host = strings.TrimSuffix(host, port); portOf(host) != "" {
			return
		}
	}
	m.Clones = append(m.Clones, clone{Base: from, ID: way.ID, Replacement: replacement{Host: host, Params: way.Params}})
}

// portOf is the port of an authority with its colon, "" where it names none.
func portOf(authority string) string {
	i := strings.LastIndexByte(authority, ':')
	if i < 0 || strings.HasSuffix(authority, "]") {
		return ""
	}
	return authority[i:]
}

// viewerOf is who asks, with what the player says of the pathways that it has used: in HLS one, in DASH a list, each with
// its throughput.
func (a *API) viewerOf(q *question, r *http.Request) *steered {
	query := r.URL.Query()
	address, _, _ := net.SplitHostPort(r.RemoteAddr) // the next question may come from another port
	v := &steered{asset: q.asset, viewer: cmp.Or(q.session, address), avoid: q.avoid.pathway}
	names := strings.Split(strings.Trim(cmp.Or(query.Get("_HLS_pathway"), query.Get("_DASH_pathway")), `"`), ",")
	rates := strings.Split(strings.Trim(cmp.Or(query.Get("_HLS_throughput"), query.Get("_DASH_throughput")), `"`), ",")
	if len(names) > maxListed {
		return v
	}
	// dash.js puts the one that it uses now behind those before it, and behind these, of a live title, those that it had the
	// MPD from, which are edges: where it names another way, media comes from there. With one name there is no doubt.
	v.current = names[len(names)-1]
	for _, name := range names {
		if slices.ContainsFunc(a.options.Steering.Pathways, func(p Pathway) bool { return p.ID == name }) {
			v.current = name
		}
	}
	for i, name := range names {
		if i < len(rates) {
			if rate, err := strconv.ParseInt(rates[i], 10, 64); err == nil && rate > 0 {
				v.rates = append(v.rates, measured{name, rate})
			}
		}
	}
	return v
}

// server is the base URL of who answers the next question, or the first one of a manifest.
//
// One that is lost can say nothing any more, and players ask nobody else. So a viewer asks an edge that it does not load from, where
// there is one: whichever of the two is lost, the viewer either hears where to go or need not go.
func (a *API) server(p *plan, ways []Pathway, next bool) string {
	if a.options.Steering.Server != "" {
		return a.options.Steering.Server
	}
	if next {
		for i := range ways {
			// Edges stand in order: the second is the first that may be asked.
			switch way := &ways[(i+1)%len(ways)]; {
			case way.ID == p.here:
				return "" // the host that the viewer knows
			case p.edge(way.ID):
				return p.scheme + way.Host
			}
		}
	}
	return ""
}

// Steered is how a manifest is to send a viewer.
type Steered struct {
	Server string    // the URL that a player asks; absolute, as not every player resolves it against its manifest
	First  string    // the pathway to begin with
	Listed []Listing // what a manifest lists, for players that cannot use clones: this node, then others, the best first
}

// Listing is a pathway that a manifest lists.
type Listing struct {
	Pathway string
	Base    string // https://host:port
	Edge    bool   // it has manifests for this viewer; others have media
}

// listings is how many pathways a manifest lists: what a title's viewers are spread over, and one to fall back to. All
// others can be had as clones.
const listings = 4

// Steer tells how the manifest of an asset sends the viewer of a session, from this node. dash: it is an MPD, which lists this
// node like the others and has "." as the base of clones.
func (a *API) Steer(r *http.Request, asset, session string, dash bool) Steered {
	p, own := a.plan(r, time.Now()), a.options.Node
	ways, _ := p.ways(&steered{asset: asset, viewer: session})
	s := Steered{First: own, Listed: []Listing{{own, base(r), true}}}
	q := question{asset: asset, session: session, from: own}
	if dash {
		q.from, q.listed = "", []string{own}
	}
	for i, way := range ways {
		listed := way.ID == own
		if !listed && len(way.Params) == 0 && len(s.Listed) < listings {
			s.Listed = append(s.Listed, Listing{way.ID, p.scheme + way.Host, p.edge(way.ID)})
			q.listed = append(q.listed, way.ID)
			listed = true
		}
		if i == 0 && listed {
			s.First = way.ID
		}
	}
	s.Server = cmp.Or(a.server(p, ways, false), base(r)) + q.path()
	return s
}

// plan is what steering depends on now.
func (a *API) plan(r *http.Request, now time.Time) *plan {
	scheme := "http://"
	if r.TLS != nil {
		scheme = "https://"
	}
	return &plan{policy: &a.options.Steering, here: a.options.Node, nodes: a.nodes(r), scheme: scheme, now: now}
}
