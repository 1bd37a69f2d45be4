package quality

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// viewer is a session that is followed, or on another node what that has seen of it since it last sent.
type viewer struct {
	Title   string `json:"title,omitempty"`
	Device  string `json:"device,omitempty"`
	Network string `json:"network,omitempty"`
	Edge    string `json:"edge,omitempty"` // the last
	Offline bool   `json:"offline,omitempty"`

	// Times between nodes are spans.
	FirstAgo time.Duration `json:"first_ago"`
	LastAgo  time.Duration `json:"last_ago"`
	BeganAgo time.Duration `json:"began_ago"` // below 0: it has not begun
	EventAgo time.Duration `json:"event_ago"` // of the first event; below 0: none came
	PlayAgo  time.Duration `json:"play_ago"`  // of playing; below 0: it does not play
	event    time.Time     // of the first event since it was sent
	first    time.Time     // of the first sample
	last     time.Time
	ended    time.Time // when its owner heard of the end
	heard    time.Time // when its owner heard of it last
	began    time.Time // of the first sample of a video object without su; zero: none came

	Waited  bool          `json:"waited,omitempty"`   // a sample with su came
	StartUp time.Duration `json:"start_up,omitempty"` // what the player said; 0: nothing

	Watched  time.Duration  `json:"watched,omitempty"` // of objects that were asked for
	Played   time.Duration  `json:"played,omitempty"`  // between events
	PlayBits float64        `json:"play_bits,omitempty"`
	playing  time.Time      // of the last event while it played; zero: it does not
	Bits     float64        `json:"bits,omitempty"`
	Bitrate  int            `json:"bitrate,omitempty"` // of the last video object
	Opening  int            `json:"opening,omitempty"` // of the first, so that a switch between two nodes is seen
	Switches int64          `json:"switches,omitempty"`
	Stalls   int64          `json:"stalls,omitempty"`
	Starved  int64          `json:"starved,omitempty"` // requests with bs
	Stalled  time.Duration  `json:"stalled,omitempty"`
	Errors   int64          `json:"errors,omitempty"`
	Ended    bool           `json:"ended,omitempty"`
	Fatal    bool           `json:"fatal,omitempty"`
	Parts    map[part]*rest `json:"parts,omitempty"`
}

// part is something that a session used: an edge or, where kbps is above 0, a rendition.
type part struct {
	edge string
	kbps int
}

// name is what figures are listed under.
func (p part) name() (Kind, string) {
	if p.kbps > 0 {
		return Rendition, strconv.Itoa(p.kbps)
	}
	return Edge, p.edge
}

// MarshalText makes a part the key of a JSON object.
func (p part) MarshalText() ([]byte, error) {
	kind, name := p.name()
	return []byte(string(kind) + " " + name), nil
}

// UnmarshalText reads what MarshalText writes.
func (p *part) UnmarshalText(text []byte) error {
	kind, name, _ := strings.Cut(string(text), " ")
	switch kbps, err := strconv.Atoi(name); {
	case Kind(kind) == Rendition && err == nil && kbps > 0:
		*p = part{kbps: kbps}
	case Kind(kind) == Edge && name != "":
		*p = part{edge: name}
	default:
		return fmt.Errorf("quality: %.40q is neither an edge nor a rendition", text)
	}
	return nil
}

// rest is a session's share of one part.
type rest struct {
	Watched  time.Duration `json:"watched,omitempty"`
	Bits     float64       `json:"bits,omitempty"`
	Played   time.Duration `json:"played,omitempty"`
	PlayBits float64       `json:"play_bits,omitempty"`
	Stalls   int64         `json:"stalls,omitempty"`
	Stalled  time.Duration `json:"stalled,omitempty"`
	Errors   int64         `json:"errors,omitempty"`
}

const (
	// guessedStall is how long a stall counts of which the player says no more than that it was.
	guessedStall = 500 * time.Millisecond
	maxParts     = 16 // of a session; more count for none
	// longestObject bounds what a player may say of an object: more is no segment.
	longestObject = time.Minute
	// longestWait bounds what it may say of a start or a stall: nobody waits for longer, and one that lies would be all that
	// the sums tell.
	longestWait  = 10 * time.Minute
	maxNameBytes = 256 // of a title and the like; CMCD's cid has 128 at most, a path may have 8 KiB
)

// believed is a wait that can be true; 0: the player says nothing.
func believed(wait time.Duration) time.Duration {
	if wait < 0 || wait > longestWait {
		return 0
	}
	return wait
}

func newViewer(now time.Time) *viewer {
	return &viewer{first: now, last: now, Parts: map[part]*rest{}}
}

// add takes in a sample of this node.
func (v *viewer) add(s *Sample, now time.Time) {
	v.last, v.Offline = now, v.Offline || s.Offline
	v.say(&v.Title, s.Title)
	v.say(&v.Device, s.Device)
	v.say(&v.Network, s.Network)
	v.say(&v.Edge, s.Edge)
	if startUp := believed(s.StartUp); startUp > 0 {
		v.StartUp = startUp
	}
	v.Waited = v.Waited || s.Starting && v.began.IsZero()
	if s.Video && !s.Starting && v.began.IsZero() {
		v.began = now
	}
	edge, rendition := v.part(part{edge: s.Edge}, s.Edge != ""), v.part(part{kbps: s.Bitrate}, s.Video && s.Bitrate > 0)
	if s.Video && s.Duration > 0 && s.Duration <= longestObject {
		bits := s.Duration.Seconds() * float64(s.Bitrate)
		v.Watched, v.Bits = v.Watched+s.Duration, v.Bits+bits
		for _, p := range [...]*rest{edge, rendition} {
			p.Watched, p.Bits = p.Watched+s.Duration, p.Bits+bits
		}
	}
	v.play(s, edge, rendition, now)
	if s.Video && s.Bitrate > 0 {
		if v.Bitrate == 0 {
			v.Opening = s.Bitrate
		} else if v.Bitrate != s.Bitrate {
			v.Switches++
		}
		v.Bitrate = s.Bitrate
	}
	stalls, stalled := int64(s.Stalls), believed(s.Stalled)
	if s.Starved && !v.began.IsZero() {
		v.Starved++
	}
	if stalled > 0 && stalls == 0 {
		stalls = 1
	}
	v.Stalls, v.Stalled, v.Errors = v.Stalls+stalls, v.Stalled+stalled, v.Errors+int64(s.Errors)
	if s.Starved && !v.began.IsZero() && stalled == 0 {
		stalls, stalled = 1, guessedStall // for the parts, which are told in no other way
	}
	for _, p := range [...]*rest{edge, rendition} {
		p.Stalls, p.Stalled, p.Errors = p.Stalls+stalls, p.Stalled+stalled, p.Errors+int64(s.Errors)
	}
	v.Ended, v.Fatal = v.Ended || s.Ended, v.Fatal || s.Fatal
}

// play counts the time between two events while it plays.
func (v *viewer) play(s *Sample, edge, rendition *rest, now time.Time) {
	if !s.Event {
		return
	}
	if v.event.IsZero() {
		v.event = now
	}
	v.played(now, s.Bitrate, edge, rendition)
	v.playing = time.Time{}
	if s.Video {
		v.playing = now
	}
}

// played counts the time from the last event to one at a time.
func (v *viewer) played(to time.Time, kbps int, parts ...*rest) {
	since := to.Sub(v.playing)
	if v.playing.IsZero() || since <= 0 || since > longestObject {
		return
	}
	if kbps == 0 {
		kbps = v.Bitrate
	}
	bits := since.Seconds() * float64(kbps)
	v.Played, v.PlayBits = v.Played+since, v.PlayBits+bits
	for _, p := range parts {
		p.Played, p.PlayBits = p.Played+since, p.PlayBits+bits
	}
}

// say keeps a name, and nothing of the request that it is a piece of.
func (v *viewer) say(what *string, text string) {
	if text = text[:min(len(text), maxNameBytes)]; text != "" && text != *what {
		*what = strings.Clone(text)
	}
}

// part returns one that nobody looks at where there is none, or there are too many.
func (v *viewer) part(p part, there bool) *rest {
	r := v.Parts[p]
	switch {
	case !there || r == nil && len(v.Parts) == maxParts:
		return &rest{}
	case r == nil:
		r = &rest{}
		v.Parts[p] = r
	}
	return r
}

// spans prepares it for another node.
func (v *viewer) spans(now time.Time) {
	ago := func(t time.Time) time.Duration {
		if t.IsZero() {
			return -1
		}
		return now.Sub(t)
	}
	v.FirstAgo, v.LastAgo, v.BeganAgo, v.EventAgo, v.PlayAgo = ago(v.first), ago(v.last), ago(v.began), ago(v.event), ago(v.playing)
}

// merge takes in what another node, or this one, has seen since it last sent.
func (v *viewer) merge(o *viewer, now time.Time) {
	first, last := now.Add(-o.FirstAgo), now.Add(-o.LastAgo)
	v.say(&v.Title, o.Title)
	v.say(&v.Device, o.Device)
	v.say(&v.Network, o.Network)
	v.say(&v.Edge, o.Edge)
	v.heard, v.Offline = now, v.Offline || o.Offline
	if o.StartUp > 0 {
		v.StartUp = o.StartUp
	}
	v.Waited = v.Waited || o.Waited
	if o.BeganAgo >= 0 {
		if began := now.Add(-o.BeganAgo); v.began.IsZero() || began.Before(v.began) {
			v.began = began
		}
	}
	if o.EventAgo >= 0 {
		v.played(now.Add(-o.EventAgo), o.Opening, v.part(part{edge: o.Edge}, o.Edge != ""), v.part(part{kbps: o.Opening}, o.Opening > 0))
		if v.playing = (time.Time{}); o.PlayAgo >= 0 {
			v.playing = now.Add(-o.PlayAgo)
		}
	} else if o.PlayAgo >= 0 && v.playing.IsZero() { // all that another process of this node knew
		v.playing = now.Add(-o.PlayAgo)
	}
	v.meet(o, first, last)
	v.Watched, v.Bits, v.Switches = v.Watched+o.Watched, v.Bits+o.Bits, v.Switches+o.Switches
	v.Played, v.PlayBits = v.Played+o.Played, v.PlayBits+o.PlayBits
	v.Stalls, v.Starved, v.Stalled, v.Errors = v.Stalls+o.Stalls, v.Starved+o.Starved, v.Stalled+o.Stalled, v.Errors+o.Errors
	v.Ended, v.Fatal = v.Ended || o.Ended, v.Fatal || o.Fatal
	for p, r := range o.Parts {
		if r != nil {
			to := v.part(p, true)
			to.Watched, to.Bits, to.Stalls = to.Watched+r.Watched, to.Bits+r.Bits, to.Stalls+r.Stalls
			to.Played, to.PlayBits = to.Played+r.Played, to.PlayBits+r.PlayBits
			to.Stalled, to.Errors = to.Stalled+r.Stalled, to.Errors+r.Errors
		}
	}
	if first.Before(v.first) {
		v.first = first
	}
	if last.After(v.last) {
		v.last = last
	}
}

// meet counts the switch between what was known and what came from another edge, before it or after it. What lies between
// counts none.
func (v *viewer) meet(o *viewer, first, last time.Time) {
	switch {
	case o.Bitrate == 0:
	case v.Bitrate == 0:
		v.Opening, v.Bitrate = o.Opening, o.Bitrate
	case !first.Before(v.last):
		if v.Bitrate != o.Opening {
			v.Switches++
		}
		v.Bitrate = o.Bitrate
	case !last.After(v.first):
		if o.Bitrate != v.Opening {
			v.Switches++
		}
		v.Opening = o.Opening
	}
}

// figures are those of the whole session, once it is over.
func (v *viewer) figures() Figures {
	f := Figures{Sessions: 1, Watched: v.Watched, Stalled: v.Stalled, Stalls: v.Stalls, Bits: v.Bits, Switches: v.Switches, Errors: v.Errors}
	if v.Watched == 0 {
		f.Watched, f.Bits = v.Played, v.PlayBits
	}
	if f.Stalls == 0 && v.Starved > 0 {
		f.Stalls, f.Stalled = v.Starved, time.Duration(v.Starved)*guessedStall
	}
	switch {
	case v.StartUp > 0:
		f.started(v.StartUp)
	case v.Waited && !v.began.IsZero():
		f.started(v.began.Sub(v.first))
	case v.Waited:
		f.Left = 1
	}
	f.count(v.Fatal)
	return f
}

func (f *Figures) count(fatal bool) {
	if f.Stalls > 0 {
		f.WithStalls = 1
	}
	if f.Errors > 0 || fatal {
		f.WithErrors = 1
	}
	if fatal {
		f.Fatal = 1
	}
}

// figures are those of a part.
func (r *rest) figures() Figures {
	f := Figures{Sessions: 1, Watched: r.Watched, Bits: r.Bits, Stalls: r.Stalls, Stalled: r.Stalled, Errors: r.Errors}
	if r.Watched == 0 {
		f.Watched, f.Bits = r.Played, r.PlayBits
	}
	f.count(false)
	return f
}
