package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
)

const (
	maxSecrets     = 4        // in one file: two while one is replaced, and room for a mistake
	maxSecretsText = 64 << 10 // most length of a file
)

// Secrets are what a secret file holds: the first encrypts, signs and mints, all are accepted. So a secret is replaced
// while nodes run: see the package comment. They print as little as a Secret does.
type Secrets []Secret

// ParseSecrets reads the content of a secret file: one to four secrets, one a line as ParseSecret reads it. What follows a
// # is a comment. A file with anything wrong is refused as a whole; the error names the line and repeats none of it.
func ParseSecrets(text []byte) (Secrets, error) {
	if len(text) > maxSecretsText {
		return nil, fmt.Errorf("cluster: the secret file has %d bytes: at most %d", len(text), maxSecretsText)
	}
	var all Secrets
	for i, line := range strings.Split(string(text), "\n") {
		line, _, _ = strings.Cut(line, "#")
		if strings.TrimSpace(line) == "" {
			continue
		}
		s, err := ParseSecret([]byte(line))
		switch {
		case err != nil:
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		case slices.ContainsFunc(all, s.equal):
			return nil, fmt.Errorf("line %d: cluster: the secret is there a second time: remove one", i+1)
		case len(all) == maxSecrets:
			return nil, fmt.Errorf("line %d: cluster: more than %d secrets: remove those that no node uses any more", i+1, maxSecrets)
		}
		all = append(all, s)
	}
	if len(all) == 0 {
		return nil, errors.New("cluster: the secret is empty: make one with `head -c 32 /dev/urandom | base64`")
	}
	return all, nil
}

// IDs returns the IDs of all, in their order, separated by spaces.
func (s Secrets) IDs() string {
	ids := make([]string, len(s))
	for i := range s {
		ids[i] = s[i].ID()
	}
	return strings.Join(ids, " ")
}

// gossipKeys returns the keys that gossip is decrypted with; it is encrypted with the first.
func (s Secrets) gossipKeys() [][]byte {
	keys := make([][]byte, len(s))
	for i := range s {
		keys[i] = s[i].GossipKey()
	}
	return keys
}

func (s Secret) equal(other Secret) bool {
	return !s.IsZero() && !other.IsZero() && bytes.Equal(s.material(), other.material())
}
