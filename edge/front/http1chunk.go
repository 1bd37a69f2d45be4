package front

func (w *http1Walk) beginSize() { w.step, w.left, w.digits, w.extended = stepSize, 0, 0, false }

// takeSize takes the size of a chunk and what may follow it (RFC 9112, 7.1 and 7.1.1).
func (w *http1Walk) takeSize(p []byte, i int) int {
	for ; i < len(p); i++ {
		c := p[i]
		switch {
		case c == '\r' && w.digits > 0:
			w.step = stepSizeLF
			return i + 1
		case w.step == stepExtension && octets[c]&inValue != 0 && w.valueLen < maxExtension:
			w.valueLen++
		case w.step == stepSize && octets[c]&inHex != 0 && w.digits < maxChunkDigits:
			w.left = w.left<<4 | int64(hexValue(c))
			w.digits++
		case w.step == stepSize && c == ';' && w.digits > 0:
			w.step, w.valueLen, w.extended = stepExtension, 0, true
		default:
			w.badBody()
			return i
		}
	}
	return i
}

func hexValue(c byte) byte {
	if isDigit(c) {
		return c - '0'
	}
	return c&0xf + 9
}

// endSize begins a chunk, or the trailers behind the last. As net/http does it allows each chunk 16 bytes around it, and
// twice its own; beyond that maxExcess.
func (w *http1Walk) endSize() {
	line := int64(w.digits + 2)
	if w.extended {
		line += int64(w.valueLen) + 1
	}
	if w.excess = max(w.excess+line-16-2*min(w.left, maxExcess), 0); w.excess > maxExcess {
		w.badBody()
		return
	}
	if w.left > 0 {
		w.step = stepBody
		return
	}
	w.trailers, w.step, w.used, w.lines = true, stepField, 0, 0
}
