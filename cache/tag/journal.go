package tag

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// banner is the file's first line. Another one is a damaged file.
const banner = "weir purges 1\n"

// slackLines is how many lines more than twice as many as it needs a file may have before it is rewritten.
const slackLines = 4096

var errDamaged = errors.New("tag: the file is damaged")

// journal is the file that the generations are kept in.
type journal struct {
	path string

	syncing sync.Mutex // held by whoever waits for the disk; taken before mu

	// mu guards the fields below. It is held over writes, because their order counts; Check never needs it.
	mu    sync.Mutex
	file  *os.File // nil once closed
	added int64    // appends so far
	safe  int64    // of them, those that are on the disk
	lines int
	least int  // lines that the file would have if it were rewritten now, or a while ago
	torn  bool // a write ended in the middle of a line: the file is to be rewritten

	shared bool // with another process: it must not lose its file, and may be in the middle of a line
}

// openJournal reads the file into the table. What is damaged counts as a purge of all until now.
func openJournal(path string, t *Table, now time.Time, log *slog.Logger, shared bool) (*journal, error) {
	j := &journal{path: path, shared: shared}
	text, err := os.ReadFile(path)
	missing := errors.Is(err, fs.ErrNotExist)
	if err != nil && !missing {
		return nil, fmt.Errorf("read the purges of before: %w", err)
	}
	t.mu.Lock()
	lines, whole, err := readLines(string(text), t.enterLocked)
	if err != nil && !missing {
		log.Error("the purges of before cannot be read whole: everything stored until now counts as purged", "file", path, "line", lines+2, "error", err)
		t.enterLocked(entry{kind: All, times: times{hard: max(now.UnixNano(), t.last, t.reach.Load()) + int64(farthest)}})
	}
	t.mu.Unlock()
	j.lines = lines
	if err != nil || !whole && !shared {
		return j, j.rewrite(t)
	}
	if j.file, err = os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0o600); err != nil {
		return nil, fmt.Errorf("open the file of purges: %w", err)
	}
	for range t.entries {
		j.least++
	}
	return j, nil
}

// readLines enters the lines of a file. whole is false where the last one is torn.
func readLines(text string, enter func(entry)) (lines int, whole bool, err error) {
	text, ok := strings.CutPrefix(text, banner)
	if !ok {
		return 0, false, errDamaged
	}
	for text != "" {
		line, rest, ended := strings.Cut(text, "\n")
		if !ended {
			return lines, false, nil
		}
		e, err := parseEntry(line)
		if err != nil {
			return lines, false, errors.Join(errDamaged, err)
		}
		enter(e)
		text = rest
		lines++
	}
	return lines, true, nil
}

// append adds entries that the table has already. With durable it returns once they are on the disk.
func (j *journal) append(entries []entry, t *Table, durable bool) error {
	var text []byte
	for _, e := range entries {
		text = e.appendTo(text)
	}
	n, err := j.write(text, len(entries), t)
	if err == nil && durable {
		err = j.sync(n, t)
	}
	return err
}

// write appends lines and returns how many appends there are now.
func (j *journal) write(text []byte, lines int, t *Table) (int64, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.added++
	switch {
	case j.file == nil:
		return 0, fs.ErrClosed
	case j.torn || j.lines+lines > 2*j.least+slackLines && !j.shared:
		return j.added, j.rewrite(t) // the table has the entries already
	}
	if _, err := j.file.Write(text); err != nil {
		j.torn = true
		return 0, fmt.Errorf("keep the purge: %w", err)
	}
	j.lines += lines
	return j.added, nil
}

// sync returns once the first n appends are on the disk. Those that come while the disk is busy share the next turn.
func (j *journal) sync(n int64, t *Table) error {
	j.syncing.Lock()
	defer j.syncing.Unlock()
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case j.safe >= n:
		return nil
	case j.file == nil:
		return fs.ErrClosed
	case j.torn: // a sync after one that failed may say that all is well
		return j.rewrite(t)
	}
	file, added := j.file, j.added
	j.mu.Unlock()
	err := file.Sync()
	j.mu.Lock()
	switch {
	case j.safe >= n: // the file was rewritten meanwhile
	case err != nil:
		j.torn = true // who knows what is there
		return fmt.Errorf("keep the purge: %w", err)
	default:
		j.safe = added
	}
	return nil
}

// rewrite puts a file with all entries of the table, and no others, in the place of the old one.
func (j *journal) rewrite(t *Table) error {
	next := j.path + ".next"
	file, err := os.OpenFile(next, os.O_WRONLY|os.O_APPEND|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("rewrite the file of purges: %w", err)
	}
	lines, err := t.writeTo(file)
	if err == nil {
		err = file.Sync()
	}
	if err == nil {
		err = os.Rename(next, j.path)
	}
	if err == nil {
		err = syncDir(filepath.Dir(j.path))
	}
	if err != nil {
		file.Close()
		return fmt.Errorf("rewrite the file of purges: %w", err)
	}
	if j.file != nil {
		j.file.Close()
	}
	j.file, j.lines, j.least, j.torn = file, lines, lines, false
	j.safe = j.added
	return nil
}

// writeTo writes a whole file.
func (t *Table) writeTo(w io.Writer) (lines int, err error) {
	out := bufio.NewWriter(w)
	_, _ = out.WriteString(banner) // Flush has the error
	var line []byte
	for e := range t.entries {
		line = e.appendTo(line[:0])
		_, _ = out.Write(line)
		lines++
	}
	return lines, out.Flush()
}

// entries yields what a file needs, for the table to be the same again.
func (t *Table) entries(yield func(entry) bool) {
	t.mu.Lock()
	var all []entry
	if reach := t.reach.Load(); reach > 0 {
		all = append(all, reached(reach))
	}
	every := t.all.load()
	if every != (times{}) {
		all = append(all, entry{kind: All, times: every})
	}
	if lengths := t.lengths.Load(); lengths != nil {
		for _, n := range *lengths {
			all = append(all, entry{kind: Prefix, length: n})
		}
	}
	for _, of := range []struct {
		kind Kind
		g    *generations
	}{{URL, &t.urls}, {Prefix, &t.prefixes}, {Tag, &t.tags}} {
		of.g.each(func(hash uint64, width int, at times) {
			if at.latest() > every.hard {
				all = append(all, entry{kind: of.kind, hash: hash, width: width, times: at})
			}
		})
	}
	t.mu.Unlock()
	for _, e := range all {
		if !yield(e) {
			return
		}
	}
}

// syncDir makes a rename last.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (j *journal) close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.file == nil {
		return nil
	}
	err := j.file.Close()
	j.file = nil
	return err
}
