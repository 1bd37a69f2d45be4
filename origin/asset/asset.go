package asset

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"
)

// Source is a place where titles lie. Its methods may be called at the same time.
type Source interface {
	// Titles returns the names of all titles, sorted. It stops with the context's error when ctx ends.
	Titles(ctx context.Context) ([]string, error)
	// Title returns the title of that name as it is now. A name that is no title is an error that
	// matches fs.ErrNotExist.
	Title(name string) (*Title, error)
}

// Entry is one file of a title, as it was when the title was looked up.
type Entry struct {
	Name      string    // path below the title's folder
	SizeBytes int64     // length of the file
	ModTime   time.Time // last change
	Digest    string    // SHA-256 of the content in hex where the source knows it; empty for files on disk
}

// Equal reports whether e and other describe the same state of the same file.
func (e Entry) Equal(other Entry) bool {
	return e.Name == other.Name && e.SizeBytes == other.SizeBytes && e.ModTime.Equal(other.ModTime) && e.Digest == other.Digest
}

// Title is one title as it was when it was looked up; it is immutable.
type Title struct {
	Name      string  // as in URLs, with slashes between nested folders
	Packaged  bool    // the folder holds playlists already: serve its files as they are
	Media     []Entry // the MP4 files, by name; empty when Packaged
	Playlists []Entry // the .m3u8 and .mpd files of a packaged title's folder, by name

	open func(name string) (*File, error)
}

// Open opens a file of the title by its path below the title's folder. The caller closes it. A name that is not
// there, that is no regular file, that is hidden or that leads outside the source is an error that matches
// fs.ErrNotExist.
func (t *Title) Open(name string) (*File, error) {
	if !validName(name) {
		return nil, notFound("open", name)
	}
	return t.open(name)
}

// File is an open file of a title. It belongs to the one who opened it; ReadAt may be called at the same time.
type File struct {
	io.ReaderAt
	Entry

	file *os.File
}

// OS returns the open file when the content lies on disk, so that a connection can send it without a copy, and nil
// when it is part of the program. The file's own offset is free for the caller to move.
func (f *File) OS() *os.File { return f.file }

// Close closes the file. A second call does nothing that matters.
func (f *File) Close() error {
	if f.file == nil {
		return nil
	}
	return f.file.Close()
}

// Join returns a source that asks the given ones in order; the first that has a title of a name answers for it.
func Join(sources ...Source) Source { return joined(slices.Clone(sources)) }

type joined []Source

func (j joined) Titles(ctx context.Context) ([]string, error) {
	var all []string
	for _, s := range j {
		names, err := s.Titles(ctx)
		if err != nil {
			return nil, err
		}
		all = append(all, names...)
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

func (j joined) Title(name string) (*Title, error) {
	for _, s := range j {
		t, err := s.Title(name)
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return t, err
		}
	}
	return nil, notFound("title", name)
}

// mediaExtensions are the names of MP4 files, in the order in which a single file of the root is looked for.
var mediaExtensions = [...]string{".mp4", ".m4v", ".mov", ".m4a"} //nolint:gochecknoglobals // a table, never written

func isMedia(name string) bool {
	return slices.Contains(mediaExtensions[:], strings.ToLower(path.Ext(name)))
}

func isPlaylist(name string) bool {
	ext := strings.ToLower(path.Ext(name))
	return ext == ".m3u8" || ext == ".mpd"
}

// validName reports whether name is a clean relative path without hidden elements and without bytes that have no
// place in a file name.
func validName(name string) bool {
	return fs.ValidPath(name) && !strings.HasPrefix(name, ".") && !strings.Contains(name, "/.") &&
		!strings.ContainsAny(name, "\x00\\")
}

func notFound(op, name string) error {
	return fmt.Errorf("asset: %s %q: %w", op, name, fs.ErrNotExist)
}

func byName(a, b Entry) int { return cmp.Compare(a.Name, b.Name) }
