package sdk

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"weir/edge/session"
)

// downloadCall is the body of POST /sdk/v1/downloads.
type downloadCall struct {
	playCall

	MaxBytes int64 `json:"max_bytes"` // that the device has room for; 0: any
}

// download is the answer.
type download struct {
	Download  string            `json:"download"`
	Asset     string            `json:"asset"`
	Rendition renditionFigures  `json:"rendition"`
	Playlists []string          `json:"playlists"` // of the one rendition: video, then audio
	Files     int               `json:"files"`
	Bytes     int64             `json:"bytes"`
	Exact     bool              `json:"exact"` // else Bytes follows from the bitrate
	DurationS float64           `json:"duration_s"`
	Licenses  map[string]string `json:"licenses"`
	Token     *Token            `json:"token,omitempty"`
	Expires   time.Time         `json:"expires"` // do not play it after that, unless it was renewed by GET
}

type renditionFigures struct {
	Bandwidth int64  `json:"bandwidth"`
	Codecs    string `json:"codecs"`
	Height    int    `json:"height"`
}

const (
	maxPlaylistBytes = 4 << 20
	maxMeasured      = 4000 // files whose length is asked for, one by one; of longer titles the bitrate tells
	measuredAtOnce   = 8
	measuredTitles   = 4               // at a time, for all clients: each asks this edge for thousands of lengths, and on a miss the origin
	measureWait      = 2 * time.Second // for one of these places
)

func (a *API) newDownload(w http.ResponseWriter, r *http.Request) *problem {
	if p := a.downloads(); p != nil {
		return p
	}
	var call downloadCall
	if p := read(r, &call, false); p != nil {
		return p
	}
	rule, p := a.checkCall(&call.playCall)
	if p != nil {
		return p
	}
	viewer, p := a.viewer(r)
	if p != nil {
		return p
	}
	if rule.HLS == "" {
		return newProblem("download", "the title has no HLS playlist, which downloads are made of")
	}
	d, p := a.measureInTurn(r, rule, &call)
	if p != nil {
		return p
	}
	opened, p := a.openIn(a.options.Downloads, r, &call.playCall, viewer.Account, a.options.DownloadLimit)
	if p != nil {
		if p.name == "sessions" {
			limited := newProblem("downloads", fmt.Sprintf("%d of %d downloads are kept", len(p.Sessions), p.Limit))
			limited.Limit, limited.Sessions = p.Limit, p.Sessions
			return limited
		}
		return p
	}
	d.Download, d.Expires = string(opened.ID), opened.Expires.Round(0).UTC()
	if a.options.Issue != nil {
		token, err := a.options.Issue(Grant{
			Session: d.Download, Account: viewer.Account, Asset: call.Asset, Prefix: expand(rule.Prefix, call.Asset), Host: r.Host, Until: opened.Expires,
		})
		if err != nil {
			_, _ = a.options.Downloads.End(context.WithoutCancel(r.Context()), opened.ID) // it ends anyway
			a.log.Error("a token could not be made", "asset", call.Asset, "error", err)
			return noToken()
		}
		if d.Token = &token; token.Carry == "query" {
			for i, playlist := range d.Playlists {
				d.Playlists[i] = withToken(playlist, &token)
			}
		}
	}
	w.Header().Set("Location", "/sdk/v1/downloads/"+d.Download)
	writeJSON(w, http.StatusCreated, d)
	return nil
}

// withToken puts a token into a URL's query, in place of the one by which this edge has asked.
func withToken(address string, token *Token) string {
	u, err := url.Parse(address)
	if err != nil {
		return address // it was parsed before
	}
	query := u.Query()
	query.Set(token.Name, token.Value)
	u.RawQuery = query.Encode()
	return u.String()
}

// downloads is a problem where there are none here.
func (a *API) downloads() *problem {
	if a.options.Downloads == nil || a.options.Fetch == nil {
		return newProblem("not-found", "nothing can be downloaded from this server")
	}
	return nil
}

// keepDownload says that a download is still wanted, and until when it may be played.
func (a *API) keepDownload(w http.ResponseWriter, r *http.Request) *problem {
	if p := a.downloads(); p != nil {
		return p
	}
	s, err := a.options.Downloads.Renew(r.Context(), session.ID(r.PathValue("id")))
	if err != nil {
		return problemOf(err)
	}
	writeJSON(w, http.StatusOK, struct {
		Download string    `json:"download"`
		Asset    string    `json:"asset"`
		Expires  time.Time `json:"expires"`
	}{string(s.ID), s.Asset, s.Expires.Round(0).UTC()})
	return nil
}

func (a *API) endDownload(w http.ResponseWriter, r *http.Request) *problem {
	if p := a.downloads(); p != nil {
		return p
	}
	if _, err := a.options.Downloads.End(r.Context(), session.ID(r.PathValue("id"))); err != nil {
		return problemOf(err)
	}
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// measureInTurn is measure for a few at a time.
func (a *API) measureInTurn(r *http.Request, rule *Asset, call *downloadCall) (*download, *problem) {
	patience := time.NewTimer(measureWait)
	defer patience.Stop()
	select {
	case a.measuring <- struct{}{}:
		defer func() { <-a.measuring }()
		return a.measure(r, rule, call)
	case <-patience.C:
	case <-r.Context().Done():
	}
	return nil, newProblem("busy", "as many titles are measured as this server does at a time").retryAfter(5*time.Second, rand.Float64())
}

// measure finds the best rendition that fits, and how much it is.
func (a *API) measure(r *http.Request, rule *Asset, call *downloadCall) (*download, *problem) {
	query := call.query("")
	if p := a.pass(r, rule, call.Asset, query); p != nil {
		return nil, p
	}
	master := expand(rule.HLS, call.Asset) + "?" + query.Encode()
	text, p := a.playlist(r, master)
	if p != nil {
		return nil, p
	}
	list := renditions(text)
	if len(list) == 0 {
		list = []rendition{{playlists: []string{master}}} // it is a media playlist
	}
	slices.SortStableFunc(list, func(a, b rendition) int { return int(min(max(b.bandwidth-a.bandwidth, -1), 1)) })
	for i := range list {
		one := &list[i]
		last := i == len(list)-1
		d, p := a.measureOne(r, master, one, call.MaxBytes, last)
		if p != nil {
			return nil, p
		}
		if d == nil {
			continue // it is too large
		}
		d.Asset, d.Licenses = call.Asset, rule.licenses(&call.playCall, "")
		return d, nil
	}
	panic("sdk: the last rendition was not judged")
}

// measureOne is nil for a rendition that is too large and not the last one.
func (a *API) measureOne(r *http.Request, master string, one *rendition, maxBytes int64, last bool) (*download, *problem) {
	d := &download{Rendition: renditionFigures{one.bandwidth, one.codecs, one.height}, Exact: true}
	var unknown []string
	for _, uri := range one.playlists {
		path := pathOf(master, uri)
		if path == "" {
			return nil, newProblem("download", "the title's playlists lie on another server")
		}
		text, p := a.playlist(r, path)
		if p != nil {
			return nil, p
		}
		m := readMedia(text)
		if !m.ended {
			return nil, newProblem("download", "the title is live: it has no end yet")
		}
		d.Playlists, d.Files = append(d.Playlists, base(r)+path), d.Files+len(m.files)
		d.DurationS = max(d.DurationS, m.duration.Seconds())
		for _, f := range m.files {
			if f.length >= 0 {
				d.Bytes += f.length
			} else if len(unknown) <= maxMeasured { // of more none is asked for
				unknown = append(unknown, pathOf(path, f.uri))
			}
		}
	}
	estimate := int64(float64(max(one.average, one.bandwidth*9/10)) / 8 * d.DurationS)
	if maxBytes > 0 && !last && estimate > 2*maxBytes {
		return nil, nil //nolint:nilnil // too large by far: its files need not be counted
	}
	if size, ok := a.sizeOf(r, unknown); ok {
		d.Bytes += size
	} else {
		d.Bytes, d.Exact = max(d.Bytes, estimate), false
	}
	switch {
	case maxBytes <= 0 || d.Bytes <= maxBytes:
		return d, nil
	case last:
		p := newProblem("room", fmt.Sprintf("the smallest rendition has %d bytes", d.Bytes))
		p.Field = "max_bytes"
		return nil, p
	}
	return nil, nil //nolint:nilnil // too large
}

// sizeOf adds up the lengths of files; false where one is not told, or there are too many.
func (a *API) sizeOf(r *http.Request, paths []string) (total int64, ok bool) {
	if len(paths) > maxMeasured || a.options.Size == nil || slices.Contains(paths, "") {
		return 0, len(paths) == 0
	}
	sizes := make([]int64, len(paths))
	broken := make(chan any, measuredAtOnce)
	var wg sync.WaitGroup
	for first := range min(measuredAtOnce, len(paths)) {
		wg.Go(func() {
			defer func() {
				if p := recover(); p != nil {
					broken <- fmt.Sprintf("%v, at\n%s", p, debug.Stack())
				}
			}()
			for i := first; i < len(paths); i += measuredAtOnce {
				if sizes[i] = a.options.Size(r, paths[i]); sizes[i] < 0 || r.Context().Err() != nil {
					sizes[i] = -1
					return
				}
			}
		})
	}
	wg.Wait()
	select {
	case p := <-broken:
		panic(p) // in the handler, where it ends this request alone
	default:
	}
	for _, n := range sizes {
		if n < 0 {
			return 0, false
		}
		total += n
	}
	return total, true
}

// playlist fetches one from this edge.
func (a *API) playlist(r *http.Request, path string) (string, *problem) {
	status, body := a.options.Fetch(r, path, maxPlaylistBytes)
	switch status {
	case http.StatusOK:
		return string(body), nil
	case http.StatusNotFound, http.StatusGone:
		return "", newProblem("asset", "no playlist lies where this title should be")
	case http.StatusNotAcceptable:
		return "", newProblem("playable", "of all renditions of the title none fits what the device can play")
	case http.StatusForbidden, http.StatusUnauthorized:
		return "", newProblem("forbidden", "the title is not for this viewer")
	}
	return "", newProblem("busy", "the title's playlists cannot be had now").retryAfter(5*time.Second, 0)
}
