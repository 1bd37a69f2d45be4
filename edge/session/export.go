package session

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"
)

// exportPart is how many sessions one part of an export has at most, but for its last group: about 300 KB.
const exportPart = 1000

// Export hands all that is here to another process that takes over as this node, in parts, each for [Book.Import] there. Leases
// are spans, so that the parts should not wait. What changes meanwhile may be missing; importing twice does no harm. The
// error is hand's.
func (b *Book) Export(hand func(part []byte) error) error {
	for i := range b.shards {
		var messages []*message
		for _, place := range b.shards[i].places() {
			messages = append(messages, b.shards[i].export(place, time.Now())...)
		}
		for len(messages) > 0 {
			size, n := 0, 0
			for ; n < len(messages) && size < exportPart; n++ {
				size += len(messages[n].Sessions)
			}
			if err := hand(encode(messages[:n])); err != nil {
				return err
			}
			messages = messages[n:]
		}
	}
	return nil
}

// places lists those of the groups.
func (s *shard) places() []Place {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.groups))
}

// export copies a group, a large one in several messages; none where it is not here.
func (s *shard) export(place Place, now time.Time) (messages []*message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.groups[place]
	if g == nil {
		return nil
	}
	m := &message{Verb: merge, Place: place, Part: true}
	for _, e := range g.sessions {
		if len(m.Sessions) == exportPart {
			messages = append(messages, m)
			m = &message{Verb: merge, Place: place, Part: true}
		}
		m.Sessions = append(m.Sessions, toWire(e, now))
	}
	m.Part = g.part // with the last of its messages a group is as whole as it was
	return append(messages, m)
}

// Import takes in a part of another process's [Book.Export]. Sessions beyond Options.Max are left out.
func (b *Book) Import(part []byte) error {
	var messages []*message
	if err := json.Unmarshal(part, &messages); err != nil {
		return fmt.Errorf("session: a part of an export is malformed: %w", err)
	}
	b.takeMany(messages)
	return nil
}
