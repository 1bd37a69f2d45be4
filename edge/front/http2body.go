package front

import (
	"errors"
	"io"
	"os"
)

// errCold is for a piece of a file that is not in memory.
var errCold = errors.New("front: the file is on disk")

// bodySource is where the bytes of a body come from: memory, or a file.
type bodySource struct {
	first, then []byte
	file        bodyFile // nil: memory
	off         int64
	left        int64 // bytes in all
	warmed      int64 // up to where the file was read ahead
}

// A bodyFile is read from the page cache, where that has it, or else from its disk.
type bodyFile interface {
	io.ReaderAt
	readCached(p []byte, off int64) int // fills p as far as that takes no disk; how far
}

// diskFile is a bodyFile of the system.
type diskFile struct{ *os.File }

// read fills p. What a file is short of is io.ErrUnexpectedEOF. On errCold it has read nothing, and warm should be called: the
// caller has the turn to write, and must not wait for a disk.
func (b *bodySource) read(p []byte) error {
	n := int64(len(p))
	switch {
	case b.file == nil:
		n := copy(p, b.first)
		b.first = b.first[n:]
		b.then = b.then[copy(p[n:], b.then):]
	case b.off+n <= b.warmed:
		return b.readFile(p)
	case b.file.readCached(p, b.off) < len(p):
		return errCold
	}
	b.off += n
	b.left -= n
	return nil
}

// readFile reads, if need be from disk.
func (b *bodySource) readFile(p []byte) error {
	n, err := b.file.ReadAt(p, b.off)
	b.off += int64(n)
	b.left -= int64(n)
	switch {
	case n == len(p):
		return nil
	case err == nil || errors.Is(err, io.EOF):
		return io.ErrUnexpectedEOF
	}
	return err
}

// warm has the next piece read from disk, once: read does not say errCold again for it, even if it is gone from memory.
func (b *bodySource) warm() error {
	buf := takeBuffer(min(b.left, copyBytes))
	defer giveBuffer(buf)
	ahead := *b
	err := ahead.readFile(buf[:min(b.left, int64(len(buf)))])
	if err != nil {
		*b = ahead
		return err
	}
	b.warmed = ahead.off
	return nil
}
