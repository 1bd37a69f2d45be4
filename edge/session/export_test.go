package session

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// alone is a node without a cluster.
func alone(t *testing.T, most int) *Book {
	t.Helper()
	b, err := New(Options{Name: "n", Keys: func() [][]byte { return testKeys }, Max: most})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// handOver gives all of one book to another.
func handOver(t *testing.T, from, to *Book) (parts int) {
	t.Helper()
	if err := from.Export(func(part []byte) error { parts++; return to.Import(part) }); err != nil {
		t.Fatal(err)
	}
	return parts
}

// TestHandOver: who watches at one process watches at the next, with the rest of the lease, what counts against the limit, and
// what has ended; and a second hand-over brings what changed since.
func TestHandOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		before, after, p := alone(t, 0), alone(t, 0), PlaceOf(testKeys[0], "account", "ann")
		open := func(b *Book) (Session, error) {
			return b.Open(t.Context(), p, Opening{Session: Session{Asset: "demo"}, Limit: 2})
		}
		one, err := open(before)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(DefaultLease / 3)
		two, err := open(before)
		if err != nil {
			t.Fatal(err)
		}
		handOver(t, before, after)
		var conflict *Conflict
		if _, err := open(after); !errors.As(err, &conflict) || len(conflict.Sessions) != 2 {
			t.Errorf("a third session: %v, want a conflict with two", err)
		}
		if _, err := before.End(t.Context(), two.ID); err != nil { // at the process that drains
			t.Fatal(err)
		}
		handOver(t, before, after)
		if _, err := after.Renew(t.Context(), two.ID); !errors.Is(err, ErrEnded) {
			t.Errorf("a session that was ended meanwhile: %v", err)
		}
		three, err := open(after)
		if err != nil {
			t.Errorf("in its place: %v", err)
		}
		handOver(t, before, after)
		time.Sleep(DefaultLease/3*2 - time.Second)
		if _, err := after.Renew(t.Context(), three.ID); err != nil {
			t.Errorf("a session that only the next process knows: %v", err)
		}
		time.Sleep(2 * time.Second)
		if _, err := after.Renew(t.Context(), one.ID); !errors.Is(err, ErrEnded) {
			t.Errorf("a session whose lease began in the process before: %v, want its end", err)
		}
	})
}

// TestHandOverOfMany: parts stay small, and what does not fit is left out.
func TestHandOverOfMany(t *testing.T) {
	t.Parallel()
	const many = 2*exportPart + 500
	before, p := alone(t, 0), PlaceOf(testKeys[0], "asset", "final")
	for i := range many {
		if _, err := before.Open(t.Context(), p, Opening{Session: Session{Asset: "final"}}); err != nil {
			t.Fatal(err)
		}
		if _, err := before.Open(t.Context(), PlaceOf(testKeys[0], "account", fmt.Sprint(i)), Opening{}); err != nil {
			t.Fatal(err)
		}
	}
	after, small := alone(t, 0), alone(t, 100)
	largest := 0
	if err := before.Export(func(part []byte) error { largest = max(largest, len(part)); return after.Import(part) }); err != nil {
		t.Fatal(err)
	}
	if got := after.Len(); got != before.Len() || got != 2*many {
		t.Errorf("%d of %d sessions came", got, before.Len())
	}
	if most := 2 * exportPart * 400; largest > most {
		t.Errorf("a part has %d bytes, want up to %d", largest, most)
	}
	a := after.all(p)
	if a.Part || len(a.Sessions) != many {
		t.Errorf("of the large group %d sessions came, part: %v", len(a.Sessions), a.Part)
	}
	handOver(t, before, small)
	if small.Len() != 100 {
		t.Errorf("%d sessions are where 100 fit", small.Len())
	}
	if err := before.Import([]byte("no")); err == nil || !strings.Contains(err.Error(), "malformed") {
		t.Errorf("got %v", err)
	}
	failed := errors.New("gone")
	if err := before.Export(func([]byte) error { return failed }); !errors.Is(err, failed) {
		t.Errorf("got %v", err)
	}
}
