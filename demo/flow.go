package demo

import (
	"net/http"
	"net/url"
	"strings"
	"time"
)

// codeLife is how long a recent server's authorization code lives. Those of
// Nextcloud 24 do not die.
const codeLife = 10 * time.Minute

// values builds a query of pairs.
func values(pairs ...string) url.Values {
	v := make(url.Values)
	for i := 0; i+1 < len(pairs); i += 2 {
		v.Set(pairs[i], pairs[i+1])
	}
	return v
}

// appended puts a query after an address that may have one already.
func appended(address, query string) string {
	if strings.Contains(address, "?") {
		return address + "&" + query
	}
	return address + "?" + query
}

// oauthAuthorize begins the built-in OAuth2's code flow. Of what a client sends
// only client_id, response_type and state matter; a recent server heeds PKCE.
func (n *Nextcloud) oauthAuthorize(w http.ResponseWriter, r *http.Request) {
	s, q := n.open(w, r), r.URL.Query()
	c, ok := n.clients.get(q.Get("client_id"))
	if !ok {
		n.pages.show(w, http.StatusOK, "error", view{Title: "Unknown application",
			Message: "Your client is not authorized to connect. Please inform the administrator of your client."})
		return
	}
	if q.Get("response_type") != "code" {
		seeOther(w, appended(c.redirect(), "error=unsupported_response_type&state="+q.Get("state")))
		return
	}
	challenge := q.Get("code_challenge")
	if n.o.Modern && challenge != "" && q.Get("code_challenge_method") != "S256" {
		seeOther(w, appended(c.redirect(), values("error", "invalid_request", "state", q.Get("state")).Encode()))
		return
	}
	n.sessions.edit(s.id, func(x *session) { x.oauthState, x.challenge = q.Get("state"), challenge })
	seeOther(w, n.base(r)+"/index.php/login/flow?clientIdentifier="+url.QueryEscape(c.ID))
}

// flow is the page that leads to the login, and what the grant page posts to.
func (n *Nextcloud) flow(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost {
		n.flowPost(w, r)
		return
	}
	s := n.open(w, r)
	c, ok := n.clients.get(r.URL.Query().Get("clientIdentifier"))
	if !ok {
		n.forbidden(w, http.StatusOK, "Access forbidden")
		return
	}
	s = n.sessions.edit(s.id, func(x *session) { x.stateToken = alnum(64) })
	next := "/index.php/login/flow/grant?user=&direct=0&oauthState=" + bare(s.oauthState, "%2F", "/") +
		"&clientIdentifier=" + url.QueryEscape(c.ID) + "&stateToken=" + s.stateToken
	n.pages.show(w, http.StatusOK, "picker", view{Title: "Connect to your account",
		Client: c.Name, Next: next, FormAction: c.redirect()})
}

// flowGrant is the page on which a person allows the client in. There is no
// way to decline.
func (n *Nextcloud) flowGrant(w http.ResponseWriter, r *http.Request) {
	s := n.open(w, r)
	if s.uid == "" {
		toLogin(w, r)
		return
	}
	q := r.URL.Query()
	c, ok := n.clients.get(q.Get("clientIdentifier"))
	if !ok || s.stateToken == "" || !equal(s.stateToken, q.Get("stateToken")) {
		n.forbidden(w, http.StatusForbidden, "State token does not match")
		return
	}
	a, _ := n.users.get(s.uid)
	n.pages.show(w, http.StatusOK, "grant", view{Title: "Account access", Client: c.Name, ClientID: c.ID,
		User: a.UID, Name: a.Name, RequestToken: s.requestToken, StateToken: s.stateToken, FormAction: c.redirect()})
}

// flowPost makes the code and goes back to the client.
func (n *Nextcloud) flowPost(w http.ResponseWriter, r *http.Request) {
	s := n.open(w, r)
	if s.uid == "" {
		toLogin(w, r)
		return
	}
	if !formTrusted(r, s) {
		message(w, http.StatusPreconditionFailed, "CSRF check failed")
		return
	}
	c, ok := n.clients.get(r.PostFormValue("clientIdentifier"))
	if !ok || s.stateToken == "" || !equal(s.stateToken, r.PostFormValue("stateToken")) {
		n.forbidden(w, http.StatusForbidden, "State token does not match")
		return
	}
	g := grant{client: c.ID, uid: s.uid, key: alnum(128), authTime: n.o.Now()}
	if n.o.Modern {
		g.challenge, g.method, g.keyUntil = s.challenge, "S256", n.o.Now().Add(codeLife)
	}
	n.oauth2.add(g)
	n.sessions.edit(s.id, func(x *session) { x.stateToken, x.oauthState, x.challenge = "", "", "" })
	seeOther(w, appended(c.redirect(), "state="+url.QueryEscape(s.oauthState)+"&code="+g.key))
}

func (n *Nextcloud) forbidden(w http.ResponseWriter, status int, text string) {
	n.pages.show(w, status, "error", view{Title: "Access forbidden", Message: text})
}
