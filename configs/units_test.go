package configs

import (
	"strings"
	"testing"
	"time"
)

func TestParseBytes(t *testing.T) {
	t.Parallel()
	tests := []struct {
		in   string
		want Bytes
		text string // as written back
		fail string // part of the error
	}{
		{in: "10GiB", want: 10 << 30, text: "10GiB"},
		{in: "10GB", want: 10e9, text: "10GB"},
		{in: "1.5GiB", want: 3 << 29, text: "1536MiB"},
		{in: "512 MiB", want: 512 << 20, text: "512MiB"},
		{in: "64KiB", want: 64 << 10, text: "64KiB"},
		{in: "64kB", want: 64000, text: "64kB"},
		{in: "2TiB", want: 2 << 40, text: "2TiB"},
		{in: "17B", want: 17, text: "17B"},
		{in: "0", want: 0, text: "0"},
		{in: "9007199254740993B", want: 9007199254740993, text: "9007199254740993B"},
		{in: "10", fail: "10 has no unit: write 10GiB or 10GB"},
		{in: "10G", fail: "10G has the unknown unit G: write 10GiB"},
		{in: "10gb", fail: "10gb has the unknown unit gb: write 10GB"},
		{in: "10 parsecs", fail: "unknown unit parsecs: use KiB"},
		{in: "-1GiB", fail: `"-1GiB" is no size`},
		{in: "1.2.3GiB", fail: "is no size"},
		{in: "", fail: "is no size"},
		{in: "9000000TiB", fail: "is too much"},
	}
	for _, tt := range tests {
		got, err := ParseBytes(tt.in)
		if tt.fail != "" {
			if err == nil || !strings.Contains(err.Error(), tt.fail) {
				t.Errorf("ParseBytes(%q): got %v, %v, want an error with %q", tt.in, got, err, tt.fail)
			}
			continue
		}
		if err != nil || got != tt.want || got.String() != tt.text {
			t.Errorf("ParseBytes(%q): got %d (%s), %v, want %d (%s)", tt.in, got, got, err, tt.want, tt.text)
		}
	}
}

func TestParseDuration(t *testing.T) {
	t.Parallel()
	tests := []struct {
		in   string
		want time.Duration
		text string
		fail string
	}{
		{in: "200ms", want: 200 * time.Millisecond, text: "200ms"},
		{in: "1m30s", want: 90 * time.Second, text: "1m30s"},
		{in: "60s", want: time.Minute, text: "1m"},
		{in: "60m", want: time.Hour, text: "1h"},
		{in: "7d", want: 7 * 24 * time.Hour, text: "7d"},
		{in: "1d12h", want: 36 * time.Hour, text: "1d12h"},
		{in: "0.5d", want: 12 * time.Hour, text: "12h"},
		{in: "0", want: 0, text: "0"},
		{in: "5", fail: "5 has no unit: write 5s or 5ms"},
		{in: "5 days", fail: "is no duration"},
		{in: "-5s", fail: "is no duration"},
		{in: "1d-12h", fail: "is no duration"},
		{in: "soon", fail: "is no duration"},
		{in: "200000d", fail: "is no duration"},
	}
	for _, tt := range tests {
		got, err := ParseDuration(tt.in)
		if tt.fail != "" {
			if err == nil || !strings.Contains(err.Error(), tt.fail) {
				t.Errorf("ParseDuration(%q): got %v, %v, want an error with %q", tt.in, got, err, tt.fail)
			}
			continue
		}
		if err != nil || got.D() != tt.want || got.String() != tt.text {
			t.Errorf("ParseDuration(%q): got %v (%s), %v, want %v (%s)", tt.in, got.D(), got, err, tt.want, tt.text)
		}
	}
}

func FuzzParseBytes(f *testing.F) {
	f.Add("10GiB")
	f.Add("1.5kB")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := ParseBytes(text)
		if err != nil {
			return
		}
		again, err := ParseBytes(got.String())
		if err != nil || again != got || got < 0 {
			t.Fatalf("ParseBytes(%q) = %d, written %q, read back as %d, %v", text, got, got, again, err)
		}
	})
}

func FuzzParseDuration(f *testing.F) {
	f.Add("1d12h")
	f.Add("0.000000001d3.7us")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := ParseDuration(text)
		if err != nil {
			return
		}
		again, err := ParseDuration(got.String())
		if err != nil || again != got || got < 0 {
			t.Fatalf("ParseDuration(%q) = %d, written %q, read back as %d, %v", text, got, got, again, err)
		}
	})
}
