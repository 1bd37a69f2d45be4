package quicraw

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"
)

// Lengths of AES-128-GCM, and of what RFC 9001, 5.4.2 samples.
const (
	keyBytes, nonceBytes, tagBytes = 16, 12, 16
	sampleBytes                    = 16
	// sampleFrom is where the sample begins, counted from the packet number, as if that had four bytes.
	sampleFrom = 4
)

// initialSalt is that of version 1 (RFC 9001, 5.2).
const initialSalt = "\x38\x76\x2c\xf7\xf5\x59\x34\xb3\x4d\x17\x9a\xe6\xa4\xc8\x0c\xad\xcc\xbb\x7f\x0a"

var errNotOurs = errors.New("quicraw: a packet that cannot be opened")

// keys protect the packets of one level in one direction.
type keys struct {
	secret []byte
	aead   cipher.AEAD
	iv     [nonceBytes]byte
	header cipher.Block
}

// expandLabel is HKDF-Expand-Label of TLS 1.3 with SHA-256 and no context (RFC 8446, 7.1).
func expandLabel(secret []byte, label string, length int) []byte {
	label = "tls13 " + label
	text := binary.BigEndian.AppendUint16(nil, uint16(length))
	text = append(append(append(text, byte(len(label))), label...), 0)
	out, err := hkdf.Expand(sha256.New, secret, string(text), length)
	if err != nil {
		panic(err) // only a length beyond 255 hashes is an error
	}
	return out
}

// newKeys derives the keys from a secret (RFC 9001, 5.1).
func newKeys(secret []byte) *keys {
	k := &keys{secret: secret}
	block := mustAES(expandLabel(secret, "quic key", keyBytes))
	k.aead, _ = cipher.NewGCM(block) // AES has the block size that it wants
	copy(k.iv[:], expandLabel(secret, "quic iv", nonceBytes))
	k.header = mustAES(expandLabel(secret, "quic hp", keyBytes))
	return k
}

// updated are the keys that follow (RFC 9001, 6.1). Those of header protection stay.
func (k *keys) updated() *keys {
	next := newKeys(expandLabel(k.secret, "quic ku", sha256.Size))
	next.header = k.header
	return next
}

func mustAES(key []byte) cipher.Block {
	b, err := aes.NewCipher(key)
	if err != nil {
		panic(err) // only a key of another length is an error
	}
	return b
}

// initialKeys are those of the first packets (RFC 9001, 5.2), for an ID that the client chose.
func initialKeys(id []byte) (client, server *keys) {
	secret, err := hkdf.Extract(sha256.New, id, []byte(initialSalt))
	if err != nil {
		panic(err) // SHA-256 is always there
	}
	return newKeys(expandLabel(secret, "client in", sha256.Size)), newKeys(expandLabel(secret, "server in", sha256.Size))
}

func (k *keys) nonce(number uint64) []byte {
	nonce := k.iv
	for i := range 8 {
		nonce[nonceBytes-1-i] ^= byte(number >> (8 * i))
	}
	return nonce[:]
}

// seal protects a packet: head ends with the packet number, whose length its first byte tells.
func (k *keys) seal(head []byte, number uint64, payload []byte) []byte {
	at, width := len(head)-numberBytes(head[0]), numberBytes(head[0])
	packet := k.aead.Seal(head, k.nonce(number), payload, head)
	mask := k.mask(packet, at)
	packet[0] ^= mask[0] & protectedBits(packet[0])
	for i := range width {
		packet[at+i] ^= mask[1+i]
	}
	return packet
}

// unmask removes header protection in place. at is where the packet number is, largest the largest one received, -1 for
// none; payload is where it ends.
func (k *keys) unmask(packet []byte, at int, largest int64) (number uint64, payload int, err error) {
	if len(packet) < at+sampleFrom+sampleBytes {
		return 0, 0, errNotOurs
	}
	mask := k.mask(packet, at)
	packet[0] ^= mask[0] & protectedBits(packet[0])
	width := numberBytes(packet[0])
	var truncated uint64
	for i := range width {
		packet[at+i] ^= mask[1+i]
		truncated = truncated<<8 | uint64(packet[at+i])
	}
	return wholeNumber(largest, truncated, 8*width), at + width, nil
}

// open decrypts in place what unmask has seen, from payload on.
func (k *keys) open(packet []byte, number uint64, payload int) ([]byte, error) {
	head, sealed := packet[:payload], packet[payload:]
	opened, err := k.aead.Open(sealed[:0], k.nonce(number), sealed, head)
	if err != nil {
		return nil, errNotOurs
	}
	return opened, nil
}

// mask is what header protection is made of (RFC 9001, 5.4.1), for a packet whose number is at at.
func (k *keys) mask(packet []byte, at int) (mask [aes.BlockSize]byte) {
	k.header.Encrypt(mask[:], packet[at+sampleFrom:][:sampleBytes])
	return mask
}

// protectedBits are those of the first byte that are masked: four with a long header, else five.
func protectedBits(first byte) byte {
	if first&longHeader != 0 {
		return 0x0f
	}
	return 0x1f
}

// numberBytes is how long the packet number is, by the unprotected first byte.
func numberBytes(first byte) int { return int(first&3) + 1 }

// wholeNumber is the packet number of which only the lower bits were sent (RFC 9000, A.3).
func wholeNumber(largest int64, truncated uint64, bits int) uint64 {
	window := int64(1) << bits
	expected := largest + 1
	candidate := expected&^(window-1) | int64(truncated)
	switch {
	case candidate <= expected-window/2 && candidate < 1<<62-window:
		return uint64(candidate + window)
	case candidate > expected+window/2 && candidate >= window:
		return uint64(candidate - window)
	}
	return uint64(candidate)
}
