package main

import (
	"encoding/json"
	"strings"
	"testing"

	"weir/edge/console"
)

func TestWhyCommand(t *testing.T) {
	t.Parallel()
	s := newShelf(t)
	why := func(args ...string) (code int, out, err string) {
		return try(t, append([]string{"why", "--admin", s.admin, "--dir", s.dir}, args...)...)
	}
	const address = "http://v.example/a"
	_, out, _ := why(address)
	if !strings.HasPrefix(out, "miss: Nothing is stored. This node would ask the origin.") {
		t.Errorf("before: %s", out)
	}
	s.get("/a")
	s.get("/a")
	for _, want := range []string{"hit: It is stored and fresh for another ", "v.example/a", "fwd=uri-miss", "origin"} {
		if _, out, _ = why(address); !strings.Contains(out, want) {
			t.Errorf("stored: %s does not say %q", out, want)
		}
	}
	s.purge("--tag", "nobody")
	s.purge("--prefix", "http://v.example/", "--soft")
	if _, out, _ = why(address); !strings.HasPrefix(out, "stale: ") {
		t.Errorf("after a soft purge: %s", out)
	}
	s.purge("--prefix", "http://v.example/")
	if _, out, _ = why(address); !strings.HasPrefix(out, "purged: ") {
		t.Errorf("after a hard purge: %s", out)
	}
	var w console.Why
	code, out, _ := why("--json", address)
	if err := json.Unmarshal([]byte(out), &w); err != nil || code != exitOK || w.Key != "v.example/a" || len(w.Past) != 1 || w.Past[0].Outcome != "miss" || w.Past[0].Status != 200 {
		t.Errorf("weir why --json: %d %s %v", code, out, err)
	}
	for _, bad := range []string{"v.example/a", "http://v.example/../a"} {
		if code, _, err := why(bad); code == exitOK || err == "" {
			t.Errorf("%s: exit code %d, %q", bad, code, err)
		}
	}
}
