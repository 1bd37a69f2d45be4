package cluster

const ticketLabel = "weir cluster v1 session tickets"

// TicketSecret returns 32 bytes from which every node can derive the same keys of TLS session tickets, so that a client
// resumes at one what it began at another; nil where there is no secret.
func (s Secret) TicketSecret() []byte {
	if s.IsZero() {
		return nil
	}
	return s.derive(ticketLabel)
}
