package cluster

import (
	"bytes"
	"context"
	"slices"

	"github.com/hashicorp/memberlist"
)

// followKeys has gossip use the secrets of the keyring, and tells the others which those are.
func (c *Cluster) followKeys(ctx context.Context, list *memberlist.Memberlist, keys *memberlist.Keyring) {
	for {
		secrets, changed := c.options.Keyring.watch()
		if err := install(keys, secrets.gossipKeys()); err != nil {
			c.log.Error("gossip does not take the new secrets: restart the node", "error", err)
		}
		told := ""
		c.roster.change(func(m *Member) { told, m.Keys = m.Keys, secrets.IDs() })
		if told != secrets.IDs() {
			if err := list.UpdateNode(c.options.LeaveTimeout); err != nil {
				c.log.Warn("announce secrets", "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}

// install makes keys all that the ring holds, the first the one in use, in an order in which no message is sent with a
// key before the ring accepts it.
func install(ring *memberlist.Keyring, keys [][]byte) error {
	for _, key := range keys {
		if err := ring.AddKey(key); err != nil {
			return err
		}
	}
	if err := ring.UseKey(keys[0]); err != nil {
		return err
	}
	held := ring.GetKeys()
	wanted := func(key []byte) bool {
		return slices.ContainsFunc(keys, func(k []byte) bool { return bytes.Equal(k, key) })
	}
	// RemoveKey moves what stands behind a key while the ring's readers look on, and moves nothing where the key is the
	// last. It is where a secret was replaced as it should be; else each UseKey, which makes a new list, moves one key that
	// stays to the front. For that moment it is the one in use, and a packet may be lost on a node that does not have it.
	if slices.ContainsFunc(held[:len(keys)], func(k []byte) bool { return !wanted(k) }) {
		for _, key := range slices.Backward(keys) {
			if err := ring.UseKey(key); err != nil {
				return err
			}
		}
	}
	for held = ring.GetKeys(); len(held) > len(keys); held = ring.GetKeys() {
		if err := ring.RemoveKey(held[len(held)-1]); err != nil {
			return err
		}
	}
	return nil
}
