package proof

import (
	"context"
	"net"
	"testing"
)

// Lab is what scenarios drive: nodes under test on a Network. A node listens
// and dials through Network.Host(its name) only; an origin of the script is
// at "NAME:80" there. All calls come from inside the script's bubble; StartNode,
// KillNode and Do of different nodes may be called at the same time, Dial always.
type Lab interface {
	// StartNode starts a node and returns when it answers clients. The
	// options are those of the script, or none.
	StartNode(name string, options map[string]string) error
	// KillNode ends a node without a farewell and returns when all it started
	// has ended. Its connections are already reset.
	KillNode(name string) error
	// Dial connects a client with the node's listener, for cleartext or for
	// TLS; it does not shake hands. The client's host is its name.
	Dial(ctx context.Context, client, node string, secure bool) (net.Conn, error)
	// Do performs an operator's action on a node: purge, drain, what the lab
	// knows.
	Do(node string, words []string) error
	// Close ends all nodes and returns when all they started has ended.
	Close() error
}

// Setup makes the lab of one script, on its network and inside its bubble.
type Setup func(t *testing.T, network *Network) (Lab, error)
