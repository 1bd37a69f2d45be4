package byterange

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	t.Parallel()
	const huge = "99999999999999999999999999999999"
	tests := []struct {
		name string
		in   string
		size int64
		want []Range
		err  error
	}{
		{"first and last", "bytes=0-499", 1000, []Range{{0, 500}}, nil},
		{"open end", "bytes=500-", 1000, []Range{{500, 500}}, nil},
		{"last past the end", "bytes=500-5000", 1000, []Range{{500, 500}}, nil},
		{"one byte", "bytes=999-999", 1000, []Range{{999, 1}}, nil},
		{"suffix", "bytes=-300", 1000, []Range{{700, 300}}, nil},
		{"suffix longer than the object", "bytes=-3000", 1000, []Range{{0, 1000}}, nil},
		{"empty suffix", "bytes=-0", 1000, nil, ErrUnsatisfiable},
		{"long empty suffix", "bytes=-0000", 1000, nil, ErrUnsatisfiable},
		{"empty suffix beside a good part", "bytes=-0,0-1", 1000, []Range{{0, 2}}, nil},
		{"first at the size", "bytes=1000-", 1000, nil, ErrUnsatisfiable},
		{"first past the size beside a good part", "bytes=5000-6000,1-2", 1000, []Range{{1, 2}}, nil},
		{"unit in capitals", "BYTES=0-1", 1000, []Range{{0, 2}}, nil},
		{"other unit", "items=0-1", 1000, nil, ErrNone},
		{"no field", "", 1000, nil, ErrNone},
		{"unit alone", "bytes", 1000, nil, ErrNone},
		{"empty set", "bytes=", 1000, nil, ErrNone},
		{"only commas", "bytes=,,", 1000, nil, ErrNone},
		{"no dash", "bytes=5", 1000, nil, ErrNone},
		{"dash alone", "bytes=-", 1000, nil, ErrNone},
		{"last before first", "bytes=5-4", 1000, nil, ErrNone},
		{"last before first past the end", "bytes=5000-4000", 1000, nil, ErrNone},
		{"one bad part spoils all", "bytes=0-1,5-4", 1000, nil, ErrNone},
		{"not a number", "bytes=a-b", 1000, nil, ErrNone},
		{"signs", "bytes=+1-2", 1000, nil, ErrNone},
		{"two dashes", "bytes=1--2", 1000, nil, ErrNone},
		{"hexadecimal", "bytes=0x1-2", 1000, nil, ErrNone},
		{"wide digits", "bytes=１-2", 1000, nil, ErrNone},
		{"blanks around the field", "  bytes=0-1\t", 1000, []Range{{0, 2}}, nil},
		{"blanks around commas", "bytes=0-1 ,\t5-6", 1000, []Range{{0, 2}, {5, 2}}, nil},
		{"blank before equals", "bytes =0-1", 1000, nil, ErrNone},
		{"blank after equals", "bytes= 0-1", 1000, nil, ErrNone},
		{"blanks in a range", "bytes=0 - 1", 1000, nil, ErrNone},
		{"empty elements", "bytes=,0-1,,5-6,", 1000, []Range{{0, 2}, {5, 2}}, nil},
		{"too many empty elements", "bytes=" + strings.Repeat(",", 30) + "0-1", 1000, nil, ErrNone},
		{"overlong first", "bytes=" + huge + "-", 1000, nil, ErrUnsatisfiable},
		{"overlong last", "bytes=990-" + huge, 1000, []Range{{990, 10}}, nil},
		{"overlong suffix", "bytes=-" + huge, 1000, []Range{{0, 1000}}, nil},
		{"overlong both, reversed", "bytes=" + huge + "9-" + huge, 1000, nil, ErrNone},
		{"leading zeros", "bytes=000000000000000000000000005-06", 1000, []Range{{5, 2}}, nil},
		{"overlap", "bytes=0-10,5-20", 1000, []Range{{0, 21}}, nil},
		{"touch", "bytes=0-9,10-19", 1000, []Range{{0, 20}}, nil},
		{"one byte apart", "bytes=0-9,11-19", 1000, []Range{{0, 10}, {11, 9}}, nil},
		{"order is kept", "bytes=500-509,0-9", 1000, []Range{{500, 10}, {0, 10}}, nil},
		{"a late part joins two", "bytes=20-29,0-9,10-19", 1000, []Range{{0, 30}}, nil},
		{"the whole hundred times", "bytes=" + strings.Repeat("0-,", 99) + "0-", 1000, nil, ErrNone},
		{"the whole sixteen times", "bytes=" + strings.Repeat("0-,", 15) + "0-", 1000, []Range{{0, 1000}}, nil},
		{"empty object", "bytes=0-", 0, nil, ErrUnsatisfiable},
		{"suffix of an empty object", "bytes=-5", 0, nil, ErrUnsatisfiable},
		{"unknown size", "bytes=0-1", -1, nil, ErrNone},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := Parse(tt.in, tt.size)
			if !errors.Is(err, tt.err) || !reflect.DeepEqual(got, tt.want) {
				t.Errorf("Parse(%q, %d) = %v, %v, want %v, %v", tt.in, tt.size, got, err, tt.want, tt.err)
			}
		})
	}
}

func TestContentRange(t *testing.T) {
	t.Parallel()
	if got, want := (Range{5, 10}).ContentRange(100), "bytes 5-14/100"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := (Range{5, 10}).ContentRange(-1), "bytes 5-14/*"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := Unsatisfied(100), "bytes */100"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"bytes=0-1", "bytes=-5", "bytes=5-,0-1,3-9", "bytes=,, 1-2\t,", "bytes=99999999999999999999-"} {
		f.Add(s, int64(10))
	}
	f.Fuzz(func(t *testing.T, header string, size int64) {
		ranges, err := Parse(header, size)
		if err != nil {
			if ranges != nil || err != ErrNone && err != ErrUnsatisfiable { //nolint:errorlint // exactly these two
				t.Fatalf("Parse(%q, %d) = %v, %v", header, size, ranges, err)
			}
			return
		}
		checkRanges(t, header, size, ranges)
		// Printed again and parsed again, nothing changes.
		var specs []string
		for _, r := range ranges {
			specs = append(specs, fmt.Sprintf("%d-%d", r.Start, r.Start+r.Length-1))
		}
		again, err := Parse("bytes="+strings.Join(specs, ","), size)
		if err != nil || !reflect.DeepEqual(again, ranges) {
			t.Fatalf("Parse(%q, %d) = %v, parsed again %v, %v", header, size, ranges, again, err)
		}
	})
}

func checkRanges(t *testing.T, header string, size int64, ranges []Range) {
	t.Helper()
	if len(ranges) == 0 || len(ranges) > MaxParts {
		t.Fatalf("Parse(%q, %d): %d ranges", header, size, len(ranges))
	}
	var total int64
	for i, r := range ranges {
		if r.Start < 0 || r.Length < 1 || r.Length > size-r.Start {
			t.Fatalf("Parse(%q, %d): range %v is outside the object", header, size, r)
		}
		total += r.Length
		for _, o := range ranges[i+1:] {
			if r.Start <= o.Start+o.Length && o.Start <= r.Start+r.Length {
				t.Fatalf("Parse(%q, %d): %v and %v touch", header, size, r, o)
			}
		}
	}
	if total > size {
		t.Fatalf("Parse(%q, %d): %d bytes in all", header, size, total)
	}
}
