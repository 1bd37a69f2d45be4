package replay

import (
	"bytes"
	"fmt"
	"html"
	"io"
	"math"
	"slices"
)

// The chart's measures in pixels.
const (
	chartWidth, chartHeight = 860, 480
	plotLeft, plotTop       = 70, 64
	plotRight, plotBottom   = 690, 410
)

// lineColour is that of a policy: Weir's stands out, Belady's is the dashed bound.
func lineColour(policy string) (colour string, width float64, dash string) {
	switch policy {
	case "weir":
		return "#0b6e99", 3.5, ""
	case "s3fifo":
		return "#e07a1f", 2, ""
	case "arc":
		return "#4c9f50", 2, ""
	case "2q":
		return "#8d62b5", 2, ""
	case "lru":
		return "#8a8f98", 2, ""
	}
	return "#222222", 1.5, "6 4"
}

// Chart draws byte hit over the cache's size as SVG, a line for each policy, its name at the line's end. The sizes are
// on a logarithmic axis.
func Chart(w io.Writer, title string, results []Result) error {
	order, shares, cells := arrange(results)
	shares = slices.Sorted(slices.Values(shares))
	top := 0.0
	for _, r := range results {
		top = max(top, r.ByteHit)
	}
	p := plot{shares: shares, top: axisTop(top)}
	p.head(title)
	p.axes()
	ends := p.ends(order, cells)
	for i, name := range order {
		p.line(name, cells[name], ends[i])
	}
	p.printf("</svg>\n")
	_, err := w.Write(p.out.Bytes())
	return err
}

// plot is a chart being drawn.
type plot struct {
	out    bytes.Buffer
	shares []float64
	top    float64 // of the axis, a part of 1
}

func (p *plot) printf(format string, args ...any) {
	fmt.Fprintf(&p.out, format, args...)
}

// x places a share; a single one stands in the middle.
func (p *plot) x(share float64) float64 {
	first, last := math.Log(p.shares[0]), math.Log(p.shares[len(p.shares)-1])
	if last <= first {
		return (plotLeft + plotRight) / 2
	}
	return plotLeft + (math.Log(share)-first)/(last-first)*(plotRight-plotLeft)
}

func (p *plot) y(hit float64) float64 {
	return plotBottom - hit/p.top*(plotBottom-plotTop)
}

// axisTop rounds up to what divides into five or fewer round steps.
func axisTop(hit float64) float64 {
	for _, top := range []float64{0.05, 0.1, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.8} {
		if hit <= top {
			return top
		}
	}
	return 1
}

func (p *plot) head(title string) {
	p.printf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%[1]d" height="%[2]d" font-family="system-ui, sans-serif" font-size="13">`+"\n", chartWidth, chartHeight)
	p.printf(`<rect width="100%%" height="100%%" fill="#fff"/>` + "\n")
	p.printf(`<text x="%d" y="28" font-size="17" font-weight="600" fill="#1b1f24">Byte hit by cache size</text>`+"\n", plotLeft)
	p.printf(`<text x="%d" y="47" fill="#59616b">%s</text>`+"\n", plotLeft, html.EscapeString(title))
}

func (p *plot) axes() {
	steps := 5
	if p.top == 0.4 || p.top == 0.8 || p.top == 0.2 {
		steps = 4
	}
	for i := range steps + 1 {
		hit := p.top * float64(i) / float64(steps)
		y := p.y(hit)
		p.printf(`<line x1="%d" x2="%d" y1="%.1f" y2="%.1[3]f" stroke="#e3e6ea"/>`+"\n", plotLeft, plotRight, y)
		p.printf(`<text x="%d" y="%.1f" text-anchor="end" fill="#59616b">%s</text>`+"\n", plotLeft-10, y+4, percent(hit))
	}
	for _, s := range p.shares {
		p.printf(`<line x1="%.1f" x2="%.1[1]f" y1="%d" y2="%d" stroke="#9aa1aa"/>`+"\n", p.x(s), plotBottom, plotBottom+5)
		p.printf(`<text x="%.1f" y="%d" text-anchor="middle" fill="#59616b">%s</text>`+"\n", p.x(s), plotBottom+22, percent(s))
	}
	p.printf(`<line x1="%d" x2="%d" y1="%d" y2="%[3]d" stroke="#9aa1aa"/>`+"\n", plotLeft, plotRight, plotBottom)
	p.printf(`<text x="%d" y="%d" text-anchor="middle" fill="#59616b">cache, part of all bytes there are (logarithmic)</text>`+"\n", (plotLeft+plotRight)/2, plotBottom+48)
}

// ends places the names beside the lines' ends, pushed apart where they would overlap.
func (p *plot) ends(order []string, cells map[string]map[float64]Result) []float64 {
	const gap = 17
	last := p.shares[len(p.shares)-1]
	places := make([]float64, len(order))
	byHeight := make([]int, len(order))
	for i, name := range order {
		places[i], byHeight[i] = p.y(cells[name][last].ByteHit), i
	}
	slices.SortStableFunc(byHeight, func(a, b int) int { return int(math.Copysign(1, places[a]-places[b])) })
	for i := 1; i < len(byHeight); i++ {
		places[byHeight[i]] = max(places[byHeight[i]], places[byHeight[i-1]]+gap)
	}
	// What was pushed below the plot moves everything up again.
	bottom := float64(plotBottom)
	for _, i := range slices.Backward(byHeight) {
		places[i] = min(places[i], bottom)
		bottom = places[i] - gap
	}
	return places
}

func (p *plot) line(name string, cells map[float64]Result, end float64) {
	colour, width, dash := lineColour(name)
	p.printf(`<polyline fill="none" stroke="%s" stroke-width="%g" stroke-dasharray="%s" stroke-linejoin="round" points="`, colour, width, dash)
	for _, s := range p.shares {
		p.printf("%.1f,%.1f ", p.x(s), p.y(cells[s].ByteHit))
	}
	p.printf(`"/>` + "\n")
	for _, s := range p.shares {
		p.printf(`<circle cx="%.1f" cy="%.1f" r="%g" fill="%s"><title>%s at %s: %.1f%%</title></circle>`+"\n",
			p.x(s), p.y(cells[s].ByteHit), width+0.5, colour, html.EscapeString(name), percent(s), 100*cells[s].ByteHit)
	}
	last := p.shares[len(p.shares)-1]
	weight := "400"
	if name == "weir" {
		weight = "700"
	}
	p.printf(`<line x1="%.1f" y1="%.1f" x2="%d" y2="%.1f" stroke="%s" stroke-width="0.7"/>`+"\n", p.x(last), p.y(cells[last].ByteHit), plotRight+16, end, colour)
	p.printf(`<text x="%d" y="%.1f" fill="%s" font-weight="%s">%s  %.1f%%</text>`+"\n", plotRight+20, end+4, colour, weight, html.EscapeString(name), 100*cells[last].ByteHit)
}
