package quality

import "time"

// Figures are sums over sessions. They add up.
type Figures struct {
	Sessions    int64          `json:"sessions"`      // that are over
	Started     int64          `json:"started"`       // of those, that came to play
	StartUps    [buckets]int64 `json:"start_ups"`     // how many took that long to start; see StartUpBounds
	StartUpTime time.Duration  `json:"start_up_time"` // of all of them, nanoseconds
	Watched     time.Duration  `json:"watched"`
	Stalled     time.Duration  `json:"stalled"`
	Stalls      int64          `json:"stalls"`
	WithStalls  int64          `json:"with_stalls"` // sessions
	Bits        float64        `json:"bits"`        // watched time x bitrate, in kbit
	Switches    int64          `json:"switches"`
	Errors      int64          `json:"errors"`
	WithErrors  int64          `json:"with_errors"` // sessions
	Fatal       int64          `json:"fatal"`       // sessions that ended in an error
	Left        int64          `json:"left"`        // sessions that ended before they came to play
}

const buckets = 8

// StartUpBounds are the upper ends of Figures.StartUps; the last has none.
func StartUpBounds() [buckets - 1]time.Duration {
	const ms = time.Millisecond
	return [...]time.Duration{250 * ms, 500 * ms, time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second}
}

// Add adds o.
func (f *Figures) Add(o *Figures) {
	f.Sessions += o.Sessions
	f.Started += o.Started
	for i, n := range o.StartUps {
		f.StartUps[i] += n
	}
	f.StartUpTime += o.StartUpTime
	f.Watched += o.Watched
	f.Stalled += o.Stalled
	f.Stalls += o.Stalls
	f.WithStalls += o.WithStalls
	f.Bits += o.Bits
	f.Switches += o.Switches
	f.Errors += o.Errors
	f.WithErrors += o.WithErrors
	f.Fatal += o.Fatal
	f.Left += o.Left
}

// StallRatio is the share of time in which viewers waited: of what they watched and waited for. 0: nobody watched.
func (f *Figures) StallRatio() float64 {
	if f.Watched <= 0 {
		return 0
	}
	return f.Stalled.Seconds() / (f.Watched + f.Stalled).Seconds()
}

// ErrorRatio is the share of sessions that met an error.
func (f *Figures) ErrorRatio() float64 {
	if f.Sessions == 0 {
		return 0
	}
	return float64(f.WithErrors) / float64(f.Sessions)
}

// MeanBitrate is in kbit/s, over watched time. 0: nobody watched.
func (f *Figures) MeanBitrate() float64 {
	if f.Watched <= 0 {
		return 0
	}
	return f.Bits / f.Watched.Seconds()
}

// StartUp is the time within which that share of the sessions came to play, from 0 to 1, as far as the bounds tell; 0 where
// none did.
func (f *Figures) StartUp(share float64) time.Duration {
	total := int64(0)
	for _, n := range f.StartUps {
		total += n
	}
	if total == 0 {
		return 0
	}
	bounds := StartUpBounds()
	want, seen, low := share*float64(total), 0.0, time.Duration(0)
	for i, n := range f.StartUps {
		high := 2 * bounds[len(bounds)-1]
		if i < len(bounds) {
			high = bounds[i]
		}
		if seen += float64(n); seen >= want && n > 0 {
			inside := (want - seen + float64(n)) / float64(n)
			return low + time.Duration(inside*float64(high-low))
		}
		low = high
	}
	return low
}

func (f *Figures) started(after time.Duration) {
	f.Started++
	f.StartUpTime += after
	bounds := StartUpBounds()
	i := 0
	for i < len(bounds) && after > bounds[i] {
		i++
	}
	f.StartUps[i]++
}
