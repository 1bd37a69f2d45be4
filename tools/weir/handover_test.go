package main

import (
	"net/http"
	"os"
	"syscall"
	"testing"
	"time"

	"weir/cache/tag"
	"weir/edge/console"
)

// linePair returns both ends of a hand-over.
func linePair(t *testing.T) (before, after *line) {
	t.Helper()
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	for i, end := range []**line{&before, &after} {
		if *end, err = newLine(os.NewFile(uintptr(pair[i]), "hand-over")); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = (*end).conn.Close() })
	}
	return before, after
}

// TestPurgesAfterOneThatWasLate: who purges hears that the process which has taken over did not confirm in time; later purges are
// confirmed again, each by its own answer.
func TestPurgesAfterOneThatWasLate(t *testing.T) {
	t.Parallel()
	n := newSemanticsNode(t, func(w http.ResponseWriter, _ *http.Request, _ int) { w.WriteHeader(http.StatusOK) }).node
	before, after := linePair(t)
	s := &successor{line: before}
	n.purges.Share(func() error { return n.tellPurge(s) })
	n.upgrades.successor.Store(s)
	defer n.upgrades.successor.Store(nil) // it has no process
	purge := func() string {
		r, err := n.purge(t.Context(), console.Purge{Kind: string(tag.URL), Items: []string{"http://127.0.0.1/a"}})
		if err != nil || len(r.Nodes) != 1 {
			t.Errorf("%+v, %v", r, err)
			return ""
		}
		if own := r.Nodes[0]; (own.State == console.Applied) != (own.Error == "") || (own.State == console.Applied) != (own.Time != nil) {
			t.Errorf("%+v", own)
		}
		return r.Nodes[0].State
	}
	hear := func() {
		t.Helper()
		if m, err := after.await(t.Context(), sayPurged); err != nil {
			t.Fatal(m, err)
		}
	}
	obeyed := func() {
		t.Helper()
		if err := after.say(message{Say: sayObeyed}); err != nil {
			t.Fatal(err)
		}
	}
	if got := purge(); got != console.Missing {
		t.Fatalf("nobody has answered: %q", got)
	}
	hear()
	done := make(chan string, 1)
	go func() { done <- purge() }() // ends with the answer
	hear()
	obeyed() // the first one
	select {
	case got := <-done:
		t.Fatalf("%q by the answer to the purge before", got)
	case <-time.After(20 * time.Millisecond):
	}
	obeyed()
	if got := <-done; got != console.Applied {
		t.Errorf("a purge after one that was late: %q", got)
	}
	if err := after.conn.Close(); err != nil {
		t.Fatal(err)
	}
	if got := purge(); got != console.Missing {
		t.Errorf("the process that has taken over has ended: %q", got)
	}
}

// TestHalfAMessage: what came before a deadline counts with what comes after it.
func TestHalfAMessage(t *testing.T) {
	t.Parallel()
	before, after := linePair(t)
	for i, part := range []string{`{"say":`, `"obeyed"`, "}\n"} {
		if _, err := after.conn.Write([]byte(part)); err != nil {
			t.Fatal(err)
		}
		_ = before.conn.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
		if i == 2 {
			_ = before.conn.SetReadDeadline(time.Time{})
		}
		m, err := before.hear()
		if (err == nil) != (i == 2) || err == nil && m.Say != sayObeyed {
			t.Errorf("after %q: %+v, %v", part, m, err)
		}
	}
}
