//go:build real

package realtest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"anteroom/demo"
)

// TestVoiceAssist puts Anteroom in front of a FastAPI application that takes
// HS256 JWTs with type: access, by header and, on its WebSocket, by ?token=.
func TestVoiceAssist(t *testing.T) {
	const secret = "a-shared-secret-of-more-than-thirty-two-bytes"
	origin := startVoiceAssist(t, secret)
	s := newSite(t)
	nc := startNextcloud(t, s, demo.Options{})
	s.start(t, settings{
		env: with(nc.env(), "ANTEROOM_IDENTITY_JWT_SECRET", secret),
		yaml: fmt.Sprintf(`
identity:
  jwt:
    algorithm: HS256
    claims: {type: access}
    roles: {users: clinician}
    default_role: viewer
routes:
  - {path: /ws, upstream: %[1]q, jwt_in_query: true}
  - {path: /, upstream: %[1]q}
`, origin)})
	p := newPerson(t)
	g := p.signIn(s, s.URL+"/me", demo.DefaultUser, demo.DefaultPassword)
	var me map[string]string
	if err := json.Unmarshal([]byte(g.body), &me); err != nil || g.status != http.StatusOK {
		t.Fatalf("/me through Anteroom = %d %s, want 200", g.status, g.body)
	}
	if me["sub"] != "testdoc" || me["email"] != "testdoc@example.com" || me["role"] != "clinician" || me["type"] != "access" {
		t.Errorf("/me = %v, want testdoc with role clinician and type access", me)
	}
	t.Run("websocket", func(t *testing.T) { speak(t, s, p) })
	t.Run("without Anteroom's word", func(t *testing.T) { refuseForged(t, s, p, origin) })
	s.noSecrets(t, secret, demo.DefaultPassword, demo.DefaultClientSecret)
}

// speak opens the WebSocket with a token of its own, which must be replaced.
func speak(t *testing.T, s *site, p *person) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	c, resp, err := websocket.Dial(ctx, strings.Replace(s.URL, "http", "ws", 1)+"/ws?token=mine&token=again&lang=de", &websocket.DialOptions{
		HTTPClient: p.client, HTTPHeader: http.Header{"Origin": {s.URL}}})
	if err != nil {
		t.Fatalf("opening the WebSocket: %v (%v)", err, resp)
	}
	defer c.CloseNow()
	if _, b, err := c.Read(ctx); err != nil || !strings.Contains(string(b), `"testdoc"`) {
		t.Fatalf("the WebSocket says %s, %v, want connected with user testdoc", b, err)
	}
	c.Write(ctx, websocket.MessageText, []byte("hello"))
	if _, b, err := c.Read(ctx); err != nil || !strings.Contains(string(b), `"hello"`) {
		t.Fatalf("the WebSocket echoes %s, %v, want hello", b, err)
	}
	signedOut := make(chan error, 1)
	go func() { _, _, err := c.Read(ctx); signedOut <- err }()
	r := p.request(http.MethodPost, s.URL+"/auth/logout", nil)
	r.Header.Set("Origin", s.URL)
	p.do(r)
	select {
	case <-signedOut:
	case <-time.After(2 * time.Second):
		t.Error("the WebSocket is open 2 s after signing out, want it closed")
	}
	if g := p.signIn(s, s.URL+"/me", demo.DefaultUser, demo.DefaultPassword); g.status != http.StatusOK {
		t.Errorf("signing in again = %d, want 200", g.status)
	}
}

// refuseForged sends the application tokens straight, past Anteroom.
func refuseForged(t *testing.T, s *site, p *person, origin string) {
	r := p.request(http.MethodPost, s.URL+"/auth/token", nil)
	r.Header.Set("Origin", s.URL)
	var token struct {
		AccessToken string `json:"access_token"`
	}
	if g := p.do(r); json.Unmarshal([]byte(g.body), &token) != nil || token.AccessToken == "" {
		t.Fatalf("POST /auth/token = %d %s, want a token", g.status, g.body)
	}
	part := strings.Split(token.AccessToken, ".")
	for name, c := range map[string]struct {
		token string
		want  int
	}{
		"as given":      {token.AccessToken, http.StatusOK},
		"signature cut": {part[0] + "." + part[1] + ".", http.StatusUnauthorized},
		"other claims":  {part[0] + "." + "eyJzdWIiOiJhZG1pbiIsInR5cGUiOiJhY2Nlc3MifQ" + "." + part[2], http.StatusUnauthorized},
		"alg none":      {"eyJhbGciOiJub25lIn0." + part[1] + ".", http.StatusUnauthorized},
		"none":          {"", http.StatusUnauthorized},
	} {
		r, _ := http.NewRequest(http.MethodGet, origin+"/me", nil)
		if c.token != "" {
			r.Header.Set("Authorization", "Bearer "+c.token)
		}
		if g := newPerson(t).do(r); g.status != c.want {
			t.Errorf("%s: /me = %d %s, want %d", name, g.status, g.body, c.want)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		ws, _, err := websocket.Dial(ctx, strings.Replace(origin, "http", "ws", 1)+"/ws?token="+url.QueryEscape(c.token), nil)
		if err == nil {
			ws.CloseNow()
		}
		if (err == nil) != (c.want == http.StatusOK) {
			t.Errorf("%s: opening /ws: %v, want it open: %v", name, err, c.want == http.StatusOK)
		}
		cancel()
	}
}
