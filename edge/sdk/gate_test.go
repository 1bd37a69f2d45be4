package sdk

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"weir/edge/limit"
)

// from asks as a client of that address.
func from(a *API, address, method, target, body, bearer string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.RemoteAddr = address
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+bearer)
	w := httptest.NewRecorder()
	a.ServeHTTP(w, r)
	return w
}

// TestRates: a network that asks too often is told when to come again, and nobody else is; preflights are free; and so for
// an account, wherever it asks from.
func TestRates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGate(time.Now())
		o := Options{Sessions: testBook(t), Key: func() []byte { return []byte("k") }, Gate: g, Viewer: byToken}
		o.Rates = Rates{Network: limit.Rate{PerSecond: 0.5, Burst: 3}, Account: limit.Rate{PerSecond: 0.1, Burst: 2}}
		a := testAPI(t, o)
		for i, want := range []int{200, 200, 200, 429, 429} {
			w := from(a, "192.0.2."+strconv.Itoa(i+1)+":9", http.MethodGet, "/time", "", "")
			if w.Code != want {
				t.Fatalf("request %d of a network: status %d, want %d", i+1, w.Code, want)
			}
			if want != http.StatusTooManyRequests {
				continue
			}
			p := decode[problem](t, w, want)
			if wait, err := strconv.Atoi(w.Header().Get("Retry-After")); err != nil || wait < 2 || wait > 4 || p.Type != problemRoot+"rate" || p.RetryS != wait {
				t.Errorf("the problem is %+v, Retry-After %q", p, w.Header().Get("Retry-After"))
			}
		}
		for address, want := range map[string]int{"192.0.3.1:9": 200, "[2001:db8::1]:9": 200} {
			if w := from(a, address, http.MethodGet, "/time", "", ""); w.Code != want {
				t.Errorf("another network, %s: status %d", address, w.Code)
			}
		}
		for i, want := range []int{200, 200, 429} { // one household of IPv6, one of which it has used
			if w := from(a, "[2001:db8:0:0"+strconv.Itoa(i)+"::1]:9", http.MethodGet, "/time", "", ""); w.Code != want {
				t.Errorf("request %d of a household: status %d, want %d", i+1, w.Code, want)
			}
		}
		if w := from(a, "192.0.2.1:9", http.MethodOptions, "/sdk/v1/sessions", "", ""); w.Code != http.StatusNoContent {
			t.Errorf("a preflight: status %d", w.Code)
		}
		time.Sleep(2 * time.Second)
		if w := from(a, "192.0.2.9:9", http.MethodGet, "/time", "", ""); w.Code != http.StatusOK {
			t.Errorf("after the wait: status %d", w.Code)
		}
		const call = `{"asset":"film"}`
		for i, want := range []int{201, 201, 429} {
			if w := from(a, "198.51."+strconv.Itoa(i)+".1:9", http.MethodPost, "/sdk/v1/sessions", call, "ann"); w.Code != want {
				t.Errorf("play call %d of an account: status %d, want %d: %s", i+1, w.Code, want, w.Body)
			}
		}
		if w := from(a, "198.51.9.1:9", http.MethodPost, "/sdk/v1/sessions", call, "bob"); w.Code != http.StatusCreated {
			t.Errorf("another account: status %d", w.Code)
		}
		if n := g.Answered("rate"); n != 4 {
			t.Errorf("%d problems are counted, want 4", n)
		}
		if w := from(testAPI(t, o), "198.51.0.1:9", http.MethodPost, "/sdk/v1/sessions", call, "ann"); w.Code != http.StatusTooManyRequests {
			t.Errorf("after a reload: status %d", w.Code)
		}
		o.Gate, o.Rates = nil, Rates{}
		b, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 2001 {
			want := http.StatusOK
			if i == 2000 {
				want = http.StatusTooManyRequests
			}
			if w := from(b, "192.0.2.1:9", http.MethodGet, "/time", "", ""); w.Code != want {
				t.Fatalf("request %d with the default rates: status %d, want %d", i+1, w.Code, want)
			}
		}
	})
}
