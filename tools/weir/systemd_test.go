package main

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"weir/tools/proof"
)

// TestUnits: systemd takes the unit files as they are, and finds little that the node could do to its machine.
func TestUnits(t *testing.T) {
	t.Parallel()
	analyze := proof.RequireTool(t, "systemd-analyze", "systemd")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	names, err := filepath.Glob("../../configs/systemd/*")
	if err != nil || len(names) < 3 {
		t.Fatalf("%d units, %v", len(names), err)
	}
	var units []string
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		unit := filepath.Join(dir, filepath.Base(name))
		// Only what is there can be verified.
		if err := os.WriteFile(unit, []byte(strings.Replace(string(text), "/usr/bin/weir", self, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		units = append(units, unit)
	}
	out, err := exec.CommandContext(t.Context(), analyze, append([]string{"verify", "--man=no", "--recursive-errors=no"}, units...)...).CombinedOutput()
	if err != nil || strings.Contains(string(out), dir) {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
	const most = "20" // of 100; 96 is a service without any protection
	out, err = exec.CommandContext(t.Context(), analyze, "security", "--offline=yes", "--no-pager", "--threshold="+most, filepath.Join(dir, "weir-edge.service")).CombinedOutput()
	if err != nil {
		t.Errorf("systemd-analyze security: %v\n%s", err, out)
	}
}

// manager is what a service manager hears.
type manager struct {
	conn *net.UnixConn
	name string
}

func newManager(t *testing.T) *manager {
	t.Helper()
	m := &manager{name: filepath.Join(t.TempDir(), "notify")}
	var err error
	if m.conn, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: m.name, Net: "unixgram"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.conn.Close() })
	return m
}

// TestSocketsWithoutNames: what cannot be told apart is refused, and says how to name it.
func TestSocketsWithoutNames(t *testing.T) {
	for _, c := range []struct{ count, names, want string }{
		{"2", "http", "FileDescriptorName"}, {"1", "web", "FileDescriptorName is one of"}, {"x", "http", "LISTEN_FDS"},
	} {
		t.Setenv("LISTEN_PID", strconv.Itoa(os.Getpid()))
		t.Setenv("LISTEN_FDS", c.count)
		t.Setenv("LISTEN_FDNAMES", c.names)
		if _, err := activated(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s sockets named %s: got %v, want an error that says %s", c.count, c.names, err, c.want)
		}
	}
	t.Setenv("LISTEN_PID", "1")
	if all, err := activated(); len(all) > 0 || err != nil {
		t.Errorf("sockets of another process: %v, %v", all, err)
	}
}

// TestWatchdogIsNoLie: a node that answers nobody gives no sign of life.
func TestWatchdogIsNoLie(t *testing.T) {
	m := newManager(t)
	s := newSocketNode(t)
	s.options.notify, s.options.watchdog = &notifier{&net.UnixAddr{Name: m.name, Net: "unixgram"}, s.log}, time.Minute
	if err := s.answers(t.Context()); err != nil {
		t.Errorf("a node that serves does not answer itself: %v", err)
	}
	if s.originStats().Requests > 0 {
		t.Error("the origin is asked")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.answers(ctx); err == nil {
		t.Error("nobody has answered, but that counts as an answer")
	}
}
