package cluster

import (
	"time"

	"github.com/hashicorp/memberlist"
)

// refuse counts a node that said something wrong about itself, and logs it once for each thing said.
func (c *Cluster) refuse(name string, err error) {
	c.refusedMeta.Add(1)
	reason := err.Error()
	c.mu.Lock()
	known := c.refused[name] == reason || len(c.refused) >= maxRefusals
	if !known {
		c.refused[name] = reason
	}
	c.mu.Unlock()
	if !known {
		c.log.Warn("node refused: it says something wrong about itself", "member", name, "error", reason)
	}
}

// conflict hears that other claims the name of existing. Where the name is this node's own, another node runs under it,
// or did so a moment ago at another address: the rejoin loop goes on announcing this one until the others take it.
func (c *Cluster) conflict(existing, other *memberlist.Node) {
	c.conflicts.Add(1)
	if existing.Name == c.options.Name {
		c.lastConflict.Store(time.Now().UnixNano())
	}
	c.log.Warn("two nodes with one name, or one that moved before it was missed: names must be unique",
		"member", existing.Name, "known", existing.Address(), "other", other.Address())
}

// contested says whether somebody else held this node's name a moment ago.
func (c *Cluster) contested() bool {
	last := c.lastConflict.Load()
	return last != 0 && time.Since(time.Unix(0, last)) < conflictMemory
}
