package proof

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"strconv"
	"strings"
	"sync"
)

const (
	// PageBytes is the length of a page; each begins with a stamp.
	PageBytes = 4096
	// StampBytes is the length of a stamp.
	StampBytes = 64

	stampMagic = "weirpage"
)

// Body is one version of one object: computed where it is read, never stored.
// It is an io.ReaderAt of Size bytes and may be read by many at the same time.
//
// A page is StampBytes of plain stamp, then AES-CTR keystream. The stamp is
// the magic "weirpage", then big-endian: URL hash (8), version (8), page
// number (8), CRC-32C of the page's keystream (4), then dots up to its end. The
// keystream does not depend on Size, so a page can be judged without it.
type Body struct {
	identity string
	hash     uint64
	version  uint64
	size     int64
	block    cipher.Block

	mu    sync.Mutex // guards the fields below
	pages [bodyPages]cachedPage
	next  int
}

// bodyPages computed pages are kept, so that small reads do not pay for a
// whole page each.
const bodyPages = 2

type cachedPage struct {
	number int64 // page number + 1; 0 = empty
	bytes  [PageBytes]byte
}

func newBody(secret, identity string, version uint64, size int64) *Body {
	key, hash := seedOf(secret, identity, version)
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic("proof: " + err.Error()) // a 16 byte key is always right
	}
	return &Body{identity: identity, hash: hash, version: version, size: size, block: block}
}

// Size returns the length in bytes.
func (b *Body) Size() int64 { return b.size }

// Version returns the version it belongs to.
func (b *Body) Version() uint64 { return b.version }

// ETag returns the strong entity tag of this version, with its quotes.
func (b *Body) ETag() string { return fmt.Sprintf(`"v%d-%016x"`, b.version, b.hash) }

// ParseETag reads what ETag wrote. A weak tag (RFC 9110, 8.8.3) is not one.
func ParseETag(tag string) (version, hash uint64, ok bool) {
	inner, found := strings.CutPrefix(tag, `"v`)
	inner, closed := strings.CutSuffix(inner, `"`)
	v, h, dash := strings.Cut(inner, "-")
	if !found || !closed || !dash || len(h) != 16 {
		return 0, 0, false
	}
	version, err := strconv.ParseUint(v, 10, 64)
	if err != nil {
		return 0, 0, false
	}
	hash, err = strconv.ParseUint(h, 16, 64)
	return version, hash, err == nil
}

// ReadAt reads bytes of the body as io.ReaderAt does.
func (b *Body) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("read body of %q at %d: negative offset", b.identity, off)
	}
	if off >= b.size {
		return 0, io.EOF
	}
	n := int(min(int64(len(p)), b.size-off))
	b.fill(p[:n], off)
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// fill computes bytes without regard to Size.
func (b *Body) fill(p []byte, off int64) {
	for len(p) > 0 {
		page, at := off/PageBytes, off%PageBytes
		var n int
		if at == 0 && len(p) >= PageBytes {
			b.page((*[PageBytes]byte)(p), page)
			n = PageBytes
		} else {
			n = b.part(p, page, int(at))
		}
		p, off = p[n:], off+int64(n)
	}
}

// part copies a piece of one page by way of the kept pages.
func (b *Body) part(p []byte, page int64, at int) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.pages {
		if b.pages[i].number == page+1 {
			return copy(p, b.pages[i].bytes[at:])
		}
	}
	kept := &b.pages[b.next]
	b.next = (b.next + 1) % bodyPages
	kept.number = page + 1
	b.page(&kept.bytes, page)
	return copy(p, kept.bytes[at:])
}

// page computes one whole page.
func (b *Body) page(p *[PageBytes]byte, number int64) {
	var iv [aes.BlockSize]byte
	binary.BigEndian.PutUint64(iv[:], uint64(number))
	rest := p[StampBytes:]
	clear(rest)
	cipher.NewCTR(b.block, iv[:]).XORKeyStream(rest, rest)
	stamp{hash: b.hash, version: b.version, page: uint64(number), crc: checksum(rest)}.put(p[:StampBytes])
}

// stamp is the plain head of a page.
type stamp struct {
	hash, version, page uint64
	crc                 uint32
}

func (s stamp) put(p []byte) {
	copy(p, stampMagic)
	binary.BigEndian.PutUint64(p[8:], s.hash)
	binary.BigEndian.PutUint64(p[16:], s.version)
	binary.BigEndian.PutUint64(p[24:], s.page)
	binary.BigEndian.PutUint32(p[32:], s.crc)
	for i := 36; i < StampBytes; i++ {
		p[i] = '.'
	}
}

func readStamp(p []byte) (stamp, bool) {
	if len(p) < 36 || string(p[:8]) != stampMagic {
		return stamp{}, false
	}
	return stamp{
		hash:    binary.BigEndian.Uint64(p[8:]),
		version: binary.BigEndian.Uint64(p[16:]),
		page:    binary.BigEndian.Uint64(p[24:]),
		crc:     binary.BigEndian.Uint32(p[32:]),
	}, true
}

func checksum(p []byte) uint32 {
	return crc32.Checksum(p, crc32.MakeTable(crc32.Castagnoli))
}
