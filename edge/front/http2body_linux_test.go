package front

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// A file is cold when nothing of it is in the page cache, and not any more when it was read; that takes no memory.
func TestDiskFile(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	content := bytes.Repeat([]byte("0123456789abcdef"), copyBytes/16)
	if _, err := f.Write(content); err != nil {
		t.Fatal(err)
	}
	p := make([]byte, copyBytes)
	if forget(t, f); (diskFile{f}).readCached(p, 0) == copyBytes {
		t.Skip("the file system keeps it, or cannot tell")
	}
	src := bodySource{file: diskFile{f}, left: copyBytes}
	if err := src.read(p); !errors.Is(err, errCold) || src.left != copyBytes {
		t.Errorf("%v with %d bytes left", err, src.left)
	}
	if err := src.warm(); err != nil {
		t.Fatal(err)
	}
	forget(t, f)
	if err := src.read(p); err != nil || !bytes.Equal(p, content) || src.left != 0 {
		t.Errorf("%v with %d bytes left", err, src.left)
	}
	if n := (diskFile{f}).readCached(p[:10], copyBytes-10); n != 10 {
		t.Errorf("%d bytes in memory, want 10", n)
	}
	if n := (diskFile{f}).readCached(p, copyBytes-10); n != 10 {
		t.Errorf("%d bytes in memory at the end of the file, want 10", n)
	}
	file := diskFile{f}
	if n := testing.AllocsPerRun(100, func() { file.readCached(p, 0) }); n > 0 && !underRace {
		t.Errorf("%v allocations", n)
	}
}

// forget has the kernel write a file to disk, and drop it from memory.
func forget(t *testing.T, f *os.File) {
	t.Helper()
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		t.Fatal(err)
	}
}
