package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"

	"weir/configs"
	"weir/edge"
	"weir/edge/manifest"
	"weir/edge/sdk"
	"weir/edge/session"
	"weir/edge/token"
)

// tokenLife is how long the token of a session is good beyond its lease: a player that cannot renew plays on for that long.
const tokenLife = 6 * time.Hour

// tailor says what is made of a site's manifests for a viewer: a token in the query is passed on to what they list, and those
// that a session plays name the steering server. Both may be nil.
func (n *node) tailor(api *sdk.API, tokens *token.Verifier) func(*http.Request, edge.Target) edge.Tailoring {
	var names []string
	if tokens != nil {
		names = tokens.Parameters()
	}
	return func(r *http.Request, target edge.Target) (t edge.Tailoring) {
		query := r.URL.RawQuery
		for _, name := range names {
			if value := parameter(query, name); value != "" {
				t.Child = manifest.Both(t.Child, manifest.Query(name, value, r.Host))
			}
		}
		id := parameter(query, sessionParameter)
		if api == nil || id == "" {
			return t
		}
		asset, ok := api.AssetOf(target.Path)
		if _, err := n.sessions.Place(session.ID(id)); !ok || err != nil {
			return t
		}
		steered := api.Steer(r, asset, id, strings.HasSuffix(target.Path, ".mpd"))
		t.Steering = &manifest.Steering{Server: steered.Server, Pathway: n.config.Node.Name, First: steered.First, QueryFirst: true}
		dir, name := path.Split(target.Path)
		again := string(manifest.Query(sessionParameter, id)(nil, []byte(name+"?"+target.Query), manifest.Playlist))
		for _, l := range steered.Listed {
			at := manifest.Location{Pathway: l.Pathway, Base: l.Base + dir}
			if l.Edge {
				at.Manifest = again
			}
			t.Steering.Locations = append(t.Steering.Locations, at)
		}
		return t
	}
}

// sessionParameter says in a manifest's query who plays it.
const sessionParameter = "session"

// parameter is the value of a query's parameter, as it stands there; of several the first.
func parameter(query, name string) string {
	for part := range strings.SplitSeq(query, "&") {
		if found, value, _ := strings.Cut(part, "="); found == name {
			return value
		}
	}
	return ""
}

// issuer makes the tokens of a site's sessions.
func issuer(c *configs.Token) (func(sdk.Grant) (sdk.Token, error), error) {
	scheme, err := tokenScheme(&c.Schemes[0])
	if err != nil {
		return nil, err
	}
	name := scheme.Carriers.Query
	if name == "" {
		name = token.DefaultCarriers(token.CAT).Query
	}
	mint := func(g sdk.Grant) (sdk.Token, error) {
		end := g.Until.Add(tokenLife).Round(time.Second).UTC()
		claims := map[string]any{"catu": map[string]any{"path": map[string]any{"prefix": g.Prefix}}}
		if len(scheme.Issuers) > 0 {
			claims["iss"] = scheme.Issuers[0]
		}
		if len(scheme.Audiences) > 0 {
			claims["aud"] = scheme.Audiences[0]
		}
		text, err := json.Marshal(claims)
		if err != nil {
			return sdk.Token{}, err
		}
		m, err := token.Mint(scheme, token.Order{End: end, Claims: text, Subject: g.Session})
		return sdk.Token{Value: m.Token, Carry: "query", Name: name, Expires: end}, err
	}
	if _, err := mint(sdk.Grant{Prefix: "/", Until: time.Now()}); err != nil {
		return nil, fmt.Errorf("sdk.tokens: %w", err)
	}
	return mint, nil
}

// errNoToken and errBadToken are what a client hears of its viewer's token: why is in the log.
var (
	errNoToken  = errors.New("the viewer's token is missing: send it in Authorization: Bearer")
	errBadToken = errors.New("the viewer's token is not good")
)

// viewersOfTokens tells who asks, by the token in Authorization.
func (n *node) viewersOfTokens(c *configs.Accounts) (func(*http.Request) (sdk.Viewer, error), error) {
	keys, err := readKeys(c.KeysFile, token.CAT)
	if err != nil {
		return nil, fmt.Errorf("sdk.accounts: %w", err)
	}
	const field = "Weir-Viewer"
	verifier, err := token.New(token.Options{
		Schemes: []token.Scheme{{Kind: token.CAT, Keys: keys, Carriers: token.Carriers{Header: field}, Issuers: c.Issuers}}, Once: n.useToken, Admit: n.admitProof, Seen: n.seeToken, Replays: n.replays, Locate: edge.Locator(n.geo),
	})
	if err != nil {
		return nil, err
	}
	return func(r *http.Request) (sdk.Viewer, error) {
		scheme, text, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		if !strings.EqualFold(scheme, "Bearer") && !strings.EqualFold(scheme, "DPoP") || text == "" {
			return sdk.Viewer{}, errNoToken
		}
		q := token.RequestOver(r)
		q.Path, q.Query, q.Header = r.URL.EscapedPath(), r.URL.RawQuery, http.Header{field: {strings.TrimSpace(text)}}
		q.Host, q.Port = hostAndPort(r.Host)
		if proofs := r.Header.Values("DPoP"); len(proofs) > 0 {
			q.Header["Dpop"] = proofs
		}
		grant, err := verifier.Check(r.Context(), &q, time.Now())
		if why, ok := errors.AsType[*token.Error](err); ok && (why.Reason == token.TooMany || why.Reason == token.Unsure) {
			n.log.Debug("a viewer's token cannot be taken now", "client", r.RemoteAddr, "error", err)
			if why.Reason == token.TooMany {
				return sdk.Viewer{}, &sdk.NotNow{Text: "too many proofs were made with the viewer's key", Often: true, Wait: why.Wait}
			}
			return sdk.Viewer{}, &sdk.NotNow{Text: "whether the viewer's token was used before cannot be told now", Wait: time.Second}
		}
		if err != nil || grant.Subject == "" {
			n.log.Debug("a viewer's token is refused", "client", r.RemoteAddr, "error", err)
			return sdk.Viewer{}, errBadToken
		}
		return sdk.Viewer{Account: grant.Subject}, nil
	}, nil
}

// hostAndPort are those of a Host field; a port that it does not name is 0.
func hostAndPort(field string) (string, uint16) {
	host, number, err := net.SplitHostPort(field)
	if err != nil {
		return strings.ToLower(field), 0
	}
	port, err := strconv.ParseUint(number, 10, 16)
	if err != nil {
		return strings.ToLower(host), 0
	}
	return strings.ToLower(host), uint16(port)
}
