package sdk

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// problem is an error as clients get it (RFC 9457).
type problem struct {
	Type   string `json:"type"` // a page that explains it, on this server
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	// Extension members (RFC 9457, 3.2).
	Field    string         `json:"field,omitempty"`    // of the request, that is wrong
	Limit    int            `json:"limit,omitempty"`    // of sessions
	Sessions []otherSession `json:"sessions,omitempty"` // any of which may be ended to make room
	RetryS   int            `json:"retry_s,omitempty"`

	name string
}

// kind is a kind of problem.
type kind struct {
	name, title string
	status      int
	explanation string // what happened and what to do, for whoever writes a client
}

// kinds are all problems that the endpoints answer with.
func kinds() []kind {
	return []kind{
		{"request", "The request is malformed", http.StatusBadRequest, "The body is no JSON object of the form that the OpenAPI document describes, or a value in it is not allowed; the member \"field\" names it. Repeating the request does not help."},
		{"media-type", "The body has the wrong type", http.StatusUnsupportedMediaType, "Send Content-Type: application/json, or for CMCD events application/cmcd or application/json."},
		{"body-size", "The body is too long", http.StatusRequestEntityTooLarge, "Send less: a play call has 16 KiB at most, a batch of CMCD events 256 KiB."},
		{"not-found", "There is no such thing here", http.StatusNotFound, "The path is none of this API, or the session is not known: it ended long ago, or the service has been started anew. Open a new session."},
		{"method", "The method is not allowed", http.StatusMethodNotAllowed, "The Allow field names those that are."},
		{"asset", "There is no such title", http.StatusNotFound, "The asset's name leads to no manifest. Check the spelling; it may have been taken down."},
		{"credential", "Who asks is not known", http.StatusUnauthorized, "Send the viewer's token in Authorization: Bearer, as your own service issues it."},
		{"forbidden", "This viewer may not watch this", http.StatusForbidden, "The viewer's token is good, but not for this."},
		{"playable", "No rendition fits the device", http.StatusNotAcceptable, "The capabilities leave nothing of the title that could be played. Check codecs, height, DRM systems."},
		{"sessions", "Too many streams at once", http.StatusConflict, "The account plays as many streams as it may. The member \"sessions\" names them: end one of them with DELETE and try again, or send \"replace\": true to end the one that was idle longest."},
		{"audience", "The title has as many viewers as it may", http.StatusConflict, "The number of viewers at once is limited for this title. Try again later."},
		{"downloads", "Too many downloads", http.StatusConflict, "The account keeps as many downloads as it may. The member \"sessions\" names them: remove one of them with DELETE /sdk/v1/downloads/ID and try again."},
		{"download", "This cannot be downloaded", http.StatusConflict, "Live channels, and titles without an HLS playlist here, can be watched and not be downloaded."},
		{"room", "There is no room for it", http.StatusConflict, "No rendition of the title is as small as max_bytes. Make room, or ask with a larger number."},
		{"idempotency", "The key was used for another request", http.StatusUnprocessableEntity, "Use a new Idempotency-Key for each call, such as a UUID, and the same one only to repeat it."},
		{"ended", "The session has ended", http.StatusGone, "It was ended by its player, by another player of the account, or because it was not renewed in time. Stop playing, or open a new session."},
		{"rate", "Too many requests", http.StatusTooManyRequests, "The network or the account asks more often than it may. Wait as long as Retry-After says; what plays goes on playing."},
		{"busy", "The service takes no more sessions now", http.StatusServiceUnavailable, "Wait as long as Retry-After says. What plays goes on playing."},
	}
}

const problemRoot = "/sdk/v1/problems/"

func newProblem(name, detail string) *problem {
	for _, k := range kinds() {
		if k.name == name {
			return &problem{name: name, Type: problemRoot + name, Title: k.title, Status: k.status, Detail: detail}
		}
	}
	panic("sdk: no problem is called " + name)
}

// Error makes a problem an error inside the package.
func (p *problem) Error() string { return p.Title + ": " + p.Detail }

func (p *problem) write(w http.ResponseWriter) {
	body, err := json.Marshal(p)
	if err != nil {
		panic("sdk: " + err.Error()) // strings and numbers: cannot fail
	}
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	if p.RetryS > 0 {
		h.Set("Retry-After", strconv.Itoa(p.RetryS))
	}
	if p.Status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", "Bearer")
	}
	send(w, p.Status, body)
}

// explain answers the page that a problem's type leads to.
func (a *API) explain(w http.ResponseWriter, r *http.Request) *problem {
	for _, k := range kinds() {
		if k.name == r.PathValue("name") {
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			w.Header().Set("Cache-Control", "public, max-age=3600")
			send(w, http.StatusOK, []byte(strconv.Itoa(k.status)+" "+k.title+"\n\n"+k.explanation+"\n"))
			return nil
		}
	}
	return newProblem("not-found", "no problem has that name")
}

// retryAfter is a time to wait, spread so that clients do not come back together.
func (p *problem) retryAfter(least time.Duration, spread float64) *problem {
	p.RetryS = max(1, int(least.Seconds()*(1+spread)+0.5))
	return p
}

func send(w http.ResponseWriter, status int, body []byte) {
	h := w.Header()
	if h.Get("Cache-Control") == "" {
		h.Set("Cache-Control", "no-store")
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client has gone: nothing to do
}

func mediaType(r *http.Request) string {
	name, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	return strings.ToLower(strings.TrimSpace(name))
}
