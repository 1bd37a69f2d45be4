package main

import (
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"weir/configs"
	"weir/tools/proof"
)

// lines are what a node logs, for a test that waits for one of them.
type lines chan string

func (l lines) Write(b []byte) (int, error) {
	select {
	case l <- string(b):
	default: // more than a test looks at
	}
	return len(b), nil
}

// find waits for a line, and returns what its group matches.
func (l lines) find(t *testing.T, pattern *regexp.Regexp) string {
	t.Helper()
	late := time.After(time.Minute)
	for {
		select {
		case line := <-l:
			if match := pattern.FindStringSubmatch(line); match != nil {
				return match[1]
			}
		case <-late:
			t.Fatalf("no line of the log matches %s", pattern)
		}
	}
}

// TestFingerprintsOverEveryProtocol: a token that is bound to how a client's TLS begins (cattprint) opens for that client, on
// each of its connections, and for none other; the log of a refusal names the fingerprint that there was.
func TestFingerprintsOverEveryProtocol(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "keys")
	keyLine(t, file, "k1", "0123456789abcdef0123456789abcdef")
	const path, other4, other3 = "/o/4KiB/a", "t13d1516h2_8daaf6152771_b186095e22b6", "ada70206e40642a3e4461f35503241d5"
	named := regexp.MustCompile(`has the fingerprint \\"([^"\\]*)\\"`)
	claim := func(kind int, value string) string {
		return fmt.Sprintf(`{"cattprint": {"fingerprint-type": %d, "fingerprint-value": %q}}`, kind, value)
	}
	seen := map[string]string{} // by kind and fingerprint
	for _, w := range ways() {
		for kind, other := range map[int]string{0: other3, 2: other4} {
			what := fmt.Sprintf("%s, kind %d", w.name, kind)
			log := make(lines, 100)
			s := newSocketNode(t, func(o *nodeOptions) {
				o.log = slog.New(slog.NewTextHandler(log, nil))
				o.config.Sites[0].Token = configs.Token{Schemes: []configs.TokenScheme{{Kind: "cat", KeysFile: file}}}
			})
			ask := func(claims string, status int) {
				t.Helper()
				c, base := s.client(t, w) // a new connection
				r := c.Get(t.Context(), base+path, proof.Options{
					Truth: "127.0.0.1", AnyStatus: true, Header: http.Header{"CTA-Common-Access-Token": {mintCAT(t, file, claims)}},
				})
				if r.Status != status || status == http.StatusOK && (r.Err != nil || r.Body != proof.BodyOK) {
					t.Errorf("%s: got %d, %s, %v, want %d", what, r.Status, r.Body, r.Err, status)
				}
			}
			ask(claim(kind, other), http.StatusForbidden)
			refused, mine := int64(1), log.find(t, named)
			if w.secure {
				want := map[int]string{0: "^[0-9a-f]{32}$", 2: "^" + map[string]string{"h1+tls": "t13i....00", "h2": "t13i....h2", "h3": "q13i....h3"}[w.name] + "_[0-9a-f]{12}_[0-9a-f]{12}$"}[kind]
				if ok, err := regexp.MatchString(want, mine); !ok || err != nil {
					t.Errorf("%s: the fingerprint is %q, want %s", what, mine, want)
				}
				if before := seen[fmt.Sprint(kind, mine)]; before != "" {
					t.Errorf("%s has the fingerprint of %s", what, before)
				}
				seen[fmt.Sprint(kind, mine)] = what
				ask(claim(kind, mine), http.StatusOK)
				ask(claim(kind, strings.ToUpper(mine)), http.StatusOK)
				ask(`{"or": [`+claim(kind, other)+`, `+claim(kind, mine)+`]}`, http.StatusOK)
				ask(`{"nor": [`+claim(kind, mine)+`]}`, http.StatusForbidden)
				refused++
			} else if mine != "" {
				t.Errorf("%s: a client without TLS has the fingerprint %q", what, mine)
			}
			for late := time.Now().Add(time.Minute); s.edge.Refused("token-claim") < refused && time.Now().Before(late); {
				runtime.Gosched() // the client has its answer before it is counted
			}
			if n := s.edge.Refused("token-claim"); n != refused {
				t.Errorf("%s: %d refusals are counted as token-claim, want %d", what, n, refused)
			}
			if n := s.origin.Count(path).Requests; n > 1 {
				t.Errorf("%s: the origin was asked %d times", what, n)
			}
		}
	}
}
