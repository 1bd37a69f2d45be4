package tag

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestTwoProcessesShareTheFile: each obeys what the other has purged once it follows, nobody loses a purge to the other's
// tidying, and half a line of the other's is no damage.
func TestTwoProcessesShareTheFile(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_700_000_000, 0)
	file := filepath.Join(t.TempDir(), "purges")
	open := func(shared bool) *Table {
		t.Helper()
		table, err := New(Options{File: file, Shared: shared}, now)
		if err != nil {
			t.Fatal(err)
		}
		return table
	}
	purge := func(table *Table, url string) {
		t.Helper()
		if err := table.Purge(Purge{Kind: URL, Items: []string{url}, Time: table.Stamp(now)}); err != nil {
			t.Fatal(err)
		}
	}
	purged := func(table *Table, url string) bool {
		return table.Check(url, nil, now.Add(-time.Hour), now.Add(time.Hour)).Hard
	}
	before := open(false)
	purge(before, "a")
	after := open(true)
	told := 0
	before.Share(func() error {
		told++
		return after.Follow(now)
	})
	purge(before, "b")
	if told != 1 || !purged(after, "a") || !purged(after, "b") {
		t.Errorf("told %d times; the other process knows of a: %v, of b: %v", told, purged(after, "a"), purged(after, "b"))
	}
	for i := range 2 * slackLines { // enough to have the file tidied
		if err := after.Invalidate(Purge{Kind: URL, Items: []string{fmt.Sprint("same", i%3)}, Time: after.Stamp(now)}); err != nil {
			t.Fatal(err)
		}
	}
	purge(before, "c")
	purge(after, "d")
	if !purged(after, "c") {
		t.Error("a purge is lost to the other process")
	}

	// A write of the other process is seen when half of it is there.
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("u 12"); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	inode := func() os.FileInfo {
		t.Helper()
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		return info
	}
	was := inode()
	third := open(true)
	if !os.SameFile(was, inode()) || purged(third, "zzz") || !purged(third, "d") {
		t.Error("half a line of another process is taken for damage")
	}
	_ = third.Close() // it wrote nothing

	if err := before.Close(); err != nil {
		t.Fatal(err)
	}
	if err := after.Own(now); err != nil {
		t.Fatal(err)
	}
	purge(after, "e")
	if err := after.Close(); err != nil {
		t.Fatal(err)
	}
	last := open(false)
	defer last.Close()
	for _, url := range []string{"a", "b", "c", "d", "e", "same0"} {
		if !purged(last, url) {
			t.Errorf("%s is not purged after a restart", url)
		}
	}
	if purged(last, "zzz") {
		t.Error("all is purged after a restart")
	}
}
