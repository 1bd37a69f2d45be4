package proof

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// requestCommand is client and start.
type requestCommand struct {
	client, url string
	urls        numbered // url
	node        string   // or a pattern: the requests go round
	but         string   // a node or pattern that is not asked all the same
	background  bool
	options     Options
	protocol    Protocol
	count       int           // how many
	during      time.Duration // how long it takes to begin them all; 0: all at once
	unchecked   bool          // wrong bodies are the script's business
	fresh       bool          // a new connection each
}

func parseStart(args []string) (command, error) {
	c, err := parseRequest(args)
	if err != nil {
		return nil, err
	}
	c.(*requestCommand).background = true
	return c, nil
}

func parseRequest(args []string) (command, error) {
	if err := need(args, 5, -1, "NAME METHOD URL via NODE […]"); err != nil {
		return nil, err
	}
	c := &requestCommand{client: args[0], url: args[2], node: args[4], count: 1, protocol: H1}
	c.options.Method = args[1]
	var err error
	if c.urls, err = parseNumbered(args[2]); err != nil {
		return nil, err
	}
	u, err := url.Parse(c.urls.sequence().next())
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("%q is not a URL of http or https", args[2])
	}
	if args[1] != http.MethodGet && args[1] != http.MethodHead {
		return nil, fmt.Errorf("method %q is not GET or HEAD", args[1])
	}
	if args[3] != "via" {
		return nil, fmt.Errorf("%q where via belongs", args[3])
	}
	for rest := args[5:]; len(rest) > 0; {
		used, err := c.word(rest)
		if err != nil {
			return nil, err
		}
		rest = rest[used:]
	}
	return c, nil
}

// word reads one further word of a request, with its argument.
func (c *requestCommand) word(rest []string) (used int, err error) {
	switch rest[0] {
	case "unchecked":
		c.unchecked = true
		return 1, nil
	case "fresh":
		c.fresh = true
		return 1, nil
	}
	if count, ok := strings.CutPrefix(rest[0], "x"); ok {
		if c.count, err = strconv.Atoi(count); err != nil || c.count < 1 || c.count > 1_000_000 {
			return 0, fmt.Errorf("%q is not a count like x1000", rest[0])
		}
		return 1, nil
	}
	if len(rest) < 2 {
		return 0, fmt.Errorf("%q is unknown, or lacks its argument", rest[0])
	}
	arg := rest[1]
	switch rest[0] {
	case "header":
		name, value, ok := strings.Cut(arg, ":")
		if !ok {
			return 0, fmt.Errorf("header %q has no colon", arg)
		}
		if c.options.Header == nil {
			c.options.Header = http.Header{}
		}
		c.options.Header.Add(name, strings.TrimSpace(value))
	case "range":
		c.options.Range = "bytes=" + strings.TrimPrefix(arg, "bytes=")
	case "host":
		c.options.Host = arg
	case "truth":
		c.options.Truth = arg
	case "as":
		c.options.As = arg
	case "rate":
		c.options.Rate, err = ParseSize(arg)
	case "stop":
		c.options.StopAfter, err = ParseSize(arg)
	case "but":
		c.but = arg
	case "during":
		c.during, err = parseDuration(arg)
	case "over":
		c.protocol = Protocol(arg)
		if c.protocol != H1 && c.protocol != H2 {
			err = fmt.Errorf("protocol %q is not h1 or h2", arg)
		}
	default:
		err = fmt.Errorf("%q is unknown", rest[0])
	}
	return 2, err
}

func (c *requestCommand) run(r *runner) error {
	clients, err := r.clientsOf(c)
	if err != nil {
		return err
	}
	if old := r.groups[c.client]; old != nil {
		if old.running {
			return errors.New("this client is still busy: wait for it, or name another one")
		}
		if err := old.unexplained(); err != nil {
			return fmt.Errorf("before this, line %d: %w", old.line, err)
		}
	}
	g := &group{line: r.line(c), results: make([]Result, c.count), running: true, unchecked: c.unchecked}
	r.groups[c.client], r.last = g, c.client
	g.done.Go(func() { c.send(r.ctx, g, clients) })
	if c.background {
		return nil
	}
	return g.wait()
}

// send begins the requests, in turn at each client's node.
func (c *requestCommand) send(ctx context.Context, g *group, clients []*Client) {
	start, urls := time.Now(), c.urls.sequence()
	for i := range c.count {
		due := start.Add(c.during * time.Duration(i) / time.Duration(c.count))
		if !pause(ctx, time.Until(due), nil) {
			break
		}
		target, client := urls.next(), clients[i%len(clients)]
		g.done.Go(func() { g.results[i] = client.Get(ctx, target, c.options) })
	}
}

// line finds the line of a command, for messages.
func (r *runner) line(c command) int {
	for _, s := range r.script.Steps {
		if s.command == c {
			return s.Line
		}
	}
	return 0
}

// clientsOf returns one client per node that the command names.
func (r *runner) clientsOf(c *requestCommand) ([]*Client, error) {
	nodes, err := r.matching(c.node)
	if err != nil {
		return nil, err
	}
	nodes = slices.DeleteFunc(nodes, func(node string) bool {
		ok, _ := path.Match(c.but, node) // a bad pattern matches nothing
		return ok
	})
	if len(nodes) == 0 {
		return nil, fmt.Errorf("no node is left of %q but %q", c.node, c.but)
	}
	clients := make([]*Client, len(nodes))
	for i, node := range nodes {
		if clients[i], err = r.client(c, node); err != nil {
			return nil, err
		}
	}
	return clients, nil
}

func (r *runner) client(c *requestCommand, node string) (*Client, error) {
	key := clientKey{c.client, node, c.protocol, strings.HasPrefix(c.url, "https:"), c.fresh}
	if r.clients[key] != nil {
		return r.clients[key], nil
	}
	client, err := NewClient(ClientOptions{
		Oracle: r.oracle, Protocol: c.protocol, Name: c.client, Node: node, History: r.history, Fresh: c.fresh,
		TLS: &tls.Config{InsecureSkipVerify: true}, // certificates are not what scenarios are about
		Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return r.lab.Dial(ctx, key.name, key.node, key.secure)
		},
	})
	r.clients[key] = client
	return client, err
}
