package main

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
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
	last string // message
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

// await reads until a message has that line, and returns what comes after the = of it.
func (m *manager) await(t *testing.T, want string) string {
	t.Helper()
	if err := m.conn.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	for buf := make([]byte, 4096); ; {
		n, err := m.conn.Read(buf)
		if err != nil {
			t.Fatalf("the manager never hears %s: %v", want, err)
		}
		m.last = string(buf[:n])
		for line := range strings.Lines(m.last) {
			if value, ok := strings.CutPrefix(strings.TrimSpace(line), want); ok {
				return value
			}
		}
	}
}

// TestServiceManager: a node serves on the sockets that it is given, from the first client on, who came before it, and says
// when it is ready, that it lives, that it reloads, who takes over from it, and that it stops.
func TestServiceManager(t *testing.T) {
	m := newManager(t)
	origin := startWeir(t, "origin", "--http", "127.0.0.1:0")
	behind := "http://" + origin.await(t, `http=(127\.0\.0\.1:\d+)`)
	var files []*os.File
	listen := func() string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		file, err := l.(*net.TCPListener).File()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { file.Close() })
		files = append(files, file)
		return l.Addr().String()
	}
	public, secure := listen(), listen()
	udp, err := net.ListenPacket("udp", secure)
	if err != nil {
		t.Fatal(err)
	}
	packets, err := udp.(*net.UDPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	udp.Close()
	t.Cleanup(func() { packets.Close() })
	files = append(files, packets)
	admin := listen()
	early, err := net.Dial("tcp", public) // a client who does not know that nobody is there yet
	if err != nil {
		t.Fatal(err)
	}
	defer early.Close()
	dir := t.TempDir()
	file := write(t, "weir.yaml", "node: {name: edge-1, dir: "+dir+"}\nlisten: {http: \":80\", https: \":443\", admin: \"127.0.0.1:1\"}\n"+
		"cache: {disk: 16MiB, memory: 16MiB}\nsites: [{hosts: [\"*\"], origins: [\""+behind+"\"]}]\n")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(dir, "log")
	out, err := os.Create(log)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", `LISTEN_PID=$$ WATCHDOG_PID=$$ exec "$0" edge -c "$1"`, self, file)
	cmd.ExtraFiles, cmd.Stdout, cmd.Stderr = files, out, out
	cmd.Env = childEnv(t, asWeir+"=1", "NOTIFY_SOCKET="+m.name, "WATCHDOG_USEC=400000", "LISTEN_FDS=4", "LISTEN_FDNAMES=http:https:https:admin")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	out.Close()
	pids := []int{cmd.Process.Pid}
	t.Cleanup(func() {
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended
		}
		_ = cmd.Wait() // how does not matter
		if text, _ := os.ReadFile(log); t.Failed() {
			t.Logf("%s", text)
		}
	})
	m.await(t, "READY=1")
	_ = early.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := early.Write([]byte("GET /vod/demo/master.m3u8 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 15)
	if _, err := early.Read(answer); err != nil || string(answer) != "HTTP/1.1 200 OK" {
		t.Errorf("the client who came before the node gets %q, %v", answer, err)
	}
	awaitReady(t, admin)
	m.await(t, "WATCHDOG=1")
	_ = cmd.Process.Signal(syscall.SIGHUP) // it runs
	if m.await(t, "MONOTONIC_USEC="); !strings.Contains(m.last, "RELOADING=1") {
		t.Errorf("the manager hears %q at a reload", m.last)
	}
	m.await(t, "READY=1")
	_ = cmd.Process.Signal(syscall.SIGUSR2) // it runs
	pid, err := strconv.Atoi(m.await(t, "MAINPID="))
	if err != nil {
		t.Fatal(err)
	}
	pids = append(pids, pid)
	_ = cmd.Wait() // it drains, and ends
	awaitReady(t, admin)
	m.await(t, "WATCHDOG=1")
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	m.await(t, "STOPPING=1")
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(time.Minute); syscall.Kill(pid, 0) == nil; {
		select {
		case <-tick.C:
		case <-end:
			t.Fatal("the node does not end")
		}
	}
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
	s := newSocketNode(t)
	if err := s.answers(t.Context(), time.Minute); err != nil {
		t.Errorf("a node that serves does not answer itself: %v", err)
	}
	if s.originStats().Requests > 0 {
		t.Error("the origin is asked")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.answers(ctx, time.Minute); err == nil {
		t.Error("nobody has answered, but that counts as an answer")
	}
}
