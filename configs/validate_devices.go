package configs

import (
	"slices"
	"strconv"
	"strings"
)

// devices finds what can be told without knowing codecs and DRM systems, which are read where they are used.
func (v *validator) devices(path string, d *Devices) {
	seen := map[string]bool{}
	for i, p := range d.Profiles {
		at := itemPath(path+".profiles", i)
		switch {
		case p.Class == "" || strings.Trim(p.Class, "abcdefghijklmnopqrstuvwxyz0123456789-") != "":
			v.bad(at+".class", p.Class, strconv.Quote(p.Class)+" is no class", `write tv, car, phone, web, or another name of a-z, 0-9 and "-"`)
			v.placeAt(at)
		case seen[p.Class]:
			v.bad(at+".class", p.Class, "another profile is for this class", "join the two")
		}
		seen[p.Class] = true
		for j, name := range p.Ranges {
			if !slices.Contains([]string{"sdr", "hlg", "pq"}, name) {
				v.bad(itemPath(at+".ranges", j), name, strconv.Quote(name)+" is no dynamic range", "write sdr, hlg or pq")
			}
		}
		if !slices.Contains([]string{"", "stored", "lowest", "highest"}, p.Order) {
			v.bad(at+".order", p.Order, strconv.Quote(p.Order)+" is no order", "write stored, lowest or highest")
		}
		for key, n := range map[string]float64{"height": float64(p.Height), "frame_rate": p.FrameRate, "channels": float64(p.Channels)} {
			if !(n >= 0) {
				v.bad(at+"."+key, n, "is negative", "write a number, or 0 for that of the class")
			}
		}
	}
}
