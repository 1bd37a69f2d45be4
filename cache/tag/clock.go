package tag

import "time"

// lease is how far ahead of its clock a Table notes in the file what its clock may reach, so that one line a minute of
// fetching is enough. After a start the clock is ahead of the machine's by at most that, for nothing but the comparison.
const lease = time.Minute

// farthest is how far the clock may have been ahead of all that a damaged file still tells, a lease for each start after another.
const farthest = 24 * time.Hour

// Time is the reading of the table's clock at a time of the process. That clock begins with the machine's, and behind
// all that the file knows of; then it goes on with the process's monotonic clock, wherever the machine's is set to.
//
// Hot path: a subtraction.
func (t *Table) Time(at time.Time) time.Time { return time.Unix(0, t.time(at)).UTC() }

func (t *Table) time(at time.Time) int64 { return t.start + int64(at.Sub(t.began)) }

// machine is the time of the process at a reading of the table's clock.
func (t *Table) machine(at int64) time.Time { return t.began.Add(time.Duration(at - t.start)) }

// Fetch is Time for a fetch that began then, whose response may be stored with it: also after a restart no purge that is
// made later has an earlier time.
func (t *Table) Fetch(at time.Time) time.Time {
	n := t.time(at)
	for t.journal != nil {
		known := t.reach.Load()
		if n <= known {
			break
		}
		if reach := n + int64(lease); t.reach.CompareAndSwap(known, reach) {
			_ = t.journal.append([]entry{reached(reach)}, t, false) // what is not written now is with the next purge
			break
		}
	}
	return time.Unix(0, n).UTC()
}

// reached is the line that says how far the table's clock may be. Builds that know nothing of it take it for a tag
// without a name, and read on.
func reached(at int64) entry { return entry{kind: Tag, times: times{hard: at}} }

func (e entry) isReached() bool { return e.kind == Tag && e.hash == 0 }
