package disk

import (
	"context"
	"errors"
	"io"
	"slices"
)

// Loaded tells what Load found.
type Loaded struct {
	// Records is how many objects it reported.
	Records int
	// Removed are the objects that were stored no more, according to the log. Their files may still be there.
	Removed [][16]byte
	// Clean tells that what was reported is all there is: the journal ended with Close, and nothing is missing. It is
	// a statement of who wrote it; a power cut may bring such a state back.
	Clean bool
	// Damaged is why a part of the journal could not be used; nil if all could.
	Damaged error
}

// change is the last that a log says of an ID.
type change struct {
	record Record
	kind   uint64 // 0 if there is a later one
}

// Load reports what was stored, each object once: those that changed least recently first, so that an index which keeps
// the order of its insertions keeps that as well. Unless the last end was clean, its Version is 0: there may be a newer one
// that no record tells of. found must not call the Journal. The error is ctx's or that of a system
// call; what is damaged is no error. It is to be called at most once, before Snapshot.
func (j *Journal) Load(ctx context.Context, found func(Record)) (Loaded, error) {
	var l Loaded
	if j.begun {
		return l, errors.New("journal is in use already")
	}
	beginErr := j.begin()
	if !j.begun {
		return l, beginErr
	}
	snapshots, logs := slices.Clone(j.snapshots), slices.Clone(j.logs)
	if j.log != nil {
		logs = logs[:len(logs)-1] // the one that has just begun
	}
	for len(snapshots) > 0 {
		generation := snapshots[len(snapshots)-1]
		snapshots = snapshots[:len(snapshots)-1]
		reader, err := j.open(snapshotPrefix, generation)
		if err != nil {
			l.Damaged = err
			continue
		}
		logs = slices.DeleteFunc(logs, func(g uint64) bool { return g < generation })
		clean := reader.flags&flagClean != 0 && len(logs) == 0 && l.Damaged == nil
		err = j.replay(ctx, &l, reader, logs, func(r *Record) {
			if !clean {
				r.Version = 0
			}
			found(*r)
		})
		l.Clean = clean && l.Damaged == nil
		_ = reader.file.Close() // nothing was written
		if l.Clean && j.log == nil {
			// Nothing will tell that it is clean no longer.
			beginErr = errors.Join(beginErr, j.fs.Remove(j.path(snapshotPrefix, generation)))
		}
		return l, errors.Join(err, beginErr)
	}
	err := j.replay(ctx, &l, nil, logs, func(r *Record) {
		r.Version = 0
		found(*r)
	})
	return l, errors.Join(err, beginErr)
}

// Expect tells about how many objects Load will report, by the length of the last snapshot: 0 if there is none. It is to be
// called before Load.
func (j *Journal) Expect() int {
	list, err := j.fs.List(j.dir)
	if err != nil {
		return 0 // which Load reports
	}
	last, bytes := uint64(0), int64(0)
	for _, f := range list {
		if generation, ok := parseGeneration(f.Name, snapshotPrefix); ok && generation >= last {
			last, bytes = generation, f.Bytes
		}
	}
	return int(bytes / recordSize)
}

// replay reports a snapshot, if there is one, with the logs over it.
func (j *Journal) replay(ctx context.Context, l *Loaded, snapshot *journalReader, logs []uint64, found func(*Record)) error {
	var changes []change
	last := map[[16]byte]int{}
	for _, generation := range logs {
		reader, err := j.open(logPrefix, generation)
		if err == nil {
			err = reader.each(ctx, func(kind uint64, r *Record) {
				if i, ok := last[r.ID]; ok {
					changes[i].kind = 0
				}
				last[r.ID] = len(changes)
				changes = append(changes, change{*r, kind})
			})
			_ = reader.file.Close() // nothing was written
		}
		if err != nil {
			l.Damaged = errors.Join(l.Damaged, err)
		}
	}
	if snapshot != nil {
		err := snapshot.each(ctx, func(_ uint64, r *Record) {
			if len(last) > 0 {
				if _, changed := last[r.ID]; changed {
					return
				}
			}
			l.Records++
			found(r)
		})
		if err == nil && !snapshot.ended {
			err = errJournal
		}
		l.Damaged = errors.Join(l.Damaged, err)
	}
	for i := range changes {
		switch c := &changes[i]; c.kind {
		case kindAdd:
			l.Records++
			found(&c.record)
		case kindGone:
			l.Removed = append(l.Removed, c.record.ID)
		}
	}
	return ctx.Err()
}

var errJournal = errors.New("disk: damaged journal")

// journalReader reads a snapshot or a log.
type journalReader struct {
	header
	file  File
	ended bool // the end of a snapshot was found
}

func (j *Journal) open(prefix string, generation uint64) (*journalReader, error) {
	file, err := j.fs.Open(j.path(prefix, generation))
	if err != nil {
		return nil, err
	}
	var b [headerSize]byte
	err = readFull(file, b[:], 0)
	var h header
	if err == nil {
		h, err = parseHeader(b[:])
	}
	if err == nil && (h.generation != generation || (prefix == snapshotPrefix) != (h.flags&flagSnapshot != 0)) {
		err = errJournal
	}
	if err != nil {
		_ = file.Close() // nothing was written
		return nil, err
	}
	return &journalReader{header: h, file: file}, nil
}

// each calls found for every record up to the first block that is damaged, which is an error, as is one that cannot be
// read.
func (r *journalReader) each(ctx context.Context, found func(kind uint64, r *Record)) error {
	const blockSize = blockHead + blockRecords*recordSize
	buf := make([]byte, 16*blockSize)
	var record Record
	have, off, index := 0, int64(headerSize), uint64(0)
	for ctx.Err() == nil {
		n, err := r.file.ReadAt(buf[have:], off)
		off += int64(n)
		b := buf[:have+n]
		atEnd := errors.Is(err, io.EOF) || err == nil && n == 0
		if err != nil && !atEnd {
			return err
		}
		// A block that reaches over the end of what was read waits for the rest.
		for len(b) >= blockSize || atEnd && len(b) > 0 {
			records, ok := openBlock(b, r.generation, index)
			if !ok {
				return errJournal
			}
			b = b[blockHead+len(records):]
			index++
			if len(records) == 0 {
				r.ended = true
				return nil
			}
			for ; len(records) > 0; records = records[recordSize:] {
				kind := parseRecord(records, &record)
				if kind != kindAdd && kind != kindGone {
					return errJournal
				}
				found(kind, &record)
			}
		}
		if atEnd {
			return nil
		}
		have = copy(buf, b)
	}
	return ctx.Err()
}
