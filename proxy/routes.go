package proxy

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"anteroom/proxy/authn"
	"anteroom/proxy/authz"
	"anteroom/proxy/upstream"
	"anteroom/session"
)

// answer is what every door ends in: it writes the reply to a caller who may
// have it (nil where nobody need be known) and returns nil, or returns an error
// having written nothing.
type answer func(x *exchange, who *session.Identity) error

// door is one place to come in at.
type door struct {
	name    string
	methods []string // empty: any
	allow   authz.Allow
	answer  answer
	refuse  refusalStyle
	anyHost bool // answers whatever Host it is asked by
	posted  bool // a POST must come from our own pages

	byAddress, byAccount *rateLimit // how often; nil: as often as they like

	streams bool // takes bodies for as long as they last

	callers authn.Source                  // who is known here; nil: people with a session
	permits func(*session.Identity) error // may they; nil: as allow says
	words   string                        // what it is for, where its URL is configured
	forward *upstream.Forwarder           // for the application's doors
	asks    *asking                       // for front proxies: the request that is asked about has a door of its own
}

// refusalStyle is how a door says no.
type refusalStyle int

const (
	refuseByCaller  refusalStyle = iota // a page for a navigation, a problem document for a program
	refuseByProblem                     // always a problem document (RFC 9457)
	refuseByPage                        // always a page
	refuseByDAV                         // XML as DAV clients know it, with a challenge; a page for a navigation
)

// The doors' names: a closed set, for logs and metrics.
const (
	doorNone   = "none" // the request did not get as far as a door
	doorApp    = "application"
	doorSignIn = "sign_in"
	doorLogout = "provider_logout"
	doorOwn    = "account"
	doorKeys   = "keys"
	doorAssets = "assets"
	doorCheck  = "forward_auth"
	doorDAV    = "dav"
	doorAPI    = "integrations"
)

var doorNames = []string{doorNone, doorApp, doorSignIn, doorLogout, doorOwn, doorKeys, doorAssets, doorCheck, doorDAV, doorAPI}

// layRoutes lists every URL we answer ourselves, then the application's.
func (s *Server) layRoutes() error {
	public, get := authz.Allow{Public: true}, []string{http.MethodGet, http.MethodHead}
	s.own = map[string]*door{
		"/auth/login":               {name: doorSignIn, methods: get, allow: public, answer: s.login, refuse: refuseByPage, byAddress: s.rates.signIn},
		s.o.SignIn.CallbackPath():   {name: doorSignIn, methods: get, allow: public, answer: s.callback, refuse: refuseByPage, byAddress: s.rates.signIn},
		"/auth/logout":              {name: doorSignIn, methods: []string{"GET", "HEAD", "POST"}, allow: public, answer: s.logout, refuse: refuseByPage, posted: true},
		"/auth/signed-in":           {name: doorSignIn, methods: get, allow: public, answer: s.signedIn, refuse: refuseByPage},
		"/auth/":                    {name: doorOwn, methods: get, answer: s.account, refuse: refuseByCaller},
		"/auth/me":                  {name: doorOwn, methods: get, callers: s.callersOfOwn(s.said), permits: anybodyKnown, answer: s.me, refuse: refuseByProblem},
		"/auth/sessions":            {name: doorOwn, methods: get, answer: s.sessions, refuse: refuseByProblem},
		sessionsEnd:                 {name: doorOwn, methods: []string{"POST"}, answer: s.endSession, refuse: refuseByCaller, posted: true},
		connectAt:                   {name: doorOwn, methods: []string{"GET", "POST"}, answer: s.connect, refuse: refuseByCaller, posted: true},
		disconnectAt:                {name: doorOwn, methods: []string{"POST"}, answer: s.disconnect, refuse: refuseByCaller, posted: true},
		"/auth/token":               {name: doorOwn, methods: []string{"POST"}, callers: s.callersOfOwn(s.saidFor(nil)), permits: anybodyKnown, answer: s.token, refuse: refuseByProblem, posted: true, byAddress: s.rates.token, byAccount: s.rates.tokenAccount},
		"/auth/backchannel-logout":  {name: doorLogout, methods: []string{"POST"}, allow: public, answer: s.backchannelLogout, refuse: refuseByProblem},
		"/auth/frontchannel-logout": {name: doorLogout, methods: []string{"GET"}, allow: public, answer: s.frontchannelLogout, refuse: refuseByPage},
		"/.well-known/jwks.json":    {name: doorKeys, methods: get, allow: public, answer: s.keys, refuse: refuseByProblem, anyHost: true},
		MirrorPath:                  {name: doorOwn, methods: get, allow: public, answer: s.mirror, refuse: refuseByProblem, anyHost: true},
	}
	assets := &door{name: doorAssets, methods: get, allow: public, answer: s.asset, refuse: refuseByProblem, anyHost: true} // the 421 page has a style too
	s.own[assetsPath] = assets
	if err := s.layApps(); err != nil {
		return err
	}
	s.layChecks()
	s.layDAV()
	s.layAPI()
	for path := range s.own {
		if path != "/auth/" && strings.HasSuffix(path, "/") {
			s.under = append(s.under, path)
		}
	}
	slices.SortFunc(s.under, func(a, b string) int { return len(b) - len(a) }) // what lies within another comes first
	return nil
}

// anybodyKnown may pass, people and programs.
func anybodyKnown(*session.Identity) error { return nil }

const assetsPath = "/auth/assets/"

// layApps makes a door of each configured route; two with the same
// destination share its connections.
func (s *Server) layApps() error {
	var rules []authz.Rule
	for _, r := range s.o.Routes {
		rules = append(rules, authz.Rule{Path: r.Path, Host: lower(r.Host), Methods: r.Methods, Allow: r.Allow})
	}
	s.policy = authz.NewPolicy(rules)
	made := map[upstream.Destination]*upstream.Forwarder{}
	for i, r := range s.o.Routes {
		dest := upstream.Destination{URL: r.Upstream, Audience: r.Audience, JWTInQuery: r.JWTInQuery, Sign: r.Sign}
		if r.Upstream == NoUpstream {
			dest.URL = s.askedOrigin(r)
			s.accept(dest)
			s.apps = append(s.apps, &door{name: doorApp, allow: authz.Allow{Public: true}, refuse: refuseByCaller, answer: s.nothing})
			continue
		}
		if made[dest] == nil {
			f, err := upstream.NewForwarder(s.o.Identity, dest, s.o.Asserter, upstream.Options{
				OwnCookie:              s.o.Cookies.Ours,
				MethodOverrideStripped: s.policy.ByMethod(),
				DialTimeout:            s.o.Config.DialTimeout,
				MaxMessage:             int64(s.o.Config.MaxMessageBytes),
				TooBig:                 func() { s.limits.hit(limitMessage) },
				Log:                    s.o.Log,
				Traced:                 func(next http.RoundTripper) http.RoundTripper { return s.o.Trace.Transport(next, "application") },
			})
			if err != nil {
				return fmt.Errorf("routes[%d]: %w", i, err)
			}
			made[dest] = f
		}
		s.accept(dest)
		d := &door{name: doorApp, allow: r.Allow, refuse: refuseByCaller, forward: made[dest], callers: s.callersOf(i)}
		d.answer = func(x *exchange, who *session.Identity) error { return d.forward.Forward(x, x.r, who, &x.hop) }
		s.apps = append(s.apps, d)
	}
	return nil
}

// accept has JWTs for a destination known here, too. One for nobody in
// particular is for no door of ours.
func (s *Server) accept(d upstream.Destination) {
	a := upstream.AudienceOf(s.o.Identity.JWT, d)
	s.audiences = append(s.audiences, a)
	if a != upstream.NoAudience {
		s.accepted = append(s.accepted, a)
	}
}

// callersOf is who is known at a route: people with a session, and where it
// names clients, whoever comes with an Authorization of theirs, too. A JWT of
// ours opens no application but the one it was made for: that one could go on to
// another with it.
func (s *Server) callersOf(route int) authn.Source {
	if len(s.policy.Rule(route).Allow.Clients) == 0 {
		return nil
	}
	said := s.saidFor(slices.DeleteFunc([]string{s.audiences[route]}, func(a string) bool { return a == upstream.NoAudience }))
	if said == nil {
		return nil
	}
	return authn.Chain{said, s.callers}
}

// saidFor is s.said that takes JWTs of ours for these audiences alone; nil where
// there is none.
func (s *Server) saidFor(audiences []string) *authn.Authorization {
	if s.said == nil {
		return nil
	}
	return s.said.Accepting(ownTokens{s, func() []string { return audiences }})
}

// callersOfOwn is who is known where one is told who one is: people with a
// session, whatever Authorization their page has for the application, and then
// who comes with one. Of those nobody is known where nothing else is for them:
// passwords of Nextcloud's could be tried here.
func (s *Server) callersOfOwn(said *authn.Authorization) authn.Source {
	if said == nil || len(s.o.Clients) == 0 && len(s.dav.Mounts()) == 0 && !s.api.Served() {
		return nil
	}
	return authn.Chain{s.callers, said}
}

// askedOrigin stands for the application of a route that only front proxies
// ask about, in the JWT's aud: the origin it has for browsers.
func (s *Server) askedOrigin(r Route) string {
	if r.Host == "" {
		return originOf(s.public)
	}
	return s.public.Scheme + "://" + lower(r.Host)
}

// nothing answers where no application is behind us: whoever comes to the
// start page means the account page.
func (s *Server) nothing(x *exchange, _ *session.Identity) error {
	if x.r.URL.Path != "/" {
		return &refusal{status: http.StatusNotFound, reason: reasonNoRoute}
	}
	http.Redirect(x, x.r, "/auth/", http.StatusSeeOther)
	return nil
}
