package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/url"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
)

// Exit codes, as scripts may rely on them.
const (
	exitOK    = 0
	exitBad   = 1 // a viewer saw wrong bytes or gave up
	exitUsage = 2 // the command line is wrong
)

// command is the command line.
type command struct {
	Edges []string `arg:"" name:"edge-url" help:"Edges to watch from, such as https://edge-1.example.com; viewers are spread over them." placeholder:"URL"`

	Path      []string      `help:"Playlists to watch: HLS, multivariant or media; each viewer takes one by chance." default:"/vod/demo/master.m3u8" placeholder:"PATH"`
	Viewers   int           `help:"How many viewers." default:"100"`
	Ramp      time.Duration `help:"Time over which they arrive." default:"5s"`
	Duration  time.Duration `help:"How long all of it takes: who has seen a title to its end begins another one. Default: until the titles end."`
	Protocol  string        `help:"What viewers speak: h1, h2, h3, or mix for all that the edge's URL allows in turn." enum:"h1,h2,h3,mix" default:"mix"`
	Rendition string        `help:"What they choose: auto (by throughput), highest or lowest." enum:"auto,highest,lowest" default:"auto"`
	Buffer    time.Duration `help:"How far ahead they load." default:"30s"`
	Timeout   time.Duration `help:"How long they wait for a byte before they take an edge for dead." default:"8s"`
	Failover  bool          `help:"When an edge fails they go on at another one."`
	Fast      bool          `help:"Load segments as fast as they come, instead of as they are watched."`
	Seed      uint64        `help:"Same seed, same choices." default:"1"`
	Host      string        `help:"Host name to ask all edges for. Default: the one in their URL." placeholder:"NAME"`
	Origin    string        `name:"verify-against" help:"Also fetch every object once from here, and compare." placeholder:"URL"`
	CA        string        `name:"ca" help:"Trust the certificates in FILE (PEM), such as DIR/tls/ca.pem of an edge." placeholder:"FILE"`
	Insecure  bool          `help:"Trust every certificate."`
	JSON      bool          `name:"json" help:"Print JSON."`
	Quiet     bool          `short:"q" help:"No progress on the error output."`
}

// streams are where the command writes: a test gives its own.
type streams struct {
	out, err io.Writer
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends it at once
	code := run(ctx, os.Args[1:], streams{os.Stdout, os.Stderr}, nil)
	stop()
	os.Exit(code)
}

// run executes one command line and returns its exit code. dial is as in options.
func run(ctx context.Context, args []string, std streams, dial func(context.Context, string, string) (net.Conn, error)) int {
	var c command
	exited := -1
	parser, err := kong.New(&c, kong.Name("flood"), kong.Description("Flood plays many streams at once and reports what viewers saw."),
		kong.Writers(std.out, std.err), kong.ConfigureHelp(kong.HelpOptions{Compact: true}), kong.Exit(func(code int) { exited = code }))
	if err != nil {
		_, _ = fmt.Fprintln(std.err, "flood:", err)
		return exitUsage
	}
	_, err = parser.Parse(args)
	if exited >= 0 {
		return exited
	}
	var o *options
	if err == nil {
		o, err = c.options()
	}
	if err != nil {
		_, _ = fmt.Fprintf(std.err, "flood: %s (see flood --help)\n", err)
		return exitUsage
	}
	o.dial = dial
	return c.flood(ctx, o, std)
}

// flood plays and reports.
func (c *command) flood(ctx context.Context, o *options, std streams) int {
	f := newFlood(o)
	watched, stop := context.WithCancel(ctx)
	var watching sync.WaitGroup
	if !c.Quiet {
		watching.Go(func() { progress(watched, f, std.err) }) // ends with stop
	}
	f.run(ctx)
	stop()
	watching.Wait()
	r := f.report()
	write := r.print
	if c.JSON {
		write = r.printJSON
	}
	if err := write(std.out); err != nil || r.bad() {
		return exitBad
	}
	return exitOK
}

// options checks the command line.
func (c *command) options() (*options, error) {
	o := &options{
		titles: c.Path, host: c.Host, viewers: c.Viewers, ramp: c.Ramp, duration: c.Duration, target: c.Buffer, silence: c.Timeout,
		failover: c.Failover, fast: c.Fast, choice: choice(c.Rendition), seed: c.Seed, speak: []protocol{h1, h2, h3},
	}
	if c.Fast {
		o.target = math.MaxInt64 / 2 // never full
	}
	if c.Protocol != "mix" {
		o.speak = []protocol{protocol(c.Protocol)}
	}
	for _, text := range c.Edges {
		u, err := baseURL(text)
		if err != nil {
			return nil, err
		}
		if u.Scheme == "http" && (c.Protocol == "h2" || c.Protocol == "h3") {
			return nil, fmt.Errorf("%s cannot speak %s: give its https:// URL", text, c.Protocol)
		}
		o.edges = append(o.edges, u)
	}
	for _, p := range c.Path {
		if u, err := url.Parse(p); err != nil || u.Host != "" || !strings.HasPrefix(p, "/") {
			return nil, fmt.Errorf("--path %q is not a path such as /vod/demo/master.m3u8", p)
		}
	}
	if err := c.positive(); err != nil {
		return nil, err
	}
	if c.Origin != "" {
		u, err := baseURL(c.Origin)
		if err != nil {
			return nil, fmt.Errorf("--verify-against: %w", err)
		}
		o.origin = u
	}
	var err error
	o.tls, err = c.trust()
	return o, err
}

func (c *command) positive() error {
	switch {
	case c.Viewers <= 0:
		return fmt.Errorf("--viewers is %d, not 1 or more", c.Viewers)
	case c.Buffer <= 0 || c.Timeout <= 0:
		return errors.New("--buffer and --timeout must be longer than 0s")
	case c.Ramp < 0 || c.Duration < 0:
		return errors.New("--ramp and --duration cannot be negative")
	}
	return nil
}

func (c *command) trust() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: c.Host, InsecureSkipVerify: c.Insecure} //nolint:gosec // asked for
	if c.CA == "" {
		return config, nil
	}
	text, err := os.ReadFile(c.CA)
	if err != nil {
		return nil, fmt.Errorf("--ca: %w", err)
	}
	if config.RootCAs = x509.NewCertPool(); !config.RootCAs.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("--ca %s has no certificate in PEM", c.CA)
	}
	return config, nil
}

// baseURL reads http://HOST[:PORT] or https://….
func baseURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || !slices.Contains([]string{"http", "https"}, u.Scheme) || u.Host == "" {
		return nil, fmt.Errorf("%q is not a URL such as https://edge-1.example.com:8443", text)
	}
	if u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.User != nil {
		return nil, fmt.Errorf("%q has more than scheme and host: paths go into --path", text)
	}
	return &url.URL{Scheme: u.Scheme, Host: u.Host}, nil
}
