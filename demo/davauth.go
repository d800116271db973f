package demo

import (
	"net/http"
	"strings"
)

// What each of the DAV back ends says to a caller it does not know. The answer
// strings them together.
const (
	noPublic  = "No public access to this resource."
	noBasic   = "No 'Authorization: Basic' header found. Either the client didn't send one, or the server is misconfigured"
	noBearer  = "No 'Authorization: Bearer' header found. Either the client didn't send one, or the server is mis-configured"
	badBearer = "Bearer token was incorrect"
	badBasic  = "Username or password was incorrect"
	noCSRF    = "CSRF check not passed."
)

// davCaller lets a signed-in caller in. Whoever is refused is challenged for
// Basic, even who came with Bearer; the old calendar and contact trees know no
// Bearer at all.
func (n *Nextcloud) davCaller(w http.ResponseWriter, r *http.Request) (caller, bool) {
	if halfCookies(r) {
		w.WriteHeader(http.StatusServiceUnavailable)
		return caller{}, false
	}
	bearer := strings.HasPrefix(authorization(r), "Bearer ")
	if bearer && legacy(r.URL.Path) {
		n.open(w, r)
		challenge(w, r, noBasic)
		return caller{}, false
	}
	c := n.caller(w, r)
	switch {
	case c.standing == disabled:
		davError(w, http.StatusInternalServerError, `OC\User\LoginException`, "User disabled")
	case c.standing == wrongLogin:
		challenge(w, r, strings.Join([]string{noPublic, badBasic, noBearer, badBasic}, ", "))
	case c.standing == nobody && bearer:
		challenge(w, r, strings.Join([]string{noPublic, noBasic, badBearer, noBasic}, ", "))
	case c.standing == nobody:
		challenge(w, r, strings.Join([]string{noPublic, noBasic, noBearer, noBasic}, ", "))
	case c.byCookie && !bearer && !n.davTrusts(r, c):
		challenge(w, r, strings.Join([]string{noPublic, noCSRF, noBearer, noCSRF}, ", "))
	default:
		return c, true
	}
	return c, false
}

// davTrusts reports whether a caller known by a cookie may act. In a session
// that a header began they may, and a Basic credential beside the cookie is not
// even looked at. In one of the login form they may not where a Basic
// credential contradicts the cookie, nor without the session's request token.
func (n *Nextcloud) davTrusts(r *http.Request, c caller) bool {
	if c.session.byHeader {
		return true
	}
	if authorization(r) != "" {
		return false
	}
	safe := r.Method == http.MethodGet || r.Method == http.MethodHead || r.Method == http.MethodOptions
	return safe || equal(r.Header.Get("requesttoken"), c.session.requestToken)
}

// halfCookies reports whether a session cookie comes without the strict cookie
// that belongs to it.
func halfCookies(r *http.Request) bool {
	if _, err := r.Cookie(sessionCookie); err != nil {
		return false
	}
	_, plain := r.Cookie(strictCookie)
	_, host := r.Cookie("__Host-" + strictCookie)
	return plain != nil && host != nil
}

func legacy(path string) bool {
	for _, tree := range [...]string{"caldav", "calendar", "carddav", "contacts"} {
		if p := "/remote.php/" + tree; path == p || strings.HasPrefix(path, p+"/") {
			return true
		}
	}
	return false
}

// challenge refuses with 401. Scripts get a scheme no browser knows, so that it
// does not ask for a password.
func challenge(w http.ResponseWriter, r *http.Request, text string) {
	scheme := `Basic realm="Nextcloud", charset="UTF-8"`
	if r.Header.Get("X-Requested-With") == "XMLHttpRequest" {
		scheme, text = `DummyBasic realm="Nextcloud"`, "Cannot authenticate over ajax calls"
	}
	w.Header().Set("WWW-Authenticate", scheme)
	davError(w, http.StatusUnauthorized, `Sabre\DAV\Exception\NotAuthenticated`, text)
}
