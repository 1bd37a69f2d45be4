package console

import (
	"embed"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strconv"
)

// files is the page as the browser gets it.
//
//go:embed page
var files embed.FS

// page is one embedded file.
type page struct {
	mediaType string
	body      []byte
}

// serve writes the file.
func (p page) serve(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", p.mediaType)
	w.Header().Set("Content-Length", strconv.Itoa(len(p.body)))
	_, _ = w.Write(p.body) // the client has gone: nothing to do
}

// loadPages maps URL paths to the embedded files; index.html is /.
func loadPages() (map[string]page, error) {
	types := map[string]string{
		".html": "text/html; charset=utf-8",
		".css":  "text/css; charset=utf-8",
		".js":   "text/javascript; charset=utf-8",
		".svg":  "image/svg+xml",
	}
	pages := map[string]page{}
	entries, err := fs.ReadDir(files, "page")
	if err != nil {
		return nil, fmt.Errorf("console: read embedded page: %w", err)
	}
	for _, entry := range entries {
		body, err := files.ReadFile("page/" + entry.Name())
		if err != nil {
			return nil, fmt.Errorf("console: read embedded page: %w", err)
		}
		mediaType, ok := types[path.Ext(entry.Name())]
		if !ok {
			return nil, fmt.Errorf("console: embedded file %s has no known media type", entry.Name())
		}
		name := "/" + entry.Name()
		if entry.Name() == "index.html" {
			name = "/"
		}
		pages[name] = page{mediaType, body}
	}
	return pages, nil
}
