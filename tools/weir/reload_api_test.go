package main

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/configs"
	"weir/edge/console"
	"weir/edge/front"
	"weir/tools/proof"
)

// reloadNode is a node with a file that it reads again.
type reloadNode struct {
	*socketNode
	file, head string
	origins    string
	level      *slog.LevelVar
}

func newReloadNode(t *testing.T, head string, adjust ...func(*nodeOptions)) *reloadNode {
	t.Helper()
	r := &reloadNode{file: filepath.Join(t.TempDir(), "weir.yaml"), level: &slog.LevelVar{}}
	r.socketNode = newSocketNode(t, append(adjust, func(o *nodeOptions) {
		listen := fmt.Sprintf("listen: {http: %q, https: %q, admin: %q, drain_timeout: 1s}\n", o.config.Listen.HTTP, o.config.Listen.HTTPS, o.config.Listen.Admin)
		r.head = "node: {name: edge-1, dir: " + o.config.Node.Dir + "}\n" + listen
		r.origins = `origins: ["` + o.config.Sites[0].Origins[0] + `"]`
		r.write(t, head+"sites: [{hosts: [\"*\"], "+r.origins+"}]\n")
		o.load, o.level = (&edgeCommand{Config: r.file}).configuration, r.level
		var err error
		if o.config, err = o.load(); err != nil {
			t.Fatal(err)
		}
	})...)
	return r
}

func (r *reloadNode) write(t *testing.T, text string) {
	t.Helper()
	if err := os.WriteFile(r.file, []byte(r.head+text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// weir runs a command of operators.
func (r *reloadNode) weir(t *testing.T, args ...string) (out string, code int) {
	t.Helper()
	var text bytes.Buffer
	code = run(t.Context(), append(args, "--admin", r.admin.listener.Addr().String(), "--dir", r.config.Node.Dir), streams{&text, &text})
	return text.String(), code
}

// serves tells whether a host is one of the node's.
func (r *reloadNode) serves(t *testing.T, host string) bool {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+r.public.HTTPAddr()+"/o/1500/x", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	request.Host = host
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close() // the status is all that is wanted
	return response.StatusCode == http.StatusOK
}

// TestReloadByOperators: weir reload says what has changed, what needs a restart, or what is wrong and where.
func TestReloadByOperators(t *testing.T) {
	t.Parallel()
	r := newReloadNode(t, "")
	site := "sites: [{hosts: [\"*\"], heuristic: true, " + r.origins + "}]\n"
	r.write(t, site+"log: {level: debug}\ncache: {memory: 64MiB}\n")
	out, code := r.weir(t, "reload")
	if want := "the configuration is taken\nchanged: sites log.level\nneeds a restart: cache.memory\n"; out != want || code != exitOK {
		t.Errorf("weir reload says %q (exit code %d), want %q", out, code, want)
	}
	if r.level.Level() != slog.LevelDebug {
		t.Errorf("the log's level is %s, want debug", r.level.Level())
	}
	r.write(t, site+"log: {levl: debug}\n")
	out, code = r.weir(t, "reload")
	if code != exitFailed || !strings.Contains(out, r.file+":4:7") || !strings.Contains(out, "did you mean level?") || !strings.Contains(out, "nothing has changed") {
		t.Errorf("weir reload of a broken file says %q (exit code %d)", out, code)
	}
	s := r.status()
	if c := s.Config; c.File != r.file || c.Tried == nil || !c.Taken.Before(*c.Tried) || !strings.Contains(c.Error, "levl") || !slices.Equal(c.Restart, []string{"cache.memory"}) {
		t.Errorf("the status says %+v", c)
	}
	request, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+r.admin.listener.Addr().String()+"/v1/config", http.NoBody)
	request.Header.Set("Authorization", "Bearer "+r.token)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var shown bytes.Buffer
	_, _ = shown.ReadFrom(response.Body) // what is missing is seen below
	if c, err := configs.Parse("shown", shown.Bytes()); err != nil || c.Log.Level != "debug" || !c.Sites[0].Heuristic {
		t.Errorf("the configuration shown is not the last that was taken: %v\n%s", err, shown.String())
	}
	r.write(t, site)
	out, code = r.weir(t, "reload", "--json")
	var answer console.Reload
	if err := json.Unmarshal([]byte(out), &answer); err != nil || code != exitOK || !slices.Equal(answer.Changed, []string{"log.level"}) || len(answer.Restart) > 0 {
		t.Errorf("weir reload --json says %q (exit code %d, %v)", out, code, err)
	}
}

// TestReloadRefusesWhole: whatever is wrong with a file, nothing of it is taken, the node goes on, and the metrics count it.
func TestReloadRefusesWhole(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cert := func(name string, hosts ...string) string {
		t.Helper()
		own := filepath.Join(dir, name)
		if _, err := front.MintCertificate(own, hosts, time.Now()); err != nil {
			t.Fatal(err)
		}
		return "{cert: " + filepath.Join(own, "cert.pem") + ", key: " + filepath.Join(own, "key.pem") + "}"
	}
	first, second := cert("first", "a.example"), cert("second", "b.example")
	r := newReloadNode(t, "tls: {certificates: ["+first+"]}\n", func(o *nodeOptions) {
		file, err := os.Create(filepath.Join(dir, "access.log"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { file.Close() })
		o.access = &accessFile{file: file}
	})
	named := func(sni string) string {
		t.Helper()
		c, err := r.certificates.GetCertificate(&tls.ClientHelloInfo{ServerName: sni})
		if err != nil {
			t.Fatal(err)
		}
		return c.Leaf.DNSNames[0]
	}
	next := "sites: [{hosts: [b.example], " + r.origins + "}]\n"
	many := &strings.Builder{}
	many.WriteString("sites:\n")
	for i := range 1_000_000 {
		fmt.Fprintf(many, "- {hosts: [h%d.example], %s}\n", i, r.origins)
	}
	missing := filepath.Join(dir, "missing")
	cases := []struct{ name, text, want string }{
		{"syntax", next + "log: {level: debug\n", r.file + ":4"},
		{"unknown key", next + "lgo: {level: debug}\n", "lgo"},
		{"no unit", next + "cache: {memory: 64}\n", "unit"},
		{"a site twice", "sites: [{hosts: [b.example], " + r.origins + "}, {hosts: [B.example], " + r.origins + "}]\n", "taken by"},
		{"no site", "log: {level: debug}\n", "origin"},
		{"a million sites", many.String(), "the most is"},
		{"no certificate", next + "tls: {certificates: [" + first + ", {cert: " + missing + ", key: " + missing + "}]}\n", missing},
		{"another's key", next + "tls: {certificates: [{cert: " + filepath.Join(dir, "first", "cert.pem") + ", key: " + filepath.Join(dir, "second", "key.pem") + "}]}\n", "key"},
		{"access log", next + "tls: {certificates: [" + first + "]}\nlog: {access: " + filepath.Join(missing, "access.log") + "}\n", "access log"},
	}
	for i, c := range cases {
		r.write(t, c.text)
		out, code := r.weir(t, "reload")
		if code != exitFailed || !strings.Contains(out, c.want) {
			t.Errorf("%s: exit code %d, %.400q; want one that says %q", c.name, code, out, c.want)
		}
		if !r.serves(t, "anybody.example") || named("b.example") != "a.example" || r.level.Level() != slog.LevelInfo {
			t.Fatalf("%s: something of it was taken", c.name)
		}
		if bad := r.reloads.bad.Load(); bad != int64(i+1) {
			t.Errorf("%s: %d refused reloads are counted, want %d", c.name, bad, i+1)
		}
	}
	if n := len(r.routes.Load().origins); n != 1 {
		t.Errorf("%d origins, want 1", n)
	}
	r.write(t, next+"tls: {certificates: ["+second+"]}\nlisten: {http: \"127.0.0.1:1\"}\n")
	if out, code := r.weir(t, "reload"); code != exitFailed || !strings.Contains(out, "listen") {
		t.Errorf("listen twice: exit code %d, %s", code, out)
	}
	r.write(t, next+"tls: {certificates: ["+second+"]}\n")
	if out, code := r.weir(t, "reload"); code != exitOK || !strings.Contains(out, "changed: tls.certificates sites\n") {
		t.Errorf("a good file: exit code %d, %s", code, out)
	}
	if r.serves(t, "anybody.example") || !r.serves(t, "b.example") || named("a.example") != "b.example" {
		t.Error("a good file is not taken")
	}
	if c, base := r.client(t, ways()[0]); true {
		if answer := c.Get(t.Context(), base+"/o/1500/y", proof.Options{AnyStatus: true}); answer.Status != http.StatusMisdirectedRequest {
			t.Errorf("another host gets %d, want 421", answer.Status)
		}
	}
}

// TestAccessLogIsOpenedAnew: after a reload lines go to the name that is configured, and the file that was moved away is
// let go.
func TestAccessLogIsOpenedAnew(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "access.log")
	a, err := newAccessFile(configs.Log{Access: name})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	_, _ = a.Write([]byte("one\n")) // read below
	if err := os.Rename(name, name+".1"); err != nil {
		t.Fatal(err)
	}
	file, err := a.open(name)
	if err != nil {
		t.Fatal(err)
	}
	a.take(file)
	_, _ = a.Write([]byte("two\n")) // read below
	for file, want := range map[string]string{name + ".1": "one\n", name: "two\n"} {
		if got, err := os.ReadFile(file); string(got) != want {
			t.Errorf("%s has %q (%v), want %q", file, got, err, want)
		}
	}
}
