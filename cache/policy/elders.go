package policy

import "sync"

// eldersKept is how many elders a class has: as many as a sample brings.
const eldersKept = samples

// elders are the oldest entries of a class that samples have shown. The oldest of one sample is seldom among the oldest of
// all, but what was shown and did not go yet waits here, so that after some choices the class is left nearly in the order
// in which it was entered, without a queue's links in every entry. One that has gone or moved is found out when its turn
// comes.
type elders struct {
	mu   sync.Mutex // guards the fields below
	list [eldersKept]elder
	n    int // oldest first
}

// elder is an entry as it stood when it was seen.
type elder struct {
	id    [16]byte
	stamp uint32
}

// noteLocked enters one that was seen, if it is older than another or there is room.
func (l *elders) noteLocked(e elder, now int64) {
	age, at := since(e.stamp, now), l.n
	for at > 0 && since(l.list[at-1].stamp, now) < age {
		at--
	}
	for i := at; i > 0 && l.list[i-1].stamp == e.stamp; i-- {
		if l.list[i-1] == e {
			return
		}
	}
	if at == eldersKept {
		return
	}
	l.n = min(l.n+1, eldersKept)
	copy(l.list[at+1:l.n], l.list[at:])
	l.list[at] = e
}

// dropLocked forgets the oldest.
func (l *elders) dropLocked() {
	l.n--
	copy(l.list[:l.n], l.list[1:])
}
