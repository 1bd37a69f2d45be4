package console

import "net/http"

// Viewers is who watches in the region, and how viewers fared in the last day, by what their players report.
type Viewers struct {
	Playing Playing     `json:"playing"`
	Now     int         `json:"now"` // who report and watch
	All     Fared       `json:"all"` // sessions that are over
	Rows    []ViewersOf `json:"rows"`
	Hints   []string    `json:"hints"`   // what falls behind, in words
	Missing []string    `json:"missing"` // nodes that did not answer: their sessions are not among these
}

// Playing is the play sessions that are open in the region. Each counts once, at the node that owns it, whether its player
// reports or not.
type Playing struct {
	Sessions int            `json:"sessions"`
	Titles   []PlayingTitle `json:"titles"` // the most watched first; MaxPlaying at most, the last one is the rest: "other"
}

// MaxPlaying is how many titles Playing lists.
const MaxPlaying = 500

// PlayingTitle is the sessions of one title or channel.
type PlayingTitle struct {
	Name     string         `json:"name"`
	Sessions int            `json:"sessions"`
	Devices  map[string]int `json:"devices"` // by class
}

// ViewersOf is those of one title, device, edge, rendition or network, or of one title that was watched from devices without a
// network, which is in no other row.
type ViewersOf struct {
	By   string `json:"by"` // title, device, edge, rendition, network, offline
	Name string `json:"name"`
	Now  int    `json:"now"`

	Fared
}

// Fared is sums and shares over sessions that are over.
type Fared struct {
	Sessions       int64   `json:"sessions"`
	Started        int64   `json:"started"` // of which it is known how long the start took
	Left           int64   `json:"left"`    // before anything played
	Fatal          int64   `json:"fatal"`   // ended in an error
	WatchedSeconds float64 `json:"watched_seconds"`
	StartUpP50     float64 `json:"start_up_p50_seconds"`
	StartUpP95     float64 `json:"start_up_p95_seconds"`
	StallRatio     float64 `json:"stall_ratio"` // share of time that viewers waited, from 0 to 1
	Stalls         int64   `json:"stalls"`
	BitrateKbps    float64 `json:"bitrate_kbps"` // mean over watched time
	Switches       int64   `json:"switches"`
	ErrorRatio     float64 `json:"error_ratio"` // share of sessions that met an error, from 0 to 1
}

func (c *Console) viewers(w http.ResponseWriter, r *http.Request) {
	if c.options.Viewers == nil {
		c.problem(w, http.StatusNotFound, "This node follows no viewers.")
		return
	}
	c.write(w, http.StatusOK, "application/json", c.options.Viewers(r.Context()))
}
