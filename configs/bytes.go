package configs

import (
	"errors"
	"math"
	"strconv"
	"strings"
)

// Bytes is an amount of bytes, never negative when parsed. Its text always has a unit, except 0.
type Bytes int64

// The units of Bytes: powers of 1024 and of 1000.
const (
	KiB Bytes = 1 << 10
	MiB Bytes = 1 << 20
	GiB Bytes = 1 << 30
	TiB Bytes = 1 << 40

	KB Bytes = 1e3
	MB Bytes = 1e6
	GB Bytes = 1e9
	TB Bytes = 1e12
)

type byteUnit struct {
	name string
	size Bytes
}

// byteUnits lists the units in the order in which String tries them.
func byteUnits() []byteUnit {
	return []byteUnit{
		{"TiB", TiB},
		{"GiB", GiB},
		{"MiB", MiB},
		{"KiB", KiB},
		{"TB", TB},
		{"GB", GB},
		{"MB", MB},
		{"kB", KB},
		{"B", 1},
	}
}

// ParseBytes reads a number with a unit: KiB, MiB, GiB, TiB (powers of 1024), kB, MB, GB, TB (powers of 1000) or B.
// Fractions such as 1.5GiB are allowed, and space before the unit; a number without a unit is an error unless it is 0.
func ParseBytes(text string) (Bytes, error) {
	number, unit := splitUnit(text)
	value, err := strconv.ParseFloat(number, 64)
	if err != nil || number == "" {
		return 0, &hinted{strconv.Quote(text) + " is no size", "write a number and a unit, such as 10GiB"}
	}
	if unit == "" {
		if value == 0 {
			return 0, nil
		}
		return 0, &hinted{number + " has no unit", "write " + number + "GiB or " + number + "GB"}
	}
	size, err := unitSize(number, unit)
	if err != nil {
		return 0, err
	}
	return scale(text, number, value, size)
}

// scale multiplies: exactly where the number is whole.
func scale(text, number string, value float64, unit Bytes) (Bytes, error) {
	if whole, err := strconv.ParseInt(number, 10, 64); err == nil && whole <= math.MaxInt64/int64(unit) {
		return Bytes(whole) * unit, nil
	}
	product := math.Round(value * float64(unit))
	if product >= math.MaxInt64 {
		return 0, &hinted{text + " is too much", "the most is 8388607TiB"}
	}
	return Bytes(product), nil
}

func unitSize(number, unit string) (Bytes, error) {
	text := number + unit
	for _, u := range byteUnits() {
		if u.name == unit {
			return u.size, nil
		}
	}
	if prefix := strings.ToUpper(unit); len(unit) == 1 && strings.Contains("KMGT", prefix) {
		return 0, &hinted{text + " has the unknown unit " + unit, "write " + number + prefix + "iB"}
	}
	for _, u := range byteUnits() {
		if strings.EqualFold(u.name, unit) || strings.EqualFold(strings.TrimSuffix(u.name, "B"), unit) && u.name != "B" {
			return 0, &hinted{text + " has the unknown unit " + unit, "write " + number + u.name}
		}
	}
	return 0, &hinted{text + " has the unknown unit " + unit, "use KiB, MiB, GiB, TiB, kB, MB, GB, TB or B"}
}

// splitUnit cuts a text into its digits and what follows them.
func splitUnit(text string) (number, unit string) {
	end := 0
	for end < len(text) && (text[end] >= '0' && text[end] <= '9' || text[end] == '.') {
		end++
	}
	return text[:end], strings.TrimLeft(text[end:], " ")
}

// String writes b exactly, in the largest unit that leaves no remainder: 10GiB, 1500MB, 17B, 0.
func (b Bytes) String() string {
	if b == 0 {
		return "0"
	}
	best := byteUnit{"B", 1}
	for _, u := range byteUnits() {
		if b%u.size == 0 && u.size > best.size {
			best = u
		}
	}
	return strconv.FormatInt(int64(b/best.size), 10) + best.name
}

// UnmarshalText is ParseBytes, so that a Bytes can be a command's flag.
func (b *Bytes) UnmarshalText(text []byte) error {
	value, err := ParseBytes(string(text))
	if err != nil {
		return err
	}
	*b = value
	return nil
}

// MarshalText is String.
func (b Bytes) MarshalText() ([]byte, error) {
	if b < 0 {
		return nil, errors.New("configs: negative size")
	}
	return []byte(b.String()), nil
}
