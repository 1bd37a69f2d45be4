package edge

import (
	"encoding/json"
	"net/http"
	"strconv"
)

// problem refuses a request with a problem document (RFC 9457) that no cache may keep. reason is one of [Reasons].
func (e *Edge) problem(x *Exchange, reason string, status int, title, detail string) {
	x.Outcome, x.Reason = Refused, reason
	body, _ := json.Marshal(struct { // strings and a number always can be
		Title  string `json:"title"`
		Status int    `json:"status"`
		Detail string `json:"detail"`
	}{title, status, detail})
	h := x.w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	x.begin(status)
	if x.Request.Method != http.MethodHead {
		n, _ := x.w.Write(body) // the client may be gone: nothing to do about it
		x.Sent += int64(n)
	}
}
