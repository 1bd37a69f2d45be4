package tag

import (
	"slices"
	"time"
)

// Kind is what a purge names.
type Kind string

// The kinds of a [Purge].
const (
	URL    Kind = "url"    // one URL with all its variants
	Prefix Kind = "prefix" // every URL that begins so
	Tag    Kind = "tag"    // every response that carries the tag
	All    Kind = "all"    // everything
)

// Kinds lists them.
func Kinds() []Kind { return []Kind{URL, Prefix, Tag, All} }

// Purge says what is not to be served any more. It is a value that any node may apply, any number of times.
type Purge struct {
	ID   string    `json:"id"`   // unique
	Time time.Time `json:"time"` // by the clock of the Table: responses are meant whose fetch from the origin began then or before
	Kind Kind      `json:"kind"`
	// Items are canonical URLs without scheme (host, path, query), beginnings of such, or tags. None for All.
	Items []string `json:"items,omitempty"`
	// Soft makes responses stale instead of ending them.
	Soft bool `json:"soft"`
}

// MaxTags is how many tags of one response are told apart. One with more counts as having every tag.
const MaxTags = 64

// every is the hash in the place of too many.
const every = 1

// Group is the tag of a cache group (RFC 9875), which holds for one host. No tag that a field can carry is equal to it.
func Group(host, name string) string { return host + "\n" + name }

// Set returns what Check wants to know of a response's tags: their hashes, sorted, each once. They are the same in every
// build and may be stored. nil for none.
func Set(names []string) []uint64 {
	if len(names) == 0 {
		return nil
	}
	hashes := make([]uint64, 0, len(names))
	for _, name := range names {
		hashes = append(hashes, tagSeed.hash(name))
	}
	slices.Sort(hashes)
	if hashes = slices.Compact(hashes); len(hashes) > MaxTags {
		return []uint64{every}
	}
	return hashes
}

// FNV-1a, 64 bits.
const (
	fnvBasis = 0xcbf29ce484222325
	fnvPrime = 0x100000001b3
)

// seed keeps the hashes of one kind apart from those of another.
type seed uint64

const (
	urlSeed    seed = 0x9e3779b97f4a7c15
	prefixSeed seed = 0xc2b2ae3d27d4eb4f
	tagSeed    seed = 0x165667b19e3779f9
)

func (s seed) hash(text string) uint64 {
	h := uint64(fnvBasis)
	for i := range len(text) {
		h = (h ^ uint64(text[i])) * fnvPrime
	}
	return s.finish(h)
}

// finish spreads FNV's state, which tells little in its high bits, over all bits (the finaliser of MurmurHash3). Never 0.
func (s seed) finish(h uint64) uint64 {
	h ^= uint64(s)
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return max(1, h^h>>33)
}
