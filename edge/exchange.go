package edge

import (
	"net/http"
	"time"

	"weir/cache"
	"weir/edge/cmcd"
	"weir/edge/field"
	"weir/edge/token"
	"weir/edge/upstream"
)

// Outcome is how a request was answered, in the words of RFC 9211.
type Outcome uint8

// The outcomes of an exchange.
const (
	Refused   Outcome = iota // turned away before any work
	Hit                      // from a fresh stored response
	Stale                    // from a stale stored response, as its origin or RFC 5861 allows
	Miss                     // this request caused the fetch
	Collapsed                // from a fetch that another request caused
	Pass                     // forwarded without the cache
	Local                    // one of Weir's own pages
	Failed                   // no response could be had
)

// String is the outcome's name in log and metrics.
func (o Outcome) String() string {
	switch o {
	case Refused:
		return "refused"
	case Hit:
		return "hit"
	case Stale:
		return "stale"
	case Miss:
		return "miss"
	case Collapsed:
		return "collapsed"
	case Pass:
		return "pass"
	case Local:
		return "local"
	case Failed:
		return "error"
	}
	return "unknown"
}

// Exchange is one client request and its response. The observer given in
// [Options] sees it when it is over and must not keep it.
type Exchange struct {
	Request   *http.Request
	Target    Target // canonical; zero when the target was refused
	Start     time.Time
	FirstByte time.Duration // from Start to the response head being written
	Duration  time.Duration
	Status    int
	Sent      int64 // body bytes written
	Outcome   Outcome
	Source    upstream.Source // who answered: FromSelf on a hit
	Peer      bool            // another node asked
	Report    *cmcd.Report    // what the player says of itself; nil: nothing, or the site does not ask
	Session   string          // the play session that a manifest is for, as the client says; "": none
	Aborted   bool            // the body was broken off
	Reason    string          // why refused or passed; one of a fixed set of tokens
	Err       error           // what went wrong upstream, or with the token; nil otherwise

	// Subject is whom the request's token speaks for, as the step says that has verified it: what Limits.Token counts by. ""
	// where there is no token.
	Subject string

	w         http.ResponseWriter
	site      *Site
	hops      int // how many nodes the request may still be passed on to
	key       cache.Key
	url       string            // canonical, of the target alone, whatever its responses vary by
	primary   cache.ID          // the hash of url
	status    field.CacheStatus // our member of Cache-Status
	upstream  []string          // Cache-Status members of the upstream that answered this request
	slices    *sliced           // what a large representation is read from
	tailored  *tailored         // the manifest that is made for this viewer; nil: none is
	tailoring tailored          // what it points to: one allocation less
	urgent    bool              // the player waits with an empty buffer
	pressed   bool              // the node is short of something
	preflight bool              // a browser asks whether it may ask
	from      string            // the Origin field, where the site answers to it
	again     bool              // a large representation turned out to have another version
	renewal   *token.Renewal    // a new token for the client; nil: none
	aged      bool              // the upstream that answered this request is a cache itself
	unbounded bool              // the client is exempt from the site's limits
	limits    *limiter          // nil where the site has no limits
	bounded   bounded           // what it counts as, with limits
	// unvalidated tells that a stored response must not be used as nobody could validate it.
	unvalidated bool
	member      string          // status as the response has it; "" while it may still change
	values      [nValues]string // of fields that the response head refers to: one allocation less for each
}

// The fields with a place in Exchange.values.
const (
	valueAge = iota
	valueCacheStatus
	valueContentLength
	valueETag
	valueHop
	nValues
)

// value keeps s and returns it as the one value of a field.
func (x *Exchange) value(place int, s string) []string {
	x.values[place] = s
	return x.values[place : place+1 : place+1]
}

// Site is the first host name of the site that the request is for, "" where none is.
func (x *Exchange) Site() string {
	if x.site == nil {
		return ""
	}
	return x.site.Hosts[0]
}

// CacheStatus is our member of the response's Cache-Status, "" where the
// request was refused or answered by a page of our own.
func (x *Exchange) CacheStatus() string {
	if x.Outcome == Refused || x.Outcome == Local {
		return ""
	}
	if x.member != "" {
		return x.member
	}
	return x.status.String()
}
