package console

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// problemDetails is an error of the API (RFC 9457).
type problemDetails struct {
	Type     string `json:"type"` // about:blank: title says all, RFC 9457, 4.2.1
	Title    string `json:"title"`
	Status   int    `json:"status"`
	Detail   string `json:"detail"`
	Instance string `json:"instance,omitempty"` // the node
	// Of a mistake in a request: where, what, and what to do. Extension members (RFC 9457, 3.2).
	Field  string `json:"field,omitempty"`
	Reason string `json:"reason,omitempty"`
	Fix    string `json:"fix,omitempty"`
}

func (c *Console) health(w http.ResponseWriter, _ *http.Request) {
	text(w, http.StatusOK, "ok\n")
}

func (c *Console) readiness(w http.ResponseWriter, _ *http.Request) {
	if err := c.options.Ready(); err != nil {
		w.Header().Set("Retry-After", "1")
		text(w, http.StatusServiceUnavailable, err.Error()+"\n")
		return
	}
	text(w, http.StatusOK, "ready\n")
}

func (c *Console) status(w http.ResponseWriter, _ *http.Request) {
	status := c.options.Status()
	unready := c.options.Ready()
	status.Ready = unready == nil
	if status.Problems == nil {
		status.Problems = []Problem{}
	}
	if status.Config.Restart == nil {
		status.Config.Restart = []string{}
	}
	if status.Ring.Differ == nil {
		status.Ring.Differ = []string{}
	}
	status.Summary = summary(&status, unready)
	c.write(w, http.StatusOK, "application/json", status)
}

// summary is the status in words.
func summary(s *Status, unready error) string {
	var words []string
	if unready != nil {
		words = append(words, "This node takes no traffic: "+strings.TrimSuffix(unready.Error(), ".")+".")
	}
	switch n := len(s.Problems); n {
	case 0:
		if unready == nil {
			words = append(words, "All is well.")
		}
	case 1:
		words = append(words, s.Problems[0].What, s.Problems[0].Fix)
	default:
		words = append(words, fmt.Sprintf("%d things are wrong; first:", n), s.Problems[0].What, s.Problems[0].Fix)
	}
	return strings.Join(words, " ")
}

func (c *Console) members(w http.ResponseWriter, _ *http.Request) {
	members := []Member{}
	if c.options.Members != nil {
		members = append(members, c.options.Members()...)
	}
	c.write(w, http.StatusOK, "application/json", map[string][]Member{"members": members})
}

func (c *Console) ring(w http.ResponseWriter, r *http.Request) {
	if c.options.Ring == nil {
		c.problem(w, http.StatusNotFound, "This node has no ring: it stands alone and owns every key.")
		return
	}
	target, ok := c.targetURL(w, r, "/v1/ring")
	if !ok {
		return
	}
	route, err := c.options.Ring(target)
	if err != nil {
		c.problem(w, http.StatusUnprocessableEntity, err.Error())
		return
	}
	if route.Owners == nil {
		route.Owners = []string{}
	}
	if route.LeftOut == nil {
		route.LeftOut = []string{}
	}
	c.write(w, http.StatusOK, "application/json", route)
}

func (c *Console) problem(w http.ResponseWriter, status int, detail string) {
	c.write(w, status, "application/problem+json", problemDetails{
		Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: detail, Instance: c.instance(),
	})
}

func (c *Console) instance() string {
	if c.options.Name == "" {
		return ""
	}
	return "urn:weir:node:" + url.PathEscape(c.options.Name)
}

func (c *Console) write(w http.ResponseWriter, status int, mediaType string, value any) {
	body, err := json.Marshal(value)
	if err != nil { // a float that is not finite: our own broken promise, but no reason to die
		c.log.Error("console: encode answer", "error", err)
		http.Error(w, "the answer cannot be written as JSON", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", mediaType)
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // the client has gone: nothing to do
}

func text(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(body)) // the client has gone: nothing to do
}
