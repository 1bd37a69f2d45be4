package replay

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
)

// Table writes results as aligned text: a row for each policy, a column for each budget, byte hit over object hit.
func Table(w io.Writer, results []Result) error {
	order, shares, cells := arrange(results)
	for _, part := range []struct {
		name string
		of   func(Result) float64
	}{
		{"BYTE HIT", func(r Result) float64 { return r.ByteHit }},
		{"OBJECT HIT", func(r Result) float64 { return r.ObjectHit }},
	} {
		var rows strings.Builder
		rows.WriteString(part.name + "\t")
		for _, s := range shares {
			rows.WriteString(percent(s) + "\t")
		}
		for _, name := range order {
			rows.WriteString("\n" + name + "\t")
			for _, s := range shares {
				fmt.Fprintf(&rows, "%.1f\t", 100*part.of(cells[name][s]))
			}
		}
		rows.WriteString("\n\n")
		t := tabwriter.NewWriter(w, 0, 0, 3, ' ', tabwriter.AlignRight)
		_, err := io.WriteString(t, rows.String())
		if err = errors.Join(err, t.Flush()); err != nil {
			return err
		}
	}
	return nil
}

// CSV writes a line for each result, to be plotted.
func CSV(w io.Writer, results []Result) error {
	c := csv.NewWriter(w)
	_ = c.Write([]string{"policy", "share", "budget_bytes", "requests", "bytes", "object_hit", "byte_hit"}) // Error has it
	number := func(n int64) string { return strconv.FormatInt(n, 10) }
	part := func(f float64) string { return strconv.FormatFloat(f, 'f', 6, 64) }
	for _, r := range results {
		_ = c.Write([]string{r.Policy, part(r.Share), number(r.BudgetBytes), number(r.Requests), number(r.Bytes), part(r.ObjectHit), part(r.ByteHit)})
	}
	c.Flush()
	return c.Error()
}

// arrange finds the policies and the budgets' shares, in the order of the results.
func arrange(results []Result) (order []string, shares []float64, cells map[string]map[float64]Result) {
	cells = map[string]map[float64]Result{}
	seen := map[float64]bool{}
	for _, r := range results {
		if cells[r.Policy] == nil {
			cells[r.Policy] = map[float64]Result{}
			order = append(order, r.Policy)
		}
		if !seen[r.Share] {
			seen[r.Share] = true
			shares = append(shares, r.Share)
		}
		cells[r.Policy][r.Share] = r
	}
	return order, shares, cells
}

// percent prints a part of 1 with two digits that count, three from ten on.
func percent(part float64) string {
	digits := 2
	if part >= 0.1 {
		digits = 3
	}
	return strconv.FormatFloat(100*part, 'g', digits, 64) + "%"
}
