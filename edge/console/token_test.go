package console

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func TestLoadOrCreateToken(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state", "admin.token")
	first, err := LoadOrCreateToken(path)
	if err != nil {
		t.Fatal(err)
	}
	if raw, err := base64.RawURLEncoding.DecodeString(first); err != nil || len(raw) != 32 {
		t.Errorf("got token of %d bytes, %v, want 32", len(raw), err)
	}
	stat, err := os.Stat(path)
	if err != nil || stat.Mode().Perm() != 0o600 {
		t.Errorf("got mode %v, %v, want 0600", stat.Mode(), err)
	}
	second, err := LoadOrCreateToken(path)
	if err != nil || second != first {
		t.Errorf("again: got %q, %v, want the same token", second, err)
	}
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) != 1 {
		t.Errorf("got %v, %v, want the token's file alone", left, err)
	}
}

func TestLoadOrCreateTokenAtOnce(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "admin.token")
	var wg sync.WaitGroup
	tokens := make([]string, 8)
	for i := range tokens {
		wg.Go(func() {
			got, err := LoadOrCreateToken(path)
			if err != nil {
				t.Error(err)
			}
			tokens[i] = got
		})
	}
	wg.Wait()
	for _, got := range tokens {
		if got != tokens[0] {
			t.Fatalf("got different tokens: %q and %q", got, tokens[0])
		}
	}
}

func TestLoadOrCreateTokenErrors(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for path, want := range map[string]string{
		write("open", strings.Repeat("x", 40), 0o644):  "chmod 600",
		write("short", "abc\n", 0o600):                 "fewer than 16 characters",
		write("empty", "", 0o600):                      "fewer than 16 characters",
		filepath.Join(write("file", "", 0o600), "sub"): "file",
		dir: "admin token",
	} {
		got, err := LoadOrCreateToken(path)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %q, %v, want an error with %q", path, got, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "xxxx") {
			t.Errorf("%s: the error holds the token: %v", path, err)
		}
	}
	padded := write("padded", "  0123456789abcdef\n\n", 0o600)
	if got, err := LoadOrCreateToken(padded); err != nil || got != "0123456789abcdef" {
		t.Errorf("padded: got %q, %v", got, err)
	}
}
