package policy

import "sync/atomic"

// trialMemory is how many ends of trials count: past it both counts are halved.
const trialMemory = 1 << 16

// trial learns what an untried stream-less object is worth: how many of them were
// asked for a second time before they left. Somebody who asks for ever new names
// finds that theirs soon count for nothing. All of it is atomic.
type trial struct{ again, never atomic.Int64 }

func (t *trial) end(again bool) {
	if again {
		t.again.Add(1)
	} else {
		t.never.Add(1)
	}
	if t.again.Load()+t.never.Load() > trialMemory {
		t.again.Store(t.again.Load() / 2) // a count that is lost in between does not matter
		t.never.Store(t.never.Load() / 2)
	}
}

// share is the part that was asked for again; a third while nothing is known.
func (t *trial) share() float64 {
	again, never := float64(t.again.Load()), float64(t.never.Load())
	return (again + 1) / (again + never + 3)
}
