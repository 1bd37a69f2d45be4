package front

import (
	"bytes"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

const (
	// ticketEpoch is how long session tickets are sealed with one key. All nodes count the
	// epochs from the same moment, so that those that share a secret change keys together.
	ticketEpoch = 12 * time.Hour
	// oldTicketKeys is how many keys before the current one still open tickets: what was
	// seen a day ago resumes.
	oldTicketKeys = 2
	// ticketSite marks the entry of a ticket that names the host it was issued for.
	ticketSite = "weir site\x00"
)

// tickets seals and opens TLS session tickets. The keys of an epoch are an immutable
// value behind an atomic pointer; the first handshake of an epoch makes them.
type tickets struct {
	secret []byte
	keys   atomic.Pointer[ticketKeys]
}

type ticketKeys struct {
	epoch  int64
	config *tls.Config // with the session ticket keys; serves nobody
}

// newTickets draws a secret at random when there is none.
func newTickets(secret []byte) *tickets {
	if len(secret) == 0 {
		secret = make([]byte, 32)
		rand.Read(secret) // never fails: crypto/rand ends the program instead
	}
	return &tickets{secret: bytes.Clone(secret)}
}

// configure has config use our keys for its tickets, unless it wants none. Functions
// stay in a clone of a tls.Config, keys set later do not.
func (t *tickets) configure(config *tls.Config) {
	if config.SessionTicketsDisabled {
		return
	}
	config.WrapSession = func(state tls.ConnectionState, session *tls.SessionState) ([]byte, error) {
		return t.wrap(state, session, time.Now())
	}
	config.UnwrapSession = func(ticket []byte, state tls.ConnectionState) (*tls.SessionState, error) {
		return t.unwrap(ticket, state, time.Now())
	}
}

// wrap seals a session together with the host that it is for.
func (t *tickets) wrap(state tls.ConnectionState, session *tls.SessionState, now time.Time) ([]byte, error) {
	session.Extra = append(session.Extra, siteEntry(state.ServerName))
	return t.current(now).EncryptTicket(state, session)
}

// unwrap opens a ticket; nil, and a full handshake, for what we did not seal, what is
// too old, and what was issued for another host: what a client has proved to one site
// (its certificate travels in the ticket) must not count at another.
func (t *tickets) unwrap(ticket []byte, state tls.ConnectionState, now time.Time) (*tls.SessionState, error) {
	session, err := t.current(now).DecryptTicket(ticket, state)
	if err != nil || session == nil {
		return nil, err
	}
	want := siteEntry(state.ServerName)
	for _, entry := range session.Extra {
		if bytes.Equal(entry, want) {
			return session, nil
		}
	}
	return nil, nil
}

func siteEntry(name string) []byte { return []byte(ticketSite + strings.ToLower(name)) }

// current returns the configuration with the keys of now.
func (t *tickets) current(now time.Time) *tls.Config {
	epoch := now.UnixNano() / int64(ticketEpoch)
	if keys := t.keys.Load(); keys != nil && keys.epoch == epoch {
		return keys.config
	}
	// Two that do this at once make the same. The next epoch's key opens tickets of nodes
	// whose clocks are ahead.
	order := []int64{epoch, epoch + 1}
	for old := int64(1); old <= oldTicketKeys; old++ {
		order = append(order, epoch-old)
	}
	keys := make([][32]byte, len(order))
	for i, e := range order {
		key, err := hkdf.Key(sha256.New, t.secret, nil, "weir front v1 session tickets "+strconv.FormatInt(e, 10), len(keys[i]))
		if err != nil {
			panic("front: " + err.Error()) // only for lengths HKDF cannot give; 32 is none
		}
		copy(keys[i][:], key)
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	config.SetSessionTicketKeys(keys)
	t.keys.Store(&ticketKeys{epoch: epoch, config: config})
	return config
}
