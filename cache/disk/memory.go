package disk

import (
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"
)

// pageBytes is what a power cut loses or keeps of a file as one piece.
const pageBytes = 4 << 10

// Memory is an FS for tests that lies in memory and forgets what was not synced, as a machine does whose power is cut.
// Nothing the Store does syncs, so Crash may take anything since the last Sync: names come back that were removed or
// replaced, new ones are gone, and files lose pages, or their end, each on its own and in any order. It is as nasty as a
// file system is allowed to be, and nastier than those in use.
//
// Its files have no descriptor. The zero value is empty and ready.
type Memory struct {
	// Now gives files their times; nil means that they have none.
	Now func() time.Time

	mu    sync.Mutex // guards the fields below
	dirs  map[string]map[string]*memoryNode
	locks map[string]bool
	// past is what names that have changed since the last Sync stood for, nil for nothing; the first is from before.
	past map[string][]*memoryNode
}

type memoryNode struct {
	data    []byte
	modTime time.Time
	// safe is what is on the medium, and dirty are the pages that are not as there.
	safe  []byte
	dirty map[int]struct{}
}

type memoryFile struct {
	fs   *Memory
	node *memoryNode
}

// Sync brings everything to the medium.
func (m *Memory) Sync() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.past = nil
	for _, names := range m.dirs {
		for _, node := range names {
			if len(node.dirty) > 0 || len(node.safe) != len(node.data) {
				node.safe = slices.Clone(node.data)
				node.dirty = nil
			}
		}
	}
}

// Crash returns what a power cut now leaves, chosen by seed. Locks are gone. m goes on to work for who still uses it, and
// shares nothing with it.
func (m *Memory) Crash(seed uint64) *Memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := rand.New(rand.NewPCG(seed, 0))
	after := &Memory{Now: m.Now, dirs: map[string]map[string]*memoryNode{}}
	left := map[*memoryNode]*memoryNode{} // a node may have two names
	for _, dir := range slices.Sorted(maps.Keys(m.dirs)) {
		names := map[string]*memoryNode{}
		after.dirs[dir] = names
		all := maps.Clone(m.dirs[dir])
		for path := range m.past {
			if filepath.Dir(path) == dir {
				all[filepath.Base(path)] = nil
			}
		}
		for _, name := range slices.Sorted(maps.Keys(all)) {
			node := m.dirs[dir][name]
			// Most often the newest; else any that it was.
			if past := m.past[filepath.Join(dir, name)]; len(past) > 0 && r.IntN(3) == 0 {
				node = past[r.IntN(len(past))]
			}
			if node == nil {
				continue
			}
			if left[node] == nil {
				left[node] = node.crash(r)
			}
			names[name] = left[node]
		}
	}
	return after
}

// crash returns what is left of a file.
func (n *memoryNode) crash(r *rand.Rand) *memoryNode {
	size := len(n.data)
	if len(n.safe) != size && r.IntN(4) == 0 {
		size = min(size, len(n.safe)) + r.IntN(max(size, len(n.safe))-min(size, len(n.safe))+1)
	}
	lose := r.IntN(4) // of four pages, so that some files lose none
	data := make([]byte, size)
	for page := range size/pageBytes + 1 {
		from := n.data
		if _, dirty := n.dirty[page]; dirty && r.IntN(4) < lose {
			from = n.safe // or a hole
		}
		if start := page * pageBytes; start < min(len(from), size) {
			copy(data[start:min(start+pageBytes, size)], from[start:])
		}
	}
	return &memoryNode{data: data, safe: slices.Clone(data), modTime: n.modTime}
}

// Lock is FS's.
func (m *Memory) Lock(path string) (io.Closer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.locks[path] {
		return nil, ErrLocked
	}
	if m.locks == nil {
		m.locks = map[string]bool{}
	}
	m.locks[path] = true
	return &memoryLock{m, path}, nil
}

type memoryLock struct {
	fs   *Memory
	path string
}

func (l *memoryLock) Close() error {
	l.fs.mu.Lock()
	defer l.fs.mu.Unlock()
	delete(l.fs.locks, l.path)
	return nil
}

// MkdirAll is FS's; directories are on the medium at once.
func (m *Memory) MkdirAll(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dirs == nil {
		m.dirs = map[string]map[string]*memoryNode{}
	}
	if m.dirs[dir] == nil {
		m.dirs[dir] = map[string]*memoryNode{}
	}
	return nil
}

// Create is FS's.
func (m *Memory) Create(dir string) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dirs[dir] == nil {
		return nil, &fs.PathError{Op: "create", Path: dir, Err: fs.ErrNotExist}
	}
	return m.fileLocked(&memoryNode{}), nil
}

// Publish is FS's.
func (m *Memory) Publish(file File, path string) error {
	f, ok := file.(*memoryFile)
	if !ok || f.fs != m {
		return fmt.Errorf("publish %s: not a created file", path)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.setLocked(path, f.node)
}

// Anonymous is FS's.
func (m *Memory) Anonymous() (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.fileLocked(&memoryNode{}), nil
}

// Open is FS's.
func (m *Memory) Open(path string) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	node := m.dirs[filepath.Dir(path)][filepath.Base(path)]
	if node == nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
	}
	return m.fileLocked(node), nil
}

// Remove is FS's.
func (m *Memory) Remove(path string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dirs[filepath.Dir(path)][filepath.Base(path)] == nil {
		return &fs.PathError{Op: "remove", Path: path, Err: fs.ErrNotExist}
	}
	return m.setLocked(path, nil)
}

// List is FS's.
func (m *Memory) List(dir string) ([]Listed, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	names := m.dirs[dir]
	if names == nil {
		return nil, &fs.PathError{Op: "list", Path: dir, Err: fs.ErrNotExist}
	}
	list := make([]Listed, 0, len(names))
	for _, name := range slices.Sorted(maps.Keys(names)) {
		list = append(list, Listed{Name: name, Bytes: int64(len(names[name].data)), ModTime: names[name].modTime})
	}
	return list, nil
}

func (m *Memory) fileLocked(node *memoryNode) *memoryFile { return &memoryFile{fs: m, node: node} }

// setLocked makes a name stand for a file, or for nothing.
func (m *Memory) setLocked(path string, node *memoryNode) error {
	dir, name := filepath.Dir(path), filepath.Base(path)
	names := m.dirs[dir]
	if names == nil {
		return &fs.PathError{Op: "publish", Path: path, Err: fs.ErrNotExist}
	}
	if m.past == nil {
		m.past = map[string][]*memoryNode{}
	}
	m.past[path] = append(m.past[path], names[name])
	if node == nil {
		delete(names, name)
	} else {
		names[name] = node
	}
	return nil
}

// ReadAt is File's.
func (f *memoryFile) ReadAt(p []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if off < 0 {
		return 0, syscall.EINVAL
	}
	if off >= int64(len(f.node.data)) {
		return 0, io.EOF
	}
	n := copy(p, f.node.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// WriteAt is File's.
func (f *memoryFile) WriteAt(p []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if off < 0 {
		return 0, syscall.EINVAL
	}
	n := f.node
	n.resize(max(len(n.data), int(off)+len(p)))
	copy(n.data[off:], p)
	n.touch(int(off), int(off)+len(p))
	if f.fs.Now != nil {
		n.modTime = f.fs.Now()
	}
	return len(p), nil
}

// Size is File's.
func (f *memoryFile) Size() (int64, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	return int64(len(f.node.data)), nil
}

// Truncate is File's.
func (f *memoryFile) Truncate(size int64) error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	f.node.resize(int(size))
	return nil
}

// OS is File's: there is no descriptor.
func (f *memoryFile) OS() *os.File { return nil }

// Close is File's.
func (f *memoryFile) Close() error { return nil }

func (n *memoryNode) resize(size int) {
	was := len(n.data)
	if size > was {
		n.data = append(n.data, make([]byte, size-was)...)
	} else {
		clear(n.data[size:])
		n.data = n.data[:size]
	}
	n.touch(min(was, size), max(was, size))
}

// touch marks the pages of [from, to).
func (n *memoryNode) touch(from, to int) {
	if from == to {
		return
	}
	if n.dirty == nil {
		n.dirty = map[int]struct{}{}
	}
	for page := from / pageBytes; page <= (to-1)/pageBytes; page++ {
		n.dirty[page] = struct{}{}
	}
}
