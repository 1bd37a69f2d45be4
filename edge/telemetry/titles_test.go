package telemetry

import (
	"fmt"
	"testing"
)

// TestTitles: the titles with most viewers have a series each, the others one together, so that names that clients send make
// no more of them.
func TestTitles(t *testing.T) {
	t.Parallel()
	m := newMetrics(t, MetricsOptions{})
	viewers := map[string]int{"film": 7, "news": 900, "other": 3}
	for i := range 1000 {
		viewers[fmt.Sprintf("rare-%03d", i)] = 2
	}
	if err := m.Titles(func() map[string]int { return viewers }); err != nil {
		t.Fatal(err)
	}
	lines := scrape(t, m, "weir_title_viewers{")
	if len(lines) != maxTitles+1 {
		t.Errorf("got %d series for 1003 titles, want %d", len(lines), maxTitles+1)
	}
	wantLines(t, scrape(t, m, `weir_title_viewers{title="film"}`), `weir_title_viewers{title="film"} 7`)
	wantLines(t, scrape(t, m, `weir_title_viewers{title="news"}`), `weir_title_viewers{title="news"} 900`)
	wantLines(t, scrape(t, m, `weir_title_viewers{title="other"}`), `weir_title_viewers{title="other"} 1807`) // 3, and 902 of 2
	if err := m.Titles(func() map[string]int { return nil }); err == nil {
		t.Error("they were added twice")
	}
}
