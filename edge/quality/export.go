package quality

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// export is a part of what a Ledger holds. JSON; times are spans, but of hours.
type export struct {
	Viewers map[Session]*viewer       `json:"viewers,omitempty"`
	Over    map[Session]time.Duration `json:"over,omitempty"` // how long ago they ended
	Hour    *exportedHour             `json:"hour,omitempty"`
}

type exportedHour struct {
	Begin time.Time `json:"begin"`
	All   Figures   `json:"all"`
	Named []Named   `json:"named"`
}

// Export hands all that is here to another process that takes over as this node, in parts of about 1 MB, each for
// [Ledger.Import] there, once: what was handed is not here any more. What comes later is for another Export. The totals stay,
// for they count since the start of a process. The error is hand's; then what was not handed is lost.
func (l *Ledger) Export(ctx context.Context, now time.Time, hand func(part []byte) error) error {
	l.hand(ctx, now)
	l.mu.Lock()
	followed, over, hours := l.followed, l.over, l.hours
	l.followed, l.over, l.hours, l.away = map[Session]*viewer{}, map[Session]time.Time{}, nil, 0
	l.mu.Unlock()
	say := func(part *export) error {
		text, err := json.Marshal(part)
		if err != nil {
			panic("quality: " + err.Error()) // numbers and strings: cannot fail
		}
		return hand(text)
	}
	part := &export{Viewers: map[Session]*viewer{}, Over: map[Session]time.Duration{}}
	flush := func(full int) error {
		if len(part.Viewers)+len(part.Over) < full {
			return nil
		}
		err := say(part)
		clear(part.Viewers)
		clear(part.Over)
		return err
	}
	for id, v := range followed {
		v.spans(now)
		part.Viewers[id] = v
		if err := flush(maxBatch); err != nil {
			return err
		}
	}
	for id, at := range over {
		part.Over[id] = now.Sub(at)
		if err := flush(maxBatch); err != nil {
			return err
		}
	}
	if err := flush(1); err != nil {
		return err
	}
	for _, h := range hours {
		e := &exportedHour{Begin: h.begin, All: h.all}
		for _, names := range h.named {
			for _, n := range names {
				e.Named = append(e.Named, *n)
			}
		}
		if err := say(&export{Hour: e}); err != nil {
			return err
		}
	}
	return nil
}

// Import takes in a part of another process's Export.
func (l *Ledger) Import(part []byte, now time.Time) error {
	var e export
	if err := json.Unmarshal(part, &e); err != nil {
		return fmt.Errorf("quality: a part of an export is malformed: %w", err)
	}
	l.take(e.Viewers, now)
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, ago := range e.Over {
		l.over[id] = now.Add(-ago)
	}
	if e.Hour != nil {
		l.importHourLocked(e.Hour, now)
	}
	return nil
}

func (l *Ledger) importHourLocked(e *exportedHour, now time.Time) {
	l.hourLocked(now)
	at, found := slices.BinarySearchFunc(l.hours, e.Begin, func(h *hour, begin time.Time) int { return h.begin.Compare(begin) })
	switch {
	case !found && (at == len(l.hours) || now.Sub(e.Begin) >= (hours+1)*time.Hour):
		return // of the future, or gone by
	case !found:
		l.hours = slices.Insert(l.hours, at, &hour{begin: e.Begin, named: map[Kind]map[string]*Named{}})
	}
	h := l.hours[at]
	h.all.Add(&e.All)
	for i := range e.Named {
		n := &e.Named[i]
		h.name(n.Kind, n.Name).Add(&n.Figures)
	}
}
