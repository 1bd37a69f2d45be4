package tag

import (
	"fmt"
	"os"
)

// Share is for the time in which one process takes over from another: both append to the file, and neither puts another
// one in its place. told is called after each purge, before Purge returns, so that the other process can be told to Follow;
// nil calls nothing. Without a file Share does nothing.
func (t *Table) Share(told func()) {
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

// Follow obeys what another process has added to the file.
func (t *Table) Follow() error {
	if t.journal == nil {
		return nil
	}
	return t.journal.follow(t)
}

// Own ends Share: the other process is gone. It follows a last time.
func (t *Table) Own() error {
	t.told.Store(nil)
	if t.journal == nil {
		return nil
	}
	t.journal.mu.Lock()
	t.journal.shared = false
	t.journal.mu.Unlock()
	return t.journal.follow(t)
}

// follow reads the whole file, which has what the table knows and more, and which the other process may have put in the
// place of the one that is open. It is short: see slackLines.
func (j *journal) follow(t *Table) error {
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
	t.mu.Lock()
	lines, whole, err := t.readLocked(string(text))
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
	return nil
}
