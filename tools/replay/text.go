package replay

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// csvHeader begins a trace in CSV.
const csvHeader = "t_ms,session,kind,title,rendition,segment,bytes"

// maxLineBytes bounds a line: an access log's target is at most 8 KiB.
const maxLineBytes = 1 << 20

// lines calls f with each line and its number, from 1.
func lines(r io.Reader, f func(n int, line string) error) error {
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 64<<10), maxLineBytes)
	for n := 1; s.Scan(); n++ {
		if err := f(n, s.Text()); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
	}
	return s.Err()
}

// numbers reads decimal fields; what names each is for the error.
func numbers(fields []string, what ...string) ([]int64, error) {
	if len(fields) != len(what) {
		return nil, fmt.Errorf("%w: %d fields, want %d", ErrFormat, len(fields), len(what))
	}
	list := make([]int64, len(fields))
	for i, f := range fields {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil || n < 0 {
			return nil, fmt.Errorf("%w: %s %q is no number", ErrFormat, what[i], f)
		}
		list[i] = n
	}
	return list, nil
}

// readCSV reads the format of csvHeader. An object's path is what an origin would call it.
func (b *builder) readCSV(r io.Reader) error {
	b.trace.Format, b.trace.Clock = "csv", true
	return lines(r, func(n int, line string) error {
		if n == 1 || line == "" {
			return nil
		}
		f := strings.Split(line, ",")
		if len(f) != 7 {
			return fmt.Errorf("%w: %d fields, want 7", ErrFormat, len(f))
		}
		kind := map[string]string{"v": "vod", "l": "live"}[f[2]]
		if kind == "" {
			return fmt.Errorf("%w: kind %q is neither v nor l", ErrFormat, f[2])
		}
		v, err := numbers([]string{f[0], f[3], f[4], f[5], f[6]}, "t_ms", "title", "rendition", "segment", "bytes")
		if err != nil {
			return err
		}
		rendition := "audio"
		if v[2] > 0 {
			rendition = fmt.Sprint("v", v[2])
		}
		b.add(time.Duration(v[0])*time.Millisecond, fmt.Sprintf("replay/%s/title%d/%s/seg-%05d.m4s", kind, v[1], rendition, v[3]), v[4])
		return nil
	})
}

// readLines reads lines "time id bytes". The times are running numbers.
func (b *builder) readLines(r io.Reader) error {
	b.trace.Format = "lines"
	return lines(r, func(_ int, line string) error {
		if line == "" {
			return nil
		}
		v, err := numbers(strings.Fields(line), "time", "id", "bytes")
		if err != nil {
			return err
		}
		b.add(b.nextTick(), fmt.Sprint("replay/", v[1]), v[2])
		return nil
	})
}

// logLine is what is used of a line of the access log.
type logLine struct {
	Time    time.Time `json:"time"`
	Site    string    `json:"site"`
	Host    string    `json:"host"`
	Method  string    `json:"method"`
	Path    string    `json:"path"`
	Status  int       `json:"status"`
	Bytes   int64     `json:"bytes"`
	Outcome string    `json:"outcome"`
}

// cacheable tells whether the request could have been answered by a cache.
func (l *logLine) cacheable() bool {
	switch l.Outcome {
	case "hit", "stale", "miss", "collapsed":
		return l.Method == "GET" && (l.Status == 200 || l.Status == 206 || l.Status == 304)
	}
	return false
}

// readLog reads Weir's access log in JSON. An object is as large as the largest answer with it. Lines are ordered by
// when the request ended; a time that goes back is taken for the one before.
func (b *builder) readLog(r io.Reader) error {
	b.trace.Format, b.trace.Clock = "access log", true
	var began time.Time
	var last time.Duration
	return lines(r, func(_ int, line string) error {
		var l logLine
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			return fmt.Errorf("%w: %w", ErrFormat, err)
		}
		if !l.cacheable() {
			return nil
		}
		if began.IsZero() {
			began = l.Time
		}
		last = max(last, l.Time.Sub(began))
		n := b.object(l.Host+l.Path, l.Bytes)
		b.trace.Objects[n].Bytes = max(b.trace.Objects[n].Bytes, l.Bytes)
		b.ask(last, n)
		return nil
	})
}
