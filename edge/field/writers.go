package field

import (
	"strconv"
	"time"
)

// maxAge is the largest Age that is sent: 2^31 seconds, the value with which a
// cache says that it cannot count further (RFC 9111, 1.2.2).
const maxAge = 1 << 31

// Age returns the Age field value: whole seconds, 0 at least and 2147483648 at most.
func Age(age time.Duration) string {
	return string(AppendAge(make([]byte, 0, 12), age))
}

// AppendAge appends what Age returns to dst. Hot path: no allocation beyond the
// growth of dst.
func AppendAge(dst []byte, age time.Duration) []byte {
	return strconv.AppendInt(dst, min(max(int64(age/time.Second), 0), maxAge), 10)
}

// AltSvc returns an Alt-Svc field value that offers HTTP/3 on a UDP port of the
// same host for maxAge, in whole seconds: `h3=":443"; ma=86400` (RFC 7838, 3).
func AltSvc(port int, maxAge time.Duration) string {
	return `h3=":` + strconv.Itoa(port) + `"; ma=` + strconv.FormatInt(int64(maxAge/time.Second), 10)
}
