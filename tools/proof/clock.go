package proof

import (
	"time"
	"unsafe"
)

// Stepped is t, a reading of time.Now outside of bubbles, as it would be had the machine's clock been set by so many whole
// seconds before: its wall time differs, its monotonic reading does not.
func Stepped(t time.Time, by time.Duration) time.Time {
	const wallSecondsShift = 30 // where a Time with a monotonic reading keeps the seconds since 1885
	stepped := t
	*(*uint64)(unsafe.Pointer(&stepped)) += uint64(by/time.Second) << wallSecondsShift //nolint:gosec // there is no other way
	if stepped.Sub(t) != 0 || stepped.Round(0).Sub(t.Round(0)) != by {
		panic("proof: a Time without a monotonic reading, or of another make")
	}
	return stepped
}
