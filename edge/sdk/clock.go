package sdk

import (
	"net/http"
	"strconv"
	"time"
)

// clock answers what time it is, in a form that players of DASH take for UTCTiming (ISO/IEC 23009-1, 5.8.4.11:
// urn:mpeg:dash:utc:http-xsdate:2014, http-iso:2014, http-head:2014), or as milliseconds (?format=ms).
func (a *API) clock(w http.ResponseWriter, r *http.Request) *problem {
	now := time.Now().UTC()
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	text := now.Format("2006-01-02T15:04:05.000Z")
	if r.URL.Query().Get("format") == "ms" {
		text = strconv.FormatInt(now.UnixMilli(), 10)
	}
	send(w, http.StatusOK, []byte(text))
	return nil
}
