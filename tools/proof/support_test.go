package proof

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// double records what a helper says of a test.
type double struct {
	testing.TB
	cleanups []func()
	said     string
	verdict  string
}

func (d *double) Name() string              { return "double" }
func (d *double) Helper()                   {}
func (d *double) Cleanup(f func())          { d.cleanups = append(d.cleanups, f) }
func (d *double) Errorf(f string, a ...any) { d.verdict, d.said = "error", fmt.Sprintf(f, a...) }
func (d *double) Fatal(a ...any)            { d.verdict, d.said = "fatal", fmt.Sprint(a...); runtime.Goexit() }

func (d *double) Skip(a ...any) { d.verdict, d.said = "skip", fmt.Sprint(a...); runtime.Goexit() }

// try runs f as a test of its own.
func try(f func(d *double)) *double {
	d := &double{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			for _, c := range d.cleanups {
				c()
			}
		}()
		f(d)
	}()
	<-done
	return d
}

func TestGoroutines(t *testing.T) {
	t.Parallel()
	stop := make(chan struct{})
	leaky := try(func(d *double) {
		Goroutines(d)
		made := make(chan struct{})
		go func() {
			go func() { <-stop }() // its parent ends first
			close(made)
		}()
		<-made
	})
	if leaky.verdict != "error" || !strings.Contains(leaky.said, "support_test.go") {
		t.Errorf("got %q %q, want an error with the place", leaky.verdict, leaky.said)
	}
	clean := try(func(d *double) {
		Goroutines(d)
		ended := make(chan struct{})
		go func() { close(ended) }()
		<-ended
	})
	if clean.verdict != "" {
		t.Errorf("got %q %q, want nothing: the goroutine of the other test is not its own", clean.verdict, clean.said)
	}
	close(stop)
}

func TestRequireTool(t *testing.T) {
	const missing = "no-such-program"
	t.Setenv("WEIR_REQUIRE_TOOLS", "")
	if d := try(func(d *double) { RequireTool(d, missing, "some-package") }); d.verdict != "skip" || !strings.Contains(d.said, "apt-get install some-package") {
		t.Errorf("got %q %q, want a skip that names the package", d.verdict, d.said)
	}
	t.Setenv("WEIR_REQUIRE_TOOLS", "1")
	if d := try(func(d *double) { RequireTool(d, missing, "some-package") }); d.verdict != "fatal" {
		t.Errorf("got %q, want fatal", d.verdict)
	}
	var path string
	if d := try(func(d *double) { path = RequireTool(d, "sh", "dash") }); d.verdict != "" || path == "" {
		t.Errorf("got %q %q, want the path of sh", d.verdict, path)
	}
}
