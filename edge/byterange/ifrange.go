package byterange

import (
	"net/http"
	"strings"
	"time"
)

// IfRange reports whether the Range field of a request may be honoured, given its
// If-Range field value header and the ETag, Last-Modified and Date field values of
// the response that would be sent (each empty if it has none). An empty header
// sets no condition, so it is true.
//
// Only strong validators count (RFC 9110, 13.1.5): an entity tag must be equal and
// neither side weak; a date must be exactly the Last-Modified, and that must lie at
// least one second before Date (8.8.2.2), or the object could have changed twice
// in the second that it names.
func IfRange(header, etag, lastModified, date string) bool {
	header = strings.Trim(header, " \t")
	switch {
	case header == "":
		return true
	case header[0] == '"':
		return len(header) >= 2 && header[len(header)-1] == '"' && header == strings.Trim(etag, " \t")
	case strings.HasPrefix(header, "W/"):
		return false
	}
	given, err := http.ParseTime(header)
	if err != nil {
		return false
	}
	modified, err := http.ParseTime(lastModified)
	if err != nil || !given.Equal(modified) {
		return false
	}
	sent, err := http.ParseTime(date)
	return err == nil && sent.Sub(modified) >= time.Second
}
