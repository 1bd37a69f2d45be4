package telemetry

// Totals are the sums since the start, for a status page. Requests of peers are in Peer alone.
type Totals struct {
	Requests  uint64 // of clients, all outcomes
	H1        uint64
	H2        uint64
	H3        uint64
	Peer      uint64 // requests of other nodes
	Hit       uint64
	Stale     uint64
	Miss      uint64
	Collapsed uint64
	Pass      uint64
	Local     uint64
	Refused   uint64
	Error     uint64
	Bytes     int64 // body bytes sent to clients
	PeerBytes int64 // body bytes sent to other nodes
	InFlight  int64
	FirstByte Latency
}

// Latency counts durations by bucket: Counts[i] lie above Bounds[i-1] and at most at Bounds[i]; the last count, one
// more than there are bounds, lies above all.
type Latency struct {
	Bounds []float64 // seconds, ascending
	Counts []uint64
}

// Totals returns a snapshot; the numbers are each right, but requests go on while it is taken. The result is the caller's.
func (m *Metrics) Totals() Totals {
	t := Totals{InFlight: m.inFlight.Load()}
	byOutcome := [outcomes]*uint64{
		Hit: &t.Hit, Stale: &t.Stale, Miss: &t.Miss, Collapsed: &t.Collapsed,
		Pass: &t.Pass, Local: &t.Local, Refused: &t.Refused, Error: &t.Error,
	}
	byProtocol := [protocols]*uint64{H1: &t.H1, H2: &t.H2, H3: &t.H3, Peer: &t.Peer}
	var firstByte [bounds + 1]uint64
	for protocol := range m.answers {
		for outcome := range m.answers[protocol] {
			answer := &m.answers[protocol][outcome]
			n := answer.requests()
			*byProtocol[protocol] += n
			if Protocol(protocol) == Peer {
				t.PeerBytes += answer.bytes.Load()
				continue
			}
			*byOutcome[outcome] += n
			t.Requests += n
			t.Bytes += answer.bytes.Load()
			answer.firstByte.addTo(&firstByte)
		}
	}
	t.FirstByte = latency(&firstByte)
	return t
}

func (a *answerTable) requests() uint64 {
	var n uint64
	for i := range a.duration.counts {
		n += a.duration.counts[i].Load()
	}
	return n
}

func latency(counts *[bounds + 1]uint64) Latency {
	l := Latency{Bounds: make([]float64, bounds), Counts: counts[:]}
	for i := range l.Bounds {
		l.Bounds[i] = boundSeconds(i)
	}
	return l
}
