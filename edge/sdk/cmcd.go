package sdk

import (
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"time"

	"weir/edge/cmcd"
)

const maxBatchBytes = 256 << 10

// events takes what players report by themselves, in all forms that [cmcd.Events] reads. What cannot be read in it is left
// out, as CTA-5004-B, 6 has it.
func (a *API) events(w http.ResponseWriter, r *http.Request) *problem {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBatchBytes+1))
	switch {
	case err != nil:
		return newProblem("request", "the body did not arrive whole")
	case len(body) > maxBatchBytes:
		return newProblem("body-size", "a batch has 256 KiB at most")
	}
	full := false
	_, err = cmcd.Events(r.Header.Get("Content-Type"), body, func(report *cmcd.Report) bool {
		full = a.options.Report != nil && !a.options.Report(r, report)
		return !full
	})
	switch {
	case errors.Is(err, cmcd.ErrType):
		return newProblem("media-type", "the body must be application/cmcd or application/json")
	case full:
		p := newProblem("busy", "more events come than can be taken").retryAfter(10*time.Second, rand.Float64())
		p.Status = http.StatusTooManyRequests // players back off (CTA-5004-B, 3.3)
		return p
	case err != nil:
		return newProblem("request", "the body is no JSON")
	}
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusNoContent)
	return nil
}
