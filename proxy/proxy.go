// Package proxy is the request path: what comes in at the listener and what
// becomes of it. It trusts nothing a client sends. A request goes one way,
//
//	listen → observe → origin → route → gate → answer
//
// and an error from any step becomes that route's refusal.
package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"anteroom/integrations"
	"anteroom/integrations/api"
	"anteroom/proxy/audit"
	"anteroom/proxy/authn"
	"anteroom/proxy/authz"
	"anteroom/proxy/dav"
	"anteroom/proxy/pages"
	"anteroom/proxy/throttle"
	"anteroom/proxy/trace"
	"anteroom/proxy/upstream"
	"anteroom/session"
	"anteroom/session/signin"
)

// Options is what a Server is made of. All is required but what says otherwise.
type Options struct {
	Config   Config
	Routes   []Route
	Identity upstream.Config

	Sessions    *session.Manager
	Cookies     *session.Cookies
	SignIn      *signin.RelyingParty
	Keys        *upstream.Ring
	Asserter    *upstream.Asserter
	Audit       *audit.Log
	Marks       authn.Marks           // by which replicas tell each other of passwords that were good; nil: each goes by its own
	Buckets     throttle.Shared       // by which replicas limit how often something is asked for; nil: each by its own
	Provisioner *upstream.Provisioner // nil: the application is told of nobody before they come
	Pages       *pages.Pages
	Trace       *trace.Tracer // nil: nothing is traced
	TrustTraces bool          // trusted proxies name requests and traces

	Integrations integrations.Config       // those with a mount are served
	Nextcloud    *http.Client              // what they are reached with; nil: they are not
	Connections  *integrations.Connections // app passwords that people granted; nil: none
	MailKeys     *session.Ledger           // by which replicas tell each other of mail's idempotency keys; nil: each goes by its own
	Clients      []authn.Client            // programs that may come to them
	People       authn.People              // by whom people come to them with an app password; nil: they do not
	Tokens       authn.Tokens              // and with an access token of the provider's; nil: they do not

	Mirror       *session.Sealer // opens what a doctor shows; nil: none is answered
	NextcloudURL string          // shown on the account page
	Version      string          // of the program
	Log          *slog.Logger
	Registry     prometheus.Registerer // nil: nothing is counted
	Now          func() time.Time      // nil: time.Now
	TLSRefused   func()                // told that changed files of server.tls are not used; nil: nobody
}

// Server answers the site's requests. Make it with New, run it with Serve, end
// it with Shutdown.
type Server struct {
	o       Options
	public  *url.URL
	origins *origins
	callers authn.Source
	policy  *authz.Policy
	own     map[string]*door // our URLs, by exact path
	under   []string         // those of them that stand for all below, too
	apps    []*door          // the application's routes, in the policy's order

	audiences []string        // of the JWTs, by route
	accepted  []string        // of the JWTs that callers may come with
	allowed   map[string]bool // origins whose pages may open WebSockets and read our 401
	metrics   *metrics
	hsts      []string // see exchange; shared, and never changed
	devices   devices
	limits    *limits
	rates     rates

	introducer *upstream.Introducer // for front proxies that forward requests themselves
	away       *pages.Pages         // for addresses of theirs

	dav      *dav.Service // nil: none is served
	api      *api.API     // nil: none is served
	access   *integrations.Access
	programs authn.Source         // knows who comes to it; nil where it is
	said     *authn.Authorization // the part of it that goes by Authorization

	http     *http.Server
	tls      func() (*tls.Config, error) // of all our listeners
	extAuthz *extAuthz                   // nil: not served
	draining atomic.Bool
	requests atomic.Int64            // under way, those that the http.Server no longer counts too
	cutOff   context.CancelCauseFunc // ends what is still under way
}

// New makes a server; it opens no socket.
func New(o Options) (*Server, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	public, err := url.Parse(o.Config.PublicURL)
	if err != nil {
		return nil, fmt.Errorf("server.public_url: %w", err)
	}
	s := &Server{o: o, public: public, allowed: map[string]bool{}}
	if s.origins, err = newOrigins(o.Config, public, o.Cookies.Domain()); err != nil {
		return nil, err
	}
	s.origins.traces = o.TrustTraces
	for _, a := range o.Config.AllowedOrigins {
		s.allowed[lower(a)] = true
	}
	s.devices.name = o.Pages.Device
	if public.Scheme == "https" && o.Config.HSTS > 0 {
		s.hsts = []string{"max-age=" + strconv.Itoa(o.Config.HSTS)}
	}
	s.away = o.Pages.From(originOf(public))
	s.callers = authn.Chain{authn.Cookie{Sessions: o.Sessions}}
	if o.Nextcloud != nil {
		if err := s.openDAV(); err != nil {
			return nil, err
		}
		if err := s.openAPI(); err != nil {
			return nil, err
		}
	}
	s.limits = newLimits(o.Config, s.origins.trustsAddr, o.Registry)
	s.limits.log = o.Log
	s.rates = newRates(o.Config, o.Buckets, o.Now)
	if err := s.layRoutes(); err != nil {
		return nil, err
	}
	s.metrics = newMetrics(o.Registry, doorNames)
	s.tls = sync.OnceValues(func() (*tls.Config, error) { return newTLS(o.Config.TLS, o.Log, o.Now, o.TLSRefused) })
	s.http = s.newHTTP()
	if o.Config.ExtAuthzListen != "" {
		s.extAuthz, err = s.newExtAuthz()
	}
	return s, err
}

func originOf(u *url.URL) string { return u.Scheme + "://" + u.Host }

func (s *Server) newHTTP() *http.Server {
	ctx, cancel := context.WithCancelCause(context.Background())
	s.cutOff = cancel
	c := s.o.Config
	p := new(http.Protocols)
	p.SetHTTP1(true)
	p.SetHTTP2(true)
	p.SetUnencryptedHTTP2(c.H2C)
	return &http.Server{
		Handler:   s,
		Protocols: p,
		// OPTIONS * is a request like any other.
		DisableGeneralOptionsHandler: true,
		MaxHeaderBytes:               c.MaxHeaderBytes,
		ReadHeaderTimeout:            c.HeaderTimeout,
		IdleTimeout:                  c.IdleTimeout,
		HTTP2:                        &http.HTTP2Config{MaxConcurrentStreams: http2Streams},
		ErrorLog:                     slog.NewLogLogger(s.o.Log.Handler(), slog.LevelDebug),
		BaseContext:                  func(net.Listener) context.Context { return ctx },
	}
}

// Serve answers requests from the listener until Shutdown; it then returns nil.
func (s *Server) Serve(l net.Listener) error {
	l = &listener{l, s.limits}
	if s.o.Config.TLS.Cert != "" {
		tlsConfig, err := s.tls()
		if err != nil {
			return err
		}
		s.http.TLSConfig = tlsConfig.Clone()
		return closed(s.http.ServeTLS(l, "", ""))
	}
	return closed(s.http.Serve(l))
}

func closed(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// Shutdown stops taking requests, waits for those under way until ctx is done,
// then cuts off the rest: streams that would go on for ever, and WebSockets,
// which are told to come again (upstream.CloseRestarting).
func (s *Server) Shutdown(ctx context.Context) error {
	s.draining.Store(true)
	drained := s.extAuthz.drain(ctx)
	err := s.http.Shutdown(ctx)
	drained()
	if !s.idle(ctx) {
		err = fmt.Errorf("requests still under way were cut off: %w", context.Cause(ctx))
	}
	s.cutOff(upstream.ErrShuttingDown)
	s.http.Close()
	last, cancel := context.WithTimeout(context.Background(), cutOffTime)
	defer cancel()
	if !s.idle(last) {
		err = errors.New("requests were cut off and are not over yet")
	}
	for _, d := range s.apps {
		if d.forward != nil {
			d.forward.Close()
		}
	}
	if s.dav != nil {
		s.dav.Close()
	}
	return err
}

// UnderWay is how many requests are being answered, WebSockets among them.
func (s *Server) UnderWay() int64 { return s.requests.Load() }

const (
	cutOffTime = 3 * time.Second       // for requests to end once they are cut off
	idlePoll   = 10 * time.Millisecond // between looks at whether they have
)

// idle waits until no request is under way; it reports false if ctx was done
// before.
func (s *Server) idle(ctx context.Context) bool {
	tick := time.NewTicker(idlePoll)
	defer tick.Stop()
	for s.requests.Load() > 0 {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
	return true
}
