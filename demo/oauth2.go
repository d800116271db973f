package demo

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"mime"
	"net/http"
	"net/url"
	"time"
)

const oauthTTL = 3600 * time.Second

// parameters reads a token request: a form, or for the built-in OAuth2 a JSON
// object of strings. Client credentials may come by Basic.
func parameters(r *http.Request) url.Values {
	p := make(url.Values)
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind == "application/json" {
		var body map[string]string
		if json.NewDecoder(r.Body).Decode(&body) == nil {
			for k, v := range body {
				p.Set(k, v)
			}
		}
	} else if r.ParseForm() == nil {
		p = r.PostForm
	}
	if id, secret, ok := basic(r.Header.Get("Authorization")); ok {
		p.Set("client_id", unescaped(id))
		p.Set("client_secret", unescaped(secret))
	}
	return p
}

// unescaped undoes the form encoding of RFC 6749, section 2.3.1.
func unescaped(s string) string {
	if u, err := url.QueryUnescape(s); err == nil {
		return u
	}
	return s
}

// oauthToken is the built-in OAuth2's token endpoint. Every error is a 400,
// also a wrong client, and a dead refresh token is an invalid_request.
func (n *Nextcloud) oauthToken(w http.ResponseWriter, r *http.Request) {
	n.open(w, r)
	if r.Method != http.MethodPost {
		htmlHeaders(w)
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	p := parameters(r)
	kind := p.Get("grant_type")
	if kind != "authorization_code" && kind != "refresh_token" {
		oauthError(w, "invalid_grant")
		return
	}
	key := p.Get("code")
	if kind == "refresh_token" {
		key = p.Get("refresh_token")
		n.knobs.count(Refresh)
	}
	g, ok := n.oauth2.byKey(key)
	if n.o.Strict && kind == "refresh_token" && !n.oauth2.spend(key, g.row) {
		ok = false
	}
	if !ok || n.o.Modern && (g.redeemed != (kind == "refresh_token") || expired(g.keyUntil, n.o.Now())) {
		oauthError(w, "invalid_request")
		return
	}
	c, ok := n.clients.get(p.Get("client_id"))
	if !ok || c.ID != g.client || !equal(c.Secret, p.Get("client_secret")) {
		oauthError(w, "invalid_client")
		return
	}
	if bad := verifierFault(g, p.Get("code_verifier")); bad != "" {
		oauthError(w, bad)
		return
	}
	if n.tokenLatency(r, kind) {
		n.oauthRotate(w, g, key)
	}
}

// tokenLatency waits between reading a grant and writing it.
func (n *Nextcloud) tokenLatency(r *http.Request, kind string) bool {
	ctx := r.Context()
	if n.o.Strict {
		ctx = context.WithoutCancel(ctx)
	}
	ok := n.knobs.wait(ctx, Token)
	if kind == "refresh_token" {
		ok = ok && n.knobs.wait(ctx, Refresh)
	}
	return ok
}

// oauthRotate gives out new tokens. The old access token dies at once.
func (n *Nextcloud) oauthRotate(w http.ResponseWriter, g grant, key string) {
	ttl := n.accessTTL(oauthTTL)
	g.key, g.access, g.redeemed = alnum(128), alnum(72), true
	g.keyUntil, g.accessUntil = time.Time{}, n.o.Now().Add(ttl)
	if !n.oauth2.replace(g, n.o.Modern, key) {
		oauthError(w, "invalid_request")
		return
	}
	writeJSON(w, http.StatusOK, object{
		{"access_token", g.access}, {"token_type", "Bearer"}, {"expires_in", int64(ttl / time.Second)},
		{"refresh_token", g.key}, {"user_id", g.uid},
	})
}

func oauthError(w http.ResponseWriter, code string) {
	writeJSON(w, http.StatusBadRequest, object{{"error", code}})
}

// verifierFault checks PKCE (RFC 7636, section 4.6) where the grant has a
// challenge and is not redeemed yet. It returns an error code, "" for none.
func verifierFault(g grant, verifier string) string {
	if g.challenge == "" || g.redeemed {
		return ""
	}
	if verifier == "" {
		return "invalid_request"
	}
	got := verifier
	if g.method == "S256" {
		sum := sha256.Sum256([]byte(verifier))
		got = base64.RawURLEncoding.EncodeToString(sum[:])
	}
	if !equal(got, g.challenge) {
		return "invalid_grant"
	}
	return ""
}
