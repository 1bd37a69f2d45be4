package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
)

// mostReports is how much a test shows of what the race detector wrote: a report has 2 to 4 KiB.
const mostReports = 64 << 10

// childEnv is the environment for a process that a test starts: ours, and more. A data race in that process, or in one that it
// starts itself, fails the test. The caller ends the process in a cleanup that it registers behind this call.
func childEnv(t testing.TB, more ...string) []string {
	t.Helper()
	dir := t.TempDir()
	t.Cleanup(func() {
		if reports := raceReports(t, dir); reports != "" {
			t.Errorf("in a child process:\n%s", reports)
		}
	})
	return append(append(os.Environ(), more...), logRaces(dir))
}

// logRaces is the variable that has the race detector of a process write into files of dir, also if the process is killed.
func logRaces(dir string) string {
	return "GORACE=" + os.Getenv("GORACE") + " log_path=" + filepath.Join(dir, "race")
}

// raceReports is what race detectors have written into dir.
func raceReports(t testing.TB, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "race.*"))
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text[:min(len(text), mostReports-all.Len())])
	}
	return all.String()
}

// raceVariable has TestRacesOfChildren be the child.
const raceVariable = "WEIR_TEST_RACE"

// TestRacesOfChildren: what the race detector finds in a child process comes to its test.
func TestRacesOfChildren(t *testing.T) {
	if os.Getenv(raceVariable) != "" {
		n, done := 0, make(chan struct{})
		go func() {
			n++
			close(done)
		}()
		n++
		<-done
		return
	}
	build, _ := debug.ReadBuildInfo()
	if build == nil || !slices.Contains(build.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		t.Skip("for -race")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cmd := exec.Command(self, "-test.run=^TestRacesOfChildren$")
	cmd.Env = append(os.Environ(), raceVariable+"=1", logRaces(dir))
	out, _ := cmd.CombinedOutput() // a race fails it
	if reports := raceReports(t, dir); !strings.Contains(reports, "WARNING: DATA RACE") || !strings.Contains(reports, "TestRacesOfChildren") {
		t.Errorf("reports %q; the child says %q", reports, out)
	}
}
