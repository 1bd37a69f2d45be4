package sdk

import (
	"errors"
	"net/http"
	"time"

	"weir/edge/session"
)

// otherSession is one that takes a place.
type otherSession struct {
	Session string    `json:"session"`
	Asset   string    `json:"asset"`
	Device  string    `json:"device"`
	Label   string    `json:"label,omitempty"`
	Region  string    `json:"region,omitempty"`
	Started time.Time `json:"started"`
}

// beat is the body of a heartbeat; all of it may be missing.
type beat struct {
	State     string  `json:"state"` // in the words of CMCD's sta: p plays, a is paused, k seeks …
	PositionS float64 `json:"position_s"`
	BufferS   float64 `json:"buffer_s"`
	Bitrate   int64   `json:"bitrate"` // bit/s
	Driving   bool    `json:"driving"` // of a car: nobody looks
}

// renewed is the answer.
type renewed struct {
	heartbeats

	Expires   time.Time `json:"expires"`
	AudioOnly bool      `json:"audio_only"` // leave the picture
	Advice    *Advice   `json:"advice,omitempty"`
}

// Advice says how fast a viewer may expect to be served, in the terms of CMSD (CTA-5006).
type Advice struct {
	MaxBitrateKbps int  `json:"mb,omitempty"`  // better not to ask for more
	ThroughputKbps int  `json:"etp,omitempty"` // estimated
	Duress         bool `json:"du"`            // the edge has more to do than it can
}

func (a *API) heartbeat(w http.ResponseWriter, r *http.Request) *problem {
	var b beat
	if p := read(r, &b, true); p != nil {
		return p
	}
	s, err := a.options.Sessions.Renew(r.Context(), session.ID(r.PathValue("id")))
	if err != nil {
		return problemOf(err)
	}
	if rule := a.asset(s.Asset); rule != nil && rule.Limit > 0 {
		audience := a.audience(s.Asset)
		_, err := a.options.Sessions.RenewIn(r.Context(), audience, s.ID)
		if errors.Is(err, session.ErrUnknown) { // it is older than the limit, or nodes were lost: it counts, and goes on
			_, err = a.options.Sessions.Join(r.Context(), audience, session.Opening{Session: session.Session{ID: s.ID}})
		}
		var conflict *session.Conflict
		if errors.As(err, &conflict) || errors.Is(err, session.ErrEnded) {
			a.forget(r.Context(), rule, s)
			return newProblem("ended", "the title has as many viewers as it may")
		}
	}
	answer := renewed{heartbeats: a.heartbeats(), Expires: s.Expires.Round(0).UTC(), AudioOnly: b.Driving && s.Device == "car"}
	if a.options.Assist != nil {
		advice := a.options.Assist(r, s.ID)
		answer.Advice = &advice
	}
	writeJSON(w, http.StatusOK, answer)
	return nil
}

// end needs no body: a beacon's, whatever it says, is not read.
func (a *API) end(w http.ResponseWriter, r *http.Request) *problem {
	s, err := a.options.Sessions.End(r.Context(), session.ID(r.PathValue("id")))
	if err != nil {
		return problemOf(err)
	}
	if rule := a.asset(s.Asset); rule != nil && rule.Limit > 0 {
		_, _ = a.options.Sessions.EndIn(r.Context(), a.audience(s.Asset), s.ID) // its lease ends anyway
	}
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (a *API) assist(w http.ResponseWriter, r *http.Request) *problem {
	if a.options.Assist == nil {
		return newProblem("not-found", "this server gives no advice")
	}
	id := session.ID(r.PathValue("id"))
	if _, err := a.options.Sessions.Place(id); err != nil {
		return problemOf(err)
	}
	writeJSON(w, http.StatusOK, a.options.Assist(r, id))
	return nil
}
