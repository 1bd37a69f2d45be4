package sdk

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net/http"
	"time"
)

const (
	maxBatchBytes  = 256 << 10
	maxRecordBytes = 8 << 10
)

// events takes what players report by themselves: one record a line (CTA-5004-B, 3.3). Earlier editions called the type
// text/cmcd.
func (a *API) events(w http.ResponseWriter, r *http.Request) *problem {
	switch mediaType(r) {
	case "application/cmcd", "text/cmcd":
	default:
		return newProblem("media-type", "the body must be application/cmcd")
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBatchBytes+1))
	switch {
	case err != nil:
		return newProblem("request", "the body did not arrive whole")
	case len(body) > maxBatchBytes:
		return newProblem("body-size", "a batch has 256 KiB at most")
	}
	for line := range bytes.Lines(body) {
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 || len(line) > maxRecordBytes || a.options.Report == nil {
			continue
		}
		if !a.options.Report(r, string(line)) {
			p := newProblem("busy", "more events come than can be taken").retryAfter(10*time.Second, rand.Float64())
			p.Status = http.StatusTooManyRequests // players back off (CTA-5004-B, 3.3)
			return p
		}
	}
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusNoContent)
	return nil
}
