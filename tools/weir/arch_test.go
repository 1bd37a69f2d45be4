package main

import (
	"bufio"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// arrows is the whole dependency policy: "a: b c" lets package a import b and c.
// A package that is not listed may not exist; an arrow that is not used must go.
const arrows = `
cache/freshness:
cache/policy:    github.com/hashicorp/golang-lru/v2
cache/disk:      golang.org/x/sys
cache/tag:
cache:           cache/freshness cache/policy cache/disk
cluster/notice:
cluster/ring:
cluster:         cluster/ring github.com/hashicorp/memberlist
edge/field:
edge/byterange:
edge/limit:
edge/manifest:
edge/cmcd:
edge/access:     github.com/oschwald/maxminddb-golang/v2
edge/token:      github.com/fxamacker/cbor/v2 github.com/veraison/go-cose
edge/upstream:
edge/front:      github.com/caddyserver/certmagic github.com/quic-go/quic-go go.uber.org/zap golang.org/x/crypto golang.org/x/net golang.org/x/sys
edge:            cache cache/freshness cache/tag cluster/ring edge/field edge/byterange edge/upstream edge/access edge/limit edge/manifest edge/cmcd edge/token
edge/player:
edge/session:
edge/quality:
edge/sdk:        edge/session edge/limit edge/cmcd
edge/console:
edge/telemetry:  github.com/grafana/pyroscope-go github.com/prometheus/client_golang
origin/cmaf:     github.com/Eyevinn/mp4ff
origin/hls:
origin/dash:
origin/asset:
origin:          origin/asset origin/cmaf origin/hls origin/dash
configs:         github.com/goccy/go-yaml
tools/proof:     github.com/quic-go/quic-go
tools/proof/quicraw:
tools/flood:     tools/proof github.com/alecthomas/kong github.com/quic-go/quic-go
tools/replay:    cache/policy github.com/hashicorp/golang-lru/v2
tools/weir:      cache cache/tag cluster cluster/notice cluster/ring edge edge/access edge/limit edge/front edge/upstream edge/player edge/sdk edge/session edge/quality edge/cmcd edge/console edge/telemetry origin origin/asset configs tools/replay github.com/alecthomas/kong golang.org/x/sys edge/manifest edge/token
`

const maxLines = 600 // per source file; 80 % of the anchors' files are shorter

func TestArchitecture(t *testing.T) {
	const module, root = "weir", "../.."
	allowed := map[string][]string{}
	for line := range strings.Lines(arrows) {
		if pkg, deps, ok := strings.Cut(line, ":"); ok {
			allowed[pkg] = strings.Fields(deps)
		}
	}
	used := map[string]bool{}
	documented := map[string]bool{}
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && d.Name() == "node_modules" {
			return filepath.SkipDir
		}
		if err != nil || d.IsDir() || !strings.HasSuffix(p, ".go") || strings.HasSuffix(p, "_test.go") {
			return err
		}
		rel, _ := filepath.Rel(root, p)
		pkg := path.Dir(filepath.ToSlash(rel))
		deps, ok := allowed[pkg]
		if !ok {
			t.Errorf("%s: package %s is not in the policy", rel, pkg)
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), p, nil, parser.ImportsOnly|parser.ParseComments)
		if err != nil {
			return err
		}
		documented[pkg] = documented[pkg] || f.Doc != nil
		for _, imp := range f.Imports {
			name := strings.Trim(imp.Path.Value, `"`)
			local, inRepo := strings.CutPrefix(name, module+"/")
			if !inRepo && !strings.Contains(strings.Split(name, "/")[0], ".") {
				continue // standard library
			}
			i := slices.IndexFunc(deps, func(d string) bool { return d == local || !inRepo && (name == d || strings.HasPrefix(name, d+"/")) })
			if i < 0 {
				t.Errorf("%s imports %s: no such arrow in the policy", rel, local)
				continue
			}
			used[pkg+"→"+deps[i]] = true
		}
		b, err := os.Open(p)
		if err != nil {
			return err
		}
		defer b.Close()
		n := 0
		for s := bufio.NewScanner(b); s.Scan(); {
			n++
		}
		if n > maxLines {
			t.Errorf("%s has %d lines, more than %d", rel, n, maxLines)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for pkg, deps := range allowed {
		if !documented[pkg] {
			t.Errorf("package %s has no package comment", pkg)
		}
		for _, d := range deps {
			if !used[pkg+"→"+d] && !strings.Contains(strings.Split(d, "/")[0], ".") {
				t.Errorf("arrow %s → %s is never used", pkg, d)
			}
		}
	}
}
