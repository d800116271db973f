//go:build real

package realtest

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// application stands behind Anteroom, remembers what reached it and answers
// every request with what it received.
type application struct {
	*httptest.Server
	mu   sync.Mutex
	seen []received // guarded by mu
}

// received is one request as the application got it.
type received struct {
	Method   string      `json:"method"`
	URI      string      `json:"uri"`
	Host     string      `json:"host"`
	Headers  http.Header `json:"headers"`
	Trailers http.Header `json:"trailers"`
	Body     string      `json:"body"`
}

func newApplication(t *testing.T) *application {
	t.Helper()
	a := &application{}
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		got := received{Method: r.Method, URI: r.RequestURI, Host: r.Host, Headers: r.Header, Trailers: r.Trailer, Body: string(body)}
		a.mu.Lock()
		a.seen = append(a.seen, got)
		a.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(got)
	}))
	t.Cleanup(a.Close)
	return a
}

// reached is every request so far.
func (a *application) reached() []received {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]received(nil), a.seen...)
}

// shown reads the application's answer off a page.
func shown(t *testing.T, g *page) received {
	t.Helper()
	var got received
	if err := json.Unmarshal([]byte(g.body), &got); err != nil || g.status != http.StatusOK {
		t.Fatalf("%s = %d %.300q, want the application's answer", g.url, g.status, g.body)
	}
	return got
}

// identity is what the suites look at in the JWT.
type identity struct {
	jwt.Claims
	Email    string   `json:"email"`
	Name     string   `json:"name"`
	Username string   `json:"preferred_username"`
	Groups   []string `json:"groups"`
	Session  string   `json:"sid"`
	Type     string   `json:"type"`
	Role     string   `json:"role"`
}

// verify checks a request's JWT against the site's published keys, as an
// application would: signature, issuer, audience, times.
func verify(t *testing.T, s *site, got received, audience string) identity {
	t.Helper()
	raw, ok := strings.CutPrefix(got.Headers.Get("Authorization"), "Bearer ")
	if !ok {
		t.Fatalf("the application got Authorization %q, want Bearer and a JWT", got.Headers.Get("Authorization"))
	}
	token, err := jwt.ParseSigned(raw, []jose.SignatureAlgorithm{jose.ES256, jose.EdDSA, jose.RS256})
	if err != nil {
		t.Fatalf("parsing the JWT: %v", err)
	}
	var id identity
	if err := token.Claims(publishedKeys(t, s), &id); err != nil {
		t.Fatalf("verifying the JWT with the published keys: %v", err)
	}
	if err := id.Validate(jwt.Expected{Issuer: s.URL, AnyAudience: jwt.Audience{audience}, Time: time.Now()}); err != nil {
		t.Errorf("validating the JWT: %v", err)
	}
	if life := id.Expiry.Time().Sub(id.IssuedAt.Time()); life != 5*time.Minute {
		t.Errorf("the JWT lives %v, want 5m", life)
	}
	if id.ID == "" || id.NotBefore == nil || id.Session == "" {
		t.Errorf("the JWT has jti %q, nbf %v, sid %q, want all three", id.ID, id.NotBefore, id.Session)
	}
	return id
}

func publishedKeys(t *testing.T, s *site) jose.JSONWebKeySet {
	t.Helper()
	resp, err := http.Get("http://" + s.Listen + "/.well-known/jwks.json") // under any Host
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var keys jose.JSONWebKeySet
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<16)).Decode(&keys); err != nil {
		t.Fatalf("reading /.well-known/jwks.json (%d): %v", resp.StatusCode, err)
	}
	if len(keys.Keys) < 2 {
		t.Errorf("%d keys are published, want the current one and the next", len(keys.Keys))
	}
	return keys
}
