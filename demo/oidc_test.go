package demo

import (
	"context"
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// The library that relying parties use takes our discovery, keys and tokens.
func TestOIDCWithLibrary(t *testing.T) {
	for _, version := range []OIDCVersion{OIDC06, OIDC20} {
		s := serve(t, Options{OIDC: version, Now: time.Now})
		ctx := context.Background()
		p, err := oidc.NewProvider(ctx, s.url) // by way of the 301
		if err != nil {
			t.Fatal(err)
		}
		endpoint := p.Endpoint()
		endpoint.AuthStyle = oauth2.AuthStyleInParams
		c := oauth2.Config{ClientID: DefaultClientID, ClientSecret: DefaultClientSecret, Endpoint: endpoint, RedirectURL: callback}
		verifier := oauth2.GenerateVerifier()
		code := s.browser().oidcCode(DefaultUser, DefaultPassword, "nonce", "n1", "code_challenge", challengeOf(verifier), "code_challenge_method", "S256")
		token, err := c.Exchange(ctx, code, oauth2.VerifierOption(verifier))
		if err != nil {
			t.Fatal(err)
		}
		raw, _ := token.Extra("id_token").(string)
		id, err := p.Verifier(&oidc.Config{ClientID: DefaultClientID}).Verify(ctx, raw)
		if err != nil {
			t.Fatal(err)
		}
		if id.Subject != DefaultUser || id.Nonce != "n1" || id.Issuer != s.url {
			t.Errorf("id_token = %s %s %s, want testdoc n1 %s", id.Subject, id.Nonce, id.Issuer, s.url)
		}
		info, err := p.UserInfo(ctx, oauth2.StaticTokenSource(token))
		if err != nil {
			t.Fatal(err)
		}
		if info.Email != "testdoc@example.com" || !info.EmailVerified {
			t.Errorf("userinfo mail = %q, verified %v, want testdoc@example.com, true", info.Email, info.EmailVerified)
		}
		if s.Calls(Discovery) != 2 || s.Calls(JWKS) != 1 || s.Calls(Userinfo) != 1 || s.Calls(Token) != 1 {
			t.Errorf("calls = discovery %d, jwks %d, userinfo %d, token %d; want 2 1 1 1", s.Calls(Discovery), s.Calls(JWKS), s.Calls(Userinfo), s.Calls(Token))
		}
	}
}

func TestOIDC20(t *testing.T) {
	s := serve(t, Options{OIDC: OIDC20})
	plain := s.oidcTokens()
	if plain.Refresh != "" {
		t.Error("refresh token without offline_access = present, want absent")
	}
	for _, claim := range []string{`"groups"`, `"roles"`, `"email"`, `"name"`, `"preferred_username"`} {
		if payload, _ := base64.RawURLEncoding.DecodeString(strings.Split(plain.ID, ".")[1]); strings.Contains(string(payload), claim) {
			t.Errorf("id_token has %s, want it at userinfo only", claim)
		}
	}
	info := s.browser().get("/index.php/apps/oidc/userinfo", "Authorization", "Bearer "+plain.Access).json(t)
	if g, _ := info["groups"].([]any); len(g) != 1 || g[0] != "users" || info["preferred_username"] != DefaultUser {
		t.Errorf("userinfo = %v, want groups [users] and the user name", info)
	}
	kept := s.oidcTokens("scope", "openid offline_access")
	next := s.refresh(oidcURL, kept.Refresh).tokens(t)
	wantError(t, s.refresh(oidcURL, kept.Refresh), 400, "invalid_grant")
	s.clock.Add(901 * time.Second)
	wantError(t, s.refresh(oidcURL, next.Refresh), 400, "invalid_grant")
}

func TestOIDC20CodeReuseRevokes(t *testing.T) {
	s := serve(t, Options{OIDC: OIDC20})
	code := s.browser().oidcCode(DefaultUser, DefaultPassword)
	got := s.exchange(oidcURL, code).tokens(t)
	wantError(t, s.exchange(oidcURL, code), 400, "invalid_grant")
	wantStatus(t, s.browser().get("/index.php/apps/oidc/userinfo", "Authorization", "Bearer "+got.Access), 400)
	wantError(t, s.exchange(oidcURL, ""), 400, "invalid_request")
}

func TestOIDC20PKCE(t *testing.T) {
	s := serve(t, Options{OIDC: OIDC20})
	for _, verifier := range []string{"", "wrong"} {
		code := s.browser().oidcCode(DefaultUser, DefaultPassword, "code_challenge", challengeOf("right"), "code_challenge_method", "S256")
		wantError(t, s.exchange(oidcURL, code, "code_verifier", verifier), 400, "invalid_grant")
		wantError(t, s.exchange(oidcURL, code, "code_verifier", "right"), 400, "invalid_grant") // the row is gone
	}
	code := s.browser().oidcCode(DefaultUser, DefaultPassword, "code_challenge", "right")
	s.exchange(oidcURL, code, "code_verifier", "right").tokens(t)
}

func TestOIDC20Prompt(t *testing.T) {
	s := serve(t, Options{OIDC: OIDC20})
	b := s.browser()
	authorize := func(pairs ...string) answer {
		return b.get("/index.php/apps/oidc/authorize?" + values(append([]string{"response_type", "code", "client_id", DefaultClientID,
			"redirect_uri", callback, "scope", "openid", "state", "x"}, pairs...)...).Encode())
	}
	if got := queryOf(t, authorize("prompt", "none").location()).Get("error"); got != "login_required" {
		t.Errorf("prompt=none of nobody = %q, want login_required", got)
	}
	first := b.oidcCode(DefaultUser, DefaultPassword)
	if first == "" || queryOf(t, authorize("prompt", "none").location()).Get("code") == "" {
		t.Error("prompt=none of a signed-in person = no code, want one")
	}
	s.clock.Add(time.Minute)
	for _, pair := range [][]string{{"prompt", "login"}, {"max_age", "10"}} {
		if code := b.oidcCode(DefaultUser, DefaultPassword, pair...); code == "" {
			t.Errorf("%v with a new login = no code, want one", pair)
		}
		s.clock.Add(time.Minute)
	}
	if n := s.Calls(Login); n != 6 {
		t.Errorf("Calls(Login) = %d, want 6: the form and its post, three times", n)
	}
}

func TestOIDC20Basic(t *testing.T) {
	s := serve(t, Options{OIDC: OIDC20})
	code := s.browser().oidcCode(DefaultUser, DefaultPassword)
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte(DefaultClientID+":"+DefaultClientSecret))
	got := s.browser().post(oidcURL, values("grant_type", "authorization_code", "code", code), "Authorization", basic).tokens(t)
	a := s.browser().post("/index.php/apps/oidc/introspect", values("token", got.Access), "Authorization", basic)
	if v := a.json(t); v["active"] != true || v["sub"] != DefaultUser {
		t.Errorf("introspection = %v, want active and testdoc", v)
	}
}

func TestOIDC20Logout(t *testing.T) {
	s := serve(t, Options{OIDC: OIDC20})
	got := s.oidcTokens()
	end := func(pairs ...string) answer {
		return s.browser().get("/index.php/apps/oidc/logout?" + values(pairs...).Encode())
	}
	wantStatus(t, end("post_logout_redirect_uri", "http://localhost:8000/"), 400)
	if a := end("id_token_hint", got.ID, "post_logout_redirect_uri", "http://localhost:8000/", "state", "a b"); a.location() != "http://localhost:8000/?state=a+b" {
		t.Errorf("end_session leads to %q, want the exact address with state", a.location())
	}
	if a := end("id_token_hint", got.ID, "post_logout_redirect_uri", "http://localhost:8000/bye"); strings.Contains(a.location(), "8000") {
		t.Errorf("end_session leads to %q, want our own page", a.location())
	}
}

// Basic at the token endpoint of 0.6 is a failed login of a user of that name.
func TestOIDC06BasicIsCounted(t *testing.T) {
	s := serve(t, Options{})
	a := s.browser().do("POST", oidcURL, "grant_type=authorization_code&code=x", "Content-Type", "application/x-www-form-urlencoded",
		"Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(DefaultClientID+":"+DefaultClientSecret)))
	if a.StatusCode != 401 || a.json(t)["message"] != "" || s.FailedLogins() != 1 {
		t.Errorf("Basic = %s %s, FailedLogins %d; want 401, an empty message, 1", a.Status, a.body, s.FailedLogins())
	}
}

// A request that leaves something out gets what an earlier one sent.
func TestOIDCFillsGaps(t *testing.T) {
	s := serve(t, Options{})
	b := s.browser()
	b.oidcCode(DefaultUser, DefaultPassword, "nonce", "first", "state", "early")
	a := b.get("/index.php/apps/oidc/authorize?response_type=code&client_id=" + DefaultClientID)
	q := queryOf(t, a.location())
	payload, _ := base64.RawURLEncoding.DecodeString(strings.Split(s.exchange(oidcURL, q.Get("code")).tokens(t).ID, ".")[1])
	if q.Get("state") != "early" || !strings.Contains(string(payload), `"nonce":"first"`) {
		t.Errorf("state = %q, id_token %s; want the earlier request's state and nonce", q.Get("state"), payload)
	}
}

func TestOIDC06Lifetimes(t *testing.T) {
	s := serve(t, Options{})
	got := s.oidcTokens()
	info := func() answer {
		return s.browser().get("/index.php/apps/oidc/userinfo", "Authorization", "Bearer "+got.Access)
	}
	s.clock.Add(1799 * time.Second)
	wantStatus(t, info(), 200) // though expires_in said 900
	s.clock.Add(time.Second)
	wantStatus(t, info(), 400)
	wantError(t, s.refresh(oidcURL, got.Refresh), 400, "invalid_request") // went with it
	idle := s.oidcTokens()
	s.clock.Add(1800 * time.Second)
	wantError(t, s.refresh(oidcURL, idle.Refresh), 400, "invalid_grant")
	code := s.browser().oidcCode(DefaultUser, DefaultPassword)
	s.clock.Add(900 * time.Second)
	wantError(t, s.exchange(oidcURL, code), 400, "invalid_grant")
	wantError(t, s.browser().post(oidcURL, values("grant_type", "password")), 400, "invalid_grant")
}

func TestOIDC06DisabledUser(t *testing.T) {
	s := serve(t, Options{})
	got := s.oidcTokens()
	s.Disable(DefaultUser, true)
	next := s.refresh(oidcURL, got.Refresh).tokens(t)
	wantStatus(t, s.browser().get("/index.php/apps/oidc/userinfo", "Authorization", "Bearer "+next.Access), 200)
}

func TestSetGroups(t *testing.T) {
	s := serve(t, Options{})
	got := s.oidcTokens()
	s.SetGroups(DefaultUser, []string{"users", "ward-7"})
	info := s.browser().get("/index.php/apps/oidc/userinfo", "Authorization", "Bearer "+got.Access).json(t)
	if g, _ := info["roles"].([]any); len(g) != 2 || g[1] != "ward-7" {
		t.Errorf("roles = %v, want users and ward-7", info["roles"])
	}
}

func TestRotateKeys(t *testing.T) {
	s := serve(t, Options{})
	keys := func() string { return s.browser().get("/index.php/apps/oidc/jwks").body }
	before := keys()
	if again := keys(); again != before {
		t.Error("key set without RotateKeys = changed, want the same")
	}
	got := s.oidcTokens()
	s.RotateKeys()
	if keys() == before {
		t.Error("key set after RotateKeys = the same, want another")
	}
	a := s.browser().get("/index.php/apps/oidc/logout?id_token_hint=" + url.QueryEscape(got.ID))
	wantStatus(t, a, 500) // signed by a key that is gone
}

func TestDiscoveryPlaces(t *testing.T) {
	s := serve(t, Options{})
	b := s.browser()
	a := b.get(wellKnown)
	if a.StatusCode != 301 || a.location() != "/index.php"+wellKnown {
		t.Errorf("outer discovery = %s to %q, want 301 to the inner one", a.Status, a.location())
	}
	one, two := b.get("/index.php"+wellKnown).body, b.get("/index.php/apps/oidc/openid-configuration").body
	if one != two {
		t.Error("the two discovery documents differ, want one")
	}
	other := b.get("/index.php"+wellKnown, "X-Forwarded-Host", "evil.example").json(t)
	if other["issuer"] != s.url {
		t.Errorf("issuer = %v, want %s", other["issuer"], s.url)
	}
	none := serve(t, Options{OIDC: NoOIDC}).browser()
	wantStatus(t, none.get("/index.php"+wellKnown), 404)
	wantStatus(t, none.get("/index.php/apps/oidc/openid-configuration"), 404)
}

func TestIssuerFollowsHost(t *testing.T) {
	s := serve(t, Options{})
	req, _ := http.NewRequest("GET", s.url+"/index.php"+wellKnown, nil)
	req.Host = "cloud.example:8080"
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	buf := make([]byte, 200)
	n, _ := res.Body.Read(buf)
	if !strings.Contains(string(buf[:n]), `"issuer":"http://cloud.example:8080"`) {
		t.Errorf("discovery by another host = %s…, want that host as issuer", buf[:n])
	}
	fixed := serve(t, Options{BaseURL: "https://cloud.example"}).browser().get("/index.php" + wellKnown).json(t)
	if fixed["issuer"] != "https://cloud.example" {
		t.Errorf("issuer with BaseURL = %v, want https://cloud.example", fixed["issuer"])
	}
}
