package manifest

import (
	"bytes"
	"slices"
)

// span is a piece of an MPD.
type span struct{ start, end int }

// edit puts text in the place of a piece of the MPD.
type edit struct {
	span

	text []byte
}

// slot is a place in which another element of the same kind stands: that of an AdaptationSet or a Representation.
type slot struct {
	span

	from span
}

// representation is a Representation with what its AdaptationSet says.
type representation struct {
	span
	reading

	traits  traits
	systems [][]byte // of its ContentProtection that names a DRM system
	gone    bool
}

// adaptation is an AdaptationSet.
type adaptation struct {
	span

	period          int
	id              []byte
	components      [][]byte // names of ContentComponents
	trickOf         []byte   // names of the sets that it is trick play for
	traits          traits
	systems         [][]byte
	representations []representation
	image, trick    bool // thumbnails, and trick play: no part of what must be left
	text            bool
	application     bool // subtitles and data in MP4, unless something else is said
	gone            bool
	best            traits // of the representations that are left, for the order
}

// dash is an MPD being rewritten.
type dash struct {
	*Rewrite

	text    []byte
	path    [][]byte // names of the elements that are open
	sets    []adaptation
	periods int
	listed  int // Representations of the period

	edits []edit    // in the order of the text
	slots [2][]slot // of AdaptationSets, of Representations
	// systems are ContentProtection elements of systems that the device has not.
	systems []span
	// references name sets.
	references []reference

	dynamic  bool // players load the MPD anew
	base     bool // the MPD has a BaseURL of its own
	copied   bool // which is written for each place of Steering
	kept     int  // where the text begins of an element that is written so, and has its Child
	steered  bool // Steering has been written
	textFrom int  // where the text of an element begins that holds a URL, or a stored ContentSteering
}

// maxDepth bounds the elements within elements; MPDs need eight.
const maxDepth = 64

// AppendDASH is Append for DASH.
func (r *Rewrite) AppendDASH(dst, mpd []byte) ([]byte, error) {
	d := &dash{Rewrite: r, text: mpd}
	if !d.scan() {
		return dst, ErrFormat
	}
	if r.Filter != nil && !d.filter() {
		return dst, ErrEmpty
	}
	slices.SortStableFunc(d.edits, func(a, b edit) int { return a.start - b.start })
	return d.append(dst, 0, span{0, len(mpd)}), nil
}

// scan goes through the MPD once, collecting what the filter needs and the edits that are already known.
func (d *dash) scan() bool {
	s := scanner{text: d.text}
	root := false
	for {
		t, ok := s.next()
		if !ok {
			return !s.bad && root && len(d.path) == 0
		}
		if len(d.path) == 0 {
			if root || !t.opens || string(t.name) != "MPD" {
				return false
			}
			root = true
			d.dynamic = string(xmlAttribute(t.attributes, "type")) == "dynamic"
		}
		if t.opens {
			if len(d.path) == maxDepth {
				return false
			}
			if d.open(&t); d.listed > maxRenditions {
				return false
			}
			d.path = append(d.path, t.name)
		}
		if t.closes {
			if last := len(d.path) - 1; last < 0 || !bytes.Equal(d.path[last], t.name) {
				return false
			}
			d.path = d.path[:len(d.path)-1]
			d.close(&t)
		}
	}
}

// set is the AdaptationSet that is open; nil: none.
func (d *dash) set() *adaptation {
	if len(d.path) < 3 || string(d.path[2]) != "AdaptationSet" || len(d.sets) == 0 {
		return nil
	}
	return &d.sets[len(d.sets)-1]
}

// rendition is the Representation that is open; nil: none.
func (d *dash) rendition() *representation {
	set := d.set()
	if set == nil || len(d.path) < 4 || string(d.path[3]) != "Representation" || len(set.representations) == 0 {
		return nil
	}
	return &set.representations[len(set.representations)-1]
}

func (d *dash) open(t *token) {
	if len(d.path) == 1 {
		d.insertSteering(t)
		d.copyLocation(t) // behind what stands in front of it
	}
	switch string(t.name) {
	case "Period":
		if len(d.path) == 1 {
			d.periods, d.listed = d.periods+1, 0
		}
	case "AdaptationSet":
		if len(d.path) == 2 {
			set := adaptation{span: span{t.start, t.end}, period: d.periods, id: xmlAttribute(t.attributes, "id")}
			set.traits.read(t.attributes)
			set.kind(t.attributes)
			d.sets = append(d.sets, set)
		}
	case "Representation":
		if set := d.set(); set != nil && len(d.path) == 3 {
			one := representation{span: span{t.start, t.end}, traits: set.traits}
			one.traits.dynamics, one.traits.channels = 0, 0 // see inherit
			one.traits.read(t.attributes)
			one.refer(t.attributes, t.at)
			set.kind(t.attributes)
			set.representations = append(set.representations, one)
			d.listed++
		}
	case "ContentComponent":
		if set := d.set(); set != nil && len(d.path) == 3 {
			set.kind(t.attributes)
			set.components = append(set.components, xmlAttribute(t.attributes, "id"))
		}
	case "AudioChannelConfiguration", "SupplementalProperty", "EssentialProperty", "ContentProtection":
		d.descriptor(t)
	}
	if d.Filter != nil {
		d.refersTo(t)
	}
	d.urls(t)
}

func (d *dash) close(t *token) {
	d.refersEnd(t)
	switch string(t.name) {
	case "AdaptationSet":
		if len(d.path) == 2 && len(d.sets) > 0 {
			d.sets[len(d.sets)-1].end = t.end
		}
	case "Representation":
		if set := d.set(); set != nil && len(d.path) == 3 && len(set.representations) > 0 {
			set.representations[len(set.representations)-1].end = t.end
		}
	case "ContentProtection":
		if n := len(d.systems) - 1; n >= 0 && d.systems[n].end == 0 {
			d.systems[n].end = t.end
		}
	case "BaseURL", "Location", "PatchLocation":
		if !t.opens {
			d.urlText(t)
		}
	case "ContentSteering":
		if d.Steering != nil && len(d.path) == 1 {
			d.edits = append(d.edits, edit{span: span{d.textFrom, t.end}})
		}
	}
}

// read takes the attributes of an AdaptationSet or a Representation.
func (t *traits) read(list []byte) {
	width, height := int64(0), int64(0)
	for a, ok := nextXML(list, 0); ok; a, ok = nextXML(list, a.end) {
		switch string(a.name) {
		case "codecs":
			t.codecs = a.value
		case "width":
			width = number(a.value)
		case "height":
			height = number(a.value)
		case "frameRate":
			t.rate = decimal(a.value)
		case "bandwidth":
			t.bandwidth = number(a.value)
		case "contentType", "mimeType":
			t.video = t.video || bytes.HasPrefix(a.value, []byte("video"))
			t.audio = t.audio || bytes.HasPrefix(a.value, []byte("audio"))
		}
	}
	if height > 0 {
		t.height = int(height)
		if width > 0 {
			t.height = int(min(width, height))
		}
	}
}

// kind takes what a set is, which may stand at it or at its representations.
func (a *adaptation) kind(list []byte) {
	for x, ok := nextXML(list, 0); ok; x, ok = nextXML(list, x.end) {
		switch string(x.name) {
		case "contentType", "mimeType":
			a.image = a.image || bytes.HasPrefix(x.value, []byte("image"))
			a.text = a.text || bytes.HasPrefix(x.value, []byte("text"))
			a.application = a.application || bytes.HasPrefix(x.value, []byte("application"))
			a.traits.video = a.traits.video || bytes.HasPrefix(x.value, []byte("video"))
			a.traits.audio = a.traits.audio || bytes.HasPrefix(x.value, []byte("audio"))
		}
	}
}

// The values of CICP's transfer characteristics (ISO/IEC 23091-2) that are HDR.
const (
	transferPQ  = 16
	transferHLG = 18
)

// descriptor takes one at an AdaptationSet or a Representation.
func (d *dash) descriptor(t *token) {
	var of *traits
	var systems *[][]byte
	set := d.set()
	switch one := d.rendition(); {
	case one != nil && len(d.path) == 4:
		of, systems = &one.traits, &one.systems
	case set != nil && len(d.path) == 3:
		of, systems = &set.traits, &set.systems
	default:
		return
	}
	scheme, value := xmlAttribute(t.attributes, "schemeIdUri"), xmlAttribute(t.attributes, "value")
	switch string(t.name) {
	case "AudioChannelConfiguration":
		if n := channelCount(scheme, value); n > of.channels {
			of.channels = n
		}
	case "ContentProtection":
		id, ok := systemID(string(scheme))
		if !ok || !bytes.HasPrefix(bytes.ToLower(scheme), []byte("urn:uuid:")) || d.Filter == nil {
			return
		}
		*systems = append(*systems, []byte(id[0]))
		if !d.Filter.allowsSystem([]byte(id[0])) {
			d.systems = append(d.systems, span{start: t.start})
		}
	default:
		switch string(scheme) {
		case "urn:mpeg:mpegB:cicp:TransferCharacteristics":
			switch number(value) {
			case transferPQ:
				of.dynamics = PQ
			case transferHLG:
				of.dynamics = HLG
			default:
				of.dynamics = SDR
			}
		case "http://dashif.org/guidelines/trickmode":
			set.trick, set.trickOf = true, value
		}
	}
}

// channelCount reads an AudioChannelConfiguration; 0 for a scheme that it does not know.
func channelCount(scheme, value []byte) int {
	switch string(scheme) {
	case "urn:mpeg:dash:23003:3:audio_channel_configuration:2011":
		return int(number(value))
	case "urn:mpeg:mpegB:cicp:ChannelConfiguration": // ISO/IEC 23091-3, table 10
		counts := [...]int{0, 1, 2, 3, 4, 5, 6, 8, 2, 3, 4, 7, 8, 24, 8, 12, 10, 12, 14, 12, 14}
		if n := number(value); n < int64(len(counts)) {
			return counts[n]
		}
	case "tag:dolby.com,2014:dash:audio_channel_configuration:2011", "urn:dolby:dash:audio_channel_configuration:2011":
		if len(value) == 4 {
			return dolbyChannels(hex(value))
		}
	case "tag:dts.com,2014:dash:audio_channel_configuration:2012", "tag:dts.com,2018:uhd:audio_channel_configuration":
		return int(number(value))
	}
	return 0
}

// dolbyChannels counts those of a mask of channel locations (ETSI TS 102 366, E.1.3.1.8), some of which are pairs.
func dolbyChannels(mask int) int {
	const pairs = 0b0000_0110_1011_0100 // Lc/Rc, Lrs/Rrs, Lsd/Rsd, Lw/Rw, Lvh/Rvh, Lts/Rts
	n := 0
	for bit := range 16 {
		if mask&(1<<bit) != 0 {
			n++
			if pairs&(1<<bit) != 0 {
				n++
			}
		}
	}
	return n
}

// filter marks and cuts what goes, and puts what stays in order; false: nothing is left of what a period had.
func (d *dash) filter() bool {
	for i := range d.sets {
		d.judge(&d.sets[i])
	}
	for _, s := range d.systems {
		if s.end > 0 {
			d.cut(s)
		}
	}
	for first := 0; first < len(d.sets); {
		last := first
		for last < len(d.sets) && d.sets[last].period == d.sets[first].period {
			last++
		}
		d.loosen(d.sets[first:last])
		if !d.enough(d.sets[first:last]) {
			return false
		}
		for i := first; i < last; i++ {
			d.arrange(&d.sets[i])
		}
		d.arrangeSets(d.sets[first:last])
		first = last
	}
	for _, slots := range d.slots {
		slices.SortFunc(slots, func(a, b slot) int { return a.start - b.start })
	}
	return true
}

// judge looks at the representations of a set.
func (d *dash) judge(set *adaptation) {
	f := d.Filter
	for i := range set.representations {
		one := &set.representations[i]
		one.traits.inherit(&set.traits)
		if set.image || set.text { // no limit is about these
			one.gone = set.image && f.limits.AudioOnly
		} else {
			if set.trick {
				one.traits.bandwidth = 0
			}
			one.gone = !f.allows(&one.traits) || !f.opens(set.systems) || !f.opens(one.systems)
		}
	}
}

// arrange cuts a set of which none is left, and puts the others' representations in order.
func (d *dash) arrange(set *adaptation) {
	if set.gone {
		d.cut(set.span)
		return
	}
	var all []*traits
	var kept []span
	for i := range set.representations {
		one := &set.representations[i]
		if one.gone {
			d.cut(one.span)
			continue
		}
		all, kept = append(all, &one.traits), append(kept, one.span)
	}
	d.place(1, all, kept)
	if len(all) > 0 {
		set.best = *all[0]
		for _, one := range all {
			set.best.channels = max(set.best.channels, one.channels)
		}
	}
}

// inherit takes what descriptors of the AdaptationSet say where the Representation has none of its own.
func (t *traits) inherit(set *traits) {
	if t.dynamics == 0 {
		t.dynamics = set.dynamics
	}
	if t.channels == 0 {
		t.channels = set.channels
	}
	t.video, t.audio = t.video || set.video, t.audio || set.audio
}

// opens tells whether one of the systems is there that a rendition can be opened with. What names none is clear, or has a
// key that no system keeps.
func (f *Filter) opens(systems [][]byte) bool {
	return len(systems) == 0 || slices.ContainsFunc(systems, f.allowsSystem)
}

// enough tells whether a period still has video, if it had, and audio.
func (d *dash) enough(sets []adaptation) bool {
	var had, left [2]bool
	for i := range sets {
		set := &sets[i]
		if set.image || set.trick || set.text || len(set.representations) == 0 {
			continue
		}
		video := set.traits.hasVideo()
		for j := range set.representations {
			video = video || set.representations[j].traits.hasVideo()
		}
		kind := 0
		if !video {
			if kind = 1; !set.sounds() {
				continue
			}
		}
		had[kind], left[kind] = true, left[kind] || !set.gone
	}
	if d.Filter.limits.AudioOnly {
		return left[1] || !had[0] && !had[1]
	}
	return had == left
}

// sounds tells whether a set without video is audio, as far as it says.
func (a *adaptation) sounds() bool {
	if a.application && !a.traits.audio {
		return false
	}
	return slices.ContainsFunc(a.representations, func(one representation) bool {
		said := false
		for name := range codecList(one.traits.codecs) {
			if family := familyOf(name); family == Other || family.audio() {
				return true
			}
			said = true
		}
		return one.traits.audio || !said
	})
}

// arrangeSets puts the sets of video of one period in order, and those of audio.
func (d *dash) arrangeSets(sets []adaptation) {
	for _, video := range [...]bool{true, false} {
		var all []*traits
		var kept []span
		for i := range sets {
			set := &sets[i]
			if set.gone || set.image || set.trick || set.text || len(set.representations) == 0 || set.best.hasVideo() != video {
				continue
			}
			all, kept = append(all, &set.best), append(kept, set.span)
		}
		d.place(0, all, kept)
	}
}

// place notes which of the elements stands in which place.
func (d *dash) place(level int, all []*traits, elements []span) {
	for i, from := range d.Filter.arrange(all, false) {
		if i != from {
			d.slots[level] = append(d.slots[level], slot{elements[i], elements[from]})
		}
	}
}

// cut leaves out an element, and the white space in front of it.
func (d *dash) cut(s span) {
	for s.start > 0 && isSpace(d.text[s.start-1]) {
		s.start--
	}
	d.edits = append(d.edits, edit{span: s})
}

// append writes a piece of the MPD: its slots at that level, and within them those of the next; below, the edits.
func (d *dash) append(dst []byte, level int, piece span) []byte {
	if level == len(d.slots) {
		return d.appendEdited(dst, piece)
	}
	slots := d.slots[level]
	for i := firstAt(slots, piece.start); i < len(slots) && slots[i].end <= piece.end; i++ {
		dst = d.append(dst, level+1, span{piece.start, slots[i].start})
		dst = d.append(dst, level+1, slots[i].from)
		piece.start = slots[i].end
	}
	return d.append(dst, level+1, piece)
}

func firstAt(slots []slot, off int) int {
	i, _ := slices.BinarySearchFunc(slots, off, func(s slot, off int) int { return s.start - off })
	return i
}

// appendEdited writes a piece with its edits. One that lies in another one, which is cut, does not count.
func (d *dash) appendEdited(dst []byte, piece span) []byte {
	i, _ := slices.BinarySearchFunc(d.edits, piece.start, func(e edit, off int) int { return e.start - off })
	off := piece.start
	for ; i < len(d.edits) && d.edits[i].start < piece.end; i++ {
		e := &d.edits[i]
		if e.start < off || e.end > piece.end {
			continue
		}
		dst = append(append(dst, d.text[off:e.start]...), e.text...)
		off = e.end
	}
	return append(dst, d.text[off:piece.end]...)
}
