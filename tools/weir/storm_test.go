package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"weir/tools/proof"
)

// TestAnOriginThatFailsForAMinute: three nodes whose viewers ask for what is stale, four times a second for each key.
// All are served, and the origin has a few requests for each key (the steps are in edge/fault_test.go).
func TestAnOriginThatFailsForAMinute(t *testing.T) {
	t.Parallel()
	const keys, pace, outage = 8, 250 * time.Millisecond, time.Minute
	for name, fault := range map[string]proof.Fault{
		"500":   {Kind: proof.FaultStatus, N: 500},
		"503":   {Kind: proof.FaultStatus, N: 503},
		"reset": {Kind: proof.FaultResetHead},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			names := []string{"edge-1", "edge-2", "edge-3"}
			inLab(t, names, func(l *lab, origin *proof.Origin) {
				origin.Oracle().SetRule("/*", proof.Rule{Size: 1000, CacheControl: "max-age=1, stale-if-error=600"})
				round := 0
				all := func() {
					round++
					for key := range keys {
						r := httptest.NewRequest(http.MethodGet, fmt.Sprint("http://site.example/", key), http.NoBody)
						r.RequestURI = r.URL.Path
						w := httptest.NewRecorder()
						l.nodes[names[(key+round)%3]].edge.ServeHTTP(w, r)
						if w.Code != http.StatusOK || w.Body.Len() != 1000 {
							l.t.Errorf("key %d in round %d: %d, %d bytes, %v", key, round, w.Code, w.Body.Len(), w.Header())
						}
					}
				}
				for range 6 { // each node has each
					all()
				}
				time.Sleep(2 * time.Second)
				before := origin.Total().Requests
				origin.Fault("/*", fault)
				for end := time.Now().Add(outage); time.Now().Before(end) && !l.t.Failed(); time.Sleep(pace) {
					all()
				}
				asked := origin.Total().Requests - before
				if most := 12 * keys; asked > most { // the steps at the owner are nine; a hedge, a replay on a closed connection
					l.t.Errorf("the origin was asked %d times, want %d at most", asked, most)
				}
				l.t.Logf("%.1f requests for each key", float64(asked)/keys)
				origin.ClearFaults()
				time.Sleep(10 * time.Second)
				all()
			})
		})
	}
}
