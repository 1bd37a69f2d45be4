package front

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"

	"weir/tools/proof"
)

// TestInterop has a client that shares no code with us (ngtcp2, nghttp3 and GnuTLS) fetch a
// file and compares what it stored. Its exit status says nothing.
func TestInterop(t *testing.T) {
	t.Parallel()
	program := proof.RequireTool(t, "gtlsclient", "ngtcp2-client")
	file, content := segment(t, segmentBytes)
	var requests, early atomic.Int64
	s := start(t, Options{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		if r.Header.Get("Early-Data") == "1" {
			early.Add(1)
		}
		w.Header()["Content-Length"] = []string{strconv.Itoa(len(content))}
		_, _ = w.(io.ReaderFrom).ReadFrom(newFileRange(file, 0, segmentBytes))
	})})
	host, port, err := net.SplitHostPort(s.HTTPSAddr())
	if err != nil {
		t.Fatal(err)
	}
	fetch := func(t *testing.T, args ...string) (log []byte) {
		t.Helper()
		dir := t.TempDir()
		ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
		defer cancel()
		args = append(args, "--no-quic-dump", "--no-http-dump", "--exit-on-all-streams-close", "--download="+dir, host, port, "https://localhost:"+port+"/segment")
		before := requests.Load()
		log, _ = exec.CommandContext(ctx, program, args...).CombinedOutput() // the status is no verdict
		got, err := os.ReadFile(filepath.Join(dir, "segment"))
		if err != nil || !bytes.Equal(got, content) || requests.Load() == before {
			t.Errorf("%d of %d bytes, %v, %d requests:\n%.3000s", len(got), len(content), err, requests.Load()-before, log)
		}
		return log
	}
	t.Run("transfer", func(t *testing.T) { fetch(t) })
	t.Run("ChaCha20", func(t *testing.T) {
		log := fetch(t, "--ciphers=NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+CHACHA20-POLY1305")
		if !bytes.Contains(log, []byte("CHACHA20-POLY1305")) {
			t.Errorf("the cipher is not in the log:\n%.2000s", log)
		}
	})
	t.Run("key update", func(t *testing.T) {
		if log := fetch(t, "--key-update=1ms"); !bytes.Contains(log, []byte("key update")) && !bytes.Contains(log, []byte("Key update")) {
			t.Errorf("no key update in the log:\n%.3000s", log)
		}
	})
	t.Run("loss", func(t *testing.T) { fetch(t, "--rx-loss=0.05", "--tx-loss=0.05") })
	t.Run("migration", func(t *testing.T) { fetch(t, "--change-local-addr=5ms") })
	t.Run("small windows", func(t *testing.T) { fetch(t, "--max-stream-data-bidi-local=10K", "--max-data=20K") })
	t.Run("0-RTT", func(t *testing.T) {
		dir := t.TempDir()
		files := []string{"--session-file=" + filepath.Join(dir, "session"), "--tp-file=" + filepath.Join(dir, "tp"), "--token-file=" + filepath.Join(dir, "token")}
		fetch(t, files...)
		log := fetch(t, files...)
		if early.Load() == 0 {
			t.Logf("no request came early:\n%.3000s", log)
		}
	})
}
