package asset

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
)

func tree(t *testing.T, files ...string) string {
	t.Helper()
	root := t.TempDir()
	for _, name := range files {
		full := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func open(t *testing.T, root string) *Dir {
	t.Helper()
	d, err := Directory(root)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func TestTitlesOfADirectory(t *testing.T) {
	t.Parallel()
	root := tree(t, "film.mp4", "both.mp4", "both/a.mp4", "show/s1/e1/720.mp4", "show/s1/e1/sound.m4a", "pkg/master.m3u8", "pkg/v/x.mp4",
		".hidden/a.mp4", "show/.part.mp4", "notes/a.txt", "UPPER.MP4")
	if err := os.Symlink(root, filepath.Join(root, "show/loop")); err != nil {
		t.Fatal(err)
	}
	d := open(t, root)
	got, err := Join(d, Demo()).Titles(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"UPPER", "both", "demo", "film", "pkg", "show/s1/e1"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	title, err := d.Title("both")
	if err != nil || len(title.Media) != 1 || title.Media[0].Name != "a.mp4" {
		t.Errorf("both: got %+v, %v, want the folder before the file", title, err)
	}
	if title, err := d.Title("pkg"); err != nil || !title.Packaged || len(title.Media) != 0 {
		t.Errorf("pkg: got %+v, %v", title, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.Titles(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v after the context ended", err)
	}
}

func TestOnlyFilesInsideOpen(t *testing.T) {
	t.Parallel()
	outside := tree(t, "secret.mp4")
	root := tree(t, "film/a.mp4", "film/.b.mp4", "film/deep/c.mp4")
	for link, to := range map[string]string{
		"film/out.mp4": filepath.Join(outside, "secret.mp4"), "film/in.mp4": "a.mp4", "film/dir": outside, "up": "..",
	} {
		if err := os.Symlink(to, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(root, "film/pipe.mp4"), 0o644); err != nil {
		t.Fatal(err)
	}
	title, err := open(t, root).Title("film")
	if err != nil {
		t.Fatal(err)
	}
	if len(title.Media) != 2 || title.Media[0].Name != "a.mp4" || title.Media[1].Name != "in.mp4" {
		t.Errorf("got media %+v, want a.mp4 and in.mp4", title.Media)
	}
	for _, name := range []string{"a.mp4", "in.mp4", "deep/c.mp4"} {
		f, err := title.Open(name)
		if err != nil || f.OS() == nil {
			t.Errorf("%s: got %v", name, err)
			continue
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
	for _, name := range []string{
		"out.mp4", "dir/secret.mp4", "dir/", "../film/a.mp4", "/etc/passwd", "", ".", ".b.mp4", "deep", "deep/", "none.mp4", "a.mp4/", "pipe.mp4", "a\x00",
	} {
		if _, err := title.Open(name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%q: got error %v, want fs.ErrNotExist", name, err)
		}
	}
	for _, name := range []string{"up", "up/film", "../film", "film/", ""} {
		if _, err := open(t, root).Title(name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("title %q: got error %v, want fs.ErrNotExist", name, err)
		}
	}
}

func TestDemo(t *testing.T) {
	t.Parallel()
	title, err := Demo().Title(DemoName)
	if err != nil || len(title.Media) != 4 {
		t.Fatalf("got %+v, %v", title, err)
	}
	f, err := title.Open("demo-720.mp4")
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("demo/demo-720.mp4")
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(io.NewSectionReader(f, 0, f.SizeBytes))
	if err != nil || !slices.Equal(got, want) || f.OS() != nil || len(f.Digest) != 64 {
		t.Errorf("got %d bytes, %v, digest %q", len(got), err, f.Digest)
	}
	if _, err := title.Open("README.md"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is no part of the title: got %v", err)
	}
}
