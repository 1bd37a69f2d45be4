package main

import (
	"fmt"
	"os"
	"sync"

	"weir/configs"
)

// accessFile is where the access log goes. It is opened anew when the configuration is, so that a file that was moved
// away is let go. A nil one is no log.
type accessFile struct {
	mu   sync.Mutex // guards the field below; held over writes, which one goroutine does
	file *os.File
}

// openable tells whether a value of log.access names a place to write to.
func openable(access string) bool { return access != "" && access != "off" }

// newAccessFile is nil when no access log is wanted.
func newAccessFile(c configs.Log) (*accessFile, error) {
	if !openable(c.Access) {
		return nil, nil
	}
	a := &accessFile{}
	var err error
	a.file, err = a.open(c.Access)
	return a, err
}

// open opens another file for take. It is nil when there is no log, or none is wanted any more.
func (a *accessFile) open(access string) (*os.File, error) {
	switch {
	case a == nil || !openable(access):
		return nil, nil
	case access == "stdout":
		return os.Stdout, nil
	}
	f, err := os.OpenFile(access, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o640)
	if err != nil {
		return nil, usageError{fmt.Errorf("open the access log: %w", err)}
	}
	return f, nil
}

// take writes to file from now on. Nil leaves all as it is.
func (a *accessFile) take(file *os.File) {
	if file == nil {
		return
	}
	a.mu.Lock()
	before := a.file
	a.file = file
	a.mu.Unlock()
	closeFile(before)
}

// Write implements io.Writer.
func (a *accessFile) Write(p []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.file.Write(p)
}

// Close closes the file.
func (a *accessFile) Close() {
	if a != nil {
		closeFile(a.file)
	}
}

func closeFile(f *os.File) {
	if f != os.Stdout {
		_ = f.Close() // every write has been checked
	}
}
