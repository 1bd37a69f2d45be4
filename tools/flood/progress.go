package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// progress tells how it goes, each second, until ctx ends: on a terminal in one line that changes.
func progress(ctx context.Context, f *flood, to io.Writer) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	in := isTerminal(to)
	var requests, bytes int64
	width := 0
	for last := time.Now(); ; {
		select {
		case <-ctx.Done():
			if in {
				_, _ = fmt.Fprint(to, "\r", strings.Repeat(" ", width), "\r") // nobody is left to be told
			}
			return
		case now := <-tick.C:
			passed := now.Sub(last).Seconds()
			r, b := f.tally.requests.Load(), f.tally.bytes.Load()
			text := fmt.Sprintf("%4.0f s  %d viewers  %.0f requests/s  %.1f Mbit/s  %d stalls  %d failed  %d wrong", now.Sub(f.begun).Seconds(),
				f.tally.watching.Load(), float64(r-requests)/passed, float64(b-bytes)*8/1e6/passed,
				f.tally.sum(stallsOf), f.tally.failures.Load(), f.ledger.wrongs())
			requests, bytes, last = r, b, now
			if in {
				_, _ = fmt.Fprintf(to, "\r%-*s", width, text)
				width = max(width, len(text))
			} else {
				_, _ = fmt.Fprintln(to, text)
			}
		}
	}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	stat, err := f.Stat()
	return err == nil && stat.Mode()&os.ModeCharDevice != 0
}
