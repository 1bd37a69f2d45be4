package cluster

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// ears are what one node has heard.
type ears struct {
	mu    sync.Mutex // guards the fields below
	heard map[string]int
}

func (e *ears) hear(message []byte) (first bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.heard[string(message)]++
	return e.heard[string(message)] == 1
}

func (e *ears) count(message string) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.heard[message]
}

func said(text string) func() []byte { return func() []byte { return []byte(text) } }

// TestTellReachesAll: a message that everybody tells again gets to all, though a third of the packets is lost, and what
// one of them does to whoever listens is no harm.
func TestTellReachesAll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const size = 10
		net := newMemnet()
		all := make([]*ears, size)
		nodes := make([]*testNode, 0, size)
		for i := range size {
			all[i] = &ears{heard: map[string]int{}}
			o := nodeOptions(net, i)
			o.News = func(message []byte) {
				if string(message) == "panic" {
					panic("of a listener")
				}
				if all[i].hear(message) {
					nodes[i].Tell(said(string(message)))
				}
				clear(message) // it is the listener's
			}
			nodes = append(nodes, start(t, o))
		}
		defer endAll(t, nodes)
		await(t, "one ring", 10*time.Second, func() bool { return agree(size, nodes...) })
		reached := func(message string) func() bool {
			return func() bool {
				for i := 1; i < size; i++ {
					if all[i].count(message) == 0 {
						return false
					}
				}
				return true
			}
		}
		nodes[0].Tell(said("panic"))
		nodes[0].Tell(said("a"))
		t.Logf("heard by all after %s", await(t, "a to be heard by all", time.Second, reached("a")))
		net.split(func(string, string) bool { return rand.IntN(3) == 0 })
		nodes[0].Tell(said("b"))
		t.Logf("with a third of the packets lost after %s", await(t, "b to be heard by all", 2*time.Second, reached("b")))
		net.split(nil)
		panics := int64(0)
		for _, n := range nodes {
			panics += n.Stats().CallbackPanics
		}
		if panics == 0 {
			t.Error("no panic was counted")
		}
		time.Sleep(10 * time.Second)
		for i, n := range nodes {
			n.news.mu.Lock()
			if len(n.news.waiting) > 0 || n.Stats().DroppedNews > 0 {
				t.Errorf("node %d: %d messages wait, %d are lost", i, len(n.news.waiting), n.Stats().DroppedNews)
			}
			n.news.mu.Unlock()
		}
	})
}

func TestNewsAreBounded(t *testing.T) {
	t.Parallel()
	c, err := New(Options{Name: "a"})
	if err != nil {
		t.Fatal(err)
	}
	if c.Tell(said(strings.Repeat("x", MaxNews+1))) {
		t.Error("Tell takes more than fits into a packet")
	}
	for i := range maxNewsWaiting + 3 {
		if !c.Tell(said(fmt.Sprintf("%03d%s", i, strings.Repeat("x", 100)))) {
			t.Fatal("Tell takes nothing")
		}
	}
	if got := c.Stats().DroppedNews; got != 3 {
		t.Errorf("%d are counted as dropped, want 3", got)
	}
	const sends = 2
	for i := range 2 * maxNewsWaiting / 10 { // ten fit into each
		texts := c.news.take(3, 1060, sends)
		if len(texts) != 10 {
			t.Fatalf("packet %d has %d messages, want 10", i, len(texts))
		}
		if want := fmt.Sprintf("%03d", 3+i*10%maxNewsWaiting); i < maxNewsWaiting/10 && string(texts[0][:3]) != want {
			t.Errorf("packet %d begins with %.3s, want %s: those sent least often first", i, texts[0], want)
		}
	}
	if c.news.take(3, 1060, sends); len(c.news.waiting) != 0 {
		t.Errorf("%d wait after each was sent twice", len(c.news.waiting))
	}
	// What nobody needs any more is not sent, and what a message is counts when it goes.
	needed, age := true, 1
	c.Tell(func() []byte {
		if !needed {
			return nil
		}
		return fmt.Append(nil, age)
	})
	age++
	if texts := c.news.take(3, 1000, sends); len(texts) != 1 || string(texts[0]) != "2" {
		t.Errorf("got %q, want what it is now", texts)
	}
	needed = false
	if texts := c.news.take(3, 1000, sends); len(texts) != 0 || len(c.news.waiting) != 0 {
		t.Errorf("got %q, and %d wait, want nothing", texts, len(c.news.waiting))
	}
	// Who is told more than he can hear loses the rest.
	for range maxNewsHeard + 5 {
		c.news.arrived([]byte("x"))
	}
	if got := c.Stats().DroppedNews; got != 8 {
		t.Errorf("%d are counted as dropped, want 8", got)
	}
}
