package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"weir/configs"
	"weir/edge"
	"weir/edge/access"
	"weir/edge/upstream"
)

// routes are the sites of a configuration and the origins behind them. Immutable but for what those count; replaced as a
// whole when the configuration is read again.
type routes struct {
	sites   *edge.Sites
	names   []string                   // a host of each site, for metrics
	origins []*upstream.Group          // each once
	byURLs  map[string]*upstream.Group // by what is said of them
	retired upstream.Stats             // of origins that the routes before had and these have not
}

// buildRoutes makes the routes of a configuration. Origins that the routes before have as well go on, with their
// connections and what is known of their health.
func (n *node) buildRoutes(config []configs.Site, before *routes) (_ *routes, err error) {
	r := &routes{byURLs: map[string]*upstream.Group{}}
	defer func() {
		if err != nil {
			r.drop(before)
		}
	}()
	var sites []*edge.Site
	for _, s := range config {
		group, err := n.origin(r, before, s)
		if err != nil {
			return nil, err
		}
		site := &edge.Site{
			Hosts: s.Hosts, Origin: group, Home: s.Home, Heuristic: s.Heuristic, Surrogate: s.SurrogateControl, ShowTags: s.ShowTags,
			RequestControl: s.RequestCacheControl, Strict: s.Strict || n.config.Cluster.Strict,
		}
		if site.Access, err = accessList(s.Access); err != nil {
			return nil, fmt.Errorf("site %s: %w", s.Hosts[0], err)
		}
		if site.Limits, err = siteLimits(&s.Limits); err != nil {
			return nil, fmt.Errorf("site %s: %w", s.Hosts[0], err)
		}
		if site.Tokens, err = n.tokens(&s.Token); err != nil {
			return nil, fmt.Errorf("site %s: %w", s.Hosts[0], err)
		}
		if len(s.CORS) > 0 {
			site.CORS = edge.NewCORS(s.CORS...)
		}
		site.Reports = reports(s.CMCD, s.Pages)
		if site.Devices, err = devices(s.Devices, s.Pages); err != nil {
			return nil, fmt.Errorf("site %s: %w", s.Hosts[0], err)
		}
		for name, value := range s.Headers {
			if site.Headers == nil {
				site.Headers = http.Header{}
			}
			site.Headers.Set(name, value)
		}
		for _, name := range s.TargetedFields {
			site.Targeted = append(site.Targeted, http.CanonicalHeaderKey(name))
		}
		if s.Pages {
			api, err := n.newAPI(&s)
			if err != nil {
				return nil, fmt.Errorf("site %s: %w", s.Hosts[0], err)
			}
			site.Tailor = n.tailor(api, site.Tokens)
			pages, err := newPages(api, n.publicNodes)
			if err != nil {
				return nil, err
			}
			site.Pages = pages
		}
		if site.Tailor == nil && site.Tokens != nil {
			site.Tailor = n.tailor(nil, site.Tokens)
		}
		sites, r.names = append(sites, site), append(r.names, s.Hosts[0])
	}
	r.sites, err = edge.NewSites(sites...)
	return r, err
}

// drop lets go of what was made for routes that are not taken.
func (r *routes) drop(before *routes) {
	for key, group := range r.byURLs {
		if before.byURLs[key] != group {
			group.Close()
		}
	}
}

// accessList is nil where everybody may ask for everything.
func accessList(config []configs.Rule) (*access.List, error) {
	if len(config) == 0 {
		return nil, nil
	}
	rules := make([]access.Rule, len(config))
	for i, c := range config {
		r := access.Rule{
			Deny: c.Action == "deny", Countries: c.Countries, Methods: c.Methods, Paths: c.Paths, Referrers: c.Referrers, Agents: c.Agents,
		}
		for _, text := range c.Networks {
			network, err := netip.ParsePrefix(text)
			if err != nil {
				return nil, fmt.Errorf("access, rule %d: %w", i+1, err)
			}
			r.Networks = append(r.Networks, network.Masked())
		}
		for _, text := range c.Systems {
			number, err := strconv.ParseUint(strings.TrimPrefix(text, "AS"), 10, 32)
			if err != nil {
				return nil, fmt.Errorf("access, rule %d: %w", i+1, err)
			}
			r.Systems = append(r.Systems, uint32(number))
		}
		for _, text := range c.Times {
			window, err := access.ParseWindow(text)
			if err != nil {
				return nil, fmt.Errorf("access, rule %d: time %q: %w", i+1, text, err)
			}
			r.Times = append(r.Times, window)
		}
		rules[i] = r
	}
	return access.New(rules)
}

// origin finds or makes the group of a site's URLs.
func (n *node) origin(r, before *routes, site configs.Site) (*upstream.Group, error) {
	key := strings.Join(site.Origins, " ")
	if site.PrivateOrigins {
		key += " private"
	}
	if group := r.byURLs[key]; group != nil {
		return group, nil
	}
	group := before.byURLs[key]
	if group == nil {
		options := upstream.Options{URLs: site.Origins, Private: site.PrivateOrigins}
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
