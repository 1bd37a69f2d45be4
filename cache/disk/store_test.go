package disk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

var errBroken = errors.New("broken")

func newStore(t testing.TB, opts Options) *Store {
	t.Helper()
	if opts.Dir == "" {
		opts.Dir = t.TempDir()
	}
	s, err := New(opts, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func random(seed byte, n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(b) // never fails
	return b
}

func create(s *Store, id [16]byte, body, meta []byte, piece int) (int64, error) {
	w, err := s.Create(id)
	if err != nil {
		return 0, err
	}
	defer func() { _ = w.File().Close() }()
	for p := body; len(p) > 0; {
		n := min(len(p), piece)
		if _, err := w.Write(p[:n]); err != nil {
			return 0, err
		}
		p = p[n:]
	}
	return w.Commit(meta)
}

// read opens an object and returns its body and blob.
func read(s *Store, id [16]byte) (body, meta []byte, err error) {
	o, err := s.Open(id, true)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = o.File.Close() }()
	body = make([]byte, o.Length)
	return body, o.Meta, readFull(o.File, body, 0)
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	for _, noTemp := range []bool{false, true} {
		s := newStore(t, Options{FS: &Real{NoTemp: noTemp}})
		for i, n := range []int{0, 1, BlockBytes - 1, BlockBytes, BlockBytes + 1, 3*BlockBytes + 7, 10 * BlockBytes} {
			for _, piece := range []int{1000, BlockBytes, 1 << 20} {
				id := [16]byte{byte(i), 1}
				body, meta := random(byte(i), n), random(9, i*10)
				size, err := create(s, id, body, meta, piece)
				if err != nil {
					t.Fatal(err)
				}
				if want := FileBytes(int64(n), len(meta)); size != want {
					t.Errorf("Commit = %d bytes, want %d", size, want)
				}
				gotBody, gotMeta, err := read(s, id)
				if err != nil || !bytes.Equal(gotBody, body) || !bytes.Equal(gotMeta, meta) {
					t.Errorf("%d bytes in pieces of %d: %v, equal %v, %v", n, piece, err, bytes.Equal(gotBody, body), bytes.Equal(gotMeta, meta))
				}
			}
		}
		if err := s.Remove([16]byte{0, 1}); err != nil {
			t.Error(err)
		}
		if err := s.Remove([16]byte{0, 1}); err != nil {
			t.Errorf("Remove of nothing: %v", err)
		}
		if _, err := s.Open([16]byte{0, 1}, false); !errors.Is(err, ErrNotFound) {
			t.Errorf("Open of nothing: %v", err)
		}
		if left := temps(t, s.dir); len(left) > 0 {
			t.Errorf("left over: %q", left)
		}
	}
}

func temps(t *testing.T, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*", tempPrefix+"*"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestUncommittedIsGone(t *testing.T) {
	t.Parallel()
	for _, noTemp := range []bool{false, true} {
		s := newStore(t, Options{FS: &Real{NoTemp: noTemp}})
		w, err := s.Create([16]byte{1})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte("half")); err != nil {
			t.Fatal(err)
		}
		if err := w.File().Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Open([16]byte{1}, false); !errors.Is(err, ErrNotFound) {
			t.Errorf("Open: %v, want ErrNotFound", err)
		}
		if left := temps(t, s.dir); len(left) > 0 {
			t.Errorf("left over: %q", left)
		}
	}
}

func TestAppend(t *testing.T) {
	t.Parallel()
	s := newStore(t, Options{})
	id, body := [16]byte{7}, random(1, 100_000)
	size, err := create(s, id, body, []byte("first"), 4096)
	if err != nil {
		t.Fatal(err)
	}
	reader, err := s.Open(id, false)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = reader.File.Close() }()
	for i := range MaxAppends {
		meta := fmt.Appendf(nil, "head %d", i)
		longer, err := s.Append(id, meta)
		if err != nil || longer <= size {
			t.Fatalf("Append = %d, %v; before %d", longer, err, size)
		}
		size = longer
		gotBody, gotMeta, err := read(s, id)
		if err != nil || !bytes.Equal(gotBody, body) || !bytes.Equal(gotMeta, meta) {
			t.Errorf("after append %d: %v, %q", i, err, gotMeta)
		}
	}
	if _, err := s.Append(id, nil); !errors.Is(err, ErrFull) {
		t.Errorf("Append: %v, want ErrFull", err)
	}
	if _, err := s.Append([16]byte{8}, nil); !errors.Is(err, ErrNotFound) {
		t.Errorf("Append to nothing: %v, want ErrNotFound", err)
	}
	got := make([]byte, len(body))
	if err := readFull(reader.File, got, 0); err != nil || !bytes.Equal(got, body) {
		t.Errorf("a reader from before is disturbed: %v", err)
	}
}

// Every bit of a file counts: one that is flipped, anywhere, or a cut, anywhere, is found.
func TestEveryByteIsChecked(t *testing.T) {
	t.Parallel()
	s := newStore(t, Options{})
	id, body := [16]byte{3}, random(1, 300)
	if _, err := create(s, id, body, []byte("meta"), 100); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(s.path(id))
	if err != nil {
		t.Fatal(err)
	}
	wantCorrupt := func(name string, b []byte) {
		t.Helper()
		if err := os.WriteFile(s.path(id), b, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, _, err := read(s, id); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v, want ErrCorrupt", name, err)
		}
		if _, err := os.Stat(s.path(id)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: the file is still there", name)
		}
	}
	for i := range whole {
		b := slices.Clone(whole)
		b[i] ^= 1 << (i % 8)
		wantCorrupt(fmt.Sprintf("bit of byte %d", i), b)
		wantCorrupt(fmt.Sprintf("cut to %d", i), whole[:i])
	}
	// The whole file under another name is another object's.
	other := [16]byte{3, 1}
	if err := os.WriteFile(s.path(other), whole, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := read(s, other); !errors.Is(err, ErrCorrupt) {
		t.Errorf("misnamed: %v, want ErrCorrupt", err)
	}
}

func TestLock(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := New(Options{Dir: dir}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := New(Options{Dir: dir}, time.Now()); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), dir) {
		t.Errorf("second New: %v, want ErrLocked naming the directory", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	newStore(t, Options{Dir: dir})
	if _, err := New(Options{}, time.Now()); err == nil {
		t.Error("New without a directory succeeds")
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	s := newStore(t, Options{})
	want := map[[16]byte]int64{}
	for i := range 20 {
		id := [16]byte{byte(i * 13), byte(i)}
		size, err := create(s, id, random(1, i*1000), nil, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		want[id] = size
	}
	// A leftover of an earlier process goes, one of ours stays, what is not ours is left alone.
	old, own, alien := filepath.Join(s.dir, "00", tempPrefix+"1-1"), filepath.Join(s.dir, "00", tempPrefix+"2-2"), filepath.Join(s.dir, "00", "README")
	for _, path := range []string{old, own, alien} {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chtimes(old, s.start, s.start.Add(-time.Minute)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(own, s.start, s.start.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	got := map[[16]byte]int64{}
	for dir := range Dirs {
		list, err := s.List(byte(dir))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range list {
			got[e.ID] = e.Bytes
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("List finds\n%v, want\n%v", got, want)
	}
	for path, want := range map[string]bool{old: false, own: true, alien: true} {
		if _, err := os.Stat(path); (err == nil) != want {
			t.Errorf("%s is there: %v, want %v", path, err == nil, want)
		}
	}
}

// Whatever call fails, an object that Commit or Append reported is whole, and one that it did not is the old one, the
// new one or none.
func TestEveryCallFails(t *testing.T) {
	t.Parallel()
	for _, plan := range []Plan{
		{Err: syscall.ENOSPC},
		{Err: syscall.EIO, Sticky: true},
		{Err: syscall.ENOSPC, Short: true},
		{Err: syscall.ENOSPC, Short: true, Sticky: true, FullDisk: true},
	} {
		for _, noTemp := range []bool{false, true} {
			fault := &Fault{FS: &Real{NoTemp: noTemp}}
			s := newStore(t, Options{FS: fault})
			id, body := [16]byte{1}, random(1, 150_000)
			other := random(2, 70_000)
			for n := 1; ; n++ {
				fault.Arm(Plan{})
				if _, err := create(s, id, body, []byte("old"), 1<<16); err != nil {
					t.Fatal(err)
				}
				plan.At = n
				fault.Arm(plan)
				_, appendErr := s.Append(id, []byte("newer"))
				_, createErr := create(s, id, other, []byte("other"), 1<<16)
				got, meta, openErr := read(s, id)
				calls := fault.Calls()
				if openErr == nil {
					verify(t, n, got, meta, body, other)
				}
				fault.Arm(Plan{})
				got, meta, err := read(s, id)
				switch {
				case err == nil:
					verify(t, n, got, meta, body, other)
				case !errors.Is(err, ErrNotFound):
					t.Errorf("call %d: %v", n, err)
				}
				if createErr == nil && openErr == nil && string(meta) != "other" {
					t.Errorf("call %d: %q after a commit", n, meta)
				}
				if appendErr == nil && createErr != nil && err == nil && string(meta) == "old" {
					t.Errorf("call %d: old head after an append", n)
				}
				if left := temps(t, s.dir); len(left) > 0 {
					t.Errorf("call %d: left over: %q", n, left)
				}
				if calls < n {
					break
				}
			}
		}
	}
}

func verify(t *testing.T, n int, got, meta, body, other []byte) {
	t.Helper()
	switch string(meta) {
	case "old", "newer":
		if !bytes.Equal(got, body) {
			t.Errorf("call %d: wrong bytes under %q", n, meta)
		}
	case "other":
		if !bytes.Equal(got, other) {
			t.Errorf("call %d: wrong bytes under %q", n, meta)
		}
	default:
		t.Errorf("call %d: head %q", n, meta)
	}
}

func TestNewReportsErrors(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 2} {
		fault := &Fault{FS: &Real{}}
		fault.Arm(Plan{At: n, Err: errBroken})
		dir := t.TempDir()
		if _, err := New(Options{Dir: dir, FS: fault}, time.Now()); !errors.Is(err, errBroken) || !strings.Contains(err.Error(), dir) {
			t.Errorf("call %d: %v", n, err)
		}
		newStore(t, Options{Dir: dir}) // the lock was given back
	}
}

// FuzzOpen gives the store arbitrary files: it must not panic, nor return a body that has not got its checksum.
func FuzzOpen(f *testing.F) {
	s := newStore(f, Options{})
	id := [16]byte{5}
	for _, n := range []int{0, 10, BlockBytes + 1} {
		if _, err := create(s, id, random(1, n), []byte("meta"), 1<<20); err != nil {
			f.Fatal(err)
		}
		b, err := os.ReadFile(s.path(id))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := (&Memory{}).Anonymous()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := file.WriteAt(b, 0); err != nil {
			t.Fatal(err)
		}
		ft, trailer, size, err := readTrailer(file, id)
		if err != nil {
			return
		}
		if size != int64(len(b)) || ft.bodyLen > size {
			t.Errorf("body of %d in %d bytes", ft.bodyLen, len(b))
		}
		_ = checkBody(file, ft, trailer[ft.metaLen:], func(int) error { return nil }) // must not panic
		again := appendTrailer(nil, trailer[:ft.metaLen], tableOf(trailer[ft.metaLen:]), ft)
		if !bytes.HasSuffix(b, again) {
			t.Errorf("trailer is not stable: %x", again)
		}
	})
}

// FuzzFooter gives the parser footers with a good checksum: what it takes has to be possible for a file of that length.
func FuzzFooter(f *testing.F) {
	good := footer{bodyLen: 100_000, metaLen: 5, tableLen: 2, id: [16]byte{1}}
	f.Add(good.append(nil), int64(100_000+5+8+footerSize))
	good.appends = 3
	f.Add(good.append(nil), int64(200_000))
	good.bodyLen = -1
	f.Add(good.append(nil), int64(-1))
	f.Fuzz(func(t *testing.T, b []byte, size int64) {
		if len(b) != footerSize {
			return
		}
		binary.LittleEndian.PutUint32(b[60:], crc32.Checksum(b[:60], castagnoli))
		ft, err := parseFooter(b, [16]byte(b[32:48]), size)
		if err != nil {
			return
		}
		if ft.bodyLen < 0 || ft.metaLen < 0 || ft.bodyLen+ft.trailerSize()+footerSize > size || int64(ft.tableLen) != blocks(ft.bodyLen) {
			t.Errorf("%+v in a file of %d bytes", ft, size)
		}
		if again, err := parseFooter(ft.append(nil), ft.id, size); err != nil || again != ft {
			t.Errorf("%+v reads as %+v, %v", ft, again, err)
		}
	})
}
