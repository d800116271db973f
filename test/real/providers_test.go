//go:build real

package realtest

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"testing"
	"time"
)

// someone is a person as a provider knows them.
type someone struct {
	login, password               string
	subject, username, mail, name string
	groups                        []string
}

func TestPanva(t *testing.T) {
	alice := someone{"alice", "alice-secret", "alice", "alice", "alice@clinic.example", "Alice Arzt", []string{"doctors", "staff"}}
	for _, alg := range []string{"RS256", "ES256", "EdDSA"} {
		t.Run(alg, func(t *testing.T) {
			s := newSite(t)
			throughProvider(t, s, startPanva(t, s, alg, 4*time.Second), alice)
		})
	}
}

// TestSignOutAtProvider: who signs out at the provider is signed out here, by
// its back-channel, and nobody else is.
func TestSignOutAtProvider(t *testing.T) {
	for _, alg := range []string{"RS256", "ES256"} {
		t.Run(alg, func(t *testing.T) {
			s, app := newSite(t), newApplication(t)
			issuer := startPanva(t, s, alg, time.Minute)
			s.start(t, settings{env: providerEnv(issuer, app.URL)})
			here, elsewhere := newPerson(t), newPerson(t)
			for _, p := range []*person{here, elsewhere} {
				shown(t, p.signIn(s, s.URL+"/", "alice", "alice-secret"))
			}
			ask := here.visit(issuer + "/session/end")
			if len(ask.forms) == 0 {
				t.Fatalf("the provider's sign-out = %d without a form:\n%.600s", ask.status, ask.body)
			}
			here.submit(ask, ask.forms[0], url.Values{"logout": {"yes"}})
			until(t, s.process, "the session here is over", 3*time.Second, here.gone(s))
			if g := elsewhere.visit(s.URL + "/auth/me"); g.status != http.StatusOK {
				t.Errorf("another browser's session of the same person = %d, want it to go on", g.status)
			}
			until(t, s.process, "an audit line", time.Second, s.wrote(1, map[string]string{"event": "session_ended", "reason": "at_provider", "sub": "alice"}))
		})
	}
}

func TestZitadel(t *testing.T) {
	s := newSite(t)
	throughProvider(t, s, startZitadel(t, s, 4*time.Second), someone{
		"test-user@localhost", "verysecure", "id1", "test-user@localhost", "test-user@zitadel.ch", "Test User", nil})
}

// throughProvider goes the whole way with a provider whose access tokens live
// for seconds: in, identity, renewal, out.
func throughProvider(t *testing.T, s *site, issuer string, who someone) {
	app := newApplication(t)
	s.start(t, settings{env: providerEnv(issuer, app.URL)})
	p := newPerson(t)

	if g := newPerson(t).signIn(s, s.URL+"/", who.login, who.password); g.status != http.StatusOK {
		t.Fatalf("first sign-in ended with %d at %s:\n%.600s", g.status, g.url, g.body)
	}
	const deep = "/notes/1%2F2?q=a%20b&r=%2F"
	got := shown(t, p.signIn(s, s.URL+deep, who.login, who.password))
	if got.URI != deep {
		t.Errorf("after sign-in the application was asked for %s, want %s", got.URI, deep)
	}
	checkIdentity(t, s, got, app.URL, who)
	checkMe(t, p, s, who)

	before, _ := s.count(renewedOK)
	until(t, s.process, "waiting for a renewal", 15*time.Second, func() error {
		p.visit(s.URL + "/")
		return s.counted(renewedOK, before+1)()
	})
	checkIdentity(t, s, shown(t, p.visit(s.URL+"/after")), app.URL, who)

	signOut(t, p, s, len(app.reached()), app)
	s.noSecrets(t, clientSecret, who.password)
}

// checkIdentity compares headers and JWT with what the provider knows.
func checkIdentity(t *testing.T, s *site, got received, audience string, who someone) {
	t.Helper()
	id := verify(t, s, got, audience)
	for header, want := range map[string]string{
		"X-Forwarded-User": who.subject, "X-Forwarded-Preferred-Username": who.username,
		"X-Forwarded-Email": who.mail, "X-Forwarded-Name": who.name,
	} {
		if v := got.Headers.Values(header); len(v) != 1 || v[0] != want {
			t.Errorf("the application got %s %q, want %q once", header, v, want)
		}
	}
	if id.Subject != who.subject || id.Username != who.username || id.Email != who.mail || id.Name != who.name {
		t.Errorf("the JWT is about %+v, want %+v", id, who)
	}
	groups := slices.Sorted(slices.Values(id.Groups))
	if !slices.Equal(groups, who.groups) {
		t.Errorf("the JWT has groups %q, want %q", groups, who.groups)
	}
	if c := got.Headers.Get("Cookie"); c != "" {
		t.Errorf("the application got Cookie %q, want none of ours", c)
	}
	if id := got.Headers.Get("X-Request-Id"); id == "" {
		t.Error("the application got no X-Request-Id, want one")
	}
}

// checkMe asks /auth/me and /auth/token as a program with the person's cookie.
func checkMe(t *testing.T, p *person, s *site, who someone) {
	t.Helper()
	var me struct {
		Sub, Email string
		Groups     []string
	}
	if g := p.visit(s.URL + "/auth/me"); g.status != http.StatusOK || json.Unmarshal([]byte(g.body), &me) != nil || me.Sub != who.subject || me.Email != who.mail {
		t.Errorf("/auth/me = %d %s, want %s", g.status, g.body, who.subject)
	}
	r, _ := http.NewRequest(http.MethodPost, s.URL+"/auth/token", nil)
	r.Header.Set("Origin", s.URL)
	g := p.do(r)
	var token struct {
		AccessToken string `json:"access_token"`
		TokenType   string `json:"token_type"`
		ExpiresIn   int    `json:"expires_in"`
	}
	if err := json.Unmarshal([]byte(g.body), &token); err != nil || g.status != http.StatusOK || token.TokenType != "Bearer" || token.ExpiresIn < 290 || token.ExpiresIn > 300 || token.AccessToken == "" {
		t.Errorf("POST /auth/token = %d, %v, type %q, expires_in %d, want 200, Bearer, nearly 300", g.status, err, token.TokenType, token.ExpiresIn)
	}
}

// signOut signs out, at the provider too, and shows that nothing is left.
func signOut(t *testing.T, p *person, s *site, reached int, app *application) {
	t.Helper()
	old := p.cookie(s.URL, "anteroom")
	if old == "" {
		t.Fatal("a signed-in person has no cookie anteroom")
	}
	ask := p.visit(s.URL + "/auth/logout")
	if ask.status != http.StatusOK || len(ask.forms) == 0 || ask.forms[0].method != http.MethodPost {
		t.Fatalf("GET /auth/logout = %d with %d forms, want 200 and one that posts", ask.status, len(ask.forms))
	}
	g := p.submit(ask, ask.forms[0], nil)
	for range 3 { // the provider may ask as well
		if g.url.Scheme+"://"+g.url.Host == s.URL || len(g.forms) == 0 {
			break
		}
		g = p.submit(g, g.forms[0], url.Values{"logout": {"yes"}})
	}
	if g.url.Scheme+"://"+g.url.Host != s.URL || g.status != http.StatusOK {
		t.Errorf("signing out ended at %s (%d), want a page of %s", g.url, g.status, s.URL)
	}
	for _, cookie := range []string{p.cookie(s.URL, "anteroom"), old} {
		r, _ := http.NewRequest(http.MethodGet, s.URL+"/auth/me", nil)
		r.AddCookie(&http.Cookie{Name: "anteroom", Value: cookie})
		if g := newPerson(t).do(r); g.status != http.StatusUnauthorized {
			t.Errorf("/auth/me with a cookie of before signing out = %d, want 401", g.status)
		}
	}
	if n := len(app.reached()); n != reached {
		t.Errorf("%d requests reached the application while signing out, want none", n-reached)
	}
	until(t, s.process, "an audit line", 3*time.Second, s.wrote(1, map[string]string{"event": "sign_out"}))
}
