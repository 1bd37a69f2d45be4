package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"weir/cache/tag"
	"weir/edge"
	"weir/edge/console"
)

// purge obeys an operator's purge on this node, then has all others obey it.
func (n *node) purge(ctx context.Context, p console.Purge) (console.Receipt, error) {
	select { // who is to obey is known only then
	case <-n.cluster.Ready():
	case <-ctx.Done():
		return console.Receipt{}, ctx.Err()
	}
	n.awaitRegions(ctx)
	plan, err := n.edge.Plan(tag.Kind(p.Kind), p.Items, p.Soft)
	if err != nil {
		return console.Receipt{}, purgeMistake(p, err)
	}
	removed, err := n.edge.Apply(plan)
	n.log.Info("purge", "id", plan.ID, "kind", string(plan.Kind), "items", plan.Items, "soft", plan.Soft, "removed", removed)
	unsure := errors.Is(err, errNotFollowed)
	if err != nil && !unsure {
		return console.Receipt{}, fmt.Errorf("the purge holds on this node alone and until it restarts, and could not be kept for later: %w; make room under %s and send it again", err, n.config.Node.Dir)
	}
	now := time.Now()
	when := now.Add(-n.purges.Time(now).Sub(plan.Time)) // by the machine's clock
	receipt := console.Receipt{
		ID: plan.ID, Time: when.UTC(), Kind: p.Kind, Items: plan.Items, Soft: plan.Soft,
		Nodes: []console.NodeReceipt{{Node: n.config.Node.Name, Region: n.config.Node.Region, State: console.Applied, Time: &now, Removed: removed}},
	}
	if unsure {
		own := &receipt.Nodes[0]
		own.State, own.Time, own.Error = console.Missing, nil, strings.TrimPrefix(errNotFollowed.Error(), "weir: ")
	}
	others, err := n.spread(ctx, plan)
	receipt.Nodes = append(receipt.Nodes, others...)
	return receipt, err
}

// purgeMistake says which field of the request an error is about.
func purgeMistake(p console.Purge, err error) error {
	field, fix := p.Kind, "Name an absolute URL of a host that this node serves, such as https://video.example.com/vod/demo/master.m3u8."
	switch p.Kind {
	case string(tag.Prefix):
		fix = "Name the beginning of an absolute URL of a host that this node serves, such as https://video.example.com/vod/demo/."
	case string(tag.Tag):
		fix = "Name tags as responses list them in Surrogate-Key, Cache-Tag, Edge-Cache-Tag or Cache-Groups."
	}
	reason := strings.TrimPrefix(err.Error(), "edge: ")
	if wrong := (*edge.ItemError)(nil); errors.As(err, &wrong) {
		reason = fmt.Sprintf("%q: %s", wrong.Item, strings.TrimPrefix(wrong.Err.Error(), "edge: "))
		if len(p.Items) > 1 {
			field = fmt.Sprintf("%s[%d]", listOf(p.Kind), wrong.Index)
		}
	}
	return &console.FieldError{Field: field, Reason: "It cannot be purged: " + reason + ".", Fix: fix}
}

// listOf is the member of a request that lists items of a kind.
func listOf(kind string) string {
	if kind == string(tag.Prefix) {
		return "prefixes"
	}
	return kind + "s"
}

// purgeCommand has a node forget stored responses.
type purgeCommand struct {
	adminFlags

	URLs     []string `arg:"" optional:"" name:"url" help:"URLs, each with all its variants; a path alone is one on localhost."`
	Prefixes []string `name:"prefix" sep:"none" help:"Every URL that begins so." placeholder:"URL"`
	Tags     []string `name:"tag" sep:"none" help:"Every response that lists the tag in Surrogate-Key, Cache-Tag, Edge-Cache-Tag or Cache-Groups." placeholder:"TAG"`
	All      bool     `help:"Everything."`
	Soft     bool     `help:"Make responses stale: revalidate them, and serve them meanwhile where their origin allows it."`
}

// Run purges and prints the receipt; a node that has not acknowledged makes the exit code 1.
func (c *purgeCommand) Run(ctx context.Context, std streams) error {
	request, err := c.request()
	if err != nil {
		return usageError{err}
	}
	body, err := c.send(ctx, "POST", "/v1/purge", request)
	if err != nil {
		return err
	}
	var receipt console.Receipt
	if err := json.Unmarshal(body, &receipt); err != nil {
		return fmt.Errorf("read the receipt: %w", err)
	}
	if !c.JSON {
		printReceipt(std.out, &receipt)
	} else if _, err := std.out.Write(body); err != nil {
		return err
	}
	if missing := receipt.Missing(); len(missing) > 0 {
		return fmt.Errorf("not acknowledged by %s: what is stored there may be served until it can be reached", strings.Join(missing, ", "))
	}
	return nil
}

// request is the body that says what to purge: of one kind.
func (c *purgeCommand) request() ([]byte, error) {
	purge := map[string]any{}
	for kind, items := range map[string][]string{"urls": c.URLs, "prefixes": c.Prefixes, "tags": c.Tags} {
		if len(items) == 0 {
			continue
		}
		if kind != "tags" {
			for i := range items {
				if strings.HasPrefix(items[i], "/") {
					items[i] = "https://localhost" + items[i]
				}
			}
		}
		purge[kind] = items
	}
	if c.All {
		purge["all"] = true
	}
	switch len(purge) {
	case 0:
		return nil, errors.New("name what to purge: URLs, --prefix URL, --tag TAG or --all")
	case 1:
	default:
		return nil, errors.New("URLs, --prefix, --tag and --all are purges of their own: run one command for each")
	}
	if c.Soft {
		purge["soft"] = true
	}
	return json.Marshal(purge)
}

func printReceipt(w io.Writer, r *console.Receipt) {
	how := "hard: what is stored is not served any more"
	if r.Soft {
		how = "soft: what is stored is stale"
	}
	fmt.Fprintf(w, "%s  %s\n", r.ID, how)
	fmt.Fprintf(w, "%s  what was asked of the origin later stays\n\n", r.Time.Local().Format(time.RFC3339Nano))
	for _, item := range r.Items {
		fmt.Fprintf(w, "%s %s\n", r.Kind, item)
	}
	if len(r.Items) == 0 {
		fmt.Fprintln(w, r.Kind)
	}
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NODE\tSTATE\tREMOVED AT ONCE\tAT\tREGION\t")
	for _, n := range r.Nodes {
		at := "-"
		if n.Time != nil {
			at = n.Time.Local().Format("15:04:05.000")
		}
		fmt.Fprintf(t, "%s\t%s\t%d\t%s\t%s\t%s\n", cmp.Or(n.Node, "(all)"), n.State, n.Removed, at, cmp.Or(n.Region, "-"), n.Error)
	}
	_ = t.Flush()
}
