package main

import (
	"context"
	"net"
	"net/http"
	"strings"

	"weir/configs"
	"weir/edge"
	"weir/edge/upstream"
)

// routes are the sites of a configuration and the origins behind them. Immutable but for what those count; replaced as a
// whole when the configuration is read again.
type routes struct {
	sites   *edge.Sites
	names   []string          // a host of each site, for metrics
	origins []*upstream.Group // each once
	byURLs  map[string]*upstream.Group
	retired upstream.Stats // of origins that the routes before had and these have not
}

// buildRoutes makes the routes of a configuration. Origins that the routes before have as well go on, with their
// connections and what is known of their health.
func (n *node) buildRoutes(config []configs.Site, before *routes) (*routes, error) {
	r := &routes{byURLs: map[string]*upstream.Group{}}
	var sites []*edge.Site
	for _, s := range config {
		group, err := n.origin(r, before, s.Origins)
		if err != nil {
			return nil, err
		}
		site := &edge.Site{
			Hosts: s.Hosts, Origin: group, Home: s.Home, Heuristic: s.Heuristic, Surrogate: s.SurrogateControl, ShowTags: s.ShowTags,
			RequestControl: s.RequestCacheControl,
		}
		for _, name := range s.TargetedFields {
			site.Targeted = append(site.Targeted, http.CanonicalHeaderKey(name))
		}
		if s.Pages {
			pages, err := newPages(n.publicNodes)
			if err != nil {
				return nil, err
			}
			site.Pages = pages
		}
		sites, r.names = append(sites, site), append(r.names, s.Hosts[0])
	}
	var err error
	r.sites, err = edge.NewSites(sites...)
	return r, err
}

// origin finds or makes the group of these URLs.
func (n *node) origin(r, before *routes, urls []string) (*upstream.Group, error) {
	key := strings.Join(urls, " ")
	if group := r.byURLs[key]; group != nil {
		return group, nil
	}
	group := before.byURLs[key]
	if group == nil {
		options := upstream.Options{URLs: urls}
		if n.options.network != nil {
			options.Dial = func(ctx context.Context, _, address string) (net.Conn, error) {
				return n.options.network.Dial(ctx, address)
			}
		}
		var err error
		if group, err = upstream.NewGroup(options); err != nil {
			return nil, err
		}
	}
	r.byURLs[key], r.origins = group, append(r.origins, group)
	return group, nil
}

// take makes r what the node works by. Origins that it has not are let go: what they still send is sent to its end.
func (n *node) take(r *routes) {
	before := n.routes.Swap(r)
	if before == nil {
		return
	}
	r.retired = before.retired
	for key, group := range before.byURLs {
		if r.byURLs[key] != group {
			r.retired = addStats(r.retired, group.Stats())
			group.Close()
		}
	}
}

func addStats(a, b upstream.Stats) upstream.Stats {
	a.Requests, a.Failures, a.Broken, a.Bytes = a.Requests+b.Requests, a.Failures+b.Failures, a.Broken+b.Broken, a.Bytes+b.Bytes
	return a
}

// originStats counts the fetches from all origins.
func (n *node) originStats() upstream.Stats {
	r := n.routes.Load()
	total := r.retired
	for _, group := range r.origins {
		total = addStats(total, group.Stats())
	}
	return total
}
