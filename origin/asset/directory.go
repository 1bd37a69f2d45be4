package asset

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"
)

// maxDepth is how many folders may nest below the root; deeper ones are not listed. It bounds a walk over a tree
// that was built to be endless.
const maxDepth = 16

// maxEntries is how many entries of one folder are read. A folder with more is an error and no title: reading
// them all for one request would be a way to keep the server busy.
const maxEntries = 100_000

// Dir is a source of titles below one folder.
type Dir struct{ root *os.Root }

// Directory opens the folder root as a source of titles. Close releases it.
func Directory(root string) (*Dir, error) {
	r, err := os.OpenRoot(root)
	if err != nil {
		return nil, fmt.Errorf("asset: open root: %w", err)
	}
	return &Dir{root: r}, nil
}

// Close releases the root folder. Titles of it cannot be opened any more; files that are open stay so.
func (d *Dir) Close() error { return d.root.Close() }

// Titles walks the root and returns the names of its titles, sorted. Folders that cannot be read are left out.
func (d *Dir) Titles(ctx context.Context) ([]string, error) {
	root, err := d.read(".")
	if err != nil {
		return nil, fmt.Errorf("asset: list titles: %w", err)
	}
	var names []string
	for _, e := range root.media {
		names = append(names, strings.TrimSuffix(e.Name, path.Ext(e.Name)))
	}
	for _, name := range root.folders {
		if names, err = d.walk(ctx, name, 1, names); err != nil {
			return nil, err
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// walk appends to names the titles at and below the folder dir.
func (d *Dir) walk(ctx context.Context, dir string, depth int, names []string) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f, err := d.read(dir)
	if err != nil {
		return names, nil //nolint:nilerr // a folder that cannot be read has no titles; the others have.
	}
	if len(f.playlists) > 0 {
		return append(names, dir), nil
	}
	if len(f.media) > 0 {
		names = append(names, dir)
	}
	if depth >= maxDepth {
		return names, nil
	}
	for _, name := range f.folders {
		if names, err = d.walk(ctx, path.Join(dir, name), depth+1, names); err != nil {
			return nil, err
		}
	}
	return names, nil
}

// Title returns the title of that name: a folder, or else a single file of the root.
func (d *Dir) Title(name string) (*Title, error) {
	if !validName(name) {
		return nil, notFound("title", name)
	}
	f, err := d.read(name)
	if err == nil && len(f.media)+len(f.playlists) > 0 {
		t := &Title{Name: name, Packaged: len(f.playlists) > 0, Media: f.media, Playlists: f.playlists}
		if t.Packaged {
			t.Media = nil
		}
		t.open = func(file string) (*File, error) { return d.open(path.Join(name, file), file) }
		return t, nil
	}
	if err != nil && errors.Is(err, syscall.EMFILE) {
		return nil, err // out of descriptors is no answer to the question whether there is such a title
	}
	return d.single(name)
}

// single returns the title that is one file of the root.
func (d *Dir) single(name string) (*Title, error) {
	if strings.Contains(name, "/") {
		return nil, notFound("title", name)
	}
	for _, ext := range mediaExtensions {
		info, err := d.root.Stat(name + ext)
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		t := &Title{Name: name, Media: []Entry{entryOf(name+ext, info)}}
		t.open = func(file string) (*File, error) { return d.open(file, file) }
		return t, nil
	}
	return nil, notFound("title", name)
}

// folder is what one folder holds that matters here.
type folder struct {
	media, playlists []Entry
	folders          []string
}

// read reads one folder below the root. The folder itself must not be hidden; what is hidden in it is left out.
func (d *Dir) read(dir string) (folder, error) {
	h, err := d.root.OpenFile(dir, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return folder{}, err
	}
	defer func() { _ = h.Close() }() // read only: nothing can be lost
	list, err := h.ReadDir(maxEntries + 1)
	if err != nil && len(list) == 0 {
		return folder{}, nil // an empty folder answers io.EOF
	}
	if len(list) > maxEntries {
		return folder{}, fmt.Errorf("asset: folder %s has more than %d entries", dir, maxEntries)
	}
	var f folder
	for _, e := range list {
		name := e.Name()
		switch {
		case !validName(name):
		case e.IsDir():
			f.folders = append(f.folders, name)
		case isMedia(name), isPlaylist(name):
			info, err := d.root.Stat(path.Join(dir, name)) // follows links, but not to the outside
			if err != nil || !info.Mode().IsRegular() {
				continue
			}
			if isMedia(name) {
				f.media = append(f.media, entryOf(name, info))
			} else {
				f.playlists = append(f.playlists, entryOf(name, info))
			}
		}
	}
	slices.SortFunc(f.media, byName)
	slices.SortFunc(f.playlists, byName)
	slices.Sort(f.folders)
	return f, nil
}

// open opens the regular file at full, a path below the root, under the name that its title knows it by.
func (d *Dir) open(full, name string) (*File, error) {
	// O_NONBLOCK: opening a named pipe must not wait for a writer. It means nothing for a regular file.
	f, err := d.root.OpenFile(full, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
			return nil, fmt.Errorf("asset: open %q: %w", full, err)
		}
		return nil, notFound("open", full)
	}
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		_ = f.Close() // read only: nothing can be lost
		return nil, notFound("open", full)
	}
	return &File{ReaderAt: f, Entry: entryOf(name, info), file: f}, nil
}

func entryOf(name string, info fs.FileInfo) Entry {
	return Entry{Name: name, SizeBytes: info.Size(), ModTime: info.ModTime()}
}
