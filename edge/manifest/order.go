package manifest

import (
	"cmp"
	"slices"
)

// arrange returns which of the renditions stands in which place: result[i] is the index of the one for place i. nil: as
// they are.
func (f *Filter) arrange(all []*traits, start bool) []int {
	if f == nil || !f.reorders || len(all) < 2 {
		return nil
	}
	places := make([]int, len(all))
	ranks := make([]int, len(all))
	for i, t := range all {
		places[i], ranks[i] = i, f.rank(t)
	}
	slices.SortStableFunc(places, func(a, b int) int {
		return cmp.Or(cmp.Compare(ranks[a], ranks[b]), f.compare(all[a], all[b]))
	})
	if start && f.limits.Start > 0 {
		f.bringStart(all, places, ranks)
	}
	return places
}

// rank is the place in Prefer of the best codec; those that are not there come last.
func (f *Filter) rank(t *traits) int {
	best := len(f.prefer)
	for name := range codecList(t.codecs) {
		family := familyOf(name)
		for i := range f.prefer[:best] {
			if f.prefer[i].covers(family, name) {
				best = i
				break
			}
		}
	}
	return best
}

func (f *Filter) compare(a, b *traits) int {
	order := 0
	if f.limits.HDRFirst {
		order = cmp.Compare(hdr(b), hdr(a))
	}
	if f.limits.SurroundFirst && order == 0 {
		order = cmp.Compare(b.channels, a.channels)
	}
	if order != 0 {
		return order
	}
	switch f.limits.Order {
	case LowestFirst:
		return cmp.Compare(a.bandwidth, b.bandwidth)
	case HighestFirst:
		return cmp.Compare(b.bandwidth, a.bandwidth)
	case AsStored:
	}
	return 0
}

func hdr(t *traits) int {
	if t.dynamicRange() == SDR {
		return 0
	}
	return 1
}

// bringStart puts first the highest rendition that is not above Start, among those that are as good as the first by
// codec, range and channels; the lowest of them where all are above.
func (f *Filter) bringStart(all []*traits, places, ranks []int) {
	first := all[places[0]]
	best := 0
	for i, place := range places {
		t := all[place]
		if ranks[place] != ranks[places[0]] || f.limits.HDRFirst && hdr(t) != hdr(first) || f.limits.SurroundFirst && t.channels != first.channels {
			continue
		}
		chosen := all[places[best]]
		fits, chosenFits := t.bandwidth <= f.limits.Start, chosen.bandwidth <= f.limits.Start
		if fits && (!chosenFits || t.bandwidth > chosen.bandwidth) || !fits && !chosenFits && t.bandwidth < chosen.bandwidth {
			best = i
		}
	}
	place := places[best]
	copy(places[1:best+1], places[:best])
	places[0] = place
}
