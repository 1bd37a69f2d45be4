package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReplay(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	trace, packed, chart := filepath.Join(dir, "trace"), filepath.Join(dir, "trace.xz"), filepath.Join(dir, "chart.svg")
	for name, text := range map[string]string{trace: strings.Repeat("1 7 100\n2 8 50\n3 7 100\n", 20), packed: "\xfd7zXZ\x00"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		args []string
		code int
		want string // in the output, or in the error
	}{
		{[]string{trace, "--sizes", "10,100"}, exitOK, "BYTE HIT"},
		{[]string{trace, "--sizes", "50", "--csv", "--svg", chart}, exitOK, "policy,share"},
		{[]string{trace, "--policy", "lru,belady", "--sizes", "50,100"}, exitOK, "lru"},
		{[]string{packed}, exitUsage, "xz -d"},
		{[]string{filepath.Join(dir, "none")}, exitUsage, "open the trace"},
		{[]string{trace, "--policy", "magic"}, exitUsage, "magic"},
		{[]string{trace, "--bytes", "0"}, exitUsage, "too small"},
		{[]string{trace, "--warm-up", "100"}, exitUsage, "--warm-up"},
	} {
		var out, errors strings.Builder
		code := run(t.Context(), append([]string{"replay"}, c.args...), streams{&out, &errors})
		if got := out.String() + errors.String(); code != c.code || !strings.Contains(got, c.want) || code != exitOK && strings.Count(got, "\n") != 1 {
			t.Errorf("replay %q: exit code %d, %q, want %d, %q", c.args, code, got, c.code, c.want)
		}
	}
	if svg, err := os.ReadFile(chart); err != nil || !strings.HasPrefix(string(svg), "<svg") {
		t.Errorf("the chart is %.20q, %v", svg, err)
	}
	var out strings.Builder
	if code := run(t.Context(), []string{"replay", trace, "--json", "--policy", "lru", "--bytes", "150"}, streams{&out, &out}); code != exitOK {
		t.Fatalf("exit code %d: %s", code, out.String())
	}
	var a replayed
	if err := json.Unmarshal([]byte(out.String()), &a); err != nil || len(a.Results) != 1 || a.Results[0].ObjectHit != 1 || a.Objects != 2 {
		t.Errorf("answer %+v, %v", a, err)
	}
}
