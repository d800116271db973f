package demo

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// What the oidc app says.
const (
	noSuchKey = "Could not find access token for code or refresh_token."
	badClient = "Client authentication failed."
)

func oidcError(w http.ResponseWriter, code, text string) {
	writeJSON(w, http.StatusBadRequest, object{{"error", code}, {"error_description", text}})
}

// oidcToken is the oidc app's token endpoint. All its errors are 400.
func (n *Nextcloud) oidcToken(w http.ResponseWriter, r *http.Request) {
	if n.basicRefused(w, r) {
		return
	}
	n.open(w, r)
	p := parameters(r)
	kind, key := p.Get("grant_type"), p.Get("code")
	switch kind {
	case "refresh_token":
		key = p.Get("refresh_token")
		n.knobs.count(Refresh)
	case "authorization_code":
		if key == "" && n.o.OIDC == OIDC20 {
			oidcError(w, "invalid_request", "Missing code.")
			return
		}
	default:
		oidcError(w, "invalid_grant", "Invalid grant_type provided. Must be authorization_code or refresh_token.")
		return
	}
	g, ok := n.redeemable(w, p, kind, key)
	if ok && n.tokenLatency(r, kind) {
		n.oidcRotate(w, r, g, key)
	}
}

// basicRefused is what becomes of client_secret_basic with 0.6: Nextcloud's
// core takes it for a person's login before the app runs, fails, and books a
// failed login on the caller's address.
func (n *Nextcloud) basicRefused(w http.ResponseWriter, r *http.Request) bool {
	user, password, ok := basic(authorization(r))
	if !ok || n.o.OIDC == OIDC20 {
		return false
	}
	if _, ok := n.users.check(user, password); ok {
		return false
	}
	n.open(w, r)
	n.knobs.failedLogin()
	if wantsHTML(r) {
		n.pages.show(w, http.StatusUnauthorized, "error", view{Title: "Unauthorised", Message: "Wrong username or password."})
	} else {
		message(w, http.StatusUnauthorized, "")
	}
	return true
}

// redeemable finds the grant of a code or refresh token, and checks the client
// and PKCE. It answers by itself where the answer is no.
func (n *Nextcloud) redeemable(w http.ResponseWriter, p url.Values, kind, key string) (grant, bool) {
	newer, dead := n.o.OIDC == OIDC20, "invalid_request"
	if newer {
		dead = "invalid_grant"
	}
	g, ok := n.oidc.byKey(key)
	if !ok || newer && g.redeemed != (kind == "refresh_token") {
		if old, used := n.oidc.byUsedCode(key); used && newer && kind == "authorization_code" {
			n.oidc.drop(old.row) // RFC 6749, section 4.1.2: a code seen twice ends what it gave
		}
		oidcError(w, dead, noSuchKey)
		return g, false
	}
	c, ok := n.clients.get(p.Get("client_id"))
	if !ok || c.ID != g.client || !c.Public && !equal(c.Secret, p.Get("client_secret")) {
		oidcError(w, "invalid_client", badClient)
		return g, false
	}
	if expired(g.keyUntil, n.o.Now()) {
		n.oidc.drop(g.row)
		oidcError(w, "invalid_grant", "Access token already expired.")
		return g, false
	}
	if verifierFault(g, p.Get("code_verifier")) != "" {
		n.oidc.drop(g.row)
		oidcError(w, "invalid_grant", "PKCE verification failed.")
		return g, false
	}
	return g, true
}

// oidcRotate gives out new tokens; the old ones are dead at once. 0.6 always
// gives a refresh token and lets the access token live twice as long as it
// says; 2.0 gives one for the scope offline_access.
func (n *Nextcloud) oidcRotate(w http.ResponseWriter, r *http.Request, g grant, key string) {
	now, ttl, newer := n.o.Now(), n.accessTTL(oidcTTL), n.o.OIDC == OIDC20
	if !g.redeemed {
		g.code = key
	}
	g.key, g.access, g.redeemed = alnum(128), alnum(72), true
	g.accessUntil, g.keyUntil = now.Add(2*ttl), now.Add(2*ttl)
	if newer {
		g.accessUntil, g.keyUntil = now.Add(ttl), now.Add(oidcTTL)
		if !scoped(g, "offline_access") {
			g.key = ""
		}
	}
	if n.o.RefreshTTL > 0 {
		g.keyUntil = now.Add(n.o.RefreshTTL)
	}
	id, err := n.idToken(r, g)
	if err != nil {
		http.Error(w, "no id_token", http.StatusInternalServerError)
		return
	}
	if !n.oidc.replace(g, newer, key) {
		oidcError(w, "invalid_grant", noSuchKey)
		return
	}
	answer := object{{"access_token", g.access}, {"token_type", "Bearer"}, {"expires_in", int64(ttl / time.Second)}}
	if g.key != "" {
		answer = append(answer, member{"refresh_token", g.key})
	}
	writeJSON(w, http.StatusOK, append(answer, member{"id_token", id}))
}

func (n *Nextcloud) idToken(r *http.Request, g grant) (string, error) {
	a, _ := n.users.get(g.uid)
	c, _ := n.clients.get(g.client)
	payload, err := json.Marshal(n.idClaims(r, g, a))
	if err != nil {
		return "", err
	}
	return n.keys.sign(c, payload)
}

// userinfo answers 400 to a bad token, not 401. A disabled person's token still
// works. A token that comes too late takes its refresh token with it.
func (n *Nextcloud) userinfo(w http.ResponseWriter, r *http.Request) {
	n.open(w, r)
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		oidcError(w, "invalid_request", "No bearer token found in request.")
		return
	}
	g, ok := n.oidc.byAccess(token)
	if ok && expired(g.accessUntil, n.o.Now()) {
		n.oidc.drop(g.row)
		oidcError(w, "invalid_request", "Access token already expired.")
		return
	}
	a, known := n.users.get(g.uid)
	if !ok || !known {
		oidcError(w, "invalid_request", "Could not find provided bearer token.")
		return
	}
	writeJSON(w, http.StatusOK, n.userClaims(g, a))
}

// introspect says whether an access token lives (RFC 7662). Only 2.0 has it.
func (n *Nextcloud) introspect(w http.ResponseWriter, r *http.Request) {
	n.open(w, r)
	p := parameters(r)
	c, ok := n.clients.get(p.Get("client_id"))
	if !ok || !equal(c.Secret, p.Get("client_secret")) {
		writeJSON(w, http.StatusUnauthorized, object{{"error", "invalid_client"}, {"error_description", badClient}})
		return
	}
	g, ok := n.oidc.byAccess(p.Get("token"))
	if !ok || g.client != c.ID || expired(g.accessUntil, n.o.Now()) {
		writeJSON(w, http.StatusOK, object{{"active", false}})
		return
	}
	writeJSON(w, http.StatusOK, object{{"active", true}, {"scope", g.scope}, {"client_id", g.client}, {"sub", g.uid},
		{"username", g.uid}, {"exp", g.accessUntil.Unix()}, {"iss", n.base(r)}, {"token_type", "Bearer"}})
}
