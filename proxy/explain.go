package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"anteroom/proxy/audit"
	"anteroom/proxy/authn"
	"anteroom/proxy/authz"
	"anteroom/proxy/forwardauth"
	"anteroom/proxy/pages"
	"anteroom/proxy/upstream"
	"anteroom/session"
)

// Explainer says what a Server of a configuration would answer. It is such a
// Server, so that no rule is looked up in another way; only who calls is
// supposed, and where something lies behind a door, having passed the door is
// all. It reads and asks nothing outside of itself.
type Explainer struct{ s *Server }

// NewExplainer makes an explainer. Of the options it looks at Config, Routes,
// Identity, Integrations, Cookies and SignIn.
func NewExplainer(o Options) (e *Explainer, err error) {
	o.Sessions, o.Keys, o.Asserter, o.Registry, o.Log = nil, nil, nil, nil, slog.New(slog.DiscardHandler)
	o.Nextcloud = &http.Client{Transport: &http.Transport{}} // asked nothing
	if o.Audit, err = audit.Open(audit.Config{Output: "off"}, audit.Options{}); err != nil {
		return nil, err
	}
	if o.Pages, err = pages.New(); err != nil {
		return nil, err
	}
	s, err := New(o)
	if err != nil {
		return nil, err
	}
	s.callers = supposed{}
	for _, d := range s.apps {
		d.callers = nil
		if d.forward != nil {
			d.answer = passApp
		}
	}
	for _, d := range s.own {
		d.callers = nil
		switch {
		case d.name == doorAPI:
			d.answer = s.passAPI
		case d.name == doorCheck && d.asks == nil: // says no to everybody
		default:
			d.answer = pass
		}
		if d.asks != nil {
			for _, asked := range d.asks.routes {
				asked.answer, asked.callers = pass, nil
			}
		}
	}
	return &Explainer{s}, nil
}

// supposed knows whom the question supposes.
type supposed struct{}

// Identify implements authn.Source.
func (supposed) Identify(r *http.Request) (authn.Caller, error) {
	who, _ := r.Context().Value(supposed{}).(*session.Identity)
	return authn.Caller{Who: who}, nil
}

// paper is a ResponseWriter that keeps the head of an answer.
type paper struct {
	h      http.Header
	passed bool
}

func (p *paper) Header() http.Header         { return p.h }
func (p *paper) Write(b []byte) (int, error) { return len(b), nil }
func (p *paper) WriteHeader(int)             {}

// pass is the answer of a door that somebody came through.
func pass(x *exchange, _ *session.Identity) error {
	x.ResponseWriter.(*paper).passed = true
	x.WriteHeader(http.StatusOK)
	return nil
}

// passApp is the same before the application, which not every target can be
// sent to.
func passApp(x *exchange, who *session.Identity) error {
	if err := upstream.CheckTarget(x.r); err != nil {
		return err
	}
	return pass(x, who)
}

// passAPI is the same before an operation of the JSON API, which may be for
// others.
func (s *Server) passAPI(x *exchange, who *session.Identity) error {
	if err := s.api.Permits(x.r, who); err != nil {
		return refusedByAPI(err)
	}
	return pass(x, who)
}

// Way is how a request comes to be judged.
type Way string

// The ways.
const (
	Directly Way = "directly"  // it comes here itself
	Relaying Way = "relaying"  // a front proxy asks, which relays the answer
	ByStatus Way = "by_status" // a front proxy asks, which acts upon the status
)

// askedAt is the URL at which to ask in a way.
var askedAt = map[Way]string{Relaying: "/auth/forward", ByStatus: "/auth/verify"}

// Asked reports whether any front proxy may ask.
func (e *Explainer) Asked() bool { return len(e.s.origins.trusted) > 0 }

// Found is where a request leads.
type Found struct {
	Host      string // as it is compared
	OursBy    string // the key that makes the host ours; "": it is not
	Proto     string // as it is understood when the request comes directly
	Path      string // as it was sent, without query
	Readings  []authz.Reading
	Ambiguous bool
	Own       string // which of our own URLs it is when it comes directly; "": none
	Rule      int    // index of the route; -1: none
	Audience  string // of the JWT on that route
}

// Find says where a request leads.
func (e *Explainer) Find(q forwardauth.Asked) Found {
	f := Found{Rule: -1}
	x, _, unreadable := e.exchange(q, Directly, false, nil)
	refused := e.s.arrive(x)
	f.Host, f.OursBy, f.Proto, f.Path = x.origin.site, e.s.origins.oursBy(x.origin.site), x.origin.proto, escapedPath(x.r)
	f.Readings, _ = e.s.policy.Read(x.target(f.Path), nil)
	f.Ambiguous = unreadable != nil || len(f.Readings) == 0
	for _, r := range f.Readings {
		f.Ambiguous = f.Ambiguous || r.Rule != f.Readings[0].Rule
	}
	if refused != nil || unreadable != nil {
		return f
	}
	if d, err := e.s.find(x); err == nil {
		f.Rule = slices.Index(e.s.apps, d)
		f.Own = e.own(d)
	}
	if f.Own != "" && e.Asked() {
		x, _, _ = e.exchange(q, Relaying, false, nil)
		asks := e.s.own[askedAt[Relaying]].asks
		if err := e.s.arrive(x); err == nil {
			if d, err := e.s.asked(x, asks); err == nil {
				f.Rule = slices.Index(asks.routes, d)
			}
		}
	}
	if f.Rule >= 0 {
		f.Audience = e.s.audiences[f.Rule]
	}
	return f
}

// Answer is what somebody would be answered.
type Answer struct {
	Passed   bool   `json:"passes"` // on to the application or to our own answer; to a front proxy: yes
	Status   int    `json:"status,omitempty"`
	Location string `json:"location,omitempty"`
	Reason   string `json:"reason,omitempty"`
	Why      string `json:"why,omitempty"`
}

// Answer says what a browser's window or a program would be answered. who is
// nil for nobody.
func (e *Explainer) Answer(q forwardauth.Asked, how Way, browser bool, who *session.Identity) Answer {
	x, p, err := e.exchange(q, how, browser, who)
	if err != nil {
		return Answer{Status: http.StatusBadRequest, Why: "The request cannot be read."}
	}
	err = e.s.serve(x)
	if err != nil {
		e.s.refuse(x, err)
	}
	a := Answer{Passed: p.passed, Status: x.status, Location: p.h.Get("Location")}
	if a.Passed && how == Directly {
		a.Status = 0 // for the application to say, or our own answer
	}
	if err != nil {
		a.Reason, a.Why = reasoned(err)
	}
	if allow := p.h.Get("Allow"); allow != "" {
		a.Why += " " + allow + " are."
	}
	return a
}

// reasoned is a refusal's reason, and what it means.
func reasoned(err error) (reason, why string) {
	var no *refusal
	if !errors.As(err, &no) {
		no = fromAnswer(err)
	}
	if no.reason == reasonForwarded && no.cause != nil {
		return no.reason, strings.ToUpper(no.cause.Error()[:1]) + no.cause.Error()[1:] + "."
	}
	return no.reason, reasonText[no.reason]
}

// errUnreadable: the HTTP server refuses the request before anybody sees it.
var errUnreadable = errors.New("the request cannot be read")

// exchange makes the exchange of a request as it would arrive, or of a front
// proxy's question about it. The error is errUnreadable.
func (e *Explainer) exchange(q forwardauth.Asked, how Way, browser bool, who *session.Identity) (*exchange, *paper, error) {
	h := http.Header{"Accept": {"application/json"}}
	if browser {
		h = http.Header{"Accept": {"text/html"}, "Sec-Fetch-Mode": {"navigate"}, "Sec-Fetch-Dest": {"document"}}
	}
	r := &http.Request{Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: h, Body: http.NoBody, Method: q.Method, Host: q.Host, RequestURI: q.Target, RemoteAddr: "192.0.2.1:0"}
	if how != Directly {
		h["X-Forwarded-Method"], h["X-Forwarded-Host"], h["X-Forwarded-Uri"] = []string{q.Method}, []string{q.Host}, []string{q.Target}
		r.Method, r.Host, r.RequestURI = http.MethodGet, e.s.public.Host, askedAt[how]
	}
	if e.s.o.Config.TLS.Cert != "" {
		r.TLS = &tls.ConnectionState{}
	}
	if e.Asked() {
		r.RemoteAddr = net.JoinHostPort(e.s.origins.trusted[0].Addr().String(), "0")
		h["X-Forwarded-Proto"] = []string{q.Proto}
	}
	p := &paper{h: http.Header{}}
	var err error
	if r.URL, err = url.ParseRequestURI(r.RequestURI); err != nil {
		r.URL, err = &url.URL{Path: "/"}, errUnreadable
	}
	if strings.ContainsFunc(q.Target, func(c rune) bool { return c < ' ' || c == 0x7f }) { // in a header, too
		err = errUnreadable
	}
	r = r.WithContext(context.WithValue(context.Background(), supposed{}, who))
	return &exchange{ResponseWriter: p, r: r, start: e.s.o.Now(), door: doorNone}, p, err
}
