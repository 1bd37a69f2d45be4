package sdk

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"weir/edge/cmcd"
	"weir/edge/session"
)

// Viewer is who asks, as the operator's own service vouches for it.
type Viewer struct {
	Account string // whose sessions count together; "" counts with nobody's
	Limit   int    // of sessions of the account at once; 0: Options.AccountLimit
}

// NotNow is an error of Options.Viewer: the viewer may come again with the same credential.
type NotNow struct {
	Text  string // for the client
	Often bool   // the credential is used too often; else nobody can tell now whether it is good
	Wait  time.Duration
}

func (n *NotNow) Error() string { return n.Text }

func (n *NotNow) problem() *problem {
	name := "busy"
	if n.Often {
		name = "rate"
	}
	return newProblem(name, n.Text).retryAfter(n.Wait, rand.Float64())
}

// Node is an edge as viewers reach it.
type Node struct {
	Name   string
	URL    string // https://host:port
	Region string
	Weight float64 // its share of viewers, relative to others; 0 means 1
	Zone   string
	// Pressure is the share of viewers that the edge cannot serve now, from 0 to 1: so many are sent elsewhere.
	Pressure float64
	Leaves   bool // it takes no viewers: it is draining, or lost
}

// Options is what an API needs. Sessions and Key are required.
type Options struct {
	Sessions *session.Book
	// Key hides the names of accounts in the places of their sessions. All nodes have the same; when it changes the sessions
	// of an account lie in two places, for as long as those from before live. Called for every play call; must not block.
	Key func() []byte
	// Assets says where manifests lie; the first rule that matches decides. nil: /vod/ASSET/ for all.
	Assets []Asset
	// Viewer tells who asks, or refuses; nil: everybody is nobody's account. An error is shown to the client, as a credential that
	// is not good, or a *NotNow.
	Viewer func(*http.Request) (Viewer, error)
	// AccountLimit is how many sessions an account may have at once; 0: any number.
	AccountLimit int
	// Probe asks this edge for a path of the request's own site, as a viewer would, and returns the status; nil: every
	// asset is taken to be there.
	Probe func(r *http.Request, path string) int
	// Issue makes the token that opens an asset's paths for a session, for longer than Grant.Until where players are to have
	// time to renew it; nil: they need none.
	Issue func(Grant) (Token, error)
	// Nodes lists the edges that viewers may be sent to, those with TLS or those without; must not block. nil: none.
	Nodes func(secure bool) []Node
	// Node is this one's name.
	Node string
	// Steering says how viewers are spread over pathways.
	Steering Steering
	// Starves tells whether the player that asks has run out of media, by what it reports (CMCD); nil: nobody says.
	Starves func(*http.Request) bool
	// Report takes CMCD events, and tells whether more are welcome; nil: they are dropped. A report is valid during the call.
	Report func(r *http.Request, report *cmcd.Report) bool
	// Once keeps which batches of events came with an Idempotency-Key, for its lease; nil: a key means nothing.
	Once *session.Book
	// Assist tells how fast the viewer of a session may expect to be served; nil: nobody knows. Must not block.
	Assist func(*http.Request, session.ID) Advice

	// Downloads keeps what was taken along, with a lease as long as it may be played; nil: nothing may be.
	Downloads *session.Book
	// DownloadLimit is how many downloads an account may keep at once; 0: any number.
	DownloadLimit int
	// Fetch asks this edge for a path as Probe does, and returns up to limit bytes of the body: downloads need it. Size
	// returns the length of what is there, below 0 where that is not told; nil: lengths follow from bitrates.
	Fetch func(r *http.Request, path string, limit int64) (status int, body []byte)
	Size  func(r *http.Request, path string) int64

	// Gate counts who asks how often, for all APIs of a node; nil: one for this alone. Rates are what may be asked.
	Gate  *Gate
	Rates Rates

	Heartbeat time.Duration // 0: 30 s
	Log       *slog.Logger  // nil: silent
}

// DefaultHeartbeat is how often a player renews its session.
const DefaultHeartbeat = 30 * time.Second

// API answers the endpoints for client SDKs. Immutable but for what counts its work; all methods may be called at the same time.
type API struct {
	options Options
	log     *slog.Logger
	mux     *http.ServeMux
	openAPI []byte
	// measuring has a place for each title that is measured now.
	measuring chan struct{}
}

// New checks the options.
func New(o Options) (*API, error) {
	switch {
	case o.Sessions == nil:
		return nil, errors.New("sdk: Options.Sessions is missing")
	case o.Key == nil:
		return nil, errors.New("sdk: Options.Key is missing")
	}
	if o.Heartbeat <= 0 {
		o.Heartbeat = DefaultHeartbeat
	}
	if o.Heartbeat*2 > o.Sessions.Lease() {
		return nil, fmt.Errorf("sdk: a heartbeat every %s leaves no second chance within a lease of %s", o.Heartbeat, o.Sessions.Lease())
	}
	if o.Gate == nil {
		o.Gate = NewGate(time.Now())
	}
	if !o.Rates.Network.On() {
		o.Rates.Network = DefaultNetworkRate()
	}
	if !o.Rates.Account.On() {
		o.Rates.Account = DefaultAccountRate()
	}
	if len(o.Assets) == 0 {
		o.Assets = []Asset{DefaultAsset()}
	}
	for i := range o.Assets {
		if err := o.Assets[i].check(); err != nil {
			return nil, fmt.Errorf("sdk: asset rule %d: %w", i+1, err)
		}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	a := &API{options: o, log: o.Log, mux: http.NewServeMux(), openAPI: openAPIDocument(), measuring: make(chan struct{}, measuredTitles)}
	if err := o.Steering.check(); err != nil {
		return nil, err
	}
	a.routes()
	return a, nil
}

// endpoint answers one method of one path. A problem that it returns is what the client gets.
type endpoint func(http.ResponseWriter, *http.Request) *problem

func (a *API) routes() {
	for path, methods := range map[string]map[string]endpoint{
		"/sdk/v1/openapi.json":            {"GET": a.document},
		"/sdk/v1/config":                  {"GET": a.config},
		"/sdk/v1/sessions":                {"POST": a.play},
		"/sdk/v1/sessions/{id}":           {"DELETE": a.end},
		"/sdk/v1/sessions/{id}/end":       {"POST": a.end},
		"/sdk/v1/sessions/{id}/heartbeat": {"POST": a.heartbeat},
		"/sdk/v1/token":                   {"POST": a.renewToken},
		"/sdk/v1/downloads":               {"POST": a.newDownload},
		"/sdk/v1/downloads/{id}":          {"GET": a.keepDownload, "DELETE": a.endDownload},
		"/sdk/v1/cmcd":                    {"POST": a.events},
		"/sdk/v1/assist/{id}":             {"GET": a.assist},
		problemRoot + "{name}":            {"GET": a.explain},
		"/steer/v1/{asset...}":            {"GET": a.steer},
		"/time":                           {"GET": a.clock},
	} {
		a.mux.Handle(path, a.methods(methods))
	}
	a.mux.Handle("/", a.methods(map[string]endpoint{"GET": nothing, "POST": nothing, "DELETE": nothing}))
}

func nothing(_ http.ResponseWriter, r *http.Request) *problem {
	return newProblem("not-found", "nothing is at "+r.URL.Path)
}

// Handles tells whether a path belongs to the API, so that a site that has content of its own can decide.
func (a *API) Handles(path string) bool {
	return strings.HasPrefix(path, "/sdk/v1/") || strings.HasPrefix(path, "/steer/v1/") || path == "/time"
}

// ServeHTTP answers one of the endpoints.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.mux.ServeHTTP(w, r) }

// methods is the handler of one path, with CORS: the endpoints are for pages of any origin, and know no cookies.
func (a *API) methods(by map[string]endpoint) http.Handler {
	allow := "OPTIONS"
	for _, m := range []string{"GET", "HEAD", "POST", "DELETE"} {
		if by[m] != nil || m == "HEAD" && by["GET"] != nil {
			allow = m + ", " + allow
		}
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		if h.Get("Access-Control-Allow-Origin") == "" { // a site's own rule goes first
			h.Set("Access-Control-Allow-Origin", "*")
			h.Set("Access-Control-Expose-Headers", "Date, Retry-After")
		}
		h.Set("Timing-Allow-Origin", "*")
		method := r.Method
		if method == http.MethodHead {
			method = http.MethodGet
		}
		if method == http.MethodOptions {
			h.Set("Access-Control-Allow-Methods", allow)
			h.Set("Access-Control-Allow-Headers", "Authorization, DPoP, Content-Type, Idempotency-Key, CMCD-Request, CMCD-Object, CMCD-Status, CMCD-Session")
			h.Set("Access-Control-Max-Age", "86400")
			h.Set("Allow", allow)
			w.WriteHeader(http.StatusNoContent)
			return
		}
		serve := by[method]
		p := a.options.Gate.byNetwork(r, a.options.Rates.Network)
		switch {
		case p != nil:
		case serve == nil:
			h.Set("Allow", allow)
			p = newProblem("method", r.Method+" is not allowed here")
		default:
			p = serve(w, r)
		}
		if p != nil {
			a.options.Gate.note(p, r, a.log)
			p.write(w)
		}
	})
}

const maxBodyBytes = 16 << 10

// read decodes a JSON body. An empty one is the zero value where the endpoint needs none. Members that are not known are
// let pass: clients are older and younger than this server.
func read(r *http.Request, into any, optional bool) *problem {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBodyBytes+1))
	switch {
	case err != nil:
		return newProblem("request", "the body did not arrive whole")
	case len(body) > maxBodyBytes:
		return newProblem("body-size", fmt.Sprintf("the body has more than %d bytes", maxBodyBytes))
	case len(body) == 0 && optional:
		return nil
	case mediaType(r) != "application/json":
		return newProblem("media-type", "the body must be application/json")
	}
	if err := json.Unmarshal(body, into); err != nil {
		p := newProblem("request", "the body is no JSON object as described")
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) {
			p.Field, p.Detail = wrong.Field, "a JSON "+wrong.Value+" stands where another type is expected"
		}
		return p
	}
	return nil
}

// writeJSON answers with a document.
func writeJSON(w http.ResponseWriter, status int, document any) {
	body, err := json.Marshal(document)
	if err != nil {
		panic("sdk: " + err.Error()) // strings, numbers and times: cannot fail
	}
	w.Header().Set("Content-Type", "application/json")
	send(w, status, append(body, '\n'))
}

// base is this server as the client reached it.
func base(r *http.Request) string {
	if r.TLS != nil {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

// problemOf turns what the sessions say into what clients get.
func problemOf(err error) *problem {
	var conflict *session.Conflict
	switch {
	case errors.As(err, &conflict):
		p := newProblem("sessions", fmt.Sprintf("%d of %d streams are playing", len(conflict.Sessions), conflict.Limit))
		p.Limit = conflict.Limit
		for _, s := range conflict.Sessions {
			p.Sessions = append(p.Sessions, otherSession{
				Session: string(s.ID), Asset: s.Asset, Device: s.Device, Label: s.Label, Region: s.Region, Started: s.Started,
			})
		}
		return p
	case errors.Is(err, session.ErrEnded):
		return newProblem("ended", "the session was ended, or not renewed in time")
	case errors.Is(err, session.ErrUnknown):
		return newProblem("not-found", "no session has this id")
	case errors.Is(err, session.ErrFull):
		return newProblem("busy", "as many sessions are open as this service takes").retryAfter(10*time.Second, rand.Float64())
	}
	return newProblem("busy", "the nodes that keep this session do not answer").retryAfter(time.Second, 2*rand.Float64())
}
