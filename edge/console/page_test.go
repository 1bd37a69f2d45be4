package console

import (
	"os"
	"os/exec"
	"testing"
)

// TestPageModules runs the tests of the page's own code.
func TestPageModules(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("node"); err != nil {
		if os.Getenv("WEIR_REQUIRE_TOOLS") == "1" {
			t.Fatal("install the package nodejs")
		}
		t.Skip("install the package nodejs")
	}
	if out, err := exec.CommandContext(t.Context(), "node", "--test", "testdata/api.test.mjs").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}
