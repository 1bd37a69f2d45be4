package configs

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// Duration is a time span, never negative when parsed. Its text always has a unit, except 0.
type Duration time.Duration

const day = 24 * time.Hour

// ParseDuration reads Go's duration syntax with days in front: 200ms, 1m30s, 7d, 1d12h. A day is 24 hours.
// A number without a unit is an error unless it is 0.
func ParseDuration(text string) (Duration, error) {
	number, unit := splitUnit(text)
	if number == "" {
		return 0, &hinted{strconv.Quote(text) + " is no duration", "write a number and a unit, such as 30s"}
	}
	if unit == "" {
		if value, err := strconv.ParseFloat(number, 64); err == nil && value == 0 {
			return 0, nil
		}
		return 0, &hinted{number + " has no unit", "write " + number + "s or " + number + "ms"}
	}
	var days time.Duration
	rest := text
	if tail, ok := strings.CutPrefix(unit, "d"); ok {
		value, err := strconv.ParseFloat(number, 64)
		if err != nil || value*float64(day) >= math.MaxInt64 {
			return 0, &hinted{strconv.Quote(text) + " is no duration", "write a number and a unit, such as 30s or 7d"}
		}
		days, rest = time.Duration(value*float64(day)), tail
	}
	if rest == "" {
		return Duration(days), nil
	}
	value, err := time.ParseDuration(rest)
	if err != nil || value < 0 || days > math.MaxInt64-value {
		return 0, &hinted{strconv.Quote(text) + " is no duration", "the units are ns, us, ms, s, m, h and d, as in 1m30s"}
	}
	return Duration(days + value), nil
}

// D returns d as the standard type.
func (d Duration) D() time.Duration { return time.Duration(d) }

// String writes d exactly and short: 200ms, 1m30s, 7d, 1d12h, 0.
func (d Duration) String() string {
	value := time.Duration(d)
	if value == 0 {
		return "0"
	}
	days := ""
	if value >= day {
		days = strconv.FormatInt(int64(value/day), 10) + "d"
		value %= day
	}
	if value == 0 {
		return days
	}
	text := value.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return days + text
}

// UnmarshalText is ParseDuration, so that a Duration can be a command's flag.
func (d *Duration) UnmarshalText(text []byte) error {
	value, err := ParseDuration(string(text))
	if err != nil {
		return err
	}
	*d = value
	return nil
}

// MarshalText is String.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }
