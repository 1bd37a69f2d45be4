// Package quicraw is a QUIC client that sends whatever packets a test asks for.
//
// A well-behaved QUIC stack cannot show what a server does with an acknowledgment of what was
// never sent, or with a frame where it is forbidden. This client can: crypto/tls does the
// handshake, and all below it is here and in the caller's hands. Every frame is bytes that
// the caller made ([Ping], [Ack], [Stream] …, or his own), every packet is made when asked for
// ([Conn.Packet]), and every datagram is sent as it is ([Conn.Write]).
//
//	c, err := quicraw.Dial(addr, config, quicraw.Options{})   // sends nothing
//	err = c.Handshake(deadline)                               // as an honest client does
//	err = c.Send(quicraw.Data, quicraw.Ping())                // one packet, one datagram
//	packets, err := c.Receive(deadline)                       // one datagram
//	closed, err := c.Closed(deadline)                         // the server's CONNECTION_CLOSE
//
// It knows QUIC version 1 (RFC 9000, RFC 9001), Retry included, and AES-128-GCM. It keeps no
// timers, and sends nothing again and acknowledges nothing by itself but what [Conn.Begin],
// [Conn.Handshake] and [Conn.Ask] do: on loopback little is lost. The integrity tag of a Retry is not checked. It
// updates its keys when the server does, not before.
//
// A Conn has no goroutine, and is used by one at a time; what it costs is therefore the CPU of
// the thread that calls it.
package quicraw
