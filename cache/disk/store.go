package disk

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"
)

// MaxAppends is how many heads may be appended to one file before it has to be written anew. It bounds the growth of a
// file whose response is validated again and again.
const MaxAppends = 8

// Dirs is how many directories the objects lie in, by the first byte of their ID: at ten million objects 40,000 in each, which
// one listing takes well below a second.
const Dirs = 256

var (
	// ErrLocked is returned by New when another process uses the directory.
	ErrLocked = errors.New("disk: another process uses this directory")
	// ErrNotFound is returned by Open and Append when there is no such object.
	ErrNotFound = errors.New("disk: no such object")
	// ErrCorrupt is returned by Open and Append when the file was damaged; it has been removed.
	ErrCorrupt = errors.New("disk: damaged file")
	// ErrReleased is returned by what would change the directory after Release.
	ErrReleased = errors.New("disk: the directory is another process's")
	// ErrFull is returned by Append when the file has had MaxAppends.
	ErrFull = errors.New("disk: too many appended heads")
)

// Options describe a Store.
type Options struct {
	// Dir is the root; it is created if absent. Required.
	Dir string
	// FS is the file system; nil means Real.
	FS FS
}

// Store is a directory of objects. It holds no state but the lock; see the package's comment for what may be called at
// the same time.
type Store struct {
	dir      string
	fs       FS
	start    time.Time
	released atomic.Bool

	lock io.Closer // Release's, Reacquire's and Close's, which follow one another; nil when released
}

// New creates Options.Dir and takes the lock, which Close gives back; the directories in it come with the first object
// in each. now is the time of the
// start: temporary files older than it are leftovers, which List removes.
func New(opts Options, now time.Time) (*Store, error) {
	if opts.Dir == "" {
		return nil, errors.New("disk: Options.Dir is missing")
	}
	if opts.FS == nil {
		opts.FS = &Real{}
	}
	s := &Store{dir: opts.Dir, fs: opts.FS, start: now}
	if err := s.fs.MkdirAll(s.dir); err != nil {
		return nil, fmt.Errorf("create cache directory %s: %w", s.dir, err)
	}
	lock, err := s.fs.Lock(filepath.Join(s.dir, "lock"))
	if err != nil {
		return nil, fmt.Errorf("open cache directory %s: %w", s.dir, err)
	}
	s.lock = lock
	return s, nil
}

// Close gives the lock back. Open files stay usable.
func (s *Store) Close() error {
	if s.lock == nil {
		return nil
	}
	return s.lock.Close()
}

// Release gives the lock to another process. What is stored can still be opened, also what that process stores; nothing is
// written or removed any more, not even what is damaged. What changes at the moment has to have come to an end. Objects
// that are being created may go on, but are not to be committed.
func (s *Store) Release() error {
	s.released.Store(true)
	err := s.lock.Close()
	s.lock = nil
	return err
}

// Reacquire takes the lock again after Release; ErrLocked while somebody else has it.
func (s *Store) Reacquire() error {
	lock, err := s.fs.Lock(filepath.Join(s.dir, "lock"))
	if err != nil {
		return fmt.Errorf("open cache directory %s: %w", s.dir, err)
	}
	s.lock = lock
	s.released.Store(false)
	return nil
}

// Object is a stored object, opened.
type Object struct {
	// File has the body at offset 0. Whoever has the Object closes it.
	File File
	// Length is the body's length, Bytes the file's.
	Length, Bytes int64
	// Meta is the caller's blob, the newest one.
	Meta []byte

	footer footer
	table  []byte
}

// Check reads the body and compares it with its checksums. before is called with the number of bytes of each read that
// follows, some 256 KiB; an error of it ends the check and is returned. The error is ErrCorrupt, though the file stays, or
// that of a system call.
func (o *Object) Check(before func(n int) error) error {
	return checkBody(o.File, o.footer, o.table, before)
}

// CheckBytes compares body, which is the whole body as it was read, with its checksums. The error is ErrCorrupt.
func (o *Object) CheckBytes(body []byte) error {
	if int64(len(body)) != o.Length {
		return fmt.Errorf("body of %d bytes, %d wanted: %w", len(body), o.Length, ErrCorrupt)
	}
	_, err := checkBlocks(body, o.table, 0)
	return err
}

// Open opens an object. With verify every byte of the body is read and compared with its checksum. The error is
// ErrNotFound, ErrCorrupt (then the file has been removed), or that of a system call.
func (s *Store) Open(id [16]byte, verify bool) (*Object, error) {
	file, ft, trailer, size, err := s.open(id)
	if err != nil {
		return nil, err
	}
	o := &Object{
		File: file, Length: ft.bodyLen, Bytes: size, Meta: trailer[:ft.metaLen:ft.metaLen],
		footer: ft, table: trailer[ft.metaLen:],
	}
	if verify {
		if err := o.Check(func(int) error { return nil }); err != nil {
			_ = file.Close() // nothing was written
			return nil, s.damaged(id, err)
		}
	}
	return o, nil
}

// Append gives a stored object a new blob and returns the file's new length. The error is ErrNotFound, ErrCorrupt (then
// the file has been removed), ErrFull, or that of a system call; the object is left as it was, or removed where that
// did not succeed.
func (s *Store) Append(id [16]byte, meta []byte) (bytes int64, err error) {
	if len(meta) > maxMeta {
		return 0, fmt.Errorf("append to %x: head of %d bytes is above %d", id, len(meta), maxMeta)
	}
	if s.released.Load() {
		return 0, ErrReleased
	}
	file, ft, trailer, size, err := s.open(id)
	if err != nil {
		return 0, err
	}
	defer func() { _ = file.Close() }() // every write has been checked
	if ft.appends >= MaxAppends {
		return 0, ErrFull
	}
	ft.appends++
	b := appendTrailer(nil, meta, tableOf(trailer[ft.metaLen:]), ft)
	if _, err = file.WriteAt(b, size); err == nil {
		return size + int64(len(b)), nil
	}
	err = fmt.Errorf("append to %x: %w", id, err)
	if undo := file.Truncate(size); undo != nil {
		err = errors.Join(err, undo, s.Remove(id))
	}
	return 0, err
}

// Remove removes an object; there being none is no error.
func (s *Store) Remove(id [16]byte) error {
	if s.released.Load() {
		return ErrReleased
	}
	if err := s.fs.Remove(s.path(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove object %x: %w", id, err)
	}
	return nil
}

// Entry is what List knows of an object: it does not look into files.
type Entry struct {
	ID      [16]byte
	Bytes   int64
	ModTime time.Time
}

// List returns the objects whose ID begins with first, and removes what an earlier process left half written there. It reads
// the directory only.
func (s *Store) List(first byte) ([]Entry, error) {
	dir := s.sub(first)
	list, err := s.fs.List(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil // nothing was stored there yet
	case err != nil:
		return nil, fmt.Errorf("list %s: %w", dir, err)
	}
	entries := make([]Entry, 0, len(list))
	for _, f := range list {
		if id, ok := parseName(f.Name, first); ok {
			entries = append(entries, Entry{ID: id, Bytes: f.Bytes, ModTime: f.ModTime})
		} else if strings.HasPrefix(f.Name, tempPrefix) && f.ModTime.Before(s.start) && !s.released.Load() {
			_ = s.fs.Remove(filepath.Join(dir, f.Name)) // the next listing tries again
		}
	}
	return entries, nil
}

func (s *Store) sub(b byte) string { return filepath.Join(s.dir, hex.EncodeToString([]byte{b})) }

func (s *Store) path(id [16]byte) string {
	return filepath.Join(s.sub(id[0]), hex.EncodeToString(id[:]))
}

func parseName(name string, dir byte) (id [16]byte, ok bool) {
	if len(name) != 2*len(id) {
		return id, false
	}
	if _, err := hex.Decode(id[:], []byte(name)); err != nil || hex.EncodeToString(id[:]) != name {
		return id, false
	}
	return id, id[0] == dir
}

// open opens a file and checks all of it but the body.
func (s *Store) open(id [16]byte) (file File, ft footer, trailer []byte, size int64, err error) {
	file, err = s.fs.Open(s.path(id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ft, nil, 0, ErrNotFound
	}
	if err != nil {
		// Not the file's fault: too many open files, no permission.
		return nil, ft, nil, 0, fmt.Errorf("open object %x: %w", id, err)
	}
	ft, trailer, size, err = readTrailer(file, id)
	if err != nil {
		_ = file.Close() // nothing was written
		return nil, ft, nil, 0, s.damaged(id, err)
	}
	return file, ft, trailer, size, nil
}

// damaged removes a file that cannot be trusted.
func (s *Store) damaged(id [16]byte, err error) error {
	if !errors.Is(err, ErrCorrupt) {
		// A file that cannot be read is as bad as a wrong one.
		err = errors.Join(ErrCorrupt, err)
	}
	if s.released.Load() { // its owner may be writing at this moment
		return fmt.Errorf("object %x: %w", id, err)
	}
	return errors.Join(fmt.Errorf("object %x: %w", id, err), s.Remove(id))
}

func readTrailer(file File, id [16]byte) (ft footer, trailer []byte, size int64, err error) {
	size, err = file.Size()
	if err != nil {
		return ft, nil, 0, err
	}
	if size < footerSize {
		return ft, nil, 0, fmt.Errorf("file of %d bytes: %w", size, ErrCorrupt)
	}
	var b [footerSize]byte
	if err = readFull(file, b[:], size-footerSize); err != nil {
		return ft, nil, 0, err
	}
	ft, err = parseFooter(b[:], id, size)
	if err != nil {
		return ft, nil, 0, err
	}
	trailer = make([]byte, ft.trailerSize())
	if err = readFull(file, trailer, size-footerSize-ft.trailerSize()); err != nil {
		return ft, nil, 0, err
	}
	if crc32.Checksum(trailer, castagnoli) != ft.trailer {
		return ft, nil, 0, fmt.Errorf("head checksum: %w", ErrCorrupt)
	}
	return ft, trailer, size, nil
}

// checkBody compares the body with its table.
func checkBody(file File, ft footer, table []byte, before func(n int) error) error {
	buf := make([]byte, min(ft.bodyLen, 4*BlockBytes))
	for off := int64(0); off < ft.bodyLen; off += int64(len(buf)) {
		buf = buf[:min(ft.bodyLen-off, int64(len(buf)))]
		if err := before(len(buf)); err != nil {
			return err
		}
		if err := readFull(file, buf, off); err != nil {
			return err
		}
		var err error
		if table, err = checkBlocks(buf, table, off); err != nil {
			return err
		}
	}
	return nil
}

// checkBlocks compares b, which begins at off of the body, and returns what is left of the table.
func checkBlocks(b, table []byte, off int64) ([]byte, error) {
	for len(b) > 0 {
		n := min(len(b), BlockBytes)
		if crc32.Checksum(b[:n], castagnoli) != binary.LittleEndian.Uint32(table) {
			return nil, fmt.Errorf("body checksum at %d: %w", off, ErrCorrupt)
		}
		b, table, off = b[n:], table[4:], off+int64(n)
	}
	return table, nil
}

func tableOf(b []byte) []uint32 {
	table := make([]uint32, len(b)/4)
	for i := range table {
		table[i] = binary.LittleEndian.Uint32(b[4*i:])
	}
	return table
}

func readFull(file File, p []byte, off int64) error {
	n, err := file.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return err
}
