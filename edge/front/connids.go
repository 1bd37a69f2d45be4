package front

import (
	"crypto/rand"
	"encoding/binary"

	"github.com/quic-go/quic-go"
)

const (
	// markBytes begin the connection IDs that a server gives out, and are the same in all of them: by these the kernel
	// tells the connections of two processes apart that share an address (Server.Heir). A new connection's first ID is
	// the client's choice, and takes a server's mark once in four thousand million times.
	markBytes = 4
	// connIDBytes leaves 8 bytes at random behind the mark, which no one guesses.
	connIDBytes = markBytes + 8
)

// connIDs makes connection IDs. It implements quic.ConnectionIDGenerator. Immutable.
type connIDs [markBytes]byte

func newConnIDs() connIDs {
	var ids connIDs
	_, _ = rand.Read(ids[:]) // it never fails
	return ids
}

// GenerateConnectionID returns a new ID.
func (c connIDs) GenerateConnectionID() (quic.ConnectionID, error) {
	var id [connIDBytes]byte
	copy(id[:], c[:])
	_, _ = rand.Read(id[markBytes:]) // it never fails
	return quic.ConnectionIDFromBytes(id[:]), nil
}

// ConnectionIDLen is the same for all.
func (c connIDs) ConnectionIDLen() int { return connIDBytes }

// mark is what a packet's connection ID begins with, as the kernel reads it.
func (c connIDs) mark() uint32 { return binary.BigEndian.Uint32(c[:]) }
