package disk

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// tempPrefix starts the name of a file that is not published yet. It is no hex digit, so no object has such a name.
const tempPrefix = "tmp-"

// Real is the machine's file system.
type Real struct {
	// NoTemp makes Create use named temporary files even where O_TMPFILE works.
	NoTemp bool

	serial atomic.Uint64
}

type realFile struct {
	*os.File
	// temp is the temporary name, empty for a file without one.
	temp string
}

// Lock is FS's; it uses flock.
func (r *Real) Lock(path string) (io.Closer, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		return lock{f}, nil
	}
	_ = f.Close() // nothing was written
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, ErrLocked
	}
	return nil, fmt.Errorf("lock %s: %w", path, err)
}

// lock is a locked file.
type lock struct{ *os.File }

// Close unlocks it first: a child that is just being started has the descriptor
// as well until it runs its own program, and the lock would last as long.
func (l lock) Close() error {
	return errors.Join(unix.Flock(int(l.Fd()), unix.LOCK_UN), l.File.Close())
}

// MkdirAll is FS's.
func (r *Real) MkdirAll(dir string) error { return os.MkdirAll(dir, 0o700) }

// Create is FS's.
func (r *Real) Create(dir string) (File, error) {
	if !r.NoTemp {
		fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
		if err == nil {
			return &realFile{File: os.NewFile(uintptr(fd), dir+"/(unnamed)")}, nil
		}
		// EISDIR and EOPNOTSUPP: a kernel or file system without O_TMPFILE.
		if !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.EISDIR) {
			return nil, &fs.PathError{Op: "create", Path: dir, Err: err}
		}
	}
	path := r.tempPath(dir)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	return &realFile{File: f, temp: path}, nil
}

// Publish is FS's.
func (r *Real) Publish(file File, path string) error {
	f, ok := file.(*realFile)
	if !ok {
		return fmt.Errorf("publish %s: not a created file", path)
	}
	if f.temp == "" {
		err := link(f.File, path)
		if !errors.Is(err, fs.ErrExist) {
			return err
		}
		// linkat cannot replace: take a temporary name and rename.
		temp := r.tempPath(filepath.Dir(path))
		if err := link(f.File, temp); err != nil {
			return err
		}
		f.temp = temp
	}
	if err := os.Rename(f.temp, path); err != nil {
		return err
	}
	f.temp = ""
	return nil
}

// Anonymous is FS's; it uses memfd_create.
func (r *Real) Anonymous() (File, error) {
	fd, err := unix.MemfdCreate("weir", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create a file in memory: %w", err)
	}
	return &realFile{File: os.NewFile(uintptr(fd), "(memory)")}, nil
}

// Open is FS's.
func (r *Real) Open(path string) (File, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	return &realFile{File: f}, nil
}

// Remove is FS's.
func (r *Real) Remove(path string) error { return os.Remove(path) }

// List is FS's.
func (r *Real) List(dir string) ([]Listed, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	list := make([]Listed, 0, len(entries))
	for _, e := range entries {
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed since the directory was read
		}
		if err != nil {
			return nil, err
		}
		if info.Mode().IsRegular() {
			list = append(list, Listed{Name: e.Name(), Bytes: info.Size(), ModTime: info.ModTime()})
		}
	}
	return list, nil
}

func (r *Real) tempPath(dir string) string {
	name := tempPrefix + strconv.Itoa(os.Getpid()) + "-" + strconv.FormatUint(r.serial.Add(1), 10)
	return filepath.Join(dir, name)
}

// Size is File's.
func (f *realFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// OS is File's.
func (f *realFile) OS() *os.File { return f.File }

// Close closes the file; one that was never published is gone then.
func (f *realFile) Close() error {
	err := f.File.Close()
	if f.temp != "" {
		err = errors.Join(err, os.Remove(f.temp))
	}
	return err
}

// link gives an unnamed file a name. The way over /proc needs no capability, unlike AT_EMPTY_PATH.
func link(f *os.File, path string) error {
	from := "/proc/self/fd/" + strconv.FormatUint(uint64(f.Fd()), 10)
	if err := unix.Linkat(unix.AT_FDCWD, from, unix.AT_FDCWD, path, unix.AT_SYMLINK_FOLLOW); err != nil {
		return &fs.PathError{Op: "link", Path: path, Err: err}
	}
	return nil
}
