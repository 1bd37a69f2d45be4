package sdk

import (
	"errors"
	"math/rand/v2"
	"net/http"
	"time"

	"weir/edge/session"
)

// tokenCall is the body of POST /sdk/v1/token.
type tokenCall struct {
	Session string `json:"session"` // or a download
}

// renewToken hands out a new token for a session or a download that lives, and renews its lease. The credential is its id.
func (a *API) renewToken(w http.ResponseWriter, r *http.Request) *problem {
	if a.options.Issue == nil {
		return newProblem("not-found", "what is played here needs no token")
	}
	var call tokenCall
	if p := read(r, &call, false); p != nil {
		return p
	}
	s, err := a.options.Sessions.Renew(r.Context(), session.ID(call.Session))
	if errors.Is(err, session.ErrUnknown) && a.options.Downloads != nil {
		s, err = a.options.Downloads.Renew(r.Context(), session.ID(call.Session))
	}
	if err != nil {
		return problemOf(err)
	}
	rule := a.asset(s.Asset)
	if rule == nil {
		return newProblem("asset", "no title is called so any more")
	}
	token, err := a.options.Issue(Grant{Session: call.Session, Asset: s.Asset, Prefix: expand(rule.Prefix, s.Asset), Host: r.Host, Until: s.Expires})
	if err != nil {
		a.log.Error("a token could not be made", "asset", s.Asset, "error", err)
		return noToken()
	}
	writeJSON(w, http.StatusOK, token)
	return nil
}

// noToken is the problem where Options.Issue fails.
func noToken() *problem {
	return newProblem("busy", "no token can be made now").retryAfter(5*time.Second, rand.Float64())
}
