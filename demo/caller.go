package demo

import (
	"net/http"
	"strings"
)

// standing is what came of looking for a caller.
type standing int

const (
	nobody     standing = iota // no credential, or a Bearer token that is none: both count as not signed in
	known                      // account is set
	wrongLogin                 // Basic with a wrong password
	disabled                   // the right credential of a disabled user
)

// caller is who makes a request.
type caller struct {
	standing
	account
	session  session
	byCookie bool
	token    string // the app password used, "" for a real password or a cookie
}

// authorization is the credential header, or the spare one Nextcloud reads
// where the first is absent.
func authorization(r *http.Request) string {
	if h := r.Header.Get("Authorization"); h != "" {
		return h
	}
	return r.Header.Get("XAuthorization")
}

// caller finds out who makes a request. A session cookie beats the
// Authorization header. Whoever comes in by header gets a session too.
func (n *Nextcloud) caller(w http.ResponseWriter, r *http.Request) caller {
	s := n.open(w, r)
	if s.uid != "" {
		a, _ := n.users.get(s.uid)
		return caller{standing: known, account: a, session: s, byCookie: true, token: s.token}
	}
	c := n.byHeader(r)
	if c.standing == known {
		s = n.sessions.edit(s.id, func(x *session) { x.uid, x.token, x.byHeader, x.since = c.UID, c.token, true, n.o.Now() })
	}
	c.session = s
	return c
}

// byHeader finds the caller named by the Authorization header. The scheme is
// matched byte for byte for Bearer, as the real server does.
func (n *Nextcloud) byHeader(r *http.Request) caller {
	h := authorization(r)
	if token, ok := strings.CutPrefix(h, "Bearer "); ok {
		a, ok := n.appPassword(token)
		return n.admit(a, token, ok, nobody)
	}
	login, password, ok := basic(h)
	if !ok {
		return caller{}
	}
	if a, ok := n.users.check(login, password); ok {
		return n.admit(a, "", true, wrongLogin)
	}
	a, ok := n.appPassword(password)
	ok = ok && (login == a.UID || login == a.Email)
	if !ok {
		n.knobs.failedLogin()
	}
	return n.admit(a, password, ok, wrongLogin)
}

// basic reads a Basic credential.
func basic(header string) (user, password string, ok bool) {
	r := http.Request{Header: http.Header{"Authorization": {header}}}
	return r.BasicAuth()
}

// appPassword finds the account an app password belongs to. An access token of
// the built-in OAuth2 is one; the oidc app's is not.
func (n *Nextcloud) appPassword(token string) (account, bool) {
	g, ok := n.oauth2.byAccess(token)
	if !ok || expired(g.accessUntil, n.o.Now()) {
		return account{}, false
	}
	return n.users.get(g.uid)
}

func (n *Nextcloud) admit(a account, token string, ok bool, otherwise standing) caller {
	switch {
	case !ok:
		return caller{standing: otherwise}
	case a.disabled:
		return caller{standing: disabled, account: a}
	}
	return caller{standing: known, account: a, token: token}
}

// formTrusted reports whether a request proves that it was made by a page of
// this server.
func formTrusted(r *http.Request, s session) bool {
	token := r.Header.Get("requesttoken")
	if token == "" {
		token = r.FormValue("requesttoken")
	}
	return equal(token, s.requestToken) && token != ""
}

// wantsHTML reports whether a caller is answered with pages.
func wantsHTML(r *http.Request) bool {
	return strings.Contains(strings.ToLower(strings.Join(r.Header.Values("Accept"), ",")), "html")
}
