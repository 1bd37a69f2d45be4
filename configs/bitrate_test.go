package configs

import "testing"

func TestBitRate(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		in, out string
		want    BitRate
	}{
		{"0", "0", 0}, {"3Mbit/s", "3Mbit/s", 3e6}, {"2.5 Mbit/s", "2500kbit/s", 25e5}, {"1bit/s", "1bit/s", 1}, {"1Gbit/s", "1Gbit/s", 1e9},
	} {
		got, err := ParseBitRate(test.in)
		if err != nil || got != test.want || got.String() != test.out {
			t.Errorf("%s: got %d, %s, %v; want %d, %s", test.in, got, got, err, test.want, test.out)
		}
	}
	for _, bad := range []string{"", "3", "3MB", "Mbit/s", "-1Mbit/s", "1mbit/s", "99999999999Gbit/s", "1.2.3Mbit/s"} {
		if got, err := ParseBitRate(bad); err == nil {
			t.Errorf("%q is taken as %s", bad, got)
		}
	}
}
