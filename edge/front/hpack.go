package front

import "strconv"

// Field sections of HTTP/2 that we send (RFC 7541). Nothing is put into the dynamic table, as with QPACK: a section can be
// made without a lock, and the order in which they leave does not matter. What comes is decoded by x/net/http2/hpack.

// hpackName returns the entry of the static table (RFC 7541, appendix A) with a name that responses use; 0: there is none.
func hpackName(name string) uint64 {
	switch name {
	case ":status":
		return 8
	case "Accept-Ranges":
		return 18
	case "Age":
		return 21
	case "Access-Control-Allow-Origin":
		return 20
	case "Allow":
		return 22
	case "Cache-Control":
		return 24
	case "Content-Disposition":
		return 25
	case "Content-Encoding":
		return 26
	case "Content-Language":
		return 27
	case "Content-Length":
		return 28
	case "Content-Location":
		return 29
	case "Content-Range":
		return 30
	case "Content-Type":
		return 31
	case "Date":
		return 33
	case "Etag":
		return 34
	case "Expires":
		return 36
	case "Last-Modified":
		return 44
	case "Link":
		return 45
	case "Location":
		return 46
	case "Retry-After":
		return 53
	case "Server":
		return 54
	case "Set-Cookie":
		return 55
	case "Strict-Transport-Security":
		return 56
	case "Vary":
		return 59
	case "Via":
		return 60
	case "Www-Authenticate":
		return 61
	}
	return 0
}

// appendStatus appends the field :status.
func appendStatus(b []byte, status int) []byte {
	switch status { // entries 8 to 14
	case 200:
		return append(b, 0x88)
	case 204:
		return append(b, 0x89)
	case 206:
		return append(b, 0x8a)
	case 304:
		return append(b, 0x8b)
	case 400:
		return append(b, 0x8c)
	case 404:
		return append(b, 0x8d)
	case 500:
		return append(b, 0x8e)
	}
	return appendHPACK(b, ":status", strconv.Itoa(status))
}

// appendHPACK appends a field line without indexing (RFC 7541, 6.2.2), without Huffman coding. Name is as in http.Header, or
// a pseudo-header's. Hot path: no allocation but for room in b.
func appendHPACK(b []byte, name, value string) []byte {
	if index := hpackName(name); index > 0 {
		b = appendPrefixInt(b, 0, 4, index)
	} else {
		b = appendPrefixInt(append(b, 0), 0, 7, uint64(len(name)))
		for i := range len(name) {
			b = append(b, lower(name[i]))
		}
	}
	b = appendPrefixInt(b, 0, 7, uint64(len(value)))
	return append(b, value...)
}
