package origin

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"time"

	"weir/origin/asset"
)

// checkEvery is how long the files of a title are taken to be unchanged. Looking costs a directory read and a stat per
// file; a second is what a replaced title may go unnoticed here, next to the five of its playlists' max-age.
const checkEvery = time.Second

// A shelf holds prepared titles, the least recently used of which make room when their sizes exceed its limit. It
// is safe for any number of goroutines.
type shelf struct {
	limit int64

	mu     sync.Mutex // guards the fields below
	places map[string]*list.Element
	order  *list.List // of *place, most recently used first
	bytes  int64
}

// place is what the shelf holds of one title: the work of preparing it, done or under way.
type place struct {
	name  string
	files []asset.Entry // the state of the files that this was made of
	done  chan struct{} // closed when title and err are set

	title *title
	err   error
	bytes int64

	checked time.Time // guarded by the shelf's lock
}

func newShelf(limit int64) *shelf {
	return &shelf{limit: limit, places: map[string]*list.Element{}, order: list.New()}
}

// recent returns the place of a title whose files were looked at less than checkEvery ago.
func (s *shelf) recent(name string, now time.Time) (*place, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.places[name]
	if !ok || now.Sub(e.Value.(*place).checked) >= checkEvery {
		return nil, false
	}
	s.order.MoveToFront(e)
	return e.Value.(*place), true
}

// claim returns the place of the title whose files are in the given state. If created is true the caller must
// prepare the title and call fill.
func (s *shelf) claim(name string, files []asset.Entry, now time.Time) (p *place, created bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e, ok := s.places[name]; ok {
		p = e.Value.(*place)
		if slices.EqualFunc(p.files, files, asset.Entry.Equal) {
			p.checked = now
			s.order.MoveToFront(e)
			return p, false
		}
		s.removeLocked(e)
	}
	p = &place{name: name, files: files, done: make(chan struct{}), checked: now}
	s.places[name] = s.order.PushFront(p)
	return p, true
}

// fill ends the work on a place and makes room for it.
func (s *shelf) fill(p *place, t *title, err error, bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.title, p.err = t, err
	close(p.done)
	if e, ok := s.places[p.name]; !ok || e.Value.(*place) != p {
		return // replaced or dropped meanwhile; those who wait for it still get it
	}
	p.bytes = bytes
	s.bytes += bytes
	for e := s.order.Back(); e != nil && s.bytes > s.limit; {
		before := e.Prev()
		if e.Value.(*place) != p && e.Value.(*place).bytes > 0 {
			s.removeLocked(e)
		}
		e = before
	}
}

// doubt makes the next request for a title look at its files again.
func (s *shelf) doubt(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e, ok := s.places[name]; ok {
		e.Value.(*place).checked = time.Time{}
	}
}

// drop forgets a title that is not there any more.
func (s *shelf) drop(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e, ok := s.places[name]; ok {
		s.removeLocked(e)
	}
}

func (s *shelf) removeLocked(e *list.Element) {
	p := e.Value.(*place)
	s.order.Remove(e)
	delete(s.places, p.name)
	s.bytes -= p.bytes
}

// title returns a title, prepared by this or another request.
func (o *Origin) title(ctx context.Context, name string) (*title, error) {
	now := time.Now()
	p, ok := o.shelf.recent(name, now)
	if !ok {
		found, err := o.titles.Title(name)
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				o.shelf.drop(name)
			}
			return nil, err
		}
		var created bool
		files := append(append([]asset.Entry(nil), found.Media...), found.Playlists...)
		if p, created = o.shelf.claim(name, files, now); created {
			o.prepare(p, found)
		}
	}
	return p.wait(ctx)
}

// wait returns the title when it is prepared.
func (p *place) wait(ctx context.Context) (*title, error) {
	select {
	case <-p.done:
		return p.title, p.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// prepareSafely is prepareTitle behind a fence: a panic over a hostile file becomes that title's problem, and nobody is
// left waiting for it.
func prepareSafely(found *asset.Title) (t *title, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &Problem{Title: found.Name, Err: fmt.Errorf("panic while packaging: %v", p)}
		}
	}()
	return prepareTitle(found)
}

// prepare does the work on a place. It runs in the request that came first and is not ended with it: parsing is short, and
// others wait for it.
func (o *Origin) prepare(p *place, found *asset.Title) {
	const failedBytes = 1024 // about what a problem costs, or a title that is packaged already
	if found.Packaged {
		o.shelf.fill(p, &title{packaged: found}, nil, failedBytes)
		return
	}
	t, err := prepareSafely(found)
	if err != nil {
		o.log.Warn("package title", "title", found.Name, "error", err)
		o.shelf.fill(p, nil, err, failedBytes)
		return
	}
	o.shelf.fill(p, t, nil, t.memoryBytes())
}
