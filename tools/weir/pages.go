package main

import (
	"net/http"
	"os"
	"path/filepath"

	"weir/edge/player"
	"weir/edge/sdk"
)

// hlsjs is where npm ci puts the player library, below the repository's root.
const hlsjs = "edge/player/node_modules/hls.js/dist/hls.min.js"

// pages are Weir's own client paths: the player page, and the endpoints for players.
type pages struct {
	api       *sdk.API
	secure    *player.Player // on TLS: fails over to the nodes' https addresses
	cleartext *player.Player
}

// nodesFunc lists the public base URLs of the cluster's nodes.
type nodesFunc func(secure bool) []player.Node

// newPages makes the player page. The page plays with hls.js
// where a checkout with its npm packages is at hand, else with the browser's
// own HLS.
func newPages(api *sdk.API, nodes nodesFunc) (*pages, error) {
	var library string
	if path, err := filepath.Abs(hlsjs); err == nil {
		if _, err := os.Stat(path); err == nil {
			library = path
		}
	}
	build := func(secure bool) (*player.Player, error) {
		return player.New(player.Options{HLSJS: library, Nodes: func() []player.Node { return nodes(secure) }})
	}
	secure, err := build(true)
	if err != nil {
		return nil, err
	}
	cleartext, err := build(false)
	return &pages{api: api, secure: secure, cleartext: cleartext}, err
}

// Page is the handler of a path, nil where it is not ours.
func (p *pages) Page(path string) http.Handler {
	switch {
	case p.api.Handles(path):
		return p.api
	case p.secure.Handles(path):
		return p
	}
	return nil
}

func (p *pages) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.TLS != nil {
		p.secure.ServeHTTP(w, r)
		return
	}
	p.cleartext.ServeHTTP(w, r)
}
