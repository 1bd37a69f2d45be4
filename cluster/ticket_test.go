package cluster

import (
	"bytes"
	"testing"
)

func TestTicketSecret(t *testing.T) {
	t.Parallel()
	if got := (Secret{}).TicketSecret(); got != nil {
		t.Errorf("no secret: got %x, want nil", got)
	}
	s, other := NewSecret(), NewSecret()
	again, err := ParseSecret([]byte(s.Reveal()))
	if err != nil {
		t.Fatal(err)
	}
	key := s.TicketSecret()
	if len(key) != 32 || !bytes.Equal(key, again.TicketSecret()) {
		t.Errorf("two nodes with one secret: got %x and %x", key, again.TicketSecret())
	}
	if bytes.Equal(key, other.TicketSecret()) || bytes.Equal(key, s.GossipKey()) {
		t.Error("the secret of tickets is that of something else")
	}
}
