package front

import (
	"sync"
	"time"
)

// deadlineSlack is the part of the time that is left by which a write may be given up
// early: 7.5 seconds of a minute. To move the socket's deadline is to move a timer
// of the runtime, 7 % of a small answer's CPU over HTTP/2, which moves it twice a write.
const deadlineSlack = 8

// leastBytesPerSecond is how slowly a client may take a file and is waited for all the
// same: a deadline that passes while it goes on begins anew.
const leastBytesPerSecond = 2 << 10

// writeDeadline keeps the write deadline of a connection and hands it to the socket
// when a write needs it, and then only if the one that stands there does not do: it must
// neither be later, nor earlier by more than an eighth of the time left. A write that
// runs gets every change at once. Between writes an old deadline may stand and
// pass in the socket; no write begins with it.
type writeDeadline struct {
	mu     sync.Mutex    // guards the fields below
	want   time.Time     // as asked for; zero: none
	span   time.Duration // that it was away then
	armed  time.Time     // what the socket has
	writes int           // that run
}

// set notes t. The error is the socket's, if a write runs.
func (d *writeDeadline) set(socket writeDeadliner, t time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.want, d.span = t, time.Until(t)
	if d.writes == 0 {
		return nil
	}
	return d.armLocked(socket)
}

// begin goes before each write, and end after it. Hot path: a lock, and most often no
// timer.
func (d *writeDeadline) begin(socket writeDeadliner) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.writes++
	_ = d.armLocked(socket) // on a closed connection the write tells
}

func (d *writeDeadline) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.writes--
}

// again begins the deadline anew for a write that has passed it, where enough was sent
// in its time; else false.
func (d *writeDeadline) again(socket writeDeadliner, sent int64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.want.IsZero() || sent <= 0 || float64(sent) < leastBytesPerSecond*d.span.Seconds() {
		return false
	}
	d.want = time.Now().Add(d.span)
	return d.armLocked(socket) == nil
}

// armLocked is called with the lock held across a call to the socket, which does not
// block: two calls in the other order would leave the wrong deadline there.
func (d *writeDeadline) armLocked(socket writeDeadliner) error {
	if d.want.IsZero() == d.armed.IsZero() {
		early := d.want.Sub(d.armed)
		if early == 0 || early > 0 && early <= time.Until(d.want)/deadlineSlack {
			return nil
		}
	}
	d.armed = d.want
	return socket.SetWriteDeadline(d.want)
}

// writeDeadliner is the socket.
type writeDeadliner interface{ SetWriteDeadline(t time.Time) error }
