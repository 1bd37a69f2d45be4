package quality

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
	"strconv"
	"time"
)

// Session is a viewer's session on one day: a hash from which nobody gets back to the viewer.
type Session uint64

// Hide makes a Session of an id. key is secret and the same on all nodes.
func Hide(key []byte, id string, now time.Time) Session {
	h := hmac.New(sha256.New, key)
	h.Write([]byte("weir quality " + now.UTC().Format(time.DateOnly) + "\x00" + id)) // a hash takes everything
	return Session(binary.BigEndian.Uint64(h.Sum(nil)))
}

// Network names where a viewer is without saying who: AS64500, or 192.0.2.0/24, or 2001:db8::/48.
func Network(system uint32, address netip.Addr) string {
	if system != 0 {
		return "AS" + strconv.FormatUint(uint64(system), 10)
	}
	bits := 48
	if address = address.Unmap(); address.Is4() {
		bits = 24
	}
	prefix, err := address.Prefix(bits)
	if err != nil || !prefix.IsValid() {
		return ""
	}
	return prefix.String()
}

// Sample is what one report says. Zero fields say nothing.
type Sample struct {
	Session Session
	Title   string
	Device  string // its class
	Edge    string // the node that was asked
	Network string // see Network

	// Offline tells that it was played from the device, At when. Such reports come late, and count in figures of their own.
	Offline bool
	At      time.Time

	Event    bool          // it came by itself, and not with a request
	Video    bool          // it came with a request for a video object, or one that has video; of an event: it plays
	Bitrate  int           // kbit/s, of that
	Duration time.Duration // of that
	Starting bool          // the player has not begun, or buffers after a seek (su)
	Starved  bool          // it stalled since its last report (bs)

	StartUp time.Duration // as the player measured it (msd)
	Stalls  int           // since the last such report; 0 with a Stalled: one
	Stalled time.Duration // since the last such report (bsd)
	Errors  int           // that the player has met, or the status that it got
	Ended   bool          // the session is over
	Fatal   bool          // because of an error
}
