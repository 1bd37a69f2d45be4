package cluster

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
)

// MaxNews is how many bytes one message to all members may have: with what gossip adds, it fits into one packet of the
// 1,400 bytes that the gossip library sends at most.
const MaxNews = 1200

const (
	maxNewsWaiting = 256 // messages that wait for packets; when there are more the oldest go
	maxNewsHeard   = 256 // messages that wait for Options.News; while there are so many, what arrives is dropped
	newsMult       = 4   // the gossip library's own RetransmitMult for its news of members
)

// news are small messages that travel with gossip, for every member and without an answer. The queue of the gossip
// library is not used: it wants a message to be bytes from the beginning, and these say how old they are.
type news struct {
	heard   chan []byte
	dropped atomic.Int64

	mu      sync.Mutex  // guards the fields below, not the messages
	waiting []*newsItem // the oldest first
}

// newsItem is a message on its way.
type newsItem struct {
	message func() []byte
	sent    int // packets; guarded by news.mu
}

func newNews() *news { return &news{heard: make(chan []byte, maxNewsHeard)} }

// Tell sends a message to all members, in a few packets to random ones, from now on: with the next packet that has room
// for it. Some may not get it, others several times (see Options.News): who takes it for news tells it again, or it does
// not get around. message is called for each packet, from any goroutine, and returns what the message is at that time,
// or nil when nobody needs it any more; it must not block. Its result is not changed. False: it is longer than MaxNews,
// and nobody is told.
func (c *Cluster) Tell(message func() []byte) bool {
	if len(message()) > MaxNews {
		return false
	}
	n := c.news
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.waiting) == maxNewsWaiting {
		n.waiting = slices.Delete(n.waiting, 0, 1)
		n.dropped.Add(1)
	}
	n.waiting = append(n.waiting, &newsItem{message: message})
	return true
}

// take returns messages for one packet, those sent least often first. sends is in how many packets each goes out.
func (n *news) take(overhead, limit, sends int) [][]byte {
	n.mu.Lock()
	waiting := slices.Clone(n.waiting)
	slices.SortStableFunc(waiting, func(a, b *newsItem) int { return a.sent - b.sent })
	n.mu.Unlock()
	var texts [][]byte
	taken := map[*newsItem]int{} // how often each counts as sent
	for _, item := range waiting {
		switch text := item.message(); {
		case text == nil:
			taken[item] = sends
		case overhead+len(text) <= limit:
			limit -= overhead + len(text)
			texts = append(texts, text)
			taken[item] = 1
		}
	}
	if len(taken) == 0 {
		return nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for item, times := range taken {
		item.sent += times
	}
	n.waiting = slices.DeleteFunc(n.waiting, func(item *newsItem) bool { return item.sent >= sends })
	return texts
}

// newsSends is in how many packets a message goes out for that many members: as often as the library sends its own.
func newsSends(members int) int {
	return newsMult * int(math.Ceil(math.Log10(float64(members+1))))
}

// arrived takes a copy of a message.
func (n *news) arrived(message []byte) {
	select {
	case n.heard <- bytes.Clone(message):
	default:
		n.dropped.Add(1)
	}
}

// hear hands what arrives to Options.News until ctx ends.
func (c *Cluster) hear(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case message := <-c.news.heard:
			c.handOver(message)
		}
	}
}

func (c *Cluster) handOver(message []byte) {
	defer func() {
		if v := recover(); v != nil {
			c.panics.Add(1)
			c.log.Error("panic over a message to all members", "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
		}
	}()
	c.options.News(message)
}
