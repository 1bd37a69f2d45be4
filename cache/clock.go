package cache

import "time"

// Ages are counted by monotonic time: a wall clock that steps by a day makes nothing stale and nothing eternal. A file
// can hold wall time only, so that what is written is the time that has passed since New, put on the wall time of then;
// reading undoes it. The steps of the clock between two runs of the process count, as nobody was there to see them.

// mapTimes replaces the times that ages are counted from.
func (h *Head) mapTimes(by func(time.Time) time.Time) {
	h.RequestTime, h.ResponseTime, h.Freshness.ResponseTime = by(h.RequestTime), by(h.ResponseTime), by(h.Freshness.ResponseTime)
}

// written is t as it is stored.
func (c *Cache) written(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return c.began.Add(t.Sub(c.began))
}

// read is a stored time with a monotonic reading.
func (c *Cache) read(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return c.began.Add(t.Sub(c.began.Round(0)))
}

// distrustFuture makes stale what was stored at a time yet to come, by a clock that has been set back since: its age is
// not known (RFC 9111, 4.2.3), and would not grow until that time has come.
func (c *Cache) distrustFuture(h *Head) {
	if time.Until(h.Freshness.ResponseTime) > 0 {
		h.Freshness.Lifetime, h.Freshness.StaleWhileRevalidate, h.Freshness.StaleIfError = 0, 0, 0
	}
}
