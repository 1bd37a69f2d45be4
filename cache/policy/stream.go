package policy

import "strings"

// Kind is what a stream's segments carry.
type Kind uint8

// The kinds. Unknown is taken for video: most streams that say nothing have both in one segment.
const (
	Unknown Kind = iota
	Video
	Audio
)

// Stream is what an object is a piece of. The zero value is of no stream.
type Stream struct {
	// Title is a hash of the title's name, the same for all its renditions.
	Title uint32
	// Rendition is a hash of the rendition's name, 0 where there is none.
	Rendition uint8
	// Kind is what the segment carries.
	Kind Kind
	// Number tells that Segment is a number; without it the object is a playlist, an initialisation segment, or no part
	// of a stream.
	Number bool
	// Segment is the segment's number, in the order of play.
	Segment uint32
}

// ParseStream reads from a key's text, "host/path?query" with lines for variants and slices behind it, of what stream
// the object is a piece. It knows the usual layouts of HLS, DASH and CMAF:
//
//	/vod/TITLE/720p/seg-12.m4s              a folder for each rendition, maybe with one for its version below
//	/live/CHANNEL/v1/123.ts
//	/vod/TITLE_720p_00012.ts                everything in the name
//	/vod/TITLE/chunk-stream0-00012.m4s
//	/vod/TITLE/720p.mp4, line "#12"         slices of one file
//
// A query makes it no piece of anything: whoever asks can make up any number of them, and would lend a title's fame to
// each. What it does not know has no segment. It never fails, and guesses wrong at the price of a worse choice.
//
// Once per object: allocates nothing, some hundred nanoseconds.
func ParseStream(text string) Stream {
	target, lines, _ := strings.Cut(text, "\n")
	path, _, query := strings.Cut(target, "?")
	if query {
		return Stream{}
	}
	slash := strings.LastIndexByte(path, '/')
	if slash < 0 {
		return Stream{}
	}
	dir, name := path[:slash], path[slash+1:]
	stem, ext := name, ""
	if dot := strings.LastIndexByte(name, '.'); dot >= 0 {
		stem, ext = name[:dot], name[dot+1:]
	}
	media := mediaOf(ext)
	if media == notMedia {
		return Stream{}
	}
	s := Stream{}
	if media == mediaAudio {
		s.Kind = Audio
	}
	slice, sliced := sliceOf(lines)
	if sliced {
		s.Segment, s.Number = slice, true
	} else {
		stem, s.Segment, s.Number = cutNumber(stem, media == mediaFile)
	}
	s.name(dir, stem, sliced)
	return s
}

// Classes of file names.
const (
	notMedia = iota
	// mediaSegment is always a segment, mediaFile may be one or a whole file, mediaAudio is a segment of audio.
	mediaSegment
	mediaFile
	mediaAudio
)

func mediaOf(ext string) int {
	switch ext {
	case "m4s", "ts", "cmfv", "m4f", "m2ts", "chk", "dash", "mp4v":
		return mediaSegment
	case "m4a", "aac", "cmfa", "ac3", "ec3", "mp3", "mp4a", "weba", "opus":
		return mediaAudio
	case "mp4", "m4v", "webm", "mov", "mkv":
		return mediaFile
	}
	return notMedia
}

// sliceOf reads the line "#N" of a slice of a large object.
func sliceOf(lines string) (n uint32, ok bool) {
	for line := range strings.SplitSeq(lines, "\n") {
		if !strings.HasPrefix(line, "#") {
			continue
		}
		end := 1
		for end < len(line) && isDigit(line[end]) {
			end++
		}
		return number(line[1:end]), end > 1
	}
	return 0, false
}

// cutNumber takes the segment's number off the end of a name without its extension. Of a file that may be a whole one
// it wants to see more: a word before the number, nothing else at all, or five digits.
func cutNumber(stem string, doubtful bool) (rest string, n uint32, ok bool) {
	at := digitsAt(stem)
	if at == len(stem) {
		return stem, 0, false
	}
	rest, n = stem[:at], number(stem[at:])
	// A part of a segment, as in seg-12.part3 or seg-12.3, counts as the segment.
	whole := strings.TrimSuffix(strings.TrimRight(rest, "-_."), "part")
	if whole != rest && (strings.HasSuffix(rest, ".") || strings.HasSuffix(strings.TrimRight(rest, "-_."), "part")) {
		whole = strings.TrimRight(whole, "-_.")
		if first := digitsAt(whole); first < len(whole) {
			rest, n = whole[:first], number(whole[first:])
		}
	}
	bare := strings.TrimRight(rest, "-_.")
	cut := trimWord(bare)
	if doubtful && cut == bare && bare != "" && len(stem)-at < 5 {
		return stem, 0, false
	}
	return cut, n, true
}

// trimWord takes the word that announces a number off the end.
func trimWord(s string) string {
	for _, word := range [...]string{"segment", "seg", "chunk", "fragment", "frag", "part", "media", "s"} {
		if rest, ok := strings.CutSuffix(s, word); ok && (rest == "" || strings.IndexByte("-_.", rest[len(rest)-1]) >= 0) {
			return strings.TrimRight(rest, "-_.")
		}
	}
	return s
}

// name fills in title and rendition from the folder and from what is left of the file's name.
func (s *Stream) name(dir, stem string, sliced bool) {
	title, rendition := newHash(), newHash()
	named := false // the file's name says what title it is
	for word := range words(stem) {
		switch {
		case isRendition(word):
			rendition.add(word)
			s.hear(word)
		case word == "chunk" || word == "seg" || word == "segment":
		default:
			title.add(word)
			named = true
		}
	}
	if !named || rendition.empty() {
		dir = s.cutRendition(dir, &rendition, named && sliced)
	}
	title.add(dir)
	s.Title = title.sum()
	if !rendition.empty() {
		s.Rendition = uint8(rendition.sum()%255) + 1
	}
}

// cutRendition takes folders that name a rendition, and one of its version below, off the end of dir.
func (s *Stream) cutRendition(dir string, rendition *nameHash, never bool) string {
	if never {
		return dir
	}
	rest := dir
	if last := lastFolder(rest); isVersion(last) {
		rest = rest[:len(rest)-len(last)-1]
	}
	for range 3 {
		last := lastFolder(rest)
		if last == "" || !folderIsRendition(last) {
			break
		}
		for word := range words(last) {
			s.hear(word)
		}
		rendition.add(last)
		rest = rest[:len(rest)-len(last)-1]
		dir = rest
	}
	return dir
}

// hear notes what a word tells about the kind.
func (s *Stream) hear(word string) {
	switch stripDigits(word) {
	case "audio", "aac", "mp4a", "ac", "ec", "opus", "sound", "a":
		s.Kind = Audio
	case "video", "avc", "hevc", "h", "hvc", "av", "v", "vid":
		if s.Kind == Unknown {
			s.Kind = Video
		}
	}
}

// lastFolder returns the last folder of a path below the host, "" for none.
func lastFolder(dir string) string {
	at := strings.LastIndexByte(dir, '/')
	if at < 0 {
		return ""
	}
	return dir[at+1:]
}

// folderIsRendition tells whether one of a folder's words names a rendition, or all of it is a small number.
func folderIsRendition(folder string) bool {
	if len(folder) <= 2 && digitsAt(folder) == 0 {
		return true
	}
	for word := range words(folder) {
		if isRendition(word) {
			return true
		}
	}
	return false
}

// isVersion tells whether a folder looks like a hash, as the origin puts below a rendition.
func isVersion(folder string) bool {
	if len(folder) < 8 {
		return false
	}
	for i := range len(folder) {
		if c := folder[i]; !isDigit(c) && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// isRendition tells whether a word names a rendition: what it carries, its height, its bit rate or its place.
func isRendition(word string) bool {
	switch bare := stripDigits(word); bare {
	case "video", "audio", "aac", "mp4a", "ac", "ec", "opus", "sound", "avc", "hevc", "hvc", "vid", "hd", "sd", "uhd", "fhd", "low",
		"mid", "medium", "high", "main", "stream", "rendition", "rep", "representation", "track", "level", "quality", "hls", "dash",
		"cmaf", "init", "variant", "layer":
		return true
	case "v", "a", "r", "q", "p", "h", "w", "b", "k":
		return len(bare) < len(word) // v1, h264, b800000
	}
	return isHeight(word)
}

// isHeight accepts 720p, 720, 800k, 5m, 800kbps and the like.
func isHeight(word string) bool {
	end := 0
	for end < len(word) && isDigit(word[end]) {
		end++
	}
	switch word[end:] {
	case "p", "i", "p25", "p30", "p50", "p60", "k", "kbps", "kbit", "m", "mbps", "bps":
		return end > 0
	case "":
		switch word {
		case "144", "240", "270", "288", "360", "432", "480", "540", "576", "720", "1080", "1440", "2160":
			return true
		}
	}
	return false
}

// words yields what stands between separators.
func words(s string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		start := 0
		for i := 0; i <= len(s); i++ {
			if i < len(s) && s[i] != '-' && s[i] != '_' && s[i] != '.' {
				continue
			}
			if i > start && !yield(s[start:i]) {
				return
			}
			start = i + 1
		}
	}
}

func stripDigits(word string) string { return word[:digitsAt(word)] }

// digitsAt returns where the digits at the end begin.
func digitsAt(s string) int {
	at := len(s)
	for at > 0 && isDigit(s[at-1]) {
		at--
	}
	return at
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// number reads decimal digits, modulo 2^32.
func number(digits string) (n uint32) {
	for i := range len(digits) {
		n = n*10 + uint32(digits[i]-'0')
	}
	return n
}

// nameHash is FNV-1a over words, each with its end.
type nameHash struct{ h uint64 }

const (
	fnvBasis = 0xcbf29ce484222325
	fnvPrime = 0x100000001b3
)

func newHash() nameHash { return nameHash{fnvBasis} }

func (n *nameHash) add(word string) {
	for i := range len(word) {
		n.h = (n.h ^ uint64(word[i])) * fnvPrime
	}
	n.h = (n.h ^ 0xff) * fnvPrime
}

func (n *nameHash) empty() bool { return n.h == fnvBasis }

func (n *nameHash) sum() uint32 { return uint32(mix(n.h) >> 32) }

// mix is the finaliser of MurmurHash3.
func mix(x uint64) uint64 {
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}
