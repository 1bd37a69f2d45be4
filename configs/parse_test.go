package configs

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// plain returns a copy without what Parse remembers about the file.
func plain(c *Config) *Config {
	copied := *c
	copied.file, copied.marks = "", nil
	return &copied
}

func mustParse(t *testing.T, text string) *Config {
	t.Helper()
	c, err := Parse("weir.yaml", []byte(text))
	if err != nil {
		t.Fatalf("Parse(%q): %v", text, err)
	}
	return c
}

func TestParseErrors(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, in, want string }{
		{
			"no unit", "node:\n  name: a\n\ncache:\n  disk: 10\n",
			"weir.yaml:5:3: cache.disk: 10 has no unit: write 10GiB or 10GB",
		},
		{"no unit of time", "listen:\n  idle_timeout: 5\n", "weir.yaml:2:3: listen.idle_timeout: 5 has no unit: write 5s or 5ms"},
		{"typo", "cach:\n  disk: 1GiB\n", "weir.yaml:1:1: cach: no such key: did you mean cache?"},
		{"swapped letters", "cache:\n  dikS: 1GiB\n", "weir.yaml:2:3: cache.dikS: no such key: did you mean disk?"},
		{"wrong place", "disk: 1GiB\n", "weir.yaml:1:1: disk: no such key: did you mean cache.disk?"},
		{
			"unknown", "cache:\n  colour: red\n",
			"weir.yaml:2:3: cache.colour: no such key: the keys of cache are disk, memory",
		},
		{
			"duplicate", "cache:\n  disk: 1GiB\n  disk: 2GiB\n",
			"weir.yaml:3:3: cache.disk: the key is here a second time, first in line 2: remove one",
		},
		{"duplicate section", "cache: {disk: 1GiB}\ncache: {memory: 1GiB}\n", "weir.yaml:2:1: cache: the key is here a second time"},
		{"number as address", "listen:\n  http: 8080\n", `weir.yaml:2:3: listen.http: 8080 is a number, not an address: write ":8080"`},
		{"number as text", "node:\n  zone: 1\n", `weir.yaml:2:3: node.zone: 1 is a number, not text: write "1"`},
		{"bool as text", "node:\n  name: true\n", `node.name: true is true or false, not text: write "true"`},
		{"yes", "listen:\n  http3: yes\n", "listen.http3: yes is neither true nor false: write true"},
		{"text as list", "cluster:\n  join: a:1, b:2\n", `cluster.join: a:1, b:2 is text, not a list: write ["a:1", "b:2"]`},
		{"group as list", "sites:\n  hosts: [a]\n", "sites: the value is a group of keys, not a list: begin each entry with a dash: - hosts: …"},
		{"in a list", "sites:\n  - hosts: [a]\n    orgins: []\n", "weir.yaml:3:5: sites[0].orgins: no such key: did you mean origins?"},
		{"item of a list", "cluster:\n  join: [a:1, 7]\n", "weir.yaml:2:15: cluster.join[1]: 7 is a number, not text"},
		{"text as section", "log: info\n", "weir.yaml:1:1: log: info is text: write keys below it: level, format, access"},
		{"text as number", "cluster:\n  weight: heavy\n", "cluster.weight: heavy is text, not a number"},
		{"text as count", "cluster:\n  timers:\n    suspicion: 4s\n", "weir.yaml:3:5: cluster.timers.suspicion: 4s is no whole number: write a number such as 3"},
		{"half a count", "cluster:\n  timers:\n    gossip_nodes: 2.5\n", "cluster.timers.gossip_nodes: 2.5 is no whole number"},
		{"size as list", "cache:\n  disk: [1]\n", "cache.disk: the value is a list: write a number and a unit"},
		{"alias", "a: &x {}\ntls: *x\n", "tls: the value is an anchor or alias (not supported)"},
		{"second document", "node: {name: a}\n---\nnode: {name: b}\n", "weir.yaml:3:1: the file has a second document"},
		{"a list", "- a\n", "weir.yaml:1:1: a list instead of keys"},
		{"not UTF-8", "node: {name: \xff}", "weir.yaml: the file is not UTF-8"},
		{"broken", "node: [", "weir.yaml:1:7: "},
		{"tab", "node:\n\tname: a\n", "weir.yaml:2:1: "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, err := Parse("weir.yaml", []byte(tt.in))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %v, %v\nwant an error with\n%s\nfor\n%s", c, err, tt.want, tt.in)
			}
			if _, ok := errors.AsType[*Problem](err); !ok {
				t.Errorf("got an error of type %T, want Problems", err)
			}
		})
	}
}

func TestParseFindsAllProblems(t *testing.T) {
	t.Parallel()
	_, err := Parse("w", []byte("cache:\n  disk: 10\n  memory: 5\nnode:\n  nam: a\n"))
	problems, ok := errors.AsType[Problems](err)
	if !ok || len(problems) != 3 {
		t.Fatalf("got %v, want three problems", err)
	}
}

func TestParseKeepsDefaults(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "# nothing\n", "---\n", "cache:\n# all commented\n", "cache:\n  disk:\n", "{}"} {
		if got := plain(mustParse(t, text)); !reflect.DeepEqual(got, Default()) {
			t.Errorf("Parse(%q): got %+v, want the defaults", text, got)
		}
	}
}

func TestParseValues(t *testing.T) {
	t.Parallel()
	c := mustParse(t, `
node: {name: a, dir: "/x y"}
listen: {http: :80, http3: false, drain_timeout: 1d}
cache: {disk: 1.5TiB, memory: 0}
tls: {certificates: [{cert: a.pem, key: a.key}], min_version: "1.3", strict_sni: true}
cluster: {join: ["a:1", "b:2"], weight: 2.5, allow: [10.0.0.0/8], timers: {probe: 1500ms, suspicion: 6}}
sites:
  - hosts: ["*"]
    origins: [http://o]
    pages: true
    targeted_fields: [Weir-Cache-Control]
    request_cache_control: true
profiles: {tags: {fleet: eu}}
log: {access: off}
`)
	want := Default()
	want.Node.Name, want.Node.Dir = "a", "/x y"
	want.Listen.HTTP, want.Listen.HTTP3, want.Listen.DrainTimeout = ":80", false, Duration(day)
	want.Cache = Cache{Disk: 3 << 39, Memory: 0}
	want.TLS = TLS{Certificates: []Certificate{{Cert: "a.pem", Key: "a.key"}}, MinVersion: "1.3", StrictSNI: true, ACME: want.TLS.ACME}
	want.Cluster.Join, want.Cluster.Weight = []string{"a:1", "b:2"}, 2.5
	want.Cluster.Timers.Probe *= 3
	want.Cluster.Allow, want.Cluster.Timers.Suspicion = []string{"10.0.0.0/8"}, 6
	want.Sites = []Site{{
		Hosts: []string{"*"}, Origins: []string{"http://o"}, Pages: true,
		TargetedFields: []string{"Weir-Cache-Control"}, RequestCacheControl: true,
	}}
	want.Profiles.Tags = map[string]string{"fleet": "eu"}
	if got := plain(c); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestLoad(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "weir.yaml")
	if _, err := Load(path); err == nil || !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), path) {
		t.Errorf("Load of no file: got %v, want an error that names %s", err, path)
	}
	if err := os.WriteFile(path, []byte("node: {name: a}"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(path)
	if err != nil || c.Node.Name != "a" || c.File() != path {
		t.Errorf("Load: got %+v, %v", c, err)
	}
}

func TestExamples(t *testing.T) {
	t.Parallel()
	onDisk, err := filepath.Glob("*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	listed := Examples()
	slices.Sort(onDisk)
	slices.Sort(listed)
	if !slices.Equal(onDisk, listed) {
		t.Errorf("Examples: got %v, want %v", listed, onDisk)
	}
	for _, name := range listed {
		text, ok := Example(name)
		if !ok {
			t.Errorf("Example(%q): not embedded", name)
			continue
		}
		c, err := Parse(name, text)
		if err != nil {
			t.Errorf("%v", err)
			continue
		}
		if err := c.Validate(); err != nil {
			t.Errorf("%v", err)
		}
	}
	if _, ok := Example("absent.yaml"); ok {
		t.Error("Example(absent.yaml): got ok")
	}
}

// TestReference holds reference.yaml to the schema and to the defaults.
func TestReference(t *testing.T) {
	t.Parallel()
	c, err := Parse("reference.yaml", Reference())
	if err != nil {
		t.Fatal(err)
	}
	said := comments(string(Reference()))
	for _, path := range schema() {
		if strings.HasPrefix(path, "tls.certificates[]") {
			continue // a list that is empty by default: the comment above it shows what an entry has
		}
		comment, named := said[path]
		if !named {
			t.Errorf("reference.yaml does not name %s", path)
		} else if len(comment) == 0 {
			t.Errorf("reference.yaml has no comment above %s", path)
		}
	}
	for path := range said {
		if !slices.Contains(schema(), path) {
			t.Errorf("reference.yaml names %s, which is no key", path)
		}
	}
	got := plain(c)
	if len(got.Sites) != 1 || got.Sites[0].Pages {
		t.Errorf("sites: got %+v, want one example with its optional keys at their defaults", got.Sites)
	}
	got.Sites = nil
	emptyIsNil(reflect.ValueOf(got).Elem())
	if !reflect.DeepEqual(got, Default()) {
		t.Errorf("reference.yaml differs from the defaults:\ngot  %+v\nwant %+v", got, Default())
	}
}

// normal makes empty and absent lists the same.
func normal(c *Config) *Config {
	c = plain(c)
	c.Sites = slices.Clone(c.Sites)
	for i := range c.Sites {
		c.Sites[i].Access = slices.Clone(c.Sites[i].Access)
	}
	emptyIsNil(reflect.ValueOf(c).Elem())
	return c
}

func emptyIsNil(v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			emptyIsNil(v.Field(i))
		}
	case reflect.Slice, reflect.Map:
		switch {
		case v.Len() == 0 && v.CanSet():
			v.SetZero()
		case v.Kind() == reflect.Slice:
			for i := range v.Len() {
				emptyIsNil(v.Index(i))
			}
		}
	default:
	}
}

func TestPrint(t *testing.T) {
	t.Parallel()
	c := mustParse(t, string(Reference()))
	c.Node.Name = `a "quoted" \ näme`
	c.Node.Zone = "true"
	c.Node.Region = "0x10"
	c.Listen.ProxyProtocol = []string{"::1", "10.0.0.0/8"}
	c.TLS.Certificates = []Certificate{{Cert: "a.pem", Key: "a key"}, {Cert: "b.pem", Key: "b.key"}}
	c.Sites = append(c.Sites, Site{Hosts: []string{"a", "b.c"}, Origins: []string{"http://o:1"}, Pages: true, CORS: []string{"*"}, Headers: map[string]string{"X-A": "b: c"}, Access: []Rule{{Action: "deny", Networks: []string{"10.0.0.0/8"}, Times: []string{"Mon 10:00-11:00"}}, {Action: "allow"}}})
	c.Sites[1].Devices = Devices{Enabled: true, Profiles: []Profile{{Class: "car", Bitrate: 2_500_000, Codecs: []string{"avc1.640028"}, Order: "lowest"}, {Class: "fridge"}}}
	c.Profiles.Tags = map[string]string{"b": "1", "a": "x: y"}
	var out bytes.Buffer
	if err := c.Print(&out); err != nil {
		t.Fatal(err)
	}
	again, err := Parse("printed", out.Bytes())
	if err != nil {
		t.Fatalf("%v\n%s", err, out.Bytes())
	}
	if !reflect.DeepEqual(normal(again), normal(c)) {
		t.Errorf("read back\n%+v\nwant\n%+v\nprinted\n%s", plain(again), plain(c), out.Bytes())
	}
	if !strings.Contains(out.String(), "  # The most that bodies may take on disk") {
		t.Errorf("the comments are missing:\n%s", out.Bytes())
	}
}

func TestPrintError(t *testing.T) {
	t.Parallel()
	file, err := os.Open(os.DevNull) // for reading only
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	if err := Default().Print(file); err == nil {
		t.Error("Print to a file that cannot be written: got no error")
	}
}

func FuzzParse(f *testing.F) {
	for _, name := range Examples() {
		text, _ := Example(name)
		f.Add(text)
	}
	f.Add([]byte("cache: {disk: 10}\nsites: [{hosts: [a]}]\n"))
	f.Add([]byte("node:\n  name: |\n    x\n  zone: >-\n    y\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := Parse("fuzz.yaml", text)
		if err != nil {
			if err.Error() == "" {
				t.Fatal("an error without text")
			}
			return
		}
		_ = c.Validate() // must not panic; most inputs are not valid
		var out bytes.Buffer
		if err := c.Print(&out); err != nil {
			t.Fatal(err)
		}
		again, err := Parse("printed", out.Bytes())
		if err != nil {
			t.Fatalf("printed configuration does not parse: %v\n%s", err, out.Bytes())
		}
		if !reflect.DeepEqual(normal(again), normal(c)) {
			t.Fatalf("read back\n%+v\nwant\n%+v\nprinted\n%s", plain(again), plain(c), out.Bytes())
		}
	})
}
