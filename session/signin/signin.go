// Package signin is the relying party: it sends a person to the provider, takes
// them back, and finds out who they are; later it asks the provider again. It
// trusts the provider's TLS name and its keys, and nothing else that passes
// through a browser: what comes back must be sealed by us, bound to the browser
// that began, and verified.
package signin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"anteroom/session"
)

// Options is what a RelyingParty needs besides its configuration.
type Options struct {
	Nextcloud     *url.URL     // base URL, with webroot
	Public        *url.URL     // this site's origin
	Client        *http.Client // to the provider
	Codec         *session.Codec
	Cookies       *session.Cookies
	LookForSecret func()           // calls RenewClientSecret at once if there is another; nil: there never is
	ReturnHosts   []string         // further hosts that return_to may name; one with a leading dot stands for those below it
	Now           func() time.Time // nil: time.Now
	Log           *slog.Logger
	Registry      prometheus.Registerer // nil: nothing is counted
	Trace         Tracer                // nil: nobody is told
}

// Tracer tells somebody what a sign-in took.
type Tracer interface {
	// Leg names the next request that is made with ctx.
	Leg(ctx context.Context, name string) context.Context
	// Transport has the requests through next told of.
	Transport(next http.RoundTripper, name string) http.RoundTripper
	// Traceparent is ctx's W3C trace context, "" for none.
	Traceparent(ctx context.Context) string
}

// RelyingParty signs people in. Safe for concurrent use. Run must be running:
// it finds the provider.
type RelyingParty struct {
	cfg      Config
	o        Options
	redirect *url.URL
	client   *http.Client
	secret   *session.Rotating
	state    *session.Sealer
	browser  *session.Sealer
	metrics  *metrics

	refreshing http.RoundTripper
	verifying  chan struct{} // a place for each logout token being verified

	found  atomic.Pointer[provider]
	failed atomic.Pointer[error] // why nothing was found yet
	away   atomic.Pointer[error] // why what was found does not answer now; nil: it does
	wanted chan struct{}         // somebody wants to sign in while it does not
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
	p := &RelyingParty{cfg: cfg, o: o, redirect: redirect, metrics: newMetrics(o.Registry), verifying: make(chan struct{}, maxVerifications), wanted: make(chan struct{}, 1)}
	p.secret = session.NewRotating(cfg.ClientSecret)
	p.secret.Now, p.secret.Look = o.Now, o.LookForSecret
	p.client, p.refreshing = boundedClient(o.Client), refreshTransport(o.Client)
	if o.Trace != nil {
		p.client.Transport = o.Trace.Transport(p.client.Transport, "provider")
		p.refreshing = o.Trace.Transport(p.refreshing, "provider")
	}
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

// Ready is nil once a provider was found, else why not, fit for an operator.
func (p *RelyingParty) Ready() error {
	if err := p.failed.Load(); err != nil {
		return *err
	}
	return nil
}

// Answering is nil while the provider answers, as far as is known; else why it
// does not, fit for an operator. It does not ask.
func (p *RelyingParty) Answering() error {
	if err := p.away.Load(); err != nil {
		return *err
	}
	return p.Ready()
}

// Start sends the browser to the provider (303), unless that is known not to
// answer: a browser has no good word for it. The caller has no session;
// a browser that comes here again and again after signing in is told so with
// an Error of kind Loop.
func (p *RelyingParty) Start(w http.ResponseWriter, r *http.Request, returnTo string) error {
	returnTo = p.ReturnTo(returnTo)
	prov := p.provider()
	if prov == nil {
		return &Error{Kind: Unavailable, Err: p.Ready(), ReturnTo: returnTo}
	}
	if err := p.away.Load(); err != nil {
		select {
		case p.wanted <- struct{}{}:
		default:
		}
		return &Error{Kind: Unavailable, Err: *err, ReturnTo: returnTo}
	}
	b := p.readBrowser(r)
	if err := p.countStart(&b, r); err != nil {
		p.Forget(w) // so that the next try starts afresh
		return withReturn(err, returnTo)
	}
	if b.ID == "" {
		b.ID = randomText()
	}
	f := newFlow(prov.kind(), returnTo, b.ID, p.o.Now())
	if p.o.Trace != nil {
		f.Trace = p.o.Trace.Traceparent(r.Context())
	}
	if err := p.sealFlow(&f); err != nil {
		return err
	}
	if err := p.writeBrowser(w, b); err != nil {
		return err
	}
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, prov.authURL(f, p.cfg.RedirectURI), http.StatusSeeOther)
	return nil
}

// Renew implements session.Renewer.
func (p *RelyingParty) Renew(ctx context.Context, g session.Grant) (session.Grant, error) {
	prov := p.providerOf(g.Identity.Method)
	if prov == nil {
		return g, &Error{Kind: Unavailable, Err: cmp.Or(p.Ready(), errOtherProvider)}
	}
	next, err := prov.renew(ctx, g)
	if err == nil && !p.MayEnter(&next.Identity) {
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
	case errors.Is(err, session.ErrInDoubt):
		return "in_doubt"
	}
	return "unavailable"
}

// SignOut revokes what can be revoked of a grant, where it is from, and returns
// where the browser should go to end its session at the provider, "" if there is
// no such place. postLogout is where the provider should send it back to.
func (p *RelyingParty) SignOut(ctx context.Context, g session.Grant, postLogout string) string {
	if prov := p.providerOf(g.Identity.Method); prov != nil {
		return prov.signOut(ctx, g.Tokens, postLogout)
	}
	return ""
}

// errOtherProvider: the person signed in at a provider that is no longer the one found.
var errOtherProvider = errors.New("the person signed in by OpenID Connect, which the server offers no more")

// providerOf is the provider that signs people in by a method. A session may
// be older than the discovery of another provider, which knows nothing of its
// tokens and must not be asked to judge them. An empty method is the found one's.
func (p *RelyingParty) providerOf(how session.Method) provider {
	prov := p.provider()
	switch {
	case prov == nil || how == "" || prov.kind() == string(how):
		return prov
	case how == session.ByNextcloud:
		return newNextcloud(p)
	}
	return nil
}

// samePerson takes over who a person is now into a grant being renewed, if it
// is the same person. The grant comes back in any case, for its tokens are new.
func samePerson(g session.Grant, who session.Identity, err error) (session.Grant, error) {
	switch {
	case err != nil:
		return g, fmt.Errorf("renewing: %w", err)
	case who.Subject != g.Identity.Subject:
		return g, fmt.Errorf("renewing: it is about somebody else: %w", session.ErrGrantDead)
	}
	who.SessionID, who.AuthTime = g.Identity.SessionID, g.Identity.AuthTime
	g.Identity = who
	return g, nil
}
