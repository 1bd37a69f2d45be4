package cache

import "sync"

// shard has what runs right now for the keys that hash to it. All of it is bounded by the requests that run.
type shard struct {
	mu     sync.Mutex // guards the fields below
	closed bool
	fills  map[ID]*Fill
	// claims are the operations that run on files: one at a time per ID.
	claims map[ID]*claim
	// doomed are evicted files that are still there, with what they have taken of the disk's budget. They must not be
	// opened again.
	doomed map[ID]int64
	// gone are the IDs that were removed since the start; not nil only while the scan runs, which must not bring them
	// back.
	gone map[ID]struct{}
}

// claim is the right to work on the file of one ID.
type claim struct {
	// publishing tells that a new version is being written there.
	publishing bool
	opening    bool
	// replaced is what the file that is being replaced has taken of the disk's budget, if the index has let go of it.
	replaced int64
	done     chan struct{} // closed at the end
}

func (s *shard) init(scanning bool) {
	s.fills = map[ID]*Fill{}
	s.claims = map[ID]*claim{}
	s.doomed = map[ID]int64{}
	if scanning {
		s.gone = map[ID]struct{}{}
	}
}

// claimLocked waits until nobody works on the file and takes it. It gives the lock up meanwhile and holds it on return.
// Who has a claim must not wait for another one, so it must not evict.
func (s *shard) claimLocked(id ID) *claim {
	for {
		other := s.claims[id]
		if other == nil {
			break
		}
		s.mu.Unlock()
		<-other.done
		s.mu.Lock()
	}
	cl := &claim{done: make(chan struct{})}
	s.claims[id] = cl
	return cl
}

// unclaimLocked ends what claimLocked began.
func (s *shard) unclaimLocked(id ID, cl *claim) {
	delete(s.claims, id)
	close(cl.done)
}

// goneLocked notes for the scan that the file of id is not to be found again.
func (s *shard) goneLocked(id ID) {
	if s.gone != nil {
		s.gone[id] = struct{}{}
	}
}

// close refuses new fills and file operations and waits for the running operations. It returns the running fills, and
// whether the shard was closed before.
func (s *shard) close() (fills []*Fill, was bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, true
	}
	s.closed = true
	for _, f := range s.fills {
		fills = append(fills, f)
	}
	for len(s.claims) > 0 {
		for _, cl := range s.claims {
			s.mu.Unlock()
			<-cl.done
			s.mu.Lock()
			break
		}
	}
	return fills, false
}
