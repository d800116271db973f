package proxy

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"anteroom/proxy/authz"
	"anteroom/proxy/forwardauth"
	"anteroom/proxy/upstream"
	"anteroom/session"
)

// asking is what front proxies of one dialect ask at: for each route a door of
// the same rule, whose answer is yes.
type asking struct {
	dialect *forwardauth.Dialect
	routes  []*door
}

// layChecks makes a door of each dialect's URL.
func (s *Server) layChecks() {
	s.introducer = upstream.NewIntroducer(s.o.Identity, s.o.Asserter, s.o.Cookies.Ours, s.policy.ByMethod())
	for _, dialect := range forwardauth.All() {
		a := s.asking(dialect, func(route int) answer {
			return func(x *exchange, who *session.Identity) error { return s.yes(x, who, route) }
		})
		s.own[strings.TrimSuffix(dialect.Path, "/")+"/"] = &door{name: doorCheck, allow: authz.Allow{Public: true}, refuse: refuseByProblem, anyHost: true, answer: s.noDialect, words: "nothing is asked here: no front proxy has this address"}
		s.own[dialect.Path] = &door{name: doorCheck, allow: authz.Allow{Public: true}, refuse: refuseByCaller, anyHost: true, asks: a}
	}
}

// noDialect answers below a dialect's URL: were it the application's, a front
// proxy with a typing error in what it asks at would take its 200 for a yes.
func (s *Server) noDialect(*exchange, *session.Identity) error {
	return &refusal{status: http.StatusNotFound, reason: reasonNoRoute, text: "There is nothing to ask here: see docs/forward-auth.md for the addresses.", style: refuseByProblem}
}

// asking makes the doors behind one dialect; yes is what each route's ends in.
func (s *Server) asking(dialect *forwardauth.Dialect, yes func(route int) answer) *asking {
	a := &asking{dialect: dialect}
	for i, app := range s.apps {
		a.routes = append(a.routes, &door{name: doorCheck, allow: s.policy.Rule(i).Allow, refuse: app.refuse, answer: yes(i), callers: s.callersOf(i)})
	}
	return a
}

// asked finds the door for the request that a front proxy asks about, which
// takes the place of the front proxy's own from here on. None but trusted
// proxies may ask: anybody else would be told what they had put in themselves.
func (s *Server) asked(x *exchange, a *asking) (*door, error) {
	x.dialect = a.dialect
	x.leaveBody()
	if !x.origin.trusted {
		return nil, &refusal{status: http.StatusForbidden, reason: reasonUntrusted, text: reasonText[reasonUntrusted], cause: fmt.Errorf("%s is not within server.trusted_proxies", x.origin.client)}
	}
	q, err := a.dialect.Ask(x.r)
	if err != nil {
		return nil, &refusal{status: http.StatusBadRequest, reason: reasonForwarded, cause: err}
	}
	return s.judge(x, a, q)
}

// judge finds the rule for a request that is asked about, as if it had come
// here.
func (s *Server) judge(x *exchange, a *asking, q forwardauth.Asked) (*door, error) {
	to, err := url.ParseRequestURI(q.Target)
	if err != nil {
		return nil, &refusal{status: http.StatusBadRequest, reason: reasonPath, cause: err}
	}
	r := *x.r
	r.Method, r.Host, r.RequestURI, r.URL = q.Method, q.Host, q.Target, to
	r.Body, r.ContentLength, r.TransferEncoding, r.Trailer = http.NoBody, 0, nil, nil
	x.r = &r
	x.origin.proto, x.origin.host, x.origin.site = q.Proto, q.Host, canonicalHost(q.Host, q.Proto)
	x.hop.Proto, x.hop.Host = q.Proto, q.Host
	if err := soundMethod(q.Method); err != nil {
		return nil, err
	}
	if names := s.introducer.Disguised(r.Header); len(names) > 0 && !a.dialect.Removes {
		slices.Sort(names)
		return nil, &refusal{status: http.StatusForbidden, reason: reasonDisguised, cause: fmt.Errorf("it carries %.200q", names)}
	}
	if !s.origins.ours(x.origin.site) {
		return nil, &refusal{status: http.StatusMisdirectedRequest, reason: reasonHost}
	}
	path := escapedPath(x.r)
	if x.origin.site == s.origins.host && s.ownDoor(path) != nil {
		return nil, &refusal{status: http.StatusForbidden, reason: reasonOwnURL}
	}
	i, err := s.rule(x, path)
	if err != nil {
		return nil, err
	}
	x.plain = plainOfRoute(s.policy.Rule(i).Path, path)
	return a.routes[i], nil
}

// leaveBody answers without the body that a front proxy announces. nginx may
// announce one that it does not send: to wait for it would hold up both.
func (x *exchange) leaveBody() {
	if x.r.ContentLength == 0 || x.r.Body == http.NoBody {
		return
	}
	x.Header().Set("Connection", "close")
	http.NewResponseController(x.ResponseWriter).SetReadDeadline(time.Unix(1, 0))
}

// yes tells the front proxy what the application is to receive.
func (s *Server) yes(x *exchange, who *session.Identity, route int) error {
	h := x.Header()
	if err := s.introducer.Introduce(h, x.r.Header, who, s.audiences[route]); err != nil {
		return err
	}
	if s.keepsCredential(route) {
		h["Authorization"] = []string{""}
	}
	h["X-Request-Id"] = []string{x.hop.RequestID}
	h["Cache-Control"], h["Content-Length"] = noStore, noContent
	s.metrics.checked(x.dialect.Name, http.StatusOK)
	x.WriteHeader(http.StatusOK)
	return nil
}

// keepsCredential reports whether the Authorization of a request that falls under
// a route is for us, and nothing of ours takes its place.
func (s *Server) keepsCredential(route int) bool {
	return len(s.policy.Rule(route).Allow.Clients) > 0 && !s.introducer.Replaces("Authorization")
}

var noStore, noContent = []string{"no-store"}, []string{"0"} // shared, and never changed

// refuseCheck tells a front proxy no. One that relays gives the client what a
// client of ours would get; others act upon the status, and may lead a browser
// to the sign-in that Location names.
func (s *Server) refuseCheck(x *exchange, no *refusal) {
	said := *no
	said.status = x.dialect.Status(no.status)
	s.metrics.checked(x.dialect.Name, said.status)
	switch {
	case !x.dialect.Relays:
		if no.reason == reasonNobody && navigates(x.r) && !framed(x.r) {
			x.Header().Set("Location", s.signInURL(x))
		}
		s.problem(x, &said)
	case s.asProblem(x, no):
		s.problem(x, &said)
	default:
		s.refusePage(x, &said)
	}
}

// checkMetrics counts what front proxies were told.
func newCheckMetrics() *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "anteroom_checks_total", Help: "Front proxies' questions answered, by dialect and answer.",
	}, []string{"dialect", "answer"})
}

// checked counts one answer.
func (m *metrics) checked(dialect string, status int) {
	answer := "no"
	switch {
	case status < 300:
		answer = "yes"
	case status == http.StatusUnauthorized:
		answer = "sign_in"
	case status >= 500:
		answer = "broken"
	}
	m.checks.WithLabelValues(dialect, answer).Inc()
}

// socketAsked reports whether a request opens a WebSocket. Front proxies leave
// Upgrade out when they ask.
func socketAsked(x *exchange) bool {
	h := x.r.Header
	return h.Get("Upgrade") != "" || x.dialect != nil && (h.Get("Sec-Websocket-Key") != "" || h.Get("Sec-Websocket-Version") != "" || strings.EqualFold(h.Get("Sec-Fetch-Mode"), "websocket"))
}
