package manifest

import "bytes"

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
	// Pathway is the one to begin with: HLS variants without a PATHWAY-ID, and a DASH BaseURL without a serviceLocation, get
	// its name. Empty: ".", the name that RFC 8216bis gives to what has none.
	Pathway string
	// Locations are, for DASH, where the same content lies too. They are used where the MPD has no BaseURL of its own.
	Locations []Location
	// QueryFirst has DASH players ask the server before they start.
	QueryFirst bool
}

// Location is a pathway of DASH.
type Location struct {
	Pathway string // its name
	Base    string // the URL that takes the place of the MPD's own directory; ends in '/'
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
	if s.Pathway == "" {
		return "."
	}
	return s.Pathway
}
