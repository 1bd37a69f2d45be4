package configs

import (
	"math"
	"strconv"
	"strings"
)

// BitRate is bits per second, never negative when parsed. Its text always has a unit, except 0.
type BitRate int64

type bitUnit struct {
	name string
	rate BitRate
}

// bitUnits lists the units in the order in which String tries them.
func bitUnits() []bitUnit {
	return []bitUnit{{"Gbit/s", 1e9}, {"Mbit/s", 1e6}, {"kbit/s", 1e3}, {"bit/s", 1}}
}

// ParseBitRate reads a number with a unit: bit/s, kbit/s, Mbit/s or Gbit/s, powers of 1000. Fractions such as 2.5Mbit/s are
// allowed, and space before the unit; a number without a unit is an error unless it is 0.
func ParseBitRate(text string) (BitRate, error) {
	number, unit := splitUnit(text)
	value, err := strconv.ParseFloat(number, 64)
	if err != nil || number == "" {
		return 0, &hinted{strconv.Quote(text) + " is no bit rate", "write a number and a unit, such as 3Mbit/s"}
	}
	if unit == "" {
		if value == 0 {
			return 0, nil
		}
		return 0, &hinted{number + " has no unit", "write " + number + "Mbit/s or " + number + "kbit/s"}
	}
	for _, u := range bitUnits() {
		if u.name == strings.TrimSpace(unit) && value*float64(u.rate) < math.MaxInt64 {
			return BitRate(math.Round(value * float64(u.rate))), nil
		}
	}
	return 0, &hinted{strconv.Quote(text) + " is no bit rate", "the units are bit/s, kbit/s, Mbit/s and Gbit/s, as in 3Mbit/s"}
}

// String writes r exactly and short: 3Mbit/s, 2500kbit/s, 0.
func (r BitRate) String() string {
	if r == 0 {
		return "0"
	}
	for _, u := range bitUnits() {
		if r%u.rate == 0 {
			return strconv.FormatInt(int64(r/u.rate), 10) + u.name
		}
	}
	return ""
}

// UnmarshalText is ParseBitRate.
func (r *BitRate) UnmarshalText(text []byte) error {
	value, err := ParseBitRate(string(text))
	if err != nil {
		return err
	}
	*r = value
	return nil
}

// MarshalText is String.
func (r BitRate) MarshalText() ([]byte, error) { return []byte(r.String()), nil }
