package proof

import (
	"bytes"
	"errors"
	"reflect"
	"testing"
	"time"
)

func entries() []Entry {
	at := time.Date(2000, 1, 1, 0, 0, 1, 5, time.UTC)
	return []Entry{
		{
			Start: at, Head: at.Add(1), End: at.Add(time.Hour), As: "a b", Node: "-", Method: "GET", URL: "http://h/p?q=%20", Range: "bytes=0-1",
			Status: 206, Version: 3, Bytes: 2, Age: 7, Outcome: "hit", Body: BodyOK,
		},
		{Start: at, Head: at, End: at, Age: -1},
	}
}

func TestHistoryText(t *testing.T) {
	t.Parallel()
	h := &History{}
	for _, e := range entries() {
		h.Add(e)
	}
	var text bytes.Buffer
	if err := h.Write(&text); err != nil {
		t.Fatal(err)
	}
	again, err := ReadHistory(&text)
	if err != nil || !reflect.DeepEqual(again.Entries(), entries()) {
		t.Errorf("got %+v, %v, want %+v", again, err, entries())
	}
	for _, bad := range []string{"", "a b c", entries()[0].String() + " x", "x" + entries()[1].String()} {
		if _, err := ParseEntry(bad); err == nil {
			t.Errorf("ParseEntry(%q) took it", bad)
		}
	}
}

func TestHistoryFuture(t *testing.T) {
	t.Parallel()
	h, e := &History{}, entries()[0]
	h.Add(e)
	if err := h.CheckStaleness(NewOracle(""), time.Hour, nil); !errors.Is(err, ErrStale) {
		t.Errorf("a version that never was current: got %v, want %v", err, ErrStale)
	}
}

func FuzzParseEntry(f *testing.F) {
	for _, e := range entries() {
		f.Add(e.String())
	}
	f.Fuzz(func(t *testing.T, line string) {
		once, err := ParseEntry(line)
		if err != nil {
			return
		}
		twice, err := ParseEntry(once.String())
		if err != nil || twice.String() != once.String() {
			t.Fatalf("not stable: %q, %q, %v", once, twice, err)
		}
	})
}
