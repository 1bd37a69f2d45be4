package main

import (
	"slices"
	"strings"

	"weir/cluster"
)

// mismatches says which members were not set up alike.
func (n *node) mismatches(add func(what, why, fix string)) {
	for _, m := range n.cluster.Members() {
		if m.State == cluster.Alive && m.Cleartext != n.config.Cluster.Cleartext {
			add("Node "+m.Name+" and this node do not ask each other.", "Its peers speak "+peerProtocol(m.Cleartext)+", those of this node "+peerProtocol(!m.Cleartext)+".",
				"Set cluster.cleartext alike on all nodes, and restart those that change.")
		}
		if m.State == cluster.Alive && n.strange(&m) {
			add("Node "+m.Name+" does not accept this node's secret.", "It has "+m.Keys+", this node uses "+n.options.keyring.Secrets()[0].ID()+".",
				"Append the new secret to the secret file of every node before any node uses it, and remove the old one last.")
		}
	}
}

// strange tells whether a member will refuse what this node signs.
func (n *node) strange(m *cluster.Member) bool {
	return n.options.keyring != nil && !slices.Contains(strings.Fields(m.Keys), n.options.keyring.Secrets()[0].ID())
}

func peerProtocol(cleartext bool) string {
	if cleartext {
		return "HTTP in the clear"
	}
	return "TLS"
}
