// Package signin is the relying party: it sends a person to the provider, takes
// them back, and finds out who they are; later it asks the provider again. It
// trusts the provider's TLS name and its keys, and nothing else that passes
// through a browser: what comes back must be sealed by us, bound to the browser
// that began, and verified.
package signin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"anteroom/session"
)

// Options is what a RelyingParty needs besides its configuration.
type Options struct {
	Nextcloud   *url.URL     // base URL, with webroot
	Public      *url.URL     // this site's origin
	Client      *http.Client // to the provider
	Codec       *session.Codec
	Cookies     *session.Cookies
	ReturnHosts []string         // further hosts that return_to may name; one with a leading dot stands for those below it
	Now         func() time.Time // nil: time.Now
	Log         *slog.Logger
	Registry    prometheus.Registerer // nil: nothing is counted
}

// RelyingParty signs people in. Safe for concurrent use. Run must be running:
// it finds the provider.
type RelyingParty struct {
	cfg      Config
	o        Options
	redirect *url.URL
	client   *http.Client
	state    *session.Sealer
	browser  *session.Sealer
	metrics  *metrics

	found  atomic.Pointer[provider]
	failed atomic.Pointer[error] // why nothing was found yet, or not lately
}

// provider is one way of signing in.
type provider interface {
	kind() string
	authURL(f flow, redirect string) string
	// exchange redeems a code, once.
	exchange(ctx context.Context, code, redirect string, f flow) (session.Grant, error)
	// renew is session.Renewer's Renew.
	renew(ctx context.Context, g session.Grant) (session.Grant, error)
	// signOut revokes what can be and says where to end the provider's session.
	signOut(ctx context.Context, t session.Tokens, back string) string
	// checkIssuer judges the callback's iss (RFC 9207).
	checkIssuer(iss string, present bool) error
}

// New makes a relying party; it asks nobody anything yet.
func New(cfg Config, o Options) (*RelyingParty, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if cfg.RedirectURI == "" {
		cfg.RedirectURI = o.Public.Scheme + "://" + o.Public.Host + "/auth/callback"
	}
	if cfg.Issuer == "" {
		cfg.Issuer = strings.TrimSuffix(o.Nextcloud.String(), "/")
	}
	redirect, err := url.Parse(cfg.RedirectURI)
	if err != nil {
		return nil, fmt.Errorf("signin.redirect_uri: %w", err)
	}
	p := &RelyingParty{cfg: cfg, o: o, redirect: redirect, metrics: newMetrics(o.Registry)}
	p.client = boundedClient(o.Client)
	p.state = o.Codec.For("state", 0) // its age is judged after it is open, to tell late from forged
	p.browser = o.Codec.For("browser", 0)
	notYet := errors.New("not asked yet")
	p.failed.Store(&notYet)
	return p, nil
}

// CallbackPath is the path of the redirect URI.
func (p *RelyingParty) CallbackPath() string { return p.redirect.Path }

// Provider is the kind that was found: "oidc", "nextcloud", or "" while none is.
func (p *RelyingParty) Provider() string {
	if v := p.provider(); v != nil {
		return v.kind()
	}
	return ""
}

func (p *RelyingParty) provider() provider {
	if v := p.found.Load(); v != nil {
		return *v
	}
	return nil
}

// Ready is nil once people can sign in, else why not, fit for an operator.
func (p *RelyingParty) Ready() error {
	if err := p.failed.Load(); err != nil {
		return *err
	}
	return nil
}

// Result is a sign-in that succeeded.
type Result struct {
	Grant    session.Grant
	ReturnTo string
}

// Start sends the browser to the provider (303). The caller has no session;
// a browser that comes here again and again after signing in is told so with
// an Error of kind Loop.
func (p *RelyingParty) Start(w http.ResponseWriter, r *http.Request, returnTo string) error {
	prov := p.provider()
	if prov == nil {
		return &Error{Kind: Unavailable, Err: p.Ready(), ReturnTo: returnTo}
	}
	b := p.readBrowser(r)
	if err := p.countStart(&b, r); err != nil {
		p.Forget(w) // so that the next try starts afresh
		return err
	}
	if b.ID == "" {
		b.ID = randomText()
	}
	f := newFlow(prov.kind(), p.ReturnTo(returnTo), b.ID, p.o.Now())
	state, err := p.state.Seal(f)
	if err != nil {
		return fmt.Errorf("starting sign-in: %w", err)
	}
	if err := p.writeBrowser(w, b); err != nil {
		return err
	}
	f.state = state
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, prov.authURL(f, p.cfg.RedirectURI), http.StatusSeeOther)
	return nil
}

// Finish judges the callback and finds out who signed in. It writes no body.
// The state is checked against the browser before the code is redeemed, which
// happens once.
func (p *RelyingParty) Finish(w http.ResponseWriter, r *http.Request) (Result, error) {
	result, kind, err := p.finish(w, r)
	outcome := "ok"
	var e *Error
	if errors.As(err, &e) {
		outcome = string(e.Kind)
	} else if err != nil {
		outcome = string(Unavailable)
		err = &Error{Kind: Unavailable, Err: err}
	}
	p.metrics.signIns.WithLabelValues(kind, outcome).Inc()
	return result, err
}

func (p *RelyingParty) finish(w http.ResponseWriter, r *http.Request) (res Result, kind string, err error) {
	prov := p.provider()
	if prov == nil {
		return res, "none", &Error{Kind: Unavailable, Err: p.Ready()}
	}
	kind = prov.kind()
	f, b, code, err := p.judge(r, prov)
	if err != nil {
		return res, kind, err
	}
	g, err := prov.exchange(r.Context(), code, p.cfg.RedirectURI, f)
	if err != nil {
		return res, kind, withReturn(err, f.ReturnTo)
	}
	if !p.mayEnter(&g.Identity) {
		p.giveBack(r.Context(), prov, g.Tokens)
		return res, kind, &Error{Kind: NotAllowed, Who: &g.Identity, ReturnTo: f.ReturnTo}
	}
	b.Done = append(b.Done, p.o.Now().Unix())
	return Result{Grant: g, ReturnTo: f.ReturnTo}, kind, p.writeBrowser(w, b)
}

// giveBack revokes the tokens of somebody who may not enter: Nextcloud's are
// worth a password, and nobody will use them.
func (p *RelyingParty) giveBack(ctx context.Context, prov provider, t session.Tokens) {
	ctx, cancel := context.WithTimeout(ctx, revokeTime)
	defer cancel()
	prov.signOut(ctx, t, "")
}

// revokeTime is how long a person waits for tokens to be given back.
const revokeTime = 3 * time.Second

func withReturn(err error, to string) error {
	var e *Error
	if errors.As(err, &e) {
		e.ReturnTo = to
	}
	return err
}

// judge checks everything about a callback that can be checked without asking
// the provider, and returns the code to redeem.
func (p *RelyingParty) judge(r *http.Request, prov provider) (f flow, b browserRecord, code string, err error) {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil || len(q["state"]) != 1 || len(q["code"]) > 1 || len(q["error"]) > 1 || len(q["iss"]) > 1 || len(q["code"])+len(q["error"]) != 1 {
		return f, b, "", &Error{Kind: Invalid, Err: errors.New("the callback's parameters are not a provider's answer")}
	}
	if err := p.state.Open(q.Get("state"), &f); err != nil {
		return f, b, "", &Error{Kind: Invalid, Err: err}
	}
	name := p.o.Cookies.Name(flowCookie)
	if value, tossed := p.o.Cookies.Read(r, name); tossed {
		return f, b, "", &Error{Kind: CookieLost, Cookie: name, Why: Tossed, ReturnTo: f.ReturnTo}
	} else if value == "" {
		return f, b, "", &Error{Kind: CookieLost, Cookie: name, Why: p.whyLost(r), ReturnTo: f.ReturnTo}
	}
	b = p.readBrowser(r)
	switch {
	case b.ID == "" || !f.boundTo(b.ID):
		return f, b, "", &Error{Kind: Invalid, Err: errors.New("another browser began this sign-in")}
	case p.o.Now().Sub(f.Began) > flowTime, f.Kind != prov.kind():
		return f, b, "", &Error{Kind: Expired, ReturnTo: f.ReturnTo}
	}
	if err := prov.checkIssuer(q.Get("iss"), q.Has("iss")); err != nil {
		return f, b, "", &Error{Kind: Invalid, Err: err, ReturnTo: f.ReturnTo}
	}
	if q.Has("error") {
		return f, b, "", &Error{Kind: Refused, Code: printable(q.Get("error")), ReturnTo: f.ReturnTo}
	}
	return f, b, q.Get("code"), nil
}

// mayEnter asks allowed_users and allowed_groups: either suffices, none means all.
func (p *RelyingParty) mayEnter(who *session.Identity) bool {
	if len(p.cfg.AllowedGroups) == 0 && len(p.cfg.AllowedUsers) == 0 {
		return true
	}
	return slices.Contains(p.cfg.AllowedUsers, who.Subject) || who.In(p.cfg.AllowedGroups)
}

// Renew implements session.Renewer.
func (p *RelyingParty) Renew(ctx context.Context, g session.Grant) (session.Grant, error) {
	prov := p.provider()
	if prov == nil {
		return g, &Error{Kind: Unavailable, Err: p.Ready()}
	}
	next, err := prov.renew(ctx, g)
	if err == nil && !p.mayEnter(&next.Identity) {
		err = session.ErrNotAllowed
	}
	p.metrics.renewals.WithLabelValues(prov.kind(), renewalResult(err)).Inc()
	return next, err
}

func renewalResult(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, session.ErrGrantDead):
		return "dead"
	case errors.Is(err, session.ErrNotAllowed):
		return "not_allowed"
	}
	return "unavailable"
}

// SignOut revokes what can be revoked and returns where the browser should go
// to end its session at the provider, "" if there is no such place. postLogout
// is where the provider should send it back to.
func (p *RelyingParty) SignOut(ctx context.Context, t session.Tokens, postLogout string) string {
	if prov := p.provider(); prov != nil {
		return prov.signOut(ctx, t, postLogout)
	}
	return ""
}

// printable keeps what is safe to show of a provider's error code.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if r > ' ' && r < 0x7f {
			return r
		}
		return -1
	}, s)
	return s[:min(len(s), 64)]
}
