package console

import (
	"net/http"
	"net/url"
	"time"
)

// Why is what a node makes of a GET of a URL, and what it made of those before.
type Why struct {
	Key    string   `json:"key"`    // the canonical key
	Hosts  []string `json:"hosts"`  // of the site that serves it
	State  string   `json:"state"`  // hit, stale, purged, miss, or misdirected: no site here serves this host
	Why    string   `json:"why"`    // one sentence
	Stored *Stored  `json:"stored"` // null: nothing
	Ask    []string `json:"ask"`    // who is asked on a miss, in turn, and as what: edge-2 (owner), edge-5 (shield), the origin
	Past   []Past   `json:"past"`   // the last requests that were no hits, newest first
}

// Stored is the response that the node has.
type Stored struct {
	Status        int       `json:"status"`
	Bytes         int64     `json:"bytes"` // -1 while it grows and its length is not known
	Growing       bool      `json:"growing"`
	Slices        int64     `json:"slices"`         // that a large body is kept in; 0: none
	SlicesPresent int64     `json:"slices_present"` // of them, those that are stored
	Fetched       time.Time `json:"fetched"`        // from the origin, by this node or another; zero: not known
	Age           float64   `json:"age_seconds"`
	Lifetime      float64   `json:"lifetime_seconds"`
	Vary          []string  `json:"vary"`
	CacheControl  string    `json:"cache_control"`
	ETag          string    `json:"etag"`
	LastModified  string    `json:"last_modified"`
}

// Past is a request that was not answered by a fresh stored response.
type Past struct {
	Time        time.Time `json:"time"`
	Outcome     string    `json:"outcome"`
	CacheStatus string    `json:"cache_status"` // this node's member of the field
	Reason      string    `json:"reason"`
	Source      string    `json:"source"`
	Status      int       `json:"status"`
	Seconds     float64   `json:"seconds"`
}

func (c *Console) why(w http.ResponseWriter, r *http.Request) {
	if c.options.Why == nil {
		c.problem(w, http.StatusNotFound, "This node has no cache to explain.")
		return
	}
	target, ok := c.targetURL(w, r, "/v1/why")
	if !ok {
		return
	}
	why, err := c.options.Why(target)
	if err != nil {
		c.problem(w, http.StatusUnprocessableEntity, err.Error())
		return
	}
	c.write(w, http.StatusOK, "application/json", why)
}

// targetURL is the request's parameter url; it answers where that is not one.
func (c *Console) targetURL(w http.ResponseWriter, r *http.Request, path string) (target string, ok bool) {
	target = r.URL.Query().Get("url")
	if parsed, err := url.Parse(target); target == "" || err != nil || parsed.Host == "" {
		c.problem(w, http.StatusBadRequest,
			"The parameter url is no absolute URL. Ask "+path+"?url=https%3A%2F%2Fvideo.example.com%2Fa.m4s, percent-encoded.")
		return "", false
	}
	return target, true
}
