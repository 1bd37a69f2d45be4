package freshness

import (
	"net/http"
	"strings"
	"time"
)

// Response is what freshness is computed from.
type Response struct {
	Status int
	Header http.Header
	// RequestTime is when the request was sent, ResponseTime when the response's head arrived. RFC 9111, 4.2.3.
	RequestTime, ResponseTime time.Time
	// Surrogate is the name under which this cache obeys Surrogate-Control; empty means that it ignores the field.
	Surrogate string
	// Targeted are the canonical names of the targeted fields (RFC 9213) that this cache obeys before
	// CDN-Cache-Control, the closest first.
	Targeted []string
}

// Freshness is how long a stored response may be reused. It is a value and never changes.
type Freshness struct {
	// Lifetime is how old the response may become. RFC 9111, 4.2.1.
	Lifetime time.Duration
	// InitialAge is how old it was at ResponseTime. RFC 9111, 4.2.3: corrected_initial_age.
	InitialAge time.Duration
	// StaleWhileRevalidate and StaleIfError are the windows after Lifetime. RFC 5861.
	StaleWhileRevalidate, StaleIfError time.Duration
	ResponseTime                       time.Time
	// NoCache demands validation before each use.
	NoCache bool
	// MustRevalidate forbids use once stale: must-revalidate, proxy-revalidate, or s-maxage (RFC 9111, 5.2.2.10).
	MustRevalidate bool
	// Immutable says that the body does not change while fresh. RFC 8246.
	Immutable bool
}

// Explicit tells whether the response names its own lifetime: where it does not, Of takes the fallback.
func (r Response) Explicit() bool {
	d, targeted := r.control()
	return d.MaxAge.Set || d.SMaxAge.Set || len(r.expires(targeted)) > 0
}

// Of computes a response's freshness. fallback is the lifetime where the response names none; 0 makes it stale at once.
func Of(r Response, fallback time.Duration) Freshness {
	d, targeted := r.control()
	f := Freshness{
		Lifetime:             lifetime(d, r, r.expires(targeted), fallback),
		InitialAge:           initialAge(r),
		StaleWhileRevalidate: d.StaleWhileRevalidate.Duration(),
		StaleIfError:         d.StaleIfError.Duration(),
		ResponseTime:         r.ResponseTime,
		NoCache:              d.NoCache,
		MustRevalidate:       d.MustRevalidate || d.ProxyRevalidate,
		Immutable:            d.Immutable,
	}
	// RFC 9111, 5.2.2.10: s-maxage implies proxy-revalidate. We depart from it where the same response grants staleness
	// by name: who writes "s-maxage=10, stale-while-revalidate=60" means both, and shared caches read it so.
	if d.SMaxAge.Set && !d.StaleWhileRevalidate.Set && !d.StaleIfError.Set {
		f.MustRevalidate = true
	}
	return f
}

// Age returns the response's age. RFC 9111, 4.2.3: current_age. It is never negative.
func (f Freshness) Age(now time.Time) time.Duration {
	return saturate(f.InitialAge, max(0, now.Sub(f.ResponseTime)))
}

// Fresh tells whether the response may be used without validation. RFC 9111, 4.2.
func (f Freshness) Fresh(now time.Time) bool {
	return !f.NoCache && f.Lifetime > f.Age(now)
}

// StaleFor returns how long the response has been past its lifetime; 0 before.
func (f Freshness) StaleFor(now time.Time) time.Duration {
	return max(0, f.Age(now)-f.Lifetime)
}

// WhileRevalidating tells whether the response, though stale, may be used while a validation runs. RFC 5861, 3.
func (f Freshness) WhileRevalidating(now time.Time) bool {
	return !f.NoCache && !f.MustRevalidate && f.StaleFor(now) < f.StaleWhileRevalidate
}

// OnError tells whether the response, though stale, may be used in place of an error. RFC 5861, 4.
func (f Freshness) OnError(now time.Time) bool {
	return !f.NoCache && !f.MustRevalidate && f.StaleFor(now) < f.StaleIfError
}

// lifetime is RFC 9111, 4.2.1 for a shared cache.
func lifetime(d Directives, r Response, expires []string, fallback time.Duration) time.Duration {
	if _, ok := age(r.Header); !ok {
		return 0
	}
	switch {
	case d.SMaxAge.Set:
		return d.SMaxAge.Duration()
	case d.MaxAge.Set:
		return d.MaxAge.Duration()
	case len(expires) > 0:
		// RFC 9111, 5.3: an invalid date, "0" above all, is a time in the past.
		at, err := http.ParseTime(expires[0])
		if err != nil {
			return 0
		}
		return max(0, at.Sub(date(r)))
	}
	return max(0, fallback)
}

// date is when the response was generated. RFC 9110, 6.6.1: where Date is missing, when it was received.
func date(r Response) time.Time {
	if lines := r.Header["Date"]; len(lines) > 0 {
		if at, err := http.ParseTime(lines[0]); err == nil {
			return at
		}
	}
	return r.ResponseTime
}

// initialAge is RFC 9111, 4.2.3: corrected_initial_age.
func initialAge(r Response) time.Duration {
	apparent := max(0, r.ResponseTime.Sub(date(r)))
	// The time in transit counts, because the response may have been generated right after the request was sent.
	delay := max(0, r.ResponseTime.Sub(r.RequestTime))
	seconds, _ := age(r.Header)
	return max(apparent, saturate(seconds, delay))
}

// age reads Age. ok is false where it is not one number: the response then comes from a cache that held it nobody knows
// how long. RFC 9111, 4.2.1 encourages caches to take what has invalid freshness information for stale. We do, and so
// depart from 5.1, by which a cache should take the first of several values and ignore one that is no number: that makes
// a response of unknown age a new one.
func age(h http.Header) (age time.Duration, ok bool) {
	lines := h["Age"]
	if len(lines) == 0 {
		return 0, true
	}
	seconds, ok := parseSeconds(strings.Trim(lines[0], " \t"))
	if !ok || len(lines) > 1 {
		return 0, false
	}
	return time.Duration(seconds) * time.Second, true
}

// Heuristic returns the lifetime to assume for a response that names none: a tenth of the time since it was last
// modified, up to a day, as RFC 9111, 4.2.2 suggests; 0 where it may not be assumed or nothing is known.
func Heuristic(r Response) time.Duration {
	const part, longest = 10, 24 * time.Hour
	d, _ := r.control()
	if r.Explicit() || !d.Public && !heuristic(r.Status) {
		return 0
	}
	modified, err := http.ParseTime(r.Header.Get("Last-Modified"))
	if err != nil {
		return 0
	}
	return min(longest, max(0, date(r).Sub(modified)/part))
}
