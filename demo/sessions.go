package demo

import (
	"net/http"
	"net/url"
	"sync"
	"time"
)

const (
	sessionCookie    = "ocdemo0nterm" // a real one is named by the instance id
	passphraseCookie = "oc_sessionPassphrase"
	laxCookie        = "nc_sameSiteCookielax"
	strictCookie     = "nc_sameSiteCookiestrict"
	maxSessions      = 4096 // above it the oldest go
	rememberSeconds  = 1296000
)

// session is one browser's, or one careless client's, session at Nextcloud.
type session struct {
	id           string
	passphrase   string
	requestToken string // must come with every form
	uid          string // "": nobody is signed in
	token        string // the app password it stands on; "" after the login form
	byHeader     bool   // it was begun by an Authorization header
	since        time.Time
	message      string // shown once above the login form
	stateToken   string // of the built-in OAuth2's pages
	oauthState   string
	loginFlow    string     // the Login Flow v2 that its browser came for
	challenge    string     // PKCE of the built-in OAuth2
	oidc         url.Values // parameters of the last authorize that needed a login; replaced, never changed
}

// sessions holds them all.
type sessions struct {
	mu    sync.Mutex
	live  map[string]*session // guarded by mu
	order []string            // guarded by mu: ids by age
}

func newSessions() *sessions { return &sessions{live: make(map[string]*session)} }

func (s *sessions) begin(x session) session {
	s.mu.Lock()
	defer s.mu.Unlock()
	x.id, x.requestToken = alnum(32), alnum(44)
	if x.passphrase == "" {
		x.passphrase = alnum(128)
	}
	s.live[x.id] = &x
	s.order = append(s.order, x.id)
	if len(s.order) > maxSessions {
		delete(s.live, s.order[0])
		s.order = s.order[1:]
	}
	return x
}

func (s *sessions) get(id, passphrase string) (session, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	x, ok := s.live[id]
	if !ok || !equal(x.passphrase, passphrase) {
		return session{}, false
	}
	return *x, true
}

// edit changes a session under the lock and returns how it is now.
func (s *sessions) edit(id string, f func(*session)) session {
	s.mu.Lock()
	defer s.mu.Unlock()
	x, ok := s.live[id]
	if !ok {
		x = new(session)
	}
	f(x)
	return *x
}

func (s *sessions) drop(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.live, id)
}

func (s *sessions) dropUser(uid string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, x := range s.live {
		if x.uid == uid {
			delete(s.live, id)
		}
	}
}

// carried is the session a request's cookies name, if it lives.
func (n *Nextcloud) carried(r *http.Request) (session, bool) {
	id, err := r.Cookie(sessionCookie)
	if err != nil {
		return session{}, false
	}
	pass, err := r.Cookie(passphraseCookie)
	if err != nil {
		return session{}, false
	}
	secret, err := url.QueryUnescape(pass.Value)
	if err != nil {
		return session{}, false
	}
	s, ok := n.sessions.get(id.Value, secret)
	if ok && s.uid != "" && !n.holds(s) {
		s = n.sessions.edit(s.id, func(x *session) { x.uid, x.token = "", "" })
	}
	return s, ok
}

// holds reports whether what a session stands on is still there: an enabled
// account and, where it was opened by an app password, that password.
func (n *Nextcloud) holds(s session) bool {
	a, ok := n.users.get(s.uid)
	if !ok || a.disabled {
		return false
	}
	if s.token == "" {
		return true
	}
	g, ok := n.oauth2.byAccess(s.token)
	return ok && !expired(g.accessUntil, n.o.Now())
}

// open is the request's session, begun now where it carries none. Like the real
// server it hands out cookies to everybody, programs included.
func (n *Nextcloud) open(w http.ResponseWriter, r *http.Request) session {
	if s, ok := n.carried(r); ok {
		return s
	}
	s := n.sessions.begin(session{})
	n.setSession(w, r, s)
	prefix, flags := "", ""
	if n.secure(r) {
		prefix, flags = "__Host-", "secure;"
	}
	for _, c := range [...][2]string{{laxCookie, "lax"}, {strictCookie, "strict"}} {
		w.Header().Add("Set-Cookie", prefix+c[0]+"=true; path=/; httponly;"+flags+"expires=Fri, 31-Dec-2100 23:59:59 GMT; SameSite="+c[1])
	}
	return s
}

func (n *Nextcloud) setSession(w http.ResponseWriter, r *http.Request, s session) {
	http.SetCookie(w, n.cookie(r, passphraseCookie, s.passphrase, 0))
	http.SetCookie(w, n.cookie(r, sessionCookie, s.id, 0))
}

func (n *Nextcloud) cookie(r *http.Request, name, value string, maxAge int) *http.Cookie {
	return &http.Cookie{Name: name, Value: url.QueryEscape(value), Path: "/", MaxAge: maxAge,
		HttpOnly: true, Secure: n.secure(r), SameSite: http.SameSiteLaxMode}
}

// signIn turns a session into a person's, under a new id.
func (n *Nextcloud) signIn(w http.ResponseWriter, r *http.Request, s session, uid string) session {
	n.sessions.drop(s.id)
	s.uid, s.token, s.byHeader, s.since, s.message = uid, "", false, n.o.Now(), ""
	s = n.sessions.begin(s)
	http.SetCookie(w, n.cookie(r, sessionCookie, s.id, 0))
	http.SetCookie(w, n.cookie(r, "nc_username", uid, rememberSeconds))
	http.SetCookie(w, n.cookie(r, "nc_token", alnum(32), rememberSeconds))
	http.SetCookie(w, n.cookie(r, "nc_session_id", s.id, rememberSeconds))
	return s
}

// signOut ends a session and its cookies, and begins one that is nobody's.
func (n *Nextcloud) signOut(w http.ResponseWriter, r *http.Request, s session) {
	n.sessions.drop(s.id)
	fresh := n.sessions.begin(session{passphrase: s.passphrase})
	http.SetCookie(w, n.cookie(r, sessionCookie, fresh.id, 0))
	for _, name := range [...]string{"nc_username", "nc_token", "nc_session_id"} {
		http.SetCookie(w, n.cookie(r, name, "deleted", -1))
	}
}
