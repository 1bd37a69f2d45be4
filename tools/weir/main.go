// Command weir is the whole of Weir: edge node, origin, and the tools of their
// operators.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"
)

// Exit codes, as scripts may rely on them.
const (
	exitOK     = 0
	exitFailed = 1 // the work could not be done
	exitUsage  = 2 // the command line or the configuration is wrong
)

// commands is the command line; each field is a subcommand with its own file.
type commands struct {
	Up      upCommand      `cmd:"" help:"Run an origin and a cluster of edges on this machine, with the sample title and a player page."`
	Edge    edgeCommand    `cmd:"" help:"Run an edge node."`
	Origin  originCommand  `cmd:"" help:"Serve a folder of MP4 files as HLS and DASH."`
	Status  statusCommand  `cmd:"" help:"Show how a node is."`
	Ring    ringCommand    `cmd:"" help:"Show who owns a URL, and the members of the cluster."`
	Why     whyCommand     `cmd:"" help:"Explain what a node makes of a URL: what is stored, whom it asks, what it did lately."`
	Purge   purgeCommand   `cmd:"" help:"Have a node serve URLs, prefixes, tags or everything anew."`
	Reload  reloadCommand  `cmd:"" help:"Have a node read its configuration and its certificates again."`
	Token   tokenCommand   `cmd:"" help:"Make, check and read access tokens and signed URLs."`
	Replay  replayCommand  `cmd:"" help:"Play a trace of requests through cache policies, and tell what each would have saved."`
	Upgrade upgradeCommand `cmd:"" help:"Have a running node replaced by what its program is now, without losing a connection."`
	Config  configCommand  `cmd:"" help:"Check or print a configuration."`
	Version versionCommand `cmd:"" help:"Show version and build."`
}

// streams are where a command reads and writes: a test gives its own.
type streams struct {
	out, err io.Writer
}

// usageError is a mistake of the caller's: exit code 2.
type usageError struct{ error }

func (u usageError) Unwrap() error { return u.error }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	code := run(ctx, os.Args[1:], streams{os.Stdout, os.Stderr})
	stop()
	os.Exit(code)
}

// run executes one command line and returns its exit code.
func run(ctx context.Context, args []string, std streams) int {
	var c commands
	exited := -1
	parser, err := kong.New(&c, kong.Name("weir"), kong.Description("Weir delivers segmented video: many viewers, few trips upstream."),
		kong.Writers(std.out, std.err), kong.UsageOnError(), kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.Exit(func(code int) { exited = code }), kong.BindTo(ctx, (*context.Context)(nil)), kong.Bind(std))
	if err != nil {
		fmt.Fprintln(std.err, "weir:", err)
		return exitFailed
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	parsed, err := parser.Parse(args)
	if exited >= 0 {
		return exited
	}
	if err != nil {
		fmt.Fprintf(std.err, "weir: %s (see weir %s--help)\n", err, subcommand(args))
		return exitUsage
	}
	err = parsed.Run()
	switch usage := (usageError{}); {
	case err == nil:
		return exitOK
	case errors.As(err, &usage):
		fmt.Fprintf(std.err, "weir: %s\n", err)
		return exitUsage
	default:
		fmt.Fprintf(std.err, "weir: %s\n", err)
		return exitFailed
	}
}

func subcommand(args []string) string {
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		return args[0] + " "
	}
	return ""
}
