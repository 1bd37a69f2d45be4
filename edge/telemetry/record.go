package telemetry

import "time"

// Record is one finished request. It is a plain value; the strings are not kept longer than the call that takes it,
// except in the queue of the access log.
type Record struct {
	Time        time.Time     // when the request arrived
	Node        string        // the node that answered
	Site        string        // the site's name, usually its first host; bounded by MetricsOptions.Sites
	Method      string        // as received
	Host        string        // the Host field as received
	Path        string        // the request target as received, with its query; redacted when logged
	Protocol    Protocol      // how it came
	Status      int           // the status sent
	Bytes       int64         // body bytes sent
	Duration    time.Duration // from the request head to the last byte
	FirstByte   time.Duration // from the request head to the response head
	Outcome     Outcome       // how it was answered
	Source      Source        // who had the response
	Client      string        // the client's address
	UserAgent   string        // as received
	CacheStatus string        // our member of Cache-Status (RFC 9211)
	Session     string        // the play session, as the player says (CMCD sid), empty where it does not
	Report      string        // what the player says, as a CMCD dictionary; redacted when logged
	Error       string        // what went wrong, empty otherwise; redacted when logged
}

// Protocol is how a request came.
type Protocol uint8

// The protocols. Peer is another node of the cluster, whatever HTTP it speaks: its requests are counted apart, for a
// viewer's request that travels through two nodes is one request.
const (
	H1 Protocol = iota
	H2
	H3
	Peer

	protocols = 4
)

// String is the label: h1, h2, h3 or peer.
func (p Protocol) String() string {
	switch p {
	case H2:
		return "h2"
	case H3:
		return "h3"
	case Peer:
		return "peer"
	default:
		return "h1"
	}
}

// ProtocolOf returns the protocol of http.Request.ProtoMajor.
func ProtocolOf(major int) Protocol {
	switch major {
	case 2:
		return H2
	case 3:
		return H3
	}
	return H1
}

// Outcome is how a request was answered, in the words of Cache-Status (RFC 9211).
type Outcome uint8

// The outcomes.
const (
	Hit       Outcome = iota // from a fresh stored response
	Stale                    // from a stale stored response
	Miss                     // this request caused the fetch
	Collapsed                // from a fetch that another request caused
	Pass                     // forwarded without the cache
	Local                    // one of Weir's own pages
	Refused                  // turned away before any work
	Error                    // no response could be had

	outcomes = 8
)

// String is the label: hit, stale, miss, collapsed, pass, local, refused or error.
func (o Outcome) String() string {
	switch o {
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
	case Refused:
		return "refused"
	default:
		return "error"
	}
}

// OutcomeOf returns the outcome of that name; what it does not know is an Error.
func OutcomeOf(name string) Outcome {
	switch name {
	case "hit":
		return Hit
	case "stale":
		return Stale
	case "miss":
		return Miss
	case "collapsed":
		return Collapsed
	case "pass":
		return Pass
	case "local":
		return Local
	case "refused":
		return Refused
	}
	return Error
}

// Source is who had the response.
type Source uint8

// The sources.
const (
	Self   Source = iota // this node
	Member               // another node of the cluster
	Origin               // the customer's server

	sources = 3
)

// String is the label: self, peer or origin.
func (s Source) String() string {
	switch s {
	case Member:
		return "peer"
	case Origin:
		return "origin"
	default:
		return "self"
	}
}

// SourceOf returns the source of that name; what it does not know is Self.
func SourceOf(name string) Source {
	switch name {
	case "peer":
		return Member
	case "origin":
		return Origin
	}
	return Self
}

// classes are the values of the label status: other, 1xx … 5xx.
const classes = 6

func classOf(status int) int {
	if class := status / 100; class >= 1 && class <= 5 {
		return class
	}
	return 0
}

func className(class int) string {
	return [classes]string{"other", "1xx", "2xx", "3xx", "4xx", "5xx"}[class]
}
