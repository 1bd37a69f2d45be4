package notice

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// Region is another region, as a relay knows it.
type Region struct {
	Name   string
	Relays []Peer // of that region
}

// Elsewhere is the Receipt.Region of what no relay could be asked to carry: to whom is known to relays alone.
const Elsewhere = "other regions"

// reach is how far whoever gets a notice brings it.
type reach string

const (
	reachNode    reach = ""        // no further
	reachRegion  reach = "region"  // to the members of its region
	reachRegions reach = "regions" // to a relay of each other region, which brings it to the members there
)

func (r reach) valid() bool { return r == reachNode || r == reachRegion || r == reachRegions }

var (
	errNoRelay  = errors.New("no relay of this region has answered")
	errNotRelay = errors.New("notice: this node is no relay: it knows no other regions")
)

// bring does what else the sender of a notice wants done with it.
func (b *Board) bring(ctx context.Context, records []Record, how reach) (receipts []Receipt, err error) {
	if len(records) != 1 {
		return nil, errMessage
	}
	r := records[0]
	r.born = time.Now().Add(-r.Age)
	limit := b.options.PostTimeout
	if how == reachRegions {
		limit = b.options.RegionTimeout
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit) // who asked may go
	defer cancel()
	switch {
	case how == reachRegion:
		return b.tell(ctx, r, time.Now(), nil), nil
	case len(b.regions()) == 0:
		return nil, errNotRelay
	}
	return b.abroad(ctx, r, time.Now()), nil
}

func (b *Board) regions() []Region {
	if b.options.Regions == nil {
		return nil
	}
	return b.options.Regions()
}

// farther has a notice brought to other regions: by this node, where it is a relay, else by the first relay of its own
// region that is heard to have obeyed and does it. heard is closed when no more will be.
func (b *Board) farther(ctx context.Context, r Record, began time.Time, heard <-chan Peer) []Receipt {
	if len(b.regions()) > 0 {
		return b.abroad(ctx, r, began)
	}
	err := errNoRelay
	for {
		var relay Peer
		select {
		case next, ok := <-heard:
			if !ok {
				return []Receipt{{Region: Elsewhere, Err: err}}
			}
			relay = next
		case <-ctx.Done():
			return []Receipt{{Region: Elsewhere, Err: err}}
		}
		var a answer
		if a, err = b.hand(ctx, relay, r, reachRegions); err == nil {
			return a.receipts(time.Since(began))
		}
	}
}

// abroad brings a notice to a relay of each other region.
func (b *Board) abroad(ctx context.Context, r Record, began time.Time) (receipts []Receipt) {
	regions := b.regions()
	each := make([][]Receipt, len(regions))
	var sends sync.WaitGroup
	for i, region := range regions {
		sends.Go(func() { each[i] = b.tellRegion(ctx, region, r, began) })
	}
	sends.Wait()
	for _, of := range each {
		receipts = append(receipts, of...)
	}
	return receipts
}

// tellRegion asks one relay of a region after the other, until one has told the members there. Each but the last gets
// half of the time that is left.
func (b *Board) tellRegion(ctx context.Context, region Region, r Record, began time.Time) []Receipt {
	err := errLost
	relays := shuffled(region.Relays)
	for i, relay := range relays {
		try, cancel := ctx, context.CancelFunc(func() {})
		if deadline, ok := ctx.Deadline(); ok && i < len(relays)-1 {
			try, cancel = context.WithTimeout(ctx, time.Until(deadline)/2)
		}
		var a answer
		a, err = b.hand(try, relay, r, reachRegion)
		cancel()
		if err != nil {
			b.options.Log.Debug("a relay of another region does not answer", "region", region.Name, "member", relay.Name, "error", err)
			continue
		}
		took := time.Since(began)
		own := Receipt{Node: relay.Name, Removed: a.Removed, Took: took}
		receipts := append([]Receipt{own}, a.receipts(took)...)
		for i := range receipts {
			receipts[i].Region = region.Name
		}
		return receipts
	}
	return []Receipt{{Region: region.Name, Err: err}}
}

// hand sends one node a notice to bring farther.
func (b *Board) hand(ctx context.Context, to Peer, r Record, how reach) (answer, error) {
	text, err := encode(message{Records: []Record{r.aged(time.Now())}, Reach: how})
	if err != nil {
		return answer{}, err
	}
	return b.send(ctx, to, text)
}

// shuffled returns the peers that are not lost in random order.
func shuffled(peers []Peer) []Peer {
	there := make([]Peer, 0, len(peers))
	for _, peer := range peers {
		if !peer.Lost {
			there = append(there, peer)
		}
	}
	rand.Shuffle(len(there), func(i, j int) { there[i], there[j] = there[j], there[i] })
	return there
}

// exchangeAbroad has a relay exchange notices with one of another region, every second Options.Interval, until ctx
// ends: so a region that was cut off catches up.
func (b *Board) exchangeAbroad(ctx context.Context) {
	for b.pause(ctx, 2*b.options.Interval) {
		if relay, ok := b.foreign(); ok {
			b.exchangeWith(ctx, relay)
		}
	}
}

// foreign returns a relay of another region at random.
func (b *Board) foreign() (Peer, bool) {
	regions := slices.Clone(b.regions())
	rand.Shuffle(len(regions), func(i, j int) { regions[i], regions[j] = regions[j], regions[i] })
	for _, region := range regions {
		if relays := shuffled(region.Relays); len(relays) > 0 {
			relays[0].far = true
			return relays[0], true
		}
	}
	return Peer{}, false
}

// receipt is a Receipt on its way.
type receipt struct {
	Node    string `json:"node,omitempty"`
	Region  string `json:"region,omitempty"`
	Removed int    `json:"removed"`
	Error   string `json:"error,omitempty"`
}

func (r receipt) valid() bool {
	return len(r.Node) <= maxName && len(r.Region) <= maxName && r.Node+r.Region != "" && r.Removed >= 0
}

func toSend(receipts []Receipt) []receipt {
	all := make([]receipt, 0, len(receipts))
	for _, r := range receipts {
		text := ""
		if r.Err != nil {
			text = reason(r.Err)
		}
		all = append(all, receipt{r.Node, r.Region, r.Removed, text})
	}
	return all
}

// receipts are those of other nodes than the one that answers; by now they had all acknowledged.
func (a *answer) receipts(took time.Duration) []Receipt {
	all := make([]Receipt, 0, len(a.Receipts))
	for _, r := range a.Receipts {
		receipt := Receipt{Node: r.Node, Region: r.Region, Removed: r.Removed, Took: took}
		if r.Error != "" {
			receipt.Err = errors.New(r.Error)
		}
		all = append(all, receipt)
	}
	return all
}

func reason(err error) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return "no answer"
	}
	return err.Error()
}
