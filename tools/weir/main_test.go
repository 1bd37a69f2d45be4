package main

import (
	"bytes"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// try runs a command line that ends by itself.
func try(t *testing.T, args ...string) (code int, out, err string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code = run(t.Context(), args, streams{&stdout, &stderr})
	return code, stdout.String(), stderr.String()
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestMistakesSayWhatToDo: a mistake ends at once with exit code 2 and one line
// that names it and the way out.
func TestMistakesSayWhatToDo(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { taken.Close() })
	port := taken.Addr().String()
	file := write(t, "plain", "")
	tests := []struct {
		name string
		args []string
		want []string
	}{
		{"no origin", []string{"edge", "--dir", t.TempDir()}, []string{"--origin"}},
		{"unknown flag", []string{"edge", "--orign", "http://a"}, []string{"--orign", "--origin"}},
		{"unknown command", []string{"edgy"}, []string{"edgy"}},
		{"bad origin", []string{"edge", "--origin", "ftp://a", "--dir", t.TempDir()}, []string{"ftp://a", "http"}},
		{"taken http port", []string{"edge", "--origin", "http://a", "--http", port, "--dir", t.TempDir()}, []string{port, "taken", "--http"}},
		{"taken https port", []string{"edge", "--origin", "http://a", "--https", port, "--dir", t.TempDir()}, []string{port, "taken", "--https"}},
		{"taken admin port", []string{"edge", "--origin", "http://a", "--http", "127.0.0.1:0", "--admin", port, "--dir", t.TempDir()}, []string{port, "in use", "--admin"}},
		{"taken origin port", []string{"origin", "--http", port}, []string{port, "in use", "--http"}},
		{"a file as folder", []string{"edge", "--origin", "http://a", "--http", "127.0.0.1:0", "--dir", filepath.Join(file, "x")}, []string{file, "--dir"}},
		{"no root", []string{"origin", "--root", "/nonexistent", "--http", "127.0.0.1:0"}, []string{"/nonexistent", "--root"}},
		{"gossip without secret", []string{"edge", "--origin", "http://a", "--gossip", "127.0.0.1:0", "--dir", t.TempDir()}, []string{"secret", "--secret-file"}},
		{"short secret", []string{"edge", "--origin", "http://a", "--gossip", "127.0.0.1:0", "--secret-file", write(t, "secret", "abc"), "--dir", t.TempDir()}, []string{"secret"}},
		{"size without unit", []string{"edge", "--origin", "http://a", "--cache-size", "10", "--dir", t.TempDir()}, []string{"cache-size", "GiB"}},
		{"no such file", []string{"edge", "-c", "/nonexistent.yaml"}, []string{"/nonexistent.yaml"}},
		{"wrong file", []string{"edge", "-c", write(t, "weir.yaml", "cache:\n  dsik: 10GiB\n")}, []string{"weir.yaml:2:3", "dsik", "disk"}},
		{"certificate without key", []string{"edge", "--origin", "http://a", "--https", "127.0.0.1:0", "--cert", file, "--dir", t.TempDir()}, []string{"key"}},
		{"too many nodes", []string{"up", "--nodes", "1000"}, []string{"--nodes", "20"}},
		{"status of nobody", []string{"status", "--dir", t.TempDir()}, []string{"admin.token", "--dir"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			code, out, err := try(t, tt.args...)
			if code != exitUsage || strings.Count(strings.TrimSpace(err), "\n") > 1 || out != "" {
				t.Errorf("exit code %d, output %q, error %q; want 2 and one line", code, out, err)
			}
			for _, want := range tt.want {
				if !strings.Contains(err, want) {
					t.Errorf("%q does not say %q", err, want)
				}
			}
		})
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	code, out, _ := try(t, "version", "--json")
	var b build
	if err := json.Unmarshal([]byte(out), &b); err != nil || code != exitOK || b.Version == "" || b.Go == "" {
		t.Errorf("weir version --json: %d %q %v", code, out, err)
	}
	if code, out, _ := try(t, "version"); code != exitOK || !strings.HasPrefix(out, "weir ") {
		t.Errorf("weir version: %d %q", code, out)
	}
}

func TestHelp(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{}, {"--help"}, {"edge", "--help"}} {
		code, out, err := try(t, args...)
		if code != exitOK || !strings.Contains(out, "Usage: weir") {
			t.Errorf("weir %q: exit code %d, output %q, error %q", args, code, out, err)
		}
	}
}

func TestConfigCheckAndPrint(t *testing.T) {
	t.Parallel()
	code, reference, _ := try(t, "config", "print")
	if code != exitOK || !strings.Contains(reference, "cluster:") {
		t.Fatalf("weir config print: %d %q", code, reference)
	}
	good := write(t, "weir.yaml", reference)
	if got, out, text := try(t, "config", "check", good); got != exitOK || !strings.Contains(out, "is valid") {
		t.Errorf("the reference is not valid: %d %q %q", got, out, text)
	}
	code, printed, err := try(t, "config", "print", good)
	if code != exitOK {
		t.Errorf("weir config print FILE: %d %q", code, err)
	}
	if got, _, text := try(t, "config", "check", write(t, "again.yaml", printed)); got != exitOK {
		t.Errorf("what config print prints is not valid: %q", text)
	}
	bad := write(t, "bad.yaml", "listen: {http: 8080}\ncache: {disk: 10}\nsites: [{hosts: [a]}]\n")
	code, out, _ := try(t, "config", "check", "--json", bad)
	var answer struct {
		Valid    bool
		Problems []string
	}
	if err := json.Unmarshal([]byte(out), &answer); err != nil || code != exitUsage || answer.Valid || len(answer.Problems) < 2 {
		t.Errorf("weir config check --json of a bad file: %d %q", code, out)
	}
}
