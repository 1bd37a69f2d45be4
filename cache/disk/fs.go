package disk

import (
	"io"
	"os"
	"time"
)

// FS is what the store asks of a file system. Its methods may be called at the same time.
type FS interface {
	// Lock creates the file at path and takes the lock on it that one process at a time may hold, until it is closed.
	// The error is ErrLocked if somebody else holds it.
	Lock(path string) (io.Closer, error)
	// MkdirAll creates a directory and its parents.
	MkdirAll(dir string) error
	// Create makes an empty file in dir that has no name yet.
	Create(dir string) (File, error)
	// Publish gives a created file its name, in one step, in place of whatever had it. path is in the file's dir.
	Publish(f File, path string) error
	// Anonymous makes an empty file that lives in memory and never has a name.
	Anonymous() (File, error)
	// Open opens a file for reading and writing.
	Open(path string) (File, error)
	Remove(path string) error
	// List returns the regular files in dir.
	List(dir string) ([]Listed, error)
}

// File is an open file. ReadAt, WriteAt and Size may be called at the same time.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// Size returns the length in bytes.
	Size() (int64, error)
	Truncate(size int64) error
	// OS returns the descriptor for sendfile, nil if there is none. It must not be closed, nor its position be used.
	OS() *os.File
}

// Listed is one file of a directory.
type Listed struct {
	Name    string
	Bytes   int64
	ModTime time.Time
}
