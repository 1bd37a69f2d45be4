package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"weir/cluster"
)

// TestHangupReloadsSecrets replaces the secret of a running process, with a mistake on the way.
func TestHangupReloadsSecrets(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "cluster.secret")
	older, newer := cluster.NewSecret(), cluster.NewSecret()
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(older.Reveal() + "\n")
	p := startWeir(t, "edge", "--name", "edge-1", "--origin", "http://127.0.0.1:9", "--http", "127.0.0.1:0", "--admin", "127.0.0.1:0",
		"--dir", dir, "--gossip", "127.0.0.1:0", "--secret-file", file)
	admin := p.await(t, `edge is up.* admin=(\S+)`)
	awaitReady(t, admin)
	hangup := func() {
		t.Helper()
		if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}

	write(newer.Reveal() + "\nand this is no secret\n")
	hangup()
	p.await(t, `the secret file is refused.*line 2: .*accepted=`+older.ID())

	write(newer.Reveal() + "\n" + older.Reveal() + " # until all nodes use the other\n")
	hangup()
	p.await(t, "cluster secrets changed.* in_use="+newer.ID())

	var out bytes.Buffer
	if code := run(t.Context(), []string{"status", "--admin", admin, "--dir", dir}, streams{&out, &out}); code != exitOK {
		t.Fatalf("weir status ends with %d:\n%s", code, &out)
	}
	if !strings.Contains(out.String(), newer.ID()+" "+older.ID()) {
		t.Errorf("weir status does not show the secrets' IDs %s and %s:\n%s", newer.ID(), older.ID(), &out)
	}
	for _, text := range []string{out.String(), p.output()} {
		if strings.Contains(text, newer.Reveal()[:8]) || strings.Contains(text, older.Reveal()[:8]) {
			t.Errorf("a secret shows:\n%s", text)
		}
	}
}
