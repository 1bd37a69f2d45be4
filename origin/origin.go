package origin

import (
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"weir/origin/asset"
)

// Options say what an Origin serves. Titles is needed; the rest has defaults.
type Options struct {
	Titles    asset.Source // where the titles lie
	PlanBytes int64        // memory for indexes and playlists of titles; 0 is 128 MiB. At least one title is always held
	Log       *slog.Logger // nil discards
}

// defaultPlanBytes holds about a dozen films of two hours in five renditions: 8 bytes a sample of 216,000 at 30 frames/s,
// and the sound. Of shorter titles accordingly more.
const defaultPlanBytes = 128 << 20

// Origin serves titles. It is an http.Handler for any number of requests at once, and has nothing to close.
type Origin struct {
	titles asset.Source
	log    *slog.Logger
	shelf  *shelf
}

// New returns an Origin; it reads nothing yet.
func New(o Options) (*Origin, error) {
	if o.Titles == nil {
		return nil, errors.New("origin: Options.Titles is missing")
	}
	if o.PlanBytes < 0 {
		return nil, errors.New("origin: Options.PlanBytes is negative")
	}
	if o.PlanBytes == 0 {
		o.PlanBytes = defaultPlanBytes
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Origin{titles: o.Titles, log: o.Log, shelf: newShelf(o.PlanBytes)}, nil
}

// ServeHTTP answers GET, HEAD and OPTIONS.
func (o *Origin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Expose-Headers", "*")
	h.Set("Timing-Allow-Origin", "*")
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		o.get(w, r)
	case http.MethodOptions:
		h.Set("Access-Control-Allow-Methods", allowed)
		h.Set("Access-Control-Allow-Headers", "*")
		h.Set("Access-Control-Max-Age", "86400")
		h.Set("Allow", allowed)
		h.Set("Cache-Control", "no-store")
		w.WriteHeader(http.StatusNoContent)
	default:
		h.Set("Allow", allowed)
		fail(w, http.StatusMethodNotAllowed, "only "+allowed)
	}
}

const allowed = "GET, HEAD, OPTIONS"

// get finds what the path names.
func (o *Origin) get(w http.ResponseWriter, r *http.Request) {
	switch path := r.URL.Path; {
	case path == "/healthz":
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write([]byte("ok\n")) // the client has gone if it cannot be written
	case path == "/", path == "/vod", path == "/vod/":
		o.list(w, r)
	case strings.HasPrefix(path, "/vod/"):
		o.vod(w, r, path[len("/vod/"):])
	default:
		fail(w, http.StatusNotFound, "not found")
	}
}

// maxFolders is how many folders of a path are tried as titles.
const maxFolders = 16

// vod serves a file of a title. Of several titles that the path could belong to, the outermost packaged one has it.
func (o *Origin) vod(w http.ResponseWriter, r *http.Request, path string) {
	if !fs.ValidPath(path) || path == "." || strings.ContainsAny(path, "\x00\\") {
		fail(w, http.StatusBadRequest, "the path is not clean")
		return
	}
	stream, streamFile, ok := splitStream(path)
	if ok {
		if p, known := o.shelf.recent(stream, time.Now()); known {
			t, err := p.wait(r.Context())
			o.answer(w, r, t, err, streamFile)
			return
		}
	}
	folders := 0
	for at := range path {
		if path[at] != '/' {
			continue
		}
		if folders++; folders > maxFolders {
			break
		}
		name, file := path[:at], path[at+1:]
		t, err := o.title(r.Context(), name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if name != stream && (err == nil && t.packaged == nil || isProblem(err)) {
			continue // a title, but not of this file
		}
		o.answer(w, r, t, err, file)
		return
	}
	fail(w, http.StatusNotFound, "not found")
}

// answer serves a file of the title t, or says why there is no such title.
func (o *Origin) answer(w http.ResponseWriter, r *http.Request, t *title, err error, file string) {
	switch {
	case err != nil:
		o.failTitle(w, r, err)
	case t.packaged != nil:
		o.serveFile(w, r, t.packaged, file)
	default:
		o.serveStream(w, r, t, file)
	}
}

// failTitle answers for a title that cannot be served.
func (o *Origin) failTitle(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() != nil {
		return // nobody is left to answer
	}
	if isProblem(err) {
		fail(w, http.StatusInternalServerError, err.Error())
		return
	}
	o.log.Error("look up title", "path", r.URL.Path, "error", err)
	fail(w, http.StatusServiceUnavailable, "the title cannot be looked up now")
}

// fail answers with an error as short text.
func fail(w http.ResponseWriter, status int, text string) {
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	if status == http.StatusNotFound {
		h.Set("Cache-Control", "public, max-age=2")
	}
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text + "\n")) // the client has gone if it cannot be written
}
