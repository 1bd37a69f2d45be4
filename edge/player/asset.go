package player

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
)

//go:embed static
var static embed.FS

// compressFromBytes is the smallest body worth a second, compressed form: below
// it the answer fits one packet either way.
const compressFromBytes = 1400

// An asset is one file, ready to send. It is immutable.
type asset struct {
	contentType string
	etag        string
	body        []byte
	gzipped     []byte // nil = not worth it
}

// embedded returns the page's own files by name.
func embedded() (map[string][]byte, error) {
	files := map[string][]byte{}
	root, err := fs.Sub(static, "static")
	if err != nil {
		return nil, fmt.Errorf("player: open embedded files: %w", err)
	}
	err = fs.WalkDir(root, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		files[name], err = fs.ReadFile(root, name)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("player: read embedded files: %w", err)
	}
	return files, nil
}

// versionOf names a set of files: equal on all nodes that serve the same ones.
func versionOf(files map[string][]byte) string {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		fmt.Fprintf(h, "%s %d\n", name, len(files[name]))
		h.Write(files[name])
	}
	return hex.EncodeToString(h.Sum(nil)[:6])
}

func newAsset(name string, body []byte) *asset {
	sum := sha256.Sum256(body)
	a := &asset{contentType: typeOf(name), etag: hex.EncodeToString(sum[:8]), body: body}
	if len(body) >= compressFromBytes {
		a.gzipped = compress(body)
	}
	return a
}

func compress(body []byte) []byte {
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		panic("player: gzip: " + err.Error()) // the level is a constant
	}
	_, _ = z.Write(body) // a bytes.Buffer takes everything
	_ = z.Close()        // as above
	return b.Bytes()
}

// typeOf does not ask the system's table: a page served from a machine without
// one must still run its modules.
func typeOf(name string) string {
	switch path.Ext(name) {
	case ".html":
		return "text/html; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".json":
		return "application/json"
	case ".svg":
		return "image/svg+xml"
	}
	return "application/octet-stream"
}

// serve sends the asset, or 304 where the client's copy is the same.
func (a *asset) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	body, tag := a.body, `"`+a.etag+`"`
	if a.gzipped != nil {
		h.Set("Vary", "Accept-Encoding")
		if acceptsGzip(r.Header.Get("Accept-Encoding")) {
			// RFC 9110, 8.8.3: two codings of one resource need two strong tags.
			body, tag = a.gzipped, `"`+a.etag+`-gzip"`
			h.Set("Content-Encoding", "gzip")
		}
	}
	h.Set("ETag", tag)
	if matches(r.Header.Get("If-None-Match"), tag) {
		h.Del("Content-Encoding")
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Type", a.contentType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // the client left: nobody to tell
	}
}

// acceptsGzip reads Accept-Encoding. Only an explicit gzip counts: no client
// that wants it says "*" alone.
func acceptsGzip(header string) bool {
	for item := range strings.SplitSeq(header, ",") {
		coding, parameters, _ := strings.Cut(item, ";")
		if !strings.EqualFold(strings.TrimSpace(coding), "gzip") {
			continue
		}
		weight, found := strings.CutPrefix(strings.ReplaceAll(strings.ToLower(parameters), " ", ""), "q=")
		if !found {
			return true
		}
		q, err := strconv.ParseFloat(weight, 64)
		return err == nil && q > 0
	}
	return false
}

// matches compares If-None-Match with the tag weakly (RFC 9110, 13.1.2).
func matches(header, tag string) bool {
	if strings.TrimSpace(header) == "*" {
		return true
	}
	for item := range strings.SplitSeq(header, ",") {
		if strings.TrimPrefix(strings.TrimSpace(item), "W/") == tag {
			return true
		}
	}
	return false
}
