package cluster

import "time"

// State is what gossip knows of a member. A suspect member (one that missed a check and may yet answer) counts as Alive:
// the gossip library does not tell them apart, and the request path notices a silent peer much sooner than gossip does.
type State uint8

// The states of a member.
const (
	Alive State = iota
	Left        // said farewell
	Dead        // stopped answering
)

// String returns alive, left or dead.
func (s State) String() string {
	switch s {
	case Alive:
		return "alive"
	case Left:
		return "left"
	case Dead:
		return "dead"
	}
	return "unknown"
}

// MarshalText returns the same as String.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Member is one node as gossip sees it.
type Member struct {
	Name      string
	Addr      string // gossip address, host:port
	PeerAddr  string // host:port of the peer listener
	HTTPAddr  string // public host:port, or ""
	HTTPSAddr string // public host:port, or ""
	Zone      string
	Region    string
	Role      string
	Build     string
	Keys      string // IDs of the secrets it accepts, separated by spaces, that in use first; "" for a node alone
	Weight    float64
	Draining  bool // about to leave
	Shield    bool // asks further up for its region
	Relay     bool // is in the pool of relays too
	Cleartext bool // its peer listener speaks HTTP in the clear, not TLS
	Self      bool // this node
	State     State
	Since     time.Time // when State began, by this node's clock
}
