package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"weir/edge"
	"weir/edge/console"
)

// why explains an absolute URL to an operator.
func (n *node) why(text string) (console.Why, error) {
	w, err := n.edge.Why(text)
	if err != nil {
		return console.Why{}, err
	}
	out := console.Why{Key: w.Key, Hosts: w.Hosts, State: w.State, Ask: asks(w), Past: []console.Past{}}
	for _, p := range w.Past {
		out.Past = append(out.Past, console.Past{
			Time: p.Time, Outcome: p.Outcome.String(), CacheStatus: p.Detail, Reason: p.Reason, Source: p.Source, Status: p.Status, Seconds: p.Duration.Seconds(),
		})
	}
	if s := w.Stored; s != nil {
		out.Stored = &console.Stored{
			Status: s.Status, Bytes: s.Bytes, Growing: s.Growing, Slices: s.Slices, SlicesPresent: s.Present, Fetched: s.Fetched,
			Age: s.Age.Seconds(), Lifetime: s.Lifetime.Seconds(), Vary: s.Vary,
			CacheControl: strings.Join(s.Header["Cache-Control"], ", "), ETag: s.Header.Get("Etag"), LastModified: s.Header.Get("Last-Modified"),
		}
	}
	out.Why = whySentence(w, out.Ask)
	return out, nil
}

// asks names who is asked on a miss, and as what.
func asks(w *edge.Why) (list []string) {
	for _, a := range w.Ask {
		list = append(list, a.String())
	}
	return list
}

func whySentence(w *edge.Why, ask []string) string {
	asks := "This node would ask " + strings.Join(ask, ", then ") + "."
	switch {
	case w.State == "misdirected":
		return "No site here serves this host: the answer is 421."
	case w.State == "hit" && w.Stored.Slices > w.Stored.Present:
		return fmt.Sprintf("The head is stored and fresh for another %s; of %d slices %d are stored.", ttl(w.Stored), w.Stored.Slices, w.Stored.Present)
	case w.State == "hit":
		return "It is stored and fresh for another " + ttl(w.Stored) + "."
	case w.State == "stale" && len(w.Stored.Vary) > 0:
		return "It is stored and stale since " + ttl(w.Stored) + ", for requests without " + strings.Join(w.Stored.Vary, ", ") + ". " + asks
	case w.State == "stale":
		return "It is stored and stale since " + ttl(w.Stored) + ". " + asks
	case w.State == "purged":
		return "What is stored was purged. " + asks
	}
	return "Nothing is stored. " + asks
}

// ttl is how far the end of the lifetime is away, in either direction.
func ttl(s *edge.Stored) string { return (s.Lifetime - s.Age).Abs().Round(time.Second).String() }

// whyCommand explains what a node makes of a URL.
type whyCommand struct {
	adminFlags

	URL string `arg:"" help:"The URL; a path alone is one on localhost."`
}

// Run prints what is stored, who would be asked, and the last requests that were no hits.
func (c *whyCommand) Run(ctx context.Context, std streams) error {
	if strings.HasPrefix(c.URL, "/") {
		c.URL = "https://localhost" + c.URL
	}
	body, err := c.ask(ctx, "/v1/why?url="+url.QueryEscape(c.URL))
	if err != nil {
		return err
	}
	if c.JSON {
		_, err = std.out.Write(body)
		return err
	}
	var w console.Why
	if err := json.Unmarshal(body, &w); err != nil {
		return fmt.Errorf("read the explanation: %w", err)
	}
	printWhy(std.out, &w)
	return nil
}

func printWhy(out io.Writer, w *console.Why) {
	fmt.Fprintf(out, "%s: %s\n\n", w.State, w.Why)
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "key\t%s\n", w.Key)
	fmt.Fprintf(t, "asks\t%s\n", strings.Join(w.Ask, ", "))
	if s := w.Stored; s != nil {
		bytes := "growing"
		if s.Bytes >= 0 {
			bytes = size(s.Bytes)
		}
		fmt.Fprintf(t, "stored\t%d, %s", s.Status, bytes)
		if s.Slices > 0 {
			fmt.Fprintf(t, ", %d of %d slices", s.SlicesPresent, s.Slices)
		}
		fmt.Fprintf(t, "\nage\t%s of %s\n", seconds(s.Age), seconds(s.Lifetime))
		for _, f := range [...][2]string{
			{"Cache-Control", s.CacheControl}, {"ETag", s.ETag}, {"Last-Modified", s.LastModified}, {"Vary", strings.Join(s.Vary, ", ")},
		} {
			if f[1] != "" {
				fmt.Fprintf(t, "%s\t%s\n", f[0], f[1])
			}
		}
	}
	_ = t.Flush()
	if len(w.Past) == 0 {
		return
	}
	fmt.Fprintln(out, "\nLately, not from the cache:")
	for _, p := range w.Past {
		fmt.Fprintf(t, "%s\t%s\t%d\t%s\tin %s\t%s\n", p.Time.Local().Format(time.TimeOnly), p.Outcome, p.Status, dash(p.Source), seconds(p.Seconds), dash(p.CacheStatus+p.Reason))
	}
	_ = t.Flush()
}

// seconds prints a duration that is a number of them.
func seconds(s float64) string {
	d := time.Duration(s * float64(time.Second))
	if d >= 10*time.Second {
		return d.Round(time.Second).String()
	}
	return d.Round(time.Millisecond).String()
}
