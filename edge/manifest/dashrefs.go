package manifest

import (
	"bytes"
	"iter"
	"slices"
)

// What a filter takes away must not be named by what it leaves: a representation that needs another one (dependencyId)
// goes with it, one that belongs to others (associationId) goes with the last of them, and so do Preselections, Subsets,
// sets for trick play and the sets to switch to (ISO/IEC 23009-1, 5.3.5, 5.3.8, 5.3.11, 5.3.3.5; IOP 3.2.9). Names are
// looked for within a period.

// reference is an element, or attributes of one, that names AdaptationSets or Representations.
type reference struct {
	span   // of the element; the end of one that is open is 0
	period int
	depth  int
	names  span // the list of names
	whole  bool // one name less, and the element means nothing
	commas bool // between the names, in place of white space
}

// reading is what a Representation says of others.
type reading struct {
	id, depends       []byte
	associated, types span // of associationId and associationType; 0: none
}

// refer takes what the attributes of a Representation, which begin at off, name.
func (r *reading) refer(list []byte, off int) {
	for a, ok := nextXML(list, 0); ok; a, ok = nextXML(list, a.end) {
		switch string(a.name) {
		case "id":
			r.id = a.value
		case "dependencyId":
			r.depends = a.value
		case "associationId":
			r.associated = span{off + a.from, off + a.to}
		case "associationType":
			r.types = span{off + a.from, off + a.to}
		}
	}
}

// refersTo notes elements that name sets.
func (d *dash) refersTo(t *token) {
	var name string
	whole, commas := false, false
	switch string(t.name) {
	case "Preselection":
		name, whole = "preselectionComponents", true
	case "Subset":
		name = "contains"
	case "SupplementalProperty", "EssentialProperty":
		if string(xmlAttribute(t.attributes, "schemeIdUri")) != "urn:mpeg:dash:adaptation-set-switching:2016" {
			return
		}
		name, commas = "value", true
	default:
		return
	}
	for a, ok := nextXML(t.attributes, 0); ok; a, ok = nextXML(t.attributes, a.end) {
		if string(a.name) == name {
			d.references = append(d.references, reference{span{start: t.start}, d.periods, len(d.path), span{t.at + a.from, t.at + a.to}, whole, commas})
			return
		}
	}
}

// refersEnd notes where such an element ends.
func (d *dash) refersEnd(t *token) {
	for n := len(d.references) - 1; n >= 0; n-- {
		if r := &d.references[n]; r.end == 0 {
			if r.depth == len(d.path) {
				r.end = t.end
			}
			return
		}
	}
}

// names are those of a list.
func names(list []byte, commas bool) iter.Seq[[]byte] {
	return bytes.FieldsFuncSeq(list, func(r rune) bool { return r == ' ' || r == '\t' || r == '\n' || r == '\r' || commas && r == ',' })
}

// absent is the names, in one period, of what is gone.
type absent struct{ sets, representations map[string]bool }

func (a *absent) set(id []byte) bool { return a.sets[string(id)] }

func (a *absent) representation(id []byte) bool { return a.representations[string(id)] }

// settle notes the representations of a set that are gone, and the set with the last of them.
func (a *absent) settle(set *adaptation) {
	left := len(set.representations) == 0
	for i := range set.representations {
		if one := &set.representations[i]; one.gone {
			a.representations[string(one.id)] = true
		} else {
			left = true
		}
	}
	if set.gone = !left; !set.gone {
		return
	}
	a.sets[string(set.id)] = true
	for _, c := range set.components {
		a.sets[string(c)] = true
	}
}

// loosen takes away, within the sets of one period, what refers to what is gone, until nothing does.
func (d *dash) loosen(sets []adaptation) {
	gone := absent{map[string]bool{}, map[string]bool{}}
	for again := true; again; {
		again = false
		for i := range sets {
			gone.settle(&sets[i])
		}
		for i := range sets {
			set := &sets[i]
			trick := len(set.trickOf) > 0 && !anyName(set.trickOf, true, func(id []byte) bool { return !gone.set(id) })
			for j := range set.representations {
				one := &set.representations[j]
				if one.gone {
					continue
				}
				associated := d.text[one.associated.start:one.associated.end]
				one.gone = trick || anyName(one.depends, false, gone.representation) ||
					len(associated) > 0 && !anyName(associated, false, func(id []byte) bool { return !gone.representation(id) })
				again = again || one.gone
			}
		}
	}
	for i := range sets {
		for j := range sets[i].representations {
			if one := &sets[i].representations[j]; !one.gone && one.associated.end > 0 {
				d.shorten(one.associated, one.types, false, gone.representation)
			}
		}
	}
	for i := range d.references {
		r := &d.references[i]
		if len(sets) == 0 || r.period != sets[0].period {
			continue
		}
		list := d.text[r.names.start:r.names.end]
		lost := anyName(list, r.commas, gone.set)
		switch {
		case !lost:
		case r.whole || !anyName(list, r.commas, func(id []byte) bool { return !gone.set(id) }):
			if r.end > 0 {
				d.cut(r.span)
			}
		default:
			d.shorten(r.names, span{}, r.commas, gone.set)
		}
	}
}

// shorten writes a list without the names that are gone, and beside it the other list without what belongs to them.
func (d *dash) shorten(list, beside span, commas bool, gone func([]byte) bool) {
	others := slices.Collect(names(d.text[beside.start:beside.end], false))
	separator := []byte(" ")
	if commas {
		separator = []byte(",")
	}
	var kept, keptBeside [][]byte
	n := 0
	for id := range names(d.text[list.start:list.end], commas) {
		if !gone(id) {
			kept = append(kept, id)
			if n < len(others) {
				keptBeside = append(keptBeside, others[n])
			}
		}
		n++
	}
	if len(kept) == n {
		return
	}
	d.edits = append(d.edits, edit{list, bytes.Join(kept, separator)})
	if len(others) == n {
		d.edits = append(d.edits, edit{beside, bytes.Join(keptBeside, []byte(" "))})
	}
}

func anyName(list []byte, commas bool, is func([]byte) bool) bool {
	for id := range names(list, commas) {
		if is(id) {
			return true
		}
	}
	return false
}
