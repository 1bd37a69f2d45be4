package main

import (
	"context"
	"fmt"
	"time"
)

// session is one title that a viewer plays.
type session struct {
	*viewer

	title   string
	master  *playlist         // nil when the title is a media playlist itself
	variant int               // that is played
	tracks  []*track          // video, then sound if that is apart
	kept    map[string]*media // playlists to which nothing will be added
	buffer  *buffer
	asked   time.Time
	counted int // stalls in the tally
}

// open loads the playlists.
func (s *session) open(ctx context.Context, title string) bool {
	s.title = title
	first, ok := s.playlist(ctx, title)
	if !ok {
		return false
	}
	if first.media != nil {
		t := &track{}
		t.enter(title, first.media, false, time.Now())
		s.tracks = []*track{t}
	} else {
		s.master = first
		s.variant = s.choice.choose(first.variants, s.speed)
		if !s.addTrack(ctx, first.variants[s.variant].uri) {
			return false
		}
		if sound := first.audio[first.variants[s.variant].group]; sound != "" && !s.addTrack(ctx, sound) {
			return false
		}
	}
	s.buffer = newBuffer(len(s.tracks), s.target, s.asked)
	return true
}

// play loads and shows until the end of the title.
func (s *session) play(ctx context.Context) bool {
	for {
		i, due := s.nextTrack()
		if i < 0 {
			break
		}
		if !sleep(ctx, time.Until(due)) || !s.load(ctx, i) {
			return false
		}
		s.advance()
	}
	if !s.fast && !sleep(ctx, s.buffer.remaining()) {
		return false
	}
	s.advance()
	return true
}

// nextTrack is the one to load next, and when; -1 when all are there.
func (s *session) nextTrack() (next int, due time.Time) {
	next = -1
	s.advance()
	for i, t := range s.tracks {
		if s.buffer.ended[i] {
			continue
		}
		at := s.buffer.due(i)
		if _, there := t.segment(); !there && !t.list.ended && t.reload.After(at) {
			at = t.reload
		}
		if next < 0 || at.Before(due) || at.Equal(due) && s.buffer.loaded[i] < s.buffer.loaded[next] {
			next, due = i, at
		}
	}
	return next, due
}

// load brings a track on by a segment, or by a reload of its playlist.
func (s *session) load(ctx context.Context, i int) bool {
	t := s.tracks[i]
	if i == 0 && !s.adapt(ctx) {
		return false
	}
	part, there := t.segment()
	switch {
	case there:
		return s.segment(ctx, i, &part)
	case t.list.ended:
		s.buffer.end(i, time.Now())
		return true
	}
	return s.reload(ctx, t)
}

// adapt changes to the variant that the throughput asks for.
func (s *session) adapt(ctx context.Context) bool {
	if s.master == nil {
		return true
	}
	best := s.choice.choose(s.master.variants, s.speed)
	if best == s.variant {
		return true
	}
	name, m, ok := s.mediaPlaylist(ctx, s.master.variants[best].uri)
	if ok {
		s.variant = best
		s.tracks[0].enter(name, m, true, time.Now())
	}
	return ok
}

func (s *session) segment(ctx context.Context, i int, part *segment) bool {
	t := s.tracks[i]
	if part.init.uri != "" && part.init != t.init {
		if !s.piece(ctx, t, part.init) {
			return false
		}
		t.init = part.init
	}
	if !part.gap && !s.piece(ctx, t, part.piece) {
		return false
	}
	t.pass(part)
	s.buffer.add(i, part.duration, time.Now())
	return true
}

func (s *session) piece(ctx context.Context, t *track, p piece) bool {
	name, ok := s.resolve(t.name, p.uri)
	return ok && s.get(ctx, object{name: name, first: p.first, length: p.length}, false) != nil
}

func (s *session) reload(ctx context.Context, t *track) bool {
	list, ok := s.playlist(ctx, t.name)
	if !ok || list.media == nil {
		return false
	}
	before := t.list.sequence
	skipped, back := t.update(list.media, time.Now())
	s.tally.skipped.Add(skipped)
	if back {
		s.tally.odd(s.edges[s.at], "sequence", fmt.Sprintf("%s: media sequence %d after %d", t.name, list.media.sequence, before))
	}
	return true
}

func (s *session) addTrack(ctx context.Context, uri string) bool {
	name, m, ok := s.mediaPlaylist(ctx, uri)
	if ok {
		t := &track{}
		t.enter(name, m, false, time.Now())
		s.tracks = append(s.tracks, t)
	}
	return ok
}

// mediaPlaylist loads one that the multivariant playlist names.
func (s *session) mediaPlaylist(ctx context.Context, uri string) (name string, m *media, ok bool) {
	if name, ok = s.resolve(s.title, uri); !ok {
		return "", nil, false
	}
	if m = s.kept[name]; m != nil {
		return name, m, true
	}
	list, ok := s.playlist(ctx, name)
	if !ok {
		return "", nil, false
	}
	if list.media == nil {
		s.giveUp(fmt.Errorf("%w: %s has variants, and a variant names it", errPlaylist, name))
		return "", nil, false
	}
	if list.media.ended {
		s.kept[name] = list.media
	}
	return name, list.media, true
}

func (s *session) playlist(ctx context.Context, name string) (*playlist, bool) {
	a := s.get(ctx, object{name: name}, true)
	if a == nil {
		return nil, false
	}
	return a.list, true
}

func (s *session) resolve(base, reference string) (string, bool) {
	name, err := resolve(base, reference, s.known)
	if err != nil {
		s.giveUp(err)
	}
	return name, err == nil
}

// giveUp is for what no other edge can mend.
func (s *session) giveUp(err error) {
	s.tally.missed(s.edges[s.at], &failure{failPlaylist, err})
	s.tally.edges[s.edges[0]].lost.Add(1)
}

// advance shows what can be shown, and counts when that stands still.
func (s *session) advance() {
	s.buffer.advance(time.Now())
	s.tally.edges[s.edges[0]].stalls.Add(int64(s.buffer.stalls - s.counted))
	s.counted = s.buffer.stalls
}

// leave reports what was seen.
func (s *session) leave() {
	if s.buffer == nil {
		return
	}
	s.advance()
	s.buffer.close(s.buffer.now)
	s.tally.played(s.edges[0], s.buffer, s.stalled)
	s.stalled = s.stalled || s.buffer.stalls > 0
}
