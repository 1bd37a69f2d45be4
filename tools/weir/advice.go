package main

import (
	"net/http"
	"sync"
	"time"

	"weir/configs"
	"weir/edge"
	"weir/edge/cmcd"
	"weir/edge/quality"
	"weir/edge/sdk"
	"weir/edge/session"
)

const (
	paceShards   = 16
	pacesOfShard = 4096            // sessions; beyond, any of them is forgotten. All together have about 4 MB
	paceFresh    = 2 * time.Minute // what is older says nothing of now
	// Of what this node measures itself: a body that fits into the socket's buffer is written at once, whatever the way is like.
	paceLeastBytes = 256 << 10
	paceLeastTime  = 10 * time.Millisecond
	paceNewest     = 0.3 // the weight of the newest value in the mean
)

// pace is how fast a session was served.
type pace struct {
	kbps    float64 // mean, the newest first; 0: unknown
	said    bool    // by the player, who knows better than this node
	bitrate int64   // of the last video object, kbit/s; 0: unknown
	at      time.Time
}

// paces keeps what the sessions say and get that this node serves. Sharded mutexes; all methods may be called at the same time.
type paces struct {
	shards [paceShards]struct {
		mu sync.Mutex // guards the fields below
		of map[quality.Session]pace
	}
}

// note takes in what a player reports, and what it got: sent bytes of body within took. An event has neither.
func (p *paces) note(s quality.Session, report *cmcd.Report, sent int64, took time.Duration, now time.Time) {
	kbps, said := typed(report, cmcd.MeasuredThroughput)
	if !said && sent >= paceLeastBytes && took >= paceLeastTime {
		kbps = sent * 8 / took.Milliseconds()
	}
	bitrate, _ := typed(report, cmcd.Bitrate)
	switch string(report.Text(cmcd.ObjectType)) {
	case "", "v", "av":
	default:
		bitrate = 0 // of sound, or of a playlist
	}
	if kbps <= 0 && bitrate <= 0 {
		return
	}
	shard := &p.shards[s%paceShards]
	shard.mu.Lock()
	defer shard.mu.Unlock()
	one, known := shard.of[s]
	if !known || now.Sub(one.at) > paceFresh {
		one = pace{}
	}
	if bitrate > 0 {
		one.bitrate = bitrate
	}
	switch {
	case kbps <= 0 || one.said && !said:
	case one.kbps == 0 || said && !one.said:
		one.kbps, one.said = float64(kbps), said
	default:
		one.kbps += paceNewest * (float64(kbps) - one.kbps)
	}
	one.at = now
	if shard.of == nil {
		shard.of = map[quality.Session]pace{}
	}
	if !known && len(shard.of) >= pacesOfShard {
		for other := range shard.of {
			delete(shard.of, other)
			break
		}
	}
	shard.of[s] = one
}

// typed is a value that a player may give by type of object: that of video, or of what has it.
func typed(report *cmcd.Report, key cmcd.Key) (int64, bool) {
	for _, t := range [...]cmcd.Type{cmcd.Video, cmcd.AudioVideo, cmcd.Any} {
		if v, ok := report.Typed(key, t); ok && v > 0 {
			return v, true
		}
	}
	return 0, false
}

// of is what is known of a session now.
func (p *paces) of(s quality.Session, now time.Time) pace {
	shard := &p.shards[s%paceShards]
	shard.mu.Lock()
	defer shard.mu.Unlock()
	one := shard.of[s]
	if now.Sub(one.at) > paceFresh {
		return pace{}
	}
	return one
}

// notePace takes in a request for an object.
func (n *node) notePace(x *edge.Exchange, now time.Time) {
	var sent int64
	if x.Outcome == edge.Hit && !x.Aborted { // else the time is that of the origin
		sent = x.Sent
	}
	id := x.Report.Text(cmcd.SessionID)
	if len(id) == 0 || x.Peer {
		return
	}
	n.paces.note(quality.Hide(n.qualityKey(), string(id), now), x.Report, sent, x.Duration-x.FirstByte, now)
}

// assist tells the viewers of a site how fast they may expect to be served: the throughput is what the session had, as its
// player reports it (mtp) or else as this node saw it, within what the site gives to one client; a node that is short of
// something asks for no more than what plays now, as CMSD-Dynamic does.
func (n *node) assist(site *configs.Site) func(*http.Request, session.ID) sdk.Advice {
	limit := int(site.Limits.Client.Bandwidth * 8 / 1000)
	return func(_ *http.Request, id session.ID) sdk.Advice {
		now := time.Now()
		one := n.paces.of(quality.Hide(n.qualityKey(), string(id), now), now)
		advice := sdk.Advice{ThroughputKbps: int(one.kbps), Duress: n.overload.Stats().Pressure > 0}
		if limit > 0 {
			advice.MaxBitrateKbps = limit
			if advice.ThroughputKbps == 0 || advice.ThroughputKbps > limit {
				advice.ThroughputKbps = limit
			}
		}
		if most := int(one.bitrate); advice.Duress && most > 0 && (advice.MaxBitrateKbps == 0 || most < advice.MaxBitrateKbps) {
			advice.MaxBitrateKbps = most
		}
		return advice
	}
}
