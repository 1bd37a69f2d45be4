package console

import (
	"bytes"
	"net/http"
	"time"
)

// Reload says what became of a configuration that was read again and taken.
type Reload struct {
	Time    time.Time `json:"time"`
	Changed []string  `json:"changed"` // keys that count now; never null
	Restart []string  `json:"restart"` // keys that differ from what the node was started with, and need a restart; never null
}

// reload answers 422 with what is wrong where the configuration is not taken.
func (c *Console) reload(w http.ResponseWriter, r *http.Request) {
	if c.options.Reload == nil {
		c.problem(w, http.StatusNotFound, "This node has no configuration to read again.")
		return
	}
	answer, err := c.options.Reload(r.Context())
	if err != nil {
		c.problem(w, http.StatusUnprocessableEntity, "The configuration is not taken, and nothing has changed: "+err.Error())
		return
	}
	if answer.Changed == nil {
		answer.Changed = []string{}
	}
	if answer.Restart == nil {
		answer.Restart = []string{}
	}
	c.write(w, http.StatusOK, "application/json", answer)
}

// Upgrade says who has taken over.
type Upgrade struct {
	PID     int     `json:"pid"`
	Version string  `json:"version"`
	Seconds float64 `json:"seconds"` // until it did
}

// upgrade answers 502 where the other process did not come up.
func (c *Console) upgrade(w http.ResponseWriter, r *http.Request) {
	if c.options.Upgrade == nil {
		c.problem(w, http.StatusNotFound, "No other process can take over from this one.")
		return
	}
	answer, err := c.options.Upgrade(r.Context())
	if err != nil {
		c.problem(w, http.StatusBadGateway, "No other process takes over, and this one runs on as it was: "+err.Error())
		return
	}
	c.write(w, http.StatusOK, "application/json", answer)
}

// config shows the configuration in use.
func (c *Console) config(w http.ResponseWriter, _ *http.Request) {
	if c.options.Config == nil {
		c.problem(w, http.StatusNotFound, "This node has no configuration to show.")
		return
	}
	var body bytes.Buffer
	if err := c.options.Config(&body); err != nil {
		c.problem(w, http.StatusInternalServerError, err.Error())
		return
	}
	w.Header().Set("Content-Type", "application/yaml") // RFC 9512
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(body.Bytes()) // the client has gone: nothing to do
}
