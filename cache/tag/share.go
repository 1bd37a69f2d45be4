package tag

import (
	"bytes"
	"fmt"
	"os"
	"time"
)

// Share is for the time in which one process takes over from another: both append to the file, and neither puts another
// one in its place. told is called after each purge, before Purge returns, so that the other process can be told to Follow;
// its error is Purge's, too. nil calls nothing. Without a file Share does nothing.
func (t *Table) Share(told func() error) {
	if t.journal == nil {
		return
	}
	t.journal.mu.Lock()
	t.journal.shared = true
	t.journal.mu.Unlock()
	if told != nil {
		t.told.Store(&told)
	}
}

// Follow obeys what another process has added to the file. The clocks of both Tables differ, so that what is new here
// is dated by this one's, and added to the file again where that is later.
func (t *Table) Follow(now time.Time) error {
	if t.journal == nil {
		return nil
	}
	return t.journal.follow(t, now)
}

// Own ends Share: the other process is gone. It follows a last time.
func (t *Table) Own(now time.Time) error {
	t.told.Store(nil)
	if t.journal == nil {
		return nil
	}
	t.journal.mu.Lock()
	t.journal.shared = false
	t.journal.mu.Unlock()
	err := t.journal.follow(t, now)
	t.mu.Lock()
	t.ahead = false
	t.mu.Unlock()
	return err
}

// follow reads the whole file, which has what the table knows and more, and which the other process may have put in the
// place of the one that is open. It is short: see slackLines.
func (j *journal) follow(t *Table, now time.Time) error {
	j.syncing.Lock() // of the file that is closed here
	defer j.syncing.Unlock()
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.file == nil {
		return os.ErrClosed
	}
	text, err := os.ReadFile(j.path)
	if err != nil {
		return fmt.Errorf("read the purges of another process: %w", err)
	}
	var later []byte
	t.mu.Lock()
	lines, whole, err := readLines(string(text), func(e entry) {
		dated := t.datedLocked(e, now)
		if t.enterLocked(dated); dated != e {
			later = dated.appendTo(later)
		}
	})
	t.mu.Unlock()
	if err != nil || !whole && !j.shared {
		return j.rewrite(t)
	}
	file, err := os.OpenFile(j.path, os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("open the file of purges: %w", err)
	}
	_ = j.file.Close() // every write has been checked
	j.file, j.lines = file, lines
	if len(later) == 0 {
		return nil
	}
	if _, err = file.Write(later); err == nil {
		err = file.Sync()
	}
	if err != nil {
		j.torn = true
		return fmt.Errorf("keep the purges of another process: %w", err)
	}
	j.lines += bytes.Count(later, []byte{'\n'})
	return nil
}

// datedLocked is an entry of another process, by the clock of this one where it is news: it covers all that was fetched
// until now.
func (t *Table) datedLocked(e entry, now time.Time) entry {
	if e.isReached() {
		if !t.ahead && e.hard > t.reach.Load() { // its fetches may be from the future of this clock
			t.last = max(t.last, e.hard)
		}
		return e
	}
	known, at := t.knownLocked(e), max(t.time(now), t.last)
	if e.hard > known.hard {
		e.hard = max(e.hard, at)
	}
	if e.soft > known.soft {
		e.soft = max(e.soft, at)
	}
	return e
}

// knownLocked is what Check would find for an entry already.
func (t *Table) knownLocked(e entry) times {
	var g *generations
	switch e.kind {
	case All:
		return t.all.load()
	case URL:
		g = &t.urls
	case Prefix:
		g = &t.prefixes
	case Tag:
		g = &t.tags
	}
	if e.width > 0 {
		return g.foldedTimes(e.hash, e.width)
	}
	return g.lookup(e.hash)
}
