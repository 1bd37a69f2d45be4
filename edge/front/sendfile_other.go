//go:build !linux

package front

import "os"

// sendfile copies n bytes of file from off on: where there is no sendfile(2) with an
// offset of our own, reads and writes do.
func (c *tcpConn) sendfile(file *os.File, off, n int64) (int64, error) {
	return copyFileRange(c.TCPConn, file, off, n)
}

// writeMore has no way to tell the kernel that more comes.
func (c *tcpConn) writeMore(p []byte) (int, error) { return c.TCPConn.Write(p) }
