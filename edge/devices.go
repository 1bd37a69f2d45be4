package edge

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"

	"weir/edge/manifest"
)

// The query parameters by which a client says what it is. All are taken off where the class is one of the site's, and are the
// origin's otherwise.
const (
	parameterDevice   = "device"   // a class
	parameterSession  = "session"  // a play session; it changes nothing
	parameterCodecs   = "codecs"   // RFC 6381, with commas
	parameterHeight   = "height"   // lines
	parameterRate     = "fps"      // frames per second
	parameterBitrate  = "bitrate"  // bit/s
	parameterChannels = "channels" // of audio
	parameterDRM      = "drm"      // systems, with commas
	parameterRange    = "range"    // sdr, hlg, pq, with commas
	parameterMetered  = "metered"  // 1: the network is paid by the byte
	parameterAudio    = "audio"    // 1: no video
)

// filterPlaces is how many filters of devices with capabilities of their own are remembered: there are a few per model.
const filterPlaces = 256

// Devices are the profiles by which a site's manifests are filtered. Make it by NewDevices. Safe for concurrent use.
type Devices struct {
	classes map[string]manifest.Limits
	filters [filterPlaces]atomic.Pointer[capabilities]
}

// capabilities is what a query says, and the filter that is made of it. Immutable.
type capabilities struct {
	said   string // the parameters as they came, without the session
	filter *manifest.Filter
	err    error
}

// NewDevices makes filters of profiles, by class. What the limits name must exist, see manifest.NewFilter.
func NewDevices(profiles map[string]manifest.Limits) (*Devices, error) {
	d := &Devices{classes: map[string]manifest.Limits{}}
	for class, limits := range profiles {
		if class == "" || strings.Trim(class, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			return nil, fmt.Errorf("edge: %q is no device class", class)
		}
		if _, err := manifest.NewFilter(limits); err != nil {
			return nil, fmt.Errorf("edge: device class %s: %w", class, err)
		}
		d.classes[class] = limits
	}
	return d, nil
}

// viewer is what the query of a manifest says.
type viewer struct {
	rest    string // the query without it
	said    string
	session string
	filter  *manifest.Filter
}

// read finds what a query says of the viewer; ok is false where it names no class of the site. err: the capabilities cannot be read.
func (d *Devices) read(query string) (v viewer, ok bool, err error) {
	class := valueOf(query, parameterDevice)
	limits, ok := d.classes[class]
	if !ok {
		return viewer{}, false, nil
	}
	v.session = valueOf(query, parameterSession)
	v.said, v.rest = gather(query, ofDevice), gather(query, ofOthers)
	place := &d.filters[hashOf(v.said)%filterPlaces]
	known := place.Load()
	if known == nil || known.said != v.said {
		known = &capabilities{said: v.said}
		known.filter, known.err = filterOf(limits, v.said)
		place.Store(known)
	}
	v.filter = known.filter
	return v, true, known.err
}

// filterOf makes the filter of a profile with the capabilities that a device says in their place.
func filterOf(limits manifest.Limits, said string) (*manifest.Filter, error) {
	values, err := url.ParseQuery(said)
	if err != nil {
		return nil, err
	}
	var own manifest.Limits
	list := func(name string) []string {
		if values.Get(name) == "" {
			return nil
		}
		return strings.Split(values.Get(name), ",")
	}
	var problems []error
	number := func(name string) float64 {
		text := values.Get(name)
		if text == "" {
			return 0
		}
		const most = 1e12
		n, err := strconv.ParseFloat(text, 64)
		if err != nil || !(n >= 0 && n <= most) {
			problems = append(problems, fmt.Errorf("%s is no number", name))
		}
		return n
	}
	own.Codecs, own.DRM = list(parameterCodecs), list(parameterDRM)
	own.Height, own.Channels = int(number(parameterHeight)), int(number(parameterChannels))
	own.FrameRate, own.Bitrate = number(parameterRate), int64(number(parameterBitrate))
	own.AudioOnly = values.Get(parameterAudio) == "1"
	for _, name := range list(parameterRange) {
		switch name {
		case "sdr":
			own.Ranges |= manifest.SDR
		case "hlg":
			own.Ranges |= manifest.HLG
		case "pq":
			own.Ranges |= manifest.PQ
		default:
			problems = append(problems, fmt.Errorf("%s names what is no dynamic range", parameterRange))
		}
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	limits = limits.With(own)
	if values.Get(parameterMetered) == "1" {
		limits = limits.Metered()
	}
	return manifest.NewFilter(limits)
}

// child has clients say again what they are where that matters: when they load an MPD anew from its Location, and, where keys
// are filtered, for media playlists. nil: nowhere.
func (v *viewer) child(path string) manifest.Child {
	if strings.HasSuffix(path, ".m3u8") && !v.filter.RestrictsDRM() {
		return nil
	}
	again := v.said
	if v.session != "" {
		again += "&" + parameterSession + "=" + v.session
	}
	return func(dst, url []byte, to manifest.Resource) []byte {
		if to != manifest.Playlist {
			return append(dst, url...)
		}
		for parameter := range strings.SplitSeq(again, "&") {
			name, value, _ := strings.Cut(parameter, "=")
			url = manifest.Query(name, value)(nil, url, to)
		}
		return append(dst, url...)
	}
}

// The kinds of a query's parameters.
const (
	ofDevice = iota
	ofSession
	ofOthers
)

func kindOf(name string) int {
	switch name {
	case parameterSession:
		return ofSession
	case parameterDevice, parameterCodecs, parameterHeight, parameterRate, parameterBitrate, parameterChannels, parameterDRM, parameterRange,
		parameterMetered, parameterAudio:
		return ofDevice
	}
	return ofOthers
}

// gather are the parameters of one kind, as they stand in the query. No allocation where they stand together.
func gather(query string, kind int) (all string) {
	from := -1 // of all in the query; -1: there is none
	for at := 0; at <= len(query); {
		parameter, _, _ := strings.Cut(query[at:], "&")
		end := at + len(parameter)
		if name, _, _ := strings.Cut(parameter, "="); kindOf(name) == kind {
			switch {
			case from < 0:
				from, all = at, parameter
			case from+len(all)+1 == at:
				all = query[from:end]
			default:
				all, from = all+"&"+parameter, len(query)+1
			}
		}
		at = end + 1
	}
	return all
}

// valueOf is the value of a query's parameter, as it stands there; of several the first.
func valueOf(query, name string) string {
	for query != "" {
		parameter, rest, _ := strings.Cut(query, "&")
		if found, value, _ := strings.Cut(parameter, "="); found == name {
			return value
		}
		query = rest
	}
	return ""
}

// hashOf is FNV-1a, without an allocation.
func hashOf(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h
}
