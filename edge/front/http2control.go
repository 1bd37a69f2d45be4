package front

import "encoding/binary"

func (in *http2Input) windowUpdate(f frame) error {
	if f.length != 4 {
		return malformed(codeFrameSize)
	}
	p, err := in.payload(4)
	if err != nil {
		return err
	}
	n := int64(binary.BigEndian.Uint32(p) & largestWindow)
	c := in.conn
	c.mu.Lock()
	if f.stream == 0 {
		c.window += n
		over := c.window > largestWindow
		c.dispatchLocked()
		c.mu.Unlock()
		switch {
		case n == 0: // RFC 9113, 6.9
			return malformed(codeProtocolError)
		case over:
			return malformed(codeFlowControl)
		}
		return nil
	}
	s, idle := c.streams[f.stream], f.stream > c.last
	over := false
	if s != nil {
		s.window += n
		over = s.window > largestWindow
		c.dispatchLocked()
	}
	c.mu.Unlock()
	switch {
	case idle || f.stream%2 == 0:
		return malformed(codeProtocolError)
	case n == 0:
		return in.refuse(f.stream, codeProtocolError, http2Malformed)
	case over:
		return in.refuse(f.stream, codeFlowControl, http2Malformed)
	}
	return nil
}

func (in *http2Input) settings(f frame) error {
	switch {
	case f.stream != 0:
		return malformed(codeProtocolError)
	case f.has(flagAck) && f.length > 0, f.length%settingBytes != 0:
		return malformed(codeFrameSize)
	case f.has(flagAck):
		return nil
	case f.length > inputBytes:
		return breach{codeEnhanceYourCalm, http2Malformed}
	}
	p, err := in.payload(f.length)
	if err != nil {
		return err
	}
	c := in.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	for ; len(p) > 0; p = p[settingBytes:] {
		value := binary.BigEndian.Uint32(p[2:])
		switch binary.BigEndian.Uint16(p) {
		case settingPush:
			if value > 1 {
				return malformed(codeProtocolError)
			}
		case settingMaxFrameSize: // we send none that is larger than all take
			if value < 1<<14 || value > 1<<24-1 {
				return malformed(codeProtocolError)
			}
		case settingInitialWindow:
			if value > largestWindow || !c.setInitialLocked(int64(value)) {
				return malformed(codeFlowControl)
			}
		}
	}
	c.queue = appendFrame(c.queue, 0, frameSettings, flagAck, 0)
	c.dispatchLocked()
	return nil
}

func (in *http2Input) ping(f frame) error {
	switch {
	case f.stream != 0:
		return malformed(codeProtocolError)
	case f.length != pingBytes:
		return malformed(codeFrameSize)
	}
	p, err := in.payload(pingBytes)
	if err != nil {
		return err
	}
	c := in.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if !f.has(flagAck) {
		c.queue = append(appendFrame(c.queue, pingBytes, framePing, flagAck, 0), p...)
	} else if c.pinged != nil {
		close(c.pinged)
		c.pinged = nil
	}
	return nil
}

// priority checks a frame that means nothing any more (RFC 9113, 5.3).
func (in *http2Input) priority(f frame) error {
	if f.stream == 0 {
		return malformed(codeProtocolError)
	}
	if f.length != priorityBytes {
		if err := in.pieces(f.length, true, skipped); err != nil {
			return err
		}
		return in.refuse(f.stream, codeFrameSize, http2Malformed)
	}
	p, err := in.payload(priorityBytes)
	if err != nil {
		return err
	}
	if binary.BigEndian.Uint32(p)&largestStream == f.stream {
		return in.refuse(f.stream, codeProtocolError, http2Malformed)
	}
	return nil
}

// priorityUpdate takes the priority of a request that has come, or will (RFC 9218, 7.1).
func (in *http2Input) priorityUpdate(f frame) error {
	switch {
	case f.stream != 0:
		return malformed(codeProtocolError)
	case f.length < 4:
		return malformed(codeFrameSize)
	case f.length > maxPriorityBytes:
		return in.pieces(f.length, true, skipped)
	}
	p, err := in.payload(f.length)
	if err != nil {
		return err
	}
	id := binary.BigEndian.Uint32(p) & largestStream
	if id%2 == 0 {
		return malformed(codeProtocolError)
	}
	c := in.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.streams[id]; s != nil {
		c.ranks.update(uint64(id), &s.rank, string(p[4:]))
	} else if id > c.last {
		c.ranks.update(uint64(id), nil, string(p[4:]))
	} else {
		c.ranks.said = true // it has ended
	}
	return nil
}
