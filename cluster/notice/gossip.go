package notice

import (
	"sync/atomic"
	"time"
)

// gossip sends a record by packets, until enough is set: all are known to have it.
func (b *Board) gossip(r Record, enough *atomic.Bool) {
	if b.options.Gossip == nil {
		return
	}
	b.options.Gossip(func() []byte {
		if enough != nil && enough.Load() {
			return nil
		}
		text, err := encode(r.aged(time.Now()))
		if err != nil {
			return nil // not reached: it was encoded before
		}
		return text
	})
}

// Hear takes what Options.Gossip of another node has sent, obeys it if it is new, and sends it on when it has come on this
// road for the first time. Anything may arrive, any number of times: what is no notice is ignored.
func (b *Board) Hear(text []byte) {
	var p packet
	if err := parse(text, &p); err != nil {
		b.options.Log.Debug("a message by gossip is no notice", "error", err)
		return
	}
	r := p.Record
	if r.Origin == b.self {
		return
	}
	before := time.Now()
	b.mu.Lock()
	known := b.log.has(r.Origin, r.Sequence)
	b.mu.Unlock()
	if !known {
		if _, _, err := b.receive([]Record{r}); err != nil {
			b.options.Log.Error("a notice that came by gossip is not obeyed", "member", r.Node, "error", err)
			return
		}
		b.counts[gossiped].Add(1)
	}
	b.mu.Lock()
	first := b.log.pass(r.Origin, r.Sequence)
	b.mu.Unlock()
	if first {
		r.born = before.Add(-r.Age)
		b.gossip(r, nil)
	}
}
