package disk

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
)

// Writer writes one new object. It is for one goroutine.
type Writer struct {
	store *Store
	id    [16]byte
	file  File
	off   int64
	table []uint32 // of the blocks that are full
	sum   uint32   // of the block that is not
}

// Create starts a new object; nobody sees it before Commit.
func (s *Store) Create(id [16]byte) (*Writer, error) {
	dir := s.sub(id[0])
	file, err := s.fs.Create(dir)
	if errors.Is(err, fs.ErrNotExist) { // the first object there
		if err = s.fs.MkdirAll(dir); err == nil {
			file, err = s.fs.Create(dir)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("create object %x: %w", id, err)
	}
	return &Writer{store: s, id: id, file: file}, nil
}

// File returns the file, with the body at offset 0, for reading what Write has written. It belongs to the caller, who
// closes it, committed or not; without a Commit it is gone then.
func (w *Writer) File() File { return w.file }

// Write appends to the body. After an error the object cannot be committed any more; n bytes are in the file.
func (w *Writer) Write(p []byte) (n int, err error) {
	n, err = w.file.WriteAt(p, w.off)
	w.add(p[:n])
	if err != nil {
		w.store = nil
		return n, fmt.Errorf("write object %x: %w", w.id, err)
	}
	return n, nil
}

// Commit writes the blob and publishes the object in place of any older one. It returns the file's length.
func (w *Writer) Commit(meta []byte) (bytes int64, err error) {
	switch {
	case w.store == nil:
		return 0, fmt.Errorf("commit object %x: not whole", w.id)
	case len(meta) > maxMeta:
		return 0, fmt.Errorf("commit object %x: head of %d bytes is above %d", w.id, len(meta), maxMeta)
	}
	table := w.table
	if w.off%BlockBytes != 0 {
		table = append(table, w.sum)
	}
	b := appendTrailer(nil, meta, table, footer{bodyLen: w.off, id: w.id})
	if _, err := w.file.WriteAt(b, w.off); err != nil {
		return 0, fmt.Errorf("write head of object %x: %w", w.id, err)
	}
	if err := w.store.fs.Publish(w.file, w.store.path(w.id)); err != nil {
		return 0, fmt.Errorf("publish object %x: %w", w.id, err)
	}
	return w.off + int64(len(b)), nil
}

// add counts bytes into the checksums.
func (w *Writer) add(p []byte) {
	for len(p) > 0 {
		n := min(int64(len(p)), BlockBytes-w.off%BlockBytes)
		w.sum = crc32.Update(w.sum, castagnoli, p[:n])
		w.off += n
		p = p[n:]
		if w.off%BlockBytes == 0 {
			w.table = append(w.table, w.sum)
			w.sum = 0
		}
	}
}
