package token

import (
	"math"
	"strings"
)

// circle is a place and how far from it one may be.
type circle struct{ latitude, longitude, meters float64 }

// readCircles reads [latitude, longitude, radius in metres], or a list of such.
func readCircles(value any) ([]circle, *Error) {
	list, ok := value.([]any)
	if !ok || len(list) == 0 {
		return nil, wrong(Unsupported, "catgeocoord has a form that is not known here")
	}
	if _, nested := list[0].([]any); !nested {
		list = []any{list}
	}
	var all []circle
	for _, item := range list {
		numbers, ok := item.([]any)
		if !ok || len(numbers) != 3 {
			return nil, wrong(Unsupported, "catgeocoord has a form that is not known here")
		}
		var c [3]float64
		for i := range c {
			var err *Error
			if c[i], err = number(numbers[i]); err != nil {
				return nil, err
			}
		}
		if !(math.Abs(c[0]) <= 90 && math.Abs(c[1]) <= 180 && c[2] >= 0) { // also when one is not a number
			return nil, wrong(Malformed, "catgeocoord is no place on the earth")
		}
		all = append(all, circle{c[0], c[1], c[2]})
	}
	return all, nil
}

const earthMeters = 6_371_008.8 // mean radius (IUGG)

// has tells whether a place lies in the circle, by the haversine formula.
func (c circle) has(p Place) bool {
	const radians = math.Pi / 180
	a, b := c.latitude*radians, p.Latitude*radians
	h := math.Pow(math.Sin((b-a)/2), 2) + math.Cos(a)*math.Cos(b)*math.Pow(math.Sin((p.Longitude-c.longitude)*radians/2), 2)
	return 2*earthMeters*math.Asin(math.Min(1, math.Sqrt(h))) <= c.meters
}

// altitude is a height and how far from it one may be.
type altitude struct{ meters, deviation float64 }

// readAltitude reads [altitude, deviation], in metres.
func readAltitude(value any) (*altitude, *Error) {
	list, ok := value.([]any)
	if !ok || len(list) != 2 {
		return nil, wrong(Unsupported, "catgeoalt has a form that is not known here")
	}
	a, err1 := number(list[0])
	d, err2 := number(list[1])
	if err1 != nil || err2 != nil || math.IsNaN(a) || !(d >= 0) {
		return nil, wrong(Malformed, "catgeoalt is no altitude and deviation")
	}
	return &altitude{a, d}, nil
}

// number reads an integer or a fraction.
func number(v any) (float64, *Error) {
	switch n := v.(type) {
	case float64:
		return n, nil
	case int64:
		return float64(n), nil
	}
	return 0, wrong(Malformed, "want a number")
}

// inGeohash tells whether a place lies in one of the cells.
func inGeohash(cells []string, p Place) bool {
	var space [12]byte
	here := geohash(space[:0], p)
	for _, cell := range cells {
		if cell != "" && len(cell) <= len(here) && strings.EqualFold(cell, string(here[:len(cell)])) {
			return true
		}
	}
	return false
}

// geohash writes the cell of a place, 12 characters long.
func geohash(to []byte, p Place) []byte {
	const digits = "0123456789bcdefghjkmnpqrstuvwxyz"
	span := [2][2]float64{{-180, 180}, {-90, 90}} // longitude, latitude: bits take turns
	at := [2]float64{p.Longitude, p.Latitude}
	for bit, which, n := 0, 0, 0; len(to) < cap(to); {
		middle := (span[which][0] + span[which][1]) / 2
		n <<= 1
		if at[which] >= middle {
			n |= 1
			span[which][0] = middle
		} else {
			span[which][1] = middle
		}
		which = 1 - which
		if bit++; bit == 5 {
			to = append(to, digits[n])
			bit, n = 0, 0
		}
	}
	return to
}
