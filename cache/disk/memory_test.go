package disk

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// Memory and Real answer alike.
func TestMemoryIsAFileSystem(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]FS{"real": &Real{}, "memory": &Memory{}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log []string
			say := func(what string, v any, err error) {
				for _, known := range []error{nil, fs.ErrNotExist, io.EOF, ErrLocked} {
					if errors.Is(err, known) {
						err = known
					}
				}
				log = append(log, fmt.Sprint(what, " ", v, " ", err))
			}
			dir := filepath.Join(t.TempDir(), "a")
			_, err := f.Create(dir)
			say("create in nothing", nil, err)
			must(t, f.MkdirAll(dir))
			must(t, f.MkdirAll(dir))
			lock, err := f.Lock(filepath.Join(dir, "lock"))
			must(t, err)
			_, err = f.Lock(filepath.Join(dir, "lock"))
			say("lock", nil, err)
			must(t, lock.Close())
			lock, err = f.Lock(filepath.Join(dir, "lock"))
			must(t, err)
			must(t, lock.Close())
			path := filepath.Join(dir, "x")
			_, err = f.Open(path)
			say("open", nil, err)
			say("remove", nil, f.Remove(path))
			for _, body := range []string{"first", "the second"} {
				file, err := f.Create(dir)
				must(t, err)
				n, err := file.WriteAt([]byte(body), 3)
				say("write", n, err)
				must(t, f.Publish(file, path))
				p := make([]byte, 20)
				n, err = file.ReadAt(p, 1)
				say("read", fmt.Sprintf("%q", p[:n]), err)
				n, err = file.ReadAt(p, 100)
				say("read", n, err)
				must(t, file.Truncate(5))
				must(t, file.Truncate(7))
				must(t, file.Close())
			}
			file, err := f.Open(path)
			must(t, err)
			size, err := file.Size()
			say("size", size, err)
			must(t, f.Remove(path))
			p := make([]byte, 7)
			n, err := file.ReadAt(p, 0)
			say("read", fmt.Sprintf("%q", p[:n]), err)
			must(t, file.Close())
			say("remove", nil, f.Remove(path))
			_, err = f.List(path)
			say("list", nil, err)
			want := []string{
				"create in nothing <nil> file does not exist", "lock <nil> " + ErrLocked.Error(), "open <nil> file does not exist",
				"remove <nil> file does not exist", "write 5 <nil>", `read "\x00\x00first" EOF`, "read 0 EOF", "write 10 <nil>",
				`read "\x00\x00the second" EOF`, "read 0 EOF", "size 7 <nil>", `read "\x00\x00\x00th\x00\x00" <nil>`,
				"remove <nil> file does not exist", "list <nil> file does not exist",
			}
			if !slices.Equal(log, want) {
				t.Errorf("got\n%q\nwant\n%q", log, want)
			}
		})
	}
}

// What was synced survives; what was not may survive, whole, torn or not at all, and over some seeds does all of these.
func TestCrash(t *testing.T) {
	t.Parallel()
	m := &Memory{Now: func() time.Time { return time.Unix(7, 0) }}
	s := newStore(t, Options{Dir: "root", FS: m})
	synced, replaced, fresh := [16]byte{1}, [16]byte{2}, [16]byte{3}
	old, now := random(1, 50_000), random(2, 60_000)
	for _, id := range [][16]byte{synced, replaced} {
		if _, err := create(s, id, old, []byte("old"), 1000); err != nil {
			t.Fatal(err)
		}
	}
	m.Sync()
	for _, id := range [][16]byte{replaced, fresh} {
		if _, err := create(s, id, now, []byte("new"), 1000); err != nil {
			t.Fatal(err)
		}
	}
	seen := map[string]bool{}
	for seed := range uint64(200) {
		after := newStore(t, Options{Dir: "root", FS: m.Crash(seed)})
		if got, _, err := read(after, synced); err != nil || !bytes.Equal(got, old) {
			t.Errorf("seed %d: what was synced: %v", seed, err)
		}
		for i, id := range [][16]byte{replaced, fresh} {
			got, meta, err := read(after, id)
			switch {
			case errors.Is(err, ErrNotFound):
				seen[fmt.Sprint(i, " gone")] = true
			case errors.Is(err, ErrCorrupt):
				seen[fmt.Sprint(i, " torn")] = true
			case err != nil:
				t.Errorf("seed %d: %v", seed, err)
			case !bytes.Equal(got, map[string][]byte{"old": old, "new": now}[string(meta)]):
				t.Errorf("seed %d: wrong bytes", seed)
			default:
				seen[fmt.Sprint(i, " ", string(meta))] = true
			}
		}
	}
	want := []string{"0 old", "0 new", "0 torn", "1 new", "1 torn", "1 gone"}
	for _, w := range want {
		if !seen[w] {
			t.Errorf("no seed gives %q", w)
		}
	}
	if seen["0 gone"] {
		t.Error("a name that was there before and after is gone")
	}
}
