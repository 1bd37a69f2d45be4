package front

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
)

// qlogFiles are the names of the files in a folder.
func qlogFiles(t *testing.T, dir string) (names []string, size int64) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		about, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, e.Name())
		size += about.Size()
	}
	return names, size
}

func TestQlog(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "qlog") // it is made
	folder, err := OpenQlog(dir, 1<<20, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, Options{Qlog: folder, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Set-Cookie", "hush-b")
	})})
	c, url := s.client(t, "h3")
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/x?CAT=hush-c", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "hush-a")
	if resp, err := c.Do(r); err != nil {
		t.Fatal(err)
	} else {
		_ = resp.Body.Close()
	}
	s.wait(t)
	names, _ := qlogFiles(t, dir)
	if len(names) != 1 {
		t.Fatalf("%q, want one file", names)
	}
	name := filepath.Join(dir, names[0])
	if about, err := os.Stat(name); err != nil || about.Mode() != 0o600 {
		t.Errorf("%v, %v, want mode 0600", about.Mode(), err)
	}
	b, err := os.ReadFile(name)
	if err != nil || !bytes.Contains(b, []byte("http3:frame_parsed")) || !bytes.Contains(b, []byte("packet_sent")) || !bytes.Contains(b, []byte(`"/x?"`)) {
		t.Errorf("%v, %d bytes: %.300s", err, len(b), b)
	}
	if i := bytes.Index(b, []byte("hush")); i >= 0 {
		t.Errorf("it has %s", b[max(0, i-100):i+10])
	}
	for i, record := range bytes.Split(b, []byte{0x1e}) { // RFC 7464
		if i > 0 && !json.Valid(record) {
			t.Errorf("record %d is %q", i, record)
		}
	}
}

// The files of a folder never have more than its limit: the oldest go, also those of before, and those of
// connections that go on.
func TestQlogIsBounded(t *testing.T) {
	t.Parallel()
	const limit = 100_000
	dir := t.TempDir()
	for i, name := range []string{"new.sqlog", "old.sqlog", "other.txt"} {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, make([]byte, limit/2+1), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(name, time.Time{}, time.Now().Add(-time.Duration(i)*time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	q, err := OpenQlog(dir, limit, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := func(when string, wanted ...string) {
		t.Helper()
		names, size := qlogFiles(t, dir)
		if slices.Sort(wanted); !slices.Equal(names, append(wanted, "other.txt")) || size > limit+limit/2+1 {
			t.Errorf("%s: %q, %d bytes, want %q", when, names, size, wanted)
		}
	}
	want("at first", "new.sqlog")
	file := func(id byte) *qlogFile {
		if q.trace(quic.ConnectionIDFromBytes([]byte{id, 0, 0, 0})) == nil {
			t.Fatal("no trace")
		}
		return q.files[len(q.files)-1]
	}
	write := func(f *qlogFile, n int) {
		t.Helper()
		if wrote, err := f.Write(make([]byte, n)); wrote != n || err != nil {
			t.Fatalf("%d, %v", wrote, err)
		}
	}
	a := file(0xaa)
	write(a, limit/4)
	want("with one more", "new.sqlog", "aa000000.sqlog")
	b := file(0xbb)
	write(b, limit/2)
	want("with two", "aa000000.sqlog", "bb000000.sqlog")
	write(a, limit/2) // it is the oldest now
	want("when the oldest goes on", "bb000000.sqlog")
	write(a, 10) // into nothing
	write(b, limit/4)
	write(b, limit) // there is no room
	write(b, 10)
	want("alone", "bb000000.sqlog")
	if about, err := os.Stat(b.name); err != nil || about.Size() != limit*3/4 {
		t.Errorf("%d bytes, %v, want it to end at %d", about.Size(), err, limit*3/4)
	}
	c := file(0xcc)
	write(c, limit/2)
	want("after it", "cc000000.sqlog")
	q.end()
	write(c, limit/10)
	if about, err := os.Stat(c.name); err != nil || about.Size() != limit/2 {
		t.Errorf("%d bytes, %v, after the end", about.Size(), err)
	}
	if q.trace(quic.ConnectionIDFromBytes([]byte{0xdd, 0, 0, 0})) != nil {
		t.Error("a trace after the end")
	}
	want("at the end", "cc000000.sqlog")
}

func TestQlogFolderIsUnusable(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]string{file: file, filepath.Join(file, "x"): file, "/proc/self": "/proc/self/.weir-"} {
		if _, err := OpenQlog(dir, 1<<20, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", dir, err)
		}
	}
}
