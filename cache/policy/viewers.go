package policy

import (
	"math"
	"sync"
)

const (
	// viewersKept is how many viewers of one rendition are followed; a new one takes the place of who was longest silent.
	viewersKept = 6
	// firstPace is how long a segment is taken to last until that is known, in milliseconds.
	firstPace = 6000
	// silence is after how many segments' time a viewer has left.
	silence = 5
	// lookahead bounds how far ahead of a viewer a segment is expected to be asked for.
	lookahead = 256
	// stayVideo and stayAudio are how likely a viewer asks for the next segment of the same rendition. Few sessions last to
	// the end, and few players stay with a rendition; the hit ratio hardly depends on either.
	stayVideo, stayAudio = 0.965, 0.985
	// nearSegments is how close behind the head a request is one of a viewer at the live edge.
	nearSegments = 4
	// liveNear is how many such requests it takes to call a stream live.
	liveNear = 4
	// recentSum is where the counts of near and far requests are halved.
	recentSum = 64
)

// viewers follows who walks through streams. It knows the streams that were asked for last; a new one takes the place of
// one long unused.
type viewers struct {
	shards [viewerShards]viewerShard
	limit  int // streams a shard
	// ahead is what a viewer so many segments before one promises, by kind: the chance over the time, in units of a pace.
	ahead [2][lookahead]float32
}

const viewerShards = 16

type viewerShard struct {
	mu    sync.Mutex // guards the fields below
	known map[uint64]uint32
	list  []watched
	_     [64]byte
}

// watched is one rendition of a title. What ask looks at first stands first.
type watched struct {
	key uint64
	// used and moved are when it was last asked for and when its head advanced, in milliseconds.
	used int64
	pace float32
	// near and far count requests, without those that advance the head, by where they were.
	near, far uint16
	head      uint32 // the highest segment asked for
	moved     int64
	at        [viewersKept]uint32
	seen      [viewersKept]int64
}

func newViewers(streams int) *viewers {
	v := &viewers{limit: max(8, streams/viewerShards)}
	for i := range v.shards {
		v.shards[i].known = map[uint64]uint32{}
	}
	for d := range lookahead {
		// The five is for what a viewer's next steps are not sure of.
		v.ahead[0][d] = float32(math.Pow(stayVideo, float64(d)) / float64(d+5))
		v.ahead[1][d] = float32(math.Pow(stayAudio, float64(d)) / float64(d+5))
	}
	return v
}

func (v *viewers) shard(s Stream) (*viewerShard, uint64) {
	key := mix(uint64(s.Title)<<8 | uint64(s.Rendition))
	return &v.shards[key%viewerShards], key
}

// step notes a request and tells whether the stream is live.
func (v *viewers) step(s Stream, n uint32, now int64) (live bool) {
	shard, key := v.shard(s)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	w := shard.openLocked(key, v.limit, now)
	w.advance(s.Segment, n, now)
	w.follow(s.Segment, now)
	w.used = now
	return w.live()
}

// openLocked returns the record of a stream, new if need be.
func (shard *viewerShard) openLocked(key uint64, limit int, now int64) *watched {
	if i, ok := shard.known[key]; ok {
		return &shard.list[i]
	}
	at := len(shard.list)
	if at < limit {
		shard.list = append(shard.list, watched{})
	} else {
		// The longest unused of eight neighbours.
		start := int(key>>32) % limit
		at = start
		for i := range 8 {
			if other := (start + i) % limit; shard.list[other].used < shard.list[at].used {
				at = other
			}
		}
		delete(shard.known, shard.list[at].key)
	}
	shard.list[at] = watched{key: key, used: now, pace: firstPace}
	shard.known[key] = uint32(at)
	return &shard.list[at]
}

// advance keeps the head and what tells a live stream: requests gather right behind a head that moves.
func (w *watched) advance(segment uint32, n uint32, now int64) {
	switch {
	case segment > w.head:
		w.head, w.moved = segment, now
		n--
		fallthrough // others asked for the new head, too
	case w.head-segment <= nearSegments && now-w.moved < int64(silence*w.pace):
		w.near += uint16(min(n, recentSum))
	default:
		w.far += uint16(min(n, recentSum))
	}
	if w.near+w.far > recentSum {
		w.near /= 2
		w.far /= 2
	}
}

func (w *watched) live() bool { return w.near >= liveNear && w.near > 2*w.far }

// follow moves the viewer who asked for the segment before, or notes a new one.
func (w *watched) follow(segment uint32, now int64) {
	oldest := 0
	for i := range w.at {
		step := segment - w.at[i]
		since := now - w.seen[i]
		if w.seen[i] != 0 && since < int64(silence*w.pace) && step <= 2 {
			if step > 0 {
				pace := min(max(float32(since)/float32(step), 200), 30_000)
				w.pace += (pace - w.pace) / 8
			}
			w.at[i], w.seen[i] = segment, now
			return
		}
		if w.seen[i] < w.seen[oldest] {
			oldest = i
		}
	}
	w.at[oldest], w.seen[oldest] = segment, now
}

// ask tells how a segment stands to those who watch: rate is the requests per second to expect of the nearest viewer on
// the way to it; live, whether its stream is.
func (v *viewers) ask(s Stream, now int64) (rate float64, live bool) {
	shard, key := v.shard(s)
	ahead := &v.ahead[0]
	if s.Kind == Audio {
		ahead = &v.ahead[1]
	}
	shard.mu.Lock()
	defer shard.mu.Unlock()
	i, ok := shard.known[key]
	if !ok {
		return 0, false
	}
	w := &shard.list[i]
	if now-w.used >= int64(silence*w.pace) {
		return 0, w.live() // all have left
	}
	best := float32(0)
	for i := range w.at {
		// Who is past the segment gives a huge distance.
		if d := s.Segment - w.at[i]; d > 0 && d < lookahead && w.seen[i] != 0 && now-w.seen[i] < int64(silence*w.pace) {
			best = max(best, ahead[d])
		}
	}
	return float64(best / w.pace * 1000), w.live()
}
