package access

import (
	"fmt"
	"net/netip"

	"github.com/oschwald/maxminddb-golang/v2"
)

// Place is where an address is, as far as it is known.
type Place struct {
	Country string // ISO 3166-1, two capital letters; "" unknown
	System  uint32 // number of the autonomous system; 0 unknown

	Located             bool    // the two below are known
	Latitude, Longitude float64 // degrees

	Elevated bool    // the one below is known
	Altitude float64 // metres above the sea
}

// Geo finds the place of an address in databases in MaxMind's format. nil finds nothing.
type Geo struct {
	files []*maxminddb.Reader
}

// record is what is read of an entry: GeoIP2 and GeoLite2 Country, City and ASN have these names, and others follow them.
type record struct {
	Country struct {
		Code string `maxminddb:"iso_code"`
	} `maxminddb:"country"`
	System   uint32 `maxminddb:"autonomous_system_number"`
	Location struct {
		Latitude  float64  `maxminddb:"latitude"`
		Longitude float64  `maxminddb:"longitude"`
		Altitude  *float64 `maxminddb:"altitude"` // of databases of one's own: MaxMind's have none
	} `maxminddb:"location"`
}

// OpenGeo opens databases of countries and cities, of autonomous systems, or of both. Close ends it.
func OpenGeo(files ...string) (*Geo, error) {
	g := &Geo{}
	for _, name := range files {
		f, err := maxminddb.Open(name)
		if err != nil {
			g.Close()
			return nil, fmt.Errorf("access: open %s: %w", name, err)
		}
		g.files = append(g.files, f)
	}
	return g, nil
}

// Find returns the place of an address. What one database does not know, another may.
func (g *Geo) Find(a netip.Addr) (p Place) {
	if g == nil || !a.IsValid() {
		return p
	}
	a = a.Unmap()
	for _, f := range g.files {
		var r record
		if f.Lookup(a).Decode(&r) != nil {
			continue // a damaged entry is an unknown place
		}
		if p.Country == "" {
			p.Country = r.Country.Code
		}
		if p.System == 0 {
			p.System = r.System
		}
		if l := r.Location; !p.Located && (l.Latitude != 0 || l.Longitude != 0) { // nobody lives at 0, 0
			p.Located, p.Latitude, p.Longitude = true, l.Latitude, l.Longitude
		}
		if l := r.Location; !p.Elevated && l.Altitude != nil {
			p.Elevated, p.Altitude = true, *l.Altitude
		}
	}
	return p
}

// Close unmaps the files. Nothing may be looked up any more.
func (g *Geo) Close() {
	for _, f := range g.files {
		_ = f.Close() // read only: nothing is lost
	}
}
