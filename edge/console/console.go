package console

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
)

// Options configures a Console. Token, Ready and Status are required. The funcs are called from any goroutine, at the
// pace of the operators' requests, and should answer within milliseconds.
type Options struct {
	Name      string                          // the node's name, for the problem details
	Token     string                          // the credential; at least 16 characters
	TokenFile string                          // where the token lies, for the hint in a 401; may be empty
	Ready     func() error                    // nil when the node can take traffic, else why not
	Status    func() Status                   // what /v1/status shows
	Members   func() []Member                 // nil: the node stands alone
	Ring      func(url string) (Route, error) // nil: the node stands alone; its error is about the URL
	Why       func(url string) (Why, error)   // nil: nothing to explain; its error is about the URL
	Viewers   func(context.Context) Viewers   // how they fare; may ask other nodes, for two seconds; nil: nobody knows
	Metrics   http.Handler                    // nil: no metrics
	// Purge obeys a purge; nil: there is nothing to purge. Its error is a *FieldError where the caller is wrong. It may
	// take as long as the disk does.
	Purge func(ctx context.Context, p Purge) (Receipt, error)
	// Reload has the node read its configuration again; nil: it has none. An error tells the operator what is wrong with
	// the configuration, and where; nothing has changed then.
	Reload func(ctx context.Context) (Reload, error)
	// Upgrade has another process take over from this one; nil: none can. After an error all is as it was.
	Upgrade func(ctx context.Context) (Upgrade, error)
	Config  func(w io.Writer) error // writes the configuration in use, as YAML; nil: there is none to show
	Log     *slog.Logger            // nil discards
}

const (
	purgePath   = "/v1/purge"
	reloadPath  = "/v1/reload"
	upgradePath = "/v1/upgrade"
)

// order tells whether a path changes something.
func order(path string) bool { return path == purgePath || path == reloadPath || path == upgradePath }

// minToken is the fewest characters of a token that nobody guesses: 96 bits in base64.
const minToken = 16

// Console is the handler. Safe for concurrent use; immutable.
type Console struct {
	options Options
	token   [sha256.Size]byte // of the token: equal lengths to compare
	log     *slog.Logger
	pages   map[string]page
}

// New checks the options and returns the handler.
func New(o Options) (*Console, error) {
	switch {
	case len(o.Token) < minToken:
		return nil, errors.New("console: Token has fewer than 16 characters")
	case o.Ready == nil:
		return nil, errors.New("console: Ready is nil")
	case o.Status == nil:
		return nil, errors.New("console: Status is nil")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	pages, err := loadPages()
	if err != nil {
		return nil, err
	}
	return &Console{options: o, token: sha256.Sum256([]byte(o.Token)), log: o.Log, pages: pages}, nil
}

// ServeHTTP answers an operator's request.
func (c *Console) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	secure(w.Header())
	path := r.URL.Path
	handle, open := c.route(path)
	authorized := c.authorized(r)
	switch probe := path == "/healthz" || path == "/readyz"; {
	case !authorized && !probe && rebound(r):
		c.log.Warn("console: refuse host", "client", r.RemoteAddr, "host", r.Host)
		c.problem(w, http.StatusMisdirectedRequest, "Over loopback this node answers to localhost and to addresses, not to "+r.Host+"; a proxy has to send one of them, or the token.")
		return
	case !open && fromAnotherSite(r):
		c.log.Warn("console: refuse another site's page", "client", r.RemoteAddr, "path", path, "origin", r.Header.Get("Origin"))
		c.problem(w, http.StatusForbidden, "Pages of other origins may not ask this node.")
		return
	case !open && !authorized:
		c.refuse(w, r)
		return
	}
	if handle == nil {
		c.problem(w, http.StatusNotFound, "There is nothing at "+path+".")
		return
	}
	allow := "GET, HEAD"
	if order(path) {
		allow = http.MethodPost
	}
	if !slices.Contains(strings.Split(allow, ", "), r.Method) {
		w.Header().Set("Allow", allow)
		c.problem(w, http.StatusMethodNotAllowed, path+" takes "+strings.ReplaceAll(allow, ", ", " and ")+".")
		return
	}
	handle(w, r)
}

// route returns the handler of a path, nil if there is none, and whether the path is open. What lies under a path
// that needs the token needs it too, whether it exists or not.
func (c *Console) route(path string) (handle http.HandlerFunc, open bool) {
	switch path {
	case "/healthz":
		return c.health, true
	case "/readyz":
		return c.readiness, true
	case "/v1/status":
		return c.status, false
	case "/v1/members":
		return c.members, false
	case "/v1/ring":
		return c.ring, false
	case "/v1/why":
		return c.why, false
	case "/v1/config":
		return c.config, false
	case "/v1/viewers":
		return c.viewers, false
	case purgePath:
		return c.purge, false
	case reloadPath:
		return c.reload, false
	case upgradePath:
		return c.upgrade, false
	case "/metrics":
		if c.options.Metrics == nil {
			return nil, false
		}
		return c.options.Metrics.ServeHTTP, false
	}
	if file, ok := c.pages[path]; ok {
		return file.serve, true
	}
	return nil, !strings.HasPrefix(path, "/v1") && !strings.HasPrefix(path, "/metrics")
}

// authorized compares in constant time.
func (c *Console) authorized(r *http.Request) bool {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	sum := sha256.Sum256([]byte(strings.TrimSpace(token)))
	return subtle.ConstantTimeCompare(sum[:], c.token[:]) == 1 && strings.EqualFold(scheme, "Bearer")
}

func (c *Console) refuse(w http.ResponseWriter, r *http.Request) {
	hint := "The token lies in admin.token in the node's directory."
	if c.options.TokenFile != "" {
		hint = "The token lies in " + c.options.TokenFile + "."
	}
	challenge, said := `Bearer realm="weir"`, "This needs Authorization: Bearer and the node's token. "
	if r.Header.Get("Authorization") != "" {
		challenge, said = challenge+`, error="invalid_token"`, "The token is not this node's. "
		c.log.Warn("console: refuse token", "client", r.RemoteAddr, "path", r.URL.Path)
	}
	w.Header().Set("WWW-Authenticate", challenge)
	c.problem(w, http.StatusUnauthorized, said+hint)
}

// secure sets what every answer carries.
func secure(h http.Header) {
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "+
		"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "+
		"require-trusted-types-for 'script'; trusted-types 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY") // for browsers that do not know frame-ancestors
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
}
