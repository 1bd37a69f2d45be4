package front

import (
	"encoding/xml"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestH2spec runs github.com/summerwind/h2spec against the front, strict cases included.
// .ci/run says how to build it.
func TestH2spec(t *testing.T) {
	t.Parallel()
	program, err := exec.LookPath("h2spec")
	if err != nil {
		const text = "h2spec is not installed: build github.com/summerwind/h2spec/cmd/h2spec as .ci/run does"
		if os.Getenv("WEIR_REQUIRE_TOOLS") == "1" {
			t.Fatal(text)
		}
		t.Skip(text)
	}
	s := start(t, Options{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, strings.Repeat("x", 2000))
	})})
	host, port, err := net.SplitHostPort(s.HTTPSAddr())
	if err != nil {
		t.Fatal(err)
	}
	report := filepath.Join(t.TempDir(), "report.xml")
	cmd := exec.CommandContext(t.Context(), program, "-h", host, "-p", port, "-t", "-k", "-S", "-P", "/", "-o", "5", "-j", report)
	out, runErr := cmd.CombinedOutput() // an error where a case failed
	b, err := os.ReadFile(report)
	if err != nil {
		t.Fatalf("%v, %v:\n%s", err, runErr, out)
	}
	var suites struct {
		Suites []struct {
			Cases []struct {
				Package string    `xml:"package,attr"`
				Name    string    `xml:"classname,attr"`
				Failure *struct{} `xml:"failure"`
				Error   *struct{} `xml:"error"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal(b, &suites); err != nil {
		t.Fatalf("%v in:\n%s", err, b)
	}
	passed, cases := 0, 0
	for _, suite := range suites.Suites {
		for _, c := range suite.Cases {
			cases++
			if c.Failure == nil && c.Error == nil {
				passed++
			} else {
				t.Errorf("%s: %s", c.Package, c.Name)
			}
		}
	}
	if t.Logf("%d of %d passed", passed, cases); cases < 140 {
		t.Errorf("only %d cases were run:\n%s", cases, out)
	}
}
