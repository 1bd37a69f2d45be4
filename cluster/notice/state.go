package notice

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"time"
)

// state is the file: what this node has obeyed, and when it last heard of another one.
type state struct {
	Heard   time.Time `json:"heard"`
	Origins []obeyed  `json:"origins"`
	Members []string  `json:"members,omitempty"` // with a lease: the last known ones
	Ended   bool      `json:"ended,omitempty"`   // nothing was acknowledged after this was written
}

type obeyed struct {
	Origin

	High uint64    `json:"high"` // up to here
	Last time.Time `json:"last"` // when the last one was posted
}

// load reads what an earlier life has left. Where it cannot be read, everything counts as missed.
func (b *Board) load(now time.Time) error {
	if b.options.File == "" {
		return nil
	}
	text, err := os.ReadFile(b.options.File)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // the first life: nothing is stored that a notice could be about
	}
	var s state
	if err == nil {
		err = json.Unmarshal(text, &s)
	}
	if err != nil {
		b.options.Log.Error("how far this node had heard cannot be read", "file", b.options.File, "error", err)
		if err := b.lapse(0); err != nil {
			return fmt.Errorf("notice: %w", err)
		}
		return nil
	}
	if s.Heard.Before(now) {
		b.heard = s.Heard
	}
	for _, o := range s.Origins {
		if o.valid() && age(now, o.Last) <= b.options.Keep {
			b.before[o.Origin] = o
		}
	}
	if b.options.Lease > 0 {
		for _, name := range s.Members[:min(len(s.Members), maxContacts)] {
			b.lease.members[name] = seen{lost: true, at: now}
		}
	}
	b.lease.young = !s.Ended
	return nil
}

// resume ends the start: what an earlier life had obeyed and nobody else has any more is told as lost, so that those who
// missed it learn that there was something.
func (b *Board) resume(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for o, known := range b.before {
		b.log.raise(o, known.High, known.Last)
	}
	b.log.expire(now)
}

// end says in the file that nothing comes after it.
func (b *Board) end() {
	b.mu.Lock()
	b.ended = true
	b.mu.Unlock()
	b.save(time.Now())
}

func (b *Board) saveSometimes(now time.Time) {
	b.mu.Lock()
	due := b.unsaved || now.Sub(b.saved) > saveInterval
	b.mu.Unlock()
	if due {
		b.save(now)
	}
}

// Yield leaves the file to another process of this node, until Reclaim.
func (b *Board) Yield() { b.yielded.Store(true) }

// Reclaim takes the file back after Yield.
func (b *Board) Reclaim() { b.yielded.Store(false) }

// save replaces the file.
func (b *Board) save(now time.Time) {
	if b.options.File == "" || b.yielded.Load() {
		return
	}
	b.saving.Lock()
	defer b.saving.Unlock()
	b.mu.Lock()
	s := b.stateLocked()
	b.unsaved, b.saved = false, now
	b.mu.Unlock()
	if err := write(b.options.File, s); err != nil {
		b.options.Log.Warn("how far this node has heard cannot be kept", "file", b.options.File, "error", err)
	}
}

func (b *Board) stateLocked() state {
	s := state{Heard: b.heard, Ended: b.ended && !b.log.gaps()}
	if b.options.Lease > 0 {
		s.Members = slices.Sorted(maps.Keys(b.lease.members))
	}
	for o, h := range b.log.histories {
		if high := h.high(); high > b.before[o].High {
			s.Origins = append(s.Origins, obeyed{o, high, h.last()})
		}
	}
	for o, known := range b.before {
		if known.High >= b.log.high(o) {
			s.Origins = append(s.Origins, known)
		}
	}
	return s
}

// write is atomic: the old file stays until the new one is on the disk.
func write(path string, s state) error {
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	next, err := os.OpenFile(path+".next", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = next.Write(text)
	if err == nil {
		err = next.Sync()
	}
	if err = errors.Join(err, next.Close()); err != nil {
		return err
	}
	return os.Rename(path+".next", path)
}
