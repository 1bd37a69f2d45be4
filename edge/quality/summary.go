package quality

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Kind is what figures are by.
type Kind string

// The kinds.
const (
	Title       Kind = "title"
	Device      Kind = "device"
	Edge        Kind = "edge"
	Rendition   Kind = "rendition" // its bitrate in kbit/s
	NetworkKind Kind = "network"
	OfflineKind Kind = "offline" // a title that was watched from devices, without a network; not among the others
)

// Kinds lists all of them.
func Kinds() []Kind { return []Kind{Title, Device, Edge, Rendition, NetworkKind, OfflineKind} }

// HintKinds lists the kinds that a Hint may be of.
func HintKinds() []Kind { return []Kind{Edge, Rendition, NetworkKind} }

// HintsOf lists all values of Hint.What.
func HintsOf() []string { return []string{"stalls", "errors"} }

// Named is the figures of one title, edge and so on.
type Named struct {
	Kind    Kind   `json:"kind"`
	Name    string `json:"name"`
	Viewers int    `json:"viewers"` // now; of titles, devices, edges and networks

	Figures
}

// Summary is how viewers fared, for as long as figures are kept.
type Summary struct {
	Viewers int     `json:"viewers"` // now
	All     Figures `json:"all"`
	Named   []Named `json:"named"` // by kind, the most watched first
	Hints   []Hint  `json:"hints"`
}

// Hint is something that falls behind.
type Hint struct {
	Kind Kind    `json:"kind"`
	Name string  `json:"name"`
	What string  `json:"what"` // see HintsOf
	Is   float64 `json:"is"`   // share of time, or of sessions
	Else float64 `json:"else"` // of all others
	Text string  `json:"text"`
}

// Merge adds up the summaries of several nodes.
func Merge(summaries ...Summary) Summary {
	all := Summary{}
	byName := map[Kind]map[string]*Named{}
	for i := range summaries {
		s := &summaries[i]
		all.Viewers += s.Viewers
		all.All.Add(&s.All)
		for j := range s.Named {
			n := &s.Named[j]
			to := entry(byName, n.Kind, n.Name)
			to.Viewers += n.Viewers
			to.Add(&n.Figures)
		}
	}
	all.list(byName)
	return all
}

func entry(byName map[Kind]map[string]*Named, kind Kind, name string) *Named {
	names := byName[kind]
	if names == nil {
		names = map[string]*Named{}
		byName[kind] = names
	}
	if names[name] == nil {
		names[name] = &Named{Kind: kind, Name: name}
	}
	return names[name]
}

func (s *Summary) list(byName map[Kind]map[string]*Named) {
	s.Named, s.Hints = []Named{}, []Hint{}
	for _, kind := range Kinds() {
		list := slices.Collect(maps.Values(byName[kind]))
		slices.SortFunc(list, func(a, b *Named) int {
			return cmp.Or(cmp.Compare(b.Watched+b.Stalled, a.Watched+a.Stalled), cmp.Compare(b.Viewers, a.Viewers), cmp.Compare(a.Name, b.Name))
		})
		total := Figures{}
		for _, n := range list {
			total.Add(&n.Figures)
		}
		for _, n := range list {
			s.Named = append(s.Named, *n)
			if slices.Contains(HintKinds(), kind) {
				s.hint(n, &total)
			}
		}
	}
}

const (
	hintSessions = 20
	hintShare    = 0.01
	hintTimes    = 3
)

// hint compares with all others of the kind.
func (s *Summary) hint(n *Named, total *Figures) {
	others := Figures{
		Sessions: total.Sessions - n.Sessions, Watched: total.Watched - n.Watched, Stalled: total.Stalled - n.Stalled,
		WithErrors: total.WithErrors - n.WithErrors,
	}
	if n.Sessions < hintSessions || others.Sessions < hintSessions {
		return
	}
	for _, c := range []struct {
		what      string
		is, other float64
	}{{"stalls", n.StallRatio(), others.StallRatio()}, {"errors", n.ErrorRatio(), others.ErrorRatio()}} {
		if c.is > hintShare && c.is > hintTimes*c.other {
			where := map[Kind]string{Edge: "on " + n.Name, Rendition: "at " + n.Name + " kbit/s", NetworkKind: "in " + n.Name}[n.Kind]
			text := fmt.Sprintf("Viewers %s wait for %.1f %% of their time, all others for %.1f %%.", where, 100*c.is, 100*c.other)
			if c.what == "errors" {
				text = fmt.Sprintf("%.1f %% of the sessions %s meet errors, of all others %.1f %%.", 100*c.is, where, 100*c.other)
			}
			s.Hints = append(s.Hints, Hint{Kind: n.Kind, Name: n.Name, What: c.what, Is: c.is, Else: c.other, Text: text})
		}
	}
}

// hour is the figures of one hour.
type hour struct {
	begin time.Time
	all   Figures
	named map[Kind]map[string]*Named
}

const (
	hours    = 24
	maxNames = 500
	other    = "other"
)

// add counts a session that is over.
func (h *hour) add(v *viewer) {
	whole := v.figures()
	h.all.Add(&whole)
	for _, k := range []struct {
		kind Kind
		name string
	}{{Title, v.Title}, {Device, v.Device}, {NetworkKind, v.Network}} {
		if k.name != "" {
			h.name(k.kind, k.name).Add(&whole)
		}
	}
	for p, r := range v.Parts {
		f := r.figures()
		h.name(p.name()).Add(&f)
	}
}

func (h *hour) name(kind Kind, name string) *Named {
	if names := h.named[kind]; names[name] == nil && len(names) >= maxNames {
		name = other
	}
	return entry(h.named, kind, name)
}
