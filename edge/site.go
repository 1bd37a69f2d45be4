package edge

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"weir/edge/access"
	"weir/edge/limit"
	"weir/edge/token"
	"weir/edge/upstream"
)

// Site is one host name's rules. Immutable once in use.
type Site struct {
	Hosts  []string // lower case names without port; "*" takes every host no other site names
	Origin *upstream.Group
	Pages  Pages  // Weir's own client paths; nil: every path goes to the origin
	Home   string // the region that the origin is near: nodes of others ask its shields first; "": every region asks the origin

	// Access says who may ask for what; nil: everybody for everything. Other nodes have asked their own clients.
	Access *access.List
	// Tokens says which requests need a token, and which are good; nil: none does. Other nodes have asked their own clients.
	Tokens *token.Verifier
	// CORS lets pages of other origins use what the site serves; nil: as the origin says.
	CORS *CORS
	// Devices gives manifests to clients by what they say they are; nil: to all as they are stored.
	Devices *Devices
	// Tailor says what else is to be made of a manifest for who asks; target is canonical, without what names a device
	// class. It is called once for each request of a manifest by a client that may have it. nil: nothing.
	Tailor func(r *http.Request, target Target) Tailoring
	// Limits bound what clients may have; nil: nothing is bounded.
	Limits *Limits
	// Reports says what is made of players' reports; nil: nothing.
	Reports *Reports
	// Headers are set on every response to clients, in canonical form.
	Headers http.Header

	// Heuristic gives responses that name no lifetime one by their Last-Modified
	// (RFC 9111, 4.2.2); see freshness.Heuristic.
	Heuristic bool
	// Surrogate obeys Surrogate-Control, tells origins so in Surrogate-Capability,
	// and takes the field off what clients get.
	Surrogate bool
	// ShowTags leaves Surrogate-Key, Cache-Tag and Edge-Cache-Tag on what clients get.
	ShowTags bool
	// Targeted names fields like CDN-Cache-Control (RFC 9213) that are obeyed before
	// it, in canonical form, the closest first.
	Targeted []string
	// Strict serves nothing that Options.Doubt is about, unless the origin has confirmed it.
	Strict bool
	// RequestControl obeys Cache-Control and Pragma of requests (RFC 9111, 5.2.1):
	// who may send them may make the origin work. Off, only only-if-cached counts.
	RequestControl bool

	fetches *limit.Concurrency // running; of all sites with the same origin; nil without an Overload
}

const surrogateControl = "Surrogate-Control"

// seesSurrogate tells whether the client is to get Surrogate-Control: another
// node, or anyone where the field is not ours to obey.
func (x *Exchange) seesSurrogate() bool { return x.Peer || !x.site.Surrogate }

// Pages answers Weir's own client paths of a site, such as the player page.
type Pages interface {
	// Page is the handler of that canonical path, or nil where it is not Weir's.
	Page(path string) http.Handler
}

// Sites finds the site of a host. Immutable; safe for concurrent use.
type Sites struct {
	list    []*Site
	byHost  map[string]*Site
	all     *Site
	limited bool // a site has limits
}

// NewSites refuses a host that two sites name, and a site without an origin.
func NewSites(sites ...*Site) (*Sites, error) {
	s := &Sites{list: sites, byHost: map[string]*Site{}}
	if len(sites) == 0 {
		return nil, errors.New("edge: at least one site is needed")
	}
	for _, site := range sites {
		if site.Origin == nil {
			return nil, fmt.Errorf("edge: site %s has no origin", strings.Join(site.Hosts, ", "))
		}
		s.limited = s.limited || site.Limits != nil
		for _, host := range site.Hosts {
			switch {
			case host == "*" && s.all != nil, s.byHost[host] != nil:
				return nil, fmt.Errorf("edge: two sites name the host %q", host)
			case host == "*":
				s.all = site
			default:
				s.byHost[host] = site
			}
		}
	}
	return s, nil
}

// find returns nil for a host that no site takes.
func (s *Sites) find(host string) *Site {
	if site := s.byHost[host]; site != nil {
		return site
	}
	return s.all
}
