package front

// section is what matters of a header section before it is decoded.
type section struct{ scheme, connect bool }

// Entries of the QPACK static table (RFC 9204, Appendix A).
const (
	staticConnect                = 15
	staticMethods, lastMethod    = 15, 21
	staticHTTP, staticHTTPS      = 22, 23
	staticEntries                = 99
	nameScheme, huffmanScheme    = ":scheme", "\xb8\x82NZK"
	valueConnect, huffmanConnect = "CONNECT", "\xbd\xabN\x9c\x17\xb7\xff"
	nameMethod, huffmanMethod    = ":method", "\xb9IS9\xe4"
)

// lookAtSection walks over the field lines of an encoded header section (RFC 9204, 4.5)
// without decoding strings. It is false for one that cannot be decoded without a dynamic
// table: we announce none. Hot path: no allocation.
func lookAtSection(b []byte) (s section, ok bool) {
	inserts, b, ok := prefixInt(b, 8)
	if !ok || inserts != 0 {
		return s, false
	}
	if _, b, ok = prefixInt(b, 7); !ok {
		return s, false
	}
	for len(b) > 0 {
		var index uint64
		var name, value []byte
		switch first := b[0]; {
		case first&0xc0 == 0xc0: // indexed, static
			if index, b, ok = prefixInt(b, 6); !ok || index >= staticEntries {
				return s, false
			}
			s.scheme = s.scheme || index == staticHTTP || index == staticHTTPS
			s.connect = s.connect || index == staticConnect
		case first&0xd0 == 0x50: // literal with a static name
			if index, b, ok = prefixInt(b, 4); !ok || index >= staticEntries {
				return s, false
			}
			if value, b, ok = prefixString(b, 7); !ok {
				return s, false
			}
			s.scheme = s.scheme || index == staticHTTP || index == staticHTTPS
			s.connect = s.connect || index >= staticMethods && index <= lastMethod && isConnect(value)
		case first&0xe0 == 0x20: // literal
			if name, b, ok = prefixString(b, 3); !ok {
				return s, false
			}
			if value, b, ok = prefixString(b, 7); !ok {
				return s, false
			}
			s.scheme = s.scheme || string(name) == nameScheme || string(name) == huffmanScheme
			s.connect = s.connect || (string(name) == nameMethod || string(name) == huffmanMethod) && isConnect(value)
		default: // refers to the dynamic table
			return s, false
		}
	}
	return s, true
}

func isConnect(value []byte) bool {
	return string(value) == valueConnect || string(value) == huffmanConnect
}

// prefixInt reads an integer with a prefix of n bits (RFC 7541, 5.1).
func prefixInt(b []byte, n uint) (value uint64, rest []byte, ok bool) {
	if len(b) == 0 {
		return 0, nil, false
	}
	most := uint64(1)<<n - 1
	if value = uint64(b[0]) & most; value < most {
		return value, b[1:], true
	}
	for i := 1; i < len(b) && i < 10; i++ {
		value += uint64(b[i]&0x7f) << (7 * (i - 1))
		if b[i] < 0x80 {
			return value, b[i+1:], true
		}
	}
	return 0, nil, false
}

// prefixString reads a string whose length has a prefix of n bits, as it is sent.
func prefixString(b []byte, n uint) (s, rest []byte, ok bool) {
	length, b, ok := prefixInt(b, n)
	if !ok || length > uint64(len(b)) {
		return nil, nil, false
	}
	return b[:length], b[length:], true
}
