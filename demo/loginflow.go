package demo

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"
)

// flowLife is how long a person has to grant an app password.
const flowLife = 20 * time.Minute

// loginFlow is one Login Flow v2: a program asks, a person grants in a browser,
// and the program fetches an app password once.
type loginFlow struct {
	poll, login string // what the program and the browser name it by
	client      string // User-Agent of the program
	until       time.Time
	granted     object // what poll answers; nil: nothing yet
}

// loginFlows holds those under way.
type loginFlows struct {
	mu  sync.Mutex
	all []*loginFlow // guarded by mu
}

// find returns the flow that has something, without those that are over.
func (l *loginFlows) find(now time.Time, has func(*loginFlow) bool) *loginFlow {
	var kept []*loginFlow
	var found *loginFlow
	for _, f := range l.all {
		if now.Before(f.until) {
			kept = append(kept, f)
			if has(f) {
				found = f
			}
		}
	}
	l.all = kept
	return found
}

const flowPath = "/index.php/login/v2"

// flowInit begins a flow.
func (n *Nextcloud) flowInit(w http.ResponseWriter, r *http.Request) {
	n.open(w, r)
	if r.Method != http.MethodPost {
		n.forbidden(w, http.StatusMethodNotAllowed, "Method not allowed")
		return
	}
	f := &loginFlow{poll: alnum(128), login: alnum(128), client: r.UserAgent(), until: n.o.Now().Add(flowLife)}
	n.flows.mu.Lock()
	n.flows.all = append(n.flows.all, f)
	n.flows.mu.Unlock()
	writeJSON(w, http.StatusOK, object{
		{"poll", object{{"token", f.poll}, {"endpoint", n.base(r) + flowPath + "/poll"}}},
		{"login", n.base(r) + flowPath + "/flow/" + f.login},
	})
}

// flowPoll gives the app password out, once. What is pending, unknown, over or
// fetched is all the same to it.
func (n *Nextcloud) flowPoll(w http.ResponseWriter, r *http.Request) {
	n.open(w, r)
	n.flows.mu.Lock()
	f := n.flows.find(n.o.Now(), func(f *loginFlow) bool { return equal(f.poll, r.PostFormValue("token")) && f.granted != nil })
	if f == nil {
		n.flows.mu.Unlock()
		writeJSON(w, http.StatusNotFound, []string{})
		return
	}
	f.until = time.Time{}
	n.flows.mu.Unlock()
	writeJSON(w, http.StatusOK, f.granted)
}

// flowLanding is where the program sends the browser.
func (n *Nextcloud) flowLanding(w http.ResponseWriter, r *http.Request) {
	s := n.open(w, r)
	_, token, _ := strings.Cut(r.URL.Path, "/login/v2/flow/")
	if n.flowOf(token) == nil {
		n.forbidden(w, http.StatusForbidden, "Your login token is invalid or has expired")
		return
	}
	n.sessions.edit(s.id, func(x *session) { x.loginFlow = token })
	seeOther(w, n.base(r)+flowPath+"/flow")
}

// flowOf is the flow that a browser names.
func (n *Nextcloud) flowOf(token string) *loginFlow {
	n.flows.mu.Lock()
	defer n.flows.mu.Unlock()
	return n.flows.find(n.o.Now(), func(f *loginFlow) bool { return equal(f.login, token) && token != "" && f.granted == nil })
}

// flowPicker is the page that leads to the login.
func (n *Nextcloud) flowPicker(w http.ResponseWriter, r *http.Request) {
	s := n.open(w, r)
	f := n.flowOf(s.loginFlow)
	if f == nil {
		n.forbidden(w, http.StatusForbidden, "Your login token is invalid or has expired")
		return
	}
	s = n.sessions.edit(s.id, func(x *session) { x.stateToken = alnum(64) })
	n.pages.show(w, http.StatusOK, "picker", view{Title: "Connect to your account", Client: f.client, Next: flowPath + "/grant?stateToken=" + s.stateToken})
}

// flowGrantV2 is the page on which a person grants the app password, and what
// it posts to. It leads back to nobody.
func (n *Nextcloud) flowGrantV2(w http.ResponseWriter, r *http.Request) {
	s := n.open(w, r)
	if s.uid == "" {
		toLogin(w, r)
		return
	}
	f := n.flowOf(s.loginFlow)
	if f == nil || s.stateToken == "" || !equal(s.stateToken, r.FormValue("stateToken")) {
		n.forbidden(w, http.StatusForbidden, "State token does not match")
		return
	}
	a, _ := n.users.get(s.uid)
	if r.Method != http.MethodPost {
		n.pages.show(w, http.StatusOK, "grant", view{Title: "Account access", Client: f.client, Next: flowPath + "/grant",
			User: a.UID, Name: a.Name, RequestToken: s.requestToken, StateToken: s.stateToken})
		return
	}
	if !formTrusted(r, s) {
		message(w, http.StatusPreconditionFailed, "CSRF check failed")
		return
	}
	g := n.oauth2.add(grant{uid: a.UID, access: alnum(72), redeemed: true})
	n.flows.mu.Lock()
	f.granted = object{{"server", n.base(r)}, {"loginName", a.UID}, {"appPassword", g.access}}
	n.flows.mu.Unlock()
	n.sessions.edit(s.id, func(x *session) { x.stateToken, x.loginFlow = "", "" })
	n.pages.show(w, http.StatusOK, "error", view{Title: "Account connected",
		Message: fmt.Sprintf("Your client should now be connected as %s. You can close this window.", a.UID)})
}
