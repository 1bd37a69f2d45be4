package session

import (
	"encoding/json"
	"fmt"
	"math"
	"time"
)

// exportPart is how many sessions one part of an export has at most, but for its last group: about 300 KB.
const exportPart = 1000

// Export hands all that is here to another process that takes over as this node, in parts, each for [Book.Import] there. Leases
// are spans, so that the parts should not wait. What changes meanwhile may be missing; importing twice does no harm. The
// error is hand's.
func (b *Book) Export(hand func(part []byte) error) error {
	for i := range b.shards {
		messages := b.shards[i].export(time.Now(), math.MaxInt)
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

// export copies the groups of at most that many sessions, those that are large in several messages.
func (s *shard) export(now time.Time, most int) (messages []*message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for place, g := range s.groups {
		if len(g.sessions) > most {
			continue
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
		messages = append(messages, m)
	}
	return messages
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
