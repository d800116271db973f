package upstream

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/google/go-cmp/cmp"

	"anteroom/session"
)

// clock is a time that stands still until it is moved.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func newClock() *clock { return &clock{t: time.Date(2026, 11, 22, 9, 30, 0, 500, time.UTC)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// published is the key set as an application fetches it.
func published(t *testing.T, k *Ring) (set jose.JSONWebKeySet) {
	t.Helper()
	w := httptest.NewRecorder()
	k.ServeJWKS(w, httptest.NewRequest("GET", "/", nil))
	if err := json.Unmarshal(w.Body.Bytes(), &set); err != nil {
		t.Fatal(err)
	}
	return set
}

// verified is what a JWT says, once its signature is checked as an application
// does: by the published keys, or by the shared secret.
func verified(t *testing.T, token, alg string, set jose.JSONWebKeySet) map[string]any {
	t.Helper()
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(alg)})
	if err != nil {
		t.Fatalf("parsing %q: %v", token, err)
	}
	if typ := parsed.Headers[0].ExtraHeaders["typ"]; typ != "JWT" {
		t.Errorf("typ = %v, want JWT", typ)
	}
	var key any = []byte(testSecret)
	if alg != "HS256" {
		found := set.Key(parsed.Headers[0].KeyID)
		if len(found) != 1 {
			t.Fatalf("keys named %q = %d, want 1", parsed.Headers[0].KeyID, len(found))
		}
		key = found[0]
	}
	claims := map[string]any{}
	if err := parsed.Claims(key, &claims); err != nil {
		t.Fatalf("verifying: %v", err)
	}
	return claims
}

func TestEveryAlgorithm(t *testing.T) {
	for _, alg := range []string{"ES256", "EdDSA", "RS256", "HS256"} {
		t.Run(alg, func(t *testing.T) {
			cfg := testConfig()
			cfg.JWT.Algorithm = alg
			a := newAsserter(t, cfg, newClock().now)
			token, expires, err := a.Token(testWho(), "https://app.example")
			if err != nil {
				t.Fatal(err)
			}
			set := published(t, a.keys)
			claims := verified(t, token, alg, set)
			if id, _ := claims["jti"].(string); len(id) != 22 {
				t.Errorf("jti = %q, want 22 characters", id)
			}
			delete(claims, "jti")
			want := map[string]any{
				"iss": "https://site.example", "aud": "https://app.example", "sub": "testdoc", "sid": "s1", "email": "testdoc@example.com",
				"name": "Test Doctor", "preferred_username": "test.doc", "groups": []any{"physicians", "users"},
				"iat": 1795339800., "nbf": 1795339800., "exp": 1795340100.,
			}
			if diff := cmp.Diff(want, claims); diff != "" {
				t.Errorf("claims (-want +got):\n%s", diff)
			}
			if expires.Unix() != 1795340100 || expires.Nanosecond() != 0 {
				t.Errorf("expires = %v, want exp", expires)
			}
			for _, key := range set.Keys {
				if !key.IsPublic() || key.Algorithm != alg || key.Use != "sig" {
					t.Errorf("published key %q: public %v, alg %s, use %s", key.KeyID, key.IsPublic(), key.Algorithm, key.Use)
				}
			}
			if want := map[bool]int{true: 0, false: 2}[alg == "HS256"]; len(set.Keys) != want {
				t.Errorf("%d published keys, want %d", len(set.Keys), want)
			}
		})
	}
}

// TestVoiceAssist holds the assertion that application verifies: HS256, type
// access and a role.
func TestVoiceAssist(t *testing.T) {
	cfg := testConfig()
	cfg.JWT.Audience = "none"
	cfg.JWT.Claims = map[string]string{"type": "access"}
	cfg.JWT.Roles = map[string]string{"admin": "admin", "physicians": "physician", "users": "user"}
	cfg.JWT.Role = "guest"
	a := newAsserter(t, cfg, newClock().now)
	token, _, err := a.Token(testWho(), AudienceOf(cfg.JWT, Destination{URL: "http://voiceassist:8000"}))
	if err != nil {
		t.Fatal(err)
	}
	claims := verified(t, token, "HS256", jose.JSONWebKeySet{})
	claims["jti"] = "…"
	got, err := json.MarshalIndent(claims, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("testdata/voiceassist.json")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.TrimSpace(string(want)), string(got)); diff != "" {
		t.Errorf("claims (-want +got):\n%s", diff)
	}
}

func TestFixedClaimsCannotSpeakForUs(t *testing.T) {
	cfg := testConfig()
	cfg.JWT.Claims = map[string]string{"sub": "evil", "aud": "evil", "email": "evil", "sid": "evil", "exp": "never", "groups": "admin", "name": "evil", "type": "access", "role": "fixed"}
	a := newAsserter(t, cfg, newClock().now)
	token, _, err := a.Token(&session.Identity{Subject: "bare"}, "none")
	if err != nil {
		t.Fatal(err)
	}
	got := verified(t, token, "HS256", jose.JSONWebKeySet{})
	delete(got, "jti")
	want := map[string]any{"iss": "https://site.example", "sub": "bare", "type": "access", "role": "fixed", "groups": []any{}, "iat": 1795339800., "nbf": 1795339800., "exp": 1795340100.}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("claims (-want +got):\n%s", diff)
	}
}

func TestRole(t *testing.T) {
	for _, c := range []struct {
		groups []string
		roles  map[string]string
		fall   string
		want   string
	}{
		{[]string{"b", "a"}, map[string]string{"a": "1", "b": "2"}, "0", "1"}, {[]string{"b"}, map[string]string{"a": "1"}, "0", "0"},
		{nil, nil, "", ""}, {nil, nil, "0", "0"}, {[]string{"A"}, map[string]string{"a": "1"}, "", ""},
	} {
		cfg := testConfig()
		cfg.JWT.Roles, cfg.JWT.Role = c.roles, c.fall
		if got := newAsserter(t, cfg, time.Now).role(&session.Identity{Groups: c.groups}); got != c.want {
			t.Errorf("role(%q) of %v = %q, want %q", c.groups, c.roles, got, c.want)
		}
	}
}

func TestTokenIsReusedForHalfItsLife(t *testing.T) {
	c := newClock()
	a := newAsserter(t, testConfig(), c.now)
	who := testWho()
	token := func(who *session.Identity, audience string) string {
		t.Helper()
		s, expires, err := a.Token(who, audience)
		if err != nil {
			t.Fatal(err)
		}
		if left := expires.Sub(c.now()); left < a.cfg.JWT.Lifetime/2-time.Second {
			t.Errorf("token lives %v more, want half its life at least", left)
		}
		return s
	}
	first := token(who, "a")
	twin := *who
	if token(&twin, "a") != first {
		t.Error("Token of an equal identity = another, want the same")
	}
	c.add(a.cfg.JWT.Lifetime/2 - 1)
	if token(who, "a") != first {
		t.Error("Token before half its life = another, want the same")
	}
	if token(who, "b") == first {
		t.Error("Token for another audience = the same, want another")
	}
	for name, change := range map[string]func(*session.Identity){
		"groups": func(i *session.Identity) { i.Groups = []string{"users"} }, "mail": func(i *session.Identity) { i.Email = "" },
		"name": func(i *session.Identity) { i.Name = "x" }, "login": func(i *session.Identity) { i.Username = "x" },
		"session": func(i *session.Identity) { i.SessionID = "s2" }, "subject": func(i *session.Identity) { i.Subject = "x" },
	} {
		changed := *who
		change(&changed)
		before := token(who, "a")
		if token(&changed, "a") == before {
			t.Errorf("Token with another %s = the same, want another", name)
		}
	}
	before := token(who, "a")
	if fresh, _, err := a.Fresh(who, "a"); err != nil || fresh == before || token(who, "a") != before {
		t.Errorf("Fresh = %v, want one of its own that stays out of the cache", err)
	}
	c.add(a.cfg.JWT.Lifetime / 2)
	if token(who, "a") == before {
		t.Error("Token after half its life = the same, want another")
	}
}

func TestNoJWT(t *testing.T) {
	cfg := testConfig()
	cfg.JWT.Algorithm = "none"
	a := newAsserter(t, cfg, newClock().now)
	for name, make := range map[string]func(*session.Identity, string) (string, time.Time, error){"Token": a.Token, "Fresh": a.Fresh} {
		if s, _, err := make(testWho(), "a"); s != "" || err != nil {
			t.Errorf("%s = %q, %v, want none", name, s, err)
		}
	}
	first, _ := a.assert(testWho(), "a")
	if again, _ := a.assert(testWho(), "a"); again != first {
		t.Error("assertion without JWT = another, want the same")
	}
}

func TestAssertionsAreBounded(t *testing.T) {
	c := newClock()
	a := newAsserter(t, testConfig(), c.now)
	as := &assertion{who: testWho(), renew: c.now().Add(time.Hour)}
	for i := range maxAssertions {
		a.made[assertionKey{session: fmt.Sprint(i)}] = as
	}
	a.swept = c.now()
	if _, _, err := a.Token(testWho(), "a"); err != nil {
		t.Fatal(err)
	}
	if n := len(a.made); n > maxAssertions/8*7+1 || n < maxAssertions/2 {
		t.Errorf("%d assertions held, want some seven eighths of %d", n, maxAssertions)
	}
	c.add(2 * time.Hour)
	if _, _, err := a.Token(testWho(), "b"); err != nil {
		t.Fatal(err)
	}
	if n := len(a.made); n != 1 {
		t.Errorf("%d assertions held after all were due, want 1", n)
	}
}

func TestTokensAtOnce(t *testing.T) {
	cfg := testConfig()
	cfg.JWT.Algorithm = "EdDSA"
	c := newClock()
	a := newAsserter(t, cfg, c.now)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for j := range 50 {
				who := testWho()
				who.SessionID = fmt.Sprint((i + j) % 5)
				token, _, err := a.Token(who, "a")
				if err != nil || !slices.Contains([]string{"0", "1", "2", "3", "4"}, verified(t, token, "EdDSA", published(t, a.keys))["sid"].(string)) {
					t.Errorf("Token = %v", err)
				}
				c.add(time.Second)
			}
		})
	}
	all.Go(func() {
		for range keptKeys { // no more, lest a key go that signed a moment ago
			if err := a.keys.rotate(); err != nil {
				t.Error(err)
			}
		}
	})
	all.Wait()
}

func TestAudienceOf(t *testing.T) {
	for _, c := range []struct {
		own, configured, url, want string
	}{
		{"", "", "http://app:8000", "http://app:8000"}, {"", "", "h2c://app:80", "http://app:80"}, {"", "", "https://app", "https://app"},
		{"", "", "unix:/run/app.sock", "unix:/run/app.sock"}, {"", "conf", "http://app", "conf"}, {"own", "conf", "http://app", "own"}, {"none", "conf", "http://app", "none"},
	} {
		if got := AudienceOf(JWTConfig{Audience: c.configured}, Destination{URL: c.url, Audience: c.own}); got != c.want {
			t.Errorf("AudienceOf(%q, %q, %q) = %q, want %q", c.own, c.configured, c.url, got, c.want)
		}
	}
}

func TestServeJWKS(t *testing.T) {
	cfg := testConfig()
	cfg.JWT.Algorithm = "ES256"
	k, err := OpenKeys(cfg.JWT, time.Now, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(http.HandlerFunc(k.ServeJWKS))
	t.Cleanup(s.Close)
	ask := func(method, etag string) *http.Response {
		r, _ := http.NewRequestWithContext(t.Context(), method, s.URL, nil)
		if etag != "" {
			r.Header.Set("If-None-Match", etag)
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp
	}
	resp := ask("GET", "")
	etag := resp.Header.Get("Etag")
	if resp.StatusCode != 200 || etag == "" || resp.Header.Get("Cache-Control") != "public, max-age=300" || resp.Header.Get("Content-Type") != "application/jwk-set+json" {
		t.Errorf("GET = %d %v", resp.StatusCode, resp.Header)
	}
	if head := ask("HEAD", ""); head.StatusCode != 200 || head.ContentLength != resp.ContentLength {
		t.Errorf("HEAD = %d of %d bytes, want 200 of %d", head.StatusCode, head.ContentLength, resp.ContentLength)
	}
	for _, match := range []string{etag, `"x", ` + etag, "*", "W/" + etag} {
		if got := ask("GET", match).StatusCode; got != http.StatusNotModified {
			t.Errorf("GET if none match %s = %d, want 304", match, got)
		}
	}
	if err := k.rotate(); err != nil {
		t.Fatal(err)
	}
	if got := ask("GET", etag); got.StatusCode != 200 || got.Header.Get("Etag") == etag {
		t.Errorf("GET after rotation = %d %s, want 200 and another ETag", got.StatusCode, got.Header.Get("Etag"))
	}
}
