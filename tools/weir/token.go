package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"weir/configs"
	"weir/edge"
	"weir/edge/token"
)

// tokenCommand makes, checks and reads access tokens and signed URLs. It asks no node.
type tokenCommand struct {
	Sign    tokenSign    `cmd:"" help:"Make a token for a URL, and print the URL with it."`
	Verify  tokenVerify  `cmd:"" help:"Tell whether a URL, or a token for it, is good, and exactly why not."`
	Explain tokenExplain `cmd:"" help:"Print what a token says, without checking its signature."`
}

// tokenFlags are a scheme, as sites[].token.schemes has it.
type tokenFlags struct {
	Kind       string        `help:"cat, uri-signing, akamai, cloudfront, type-a, type-b, type-c, type-f or secure-link." default:"cat" placeholder:"KIND"`
	Keys       string        `required:"" help:"The file with the keys: a JSON Web Key Set, PEM or lines, as keys_file." placeholder:"FILE"`
	Query      string        `help:"The parameter that the token stands in." placeholder:"NAME"`
	TimeQuery  string        `help:"The parameter with the time (type-c, type-f, secure-link)." placeholder:"NAME"`
	TTL        time.Duration `name:"ttl" help:"How long a URL is good after its time (type-a, type-b, type-c, type-f)." placeholder:"TIME"`
	Hex        bool          `help:"The time of type-f is hexadecimal."`
	SaltFile   string        `help:"The salt of akamai." placeholder:"FILE"`
	Escape     bool          `help:"URLs of akamai are signed escaped."`
	Expression string        `help:"What secure-link hashes." placeholder:"TEXT"`
	JSON       bool          `name:"json" help:"Print JSON."`
}

func (f *tokenFlags) scheme() (token.Scheme, error) {
	s, err := tokenScheme(&configs.TokenScheme{
		Kind: f.Kind, KeysFile: f.Keys, TimeQuery: f.TimeQuery, TTL: configs.Duration(f.TTL), Hex: f.Hex, SaltFile: f.SaltFile, Escape: f.Escape, Expression: f.Expression,
	})
	if err != nil {
		return s, usageError{err}
	}
	if !slices.Contains(token.Kinds(), s.Kind) {
		return s, usageError{fmt.Errorf("%q is no kind of token", f.Kind)}
	}
	if f.Query != "" {
		s.Carriers = token.DefaultCarriers(s.Kind)
		s.Carriers.Query = f.Query
	}
	return s, nil
}

// tokenTarget is what a URL asks an edge for: by the same rules as a request.
func tokenTarget(text string) (token.Request, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return token.Request{}, usageError{fmt.Errorf("%q is no URL: begin it with https://", text)}
	}
	_, rest, _ := strings.Cut(text, "://")
	path := "/"
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		path = strings.TrimPrefix(rest[i:], "?")
		if rest[i] == '?' {
			path = "/" + rest[i:]
		}
	}
	target, err := edge.ParseTarget(u.Host, path)
	if err != nil {
		return token.Request{}, errors.New(strings.TrimPrefix(err.Error(), "edge: "))
	}
	port, _ := strconv.ParseUint(u.Port(), 10, 16) // url.Parse has found it to be a number; "" is 0
	return token.Request{Scheme: u.Scheme, Host: target.Host, Port: uint16(port), Path: target.Path, Query: target.Query, Method: http.MethodGet, Header: http.Header{}, Protocol: "h2"}, nil
}

// tokenSign makes a token.
type tokenSign struct {
	tokenFlags

	URL       string        `arg:"" help:"What it is for."`
	Key       string        `help:"The id of the key that signs. Default: the first that can." placeholder:"ID"`
	Expires   time.Duration `help:"How long it is good; 0: for ever, where the kind has that." default:"1h" placeholder:"TIME"`
	NotBefore time.Duration `help:"How long from now it begins." placeholder:"TIME"`
	Claims    string        `help:"Claims as JSON, by their names: {\"catu\": {\"path\": {\"prefix\": \"/vod/\"}}} (cat, uri-signing)." placeholder:"JSON"`
	Subject   string        `help:"Whom it is for (sub, id, uid)." placeholder:"NAME"`
	Path      []string      `help:"Patterns that it opens in place of the URL alone (akamai: paths; cloudfront: a URL)." placeholder:"PATTERN"`
	Client    string        `help:"The client's address (akamai, cloudfront, secure-link, uri-signing)." placeholder:"ADDR"`
	InPath    bool          `help:"Put it into the path (type-c)."`
	SHA256    bool          `name:"sha256" help:"Sign by SHA-256 in place of SHA-1 (cloudfront)."`
}

// Run prints the URL with the token.
func (c *tokenSign) Run(std streams) error {
	s, err := c.scheme()
	if err != nil {
		return err
	}
	target, err := tokenTarget(c.URL)
	if err != nil {
		return err
	}
	order := token.Order{
		URL: target, Claims: []byte(c.Claims), Subject: c.Subject, Paths: c.Path, Client: c.Client, Path: c.InPath, SHA256: c.SHA256, KeyID: c.Key,
	}
	now := time.Now()
	if c.Expires > 0 {
		order.End = now.Add(c.Expires)
	}
	if c.NotBefore > 0 {
		order.Begin = now.Add(c.NotBefore)
	}
	m, err := token.Mint(s, order)
	if err != nil {
		return usageError{err}
	}
	if !c.JSON {
		fmt.Fprintln(std.out, m.URL)
		return nil
	}
	return printJSON(std.out, m)
}

func printJSON(out io.Writer, v any) error {
	e := json.NewEncoder(out)
	e.SetEscapeHTML(false) // URLs stay readable
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// tokenVerify checks a token.
type tokenVerify struct {
	tokenFlags

	URL      string        `arg:"" help:"The URL, with the token where it stands in it."`
	Token    string        `help:"The token, where the URL has none (cat)." placeholder:"TOKEN"`
	Cookie   []string      `help:"Cookies, NAME=VALUE." placeholder:"COOKIE"`
	Header   []string      `help:"Request fields, NAME:VALUE, for claims about them." sep:"none" placeholder:"FIELD"`
	Issuer   []string      `help:"Who may have signed it. Default: everybody who has a key." placeholder:"NAME"`
	Audience []string      `help:"Names of the site (aud)." placeholder:"NAME"`
	Method   string        `help:"The request's method." default:"GET" placeholder:"METHOD"`
	Protocol string        `help:"The request's protocol: http/1.1, h2 or h3." default:"h2" placeholder:"NAME"`
	Client   string        `help:"The client's address." placeholder:"ADDR"`
	At       time.Time     `help:"When it is asked, as 2026-01-02T15:04:05Z. Default: now." placeholder:"TIME"`
	Leeway   time.Duration `help:"How far clocks may be off." placeholder:"TIME"`
}

// tokenVerdict is the answer as JSON.
type tokenVerdict struct {
	Good    bool       `json:"good"`
	Reason  string     `json:"reason,omitempty"`
	Why     string     `json:"why,omitempty"`
	Kind    token.Kind `json:"kind,omitempty"`
	Key     string     `json:"key,omitempty"`
	Subject string     `json:"subject,omitempty"`
	Expires time.Time  `json:"expires,omitzero"`
	Target  string     `json:"target,omitempty"` // what the edge looks up: without the token
}

// Run prints whether the token is good; one that is not makes the exit code 1.
func (c *tokenVerify) Run(std streams) error {
	s, err := c.scheme()
	if err != nil {
		return err
	}
	s.Issuers, s.Audiences = c.Issuer, c.Audience
	v, err := token.New(token.Options{Schemes: []token.Scheme{s}, Leeway: c.Leeway, Once: firstTime})
	if err != nil {
		return usageError{err}
	}
	q, err := c.request()
	if err != nil {
		return err
	}
	if c.At.IsZero() {
		c.At = time.Now()
	}
	grant, err := v.Check(context.Background(), &q, c.At)
	verdict := tokenVerdict{Good: err == nil, Kind: grant.Kind, Key: grant.Key, Subject: grant.Subject, Expires: grant.Expires, Target: q.Path}
	if q.Query != "" {
		verdict.Target += "?" + q.Query
	}
	if why, ok := errors.AsType[*token.Error](err); ok {
		verdict.Reason, verdict.Why = string(why.Reason), why.Text
	}
	if c.JSON {
		if err := printJSON(std.out, verdict); err != nil {
			return err
		}
	} else if verdict.Good {
		printGrant(std.out, &verdict)
	}
	if err != nil {
		return fmt.Errorf("it is not good for %s: %w", verdict.Target, err)
	}
	return nil
}

// firstTime takes a one-time token for unused: only edges know.
func firstTime(context.Context, [sha256.Size]byte, time.Duration) (bool, error) { return true, nil }

func (c *tokenVerify) request() (token.Request, error) {
	q, err := tokenTarget(c.URL)
	if err != nil {
		return q, err
	}
	q.Method, q.Protocol = c.Method, c.Protocol
	for _, field := range c.Header {
		name, value, ok := strings.Cut(field, ":")
		if !ok {
			return q, usageError{fmt.Errorf("%q is no field: write NAME:VALUE", field)}
		}
		q.Header.Add(name, strings.TrimSpace(value))
	}
	if c.Token != "" {
		q.Header.Set(token.DefaultCarriers(token.CAT).Header, c.Token)
	}
	for _, cookie := range c.Cookie {
		q.Header.Add("Cookie", cookie)
	}
	if c.Client != "" {
		if q.Addr, err = netip.ParseAddr(c.Client); err != nil {
			return q, usageError{fmt.Errorf("%q is no address", c.Client)}
		}
	}
	return q, nil
}

func printGrant(out io.Writer, v *tokenVerdict) {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "good\t%s\n", v.Target)
	for _, line := range [...][2]string{{"kind", string(v.Kind)}, {"key", v.Key}, {"subject", v.Subject}} {
		if line[1] != "" {
			fmt.Fprintf(t, "%s\t%s\n", line[0], line[1])
		}
	}
	if !v.Expires.IsZero() {
		fmt.Fprintf(t, "until\t%s\n", v.Expires.Local().Format(time.RFC3339))
	}
	_ = t.Flush()
}

// tokenExplain reads a token.
type tokenExplain struct {
	Token string `arg:"" help:"The token, or a URL that has it in its query; @FILE: what is in a file."`
	JSON  bool   `name:"json" help:"Print JSON."`
}

// Run prints what the token says.
func (c *tokenExplain) Run(std streams) error {
	text := c.Token
	if file, ok := strings.CutPrefix(text, "@"); ok {
		b, err := os.ReadFile(file)
		if err != nil {
			return usageError{err}
		}
		text = strings.TrimSpace(string(b))
	}
	e, err := explainToken(text)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(std.out, e)
	}
	fmt.Fprintf(std.out, "%s, %s, signed by the key %q\n", e.Kind, dash(e.Algorithm), e.KeyID)
	t := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
	names := make([]string, 0, len(e.Claims))
	for name := range e.Claims {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		value, err := json.Marshal(e.Claims[name])
		if err != nil {
			return err
		}
		fmt.Fprintf(t, "  %s\t%s%s\n", name, value, readableTime(name, e.Claims[name]))
	}
	_ = t.Flush()
	for _, note := range e.Notes {
		fmt.Fprintf(std.out, "an edge minds: %s\n", note)
	}
	return nil
}

// explainToken takes a token, or a URL with one.
func explainToken(text string) (token.Explained, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		return token.Explain(text)
	}
	for _, value := range strings.Split(u.RawQuery, "&") {
		_, value, _ = strings.Cut(value, "=")
		if e, err := token.Explain(value); err == nil && len(e.Claims) > 0 {
			return e, nil
		}
	}
	return token.Explained{}, errors.New("the query of the URL holds no token that says something")
}

// readableTime is a date for people, beside a number of seconds.
func readableTime(name string, value any) string {
	if name != "exp" && name != "nbf" && name != "iat" && name != "st" {
		return ""
	}
	seconds := int64(0)
	switch n := value.(type) {
	case int64:
		seconds = n
	case float64:
		seconds = int64(n)
	case string:
		seconds, _ = strconv.ParseInt(n, 10, 64) // 0 says nothing
	}
	if seconds == 0 {
		return ""
	}
	return "  " + time.Unix(seconds, 0).Local().Format(time.RFC3339)
}
