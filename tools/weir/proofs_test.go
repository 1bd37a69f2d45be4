package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"hash/maphash"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"weir/edge/limit"
	"weir/tools/proof"
)

// prover is a client with a key, for proofs of possession (RFC 9449).
type prover struct {
	key  *ecdsa.PrivateKey
	x, y string
}

func newProver(t *testing.T) *prover {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	enc := base64.RawURLEncoding.EncodeToString
	return &prover{key, enc(point[1:33]), enc(point[33:])}
}

// thumbprint is jkt (RFC 7638).
func (p *prover) thumbprint() string {
	sum := sha256.Sum256([]byte(`{"crv":"P-256","kty":"EC","x":"` + p.x + `","y":"` + p.y + `"}`))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// prove makes the proof of a request.
func (p *prover) prove(t *testing.T, method, url, token, jti string) string {
	t.Helper()
	enc, hash := base64.RawURLEncoding.EncodeToString, sha256.Sum256([]byte(token))
	text := enc(fmt.Appendf(nil, `{"typ":"dpop+jwt","alg":"ES256","jwk":{"kty":"EC","crv":"P-256","x":%q,"y":%q}}`, p.x, p.y)) + "." +
		enc(fmt.Appendf(nil, `{"jti":%q,"htm":%q,"htu":%q,"iat":%d,"ath":%q}`, jti, method, url, time.Now().Unix(), enc(hash[:])))
	sum := sha256.Sum256([]byte(text))
	r, s, err := ecdsa.Sign(rand.Reader, p.key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return text + "." + enc(signature)
}

// TestProofsAreGoodOnceInARegion: a proof opens one request, whichever nodes are asked at once, and none after any one node
// was killed; each refusal is counted. A token with reuse detection is told at whichever node it is used again.
func TestProofsAreGoodOnceInARegion(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "keys")
	keyLine(t, file, "k1", "0123456789abcdef0123456789abcdef")
	names := []string{"edge-1", "edge-2", "edge-3", "edge-4"}
	inLabWith(t, map[string]string{"keys": file}, names, func(l *lab, _ *proof.Origin) {
		t := l.t
		client := newProver(t)
		const path = "/o/4KiB/a"
		text := mintCAT(t, file, `{"cnf": {"jkt": "`+client.thumbprint()+`"}}`)
		ask := func(node, token, proof string) int {
			r := httptest.NewRequest(http.MethodGet, "http://site.example"+path, http.NoBody)
			r.RequestURI = path
			r.Header.Set("CTA-Common-Access-Token", token)
			if proof != "" {
				r.Header.Set("DPoP", proof)
			}
			w := httptest.NewRecorder()
			l.node(node).edge.ServeHTTP(w, r)
			return w.Code
		}
		count := func() (refused, reused int64) {
			for _, name := range names {
				refused += l.node(name).edge.Refused("token-replayed")
				reused += l.node(name).edge.Reused()
			}
			return refused, reused
		}
		for round, lost := range names {
			good := client.prove(t, http.MethodGet, "http://site.example"+path, text, fmt.Sprint("jti-", round))
			detected := mintCAT(t, file, fmt.Sprintf(`{"catreplay": 2, "cti": "0%d"}`, round))
			before, reused := count()
			var opened atomic.Int64
			var wg sync.WaitGroup
			for i := range 12 {
				wg.Go(func() {
					switch status := ask(names[i%4], text, good); status {
					case http.StatusOK:
						opened.Add(1)
					case http.StatusForbidden:
					default:
						t.Errorf("a proof that is used at once: status %d", status)
					}
				})
			}
			wg.Wait()
			if refused, _ := count(); opened.Load() != 1 || refused-before != 11 {
				t.Errorf("of 12 uses of a proof %d are let in and %d counted as refused, want 1 and 11", opened.Load(), refused-before)
			}
			for i := range 8 {
				if status := ask(names[i%4], detected, ""); status != http.StatusOK {
					t.Errorf("a token with reuse detection: status %d", status)
				}
			}
			if _, now := count(); now-reused != 7 {
				t.Errorf("of 8 uses of a token at 4 nodes %d are told as reuses, want 7", now-reused)
			}
			l.network.Kill(lost)
			if err := l.KillNode(lost); err != nil {
				t.Error(err)
			}
			for _, name := range names {
				if name == lost {
					continue
				}
				if status := ask(name, text, good); status != http.StatusForbidden {
					t.Errorf("%s is lost: a used proof at %s: status %d, want 403", lost, name, status)
				}
			}
			if err := l.StartNode(lost, map[string]string{"origin": "o", "keys": file}); err != nil {
				t.Fatal(err)
			}
			if status := ask(lost, text, good); status != http.StatusForbidden {
				t.Errorf("%s is back: a used proof there: status %d, want 403", lost, status)
			}
			time.Sleep(10 * time.Second)
		}
	})
}

// TestProofsOfOneKeyLeaveRoom: a key that makes as many proofs as it is let, short or long, takes a tenth of the places at
// most, and no other key waits for it.
func TestProofsOfOneKeyLeaveRoom(t *testing.T) {
	t.Parallel()
	for _, lasting := range []time.Duration{2 * time.Second, 301 * time.Second, 601 * time.Second, 7201 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			n := &node{proofs: limit.NewTable(0, time.Now()), proofSeed: maphash.MakeSeed()}
			flood, other := sha256.Sum256([]byte("flood")), sha256.Sum256([]byte("other"))
			var taken []time.Time
			most := 0
			for end := time.Now().Add(2 * (lasting + oneTimeKeep)); time.Now().Before(end); time.Sleep(10 * time.Second) {
				for n.admitProof(flood, lasting) == 0 {
					taken = append(taken, time.Now().Add(lasting+oneTimeKeep))
				}
				for len(taken) > 0 && !taken[0].After(time.Now()) {
					taken = taken[1:]
				}
				most = max(most, len(taken))
			}
			if most < oneTimeTokens/64 || most > oneTimeTokens/10 {
				t.Errorf("proofs for %s: one key has %d of %d places", lasting, most, oneTimeTokens)
			}
			if wait := n.admitProof(other, lasting); wait != 0 {
				t.Errorf("proofs for %s: another key waits for %s", lasting, wait)
			}
			for n.admitProof(flood, lasting) == 0 { // until it is at its bound
			}
			n.admitProof(flood, -lasting)
			if wait := n.admitProof(flood, lasting); wait != 0 {
				t.Errorf("proofs for %s: what was given back is not there: %s", lasting, wait)
			}
		})
	}
}

// TestPlayersWithTooManyProofs: the play call of a viewer whose key has made more proofs than may be remembered is told when to
// come again, and is taken then; it is not told that its token is bad.
func TestPlayersWithTooManyProofs(t *testing.T) {
	t.Parallel()
	s, file := newAccountsNode(t)
	for _, w := range ways() {
		c, base := s.client(t, w)
		viewer := newProver(t)
		text := mintCAT(t, file, `{"sub": "ann", "cnf": {"jkt": "`+viewer.thumbprint()+`"}}`)
		const path = "/sdk/v1/sessions"
		play := func(jti string) (*http.Response, []byte) {
			t.Helper()
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base+path, strings.NewReader(`{"asset":"film"}`))
			if err != nil {
				t.Fatal(err)
			}
			for name, value := range map[string]string{"Content-Type": "application/json", "Authorization": "DPoP " + text, "DPoP": viewer.prove(t, http.MethodPost, base+path, text, jti)} {
				r.Header.Set(name, value)
			}
			answer, err := c.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			defer answer.Body.Close()
			body, err := io.ReadAll(answer.Body)
			if err != nil {
				t.Fatal(err)
			}
			return answer, body
		}
		r, body := play("1")
		checkProblem(t, w.name+": the first", r, body, http.StatusCreated, "")
		thumbprint, err := base64.RawURLEncoding.DecodeString(viewer.thumbprint())
		if err != nil {
			t.Fatal(err)
		}
		id := limit.Key(maphash.Bytes(s.proofSeed, thumbprint))
		rate := limit.Rate{PerSecond: proofsPerKey, Burst: proofsPerKey * proofBurst.Seconds()}
		s.proofs.Reserve(id, 60*rate.Burst, rate, time.Now()) // as if it had made so many
		r, body = play("2")
		checkProblem(t, w.name+": one too many", r, body, http.StatusTooManyRequests, "rate")
		if wait, err := strconv.Atoi(r.Header.Get("Retry-After")); err != nil || wait < 60*60 {
			t.Errorf("%s: Retry-After %q, want two hours", w.name, r.Header.Get("Retry-After"))
		}
		s.proofs.Reserve(id, -60*rate.Burst, rate, time.Now())
		r, body = play("2")
		checkProblem(t, w.name+": then", r, body, http.StatusCreated, "")
		r, body = play("2")
		checkProblem(t, w.name+": again", r, body, http.StatusUnauthorized, "credential")
	}
	if n := s.players.Answered("rate"); n != int64(len(ways())) {
		t.Errorf("%d problems are counted as rate, want one for each protocol", n)
	}
}
