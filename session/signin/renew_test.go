package signin

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"anteroom/session"
)

// TestRenewWithoutRefreshToken asks userinfo for as long as the access token
// is good, and then lets the session be.
func TestRenewWithoutRefreshToken(t *testing.T) {
	for _, tt := range []struct {
		name   string
		expiry time.Duration // from now; 0: none named
		answer http.HandlerFunc
		asked  int64
		want   error
	}{
		{"good", time.Minute, says(map[string]any{"sub": "ada", "groups": []string{"new"}}), 1, nil},
		{"without expiry", 0, says(map[string]any{"sub": "ada", "groups": []string{"new"}}), 1, nil},
		{"revoked", time.Minute, fails(400, map[string]any{"error": "invalid_token"}), 1, session.ErrGrantDead},
		{"about somebody else", time.Minute, says(map[string]any{"sub": "eve"}), 1, session.ErrGrantDead},
		{"down", time.Minute, fails(502, nil), 1, errAnswer},
		{"expired", -time.Second, fails(400, map[string]any{"error": "invalid_token"}), 0, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHostile(t, nil)
			var asked atomic.Int64
			h.set("/userinfo", func(w http.ResponseWriter, r *http.Request) { asked.Add(1); tt.answer(w, r) })
			old := session.Grant{Identity: session.Identity{Subject: "ada", Groups: []string{"old"}, Method: session.ByOIDC}, Tokens: session.Tokens{Access: "access-1", ID: "id-1"}}
			if tt.expiry != 0 {
				old.Tokens.Expiry = time.Now().Add(tt.expiry)
			}
			next, err := found(t, relyingParty(t, h.URL, nil)).Renew(t.Context(), old)
			if !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
				t.Errorf("Renew(%s) = %v, want %v", tt.name, err, tt.want)
			}
			groups := []string{"old"}
			if tt.want == nil && tt.asked > 0 {
				groups = []string{"new"}
			}
			if next.Tokens != old.Tokens || !slices.Equal(next.Identity.Groups, groups) || asked.Load() != tt.asked || h.tokens.Load() != 0 {
				t.Errorf("Renew(%s) = %+v after %d questions, want groups %v, the same tokens, %d", tt.name, next, asked.Load(), groups, tt.asked)
			}
		})
	}
}

// TestRenewOfAnotherMethod: a session is never judged by a provider that did
// not begin it, such as the oidc app that was installed meanwhile.
func TestRenewOfAnotherMethod(t *testing.T) {
	h := newHostile(t, nil)
	h.set("/status.php", says(map[string]any{"installed": true}))
	h.set("/token", fails(400, map[string]any{"error": "invalid_grant"}))
	h.set("/index.php/apps/oauth2/api/v1/token", says(map[string]any{"access_token": "access-2", "refresh_token": "refresh-2", "token_type": "Bearer", "user_id": "ada"}))
	h.set("/ocs/v2.php/cloud/user", says(map[string]any{"ocs": map[string]any{"data": map[string]any{"id": "ada"}}}))
	grant := func(how session.Method) session.Grant {
		return session.Grant{Identity: session.Identity{Subject: "ada", Method: how}, Tokens: session.Tokens{Access: "access-1", Refresh: "refresh-1"}}
	}
	p := found(t, relyingParty(t, h.URL, nil))
	if next, err := p.Renew(t.Context(), grant(session.ByNextcloud)); err != nil || next.Tokens.Refresh != "refresh-2" || next.Identity.Method != session.ByNextcloud {
		t.Errorf("Renew(built-in grant, oidc found) = %+v, %v, want it renewed where it is from", next, err)
	}
	p = found(t, relyingParty(t, h.URL, func(c *Config, _ *Options) { c.Provider = kindNextcloud }))
	next, err := p.Renew(t.Context(), grant(session.ByOIDC))
	if kindOf(err) != Unavailable || errors.Is(err, session.ErrGrantDead) || next.Tokens.Refresh != "refresh-1" || h.tokens.Load() != 0 {
		t.Errorf("Renew(oidc grant, built-in found) = %+v, %v, want Unavailable, nobody asked", next, err)
	}
}

// TestSignOutOfAnotherMethod: nor are its tokens given back to one.
func TestSignOutOfAnotherMethod(t *testing.T) {
	h := newHostile(t, nil)
	var deleted atomic.Int64
	h.set("/status.php", says(map[string]any{"installed": true}))
	h.set("/ocs/v2.php/core/apppassword", func(http.ResponseWriter, *http.Request) { deleted.Add(1) })
	grant := func(how session.Method) session.Grant {
		return session.Grant{Identity: session.Identity{Subject: "ada", Method: how}, Tokens: session.Tokens{Access: "access-1", ID: "id-1"}}
	}
	p := found(t, relyingParty(t, h.URL, nil))
	if to := p.SignOut(t.Context(), grant(session.ByNextcloud), testSite); to != "" || deleted.Load() != 1 {
		t.Errorf("SignOut(built-in grant, oidc found) = %q with %d app passwords deleted, want nowhere and one", to, deleted.Load())
	}
	p = found(t, relyingParty(t, h.URL, func(c *Config, _ *Options) { c.Provider = kindNextcloud }))
	if p.SignOut(t.Context(), grant(session.ByOIDC), testSite); deleted.Load() != 1 {
		t.Error("SignOut(oidc grant, built-in found) gave Nextcloud a token that is none of its app passwords")
	}
}

// TestLogin: a grant is named as the provider names it, whatever claim names
// the person, and stays so when it is renewed.
func TestLogin(t *testing.T) {
	h := newHostile(t, nil)
	h.set("/userinfo", says(map[string]any{"sub": "ada", "uid": "ada.lovelace"}))
	p := found(t, relyingParty(t, h.URL, func(c *Config, _ *Options) { c.Claims.User = "uid" }))
	b := newBrowser(p)
	q, err := b.start("/")
	if err != nil {
		t.Fatal(err)
	}
	c := h.claims(q.Get("nonce"))
	c["sid"] = "s1"
	h.gives(signed(t, c))
	res, err := b.finish(url.Values{"state": q["state"], "code": {"c"}})
	want := session.Login{Issuer: h.URL, Subject: "ada", Session: "s1"}
	if err != nil || res.Grant.Login != want || res.Grant.Identity.Subject != "ada.lovelace" {
		t.Fatalf("Finish = %+v as %q, %v, want %+v", res.Grant.Login, res.Grant.Identity.Subject, err, want)
	}
	for _, idToken := range []string{"", signed(t, h.claims(""))} {
		h.gives(idToken)
		if next, err := p.Renew(t.Context(), res.Grant); err != nil || next.Login != want {
			t.Errorf("Renew = %+v, %v, want %+v", next.Login, err, want)
		}
	}
	c = h.claims("")
	c["sub"] = "eve"
	h.gives(signed(t, c))
	if next, err := p.Renew(t.Context(), res.Grant); !errors.Is(err, session.ErrGrantDead) || next.Login != want {
		t.Errorf("Renew(somebody else's id_token) = %+v, %v, want ErrGrantDead", next.Login, err)
	}
}
