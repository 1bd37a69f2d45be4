package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/textproto"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weir/edge/limit"
)

// Of a hundred requests of the viewers in TestOverload, so many are of each class; all others are of stored segments.
var demandShares = [limit.Classes]int{limit.SegmentMiss: 8, limit.PlaylistMiss: 2, limit.SegmentHit: 80, limit.PlaylistHit: 10}

const (
	demandSegments, demandPlaylists = 50, 10 // that are stored
	demandFew                       = 256    // connections that find out how much the node can do
	demandMany                      = 9000   // viewers
	demandTimes                     = 3      // how much more than the node can do they ask for
)

// demandPath is what a request of a class asks for.
func demandPath(c limit.Class, unique int64) string {
	switch c {
	case limit.SegmentMiss:
		return fmt.Sprintf("/o/16KiB/cold-%d.m4s", unique)
	case limit.PlaylistMiss:
		return fmt.Sprintf("/o/4KiB/cold-%d.m3u8", unique)
	case limit.PlaylistHit:
		return fmt.Sprintf("/o/4KiB/hot-%d.m3u8", unique%demandPlaylists)
	case limit.SegmentHit:
	}
	return fmt.Sprintf("/o/16KiB/hot-%d.m4s", unique%demandSegments)
}

// demandReport is how one class fared.
type demandReport struct {
	Asked, Answered, Shed, Wrong int64 // Shed are 503 with Retry-After
	P50, P90, P99                time.Duration
	ShedP50, ShedP99             time.Duration
}

// viewers ask for what stands in demandShares, each over its own connection.
type viewers struct {
	address string
	unique  atomic.Int64

	mu         sync.Mutex // guards the fields below
	took, shed [limit.Classes][]time.Duration
	wrong      [limit.Classes]int64
}

// play takes how many viewers there are, how many requests a second all of them have, 0 for as many as they can, for how
// long, and how much of the beginning does not count.
func (v *viewers) play(words []string) any {
	many, _ := strconv.Atoi(words[1]) // the test says what is a number
	rate, _ := strconv.ParseFloat(words[2], 64)
	length, _ := time.ParseDuration(words[3])
	skip, _ := time.ParseDuration(words[4])
	v.took, v.shed, v.wrong = [limit.Classes][]time.Duration{}, [limit.Classes][]time.Duration{}, [limit.Classes]int64{}
	begun := time.Now()
	var all sync.WaitGroup
	for range many {
		all.Go(func() {
			every := time.Duration(0)
			if rate > 0 {
				every = time.Duration(float64(many) / rate * float64(time.Second))
			}
			v.view(begun, begun.Add(length), begun.Add(skip), every)
		})
	}
	all.Wait()
	var reports [limit.Classes]demandReport
	for c := range reports {
		reports[c] = demandReport{
			Asked: int64(len(v.took[c])+len(v.shed[c])) + v.wrong[c], Answered: int64(len(v.took[c])), Shed: int64(len(v.shed[c])), Wrong: v.wrong[c],
			P50: waitOf(v.took[c], 50), P90: waitOf(v.took[c], 90), P99: waitOf(v.took[c], 99), ShedP50: waitOf(v.shed[c], 50), ShedP99: waitOf(v.shed[c], 99),
		}
	}
	return reports
}

// view is one viewer, who asks every so often, and later where an answer is late.
func (v *viewers) view(begun, end, count time.Time, every time.Duration) {
	next := begun.Add(time.Duration(rand.Int64N(int64(every) + 1)))
	for time.Now().Before(end) { // a connection after the other
		c, err := net.Dial("tcp", v.address)
		if err != nil {
			time.Sleep(10 * time.Millisecond)
			continue
		}
		_ = c.SetDeadline(end.Add(5 * time.Second))
		for r := bufio.NewReaderSize(c, 4<<10); time.Now().Before(end); {
			time.Sleep(min(time.Until(next), time.Until(end)))
			next = time.Now().Add(every)
			class, dice := limit.Class(0), rand.IntN(100)
			for dice >= demandShares[class] {
				dice -= demandShares[class]
				class++
			}
			asked := time.Now()
			status, later, err := demand(c, r, demandPath(class, v.unique.Add(1)))
			if status == http.StatusServiceUnavailable { // a player does as it is told
				next = next.Add(later)
			}
			if asked.After(count) {
				v.note(class, status, time.Since(asked))
			}
			if err != nil {
				break
			}
		}
		_ = c.Close()
	}
}

func (v *viewers) note(class limit.Class, status int, took time.Duration) {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch status {
	case http.StatusOK:
		v.took[class] = append(v.took[class], took)
	case http.StatusServiceUnavailable:
		v.shed[class] = append(v.shed[class], took)
	default:
		v.wrong[class]++
	}
}

// demand asks for a path and reads the answer. The status is 0 where there is none, or it is a 503 that does not say when to
// come again.
func demand(c net.Conn, r *bufio.Reader, path string) (status int, later time.Duration, err error) {
	if _, err := io.WriteString(c, "GET "+path+" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"); err != nil {
		return 0, 0, err
	}
	line, err := r.ReadSlice('\n')
	if err != nil || len(line) < 12 {
		return 0, 0, err
	}
	status, _ = strconv.Atoi(string(line[9:12])) // 0 is no status
	length := 0
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return 0, 0, err
		}
		if line = bytes.TrimRight(line, "\r\n"); len(line) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		switch textproto.CanonicalMIMEHeaderKey(string(name)) {
		case "Content-Length":
			length, _ = strconv.Atoi(string(bytes.TrimSpace(value)))
		case "Retry-After":
			seconds, _ := strconv.Atoi(string(bytes.TrimSpace(value)))
			later = time.Duration(seconds) * time.Second
		}
	}
	if status == http.StatusServiceUnavailable && later == 0 {
		status = 0
	}
	_, err = r.Discard(length)
	return status, later, err
}

// TestOverload: viewers ask for three times what a node can do. Those it answers wait no longer than a bound; those it does not
// hear so at once; and what it gives up first is what costs most: misses before hits, segments before playlists. The
// viewers have a processor, and the node another, where it goes before them. The wait is judged with -attack alone.
func TestOverload(t *testing.T) { //nolint:paralleltest // it measures
	if raceDetector() {
		t.Skip("the race detector makes the node another one")
	}
	length, delays := 4*time.Second, []time.Duration{100 * time.Millisecond}
	if *attackMeasure {
		length, delays = 24*time.Second, []time.Duration{0, 100 * time.Millisecond}
	}
	many := min(demandMany, maxFiles()/4) // each is a file here, and two there for a while
	for _, delay := range delays {
		t.Run(fmt.Sprint("delay ", delay), func(t *testing.T) {
			n := startAttacked(t, fmt.Sprintf("overload: {delay: %s}\n", delay), "GOMAXPROCS=1")
			crowd := startActor(t, false, "viewers", n.http)
			var able, asked [limit.Classes]demandReport
			crowd.ask(t, &able, "few", demandFew, 0, "1s", "300ms")
			crowd.ask(t, &able, "few", demandFew, 0, "2s", "0s")
			capacity := 0.0
			for _, r := range able {
				capacity += float64(r.Answered) / 2
			}
			profiled := n.profile(t, t.Name())
			used, begun := processorTime(t, n.cmd.Process.Pid), time.Now()
			crowd.ask(t, &asked, "many", many, fmt.Sprintf("%.0f", capacity*demandTimes), length.String(), (length / 2).String())
			used = processorTime(t, n.cmd.Process.Pid) - used
			profiled()
			t.Logf("the node can do %.0f requests/s; then it used %.2f of its processor; refused: %v", capacity, used.Seconds()/time.Since(begun).Seconds(), n.refused(t))
			parts := [limit.Classes]float64{}
			for class, r := range asked {
				if r.Asked > 0 {
					parts[class] = float64(r.Shed) / float64(r.Asked)
				}
				t.Logf("%-13s %7.0f/s asked, %5.1f %% shed, %d wrong; answered p50 %v p90 %v p99 %v, alone %v %v; shed p50 %v p99 %v", limit.Class(class), float64(r.Asked)/(length/2).Seconds(),
					100*parts[class], r.Wrong, r.P50.Round(100*time.Microsecond), r.P90.Round(100*time.Microsecond), r.P99.Round(100*time.Microsecond), able[class].P50.Round(100*time.Microsecond), able[class].P99.Round(100*time.Microsecond),
					r.ShedP50.Round(100*time.Microsecond), r.ShedP99.Round(100*time.Microsecond))
				if r.Wrong > r.Asked/100 {
					t.Errorf("%s: %d of %d have no answer, or are not told when to come again", limit.Class(class), r.Wrong, r.Asked)
				}
			}
			if !slices.IsSortedFunc(parts[:], func(a, b float64) int { return int((b - a) * 20) }) {
				t.Errorf("of the classes %v were shed: one went before what is worth less", parts)
			}
		})
	}
}
