package main

import "sync"

// maxLists bounds the playlists that are remembered; past it all are forgotten, and read again when they are met.
const maxLists = 512

// lists reads every playlist once, however many viewers get it. Safe for concurrent use.
type lists struct {
	mu   sync.Mutex // guards the fields below
	read map[uint64]*playlist
}

// parse returns the playlist that an answer holds, and drops the answer's body.
func (l *lists) parse(a *answer) (*playlist, *failure) {
	l.mu.Lock()
	list := l.read[a.hash]
	l.mu.Unlock()
	if list == nil {
		var err error
		if list, err = parsePlaylist(a.body); err != nil {
			return nil, &failure{failPlaylist, err}
		}
		l.mu.Lock()
		if l.read == nil || len(l.read) == maxLists {
			l.read = map[uint64]*playlist{}
		}
		l.read[a.hash] = list
		l.mu.Unlock()
	}
	a.body = nil
	return list, nil
}
