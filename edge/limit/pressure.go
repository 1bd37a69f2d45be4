package limit

import (
	"math"
	"sync/atomic"
	"time"
)

// Class is what a request is worth to a node that cannot answer all.
type Class uint8

// The classes, in the order in which they are shed: a miss costs many times a hit, and a player that does not get its
// playlist stops, while one that misses a segment tries the next rendition.
const (
	SegmentMiss  Class = iota // a miss of anything but a playlist
	PlaylistMiss              // a miss of a playlist
	SegmentHit                // a stored response that is no playlist
	PlaylistHit               // a stored playlist

	Classes = 4
)

// String is the class's name in metrics.
func (c Class) String() string {
	return [Classes]string{"segment_miss", "playlist_miss", "segment_hit", "playlist_hit"}[min(c, Classes-1)]
}

const (
	// Step is how often Update should be called.
	Step = 100 * time.Millisecond
	// up and down are by how much pressure changes in a Step at most: from nothing to all misses in four seconds, and back in
	// twenty. Those who were turned away come back seconds later: at 0.1 and 0.05 the median wait of stored segments in
	// TestOverload of tools/weir is 60 ms, at 0.05 and 0.02 44 ms, and 4 ms so, with the same number of them answered.
	up, down = 0.05, 0.01
	// memoryFrom is the part of the limit in use from which on memory presses: below it the collector has room. At
	// memoryFull all is shed but the class that costs no memory to speak of.
	memoryFrom, memoryFull = 0.80, 0.95
	memoryMost             = float64(PlaylistHit)
)

// Signals are what Pressure follows.
type Signals struct {
	Delay       time.Duration // of what comes, until somebody reads it, or of half of what could run, for a processor
	Target      time.Duration // for it; 0: it does not count
	Memory      int64         // bytes in use
	MemoryLimit int64         // of it; 0: it does not count
}

// Pressure says which requests to shed. The zero value sheds nothing.
type Pressure struct {
	now   atomic.Uint64 // the bits of a float64 from 0 to Classes
	delay float64       // the part that comes of it; Update's
}

// Update takes the signals of the Step that is over. Calls must follow one another.
func (p *Pressure) Update(s Signals) {
	change := -down
	if s.Target > 0 {
		excess := float64(s.Delay)/float64(s.Target) - 1
		change = min(max(excess, -1)*down, down)
		if excess > 0 {
			change = min(excess, 1) * up
		}
	}
	p.delay = min(max(p.delay+change, 0), Classes)
	value := p.delay
	if s.MemoryLimit > 0 {
		used := float64(s.Memory) / float64(s.MemoryLimit)
		value = max(value, min((used-memoryFrom)/(memoryFull-memoryFrom)*memoryMost, memoryMost))
	}
	p.now.Store(math.Float64bits(value))
}

// Value is the pressure of now, from 0 to 4.
func (p *Pressure) Value() float64 { return math.Float64frombits(p.now.Load()) }

// Sheds tells whether to turn away a request of that class; dice is a number at random, from 0 to below 1.
//
// Hot path: one atomic load.
func (p *Pressure) Sheds(c Class, dice float64) bool {
	value := p.Value()
	return value > 0 && value-float64(c) > dice
}
