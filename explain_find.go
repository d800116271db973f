package main

import (
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"anteroom/proxy"
	"anteroom/proxy/authz"
	"anteroom/proxy/forwardauth"
	"anteroom/session"
	"anteroom/session/signin"
)

// explanation is all that is said of one request; the JSON is its tags'.
type explanation struct {
	Method    string        `json:"method"`
	URL       string        `json:"url"`
	Host      string        `json:"host"`               // as it is compared
	OursBy    string        `json:"ours_by,omitempty"`  // the key that says so
	Path      string        `json:"path"`               // as sent, without query
	Readings  []readingSaid `json:"readings,omitempty"` // the normal form first
	Ambiguous bool          `json:"ambiguous"`
	Own       string        `json:"own_url,omitempty"`
	Rule      *ruleSaid     `json:"rule,omitempty"`
	SignIn    *allowSaid    `json:"sign_in,omitempty"` // who may sign in at all
	Notes     []string      `json:"notes,omitempty"`
	Answers   []verdict     `json:"answers"`

	cfg      *Config
	question forwardauth.Asked
	rules    []ruleSaid   // every route
	ways     []proxy.Way  // how the request may come to be judged
	callers  []supposedly // in the order of Answers
	server   *proxy.Explainer
	signIn   *signin.RelyingParty
}

// supposedly is somebody whom the explanation is about; who is nil for nobody.
type supposedly struct {
	name string
	who  *session.Identity
	kept bool // from signing in, by signin.allowed_*
}

// newExplanation finds out everything there is to say.
func newExplanation(cfg *Config, places map[string]place, q forwardauth.Asked, given persons) (*explanation, error) {
	e := &explanation{cfg: cfg, question: q, Method: q.Method, URL: q.Proto + "://" + q.Host + q.Target}
	if err := e.build(); err != nil {
		return nil, err
	}
	for i := range cfg.Routes {
		e.rules = append(e.rules, ruleAt(cfg, places, i))
	}
	if groups, users := cfg.SignIn.AllowedGroups, cfg.SignIn.AllowedUsers; len(groups)+len(users) > 0 {
		e.SignIn = &allowSaid{Groups: groups, Users: users}
	}
	e.find()
	e.suppose(given)
	for _, c := range e.callers {
		e.answers(c)
	}
	return e, nil
}

// build makes of the configuration what judges requests.
func (e *explanation) build() error {
	public, err := url.Parse(e.cfg.Server.PublicURL)
	if err != nil {
		return fmt.Errorf("server.public_url: %w", err)
	}
	cookies := session.NewCookies(e.cfg.Session.Cookie, public.Scheme == "https")
	codec, err := session.NewCodec(nil) // nothing is sealed
	if err != nil {
		return err
	}
	h := &house{cfg: e.cfg, log: slog.New(slog.DiscardHandler), registry: prometheus.NewRegistry()}
	if err := h.buildSignIn(public, cookies, codec); err != nil {
		return err
	}
	e.signIn = h.signIn
	e.server, err = proxy.NewExplainer(proxy.Options{Config: e.cfg.Server, Routes: e.cfg.Routes, Identity: e.cfg.Identity, Integrations: e.cfg.Integrations, Cookies: cookies, SignIn: h.signIn})
	return err
}

// find says where the request leads.
func (e *explanation) find() {
	f := e.server.Find(e.question)
	e.Host, e.OursBy, e.Path, e.Ambiguous, e.Own = f.Host, f.OursBy, f.Path, f.Ambiguous, f.Own
	for _, r := range f.Readings {
		said := readingSaid{Path: r.Path, AnyCase: r.AnyCase}
		if r.Rule >= 0 {
			said.Rule = e.rules[r.Rule].Name
		}
		if !r.AnyCase || said.Rule != e.Readings[0].Rule {
			e.Readings = append(e.Readings, said)
		}
	}
	if f.Rule >= 0 {
		e.Rule = &e.rules[f.Rule]
		if e.cfg.Identity.JWT.Algorithm != "none" && !isNone(f.Audience) {
			e.Rule.Audience = f.Audience
		}
	}
	if f.Proto != e.question.Proto {
		e.Notes = append(e.Notes, fmt.Sprintf("coming directly, it counts as %s: server.trusted_proxies names no front proxy that may say otherwise", f.Proto))
	}
	if strings.Contains(e.question.Target, "#") {
		e.Notes = append(e.Notes, "a browser sends nothing of what follows #")
	}
	e.ways = []proxy.Way{proxy.Directly}
	if e.server.Asked() {
		e.ways = append(e.ways, proxy.Relaying, proxy.ByStatus)
	}
}

// suppose says whom the explanation is about: nobody, and the persons given,
// or else anybody who is signed in.
func (e *explanation) suppose(given persons) {
	e.callers = []supposedly{{name: "nobody"}}
	if len(given) == 0 {
		e.callers = append(e.callers, supposedly{name: "anybody signed in", who: &session.Identity{}})
		return
	}
	for _, p := range given {
		slices.Sort(p.Groups)
		c := supposedly{name: p.Subject, who: p, kept: !e.signIn.MayEnter(p)}
		if c.name == "" {
			c.name = "somebody"
		}
		if len(p.Groups) > 0 {
			c.name += " in " + listed(p.Groups)
		}
		if c.kept {
			e.Notes = append(e.Notes, c.name+" may not sign in (signin.allowed_groups, allowed_users), and gets what nobody gets")
		}
		e.callers = append(e.callers, c)
	}
}

// answers adds what somebody would be answered.
func (e *explanation) answers(c supposedly) {
	o := verdict{Who: c.name, Kept: c.kept}
	if c.kept {
		c.who = nil
	}
	for _, browser := range []bool{true, false} {
		for _, way := range e.ways {
			o.Client, o.Asked = "program", way
			if browser {
				o.Client = "browser"
			}
			o.Answer = e.server.Answer(e.question, way, browser, c.who)
			e.because(&o, c.who)
			e.Answers = append(e.Answers, o)
		}
	}
}

// because says why somebody passes, or what they lack.
func (e *explanation) because(o *verdict, who *session.Identity) {
	switch {
	case o.Passed && o.Asked == proxy.Directly && e.Own != "":
		o.Why = "Anteroom answers itself"
	case o.Passed && e.Rule != nil:
		o.Why = e.Rule.Allow.because(who)
	case o.Reason == "not_allowed" && e.Rule != nil:
		o.Why = "needs " + e.Rule.Allow.String()
	}
}

// ruleAt is the route with an index. The last may be one that nobody wrote:
// the rest, for the top-level upstream.
func ruleAt(cfg *Config, places map[string]place, i int) ruleSaid {
	r := cfg.Routes[i]
	said := ruleSaid{Index: i, Name: entry("routes", i), Path: r.Path, Host: r.Host, Methods: r.Methods,
		Allow: allowOf(r.Allow), Upstream: r.Upstream, InQuery: r.JWTInQuery}
	at, written := places[said.Name]
	if !written {
		said.Name, at = "the rest", places["upstream"]
	}
	said.Source, said.Line = at.source, at.line
	return said
}

func allowOf(a authz.Allow) allowSaid {
	return allowSaid{Public: a.Public, Groups: a.Groups, Users: a.Users}
}
