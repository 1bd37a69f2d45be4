package manifest

import (
	"bytes"
	"cmp"
	"slices"
)

// Resource is what a URL in a manifest leads to.
type Resource uint8

// The resources.
const (
	Playlist  Resource = iota // another playlist, or the MPD itself
	Media                     // segments, parts, init sections, whole files
	Key                       // a decryption key
	Elsewhere                 // what is none of these: session data, assets to be shown between
)

// Child appends to dst what a child's URL becomes for the viewer. url is as it stands in the manifest, relative or absolute,
// in MPDs without XML escapes; a DASH template has its identifiers ($Number$). It must not keep or change url.
type Child func(dst, url []byte, to Resource) []byte

// Steering names a steering server (RFC 8216bis, 7; ETSI TS 103 998).
type Steering struct {
	// Server is the URL of the steering manifest, for HLS and DASH alike.
	Server string
	// Pathway is that of the manifest's own URLs: HLS variants without a PATHWAY-ID, and a DASH BaseURL without a
	// serviceLocation, get its name. Empty: ".", the name that RFC 8216bis gives to what has none.
	Pathway string
	// First is the pathway to begin with, where the manifest lists it. Empty: Pathway.
	First string
	// Locations are where the same content lies, this place among them, for players that use only what the manifest lists. A
	// playlist of variants gets them all once for each place, where all its URIs are relative and none has a pathway; an MPD
	// gets a BaseURL for each, where it has none or a relative one. All are absolute: where one pathway fails, shaka takes all
	// that are relative for failed too.
	//
	// The base of clones is in an MPD one BaseURL more, called ".", which is this place. An MPD that is loaded anew gets a
	// Location for each place that has a Manifest: none is called ".", as dash.js would load the MPD from clones too, without
	// its query.
	Locations []Location
	// QueryFirst has DASH players ask the server before they start.
	QueryFirst bool
}

// noPathway is the name of what has none (RFC 8216bis, 4.4.6.2).
const noPathway = "."

// Location is a pathway that a manifest lists.
type Location struct {
	Pathway string // its name
	Base    string // the URL that takes the place of the manifest's own directory; ends in '/'
	// Manifest is this manifest, relative to Base, for players that load an MPD anew. Empty: only media is there.
	Manifest string
}

// append appends what a URL without a scheme and an authority is at that place.
func (l *Location) append(dst, url []byte) []byte {
	base := l.Base
	if len(url) > 0 && url[0] == '/' {
		if _, path, ok := cutAuthority([]byte(base)); ok {
			base = base[:len(base)-len(path)]
		}
	}
	return append(append(dst, base...), url...)
}

// movable tells whether a URL depends on where its manifest lies, and on nothing else.
func movable(url []byte) bool {
	return !hasScheme(url) && !bytes.HasPrefix(url, []byte("//")) && !bytes.Contains(url, []byte("{$"))
}

// Rewrite is what is to be made of a manifest for a viewer. The zero value changes nothing.
type Rewrite struct {
	Filter   *Filter   // nil: all renditions
	Child    Child     // nil: URLs as they are
	Steering *Steering // nil: as it is stored
}

// Append appends what becomes of a manifest, of either format. On an error, [ErrEmpty] or [ErrFormat], dst comes back as it was.
func (r *Rewrite) Append(dst, manifest []byte) ([]byte, error) {
	if bytes.HasPrefix(manifest, []byte("#EXTM3U")) {
		return r.AppendHLS(dst, manifest)
	}
	return r.AppendDASH(dst, manifest)
}

// pathway is the name that Pathway means.
func (s *Steering) pathway() string {
	return cmp.Or(s.Pathway, noPathway)
}

// here is the place of the manifest's own URLs; nil: it is not among Locations.
func (s *Steering) here() *Location {
	i := slices.IndexFunc(s.Locations, func(l Location) bool { return l.Pathway == s.pathway() })
	if i < 0 {
		return nil
	}
	return &s.Locations[i]
}

// bases are what an MPD has BaseURLs for.
func (s *Steering) bases() []Location {
	if here := s.here(); here != nil && here.Pathway != noPathway {
		return append(slices.Clip(s.Locations), Location{Pathway: noPathway, Base: here.Base})
	}
	return s.Locations
}

// manifests are the places from which an MPD is loaded anew.
func (s *Steering) manifests() []Location {
	return slices.DeleteFunc(slices.Clone(s.Locations), func(l Location) bool { return l.Manifest == "" })
}

// first is the name of the pathway to begin with; listed tells that the manifest has all Locations.
func (s *Steering) first(listed bool) string {
	if s.First != "" && listed {
		return s.First
	}
	return s.pathway()
}
