package notice

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestYieldedFile: while another process of the node has the file, it is left alone.
func TestYieldedFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "notices")
	never := make(chan struct{})
	b, err := New(Options{
		Name: "a", File: file, Joined: func() <-chan struct{} { return never }, Peers: func() []Peer { return nil },
		Send:  func(_ context.Context, _ Peer, _ []byte) ([]byte, error) { return nil, nil },
		Apply: func([]Record) (int, error) { return 0, nil }, Lapse: func(time.Duration) error { return nil },
	}, time.Unix(1_700_000_000, 0))
	if err != nil {
		t.Fatal(err)
	}
	post := func() {
		t.Helper()
		if _, err := b.Post(t.Context(), json.RawMessage(`{}`)); err != nil {
			t.Fatal(err)
		}
	}
	b.Yield()
	post()
	if _, err := os.Stat(file); err == nil {
		t.Error("the file is written after Yield")
	}
	b.Reclaim()
	post()
	if _, err := os.Stat(file); err != nil {
		t.Errorf("the file is not written after Reclaim: %v", err)
	}
}
