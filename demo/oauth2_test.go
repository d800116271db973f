package demo

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestOAuthTokenErrors(t *testing.T) {
	s := serve(t, Options{})
	code := s.browser().oauthCode(DefaultUser, DefaultPassword)
	tests := []struct{ name, kind, code, client, secret, want string }{
		{"unsupported grant type", "client_credentials", code, DefaultClientID, DefaultClientSecret, "invalid_grant"},
		{"password grant", "password", code, DefaultClientID, DefaultClientSecret, "invalid_grant"},
		{"no grant type", "", code, DefaultClientID, DefaultClientSecret, "invalid_grant"},
		{"unknown code", "authorization_code", "zzz", DefaultClientID, DefaultClientSecret, "invalid_request"},
		{"no code", "authorization_code", "", DefaultClientID, DefaultClientSecret, "invalid_request"},
		{"wrong secret", "authorization_code", code, DefaultClientID, "bad", "invalid_client"},
		{"no secret", "authorization_code", code, DefaultClientID, "", "invalid_client"},
		{"unknown client", "authorization_code", code, "x", DefaultClientSecret, "invalid_client"},
		{"another client", "authorization_code", code, hsClient, DefaultClientSecret, "invalid_client"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			wantError(t, s.browser().post(tokenURL, values("grant_type", tt.kind, "code", tt.code, "client_id", tt.client, "client_secret", tt.secret)), 400, tt.want)
		})
	}
	wantStatus(t, s.browser().get(tokenURL), http.StatusMethodNotAllowed)
	if first := s.exchange(tokenURL, code).tokens(t); first.User != DefaultUser || first.Expires != 3600 {
		t.Errorf("exchange after refusals = %+v, want testdoc and 3600 s", first)
	}
	wantError(t, s.exchange(tokenURL, code), 400, "invalid_request")
}

func TestOAuthRefresh(t *testing.T) {
	s := serve(t, Options{})
	first := s.oauthTokens()
	second := s.refresh(tokenURL, first.Refresh).tokens(t)
	user := func(token string) int {
		return s.browser().do("GET", userURL, "", "Authorization", "Bearer "+token).StatusCode
	}
	if got := user(first.Access); got != 401 {
		t.Errorf("cloud/user with the old access token = %d, want 401", got)
	}
	wantError(t, s.refresh(tokenURL, first.Refresh), 400, "invalid_request")
	if got := user(second.Access); got != 200 {
		t.Errorf("cloud/user after a reused refresh token = %d, want 200", got)
	}
	s.clock.Add(30 * 24 * time.Hour)
	third := s.refresh(tokenURL, second.Refresh).tokens(t)  // refresh tokens do not expire
	fourth := s.exchange(tokenURL, third.Refresh).tokens(t) // and serve as codes
	if n := s.Calls(Refresh); n != 3 {
		t.Errorf("Calls(Refresh) = %d, want 3", n)
	}
	s.Disable(DefaultUser, true)
	fifth := s.refresh(tokenURL, fourth.Refresh).tokens(t) // tells nothing about the account
	if got := user(fifth.Access); got != 401 {
		t.Errorf("cloud/user of a disabled user = %d, want 401", got)
	}
	s.Disable(DefaultUser, false)
	s.RevokeAll(DefaultUser)
	wantError(t, s.refresh(tokenURL, fifth.Refresh), 400, "invalid_request")
	if got := user(fifth.Access); got != 401 {
		t.Errorf("cloud/user after RevokeAll = %d, want 401", got)
	}
}

func TestOAuthTokenByJSONAndBasic(t *testing.T) {
	s := serve(t, Options{})
	first := s.oauthTokens()
	body, _ := json.Marshal(map[string]string{"grant_type": "refresh_token", "refresh_token": first.Refresh,
		"client_id": DefaultClientID, "client_secret": DefaultClientSecret})
	second := s.browser().do("POST", tokenURL, string(body), "Content-Type", "application/json").tokens(t)
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte(DefaultClientID+":"+DefaultClientSecret))
	s.browser().post(tokenURL, values("grant_type", "refresh_token", "refresh_token", second.Refresh), "Authorization", basic).tokens(t)
	if n := s.FailedLogins(); n != 0 {
		t.Errorf("FailedLogins after Basic at the OAuth2 token endpoint = %d, want 0", n)
	}
}

// Two refreshes that read the same row: in Nextcloud 24 both are answered and
// the first holds dead tokens, in a recent one the second is refused.
func TestParallelRefresh(t *testing.T) {
	for _, modern := range []bool{false, true} {
		g := newGrants()
		row := g.add(grant{uid: DefaultUser, key: "old"})
		a, b := row, row
		a.key, a.access = "key a", "access a"
		b.key, b.access = "key b", "access b"
		first, second := g.replace(a, modern, "old"), g.replace(b, modern, "old")
		_, alive := g.byAccess("access a")
		if !first || second == modern || alive != modern {
			t.Errorf("modern %v: replace = %v, %v, first token alive = %v; want true, %v, %v", modern, first, second, alive, !modern, modern)
		}
	}
}

func TestOAuthAuthorizeErrors(t *testing.T) {
	s := serve(t, Options{})
	b := s.browser()
	a := b.get("/index.php/apps/oauth2/authorize?response_type=code&client_id=nobody&state=x")
	if a.StatusCode != 200 || a.location() != "" || !strings.HasPrefix(a.Header.Get("Content-Type"), "text/html") {
		t.Errorf("unknown client = %s to %q, want a page", a.Status, a.location())
	}
	a = b.get("/index.php/apps/oauth2/authorize?response_type=token&client_id=" + DefaultClientID + "&state=a%26b")
	if want := callback + "?error=unsupported_response_type&state=a&b"; a.location() != want {
		t.Errorf("response_type token leads to %q, want %q", a.location(), want)
	}
	a = b.get("/index.php/login/flow/grant?clientIdentifier=" + DefaultClientID + "&stateToken=guessed")
	a = b.get(b.login(b.get(a.location()), DefaultUser, DefaultPassword).location())
	wantStatus(t, a, http.StatusForbidden)
	wantStatus(t, b.post("/index.php/login/flow", values("clientIdentifier", DefaultClientID, "stateToken", "guessed")), http.StatusPreconditionFailed)
}

func TestOAuthModern(t *testing.T) {
	s := serve(t, Options{Modern: true})
	const verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
	pkce := []string{"code_challenge", challengeOf(verifier), "code_challenge_method", "S256"}
	code := s.browser().oauthCode(DefaultUser, DefaultPassword, pkce...)
	wantError(t, s.exchange(tokenURL, code), 400, "invalid_request")
	wantError(t, s.exchange(tokenURL, code, "code_verifier", "wrong"), 400, "invalid_grant")
	first := s.exchange(tokenURL, code, "code_verifier", verifier).tokens(t)
	wantError(t, s.exchange(tokenURL, first.Refresh), 400, "invalid_request")
	s.refresh(tokenURL, first.Refresh).tokens(t)
	late := s.browser().oauthCode(DefaultUser, DefaultPassword)
	s.clock.Add(codeLife)
	wantError(t, s.exchange(tokenURL, late), 400, "invalid_request")
	a := s.browser().get("/index.php/apps/oauth2/authorize?response_type=code&code_challenge=x&code_challenge_method=plain&client_id=" + DefaultClientID)
	if got := queryOf(t, a.location()).Get("error"); got != "invalid_request" {
		t.Errorf("plain PKCE = %q, want invalid_request", got)
	}
}

func TestAddRedirectURI(t *testing.T) {
	s := serve(t, Options{})
	s.AddRedirectURI(DefaultClientID, "http://127.0.0.1:9/auth/callback")
	b := s.browser()
	a := b.get(b.get("/index.php/apps/oauth2/authorize?response_type=code&client_id=" + DefaultClientID).location())
	if p := a.Header.Get("Content-Security-Policy"); !strings.HasSuffix(p, "form-action 'self' http://127.0.0.1:9/auth/callback") {
		t.Errorf("policy of the picker = %q, want the added redirect URI", p)
	}
}

func TestOAuthStrict(t *testing.T) {
	s := serve(t, Options{Strict: true})
	first := s.exchange(tokenURL, s.browser().oauthCode(DefaultUser, DefaultPassword)).tokens(t)
	second := s.refresh(tokenURL, first.Refresh).tokens(t)
	wantError(t, s.refresh(tokenURL, first.Refresh), 400, "invalid_request")
	wantError(t, s.refresh(tokenURL, second.Refresh), 400, "invalid_request") // the grant is no more
	if n := s.Reuses(); n != 1 {
		t.Errorf("Reuses = %d, want 1", n)
	}
}
