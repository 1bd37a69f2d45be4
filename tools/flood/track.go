package main

import (
	"fmt"
	"net/url"
	"sort"
	"time"
)

// liveDistance is how many target durations before its end a live playlist is joined (RFC 8216, 6.3.3).
const liveDistance = 3

// track is a viewer's place in one media playlist: video, or sound.
type track struct {
	name     string // path and query of the playlist
	list     *media
	next     int64         // sequence number of the segment to load next
	position time.Duration // media time at which it begins
	init     piece         // loaded last
	reload   time.Time     // when to ask for the playlist again
}

// enter takes the first playlist of a track, or of another rendition of it: at the media time, or if it is live at the
// sequence number, that was reached.
func (t *track) enter(name string, m *media, again bool, now time.Time) {
	t.name, t.list = name, m
	t.init = piece{}
	switch {
	case m.ended:
		i := sort.Search(len(m.segments), func(i int) bool { return m.segments[i].begin+m.segments[i].duration/2 > t.position })
		t.next = m.sequence + int64(i)
	case !again:
		t.next = m.sequence + int64(liveStart(m))
	default:
		t.next = max(t.next, m.sequence)
	}
	t.reload = now.Add(m.target)
}

// liveStart is the index of the last segment that begins far enough from the end.
func liveStart(m *media) int {
	if len(m.segments) == 0 {
		return 0
	}
	last := m.segments[len(m.segments)-1]
	latest := last.begin + last.duration - liveDistance*m.target
	return max(sort.Search(len(m.segments), func(i int) bool { return m.segments[i].begin > latest })-1, 0)
}

// update takes the playlist that a reload brought. It returns how many segments left it before they were asked for, and
// whether it went back.
func (t *track) update(m *media, now time.Time) (skipped int64, back bool) {
	old := t.list
	wait := m.target
	if m.sequence+int64(len(m.segments)) == old.sequence+int64(len(old.segments)) {
		wait /= 2 // RFC 8216, 6.3.4: it has not changed
	}
	t.list, t.reload = m, now.Add(wait)
	if t.next < m.sequence {
		skipped, t.next = m.sequence-t.next, m.sequence
	}
	return skipped, m.sequence < old.sequence
}

// segment is the next one to load; there may be none (yet).
func (t *track) segment() (s segment, found bool) {
	i := t.next - t.list.sequence
	if i < 0 || i >= int64(len(t.list.segments)) {
		return s, false
	}
	return t.list.segments[i], true
}

// pass goes past the segment that was loaded.
func (t *track) pass(s *segment) {
	t.next++
	t.position += s.duration
}

// resolve makes a name of a reference in a playlist. Other hosts are refused: nobody is asked whom the operator did not
// name.
func resolve(base, reference string, known func(host string) bool) (string, error) {
	from, err := url.Parse(base)
	if err != nil {
		return "", fmt.Errorf("%w: %w", errPlaylist, err)
	}
	to, err := from.Parse(reference)
	if err != nil {
		return "", fmt.Errorf("%w: %w", errPlaylist, err)
	}
	if to.Host != "" && !known(to.Host) || to.Opaque != "" {
		return "", fmt.Errorf("%w: %s leads to another host: %s", errPlaylist, base, reference)
	}
	return to.RequestURI(), nil
}
