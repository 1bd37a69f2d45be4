package proof

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sort"
	"strconv"
	"strings"
)

// mostNumbers bounds the N of "{n%N}" and "{zipf%N}".
const mostNumbers = 1_000_000

// numbered is a text with a number in it that differs from request to request:
// "{n}" counts from 1, "{n%N}" goes round from 0 to N-1, "{zipf%N}" picks from the
// same, the first ones most often.
type numbered struct {
	before, after string
	kind          string // "n", "zipf", "" = there is no number
	modulo        int    // 0 = none
}

// parseNumbered finds the one number that a text may have.
func parseNumbered(text string) (numbered, error) {
	before, rest, found := strings.Cut(text, "{")
	inside, after, closed := strings.Cut(rest, "}")
	if !found {
		return numbered{before: text}, nil
	}
	kind, modulo, divided := strings.Cut(inside, "%")
	n := numbered{before: before, after: after, kind: kind}
	var err error
	if divided {
		n.modulo, err = strconv.Atoi(modulo)
	}
	if !closed || err != nil || kind != "n" && (kind != "zipf" || !divided) || divided && (n.modulo < 1 || n.modulo > mostNumbers) {
		return numbered{}, fmt.Errorf("%q: want {n}, {n%%N} or {zipf%%N}, N up to %d", text, mostNumbers)
	}
	return n, nil
}

// sequence is the texts of one line's requests, the same in every run. One
// goroutine calls next.
type sequence struct {
	numbered

	count  int
	random *rand.Rand
	zipf   zipf
}

func (n numbered) sequence() *sequence {
	s := &sequence{numbered: n, random: rand.New(rand.NewPCG(1, 2))}
	if n.kind == "zipf" {
		s.zipf = newZipf(n.modulo)
	}
	return s
}

func (s *sequence) next() string {
	if s.kind == "" {
		return s.before
	}
	s.count++
	number := s.count
	switch {
	case s.kind == "zipf":
		number = s.zipf.pick(s.random)
	case s.modulo > 0:
		number = (s.count - 1) % s.modulo
	}
	return s.before + strconv.Itoa(number) + s.after
}

// zipf holds the sums of the weights of the numbers from 0 on.
type zipf []float64

// zipfExponent is that of requests for titles of video: a few are asked for most.
const zipfExponent = 0.9

func newZipf(n int) zipf {
	z, sum := make(zipf, n), 0.0
	for i := range z {
		sum += math.Pow(float64(i+1), -zipfExponent)
		z[i] = sum
	}
	return z
}

// pick returns a number, by its weight.
func (z zipf) pick(random *rand.Rand) int {
	return min(sort.SearchFloat64s(z, random.Float64()*z[len(z)-1]), len(z)-1)
}
