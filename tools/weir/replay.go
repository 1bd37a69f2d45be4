package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"weir/tools/replay"
)

// replayCommand runs a trace through cache policies.
type replayCommand struct {
	Trace string `arg:"" help:"The trace: a node's access log in JSON, CSV, lines \"time id bytes\", or binary ids; plain or .gz." placeholder:"FILE"`

	Sizes  []float64 `help:"Cache sizes in percent of the bytes of all objects." default:"0.1,1,5,10" placeholder:"PERCENT"`
	Bytes  []int64   `help:"Cache sizes in bytes, instead of --sizes." placeholder:"BYTES"`
	Policy []string  `help:"Policies to run: weir, s3fifo, arc, 2q, lru, belady. Default: all." placeholder:"NAME"`
	WarmUp float64   `help:"Percent of the requests, the first, that are not counted." default:"10" placeholder:"PERCENT"`
	JSON   bool      `name:"json" help:"Print JSON."`
	CSV    bool      `name:"csv" help:"Print CSV, a line for each policy and size."`
	SVG    string    `name:"svg" help:"Draw the byte hits into FILE." placeholder:"FILE"`
}

// replayed is the command's answer.
type replayed struct {
	Trace          string          `json:"trace"`
	Format         string          `json:"format"`
	Requests       int             `json:"requests"`
	Objects        int             `json:"objects"`
	FootprintBytes int64           `json:"footprint_bytes"`
	RequestedBytes int64           `json:"requested_bytes"`
	Results        []replay.Result `json:"results"`
}

// Run plays the trace through every policy with every size.
func (c *replayCommand) Run(ctx context.Context, std streams) error {
	policies, err := c.policies()
	if err != nil {
		return usageError{err}
	}
	trace, err := readTrace(c.Trace)
	if err != nil {
		return err
	}
	a := replayed{
		Trace: filepath.Base(c.Trace), Format: trace.Format, Requests: len(trace.Requests), Objects: len(trace.Objects),
		FootprintBytes: trace.Footprint(), RequestedBytes: trace.Requested(),
	}
	budgets, err := c.budgets(a.FootprintBytes)
	if err != nil {
		return usageError{err}
	}
	for _, p := range policies {
		for _, budget := range budgets {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			result, err := replay.Run(trace, p, budget, c.WarmUp/100)
			if err != nil {
				return err
			}
			a.Results = append(a.Results, result)
		}
	}
	if c.SVG != "" {
		if err := c.draw(&a); err != nil {
			return err
		}
	}
	return c.print(std.out, &a)
}

func readTrace(name string) (*replay.Trace, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, usageError{fmt.Errorf("open the trace: %w", err)}
	}
	defer f.Close()
	trace, err := replay.Read(f)
	if errors.Is(err, replay.ErrFormat) {
		return nil, usageError{fmt.Errorf("%s: %w", name, err)}
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return trace, nil
}

func (c *replayCommand) policies() ([]replay.Policy, error) {
	all := replay.Policies()
	if c.WarmUp < 0 || c.WarmUp >= 100 {
		return nil, fmt.Errorf("--warm-up is %g, not from 0 to 100", c.WarmUp)
	}
	if len(c.Policy) == 0 {
		return all, nil
	}
	var chosen []replay.Policy
	for _, name := range c.Policy {
		i := slices.IndexFunc(all, func(p replay.Policy) bool { return p.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("--policy %q is none of weir, s3fifo, arc, 2q, lru, belady", name)
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}

func (c *replayCommand) budgets(footprint int64) (list []int64, err error) {
	list = append(list, c.Bytes...)
	if len(list) == 0 {
		for _, size := range c.Sizes {
			list = append(list, int64(float64(footprint)*size/100))
		}
	}
	for _, n := range list {
		if n <= 0 {
			return nil, fmt.Errorf("a cache of %d bytes is too small", n)
		}
	}
	return list, nil
}

func (c *replayCommand) draw(a *replayed) error {
	f, err := os.Create(c.SVG)
	if err != nil {
		return usageError{fmt.Errorf("draw the chart: %w", err)}
	}
	title := fmt.Sprintf("%s: %d requests for %d objects of %s", a.Trace, a.Requests, a.Objects, size(a.FootprintBytes))
	return errors.Join(replay.Chart(f, title, a.Results), f.Close())
}

func (c *replayCommand) print(w io.Writer, a *replayed) error {
	switch {
	case c.JSON:
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(a)
	case c.CSV:
		return replay.CSV(w, a.Results)
	}
	fmt.Fprintf(w, "%s (%s): %d requests for %s, %d objects of %s\n\n", a.Trace, a.Format, a.Requests, size(a.RequestedBytes), a.Objects, size(a.FootprintBytes))
	if err := replay.Table(w, a.Results); err != nil {
		return err
	}
	fmt.Fprintf(w, "The first %g%% of the requests are not counted. Belady knows the future: no cache can do much better.\n", c.WarmUp)
	return nil
}
