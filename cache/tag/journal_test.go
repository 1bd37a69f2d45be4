package tag

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// filled is a file with one purge of each kind, at 10, 20 …, and what a table that has read it says.
func filled(t *testing.T) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "purges")
	table := newTable(t, Options{File: file})
	for i, p := range []Purge{
		{Kind: URL, Items: []string{"a/1", "a/2"}},
		{Kind: Prefix, Items: []string{"a/p"}},
		{Kind: Tag, Items: []string{"t"}, Soft: true},
	} {
		p.Time = at(10 * (i + 1))
		apply(t, table, p)
	}
	if err := table.Close(); err != nil {
		t.Fatal(err)
	}
	return file
}

func verdicts(table *Table) string {
	var all []string
	for _, url := range []string{"a/1", "a/2", "a/page", "b"} {
		for _, name := range []string{"t", "u"} {
			v := table.Check(url, Set([]string{name}), at(5), late())
			all = append(all, fmt.Sprint(url, " ", name, " ", v.Hard, " ", !v.Soft.IsZero()))
		}
	}
	return strings.Join(all, "\n")
}

func TestPurgesSurviveTheProcess(t *testing.T) {
	t.Parallel()
	file := filled(t)
	table := newTable(t, Options{File: file})
	for url, want := range map[string]Verdict{"a/1": {Hard: true}, "a/2": {Hard: true}, "a/page": {Hard: true}, "a/3": {}} {
		if got := table.Check(url, nil, at(5), late()); got != want {
			t.Errorf("%s: got %v, want %v", url, got, want)
		}
	}
	if v := table.Check("b", Set([]string{"t"}), at(5), late()); v.Hard || v.Soft.IsZero() {
		t.Errorf("a tag's soft purge is now %v", v)
	}
	if got := table.Stamp(at(1)); !got.After(at(30)) {
		t.Errorf("the next purge has the time %v, not after that of the last one", got)
	}
}

// TestTornAndDamagedFiles: cut at any byte the file loses its last line at most; with any other byte changed, nothing
// that was purged is served.
func TestTornAndDamagedFiles(t *testing.T) {
	t.Parallel()
	whole, err := os.ReadFile(filled(t))
	if err != nil {
		t.Fatal(err)
	}
	start := func(content []byte) (table *Table, said string, now []byte) {
		file := filepath.Join(t.TempDir(), "purges")
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		table, err := New(Options{File: file, Log: slog.New(slog.NewTextHandler(&log, nil))}, at(100))
		if err != nil {
			t.Fatal(err)
		}
		table.Close()
		if now, err = os.ReadFile(file); err != nil {
			t.Fatal(err)
		}
		return table, log.String(), now
	}
	intact, said, now := start(whole)
	if said != "" || !bytes.Equal(now, whole) {
		t.Errorf("an intact file is rewritten, with %q", said)
	}
	for n := len(banner); n < len(whole); n++ {
		table, said, now := start(whole[:n])
		kept := strings.Count(string(whole[:n]), "\n") - 1
		if said != "" || strings.Count(string(now), "\n") < kept+1 || table.Check("b", nil, at(5), late()).Hard {
			t.Errorf("cut at byte %d of %d: says %q, has %q", n, len(whole), said, now)
		}
		if hard := table.Check("a/1", nil, at(5), late()).Hard; hard != (kept > 0) {
			t.Errorf("cut at byte %d, with %d lines: the first purge is %v", n, kept, hard)
		}
	}
	for i := range len(whole) - 1 {
		damaged := bytes.Clone(whole)
		damaged[i] ^= 0x20
		table, said, _ := start(damaged)
		if verdicts(table) == verdicts(intact) && said == "" {
			continue // a letter of a hash in the other case
		}
		if !strings.Contains(said, "everything") || !table.Check("b", nil, at(100).Add(farthest), late()).Hard || table.Check("b", nil, table.Time(at(101)), late()).Hard {
			t.Errorf("byte %d is another one: says %q", i, said)
		}
	}
	if _, said, _ := start(nil); said == "" {
		t.Error("an empty file is taken for one without purges")
	}
}

func TestTheFileIsRewritten(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "purges")
	table := newTable(t, Options{File: file})
	apply(t, table, Purge{Time: at(1), Kind: Prefix, Items: []string{"b/longer"}})
	most := int64(0)
	for i := range 3 * slackLines {
		if err := table.Invalidate(Purge{Time: at(i + 1), Kind: Prefix, Items: []string{"a/"}}); err != nil {
			t.Fatal(err)
		}
		if i%512 == 0 {
			info, err := os.Stat(file)
			if err != nil {
				t.Fatal(err)
			}
			most = max(most, info.Size())
		}
	}
	if most > 80*(slackLines+100) {
		t.Errorf("the file grew to %d bytes for one name", most)
	}
	table.Close()
	again := newTable(t, Options{File: file})
	if !again.Check("a/b", nil, at(3*slackLines), late()).Hard || again.Check("a/b", nil, at(3*slackLines+1), late()).Hard {
		t.Error("the last purge is not in the file")
	}
	if !again.Check("b/longer/still", nil, at(1), late()).Hard {
		t.Error("the first purge is not in the file")
	}
}

// TestABrokenWriteIsMended: half a line in the file is not followed by another one.
func TestABrokenWriteIsMended(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "purges")
	table := newTable(t, Options{File: file})
	apply(t, table, Purge{Time: at(1), Kind: URL, Items: []string{"a"}})
	readable, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	table.journal.file, readable = readable, table.journal.file
	if err := table.Purge(Purge{Time: at(2), Kind: URL, Items: []string{"b"}}); err == nil {
		t.Error("a purge that could not be kept has no error")
	}
	if !table.Check("b", nil, at(1), late()).Hard {
		t.Error("a purge that could not be kept does not hold")
	}
	if _, err := readable.WriteString("half a li"); err != nil {
		t.Fatal(err)
	}
	readable.Close()
	apply(t, table, Purge{Time: at(3), Kind: URL, Items: []string{"c"}})
	table.Close()
	again := newTable(t, Options{File: file})
	for _, url := range []string{"a", "b", "c"} {
		if !again.Check(url, nil, at(0), late()).Hard {
			t.Errorf("%s is not in the file", url)
		}
	}
	if again.Check("d", nil, at(0), late()).Hard {
		t.Error("the file was damaged")
	}
}

func TestAFileThatCannotBe(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, file := range map[string]string{"no directory": dir + "/none/purges", "a directory": dir} {
		if _, err := New(Options{File: file}, at(0)); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
	table := newTable(t, Options{File: dir + "/purges"})
	table.Close()
	if err := table.Purge(Purge{Time: at(1), Kind: All}); err == nil {
		t.Error("a purge after Close has no error")
	}
	if !table.Check("a", nil, at(0), late()).Hard {
		t.Error("and does not hold")
	}
}

func FuzzParseEntry(f *testing.F) {
	for _, e := range []entry{
		{kind: URL, hash: 1, times: times{hard: 1}},
		{kind: Prefix, hash: 1 << 63, length: 12, times: times{soft: 1 << 62}},
		{kind: Prefix, length: 12},
		{kind: Tag, hash: 3 << 60, width: 20, times: times{1, 2}},
		{kind: All, times: times{hard: time.Now().UnixNano()}},
		reached(time.Now().UnixNano()),
	} {
		f.Add(strings.TrimSuffix(string(e.appendTo(nil)), "\n"))
	}
	f.Add("")
	f.Add("0 ")
	f.Fuzz(func(t *testing.T, line string) {
		e, err := parseEntry(line)
		if err != nil {
			return
		}
		again, err := parseEntry(strings.TrimSuffix(string(e.appendTo(nil)), "\n"))
		if err != nil || again != e {
			t.Errorf("%q is %+v, printed and read again %+v, %v", line, e, again, err)
		}
		table := newTable(t, Options{URLs: 4, Tags: 4, Prefixes: 4})
		table.mu.Lock()
		table.enterLocked(e)
		table.mu.Unlock()
	})
}

// TestPurgesAtOnce: those that share a wait for the disk are all there afterwards, also where the file is rewritten.
func TestPurgesAtOnce(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "purges")
	table, err := New(Options{File: file}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	const workers, each, items = 16, 40, 20
	var work sync.WaitGroup
	for w := range workers {
		work.Go(func() {
			for i := range each {
				names := make([]string, items)
				for k := range names {
					names[k] = fmt.Sprint(w, " ", i%8, " ", k)
				}
				if err := table.Purge(Purge{Time: table.Stamp(time.Now()), Kind: Tag, Items: names}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	work.Wait()
	table.journal.mu.Lock()
	added, safe, lines := table.journal.added, table.journal.safe, table.journal.lines
	table.journal.mu.Unlock()
	if added != workers*each || safe != added || lines >= workers*each*items {
		t.Errorf("%d appends, %d of them on the disk, %d lines; want %d, all, and less as the file was rewritten", added, safe, lines, workers*each)
	}
	before := table.Stats().Names
	if err := table.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := New(Options{File: file}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if got := again.Stats().Names; got != before || before != workers*8*items {
		t.Errorf("%d names after a restart, %d before, want %d", got, before, workers*8*items)
	}
}

// BenchmarkPurgesAtOnce keeps purges that 16 callers make at the same time.
func BenchmarkPurgesAtOnce(b *testing.B) {
	table, err := New(Options{File: filepath.Join(b.TempDir(), "purges")}, time.Now())
	if err != nil {
		b.Fatal(err)
	}
	defer table.Close()
	b.SetParallelism(16 / runtime.GOMAXPROCS(0))
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := table.Purge(Purge{Time: table.Stamp(time.Now()), Kind: Tag, Items: []string{"film"}}); err != nil {
				b.Error(err)
			}
		}
	})
}

// TestAFailedSyncIsMended: the disk may have dropped what it could not take, and call the next sync a success; who had
// waited for that one gets a whole file.
func TestAFailedSyncIsMended(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "purges")
	table := newTable(t, Options{File: file})
	if err := table.Invalidate(Purge{Time: at(1), Kind: URL, Items: []string{"a"}}); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(file, int64(len(banner))); err != nil {
		t.Fatal(err)
	}
	table.journal.torn = true // as a sync that failed leaves it
	if err := table.journal.sync(table.journal.added, table); err != nil {
		t.Fatal(err)
	}
	if again := newTable(t, Options{File: file}); !again.Check("a", nil, at(0), late()).Hard {
		t.Error("what was said to be on the disk is not")
	}
}
