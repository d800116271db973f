package demo

import (
	"net/http"
)

const dashboard = "/index.php/apps/dashboard/"

// login is the login form and what it posts to.
func (n *Nextcloud) login(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost {
		n.loginPost(w, r)
		return
	}
	s, back := n.open(w, r), r.URL.Query().Get("redirect_url")
	if s.uid != "" {
		n.leaveLogin(w, r, back)
		return
	}
	n.sessions.edit(s.id, func(x *session) { x.message = "" })
	n.pages.show(w, http.StatusOK, "login", view{Title: "Log in", Message: s.message,
		Login: r.URL.Query().Get("user"), RequestToken: s.requestToken, Back: back})
}

func (n *Nextcloud) loginPost(w http.ResponseWriter, r *http.Request) {
	s := n.open(w, r)
	user, back := r.PostFormValue("user"), r.PostFormValue("redirect_url")
	if !formTrusted(r, s) {
		n.loginAgain(w, s, user, back, "Your login was not sent from this page. Try again.")
		return
	}
	a, ok := n.users.check(user, r.PostFormValue("password"))
	switch {
	case !ok:
		n.knobs.failedLogin()
		n.loginAgain(w, s, user, back, "Wrong username or password.")
	case a.disabled:
		n.loginAgain(w, s, user, back, "This account is disabled.")
	default:
		n.signIn(w, r, s, a.UID)
		n.leaveLogin(w, r, back)
	}
}

// loginAgain leads back to the form, which shows the message once.
func (n *Nextcloud) loginAgain(w http.ResponseWriter, s session, user, back, message string) {
	n.sessions.edit(s.id, func(x *session) { x.message = message })
	seeOther(w, "/index.php/login?"+values("user", user, "redirect_url", back).Encode())
}

// leaveLogin goes where the person was going before the login.
func (n *Nextcloud) leaveLogin(w http.ResponseWriter, r *http.Request, back string) {
	if !local(back) {
		back = dashboard
	}
	seeOther(w, n.base(r)+back)
}

// logout ends the Nextcloud session. The link carries the request token.
func (n *Nextcloud) logout(w http.ResponseWriter, r *http.Request) {
	s := n.open(w, r)
	if s.uid != "" && formTrusted(r, s) {
		n.signOut(w, r, s)
	}
	seeOther(w, "/index.php/login?clear=1")
}

// home is the page of a signed-in person.
func (n *Nextcloud) home(w http.ResponseWriter, r *http.Request) {
	s := n.open(w, r)
	if s.uid == "" {
		toLogin(w, r)
		return
	}
	a, _ := n.users.get(s.uid)
	n.pages.show(w, http.StatusOK, "home", view{Title: "Dashboard", User: a.UID, Name: a.Name,
		Next: "/index.php/logout?" + values("requesttoken", s.requestToken).Encode()})
}
