package sdk

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// Asset says where the manifests of assets lie, and what they need.
type Asset struct {
	// Match is a pattern of asset names in which * stands for any run of characters.
	Match string
	// HLS and DASH are paths on this site in which {asset} stands for the name; "": there is none of this kind.
	HLS, DASH string
	// Prefix are the paths that a session may ask for, as {asset} too; "": the directory of HLS, or of DASH.
	Prefix string
	// Licenses are the license servers, by DRM system (widevine, playready, fairplay, clearkey): absolute URLs, in which {asset}
	// and {session} stand for these.
	Licenses map[string]string
	// Limit is how many sessions of an asset may live at once, of all accounts together; 0: any number.
	Limit int
}

// DefaultAsset is where Weir's own origin has its titles.
func DefaultAsset() Asset {
	return Asset{Match: "*", HLS: "/vod/{asset}/master.m3u8", DASH: "/vod/{asset}/manifest.mpd"}
}

func (a *Asset) check() error {
	if a.Match == "" {
		return errors.New("it matches no name")
	}
	if a.HLS == "" && a.DASH == "" {
		return errors.New("it names neither an HLS nor a DASH manifest")
	}
	for _, path := range []string{a.HLS, a.DASH, a.Prefix} {
		if path != "" && !strings.HasPrefix(path, "/") {
			return fmt.Errorf("%q is no path: begin it with a slash", path)
		}
	}
	if a.Prefix == "" {
		path := a.HLS
		if path == "" {
			path = a.DASH
		}
		a.Prefix = path[:strings.LastIndexByte(path, '/')+1]
	}
	for system, license := range a.Licenses {
		if u, err := url.Parse(license); err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
			return fmt.Errorf("the license server of %s, %q, is no URL", system, license)
		}
	}
	return nil
}

// place stands for an asset's name in a path.
const place = "{asset}"

// expand puts an asset's name into a path, in the form of a path.
func expand(path, asset string) string {
	if path == "" {
		return ""
	}
	segments := strings.Split(asset, "/")
	for i, s := range segments {
		segments[i] = url.PathEscape(s)
	}
	return strings.ReplaceAll(path, place, strings.Join(segments, "/"))
}

// AssetOf is the name of the asset whose manifest lies at a path, escaped as in a request; false where none does.
func (a *API) AssetOf(path string) (string, bool) {
	for i := range a.options.Assets {
		rule := &a.options.Assets[i]
		for _, template := range []string{rule.HLS, rule.DASH} {
			name, ok := nameIn(path, template)
			if template == path { // the manifest of one title
				name, ok = rule.Match, path != "" && !strings.Contains(rule.Match, "*")
			}
			if ok && checkName(name) == nil && a.asset(name) == rule {
				return name, true
			}
		}
	}
	return "", false
}

// nameIn finds the name for which a path was made from a template.
func nameIn(path, template string) (string, bool) {
	start, times := strings.Index(template, place), strings.Count(template, place)
	if times == 0 {
		return "", false
	}
	end := start + len(place) + (len(path)-len(template))/times
	if end <= start || end > len(path) || strings.ReplaceAll(template, place, path[start:end]) != path {
		return "", false
	}
	name, err := url.PathUnescape(path[start:end])
	return name, err == nil
}

// asset is the rule for a name, nil where there is none.
func (a *API) asset(name string) *Asset {
	i := slices.IndexFunc(a.options.Assets, func(rule Asset) bool { return matches(rule.Match, name) })
	if i < 0 {
		return nil
	}
	return &a.options.Assets[i]
}

// matches compares with a pattern in which * stands for any run of characters.
func matches(pattern, s string) bool {
	first, rest, found := strings.Cut(pattern, "*")
	if !found {
		return s == pattern
	}
	if !strings.HasPrefix(s, first) {
		return false
	}
	s = s[len(first):]
	for {
		part, after, found := strings.Cut(rest, "*")
		if !found {
			return strings.HasSuffix(s, part)
		}
		i := strings.Index(s, part)
		if i < 0 {
			return false
		}
		s, rest = s[i+len(part):], after
	}
}

const maxAssetBytes = 128 // as long as CMCD's cid may be

// checkName refuses what could lead out of an asset's place, whoever reads the path.
func checkName(name string) *problem {
	bad := name == "" || len(name) > maxAssetBytes || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\\' })
	for segment := range strings.SplitSeq(name, "/") {
		bad = bad || segment == "" || segment == "." || segment == ".."
	}
	if bad {
		p := newProblem("request", fmt.Sprintf("an asset's name has 1 to %d bytes, no empty or dot segments and no control characters", maxAssetBytes))
		p.Field = "asset"
		return p
	}
	return nil
}
