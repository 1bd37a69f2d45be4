package edge

import (
	"bytes"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"

	"weir/cache"
	"weir/cache/freshness"
)

// The lifetimes of media that name none. Plain HTTP content gets none from us.
const (
	// negativeTTL is that of a 404 or 410: long enough to collapse a crowd, short at the live edge.
	negativeTTL = time.Second
	// mediaErrorTTL bounds that of every error, whatever its origin says: the segment that is not there yet will be
	// within a target duration, and the shortest in use is 2 s.
	mediaErrorTTL = 2 * time.Second
	// segmentTTL is that of segments and init sections: their names are used once, and an hour is past any live window
	// but a DVR's, whose segments cost one validation an hour.
	segmentTTL = time.Hour
	// liveTTL is that of a playlist that changes in a rhythm that it does not tell.
	liveTTL = time.Second
	// vodTTL is that of a playlist that says it is complete, or lists other playlists: it changes when somebody
	// publishes anew, and who does so expects to see it soon.
	vodTTL = 10 * time.Second
	// minLiveTTL and maxLiveTTL bound half a target duration: a playlist that claims less or more is broken.
	minLiveTTL, maxLiveTTL = 100 * time.Millisecond, 5 * time.Second
	// playlistBytes is how much of a playlist is looked at: a day of 4 s segments.
	playlistBytes = 2 << 20
)

// isMedia tells media by the last part of a path: these get lifetimes of ours
// where the origin names none; plain HTTP content does not.
func isMedia(p string) bool { return isPlaylist(p) || isSegment(p) }

func isPlaylist(p string) bool {
	switch path.Ext(p) {
	case ".m3u8", ".mpd":
		return true
	}
	return false
}

func isSegment(p string) bool {
	switch path.Ext(p) {
	case ".m4s", ".mp4", ".m4v", ".m4a", ".cmfv", ".cmfa", ".cmft", ".ts", ".aac", ".vtt":
		return true
	}
	return false
}

// mediaType tells whether a response may be media by what it says of itself: a
// page of somebody's account that answers to /account/x.m4s is none.
func mediaType(h http.Header) bool {
	said := h.Get("Content-Type")
	if said == "" {
		return true
	}
	kind, _, err := mime.ParseMediaType(said)
	if err != nil {
		return false
	}
	switch kind {
	case "application/vnd.apple.mpegurl", "application/x-mpegurl", "application/dash+xml", "application/mp4", "text/vtt",
		"application/octet-stream", "binary/octet-stream":
		return true
	}
	return strings.HasPrefix(kind, "video/") || strings.HasPrefix(kind, "audio/")
}

// mediaLifetime is how long a response is fresh that names no lifetime; ok is
// false for what is no media.
func mediaLifetime(p string, r freshness.Response) (d time.Duration, ok bool) {
	switch {
	case (r.Status == http.StatusNotFound || r.Status == http.StatusGone) && isMedia(p):
		return negativeTTL, true
	case r.Status != http.StatusOK || !mediaType(r.Header):
		return 0, false
	case isPlaylist(p):
		return liveTTL, true // until its body is read, see playlistLifetime
	case isSegment(p):
		return segmentTTL, true
	}
	return 0, false
}

// boundError keeps an error on media from outliving the segment's coming.
func boundError(p string, status int, f freshness.Freshness) freshness.Freshness {
	if status >= 400 && isMedia(p) {
		f.Lifetime = min(f.Lifetime, mediaErrorTTL)
		f.StaleWhileRevalidate, f.StaleIfError = 0, 0
	}
	return f
}

// ofBody is the freshness of a playlist that names none, by what its body says.
// ok is false where it stays as it is.
func (f *flight) ofBody(o *cache.Object) (fresh freshness.Freshness, ok bool) {
	if !f.lifetimeOurs || !isPlaylist(f.target.Path) || o.Head().Status != http.StatusOK {
		return freshness.Freshness{}, false
	}
	body := make([]byte, playlistBytes)
	n, _ := o.ReadAt(body, 0) // short, most often
	fresh = o.Head().Freshness
	fresh.Lifetime = playlistLifetime(f.target.Path, body[:n])
	return fresh, true
}

// playlistLifetime is half of the time in which a live playlist changes: a target
// duration (RFC 8216, 6.3.4), a part target, a minimum update period (ISO/IEC
// 23009-1, 5.3.1). A viewer who polls in that rhythm then sees each change.
func playlistLifetime(p string, body []byte) time.Duration {
	var period time.Duration
	switch {
	case path.Ext(p) == ".mpd":
		head, _, _ := bytes.Cut(body, []byte("<Period"))
		if !bytes.Contains(head, []byte(`"dynamic"`)) {
			return vodTTL
		}
		period = isoDuration(between(head, `minimumUpdatePeriod="`, `"`))
	case bytes.Contains(body, []byte("\n#EXT-X-ENDLIST")), bytes.Contains(body, []byte("\n#EXT-X-STREAM-INF:")):
		return vodTTL
	default:
		if period = seconds(between(body, "PART-TARGET=", ",\r\n")); period == 0 {
			period = seconds(between(body, "#EXT-X-TARGETDURATION:", "\r\n"))
		}
	}
	if period == 0 {
		return liveTTL
	}
	return min(max(period/2, minLiveTTL), maxLiveTTL)
}

// between returns what stands behind before, up to a byte of ends or the end.
func between(text []byte, before, ends string) string {
	_, rest, ok := bytes.Cut(text, []byte(before))
	if !ok {
		return ""
	}
	if end := bytes.IndexAny(rest, ends); end >= 0 {
		rest = rest[:end]
	}
	const longest = 32 // no number is longer
	return string(rest[:min(len(rest), longest)])
}

// isoDuration reads the days and less of an XML duration such as PT2.5S or
// P0DT1M; 0 for what it cannot read.
func isoDuration(text string) time.Duration {
	text, ok := strings.CutPrefix(text, "P")
	if !ok {
		return 0
	}
	units := map[byte]time.Duration{'D': 24 * time.Hour, 'H': time.Hour, 'M': time.Minute, 'S': time.Second}
	var sum time.Duration
	for text = strings.Replace(text, "T", "", 1); text != ""; {
		end := strings.IndexAny(text, "DHMS")
		if end <= 0 {
			return 0
		}
		sum = min(sum+time.Duration(number(text[:end])*float64(units[text[end]])), longestPeriod)
		text = text[end+1:]
	}
	return sum
}

// longestPeriod is more than any playlist waits.
const longestPeriod = 24 * time.Hour

// seconds reads a decimal number of seconds; 0 for anything else.
func seconds(text string) time.Duration { return time.Duration(number(text) * float64(time.Second)) }

// number reads a decimal number up to a day's seconds; 0 for anything else.
func number(text string) float64 {
	n, err := strconv.ParseFloat(strings.Trim(text, " "), 64)
	if err != nil || !(n > 0 && n <= longestPeriod.Seconds()) {
		return 0
	}
	return n
}
