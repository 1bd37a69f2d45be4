package manifest

import "bytes"

// urls notes the edits of the URLs in a tag.
func (d *dash) urls(t *token) {
	switch string(t.name) {
	case "BaseURL", "Location", "PatchLocation":
		if t.end != d.kept {
			d.textFrom = t.end
		}
		return
	case "ContentSteering":
		d.textFrom = t.start
		return
	}
	if d.Child == nil {
		return
	}
	template := string(t.name) == "SegmentTemplate"
	for a, ok := nextXML(t.attributes, 0); ok; a, ok = nextXML(t.attributes, a.end) {
		to, known := urlAttribute(t.name, a.name)
		if !known {
			continue
		}
		d.edits = append(d.edits, edit{span{t.at + a.from, t.at + a.to}, d.child(a.value, to, template)})
	}
}

// urlAttribute tells what the URL in an attribute leads to.
func urlAttribute(element, name []byte) (Resource, bool) {
	switch string(element) {
	case "SegmentTemplate", "SegmentURL":
		switch string(name) {
		case "media", "initialization", "index", "bitstreamSwitching":
			return Media, true
		}
	case "Initialization", "RepresentationIndex", "BitstreamSwitching":
		return Media, string(name) == "sourceURL"
	}
	return Elsewhere, string(name) == "href"
}

// urlText notes the edit of the URL between the tags of an element that ends.
func (d *dash) urlText(t *token) {
	if d.Child == nil || d.textFrom == 0 || d.textFrom > t.start {
		return
	}
	raw := d.text[d.textFrom:t.start]
	url := bytes.TrimSpace(raw)
	from := d.textFrom + bytes.Index(raw, url)
	d.textFrom = 0
	if len(url) == 0 || bytes.IndexByte(url, '<') >= 0 {
		return
	}
	text := d.childText(url, string(t.name) == "BaseURL")
	d.edits = append(d.edits, edit{span{from, from + len(url)}, text})
}

// childText decorates the URL between two tags, which is not empty.
func (d *dash) childText(url []byte, base bool) []byte {
	if d.Child == nil {
		return url
	}
	if !base {
		return d.child(url, Playlist, false)
	}
	// What a query is added to is a whole file; for a directory it would be lost when others are resolved against it
	// (RFC 3986, 5.2.2). A path needs no help there but from the front.
	text := d.child(url, Media, false)
	if url[len(url)-1] == '/' && text[len(text)-1] != '/' {
		return url
	}
	return text
}

// child decorates a URL that has XML's escapes.
func (d *dash) child(value []byte, to Resource, template bool) []byte {
	url := unescapeXML(value)
	decorated := d.Child(nil, url, to)
	if template {
		decorated = escapeTemplate(decorated, url)
	}
	return appendEscaped(nil, decorated)
}

// escapeTemplate doubles each $ that a Child has added in front of or behind a template, where $ begins an identifier
// (ISO/IEC 23009-1, 5.3.9.4.4).
func escapeTemplate(decorated, url []byte) []byte {
	if bytes.Count(decorated, []byte("$")) == bytes.Count(url, []byte("$")) {
		return decorated
	}
	core, _, _ := bytes.Cut(url, []byte("?"))
	at := bytes.Index(decorated, core)
	if at < 0 {
		return decorated
	}
	double := func(part []byte) []byte { return bytes.ReplaceAll(part, []byte("$"), []byte("$$")) }
	out := append(double(decorated[:at]), core...)
	rest := decorated[at+len(core):]
	if kept, ok := bytes.CutPrefix(rest, url[len(core):]); ok { // a query that the template had
		return append(append(out, url[len(core):]...), double(kept)...)
	}
	return append(out, double(rest)...)
}

// copyURL puts one for each place in the place of a relative BaseURL of the MPD, or of a Location; false: it is none.
func (d *dash) copyURL(t *token, places []Location) bool {
	length := bytes.IndexByte(d.text[t.end:], '<')
	if t.closes || length < 0 || len(places) == 0 {
		return false
	}
	url, closing := bytes.TrimSpace(d.text[t.end:t.end+length]), d.text[t.end+length:]
	ending := bytes.IndexByte(closing, '>') // of </BaseURL>: it has no children
	if ending < 0 || len(url) == 0 || !movable(url) || !bytes.HasPrefix(closing, []byte("</")) {
		return false
	}
	url = unescapeXML(d.childText(url, string(t.name) == "BaseURL"))
	var text []byte
	for _, l := range places {
		text = append(append(text, d.text[t.start:t.at]...), ` serviceLocation="`...)
		text = append(append(appendEscaped(text, []byte(l.Pathway)), '"'), d.text[t.at:t.end]...)
		text = append(appendEscaped(text, l.append(nil, url)), closing[:ending+1]...)
	}
	d.edits = append(d.edits, edit{span{t.start, t.end + length + ending + 1}, text})
	d.kept = t.end
	return true
}

// copyLocation writes where an MPD is loaded anew from once for each place that has it.
func (d *dash) copyLocation(t *token) {
	if d.Steering == nil || !d.dynamic || xmlAttribute(t.attributes, "serviceLocation") != nil {
		return
	}
	switch string(t.name) {
	case "Location", "PatchLocation":
		d.copyURL(t, d.Steering.manifests())
	}
}

// insertSteering writes ContentSteering, and BaseURLs and Locations where there are none, in front of the first child of the MPD that may
// not stand before them; a ContentSteering that is stored goes.
func (d *dash) insertSteering(t *token) {
	if d.Steering == nil {
		return
	}
	switch string(t.name) {
	case "ProgramInformation":
		return
	case "BaseURL":
		if !d.base && xmlAttribute(t.attributes, "serviceLocation") == nil {
			if d.copied = d.copyURL(t, d.Steering.bases()); !d.copied {
				d.edits = append(d.edits, edit{span{t.at, t.at}, append(appendEscaped([]byte(` serviceLocation="`), []byte(d.Steering.pathway())), '"')})
			}
		}
		d.base = true
		return
	}
	if d.steered {
		return
	}
	d.steered = true
	indent := t.start
	for indent > 0 && (d.text[indent-1] == ' ' || d.text[indent-1] == '\t') {
		indent--
	}
	space := "\n" + string(d.text[indent:t.start])
	var text []byte
	if !d.base {
		for _, l := range d.Steering.bases() {
			text = append(appendEscaped(append(text, `<BaseURL serviceLocation="`...), []byte(l.Pathway)), `">`...)
			text = append(append(appendEscaped(text, []byte(l.Base)), "</BaseURL>"...), space...)
		}
	}
	if d.dynamic && string(t.name) != "Location" {
		for _, l := range d.Steering.manifests() {
			text = append(appendEscaped(append(text, `<Location serviceLocation="`...), []byte(l.Pathway)), `">`...)
			url := unescapeXML(d.childText(appendEscaped(nil, []byte(l.Manifest)), false))
			text = append(append(appendEscaped(text, l.append(nil, url)), "</Location>"...), space...)
		}
	}
	text = append(appendEscaped(append(text, `<ContentSteering defaultServiceLocation="`...), []byte(d.Steering.first(!d.base || d.copied))), '"')
	if d.Steering.QueryFirst {
		text = append(text, ` queryBeforeStart="true"`...)
	}
	text = append(append(appendEscaped(append(text, '>'), []byte(d.Steering.Server)), "</ContentSteering>"...), space...)
	d.edits = append(d.edits, edit{span{t.start, t.start}, text})
}
