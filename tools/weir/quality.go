package main

import (
	"cmp"
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/netip"
	"path"
	"slices"
	"sync"
	"time"

	"weir/cluster"
	"weir/edge"
	"weir/edge/cmcd"
	"weir/edge/console"
	"weir/edge/quality"
	"weir/edge/session"
)

const (
	// qualityPath is where nodes bring together what players report, on the peers' listener, as noticePath is.
	qualityPath       = "/./quality"
	watchedPath       = "/./watched" // what has how many play sessions
	qualityLimitBytes = 8 << 20
	qualityTimeout    = 2 * time.Second // for a node's summary
)

// buildQuality makes what follows viewers.
func (n *node) buildQuality() (err error) {
	options := quality.Options{Name: n.config.Node.Name, Log: n.log}
	if n.options.keyring != nil {
		options.Owner = func(s quality.Session) quality.Node {
			owner := n.ring().Owner(uint64(s))
			if owner == nil {
				return quality.Node{}
			}
			return quality.Node{Name: owner.Name, Address: owner.Addr}
		}
		options.Send = func(ctx context.Context, to quality.Node, message []byte) ([]byte, error) {
			return n.askNode(ctx, session.Node(to), qualityPath, message)
		}
	}
	n.quality, err = quality.New(options)
	return err
}

// serveQuality answers another node.
func (n *node) serveQuality(w http.ResponseWriter, r *http.Request) {
	message, err := io.ReadAll(io.LimitReader(r.Body, qualityLimitBytes))
	if err != nil {
		return // the other node has gone
	}
	answer, err := n.quality.Serve(message, time.Now())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(answer) // the other node has gone
}

// report takes in a CMCD event that came by itself. There is always room: what is too much is dropped and counted.
func (n *node) report(r *http.Request, report *cmcd.Report) bool {
	s := quality.Sample{
		Event:  true,
		Ended:  slices.Contains([]string{"e", "q", "f"}, string(report.Text(cmcd.State))),
		Fatal:  string(report.Text(cmcd.State)) == "f",
		Video:  string(report.Text(cmcd.State)) == "p", // it plays
		Errors: len(report.Codes()),
	}
	switch event := string(report.Text(cmcd.Event)); {
	case event == "e" && s.Errors == 0, event == "rr" && report.Has(cmcd.ResponseCode) && failed(int(report.Int(cmcd.ResponseCode))):
		s.Errors = 1
	}
	if s.Offline = report.Bool(cmcd.Offline); s.Offline {
		s.At = time.UnixMilli(report.Int(cmcd.Timestamp))
	}
	n.addSample(report, &s, r.RemoteAddr, "")
	if s.Offline {
		return true // it says nothing of this edge
	}
	if id := report.Text(cmcd.SessionID); len(id) > 0 {
		now := time.Now()
		n.paces.note(quality.Hide(n.qualityKey(), string(id), now), report, 0, 0, now)
	}
	return true
}

// follow takes in what a player says with a request.
func (n *node) follow(x *edge.Exchange) {
	r := x.Report
	if r == nil || x.Peer {
		return
	}
	var s quality.Sample
	switch string(r.Text(cmcd.ObjectType)) {
	case "v", "av":
		s.Video = true
	case "":
		s.Video = r.Has(cmcd.Duration) && r.Has(cmcd.Bitrate)
	}
	if s.Video {
		s.Duration = time.Duration(r.Int(cmcd.Duration)) * time.Millisecond
	}
	if failed(x.Status) && !x.Aborted {
		s.Errors = 1
	}
	n.addSample(r, &s, x.Request.RemoteAddr, x.Target.Path)
	n.notePace(x, time.Now())
}

func failed(status int) bool { return status == 0 || status >= http.StatusBadRequest }

// addSample completes what a report says and takes it in. A report that names no session belongs to none.
func (n *node) addSample(report *cmcd.Report, s *quality.Sample, client, target string) {
	id := report.Text(cmcd.SessionID)
	if len(id) == 0 {
		return
	}
	now := time.Now()
	day := now
	if s.Offline {
		day = s.At
	}
	s.Session, s.Edge = quality.Hide(n.qualityKey(), string(id), day), n.config.Node.Name
	if s.Title = string(report.Text(cmcd.ContentID)); s.Title == "" && target != "" {
		s.Title = path.Dir(target)
	}
	s.Network = n.networkOf(client)
	s.Starting, s.Starved = report.Bool(cmcd.Startup), report.Bool(cmcd.BufferStarvation)
	s.StartUp = time.Duration(report.Int(cmcd.StartDelay)) * time.Millisecond
	s.Stalled = time.Duration(report.Int(cmcd.StarvationDuration)) * time.Millisecond
	for _, t := range [...]cmcd.Type{cmcd.Video, cmcd.AudioVideo, cmcd.Any} {
		if kbps, ok := report.Typed(cmcd.Bitrate, t); ok {
			s.Bitrate = int(min(kbps, 1<<30))
			break
		}
	}
	n.quality.Add(s, now)
}

// qualityKey hides viewers: it follows from the cluster's secret, so that all nodes know a session by the same name.
func (n *node) qualityKey() []byte { return n.sessionKeys()[0] }

// networkOf names where a client is without saying who.
func (n *node) networkOf(client string) string {
	address, err := netip.ParseAddrPort(client)
	if err != nil {
		return ""
	}
	return quality.Network(n.geo.Find(address.Addr()).System, address.Addr())
}

// viewers is how they fare in the whole region, and who did not say.
func (n *node) viewers(ctx context.Context) console.Viewers {
	ctx, cancel := context.WithTimeout(ctx, qualityTimeout)
	defer cancel()
	summaries, counts := []quality.Summary{n.quality.Summary(time.Now())}, n.sessions.Counts(time.Now())
	var missing []string
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, m := range n.cluster.Members() {
		if m.Self || m.State != cluster.Alive || m.PeerAddr == "" {
			continue
		}
		wg.Go(func() {
			to := session.Node{Name: m.Name, Address: m.PeerAddr}
			text, err := n.askNode(ctx, to, qualityPath, quality.Ask())
			var s quality.Summary
			if err == nil {
				s, err = quality.Answered(text)
			}
			var theirs []session.Count
			if err == nil {
				theirs, err = n.askWatched(ctx, to)
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				missing = append(missing, m.Name)
				return
			}
			summaries, counts = append(summaries, s), append(counts, theirs...)
		})
	}
	wg.Wait()
	slices.Sort(missing)
	v := viewersOf(quality.Merge(summaries...), missing)
	v.Playing = playing(counts)
	return v
}

// askWatched asks another node for the sessions of which it is the first owner.
func (n *node) askWatched(ctx context.Context, to session.Node) (counts []session.Count, err error) {
	text, err := n.askNode(ctx, to, watchedPath, nil)
	if err == nil {
		err = json.Unmarshal(text, &counts)
	}
	return counts, err
}

// serveWatched answers that.
func (n *node) serveWatched(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(n.sessions.Counts(time.Now())) // the other node has gone
}

// playing adds up what the nodes count.
func playing(counts []session.Count) console.Playing {
	byName := map[string]*console.PlayingTitle{}
	p := console.Playing{Titles: []console.PlayingTitle{}}
	for _, c := range counts {
		title := byName[c.Asset]
		if title == nil {
			title = &console.PlayingTitle{Name: c.Asset, Devices: map[string]int{}}
			byName[c.Asset] = title
		}
		title.Devices[c.Device] += c.Sessions
		title.Sessions += c.Sessions
		p.Sessions += c.Sessions
	}
	titles := slices.SortedFunc(maps.Values(byName), func(a, b *console.PlayingTitle) int {
		return cmp.Or(cmp.Compare(b.Sessions, a.Sessions), cmp.Compare(a.Name, b.Name))
	})
	for _, title := range titles {
		if n := len(p.Titles); n == console.MaxPlaying { // the last one is the rest
			rest := &p.Titles[n-1]
			rest.Name = "other"
			rest.Sessions += title.Sessions
			for device, sessions := range title.Devices {
				rest.Devices[device] += sessions
			}
			continue
		}
		p.Titles = append(p.Titles, *title)
	}
	return p
}

func viewersOf(s quality.Summary, missing []string) console.Viewers {
	v := console.Viewers{Now: s.Viewers, All: fared(&s.All), Rows: []console.ViewersOf{}, Hints: []string{}, Missing: append([]string{}, missing...)}
	for i := range s.Named {
		row := &s.Named[i]
		v.Rows = append(v.Rows, console.ViewersOf{By: string(row.Kind), Name: row.Name, Now: row.Viewers, Fared: fared(&row.Figures)})
	}
	for _, h := range s.Hints {
		v.Hints = append(v.Hints, h.Text)
	}
	return v
}

func fared(f *quality.Figures) console.Fared {
	return console.Fared{
		Sessions: f.Sessions, Started: f.Started, Left: f.Left, Fatal: f.Fatal, WatchedSeconds: f.Watched.Seconds(),
		StartUpP50: f.StartUp(0.5).Seconds(), StartUpP95: f.StartUp(0.95).Seconds(), StallRatio: f.StallRatio(), Stalls: f.Stalls,
		BitrateKbps: f.MeanBitrate(), Switches: f.Switches, ErrorRatio: f.ErrorRatio(),
	}
}

// hints is how many of that kind fall behind so, by the sessions that this node owns.
func (n *node) hints(kind quality.Kind, what string) (count int) {
	for _, h := range n.quality.Hints(time.Now()) {
		if h.Kind == kind && h.What == what {
			count++
		}
	}
	return count
}

// titleViewers is how many play sessions each title has of which this node is the first owner: each session counts at one.
func (n *node) titleViewers() map[string]int {
	viewers := map[string]int{}
	for _, c := range n.sessions.Counts(time.Now()) {
		viewers[c.Asset] += c.Sessions
	}
	return viewers
}
