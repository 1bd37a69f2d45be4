package player

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path"
	"slices"
	"strings"
)

// DefaultHLS and DefaultDASH are the manifests of the sample title.
const (
	DefaultHLS  = "/vod/demo/master.m3u8"
	DefaultDASH = "/vod/demo/manifest.mpd"
)

// DefaultAsset is the sample title's name in the play call.
const DefaultAsset = "demo"

// DefaultTitle is what the page calls a title that has no name.
const DefaultTitle = "Weir edge streaming demo"

const (
	pagePath   = "/"
	assetRoot  = "/player/"
	configPath = "/player/config.json"
	guidePath  = "/player/guide"
	sdkFolder  = "sdk/" // of the client that pages of other origins may import
	workerFile = sdkFolder + "offline.js"
	filesList  = "files.json" // all that the page needs to open without a network
)

// A Node is one edge of the cluster as a viewer reaches it.
type Node struct {
	Name string // as in Cache-Status, for example "edge-1"
	URL  string // public base URL, for example "https://edge-1.example:8443"; path, query and fragment are dropped
}

// Options say what the page plays and from where. The zero value plays the
// sample title from the node that serves the page.
type Options struct {
	// Title is shown above the picture; "" = DefaultTitle.
	Title string
	// HLS and DASH are the manifests' paths on every node, starting with "/";
	// "" = DefaultHLS and DefaultDASH.
	HLS, DASH string
	// Asset is the title's name in the play call (package edge/sdk). "" = DefaultAsset
	// where HLS is the sample's, else the page plays without a session.
	Asset string
	// Nodes returns the nodes a viewer may use, in any order. It is called for
	// every config.json and every page, possibly at the same time, and must not
	// block; nil = only the node that serves the page. A node whose URL is not an
	// absolute http or https URL is left out.
	Nodes func() []Node
	// HLSJS is the path of hls.min.js (version 1.7) on disk, read once by New;
	// "" = the page uses the browser's own HLS.
	HLSJS string
}

// A Player serves the page. It is immutable: safe for concurrent use.
type Player struct {
	title, hls, dash string
	asset            string // "" = there are no sessions
	hlsjs            string // path under which hls.js is served, "" = none
	nodes            func() []Node
	page, guide      *asset
	assets           map[string]*asset // by path below assetRoot, without version
	version          string
}

// New prepares the page. It fails where a path of Options is not absolute, or
// where HLSJS cannot be read.
func New(o Options) (*Player, error) {
	p := &Player{title: or(o.Title, DefaultTitle), hls: or(o.HLS, DefaultHLS), dash: or(o.DASH, DefaultDASH), asset: o.Asset, nodes: o.Nodes}
	if p.asset == "" && p.hls == DefaultHLS {
		p.asset = DefaultAsset
	}
	for name, value := range map[string]string{"HLS": p.hls, "DASH": p.dash} {
		if !strings.HasPrefix(value, "/") || strings.HasPrefix(value, "//") {
			return nil, fmt.Errorf("player: %s %q is not a path on the edge: start it with one slash", name, value)
		}
	}
	files, err := embedded()
	if err != nil {
		return nil, err
	}
	if o.HLSJS != "" {
		body, err := os.ReadFile(o.HLSJS)
		if err != nil {
			return nil, fmt.Errorf("player: read HLSJS: %w", err)
		}
		files["hls.js"] = body
	}
	return p.load(files), nil
}

// load turns the files into assets; the page itself names them by version.
func (p *Player) load(files map[string][]byte) *Player {
	p.version = versionOf(files)
	base := assetRoot + p.version + "/"
	page := bytes.ReplaceAll(files["index.html"], []byte(assetRoot), []byte(base))
	p.page = newAsset("index.html", page)
	p.guide = newAsset("guide.html", bytes.ReplaceAll(files["guide.html"], []byte(assetRoot), []byte(base)))
	delete(files, "index.html")
	delete(files, "guide.html")
	p.assets = make(map[string]*asset, len(files))
	for name, body := range files {
		p.assets[name] = newAsset(name, body)
	}
	if p.assets["hls.js"] != nil {
		p.hlsjs = base + "hls.js"
	}
	p.assets[filesList] = newAsset(filesList, p.filesOfPage(base))
	return p
}

// filesOfPage lists what a page keeps that is to open without a network, by address.
func (p *Player) filesOfPage(base string) []byte {
	list := []string{pagePath, configPath}
	for _, name := range slices.Sorted(maps.Keys(p.assets)) {
		list = append(list, base+name)
	}
	body, err := json.Marshal(list)
	if err != nil {
		panic("player: " + filesList + ": " + err.Error()) // strings only: cannot fail
	}
	return body
}

// Handles reports whether the URL path belongs to the player page, so that a site that
// also has content of its own can decide where a request goes.
func (p *Player) Handles(target string) bool {
	return target == pagePath || strings.HasPrefix(target, assetRoot)
}

// ServeHTTP answers the page, its assets and config.json.
func (p *Player) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a, cacheControl := p.find(r.URL.Path)
	if a == nil {
		http.NotFound(w, r)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "the player page answers GET and HEAD only", http.StatusMethodNotAllowed)
		return
	}
	h := w.Header()
	h.Set("Cache-Control", cacheControl)
	h.Set("X-Content-Type-Options", "nosniff")
	switch r.URL.Path {
	case pagePath:
		h.Set("Content-Security-Policy", p.policy())
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
	case guidePath:
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; img-src 'self'")
	case configPath:
		// A page that lost its own node asks another one for the list.
		h.Set("Access-Control-Allow-Origin", "*")
		h.Set("Timing-Allow-Origin", "*")
	}
	if strings.HasSuffix(r.URL.Path, "/"+workerFile) {
		h.Set("Service-Worker-Allowed", "/") // of pages that keep something: the page itself lies above it
	}
	if shared(r.URL.Path, p.version) {
		h.Set("Access-Control-Allow-Origin", "*")
		h.Set("Cross-Origin-Resource-Policy", "cross-origin")
	}
	a.serve(w, r)
}

// shared tells whether a path is of the client, which pages of other origins may import.
func shared(target, version string) bool {
	name := strings.TrimPrefix(strings.TrimPrefix(target, assetRoot), version+"/")
	return strings.HasPrefix(name, sdkFolder)
}

// find returns what lies under target, nil if nothing does, and how long it may
// be kept.
func (p *Player) find(target string) (*asset, string) {
	const revalidate = "no-cache"
	switch target {
	case pagePath:
		return p.page, revalidate
	case configPath:
		return p.config(), revalidate
	case guidePath:
		return p.guide, revalidate
	}
	name, ok := strings.CutPrefix(target, assetRoot)
	if !ok {
		return nil, ""
	}
	if versioned, ok := strings.CutPrefix(name, p.version+"/"); ok {
		return p.assets[versioned], "public, max-age=31536000, immutable"
	}
	return p.assets[name], revalidate
}

// configNode and configDocument are the wire form of config.json.
type configNode struct {
	Name string `json:"name"`
	URL  string `json:"url"`
}

type configDocument struct {
	Title string       `json:"title"`
	HLS   string       `json:"hls"`
	DASH  string       `json:"dash"`
	Asset string       `json:"asset"` // "" = there are no sessions
	SDK   string       `json:"sdk"`   // the client as it is now, for pages that want no other
	HLSJS string       `json:"hlsjs"` // "" = not available
	Nodes []configNode `json:"nodes"`
}

func (p *Player) config() *asset {
	c := configDocument{Title: p.title, HLS: p.hls, DASH: p.dash, Asset: p.asset, SDK: assetRoot + p.version + "/" + sdkFolder + "weir.js", HLSJS: p.hlsjs, Nodes: p.publicNodes()}
	body, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		panic("player: config.json: " + err.Error()) // strings only: cannot fail
	}
	return newAsset(path.Base(configPath), append(body, '\n'))
}

// publicNodes returns the nodes that a browser can reach, each as an origin.
func (p *Player) publicNodes() []configNode {
	nodes := []configNode{}
	if p.nodes == nil {
		return nodes
	}
	for _, n := range p.nodes() {
		u, err := url.Parse(n.URL)
		if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") {
			continue
		}
		nodes = append(nodes, configNode{Name: n.Name, URL: u.Scheme + "://" + u.Host})
	}
	return nodes
}

// policy is the page's Content-Security-Policy: its own scripts and styles,
// media from any node over TLS, and from those nodes in clear that it was told of.
func (p *Player) policy() string {
	from := "'self' https:"
	for _, n := range p.publicNodes() {
		if strings.HasPrefix(n.URL, "http:") && !strings.ContainsAny(n.URL, " ;,'\"") {
			from += " " + n.URL
		}
	}
	return strings.Join([]string{
		"default-src 'none'",
		"script-src 'self'",
		"style-src 'self'",
		"img-src 'self' data:",
		"connect-src " + from,
		"media-src " + from + " blob:",
		"base-uri 'none'",
		"form-action 'none'",
		"frame-ancestors 'self'",
	}, "; ")
}

func or(value, fallback string) string {
	if value == "" {
		return fallback
	}
	return value
}
