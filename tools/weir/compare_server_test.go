package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"text/template"
	"time"

	"golang.org/x/sys/unix"

	"weir/tools/proof"
)

// contender is a server that runs to be measured, until the test ends.
type contender struct {
	cmd   *exec.Cmd
	ended chan struct{} // closed when the process has
	log   *bytes.Buffer // what it said; to be read when it has ended
}

// stopLimit is how long a server may take to stop before it is killed.
const stopLimit = 10 * time.Second

// launch starts a server.
func (c *comparison) launch(t *testing.T, environment []string, path string, args ...string) *contender {
	t.Helper()
	s := &contender{cmd: exec.CommandContext(c.ctx, path, args...), ended: make(chan struct{}), log: new(bytes.Buffer)}
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	s.cmd.Env = childEnv(t, environment...)
	s.cmd.Cancel = func() error { return s.cmd.Process.Signal(syscall.SIGTERM) }
	s.cmd.WaitDelay = stopLimit
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { // ends with the process
		_ = s.cmd.Wait() // how it ends is of no interest
		close(s.ended)
	}()
	t.Cleanup(func() {
		s.stop()
		if t.Failed() {
			t.Logf("%s:\n%s", filepath.Base(path), s.log)
		}
	})
	return s
}

// stop ends the server and all processes that it started.
func (s *contender) stop() {
	tree := s.processes()
	_ = s.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-s.ended:
		return
	case <-time.After(stopLimit):
	}
	for _, pid := range tree {
		_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended
	}
	<-s.ended
}

// processes lists the server's process and all below it.
func (s *contender) processes() []int {
	all := []int{s.cmd.Process.Pid}
	for i := 0; i < len(all); i++ {
		threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", all[i])) // the pattern is good
		for _, file := range threads {
			text, _ := os.ReadFile(file) // a thread that has ended has no children
			for word := range strings.FieldsSeq(string(text)) {
				if pid, err := strconv.Atoi(word); err == nil {
					all = append(all, pid)
				}
			}
		}
	}
	return all
}

// cpu is what each process of the server has used so far, user and system.
func (s *contender) cpu() map[int]time.Duration {
	used := map[int]time.Duration{}
	for _, pid := range s.processes() {
		const sched = 2                      // CPUCLOCK_SCHED of the kernel: all threads, in nanoseconds
		clock := int32(^pid<<3 | sched)      // as clock_getcpuclockid(3) makes it
		var at unix.Timespec                 // of the CPU clock
		err := unix.ClockGettime(clock, &at) // fails for a process that has ended
		if err == nil {
			used[pid] = time.Duration(at.Nano())
		}
	}
	return used
}

// cpuSince is what the server has used since before was taken.
func (s *contender) cpuSince(before map[int]time.Duration) time.Duration {
	var sum time.Duration
	for pid, used := range s.cpu() {
		sum += used - before[pid]
	}
	return sum
}

// peakRSS is the largest resident memory since the start or resetRSS, in bytes,
// summed over the processes.
func (s *contender) peakRSS() int64 { return s.status("VmHWM:") }

// rss is the resident memory of now.
func (s *contender) rss() int64 { return s.status("VmRSS:") }

func (s *contender) status(field string) int64 {
	var sum int64
	for _, pid := range s.processes() {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid)) // it may have ended
		_, after, _ := strings.Cut(string(text), field)
		if words := strings.Fields(after); len(words) > 0 {
			kib, _ := strconv.ParseInt(words[0], 10, 64)
			sum += kib << 10
		}
	}
	return sum
}

func (s *contender) resetRSS() {
	for _, pid := range s.processes() {
		_ = os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0) // then the peak is one since the start
	}
}

// await polls a URL until it answers 200.
func (s *contender) await(t *testing.T, url string, every time.Duration) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Second}
	for end := time.Now().Add(time.Minute); ; time.Sleep(every) {
		if response, err := client.Get(url); err == nil {
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return
			}
		}
		select {
		case <-s.ended:
			t.Fatalf("%s ended before it answered %s:\n%s", s.cmd.Path, url, s.log)
		default:
		}
		if time.Now().After(end) {
			t.Fatalf("%s does not answer %s", s.cmd.Path, url)
		}
	}
}

// weirContender is a running weir edge.
type weirContender struct {
	*contender

	dir, http, https, admin string // addresses are host:port
	profiler                string // where it shows its profiles; "" without
}

// weirEdge starts a node in front of an origin. The first start in a directory mints
// the certificate. Only the binary under test is profiled.
func (c *comparison) weirEdge(t *testing.T, binary, dir, origin string) *weirContender {
	t.Helper()
	ports := freePorts(t, 4)
	w := &weirContender{dir: dir, http: ports[0], https: ports[1], admin: ports[2]}
	args := []string{
		"edge", "--name", "compared", "--origin", origin, "--http", w.http, "--https", w.https, "--admin", w.admin,
		"--dir", dir, "--cache-size", "1GiB", "--memory-size", "256MiB",
	}
	if *compareProfile == "" || binary != c.binary {
		w.contender = c.launch(t, nil, binary, args...)
		return w
	}
	w.profiler = ports[3]
	w.contender = c.launch(t, []string{profiledWeir + "=" + w.profiler}, os.Args[0], append([]string{"-test.run=^TestCompareProfiled$", "-test.timeout=0", "--"}, args...)...)
	return w
}

func (w *weirContender) readyURL() string { return "http://" + w.admin + "/readyz" }

// profiledWeir makes TestCompareProfiled run; its value is an address for profiles.
const profiledWeir = "WEIR_TEST_PROFILED"

// TestCompareProfiled is no test but weir itself, with its profiles to be had over
// HTTP: TestCompare runs the test binary with it.
func TestCompareProfiled(t *testing.T) {
	address := os.Getenv(profiledWeir)
	if address == "" {
		t.Skip("a part of TestCompare, which runs it")
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(pprof.Profile), ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(listener) }() // ends with the process, and nobody is told why
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if code := run(ctx, flag.Args(), streams{os.Stdout, os.Stderr}); code != 0 {
		t.Fatalf("weir ended with %d", code)
	}
}

// profile writes a CPU profile of the next seconds to a file of the directory that
// the flag names. The returned func waits for it.
func (w *weirContender) profile(t *testing.T, name string, length time.Duration) (wait func()) {
	t.Helper()
	if w.profiler == "" {
		return func() {}
	}
	done := make(chan error, 1)
	go func() { // ends with the profile
		url := fmt.Sprintf("http://%s/?seconds=%d", w.profiler, max(1, int(length.Seconds())))
		done <- download(url, filepath.Join(*compareProfile, strings.ReplaceAll(name, "/", "-")+".pprof"))
	}()
	return func() {
		if err := <-done; err != nil {
			t.Errorf("profile of %s: %v", name, err)
		}
	}
}

func download(url, file string) error {
	response, err := http.Get(url)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return errors.New(response.Status)
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, body, 0o644)
}

// nginxContender is a running nginx with two servers: one of files, one that
// caches what the origin has.
type nginxContender struct {
	*contender

	Dir, Files, Origin, Cert, Key string
	Root                          bool // it starts as root, and has to read what only root may
	Static, StaticTLS             string
	Cache, CacheTLS               string
}

// nginx starts it with the certificate of a node. With origin "" its cache is in
// front of its own files.
func (c *comparison) nginx(t *testing.T, ports []string, files, origin, stateDir string) *nginxContender {
	t.Helper()
	path := proof.RequireTool(t, "nginx", "nginx-light")
	n := &nginxContender{
		Dir: t.TempDir(), Files: files, Origin: origin, Root: os.Geteuid() == 0,
		Cert: filepath.Join(stateDir, "tls", "cert.pem"), Key: filepath.Join(stateDir, "tls", "key.pem"),
		Static: ports[0], StaticTLS: ports[1], Cache: ports[2], CacheTLS: ports[3],
	}
	if n.Origin == "" {
		n.Origin = "http://" + n.Static
	}
	var text bytes.Buffer
	if err := template.Must(template.ParseFiles("testdata/compare/nginx.conf")).Execute(&text, n); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(n.Dir, "nginx.conf")
	if err := os.WriteFile(config, text.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	n.contender = c.launch(t, nil, path, "-p", n.Dir, "-c", config, "-e", filepath.Join(n.Dir, "error.log"))
	return n
}

// varnish starts it in front of an origin, host:port.
func (c *comparison) varnish(t *testing.T, origin string) (s *contender, address string) {
	t.Helper()
	path := proof.RequireTool(t, "varnishd", "varnish")
	address = freePorts(t, 1)[0]
	args := []string{
		"-F", "-a", address, "-b", origin, "-n", t.TempDir(), "-T", "none", "-s", "malloc,256m",
		"-p", "thread_pool_min=300", // in each of two pools: a thread for each client, before it comes
	}
	if os.Geteuid() == 0 {
		args = append([]string{"-j", "none"}, args...) // its other user could not reach the directory
	}
	return c.launch(t, nil, path, args...), address
}

// freePorts returns addresses on 127.0.0.1 that nobody uses yet, for servers that
// cannot tell which port they took.
func freePorts(t *testing.T, n int) []string {
	t.Helper()
	addresses := make([]string, n)
	for i := range addresses {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close() // all at the end, so that they differ
		addresses[i] = l.Addr().String()
	}
	return addresses
}
