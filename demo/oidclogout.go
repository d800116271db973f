package demo

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// endSession is RP-initiated logout: it ends the Nextcloud session and every
// oidc token of the person, whichever client holds it. 0.6 takes an address
// that begins like an allowed one and returns no state, and breaks where it can
// tell neither by hint nor by session who is meant; 2.0 wants a valid hint and
// the exact address, and returns state.
func (n *Nextcloud) endSession(w http.ResponseWriter, r *http.Request) {
	s := n.open(w, r)
	if r.ParseForm() != nil {
		oidcError(w, "invalid_request", "Malformed request.")
		return
	}
	uid, client := n.hinted(r.Form.Get("id_token_hint"))
	if uid == "" && n.o.OIDC == OIDC20 {
		n.pages.show(w, http.StatusBadRequest, "error", view{Title: "Logout not possible", Message: "The id_token_hint is missing or not valid."})
		return
	}
	if uid == "" {
		uid = s.uid
	}
	if uid == "" {
		n.pages.show(w, http.StatusInternalServerError, "error", view{Title: "Internal Server Error", Message: "The server was unable to complete your request."})
		return
	}
	n.oidc.dropUser(uid)
	if s.uid != "" {
		n.signOut(w, r, s)
	}
	if id := r.Form.Get("client_id"); client == "" {
		client = id
	}
	seeOther(w, n.afterLogout(client, r.Form))
}

// hinted reads an id_token of ours. Its age does not matter.
func (n *Nextcloud) hinted(token string) (uid, client string) {
	payload, err := n.keys.open(token)
	if token == "" || err != nil {
		return "", ""
	}
	var claims struct{ Sub, Aud string }
	if json.Unmarshal(payload, &claims) != nil {
		return "", ""
	}
	return claims.Sub, claims.Aud
}

// LogoutToken makes a logout token (OpenID Connect Back-Channel Logout 1.0
// §2.4) of an issuer for a client, about a person, one of their sign-ins, or
// both. No oidc app of these versions sends one: a test does.
func (n *Nextcloud) LogoutToken(issuer, client, uid, sid string) (string, error) {
	c, _ := n.clients.get(client)
	now := n.o.Now().Unix()
	claims := object{
		{"iss", issuer}, {"aud", client}, {"iat", now}, {"exp", now + 120}, {"jti", alnum(32)},
		{"events", map[string]any{"http://schemas.openid.net/event/backchannel-logout": struct{}{}}},
	}
	if uid != "" {
		claims = append(claims, member{"sub", uid})
	}
	if sid != "" {
		claims = append(claims, member{"sid", sid})
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	return n.keys.sign(c, payload)
}

func (n *Nextcloud) afterLogout(client string, p url.Values) string {
	const home = "/index.php/login?clear=1"
	to := p.Get("post_logout_redirect_uri")
	c, ok := n.clients.get(client)
	if to == "" || !ok {
		return home
	}
	if n.o.OIDC == OIDC20 {
		if !slices.Contains(c.logoutURIs(), to) {
			return home
		}
		if state := p.Get("state"); state != "" {
			to = appended(to, "state="+url.QueryEscape(state))
		}
		return to
	}
	if !slices.ContainsFunc(c.logoutURIs(), func(u string) bool { return strings.HasPrefix(to, u) }) {
		return home
	}
	return to
}
