package notice

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

const gossipPace = 100 * time.Millisecond

// gossips gives a node packets: each pace one goes to a random other node, four times.
func (r *room) gossips(name string, packets *atomic.Int64) func(*Options) {
	return func(o *Options) {
		o.Gossip = func(message func() []byte) bool {
			if len(message()) > 1200 {
				return false
			}
			go func() { // ends after four paces
				for range 4 {
					time.Sleep(gossipPace)
					text := message()
					if text == nil {
						return
					}
					others := r.others(name)
					to := others[rand.IntN(len(others))]
					packets.Add(1)
					r.mu.Lock()
					s := r.seats[to.Name]
					r.mu.Unlock()
					s.Hear(bytes.Clone(text))
				}
			}()
			return true
		}
	}
}

// TestGossipIsASecondRoad: a node that nobody can connect to hears of a notice by packets, though the one who posted it
// sends it none, and knows how old it is.
func TestGossipIsASecondRoad(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(t, 1)
		var packets atomic.Int64
		names := []string{"a", "b", "c", "d", "e"}
		for _, name := range names {
			r.enter(name, r.gossips(name, &packets))
		}
		e := r.seats["e"]
		synctest.Wait()
		// What all have acknowledged needs no packet.
		r.seats["a"].post(`1`)
		time.Sleep(time.Second)
		if n := packets.Load(); n > 0 {
			t.Errorf("%d packets carry what everybody has acknowledged", n)
		}
		r.part(func(from, to string) bool { return from == "e" || to == "e" })
		posted := time.Now()
		receipts := r.seats["a"].post(`2`)
		if receipts[3].Node != "e" || receipts[3].Err == nil {
			t.Errorf("got %+v, want e missing", receipts)
		}
		for deadline := posted.Add(2 * time.Second); e.count(`2`) == 0 && time.Now().Before(deadline); {
			time.Sleep(10 * time.Millisecond)
		}
		took := time.Since(posted).Round(10 * time.Millisecond)
		if e.count(`2`) != 1 || took > 10*gossipPace {
			t.Errorf("e heard of it %d times in %s", e.count(`2`), took)
		}
		if old := e.ageOf(`2`); old > took || took-old > 10*time.Millisecond {
			t.Errorf("it came as %s old after %s", old, took)
		}
		if e.Stats().Gossiped != 1 {
			t.Errorf("got %+v", e.Stats())
		}
		// What is too long for a packet waits for the exchange.
		long := `"` + string(bytes.Repeat([]byte("x"), 2000)) + `"`
		r.seats["a"].post(long)
		time.Sleep(2 * time.Second)
		if e.count(long) != 0 {
			t.Error("2000 bytes came by a packet")
		}
		r.part(nil)
		time.Sleep(5 * time.Second)
		if e.count(long) != 1 || e.count(`2`) != 1 {
			t.Errorf("after the heal e has heard %d and %d times, want once", e.count(long), e.count(`2`))
		}
		before := packets.Load()
		time.Sleep(time.Minute)
		if packets.Load() > before {
			t.Error("packets go around for ever")
		}
		for _, name := range names {
			r.seats[name].leave()
		}
	})
}

// TestGossipOfWhatIsOver: what is not noted is no news, however often it comes.
func TestGossipOfWhatIsOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(t, 1)
		told := 0
		a := r.enter("a", func(o *Options) { o.Gossip = func(func() []byte) bool { told++; return true } })
		synctest.Wait()
		text := func(r Record) []byte {
			r.Body = json.RawMessage(`1`)
			text, err := encode(r)
			if err != nil {
				t.Fatal(err)
			}
			return text
		}
		for _, old := range [][]byte{
			text(Record{Origin: Origin{"x", 1}, Sequence: 1, Age: DefaultKeep}), text(Record{Origin: a.self, Sequence: 9}), nil, []byte("{"), []byte("null"),
		} {
			a.Hear(old)
		}
		if told != 0 || a.count(`1`) != 0 {
			t.Errorf("heard %d times, told %d times, want nothing", a.count(`1`), told)
		}
		a.failWith(errors.New("disk full"))
		news := text(Record{Origin: Origin{"x", 1}, Sequence: 1})
		a.Hear(news)
		if told != 0 {
			t.Error("it tells what it does not obey")
		}
		a.failWith(nil)
		for i := range 10_000 { // also who records a packet and plays it later
			a.Hear(news)
			if i%5000 == 0 {
				time.Sleep(time.Hour)
			}
		}
		if told != 1 || a.count(`1`) != 1 {
			t.Errorf("heard %d times, told %d times, want once", a.count(`1`), told)
		}
		a.leave()
	})
}

// FuzzHear: no packet harms, nor goes around more than once.
func FuzzHear(f *testing.F) {
	f.Add([]byte(`{"node":"x","incarnation":1,"sequence":1,"age":7,"body":{"kind":"all"}}`))
	f.Add([]byte(`{"node":"x","incarnation":1,"sequence":18446744073709551615,"age":9223372036854775807,"body":0}`))
	f.Add([]byte(`{"records":[{}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		told := 0
		b, err := New(Options{
			Name: "a", Joined: func() <-chan struct{} { return nil }, Peers: func() []Peer { return nil }, Records: 2, Bytes: 1 << 10,
			Send:   func(context.Context, Peer, []byte) ([]byte, error) { return nil, errors.New("alone") },
			Apply:  func(records []Record) (int, error) { return len(records), nil },
			Lapse:  func(time.Duration) error { return nil },
			Gossip: func(message func() []byte) bool { told++; return len(message()) > 0 },
		}, time.Unix(1e9, 0))
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			b.Hear(text)
		}
		if s := b.Stats(); told > 1 || s.Bytes > 1<<10 {
			t.Fatalf("%q: told %d times, %+v", text, told, s)
		}
	})
}
