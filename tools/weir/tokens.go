package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"weir/configs"
	"weir/edge"
	"weir/edge/session"
	"weir/edge/token"
)

const (
	// oneTimeTokens is how many one-time tokens a node remembers until they end, copies included: about 80 MB.
	oneTimeTokens = 1 << 17
	// oneTimeLease is how long that may be, and oneTimeKeep how much longer one is there: a token's end is checked first.
	oneTimeLease = 366 * 24 * time.Hour
	oneTimeKeep  = time.Minute
	// replays is how many proofs and reused tokens a node remembers until they end: about 15 MB.
	replays = 1 << 18
)

// tokens makes what verifies a site's tokens; nil where it needs none. The files are read each time: keys rotate with a
// reload.
func (n *node) tokens(config *configs.Token) (*token.Verifier, error) {
	if len(config.Schemes) == 0 {
		return nil, nil
	}
	options := token.Options{
		Paths: config.Paths, Exempt: config.Exempt, Leeway: config.Leeway.D(), Once: n.useToken, Replays: n.replays, Locate: edge.Locator(n.geo), Chance: rand.Float64,
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

// useToken has the owners of a one-time token note that it is used.
func (n *node) useToken(ctx context.Context, id [sha256.Size]byte, lasting time.Duration) (first bool, err error) {
	if lasting > oneTimeLease {
		return false, fmt.Errorf("a one-time token has to end within %s", oneTimeLease)
	}
	return n.spent.Once(ctx, session.Place(binary.BigEndian.Uint64(id[:])), lasting)
}

func tokenScheme(c *configs.TokenScheme) (token.Scheme, error) {
	s := token.Scheme{
		Kind: token.Kind(c.Kind), Carriers: token.Carriers{Header: c.Header, Cookie: c.Cookie, Query: c.Query, Path: c.Path}, Issuers: c.Issuers, Audiences: c.Audiences,
		TTL: c.TTL.D(), TimeQuery: c.TimeQuery, Hex: c.Hex, Escape: c.Escape, Expression: c.Expression,
	}
	file, err := os.ReadFile(c.KeysFile)
	if err != nil {
		return s, fmt.Errorf("token: keys: %w", err)
	}
	if s.Keys, err = token.ParseKeys(file); err != nil {
		return s, fmt.Errorf("%s: %w", c.KeysFile, err)
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
