package front

import (
	"net/http"
	"strings"
)

// priority is the priority of a response (RFC 9218, 4).
type priority struct {
	urgency     int8 // 0 to 7; less is sooner
	incremental bool // shares the line with others of its urgency
}

const (
	// Urgencies where nobody says anything. A player cannot go on without its playlist,
	// and sound without picture is better than the opposite.
	urgencyPlaylist = 1
	urgencyAudio    = 2
	urgencyDefault  = 3 // RFC 9218, 4.1
)

// defaultPriority is the priority of a stream on a connection where nothing was said of priorities:
// quic-go's own. All share alike.
func defaultPriority() priority { return priority{urgency: urgencyDefault, incremental: true} }

// rank is the priority of one stream. It is guarded by the mutex of the connection.
type rank struct {
	priority  priority
	signalled bool // by the client, for this request
}

// ranks is what a connection knows of priorities, besides those of its streams. It is guarded by the mutex of the connection.
type ranks struct {
	said  bool                // the client has said something of priorities
	early map[uint64]priority // of streams that have not come
}

// arrive is the rank of a stream that has come, by its number.
func (k *ranks) arrive(id uint64) rank {
	p, ok := k.early[id]
	if !ok {
		return rank{priority: defaultPriority()}
	}
	delete(k.early, id)
	return rank{priority: p, signalled: true}
}

// obey takes the Priority field of the request. PRIORITY_UPDATE, if it has come, is newer.
func (k *ranks) obey(r *rank, field []string) {
	k.said = k.said || field != nil
	if k.said && !r.signalled {
		// RFC 9218, 4: who knows priorities and says nothing means the defaults.
		r.signalled = true
		r.priority = parsePriority(strings.Join(field, ","), priority{urgency: urgencyDefault})
	}
}

// update takes a PRIORITY_UPDATE (RFC 9218, 7) for a stream: r, or nil for one that has not come. Of those it remembers as many as
// there may be at once.
func (k *ranks) update(id uint64, r *rank, value string) {
	k.said = true
	p := parsePriority(value, priority{urgency: urgencyDefault})
	if r != nil {
		r.priority, r.signalled = p, true
		return
	}
	if k.early == nil {
		k.early = map[uint64]priority{}
	}
	if _, ok := k.early[id]; ok || len(k.early) < maxStreams {
		k.early[id] = p
	}
}

// settle settles the priority when the header of the response is known: what the origin says goes before what the client
// says (RFC 9218, 8). Of a client that has said nothing on the whole connection we know better what it needs first.
func (r *rank) settle(response http.Header, request *http.Request) {
	switch said := response["Priority"]; {
	case said != nil:
		r.priority = parsePriority(strings.Join(said, ","), r.priority)
	case !r.signalled && request != nil:
		if urgency := urgencyOf(response, request.URL.Path); urgency != urgencyDefault {
			r.priority = priority{urgency: urgency, incremental: true}
		}
	}
}

// urgencyOf says how soon a response is needed, by its type, or by its name where the type
// says nothing of it.
func urgencyOf(response http.Header, path string) int8 {
	kind := ""
	if types := response["Content-Type"]; len(types) > 0 {
		kind, _, _ = strings.Cut(types[0], ";")
		kind = strings.ToLower(strings.TrimSpace(kind))
	}
	switch kind {
	case "application/vnd.apple.mpegurl", "application/x-mpegurl", "audio/mpegurl", "audio/x-mpegurl", "application/dash+xml":
		return urgencyPlaylist
	case "text/vtt", "application/ttml+xml":
		return urgencyAudio
	case "", "application/octet-stream", "binary/octet-stream", "video/mp4":
		return urgencyOfName(path)
	}
	if strings.HasPrefix(kind, "audio/") {
		return urgencyAudio
	}
	return urgencyDefault
}

func urgencyOfName(path string) int8 {
	dot := strings.LastIndexByte(path, '.')
	if dot < 0 || len(path)-dot > 6 {
		return urgencyDefault
	}
	switch strings.ToLower(path[dot+1:]) {
	case "m3u8", "mpd":
		return urgencyPlaylist
	case "m4a", "aac", "ac3", "ec3", "mp3", "opus", "cmfa", "vtt":
		return urgencyAudio
	}
	return urgencyDefault
}

// parsePriority reads a Priority field value, a dictionary of RFC 8941. Members that it
// does not have come from base, and so does all of a value that is none.
func parsePriority(value string, base priority) priority {
	p := base
	for rest := value; rest != ""; {
		var member string
		var ok bool
		if member, rest, ok = cutMember(rest); !ok {
			return base
		}
		member, _, _ = strings.Cut(member, ";") // parameters mean nothing here
		key, item, has := strings.Cut(strings.Trim(member, " \t"), "=")
		switch {
		case key == "" || has && item == "":
			return base
		case key == "u" && len(item) == 1 && '0' <= item[0] && item[0] <= '7':
			p.urgency = int8(item[0] - '0')
		case key == "i" && (!has || item == "?1"):
			p.incremental = true
		case key == "i" && item == "?0":
			p.incremental = false
		}
	}
	return p
}

// cutMember cuts a dictionary at the first comma outside of a string. It is false for a
// string without end.
func cutMember(s string) (member, rest string, ok bool) {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case c == ',' && !quoted:
			return s[:i], s[i+1:], true
		}
	}
	return s, "", !quoted
}
