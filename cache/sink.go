package cache

import (
	"fmt"

	"weir/cache/disk"
	"weir/cache/policy"
)

const (
	// pieceBytes is how much is written before readers see it: one pread of ours from upstream. Measured: 256 KiB cost
	// 0.72 of the processor time of io.Copy's 32 KiB.
	pieceBytes = 256 << 10
	// wakeBytes is how much has to be new for readers to be woken while more is at hand. Measured with 500 readers:
	// 16 KiB cost three times the processor time of 64 KiB.
	wakeBytes = 64 << 10
	// firstMemory is the first buffer of a body of unknown length.
	firstMemory = 4 << 10
	// reserveStep is how much a body of unknown length reserves at a time.
	reserveStep = 1 << 20
	// refusedBytes is up to which length a body that the disk's policy refused is held in memory until it is served: a
	// segment of some seconds.
	refusedBytes = 8 << 20
)

// sink is the writing end of a body: memory while it is small, then a file. It belongs to the Fill's writer.
//
// What it holds is reserved in the budgets. A body that finds no room, or whose disk fails, is served all the same and
// kept by nobody: unstored is set, and its bytes are counted apart.
type sink struct {
	cache  *Cache
	body   *body
	id     ID
	stream policy.Stream
	length int64 // -1 if unknown
	off    int64
	woken  int64

	writer *disk.Writer // of a body that goes to disk
	file   disk.File    // where bytes are written to; nil while in memory
	// hot and cold are what is reserved: in memory, and on disk.
	hot, cold int64
	unstored  bool
	// excess is what is counted as unstored.
	excess int64
}

// start makes room for a body of the announced length.
func (s *sink) start() error {
	small := s.cache.opts.SmallBytes
	if s.length > small {
		return s.openFile()
	}
	n := s.length
	if n < 0 {
		n = min(firstMemory, small)
	}
	if !s.reserveMemory(n) {
		return s.openFile()
	}
	mem := make([]byte, n)
	s.body.mem.Store(&mem)
	return nil
}

// room returns where the next bytes may be read into directly; empty if the body is not in memory or that is full.
func (s *sink) room() []byte {
	if s.file != nil {
		return nil
	}
	return (*s.body.mem.Load())[s.off:]
}

// write appends p; more says that there will be another write without waiting, so readers need not be woken for little.
func (s *sink) write(p []byte, more bool) error {
	for len(p) > 0 {
		n := min(len(p), pieceBytes)
		if err := s.put(p[:n]); err != nil {
			return err
		}
		p = p[n:]
		s.grown(int64(n), more || len(p) > 0)
	}
	return nil
}

// grown publishes n new bytes. The first byte wakes readers at once; what follows in small pieces wakes them together.
func (s *sink) grown(n int64, more bool) {
	s.off += n
	s.body.avail.Store(s.off)
	if !more || s.woken == 0 || s.off-s.woken >= wakeBytes {
		s.woken = s.off
		s.body.signal()
	}
}

// put writes p behind what is there, wherever the body is.
func (s *sink) put(p []byte) error {
	end := s.off + int64(len(p))
	if s.file == nil {
		if s.growMemory(end) {
			mem := *s.body.mem.Load()
			if room := mem[s.off:]; &room[0] != &p[0] {
				copy(room, p)
			}
			return nil
		}
		if err := s.spill(); err != nil {
			return err
		}
	}
	s.reserveFile(end)
	return s.putFile(p)
}

func (s *sink) putFile(p []byte) error {
	var n int
	var err error
	if s.writer != nil {
		n, err = s.writer.Write(p)
	} else {
		n, err = s.file.WriteAt(p, s.off)
	}
	if err == nil {
		return nil
	}
	if s.writer == nil {
		return fmt.Errorf("write body to memory: %w", err)
	}
	s.cache.diskFailed(err)
	if err := s.evade(); err != nil {
		return err
	}
	// The n bytes that reached the old file are not counted: the new one takes p whole.
	_ = n
	return s.putFile(p)
}

// growMemory makes the memory large enough for end bytes; false if it has to be a file.
func (s *sink) growMemory(end int64) bool {
	mem := *s.body.mem.Load()
	if end <= int64(len(mem)) {
		return true
	}
	if end > s.cache.opts.SmallBytes {
		return false
	}
	n := min(max(end, 2*int64(len(mem))), s.cache.opts.SmallBytes)
	if !s.reserveMemory(n) {
		return false
	}
	larger := make([]byte, n)
	copy(larger, mem[:s.off])
	// Readers of the old buffer keep it; what it holds below avail is the same.
	s.body.mem.Store(&larger)
	return true
}

// spill moves a body from memory to a file.
func (s *sink) spill() error {
	if err := s.openFile(); err != nil {
		return err
	}
	s.body.mem.Store(nil)
	s.dropMemory()
	return nil
}

// openFile goes on in a file, to which it writes what is in memory.
func (s *sink) openFile() error {
	// Reserved before the first byte is written; a known length all at once.
	s.reserveFile(max(s.length, s.off))
	// What is not to be stored, and not huge, spares the disk.
	if !s.cache.memoryOnly() && !(s.unstored && s.length >= 0 && s.length <= refusedBytes) {
		w, err := s.cache.store.Create(s.id)
		if err == nil {
			if err = s.copyMemory(w.Write); err == nil {
				s.writer, s.file = w, w.File()
				s.body.move(s.file)
				return nil
			}
			_ = w.File().Close() // it has no name
		}
		s.cache.diskFailed(err)
		s.giveUp()
	}
	f, err := s.cache.fs.Anonymous()
	if err != nil {
		return err
	}
	off := int64(0)
	err = s.copyMemory(func(p []byte) (int, error) { return f.WriteAt(p, off) })
	if err != nil {
		_ = f.Close() // the first error is the one to report
		return fmt.Errorf("write body to memory: %w", err)
	}
	s.file = f
	s.body.move(f)
	return nil
}

func (s *sink) copyMemory(write func([]byte) (int, error)) error {
	if s.off == 0 {
		return nil
	}
	_, err := write((*s.body.mem.Load())[:s.off])
	return err
}

// evade goes on in memory when the disk has failed in the middle of a body: readers get every byte, nothing is stored.
func (s *sink) evade() error {
	f, err := s.cache.fs.Anonymous()
	if err != nil {
		return err
	}
	buf := make([]byte, min(s.off, pieceBytes))
	for off := int64(0); off < s.off; {
		p := buf[:min(int64(len(buf)), s.off-off)]
		if _, err := s.body.copyAt(p, off); err != nil {
			_ = f.Close() // the first error is the one to report
			return fmt.Errorf("move body off the disk: %w", err)
		}
		if _, err := f.WriteAt(p, off); err != nil {
			_ = f.Close() // the first error is the one to report
			return fmt.Errorf("move body off the disk: %w", err)
		}
		off += int64(len(p))
	}
	s.giveUp()
	s.writer, s.file = nil, f
	s.body.move(f)
	return nil
}

// reserveMemory reserves n bytes of memory in all.
func (s *sink) reserveMemory(n int64) bool {
	if n <= s.hot || s.unstored {
		return true
	}
	if !s.cache.reserveHot(policy.Cost{Bytes: n - s.hot}) {
		return false
	}
	s.hot = n
	return true
}

// reserveFile reserves n bytes in all where files count: on disk, or in memory if there is no disk. Without room the
// body is not stored.
func (s *sink) reserveFile(n int64) {
	if s.unstored {
		s.count(n)
		return
	}
	held, reserve := &s.cold, s.cache.reserveCold
	if s.cache.memoryOnly() {
		held, reserve = &s.hot, s.cache.reserveHot
	}
	if n <= *held {
		return
	}
	if step := n + reserveStep; s.length < 0 && s.cache.Fits(step) {
		n = step
	}
	n = roundBlock(n)
	if *held == 0 && !s.cache.memoryOnly() && !s.cache.admits(s.id, s.stream, n) || !s.cache.Fits(n) || !reserve(policy.Cost{Bytes: n - *held}) {
		s.giveUp()
		s.count(n)
		return
	}
	*held = n
}

// giveUp makes the body one that is served but not stored.
func (s *sink) giveUp() {
	s.unstored = true
	s.free()
	s.count(s.off)
}

// count raises the bytes that are held outside of the budgets to n.
func (s *sink) count(n int64) {
	if n > s.excess {
		s.cache.counts.unstoredBytes.Add(n - s.excess)
		s.excess = n
	}
}

// dropMemory gives back what was reserved for the memory that spill left. Without a disk that reservation is the
// file's as well.
func (s *sink) dropMemory() {
	if s.cache.memoryOnly() {
		return
	}
	s.cache.hot.Free(policy.Cost{Bytes: s.hot})
	s.hot = 0
}

// free gives back all that is reserved.
func (s *sink) free() {
	s.cache.hot.Free(policy.Cost{Bytes: s.hot})
	if s.cold > 0 {
		s.cache.index.Free(policy.Cost{Bytes: s.cold})
	}
	s.hot, s.cold = 0, 0
}

// close ends the accounting.
func (s *sink) close() {
	s.free()
	s.cache.counts.unstoredBytes.Add(-s.excess)
	s.excess = 0
}

// roundBlock rounds up to what a file takes on disk.
func roundBlock(n int64) int64 {
	const block = 4 << 10
	return (n + block - 1) &^ (block - 1)
}
