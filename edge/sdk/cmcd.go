package sdk

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"time"

	"weir/edge/cmcd"
	"weir/edge/session"
)

const maxBatchBytes = 256 << 10

// events takes what players report by themselves, in all forms that [cmcd.Events] reads. What cannot be read in it is left
// out, as CTA-5004-B, 6 has it. A batch with an Idempotency-Key counts once: what was watched offline needs one, as nobody
// knows in a tunnel whether an answer was lost.
func (a *API) events(w http.ResponseWriter, r *http.Request) *problem {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBatchBytes+1))
	switch {
	case err != nil:
		return newProblem("request", "the body did not arrive whole")
	case len(body) > maxBatchBytes:
		return newProblem("body-size", "a batch has 256 KiB at most")
	}
	key, p := idempotencyKey(r)
	if p != nil {
		return p
	}
	if key == "" && bytes.Contains(body, []byte(cmcd.Offline.String())) {
		p := newProblem("request", "what was watched offline needs an Idempotency-Key, the same one when it is sent again")
		p.Field = "Idempotency-Key"
		return p
	}
	if key != "" && a.options.Once != nil {
		first, err := a.options.Once.Once(r.Context(), session.PlaceOf(a.options.Key(), "reports", key), a.options.Once.Lease())
		switch {
		case err != nil:
			return problemOf(err)
		case !first:
			w.Header().Set("Cache-Control", "no-store")
			w.WriteHeader(http.StatusNoContent)
			return nil
		}
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
