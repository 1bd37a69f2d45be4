package main

import (
	"slices"
	"time"
)

// buffer is a viewer's player without a decoder: what of each track is loaded, and what is shown meanwhile. Playback
// begins when every track has a segment, stands still when a track that has not ended runs dry, and goes on with its
// next segment. It never asks for the time. Not safe for concurrent use.
type buffer struct {
	target time.Duration // load no further than this ahead of what is shown

	state  playback
	asked  time.Time       // when the viewer pressed play
	now    time.Time       // of the last change
	dry    time.Time       // when playback stood still
	head   time.Duration   // media time that is shown
	loaded []time.Duration // media time up to which each track is there
	ended  []bool          // tracks that are there to their end

	startup time.Duration // from asked to the first picture; 0 = there was none yet
	stalls  int
	stalled time.Duration // all stalls that are over
}

// playback is what the viewer sees.
type playback int

const (
	waiting playback = iota // for the first segments
	playing
	standing // still, until there is more
	over
)

// newBuffer returns the buffer of a viewer who pressed play at asked.
func newBuffer(tracks int, target time.Duration, asked time.Time) *buffer {
	return &buffer{target: target, asked: asked, now: asked, loaded: make([]time.Duration, tracks), ended: make([]bool, tracks)}
}

// add puts d of media behind what a track has.
func (b *buffer) add(track int, d time.Duration, now time.Time) {
	b.advance(now)
	b.loaded[track] += d
	b.resume(now)
}

// end says that a track has no more than it has.
func (b *buffer) end(track int, now time.Time) {
	b.advance(now)
	b.ended[track] = true
	b.resume(now)
}

// advance shows what can be shown until now.
func (b *buffer) advance(now time.Time) {
	passed := now.Sub(b.now)
	b.now = now
	if b.state != playing {
		return
	}
	b.head += passed
	limit, last := b.limit()
	switch {
	case b.head >= limit && last:
		b.head, b.state = limit, over
	case b.head > limit:
		b.dry = now.Add(limit - b.head)
		b.head, b.state = limit, standing
		b.stalls++
	}
}

// due is when a track should be loaded on: not after now when it has less ahead than the target.
func (b *buffer) due(track int) time.Time {
	ahead := b.loaded[track] - b.head
	if b.state != playing || ahead < b.target {
		return b.now
	}
	return b.now.Add(ahead - b.target)
}

// remaining is how long playback goes on with what is loaded.
func (b *buffer) remaining() time.Duration {
	limit, _ := b.limit()
	return max(limit-b.head, 0)
}

// close ends the session: a stall that lasts is over.
func (b *buffer) close(now time.Time) {
	b.advance(now)
	if b.state == standing {
		b.stalled += now.Sub(b.dry)
	}
	b.state = over
}

// limit is up to where all tracks are there; last when there is no more to come.
func (b *buffer) limit() (limit time.Duration, last bool) {
	last = true
	for i, loaded := range b.loaded {
		if !b.ended[i] && (last || loaded < limit) {
			limit, last = loaded, false
		}
	}
	if last {
		limit = slices.Max(b.loaded)
	}
	return limit, last
}

func (b *buffer) resume(now time.Time) {
	limit, last := b.limit()
	if limit <= b.head && !last {
		return
	}
	switch b.state {
	case waiting:
		b.startup = max(now.Sub(b.asked), 1) // 0 means never
	case standing:
		b.stalled += now.Sub(b.dry)
	default:
		return
	}
	b.state = playing
}
