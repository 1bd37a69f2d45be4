package sdk

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"weir/edge/session"
)

// playCall is the body of POST /sdk/v1/sessions.
type playCall struct {
	Asset        string       `json:"asset"`
	Device       string       `json:"device"` // "": web
	Label        string       `json:"label"`  // what the account's other players call this one
	Replace      bool         `json:"replace"`
	Capabilities capabilities `json:"capabilities"`
}

// capabilities say what the device can play, beyond its class. Zero values say nothing.
type capabilities struct {
	Codecs    []string `json:"codecs"`         // RFC 6381
	Height    int      `json:"max_height"`     // lines
	FrameRate float64  `json:"max_frame_rate"` // per second
	Bitrate   int64    `json:"max_bitrate"`    // bit/s
	HDR       []string `json:"hdr"`            // hlg, pq; [] none
	Channels  int      `json:"audio_channels"`
	DRM       []string `json:"drm"`     // widevine, playready, fairplay, clearkey, or UUIDs
	Network   string   `json:"network"` // unmetered, metered, intermittent
	AudioOnly bool     `json:"audio_only"`
}

// played is the answer.
type played struct {
	Session   string            `json:"session"`
	Asset     string            `json:"asset"`
	Device    string            `json:"device"`
	Manifests map[string]string `json:"manifests"` // hls, dash
	Token     *Token            `json:"token,omitempty"`
	Steering  string            `json:"steering"`
	Licenses  map[string]string `json:"licenses"` // by DRM system
	Heartbeat heartbeatAt       `json:"heartbeat"`
	End       string            `json:"end"` // takes POST, for beacons
	CMCD      cmcdSession       `json:"cmcd"`
	Buffer    buffer            `json:"buffer"`
	Expires   time.Time         `json:"expires"` // unless it is renewed
}

type heartbeatAt struct {
	URL string `json:"url"`

	heartbeats
}

type cmcdSession struct {
	SID string `json:"sid"`
	CID string `json:"cid"`

	cmcdSetting
}

// Grant is what a token is to open.
type Grant struct {
	Session string
	Account string
	Asset   string
	Prefix  string // of paths on the site
	Host    string
	Until   time.Time
}

// Token opens what a session plays.
type Token struct {
	Value   string    `json:"value"`
	Carry   string    `json:"carry"` // query or header
	Name    string    `json:"name"`  // of the parameter or field
	Expires time.Time `json:"expires"`
}

const maxLabelBytes = 64

func (a *API) play(w http.ResponseWriter, r *http.Request) *problem {
	var call playCall
	if p := read(r, &call, false); p != nil {
		return p
	}
	rule, p := a.checkCall(&call)
	if p != nil {
		return p
	}
	viewer, p := a.viewer(r)
	if p != nil {
		return p
	}
	if p = a.probe(r, rule, &call); p != nil {
		return p
	}
	opened, p := a.open(r, rule, &call, viewer)
	if p != nil {
		return p
	}
	answer, p := a.describe(r, rule, &call, viewer, opened)
	if p != nil {
		a.forget(context.WithoutCancel(r.Context()), rule, opened)
		return p
	}
	w.Header().Set("Location", "/sdk/v1/sessions/"+answer.Session)
	writeJSON(w, http.StatusCreated, answer)
	return nil
}

// checkCall finds the asset's rule and names what is wrong with the call.
func (a *API) checkCall(call *playCall) (*Asset, *problem) {
	if p := checkName(call.Asset); p != nil {
		return nil, p
	}
	if call.Device == "" {
		call.Device = "web"
	}
	c := &call.Capabilities
	wrong := func(field, detail string) (*Asset, *problem) {
		p := newProblem("request", detail)
		p.Field = field
		return nil, p
	}
	switch {
	case !slices.Contains(classes(), call.Device):
		return wrong("device", "device is one of "+strings.Join(classes(), ", "))
	case len(call.Label) > maxLabelBytes:
		return wrong("label", fmt.Sprintf("label has more than %d bytes", maxLabelBytes))
	case c.Height < 0 || c.Height > 1<<15:
		return wrong("capabilities.max_height", "max_height is a number of lines")
	case c.FrameRate < 0 || c.FrameRate > 1000:
		return wrong("capabilities.max_frame_rate", "max_frame_rate is a number of frames per second")
	case c.Bitrate < 0 || c.Bitrate > 1<<40:
		return wrong("capabilities.max_bitrate", "max_bitrate is a number of bits per second")
	case c.Channels < 0 || c.Channels > 128:
		return wrong("capabilities.audio_channels", "audio_channels is a number of channels")
	case !slices.Contains([]string{"", "unmetered", "metered", "intermittent"}, c.Network):
		return wrong("capabilities.network", "network is unmetered, metered or intermittent")
	}
	for field, list := range map[string][]string{"codecs": c.Codecs, "drm": c.DRM, "hdr": c.HDR} {
		for _, item := range list {
			if item == "" || len(item) > 64 || len(list) > 64 || strings.ContainsFunc(item, notWord) {
				return wrong("capabilities."+field, field+" is a list of up to 64 short names")
			}
		}
	}
	rule := a.asset(call.Asset)
	if rule == nil {
		return nil, newProblem("asset", "no title is called so")
	}
	return rule, nil
}

// notWord tells what does not stand in the names of codecs and systems.
func notWord(r rune) bool {
	return !(r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '.' || r == '-' || r == '_' || r == ':')
}

func (a *API) viewer(r *http.Request) (Viewer, *problem) {
	if a.options.Viewer == nil {
		return Viewer{}, nil
	}
	v, err := a.options.Viewer(r)
	if later, ok := errors.AsType[*NotNow](err); ok {
		return Viewer{}, later.problem()
	}
	if err != nil {
		return Viewer{}, newProblem("credential", err.Error())
	}
	if p := a.options.Gate.byAccount(v.Account, a.options.Rates.Account); p != nil {
		return Viewer{}, p
	}
	if v.Limit <= 0 {
		v.Limit = a.options.AccountLimit
	}
	return v, nil
}

// probe asks for a manifest as the viewer is about to.
func (a *API) probe(r *http.Request, rule *Asset, call *playCall) *problem {
	if a.options.Probe == nil {
		return nil
	}
	path := rule.HLS
	if path == "" {
		path = rule.DASH
	}
	query := call.query("")
	if p := a.pass(r, rule, call.Asset, query); p != nil {
		return p
	}
	switch status := a.options.Probe(r, expand(path, call.Asset)+"?"+query.Encode()); status {
	case http.StatusNotFound, http.StatusGone:
		return newProblem("asset", "no manifest lies where this title should be")
	case http.StatusNotAcceptable:
		return newProblem("playable", "of all renditions of the title none fits what the device can play")
	case http.StatusForbidden, http.StatusUnauthorized:
		return newProblem("forbidden", "the title is not for this viewer")
	}
	return nil // also where the origin is in trouble: there may be more in the cache than this, and the player tries again
}

// pass puts a token into the query of what this edge asks itself on the way to an answer.
func (a *API) pass(r *http.Request, rule *Asset, asset string, query url.Values) *problem {
	if a.options.Issue == nil {
		return nil
	}
	token, err := a.options.Issue(Grant{Asset: asset, Prefix: expand(rule.Prefix, asset), Host: r.Host, Until: time.Now().Add(time.Minute)})
	if err != nil {
		a.log.Error("a token could not be made", "asset", asset, "error", err)
		return noToken()
	}
	if token.Carry == "query" {
		query.Set(token.Name, token.Value)
	}
	return nil
}

// open takes a place in the account and in the audience of the asset.
func (a *API) open(r *http.Request, rule *Asset, call *playCall, viewer Viewer) (session.Session, *problem) {
	opened, p := a.openIn(a.options.Sessions, r, call, viewer.Account, viewer.Limit)
	if p != nil {
		return session.Session{}, p
	}
	if rule.Limit > 0 {
		audience := session.Opening{Session: session.Session{ID: opened.ID}, Limit: rule.Limit}
		if _, err := a.options.Sessions.Join(r.Context(), a.audience(call.Asset), audience); err != nil {
			_, _ = a.options.Sessions.End(context.WithoutCancel(r.Context()), opened.ID) // its lease ends anyway
			p := problemOf(err)
			if p.name == "sessions" { // whose sessions they are is nobody's business
				p = newProblem("audience", fmt.Sprintf("%d viewers watch, as many as may", rule.Limit))
			}
			return session.Session{}, p
		}
	}
	return opened, nil
}

// maxKeyBytes bounds what a client has kept for as long as its session or download is.
const maxKeyBytes = 256

func idempotencyKey(r *http.Request) (string, *problem) {
	key := r.Header.Get("Idempotency-Key")
	if len(key) > maxKeyBytes {
		p := newProblem("request", fmt.Sprintf("Idempotency-Key has more than %d bytes", maxKeyBytes))
		p.Field = "Idempotency-Key"
		return "", p
	}
	return key, nil
}

// openIn takes a place in the account, of sessions or of downloads. A call with an Idempotency-Key may be repeated, by its
// account, or where there is none, by its client.
func (a *API) openIn(book *session.Book, r *http.Request, call *playCall, account string, limit int) (session.Session, *problem) {
	key, p := idempotencyKey(r)
	if p != nil {
		return session.Session{}, p
	}
	opening := session.Opening{
		Session: session.Session{Asset: call.Asset, Device: call.Device, Label: call.Label}, Key: key, Limit: limit, Replace: call.Replace,
	}
	if account == "" {
		opening.Limit = 0
	}
	opened, err := book.Open(r.Context(), a.accountPlace(r, account, key), opening)
	if err != nil {
		return session.Session{}, problemOf(err)
	}
	if opened.Asset != call.Asset || opened.Device != call.Device || opened.Label != call.Label {
		return session.Session{}, newProblem("idempotency", "with this key another title or device was asked for")
	}
	return opened, nil
}

// accountPlace is where the sessions of an account lie; of nobody's account, where the client finds it again by its key. The
// key alone names nobody: others may have thought of the same (draft-ietf-httpapi-idempotency-key-header-07, 5).
func (a *API) accountPlace(r *http.Request, account, key string) session.Place {
	switch {
	case account != "":
		return session.PlaceOf(a.options.Key(), "account", account)
	case key != "":
		return session.PlaceOf(a.options.Key(), "opening", key+"\x00"+clientOf(r))
	}
	return session.PlaceOf(a.options.Key(), "opening", rand.Text())
}

const clientBits6 = 64 // what a device keeps of IPv6 (RFC 8981)

// clientOf tells a client from others as far as can be: by its address and what it calls itself.
func clientOf(r *http.Request) string {
	at, _ := netip.ParseAddrPort(r.RemoteAddr) // who has no address is one client
	client := netip.PrefixFrom(at.Addr().Unmap(), at.Addr().Unmap().BitLen())
	if client.Addr().Is6() {
		client = netip.PrefixFrom(client.Addr(), clientBits6).Masked()
	}
	return client.String() + "\x00" + r.UserAgent()
}

func (a *API) audience(asset string) session.Place {
	return session.PlaceOf(a.options.Key(), "asset", asset)
}

// forget ends a session everywhere.
func (a *API) forget(ctx context.Context, rule *Asset, s session.Session) {
	_, _ = a.options.Sessions.End(ctx, s.ID) // its lease ends anyway
	if rule != nil && rule.Limit > 0 {
		_, _ = a.options.Sessions.EndIn(ctx, a.audience(s.Asset), s.ID)
	}
}

func (a *API) describe(r *http.Request, rule *Asset, call *playCall, viewer Viewer, s session.Session) (*played, *problem) {
	id, here := string(s.ID), base(r)
	query := call.query(id)
	p := &played{
		Session: id, Asset: call.Asset, Device: call.Device, Manifests: map[string]string{},
		Steering:  cmp.Or(a.options.Steering.Server, here) + (&question{asset: call.Asset, session: id}).path(),
		Heartbeat: heartbeatAt{URL: here + "/sdk/v1/sessions/" + id + "/heartbeat", heartbeats: a.heartbeats()},
		End:       here + "/sdk/v1/sessions/" + id + "/end",
		CMCD:      cmcdSession{SID: id, CID: call.Asset, cmcdSetting: a.cmcdSetting()},
		Buffer:    bufferOf(call.Device), Expires: s.Expires.Round(0).UTC(),
	}
	p.CMCD.Events = here + p.CMCD.Events
	if a.options.Issue != nil {
		token, err := a.options.Issue(Grant{
			Session: id, Account: viewer.Account, Asset: call.Asset, Prefix: expand(rule.Prefix, call.Asset), Host: r.Host, Until: s.Expires,
		})
		if err != nil {
			a.log.Error("a token could not be made", "asset", call.Asset, "error", err)
			return nil, noToken()
		}
		if p.Token = &token; token.Carry == "query" {
			query.Set(token.Name, token.Value)
		}
	}
	for kind, path := range map[string]string{"hls": rule.HLS, "dash": rule.DASH} {
		if path != "" {
			p.Manifests[kind] = here + expand(path, call.Asset) + "?" + query.Encode()
		}
	}
	p.Licenses = rule.licenses(call, id)
	return p, nil
}

// licenses are the license servers of the systems that the device has.
func (a *Asset) licenses(call *playCall, id string) map[string]string {
	servers := map[string]string{}
	for system, license := range a.Licenses {
		if len(call.Capabilities.DRM) == 0 || slices.Contains(call.Capabilities.DRM, system) {
			servers[system] = strings.NewReplacer("{asset}", url.QueryEscape(call.Asset), "{session}", id).Replace(license)
		}
	}
	return servers
}

// query says in a manifest's URL for which device it is.
func (c *playCall) query(id string) url.Values {
	q := url.Values{"device": {c.Device}}
	set := func(name, value string, said bool) {
		if said {
			q.Set(name, value)
		}
	}
	set("session", id, id != "")
	set("codecs", strings.Join(c.Capabilities.Codecs, ","), len(c.Capabilities.Codecs) > 0)
	set("height", strconv.Itoa(c.Capabilities.Height), c.Capabilities.Height > 0)
	set("fps", strconv.FormatFloat(c.Capabilities.FrameRate, 'f', -1, 64), c.Capabilities.FrameRate > 0)
	set("bitrate", strconv.FormatInt(c.Capabilities.Bitrate, 10), c.Capabilities.Bitrate > 0)
	set("channels", strconv.Itoa(c.Capabilities.Channels), c.Capabilities.Channels > 0)
	set("drm", strings.Join(c.Capabilities.DRM, ","), len(c.Capabilities.DRM) > 0)
	set("range", strings.Join(append([]string{"sdr"}, c.Capabilities.HDR...), ","), c.Capabilities.HDR != nil)
	set("metered", "1", c.Capabilities.Network == "metered")
	set("audio", "1", c.Capabilities.AudioOnly)
	return q
}
