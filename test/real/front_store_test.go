//go:build real

package realtest

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"anteroom/demo"
	"anteroom/test/redistest"
)

// fronts are all that run here.
func fronts(t *testing.T) []front { return []front{nginx, haproxy, caddy(tool(t, "caddy")), traefik} }

const aKey = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="

// TestFrontsWithoutRedis: behind every front proxy, who is known goes on, and
// who cannot be looked up is told to come again: not to sign in.
func TestFrontsWithoutRedis(t *testing.T) {
	for _, kind := range fronts(t) {
		t.Run(kind.name, func(t *testing.T) {
			redis := redistest.Start(t, redistest.Options{})
			f := newFrontage(t, kind, "app", "ANTEROOM_SESSION_STORE", "redis", redisURL, redis.URL(), "ANTEROOM_SESSION_KEYS", aKey)
			s := frontTest{f, "app"}
			shown(t, f.p.signIn(f.site, f.at("app", "/x"), "nurse", "nurse123"))
			redis.Freeze()
			t.Cleanup(redis.Thaw)
			for name, lines := range map[string][]string{"program": nil, "browser": {"Accept: text/html", "Sec-Fetch-Mode: navigate"}} {
				began := time.Now()
				resp, _ := s.ask(t, false, "GET", "/x", nil, append(lines, "Cookie: anteroom="+strings.Repeat("A", 43))...)
				if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" || len(resp.Header.Values("Set-Cookie")) > 0 {
					t.Errorf("a %s with an unknown session = %d %v, want 503 with Retry-After and no cookie", name, resp.StatusCode, resp.Header)
				}
				if took := time.Since(began); took > 2*time.Second {
					t.Errorf("a %s with an unknown session waited %v", name, took)
				}
			}
			if resp, body := s.ask(t, true, "GET", "/x", nil); resp.StatusCode != http.StatusOK {
				t.Errorf("the nurse, who is known = %d %.200q, want 200", resp.StatusCode, body)
			}
		})
	}
}

// TestFrontsRelayCookies: where the browser keeps the session, a check writes it
// anew now and then; a front proxy that relays the cookie brings it there, and
// one that does not signs nobody out.
func TestFrontsRelayCookies(t *testing.T) {
	for _, kind := range fronts(t) {
		t.Run(kind.name, func(t *testing.T) {
			f := newFrontage(t, kind, "app", "ANTEROOM_SESSION_STORE", "cookie", "ANTEROOM_SESSION_KEYS", aKey, "ANTEROOM_SESSION_IDLE_TIMEOUT", "4s")
			shown(t, f.p.signIn(f.site, f.at("app", "/x"), demo.DefaultUser, demo.DefaultPassword))
			before := f.p.cookie(f.URL, "anteroom_0")
			relayed := false
			for end := time.Now().Add(6 * time.Second); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
				g := f.p.visit(f.at("app", "/x"))
				if g.status != http.StatusOK || g.url.Host != f.host("app") {
					t.Fatalf("in use, and yet %s = %d", g.url, g.status)
				}
				relayed = relayed || f.p.cookie(f.URL, "anteroom_0") != before
			}
			if want := kind.name != "caddy"; relayed != want {
				t.Errorf("the session's cookie was renewed: %v, want %v", relayed, want)
			}
		})
	}
}
