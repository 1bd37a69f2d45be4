package cache

import (
	"bytes"
	"encoding/hex"
	"hash/fnv"
	"net/http"
	"reflect"
	"testing"
	"time"

	"weir/cache/freshness"
)

func TestStoredHeadRoundTrip(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 123).UTC()
	tests := []stored{
		{version: 1, text: "", head: Head{Header: http.Header{}}},
		{version: 1 << 63, text: "k\x00\xff", head: Head{
			Status: 599, Header: http.Header{"A": {"1", ""}, "B": {}, "X-Latin": {"caf\xe9"}},
			RequestTime: now, ResponseTime: now.Add(time.Second), Fetched: now.Add(-time.Minute), Tags: []uint64{1, 1 << 63},
			Freshness: freshness.Freshness{
				Lifetime: time.Hour, InitialAge: time.Second, StaleWhileRevalidate: 3, StaleIfError: 4,
				ResponseTime: now, NoCache: true, Immutable: true,
			},
		}},
		{version: 2, text: "m", head: Head{Header: http.Header{}, Sliced: 4 << 30, Freshness: freshness.Freshness{MustRevalidate: true}}},
	}
	for _, want := range tests {
		b := want.encode()
		got, err := parseStored(b)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("round trip:\n got %+v, %v\nwant %+v", got, err, want)
		}
		for n := range b {
			if _, err := parseStored(b[:n]); err == nil {
				t.Errorf("%q cut to %d bytes is accepted", want.text, n)
			}
		}
		if _, err := parseStored(append(b, 0)); err == nil {
			t.Errorf("%q with another byte is accepted", want.text)
		}
	}
}

// The encoding is stored: it may change with headVersion only.
func TestStoredHeadIsStable(t *testing.T) {
	t.Parallel()
	s := stored{version: 0x0102, text: "key", head: Head{
		Status: 200, Header: http.Header{"B": {"2"}, "A": {"1"}},
		ResponseTime: time.Unix(5, 6), Fetched: time.Unix(5, 8), Tags: []uint64{7}, Freshness: freshness.Freshness{Lifetime: 7},
	}}
	const want = "020201000000000000036b6579c801ffdb8ff9ce03000a060a080107000000000000000e000000ffdb8ff9ce030000000201410101310142010132"
	if got := hex.EncodeToString(s.encode()); got != want {
		t.Errorf("encoding\n got %s\nwant %s", got, want)
	}
}

func FuzzParseStored(f *testing.F) {
	f.Add((&stored{version: 1, text: "k", head: head(3)}).encode())
	f.Add([]byte{headVersion})
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := parseStored(b)
		if err != nil {
			return
		}
		once := s.encode()
		again, err := parseStored(once)
		if err != nil {
			t.Fatalf("own encoding is not accepted: %v", err)
		}
		if twice := again.encode(); !bytes.Equal(once, twice) {
			t.Errorf("encoding is not stable:\n%x\n%x", once, twice)
		}
	})
}

func TestFNVIsTheStandardOne(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "a", "https://example.com/vod/demo", string(pattern(1, 1000))} {
		want := fnv.New128a()
		_, _ = want.Write([]byte(text)) // never fails
		high, low := fnv128(text)
		var got [16]byte
		for i := range 8 {
			got[i], got[8+i] = byte(high>>(56-8*i)), byte(low>>(56-8*i))
		}
		if !bytes.Equal(got[:], want.Sum(nil)) {
			t.Errorf("fnv128(%.10q) = %x, want %x", text, got, want.Sum(nil))
		}
	}
}

// The finaliser spreads texts that differ in their last byte only.
func TestKeysSpread(t *testing.T) {
	t.Parallel()
	var ring, spread [64]int
	const n = 64 * 1000
	for i := range n {
		id := NewKey("https://example.com/vod/demo/seg-" + string([]byte{byte('0' + i/25600), byte(i / 160 % 160), byte(i % 160)})).ID
		ring[id.Hash64()>>58]++
		spread[id.spread()%64]++
	}
	for i := range ring {
		for _, got := range []int{ring[i], spread[i]} {
			if got < 800 || got > 1200 {
				t.Errorf("bucket %d has %d of %d keys, want about %d", i, got, n, n/64)
			}
		}
	}
}
