package session

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
)

// Place is where a group of sessions lies: a hash for the ring.
type Place uint64

// PlaceOf is the place of what has that name among those of its kind ("account", "asset"). Without the key nobody can tell
// which name it was.
func PlaceOf(key []byte, kind, name string) Place {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(kind)) // a hash takes everything
	h.Write([]byte{0})
	h.Write([]byte(name))
	return Place(binary.BigEndian.Uint64(h.Sum(nil)))
}

// ID names a session: its place, eight random bytes, and a code that only the cluster can make. 32 characters of
// base64url. It is no secret of the account, but who has it may renew and end the session.
type ID string

const (
	idBytes   = 24
	codedFrom = 16 // the code follows
	idLabel   = "weir session id"
)

// errID is the client's fault.
var errID = errors.New("session: this is no session of this service")

func newID(key []byte, place Place) ID {
	var b [idBytes]byte
	binary.BigEndian.PutUint64(b[:], uint64(place))
	_, _ = rand.Read(b[8:codedFrom]) // never fails
	copy(b[codedFrom:], codeOf(key, b[:codedFrom]))
	return ID(base64.RawURLEncoding.EncodeToString(b[:]))
}

// place is where the session lies; an error where no key of ours has made the ID.
func (id ID) place(keys [][]byte) (Place, error) {
	var b [idBytes]byte
	if len(id) != base64.RawURLEncoding.EncodedLen(idBytes) {
		return 0, errID
	}
	if _, err := base64.RawURLEncoding.Strict().Decode(b[:], []byte(id)); err != nil {
		return 0, errID
	}
	for _, key := range keys {
		if hmac.Equal(codeOf(key, b[:codedFrom]), b[codedFrom:]) {
			return Place(binary.BigEndian.Uint64(b[:])), nil
		}
	}
	return 0, errID
}

func codeOf(key, text []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(idLabel)) // a hash takes everything
	h.Write(text)
	return h.Sum(nil)[:idBytes-codedFrom]
}
