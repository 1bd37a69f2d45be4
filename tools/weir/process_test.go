package main

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// asWeir makes the test binary behave as weir itself: child processes that can
// be killed for real.
const asWeir = "WEIR_TEST_AS_WEIR"

func TestMain(m *testing.M) {
	if os.Getenv(asWeir) != "" {
		main()
		return
	}
	if priority := os.Getenv(asActor); priority != "" {
		act(priority, os.Args[1:])
		return
	}
	os.Exit(m.Run())
}

// process is a running weir, or another program.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended

	mu    sync.Mutex // guards the fields below
	lines []string
	news  chan struct{} // closed at each new line, then replaced
}

// startWeir runs weir with these arguments until the test ends.
func startWeir(t testing.TB, args ...string) *process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, args...)
	cmd.Env = childEnv(t, asWeir+"=1")
	cmd.Dir = "../.." // the repository, where the player page finds hls.js
	return startProcess(t, cmd)
}

// startProcess runs a command until the test ends, and reads what it says; its
// output only where cmd has no other place for it.
func startProcess(t testing.TB, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{cmd: cmd, done: make(chan struct{}), news: make(chan struct{})}
	reader, writer := io.Pipe()
	if p.cmd.Stderr = writer; p.cmd.Stdout == nil {
		p.cmd.Stdout = writer
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go p.read(reader) // ends with the pipe, which closes when the process has ended
	go func() {
		_ = p.cmd.Wait() // how it ends is the test's business
		writer.Close()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.stop()
		if t.Failed() {
			t.Logf("%s:\n%s", strings.Join(p.cmd.Args, " "), p.output())
		}
	})
	return p
}

func (p *process) read(r io.Reader) {
	for s := bufio.NewScanner(r); s.Scan(); {
		p.mu.Lock()
		p.lines = append(p.lines, s.Text())
		close(p.news)
		p.news = make(chan struct{})
		p.mu.Unlock()
	}
}

// kill ends it as a power cut would.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.done
}

// stop asks it to end, and insists after a while. It returns the exit code.
func (p *process) stop() int {
	_ = p.cmd.Process.Signal(os.Interrupt) // it may have ended
	select {
	case <-p.done:
	case <-time.After(20 * time.Second):
		p.kill()
	}
	return p.cmd.ProcessState.ExitCode()
}

func (p *process) output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.lines, "\n")
}

// signal sends a signal.
func (p *process) signal(t testing.TB, s os.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// await waits for a line that matches and returns its last group.
func (p *process) await(t testing.TB, pattern string) string {
	t.Helper()
	found := p.awaitOrEnd(t, pattern)
	if found == "" {
		t.Fatalf("weir ended (exit code %d) before it said %s:\n%s", p.cmd.ProcessState.ExitCode(), pattern, p.output())
	}
	return found
}

// awaitTimes waits until a text stands in so many lines.
func (p *process) awaitTimes(t testing.TB, text string, times int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		p.mu.Lock()
		found, news := strings.Count(strings.Join(p.lines, "\n"), text), p.news
		p.mu.Unlock()
		if found >= times {
			return
		}
		select {
		case <-news:
		case <-p.done:
			t.Fatalf("weir ended:\n%s", p.output())
		case <-ctx.Done():
			t.Fatalf("weir did not say %q for the %dth time:\n%s", text, times, p.output())
		}
	}
}

// awaitOrEnd is await, and "" when the process ends first.
func (p *process) awaitOrEnd(t testing.TB, pattern string) string {
	t.Helper()
	expression := regexp.MustCompile(pattern)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for from := 0; ; {
		p.mu.Lock()
		lines, news := p.lines[from:], p.news
		from = len(p.lines)
		p.mu.Unlock()
		for _, line := range lines {
			if match := expression.FindStringSubmatch(line); match != nil {
				return match[len(match)-1]
			}
		}
		select {
		case <-news:
		case <-p.done:
			return ""
		case <-ctx.Done():
			t.Fatalf("weir never said %s:\n%s", pattern, p.output())
		}
	}
}

// awaitReady waits until the operators' address says that the node is ready.
func awaitReady(t testing.TB, admin string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+admin+"/readyz", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		if response, err := http.DefaultTransport.RoundTrip(request); err == nil {
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("the node at %s was not ready in a minute", admin)
		}
	}
}
