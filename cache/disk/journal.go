package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
)

const (
	// DefaultLogBytes is 1.4 million changes: at 1,000 a second, which is 16 Gbit/s of misses at 2 MiB, it fills in 23
	// minutes, and it is read in a tenth of a second.
	DefaultLogBytes = 64 << 20
	// maxPending bounds the changes that wait for Flush, some 87,000. What is more is lost, which makes a snapshot due.
	maxPending = 4 << 20

	snapshotPrefix = "snapshot-"
	logPrefix      = "log-"
)

// JournalOptions describe a Journal.
type JournalOptions struct {
	// Dir is the journal's own directory; it is created if absent. Required. Whoever has the lock of the Store may use it.
	Dir string
	// FS is the file system; nil means Real.
	FS FS
	// LogBytes is the length of the log from which on a snapshot is due, and up to twice of which it grows. 0 means
	// DefaultLogBytes.
	LogBytes int64
}

// Journal remembers over a restart what an index knows of the objects: a snapshot of all, and a log of the changes since.
// Losing any part of it loses no object, because the directories have the truth; with it nobody has to list them.
//
// Add, Remove and Want may be called at any time and do not wait for the disk. The other methods are for one goroutine at a
// time.
//
// # Files
//
// Each snapshot begins a generation, and so does the log that goes with it; the number is in their names. A log is begun
// before the snapshot of its generation is taken, so that what changes meanwhile is in it, too: what the log says of an ID
// last is what counts, whatever the snapshot says. Files are written in blocks with a checksum each; of a damaged one
// everything before the damage is used.
type Journal struct {
	dir      string
	fs       FS
	logBytes int64

	// The owner's.
	begun     bool // the files that are there have been looked for
	snapshots []uint64
	logs      []uint64
	log       *journalFile // nil if it could not be created
	taken     bool         // the log's generation has its snapshot, so the next one needs a new log
	spare     []byte       // pending's other buffer

	mu      sync.Mutex // guards the fields below
	pending []byte     // changes that are not in the log, encoded
	due     bool
}

// journalFile is a snapshot or a log being written.
type journalFile struct {
	file       File
	generation uint64
	index      uint64 // of the next block
	off        int64
}

// NewJournal creates the directory. It reads nothing yet.
func NewJournal(opts JournalOptions) (*Journal, error) {
	switch {
	case opts.Dir == "":
		return nil, errors.New("disk: JournalOptions.Dir is missing")
	case opts.LogBytes < 0:
		return nil, errors.New("disk: JournalOptions.LogBytes is negative")
	}
	if opts.FS == nil {
		opts.FS = &Real{}
	}
	if opts.LogBytes == 0 {
		opts.LogBytes = DefaultLogBytes
	}
	if err := opts.FS.MkdirAll(opts.Dir); err != nil {
		return nil, fmt.Errorf("create journal directory %s: %w", opts.Dir, err)
	}
	return &Journal{dir: opts.Dir, fs: opts.FS, logBytes: opts.LogBytes}, nil
}

// Add notes that an object is stored, in place of what was noted of its ID. Changes of one ID have to come in their order.
// It takes a mutex and no system call.
func (j *Journal) Add(r Record) { j.note(kindAdd, &r) }

// Remove notes that an object is stored no more; see Add.
func (j *Journal) Remove(id [16]byte) { j.note(kindGone, &Record{ID: id}) }

func (j *Journal) note(kind uint64, r *Record) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.pending)+recordSize > maxPending {
		j.due = true
		return
	}
	j.pending = appendRecord(j.pending, kind, r)
}

// Due tells that a snapshot should be taken: the log is long, or changes are missing in it.
func (j *Journal) Due() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.due || j.log != nil && j.log.off >= j.logBytes
}

// Want makes a snapshot due.
func (j *Journal) Want() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.due = true
}

// Flush writes to the log what has changed. After an error these changes are missing there, and a snapshot is due.
func (j *Journal) Flush() error {
	err := j.begin()
	j.mu.Lock()
	p := j.pending
	j.pending, j.spare = j.spare[:0], nil
	j.mu.Unlock()
	defer func() { j.spare = p[:0] }()
	switch {
	case len(p) == 0:
		return err
	case err == nil && j.log == nil:
		err = errors.New("journal has no log")
	case err == nil && j.log.off > 2*j.logBytes:
		err = errors.New("journal's log is full")
	case err == nil:
		err = j.log.write(p)
	}
	if err != nil {
		j.Want()
	}
	return err
}

// Snapshot writes what records yields, which is to be all that is stored: at least what was from before the call until
// records ends. Changes that are noted meanwhile are kept as well.
func (j *Journal) Snapshot(records iter.Seq[Record]) error {
	if err := j.Flush(); err != nil && !j.begun {
		return err
	}
	if j.log == nil || j.taken {
		if err := j.rotate(); err != nil {
			return err
		}
	}
	if err := j.write(records, j.log.generation, flagSnapshot); err != nil {
		return err
	}
	j.taken = true
	j.mu.Lock()
	j.due = false
	j.mu.Unlock()
	return j.removeBefore(j.log.generation)
}

// Close closes the log. complete, if not nil, is all that is stored and all that there is on disk: it becomes a snapshot
// from which the next Load learns that nothing has to be looked for. The Journal is of no use afterwards, but for Reopen.
func (j *Journal) Close(complete iter.Seq[Record]) error {
	err := j.Flush()
	if !j.begun {
		return err
	}
	generation := j.last()
	if j.log != nil {
		err = errors.Join(err, j.log.file.Close())
		j.log = nil
	}
	if complete == nil {
		return err
	}
	generation++
	if err := j.write(complete, generation, flagSnapshot|flagClean); err != nil {
		return err
	}
	return j.removeBefore(generation) // an error before is made good by the snapshot
}

// Reopen makes the Journal usable again after Close, while or after another process has written to the directory: what
// files there are is looked for again, and a snapshot is due.
func (j *Journal) Reopen() {
	j.begun, j.taken, j.log = false, false, nil
	j.snapshots, j.logs = nil, nil
	j.Want()
}

// begin finds out once what files there are, and begins a log: from then on the last end is not clean any more.
func (j *Journal) begin() error {
	if j.begun {
		return nil
	}
	list, err := j.fs.List(j.dir)
	if err != nil {
		return fmt.Errorf("list journal %s: %w", j.dir, err)
	}
	for _, f := range list {
		if generation, ok := parseGeneration(f.Name, snapshotPrefix); ok {
			j.snapshots = append(j.snapshots, generation)
		} else if generation, ok := parseGeneration(f.Name, logPrefix); ok {
			j.logs = append(j.logs, generation)
		} else if strings.HasPrefix(f.Name, tempPrefix) {
			_ = j.fs.Remove(filepath.Join(j.dir, f.Name)) // the next start tries again
		}
	}
	slices.Sort(j.snapshots)
	slices.Sort(j.logs)
	j.begun = true
	if err := j.rotate(); err != nil {
		j.Want()
		return err
	}
	return nil
}

// rotate begins the log of a new generation.
func (j *Journal) rotate() error {
	generation := j.last() + 1
	file, err := j.create(header{generation: generation})
	if err == nil {
		if err = j.fs.Publish(file.file, j.path(logPrefix, generation)); err != nil {
			_ = file.file.Close() // nothing is lost
		}
	}
	if err != nil {
		return fmt.Errorf("begin log of journal %s: %w", j.dir, err)
	}
	if j.log != nil {
		_ = j.log.file.Close() // every write has been checked
	}
	j.log, j.taken = file, false
	j.logs = append(j.logs, generation)
	return nil
}

// write writes a whole snapshot.
func (j *Journal) write(records iter.Seq[Record], generation uint64, flags uint32) error {
	file, err := j.create(header{flags: flags, generation: generation})
	if err != nil {
		return fmt.Errorf("begin snapshot of journal %s: %w", j.dir, err)
	}
	defer func() { _ = file.file.Close() }() // every write has been checked
	block := make([]byte, 0, blockRecords*recordSize)
	for r := range records {
		block = appendRecord(block, kindAdd, &r)
		if len(block) < cap(block) {
			continue
		}
		if err := file.write(block); err != nil {
			return err
		}
		block = block[:0]
	}
	if len(block) > 0 {
		err = file.write(block)
	}
	if err == nil {
		err = file.writeBlock(nil) // the end
	}
	if err == nil {
		err = j.fs.Publish(file.file, j.path(snapshotPrefix, generation))
	}
	if err != nil {
		return fmt.Errorf("write snapshot of journal %s: %w", j.dir, err)
	}
	j.snapshots = append(j.snapshots, generation)
	return nil
}

// removeBefore removes the files of earlier generations.
func (j *Journal) removeBefore(generation uint64) error {
	remove := func(prefix string, all []uint64) ([]uint64, error) {
		for len(all) > 0 && all[0] < generation {
			if err := j.fs.Remove(j.path(prefix, all[0])); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return all, fmt.Errorf("remove from journal: %w", err)
			}
			all = all[1:]
		}
		return all, nil
	}
	var errSnapshot, errLog error
	j.snapshots, errSnapshot = remove(snapshotPrefix, j.snapshots)
	j.logs, errLog = remove(logPrefix, j.logs)
	return errors.Join(errSnapshot, errLog)
}

// last returns the newest generation that has a file, 0 if there is none.
func (j *Journal) last() (generation uint64) {
	for _, all := range [][]uint64{j.snapshots, j.logs} {
		if len(all) > 0 {
			generation = max(generation, all[len(all)-1])
		}
	}
	return generation
}

func (j *Journal) create(h header) (*journalFile, error) {
	file, err := j.fs.Create(j.dir)
	if err != nil {
		return nil, err
	}
	if _, err := file.WriteAt(h.append(nil), 0); err != nil {
		_ = file.Close() // it has no name
		return nil, err
	}
	return &journalFile{file: file, generation: h.generation, off: headerSize}, nil
}

func (j *Journal) path(prefix string, generation uint64) string {
	return filepath.Join(j.dir, fmt.Sprintf("%s%016x", prefix, generation))
}

func parseGeneration(name, prefix string) (uint64, bool) {
	digits, ok := strings.CutPrefix(name, prefix)
	if !ok || len(digits) != 16 {
		return 0, false
	}
	generation, err := strconv.ParseUint(digits, 16, 63)
	return generation, err == nil
}

// write writes encoded records, in as many blocks as it takes. After an error the next write takes the place of what
// this one has not written.
func (f *journalFile) write(records []byte) error {
	for len(records) > 0 {
		n := min(len(records), blockRecords*recordSize)
		if err := f.writeBlock(records[:n]); err != nil {
			return err
		}
		records = records[n:]
	}
	return nil
}

func (f *journalFile) writeBlock(records []byte) error {
	b := make([]byte, blockHead, blockHead+len(records))
	b = append(b, records...)
	sealBlock(b, f.generation, f.index)
	if _, err := f.file.WriteAt(b, f.off); err != nil {
		return fmt.Errorf("write journal: %w", err)
	}
	f.index++
	f.off += int64(len(b))
	return nil
}
