package ring

// Tiers are the tables by which one node chooses whom to ask for a key, from near to far. The rings are immutable and the
// map is not changed either, so that a copy may be used by any number of goroutines. Tables that have the same nodes are
// one *Ring. The zero value is a node that stands alone.
type Tiers struct {
	Zone   *Ring            // the node's own zone: its owners are asked first
	Shield *Ring            // the nodes of its region that ask further up, for all zones
	Homes  map[string]*Ring // the shields of the other regions that can be reached, by region
}
