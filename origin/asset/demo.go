package asset

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io"
	"path"
	"sync"
	"time"
)

// DemoName is the name of the sample title.
const DemoName = "demo"

// demoDate stands for the modification time of the sample's files, which an embedded file does not have.
func demoDate() time.Time { return time.Date(2026, time.November, 23, 0, 0, 0, 0, time.UTC) }

// The sample: 24 s, 30 frames a second, closed groups of pictures of 2 s; demo/README.md tells more.
//
//go:embed demo/demo-288.mp4 demo/demo-480.mp4 demo/demo-720.mp4 demo/demo-audio.m4a
var demoFiles embed.FS

// Demo returns a source with one title, DemoName: a sample of three video renditions and one of audio that is part
// of the program. Its files are hashed when it is first asked for (2.6 MB, some milliseconds).
func Demo() Source { return demo{entries: sync.OnceValues(demoEntries)} }

type demo struct{ entries func() ([]Entry, error) }

func (d demo) Titles(context.Context) ([]string, error) { return []string{DemoName}, nil }

func (d demo) Title(name string) (*Title, error) {
	if name != DemoName {
		return nil, notFound("title", name)
	}
	entries, err := d.entries()
	if err != nil {
		return nil, err
	}
	return &Title{Name: DemoName, Media: entries, open: d.open}, nil
}

func (d demo) open(name string) (*File, error) {
	entries, err := d.entries()
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if e.Name != name {
			continue
		}
		f, err := demoFiles.Open(path.Join("demo", name))
		if err != nil {
			return nil, err
		}
		return &File{ReaderAt: f.(io.ReaderAt), Entry: e}, nil // embed documents that its files are io.ReaderAt
	}
	return nil, notFound("open", name)
}

func demoEntries() ([]Entry, error) {
	list, err := demoFiles.ReadDir("demo")
	if err != nil {
		return nil, err
	}
	var entries []Entry
	for _, e := range list {
		content, err := demoFiles.ReadFile(path.Join("demo", e.Name()))
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(content)
		entries = append(entries, Entry{
			Name: e.Name(), SizeBytes: int64(len(content)), ModTime: demoDate(), Digest: hex.EncodeToString(sum[:]),
		})
	}
	return entries, nil
}
