package sdk

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
)

// classes are the devices that a client may say it is.
func classes() []string { return []string{"tv", "car", "phone", "web"} }

// clientConfig is what a client needs before it plays anything, by the class of its device.
type clientConfig struct {
	Device    string      `json:"device"`
	Endpoints endpoints   `json:"endpoints"`
	Heartbeat heartbeats  `json:"heartbeat"`
	CMCD      cmcdSetting `json:"cmcd"`
	Buffer    buffer      `json:"buffer"`
	Features  []string    `json:"features"`
	Nodes     []string    `json:"nodes"` // base URLs that answer the same
}

type endpoints struct {
	Sessions string `json:"sessions"`
	CMCD     string `json:"cmcd"`
	Steering string `json:"steering"` // {asset} stands for the name
	Assist   string `json:"assist"`   // {session} stands for its id
	Time     string `json:"time"`
	OpenAPI  string `json:"openapi"`
}

type heartbeats struct {
	EveryS int `json:"every_s"`
	LeaseS int `json:"lease_s"`
}

// cmcdSetting says how a player reports (CTA-5004-B).
type cmcdSetting struct {
	Version int      `json:"version"`
	Mode    string   `json:"mode"` // query or headers: a header of its own costs pages of other origins a preflight
	Keys    []string `json:"keys"`
	Events  string   `json:"events"` // where batches go
	EveryS  int      `json:"every_s"`
}

// buffer is how much is worth to be held ahead.
type buffer struct {
	GoalS    int `json:"goal_s"`
	RefillS  int `json:"refill_s"`  // below it everything else waits
	OfflineS int `json:"offline_s"` // what is loaded ahead where a way without a network is known
}

func bufferOf(device string) buffer {
	switch device {
	case "car": // tunnels: two minutes are 3 km at 90 km/h
		return buffer{GoalS: 120, RefillS: 20, OfflineS: 900}
	case "tv":
		return buffer{GoalS: 60, RefillS: 10}
	case "phone":
		return buffer{GoalS: 30, RefillS: 8}
	}
	return buffer{GoalS: 30, RefillS: 8}
}

// config answers the same for everybody with a device of that class, so it may be kept by shared caches.
func (a *API) config(w http.ResponseWriter, r *http.Request) *problem {
	device := r.URL.Query().Get("device")
	if device == "" {
		device = "web"
	}
	if !slices.Contains(classes(), device) {
		p := newProblem("request", "device is one of "+strings.Join(classes(), ", "))
		p.Field = "device"
		return p
	}
	c := clientConfig{
		Device: device,
		Endpoints: endpoints{
			Sessions: "/sdk/v1/sessions", CMCD: "/sdk/v1/cmcd", Steering: "/steer/v1/{asset}", Assist: "/sdk/v1/assist/{session}",
			Time: "/time", OpenAPI: "/sdk/v1/openapi.json",
		},
		Heartbeat: a.heartbeats(), CMCD: a.cmcdSetting(), Buffer: bufferOf(device), Features: a.features(), Nodes: []string{},
	}
	for _, n := range a.nodes(r) {
		if !n.Leaves {
			c.Nodes = append(c.Nodes, n.URL)
		}
	}
	body, err := json.Marshal(c)
	if err != nil {
		panic("sdk: " + err.Error()) // strings and numbers: cannot fail
	}
	sum := sha256.Sum256(body)
	etag := `"` + hex.EncodeToString(sum[:8]) + `"`
	h := w.Header()
	h.Set("ETag", etag)
	h.Set("Cache-Control", "public, max-age=60, stale-while-revalidate=600, stale-if-error=86400")
	if r.Header.Get("If-None-Match") == etag {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	h.Set("Content-Type", "application/json")
	send(w, http.StatusOK, append(body, '\n'))
	return nil
}

func (a *API) heartbeats() heartbeats {
	return heartbeats{EveryS: int(a.options.Heartbeat.Seconds()), LeaseS: int(a.options.Sessions.Lease().Seconds())}
}

func (a *API) cmcdSetting() cmcdSetting {
	return cmcdSetting{
		Version: 2, Mode: "query", Events: "/sdk/v1/cmcd", EveryS: 30,
		Keys: []string{"bg", "bl", "br", "bs", "cid", "d", "dl", "e", "ltc", "msd", "mtp", "nor", "ot", "pr", "rtp", "sf", "sid", "sn", "st", "sta", "su", "tb", "ts", "v"},
	}
}

// features names what this server does, so that clients need not try.
func (a *API) features() []string {
	features := []string{"cmcd", "heartbeat", "steering"}
	if a.options.Assist != nil {
		features = append(features, "assist")
	}
	if a.downloads() == nil {
		features = append(features, "downloads")
	}
	if a.options.Issue != nil {
		features = append(features, "token")
	}
	slices.Sort(features)
	return features
}

// nodes are the edges that the client can use: with TLS where it came with TLS.
func (a *API) nodes(r *http.Request) []Node {
	if a.options.Nodes == nil {
		return nil
	}
	return a.options.Nodes(r.TLS != nil)
}
