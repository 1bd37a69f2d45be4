package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"os"
	"time"

	"weir/configs"
	"weir/edge"
	"weir/edge/limit"
	"weir/edge/session"
	"weir/edge/token"
)

const (
	// oneTimeTokens is how many one-time tokens, proofs and reused tokens a node remembers until they end, copies included: about
	// 160 MB. A proof takes a place at two nodes for ten minutes where catdpop does not say: a node has room for 430 a second.
	oneTimeTokens = 1 << 18
	// reusedTokens is up to how many there are those with reuse detection are remembered there: they must not take the places of
	// what may be used once.
	reusedTokens = oneTimeTokens / 2
	seenTimeout  = 500 * time.Millisecond // for a question that holds up a request which is allowed in any case
	// proofsPerKey is how many places of a node one key may have with proofs it makes all the time, proofBurst for how long it may
	// be ahead of that. So one that is near to it makes 22 proofs a second where catdpop does not say how long they are good, and
	// 2,700 at once: a tenth of all places, or a fifth if it asks all nodes, as each has a copy elsewhere.
	proofsPerKey = oneTimeTokens / 32
	proofBurst   = 2 * time.Minute
	// oneTimeLease is how long that may be, and oneTimeKeep how much longer one is there: a token's end is checked first.
	oneTimeLease = 366 * 24 * time.Hour
	oneTimeKeep  = time.Minute
	// replays is how many reused tokens a node remembers itself until they end: about 15 MB.
	replays = 1 << 18
)

// tokens makes what verifies a site's tokens; nil where it needs none. The files are read each time: keys rotate with a
// reload.
func (n *node) tokens(config *configs.Token) (*token.Verifier, error) {
	if len(config.Schemes) == 0 {
		return nil, nil
	}
	options := token.Options{
		Paths: config.Paths, Exempt: config.Exempt, Leeway: config.Leeway.D(), Once: n.useToken, Admit: n.admitProof, Seen: n.seeToken, Replays: n.replays, Locate: edge.Locator(n.geo), Chance: rand.Float64,
	}
	for i := range config.Schemes {
		scheme, err := tokenScheme(&config.Schemes[i])
		if err != nil {
			return nil, err
		}
		scheme.Renew = config.Renew
		options.Schemes = append(options.Schemes, scheme)
	}
	return token.New(options)
}

// useToken has the owners of a one-time token or a proof note that it is used.
func (n *node) useToken(ctx context.Context, id [sha256.Size]byte, lasting time.Duration) (first bool, err error) {
	if lasting > oneTimeLease {
		return false, fmt.Errorf("what is good once has to end within %s", oneTimeLease)
	}
	return n.spent.Once(ctx, session.Place(binary.BigEndian.Uint64(id[:])), lasting)
}

// admitProof tells how long a key has to wait until one more of its proofs may be remembered; 0: it may. What is counted are
// places times seconds.
func (n *node) admitProof(key [sha256.Size]byte, lasting time.Duration) (wait time.Duration) {
	rate := limit.Rate{PerSecond: proofsPerKey, Burst: proofsPerKey * proofBurst.Seconds()}
	id := limit.Key(maphash.Bytes(n.proofSeed, key[:]))
	if lasting < 0 {
		n.proofs.Reserve(id, (lasting - oneTimeKeep).Seconds(), rate, time.Now())
		return 0
	}
	return n.proofs.Take(id, (lasting + oneTimeKeep).Seconds(), rate, time.Now())
}

// errNoRoom: whether another node has seen a token is not told.
var errNoRoom = errors.New("there is no room for one more token with reuse detection")

// seeToken has the owners of a token with reuse detection note that it was seen on this node.
func (n *node) seeToken(ctx context.Context, id [sha256.Size]byte, lasting time.Duration) (first bool, err error) {
	if n.spent.Len() >= reusedTokens {
		return false, errNoRoom
	}
	ctx, cancel := context.WithTimeout(ctx, seenTimeout)
	defer cancel()
	return n.useToken(ctx, id, lasting)
}

func tokenScheme(c *configs.TokenScheme) (token.Scheme, error) {
	s := token.Scheme{
		Kind: token.Kind(c.Kind), Carriers: token.Carriers{Header: c.Header, Cookie: c.Cookie, Query: c.Query, Path: c.Path}, Issuers: c.Issuers, Audiences: c.Audiences,
		TTL: c.TTL.D(), TimeQuery: c.TimeQuery, Hex: c.Hex, Escape: c.Escape, Expression: c.Expression,
	}
	var err error
	if s.Keys, err = readKeys(c.KeysFile, s.Kind); err != nil {
		return s, err
	}
	if c.SaltFile != "" {
		salt, err := os.ReadFile(c.SaltFile)
		if err != nil {
			return s, fmt.Errorf("token: salt: %w", err)
		}
		s.Salt = string(bytes.TrimSpace(salt))
	}
	return s, nil
}

// readKeys reads a file of keys for a kind of tokens.
func readKeys(name string, kind token.Kind) (*token.Keys, error) {
	file, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("token: keys: %w", err)
	}
	keys, err := token.ParseKeys(file)
	if err == nil {
		err = keys.Check(kind)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return keys, nil
}
