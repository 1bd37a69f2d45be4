package origin

import (
	"errors"
	"io/fs"
	"net/http"
	"strconv"
	"strings"

	"weir/origin/asset"
)

// The lifetimes; the package comment tells why.
const (
	forEver     = "public, max-age=31536000, immutable"
	forPlaylist = "public, max-age=5, stale-while-revalidate=30, stale-if-error=86400"
	forFile     = "public, max-age=60, stale-while-revalidate=60, stale-if-error=86400"
)

const (
	typeHLS  = "application/vnd.apple.mpegurl"
	typeDASH = "application/dash+xml"
)

var errChanging = errors.New("the file changes while it is read")

const versionDigits = 16

// splitStream takes the path of a file that this package makes up apart: the name of the title, and the file below it.
func splitStream(path string) (title, file string, ok bool) {
	parts := strings.Split(path, "/")
	n := len(parts)
	switch {
	case n >= 2 && (parts[n-1] == "master.m3u8" || parts[n-1] == "manifest.mpd"):
		n--
	case n >= 4 && len(parts[n-2]) == versionDigits && strings.Trim(parts[n-2], "0123456789abcdef") == "":
		n -= 3
	default:
		return "", "", false
	}
	return strings.Join(parts[:n], "/"), strings.Join(parts[n:], "/"), true
}

// serveStream answers for a file of a prepared title.
func (o *Origin) serveStream(w http.ResponseWriter, r *http.Request, t *title, file string) {
	c := content{modified: t.modified(), lifetime: forPlaylist}
	switch file {
	case "master.m3u8":
		c.kind, c.etag, c.memory = typeHLS, t.master.etag, t.master.text
		o.deliver(w, r, &c)
		return
	case "manifest.mpd":
		c.kind, c.etag, c.memory = typeDASH, t.mpd.etag, t.mpd.text
		o.deliver(w, r, &c)
		return
	}
	id, rest, _ := strings.Cut(file, "/")
	version, name, _ := strings.Cut(rest, "/")
	rend, ok := t.find(id, version)
	if !ok {
		// A version that is not on the shelf may be of a file that changed within the last second.
		fail(w, http.StatusNotFound, "no such rendition or version: read the playlist again")
		return
	}
	c.lifetime, c.modified = forEver, rend.entry.ModTime
	switch name {
	case "init.mp4":
		c.kind, c.memory, c.etag = rend.Track.Kind.String()+"/mp4", rend.Init, `"`+version+`-init"`
	case "index.m3u8":
		c.kind, c.memory, c.etag = typeHLS, rend.playlist.text, rend.playlist.etag
	case "iframes.m3u8":
		c.kind, c.memory, c.etag = typeHLS, rend.iframes.text, rend.iframes.etag
	default:
		o.serveSegment(w, r, t, rend, name, &c)
		return
	}
	if len(c.memory) == 0 {
		fail(w, http.StatusNotFound, "not found")
		return
	}
	o.deliver(w, r, &c)
}

// serveSegment answers with a media segment.
func (o *Origin) serveSegment(w http.ResponseWriter, r *http.Request, t *title, rend *rendition, name string, c *content) {
	k, ok := segmentNumber(name)
	if !ok || k >= len(rend.Segments) {
		fail(w, http.StatusNotFound, "not found")
		return
	}
	f, err := t.source.Open(rend.entry.Name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		o.log.Error("open source", "title", t.source.Name, "file", rend.entry.Name, "error", err)
		fail(w, http.StatusServiceUnavailable, "the source cannot be opened now")
		return
	}
	if err != nil || !f.Equal(rend.entry) {
		if err == nil {
			_ = f.Close() // read only: nothing can be lost
		}
		o.shelf.doubt(t.source.Name)
		fail(w, http.StatusNotFound, "the source has changed: read the playlist again")
		return
	}
	defer func() { _ = f.Close() }()
	head := headers.Get().(*[]byte)
	defer headers.Put(head)
	*head = rend.AppendHeader((*head)[:0], k)
	c.kind, c.etag = rend.Track.Kind.String()+"/mp4", `"`+rend.Version+"-"+strconv.Itoa(k+1)+`"`
	c.memory, c.file, c.ranges = *head, f, rend.Segments[k].Ranges
	o.deliver(w, r, c)
}

// segmentNumber returns the number, from 0, of a segment's name. There is one name for each segment only, so that no
// cache keeps it twice.
func segmentNumber(name string) (int, bool) {
	digits, ok1 := strings.CutPrefix(name, "seg-")
	digits, ok2 := strings.CutSuffix(digits, ".m4s")
	n, err := strconv.Atoi(digits)
	if !ok1 || !ok2 || err != nil || n < 1 || name != segmentName(n-1) {
		return 0, false
	}
	return n - 1, true
}

// contentTypes of the files of packaged folders, by extension.
var contentTypes = map[string]string{ //nolint:gochecknoglobals // a table, never written
	".m3u8": typeHLS, ".mpd": typeDASH, ".mp4": "video/mp4", ".m4v": "video/mp4", ".cmfv": "video/mp4", ".m4s": "video/mp4",
	".m4a": "audio/mp4", ".cmfa": "audio/mp4", ".mov": "video/quicktime", ".ts": "video/mp2t", ".aac": "audio/aac", ".ac3": "audio/ac3",
	".ec3": "audio/eac3", ".mp3": "audio/mpeg", ".webm": "video/webm", ".vtt": "text/vtt; charset=utf-8", ".ttml": "application/ttml+xml",
	".cmft": "application/mp4", ".srt": "application/x-subrip", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png", ".webp": "image/webp",
	".json": "application/json", ".key": "application/octet-stream", ".txt": "text/plain; charset=utf-8", ".xml": "text/xml; charset=utf-8",
}

// serveFile answers with a file of a packaged title.
func (o *Origin) serveFile(w http.ResponseWriter, r *http.Request, t *asset.Title, name string) {
	f, err := t.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		fail(w, http.StatusNotFound, "not found")
		return
	}
	if err != nil {
		o.log.Error("open file", "title", t.Name, "file", name, "error", err)
		fail(w, http.StatusServiceUnavailable, "the file cannot be opened now")
		return
	}
	defer func() { _ = f.Close() }() // read only: nothing can be lost
	o.deliver(w, r, fileContent(f, name))
}
