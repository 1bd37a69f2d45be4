package proof

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// FaultKind says what an Origin does wrong.
type FaultKind string

// The faults. At, For and N are fields of Fault.
const (
	FaultDelay       FaultKind = "delay"        // waits For before the head
	FaultStall       FaultKind = "stall"        // stops at body byte At for For, or until Release if For is 0
	FaultTrickle     FaultKind = "trickle"      // sends N bytes per For
	FaultStatus      FaultKind = "status"       // answers status N with a short text
	FaultTruncate    FaultKind = "truncate"     // closes the connection or stream after body byte At
	FaultResetHead   FaultKind = "reset-head"   // resets before the head
	FaultReset       FaultKind = "reset"        // resets after the head and body byte At
	FaultLength      FaultKind = "length"       // lies: N bytes more (or fewer, N < 0) in body and Content-Length
	FaultExtra       FaultKind = "extra"        // N bytes more on the connection than Content-Length says (HTTP/1.1 only)
	FaultWrongRange  FaultKind = "wrong-range"  // a 206 for the range N bytes further than asked
	FaultIgnoreRange FaultKind = "ignore-range" // a 200 with everything
	FaultFlip        FaultKind = "flip"         // body byte At has one bit changed
	FaultShift       FaultKind = "shift"        // the body is that of N bytes further on
	FaultMix         FaultKind = "mix"          // from body byte At on the next version
	FaultOther       FaultKind = "other"        // the body of another object
)

// Fault is one thing that goes wrong. Offsets count in the whole body, also
// where a range of it is sent.
type Fault struct {
	Kind  FaultKind
	At    int64         // bytes
	N     int64         // bytes, or a status
	For   time.Duration // 0 = see the kind
	Skip  int           // this many matching requests pass first
	Times int           // then it strikes this many; 0 = all
}

// ParseFault reads the form "KIND" or "KIND=ARGUMENTS": delay=5s, stall=1000
// or stall=1000:30s, trickle=1000/1s, status=503, truncate=1000, reset-head,
// reset=1000, length=-10, extra=10, wrong-range=100, ignore-range, flip=5000,
// shift=1, mix=5000, other. Sizes may have units (64KiB).
func ParseFault(text string) (Fault, error) {
	kind, arg, has := strings.Cut(text, "=")
	f := Fault{Kind: FaultKind(kind)}
	var err error
	switch f.Kind {
	case FaultResetHead, FaultIgnoreRange, FaultOther:
		if has {
			return Fault{}, fmt.Errorf("fault %q: takes no argument", text)
		}
	case FaultDelay:
		f.For, err = parseDuration(arg)
	case FaultTrickle:
		n, d, _ := strings.Cut(arg, "/")
		if f.N, err = ParseSize(n); err == nil {
			f.For, err = parseDuration(d)
		}
		if err == nil && (f.N == 0 || f.For == 0) {
			err = fmt.Errorf("rate of nothing")
		}
	case FaultStall:
		at, d, timed := strings.Cut(arg, ":")
		if f.At, err = ParseSize(at); err == nil && timed {
			f.For, err = parseDuration(d)
		}
	case FaultTruncate, FaultReset, FaultFlip, FaultMix:
		f.At, err = ParseSize(arg)
	case FaultStatus, FaultLength, FaultExtra, FaultWrongRange, FaultShift:
		f.N, err = strconv.ParseInt(arg, 10, 32)
		if err == nil && f.Kind == FaultStatus && (f.N < 200 || f.N > 999) {
			err = fmt.Errorf("status %d out of range", f.N)
		}
		if err == nil && f.N < 0 && f.Kind != FaultLength && f.Kind != FaultWrongRange {
			err = fmt.Errorf("%d is negative", f.N)
		}
	default:
		return Fault{}, fmt.Errorf("fault %q: unknown kind", kind)
	}
	if err != nil {
		return Fault{}, fmt.Errorf("fault %q: %w", text, err)
	}
	return f, nil
}

// String prints what ParseFault reads; Skip and Times are not part of it.
func (f Fault) String() string {
	switch f.Kind {
	case FaultDelay:
		return fmt.Sprintf("%s=%s", f.Kind, f.For)
	case FaultTrickle:
		return fmt.Sprintf("%s=%d/%s", f.Kind, f.N, f.For)
	case FaultStall:
		if f.For > 0 {
			return fmt.Sprintf("%s=%d:%s", f.Kind, f.At, f.For)
		}
		return fmt.Sprintf("%s=%d", f.Kind, f.At)
	case FaultTruncate, FaultReset, FaultFlip, FaultMix:
		return fmt.Sprintf("%s=%d", f.Kind, f.At)
	case FaultStatus, FaultLength, FaultExtra, FaultWrongRange, FaultShift:
		return fmt.Sprintf("%s=%d", f.Kind, f.N)
	default:
		return string(f.Kind)
	}
}

func parseDuration(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err == nil && d < 0 {
		err = fmt.Errorf("duration %q is negative", s)
	}
	return d, err
}

// plan is the sum of the faults that strike one request.
type plan struct {
	delay       time.Duration
	status      int
	resetHead   bool
	ignoreRange bool
	wrongRange  int64
	length      int64
	extra       int64
	shift       int64
	other       bool
	cut         int64 // body offset, -1 = none
	cutResets   bool
	flip, mix   int64 // body offset, -1 = none
	stalls      []stallPoint
	trickle     int64 // bytes
	trickleFor  time.Duration
}

type stallPoint struct {
	at       int64
	d        time.Duration
	released <-chan struct{}
}

// armedFault is a fault in place, with its count.
type armedFault struct {
	Fault
	pattern  string
	matched  int
	released chan struct{}
}

// strike counts one matching request and says whether the fault hits it.
func (a *armedFault) strike() bool {
	a.matched++
	return a.matched > a.Skip && (a.Times == 0 || a.matched <= a.Skip+a.Times)
}

func (p *plan) add(a *armedFault) {
	switch a.Kind {
	case FaultDelay:
		p.delay += a.For
	case FaultStall:
		p.stalls = append(p.stalls, stallPoint{a.At, a.For, a.released})
	case FaultTrickle:
		p.trickle, p.trickleFor = a.N, a.For
	case FaultStatus:
		p.status = int(a.N)
	case FaultTruncate:
		p.cut = a.At
	case FaultResetHead:
		p.resetHead = true
	case FaultReset:
		p.cut, p.cutResets = a.At, true
	case FaultLength:
		p.length = a.N
	case FaultExtra:
		p.extra = a.N
	case FaultWrongRange:
		p.wrongRange = a.N
	case FaultIgnoreRange:
		p.ignoreRange = true
	case FaultFlip:
		p.flip = a.At
	case FaultShift:
		p.shift = max(0, a.N)
	case FaultMix:
		p.mix = a.At
	case FaultOther:
		p.other = true
	}
}
