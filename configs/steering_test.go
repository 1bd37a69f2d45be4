package configs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestLoadSteering(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, test := range []struct{ name, text, want string }{
		{"all keys", `
server: https://steer.example.com
ttl: 30s
spread: 3
weight: 2
pathways:
  - id: b
    host: b.example.com:8443
    weight: 1
    hours: [{when: "Mon-Fri 18:00-23:00 Europe/Berlin", weight: 4}]
    contract: {from: 2026-01-01, until: 2026-02-01T00:00:00+01:00, volume: 500TB, served: 1GB}
    regions: [eu]
    params: {k: v}
`, ""},
		{"empty", "# nothing\n", ""},
		{"another key", "ttl: 1s\nspreads: 3\n", "policy:2:1: spreads: no such key"},
		{"no unit", "ttl: 1\n", "policy:1:1: ttl: 1 has no unit"},
		{"a bad value", "weight: 1\npathways:\n  - {id: a, host: \"\"}\n", "policy:3:"},
		{"a file of its own", "policy_file: x\n", "policy:1:1: policy_file: stands in a policy file"},
	} {
		path := filepath.Join(dir, "policy")
		if err := os.WriteFile(path, []byte(test.text), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := LoadSteering(path)
		switch {
		case test.want == "" && err != nil, test.want != "" && (err == nil || !strings.Contains(strings.ReplaceAll(err.Error(), dir+"/", ""), test.want)):
			t.Errorf("%s: got %v, want %q", test.name, err, test.want)
		case test.name == "all keys":
			if p := s.Pathways[0]; s.TTL.D() != 30*time.Second || p.Hours[0].Weight != 4 || p.Contract.Volume != 500e12 || p.Params["k"] != "v" {
				t.Errorf("got %+v", s)
			}
		}
	}
	if _, err := LoadSteering(filepath.Join(dir, "none")); err == nil || !strings.Contains(err.Error(), "read steering policy") {
		t.Errorf("no file: got %v", err)
	}
}
