package disk

import (
	"io"
	"os"
	"sync"
)

// Fault is an FS for tests: it passes every call on to FS until the one that it was told to fail. Reads through the
// descriptor that File.OS returns are not seen.
type Fault struct {
	// FS does the work.
	FS FS

	mu    sync.Mutex // guards the fields below
	plan  Plan
	calls int
}

// Plan says which call of a Fault fails.
type Plan struct {
	// At is the number of the call that fails, counted from Arm on; 0 means none does.
	At int
	// Err is what it fails with.
	Err error
	// Sticky makes every call after it fail, too.
	Sticky bool
	// Short makes a failing WriteAt write half of its bytes first.
	Short bool
	// FullDisk counts only calls that need room on disk, as a full disk fails them: Create, Publish, and a WriteAt to
	// a file that is not in memory.
	FullDisk bool
}

// Arm sets the plan and starts to count.
func (f *Fault) Arm(p Plan) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.plan, f.calls = p, 0
}

// Calls returns how many calls there were since Arm that could have failed.
func (f *Fault) Calls() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls
}

// Lock is FS's.
func (f *Fault) Lock(path string) (io.Closer, error) {
	if err := f.next(false); err != nil {
		return nil, err
	}
	return f.FS.Lock(path)
}

// MkdirAll is FS's.
func (f *Fault) MkdirAll(dir string) error {
	if err := f.next(false); err != nil {
		return err
	}
	return f.FS.MkdirAll(dir)
}

// Create is FS's.
func (f *Fault) Create(dir string) (File, error) {
	file, err := f.wrap(true, func() (File, error) { return f.FS.Create(dir) })
	if err != nil {
		return nil, err
	}
	return file, nil
}

// Publish is FS's.
func (f *Fault) Publish(file File, path string) error {
	if err := f.next(true); err != nil {
		return err
	}
	return f.FS.Publish(file.(*faultFile).File, path)
}

// Anonymous is FS's.
func (f *Fault) Anonymous() (File, error) {
	file, err := f.wrap(false, f.FS.Anonymous)
	if err != nil {
		return nil, err
	}
	file.memory = true
	return file, nil
}

// Open is FS's.
func (f *Fault) Open(path string) (File, error) {
	file, err := f.wrap(false, func() (File, error) { return f.FS.Open(path) })
	if err != nil {
		return nil, err
	}
	return file, nil
}

// Remove is FS's.
func (f *Fault) Remove(path string) error {
	if err := f.next(false); err != nil {
		return err
	}
	return f.FS.Remove(path)
}

// List is FS's.
func (f *Fault) List(dir string) ([]Listed, error) {
	if err := f.next(false); err != nil {
		return nil, err
	}
	return f.FS.List(dir)
}

func (f *Fault) wrap(needsRoom bool, open func() (File, error)) (*faultFile, error) {
	if err := f.next(needsRoom); err != nil {
		return nil, err
	}
	file, err := open()
	if err != nil {
		return nil, err
	}
	return &faultFile{File: file, fault: f}, nil
}

// next counts a call, which needs room on disk or does not, and returns the error that it is to fail with.
func (f *Fault) next(needsRoom bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.plan.FullDisk && !needsRoom {
		return nil
	}
	f.calls++
	if at := f.plan.At; at > 0 && (f.calls == at || f.plan.Sticky && f.calls > at) {
		return f.plan.Err
	}
	return nil
}

type faultFile struct {
	File
	fault  *Fault
	memory bool
}

func (f *faultFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.fault.next(false); err != nil {
		return 0, err
	}
	return f.File.ReadAt(p, off)
}

func (f *faultFile) WriteAt(p []byte, off int64) (int, error) {
	err := f.fault.next(!f.memory)
	if err == nil {
		return f.File.WriteAt(p, off)
	}
	f.fault.mu.Lock()
	short := f.fault.plan.Short
	f.fault.mu.Unlock()
	if !short {
		return 0, err
	}
	n, _ := f.File.WriteAt(p[:len(p)/2], off) // the chosen error is the one to report
	return n, err
}

func (f *faultFile) Size() (int64, error) {
	if err := f.fault.next(false); err != nil {
		return 0, err
	}
	return f.File.Size()
}

func (f *faultFile) Truncate(size int64) error {
	if err := f.fault.next(false); err != nil {
		return err
	}
	return f.File.Truncate(size)
}

func (f *faultFile) OS() *os.File { return f.File.OS() }
