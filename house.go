package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"anteroom/integrations"
	"anteroom/proxy"
	"anteroom/proxy/audit"
	"anteroom/proxy/authn"
	"anteroom/proxy/pages"
	"anteroom/proxy/throttle"
	"anteroom/proxy/trace"
	"anteroom/proxy/upstream"
	"anteroom/proxy/watch"
	"anteroom/session"
	"anteroom/session/signin"
)

// house is everything that runs.
type house struct {
	cfg      *Config
	log      *slog.Logger
	registry *prometheus.Registry
	sessions *session.Manager
	signIn   *signin.RelyingParty
	keys     *upstream.Ring

	nextcloud *http.Client
	granted   *integrations.Connections // nil: nothing uses what people could grant
	audit     *audit.Log
	watch     *watch.Watch
	provision *upstream.Provisioner // nil: the application is told of nobody
	mirror    *session.Sealer       // nil: keys are this process's own, and no doctor has them
	server    *proxy.Server
	trace     *trace.Tracer // nil: nothing is traced

	live         integrations.Config // the section, with passwords that follow their files
	secrets      *follower
	clientSecret *followed      // nil: in no file
	promote      *time.Timer    // of new sealing keys
	redis        *session.Redis // nil: sessions are elsewhere

	checks     []proxy.Check
	closeStore func() error // nil: there is nothing to close
}

// build puts the rooms together; it opens files but no socket.
func build(cfg *Config, log *slog.Logger, sys system) (*house, error) {
	h := &house{cfg: cfg, log: log, registry: prometheus.NewRegistry()}
	h.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	public, err := url.Parse(cfg.Server.PublicURL)
	if err != nil {
		return nil, fmt.Errorf("server.public_url: %w", err)
	}
	if err := h.openTrace(); err != nil {
		return nil, err
	}
	cookies := session.NewCookies(cfg.Session.Cookie, public.Scheme == "https")
	codec, err := session.NewCodec(cfg.Session.Keys)
	if err != nil {
		return nil, fmt.Errorf("session.keys: %w", err)
	}
	if len(cfg.Session.Keys) > 0 {
		h.mirror = proxy.MirrorSealer(codec)
	}
	if err := h.buildSignIn(public, cookies, codec); err != nil {
		return nil, err
	}
	if h.keys, err = upstream.OpenKeys(cfg.Identity.JWT, time.Now, log); err != nil {
		return nil, err
	}
	if err := h.buildAudit(sys); err != nil {
		return nil, err
	}
	store, err := h.openStore(cookies, codec)
	if err != nil {
		return nil, err
	}
	h.provision = upstream.NewProvisioner(cfg.Identity, cfg.Server.PublicURL, h.keys, time.Now, log, h.registry)
	h.provision.Traced(func(next http.RoundTripper) http.RoundTripper { return h.trace.Transport(next, "provision") })
	h.sessions = session.New(cfg.Session, session.Options{
		Store: store, Cookies: cookies, Codec: codec, Renewer: h.provision.Renewing(h.signIn), Log: log, Registry: h.registry, Ended: h.ended, GiveBack: h.giveBack,
	})
	if err := h.openConnections(store, codec, public.Host); err != nil {
		return nil, err
	}
	h.followSecrets(codec)
	if err := h.followAuthorities(); err != nil {
		return nil, err
	}
	return h, h.buildServer(cookies, codec)
}

// buildAudit opens the audit log, and has its events watched; alerts go back
// into it. What either posts is signed with the JWT's key, if there is one.
func (h *house) buildAudit(sys system) (err error) {
	posted := upstream.NewSigner(h.keys, time.Now)
	w := watch.Options{Audit: func(e audit.Event) error { return h.audit.Write(e) }, Log: h.log, Registry: h.registry}
	a := audit.Options{Stdout: sys.Out, Stderr: sys.Err, Log: h.log, Registry: h.registry}
	if posted != nil {
		w.Sign, a.Sign = posted, posted
	}
	if h.watch, err = watch.New(h.cfg.Watch, w); err != nil {
		return err
	}
	a.See = h.watch.See
	if h.audit, err = audit.Open(h.cfg.Audit, a); err != nil {
		return err
	}
	if h.cfg.Audit.Required {
		h.checks = append(h.checks, proxy.Check{Name: "audit", Err: h.audit.Failing})
	}
	return nil
}

// openStore opens the store of sessions; no socket yet.
func (h *house) openStore(cookies *session.Cookies, codec *session.Codec) (session.Store, error) {
	switch cfg := h.cfg.Session; cfg.Store {
	case "cookie":
		h.log.Warn("session.store is cookie: ending a session is known to this process alone, and until it restarts; use one replica")
		return session.NewBrowser(cookies, codec, nil), nil
	case "redis":
		r, err := session.OpenRedis(cfg.Redis, session.RedisOptions{Log: h.log, Registry: h.registry, Trace: h.tracedRedis()})
		if err != nil {
			return nil, fmt.Errorf("session.redis: %w", err)
		}
		if j := h.cfg.Identity.JWT; j.Keys == "" && j.Algorithm != "HS256" && j.Algorithm != "none" {
			h.log.Warn("identity.jwt.keys_file is not set: each replica signs with keys of its own, which no other publishes")
		}
		h.redis, h.closeStore = r, r.Close
		h.checks = append(h.checks, proxy.Check{Name: "redis", Err: reached(r.Answering)})
		return r, nil
	}
	return &session.Memory{}, nil
}

// reached is a check that stays passed: a store that is away later is for
// grace to bear, and to take every replica out of service for it would not help.
func reached(check func() error) func() error {
	var once atomic.Bool
	return func() error {
		if once.Load() {
			return nil
		}
		err := check()
		once.Store(err == nil)
		return err
	}
}

func (h *house) buildSignIn(public *url.URL, cookies *session.Cookies, codec *session.Codec) error {
	nextcloud, err := url.Parse(h.cfg.Nextcloud.URL)
	if err != nil {
		return fmt.Errorf("nextcloud.url: %w", err)
	}
	client, err := integrations.NewClient(h.cfg.Nextcloud)
	if err != nil {
		return err
	}
	h.nextcloud = client
	o := signin.Options{LookForSecret: h.lookForClientSecret, Nextcloud: nextcloud, Public: public, Client: client, Codec: codec, Cookies: cookies, Log: h.log, Registry: h.registry}
	if h.trace != nil {
		o.Trace = h.trace
	}
	if d := cookies.Domain(); d != "" {
		o.ReturnHosts = []string{d, "." + d}
	}
	h.signIn, err = signin.New(h.cfg.SignIn, o)
	return err
}

func (h *house) buildServer(cookies *session.Cookies, codec *session.Codec) error {
	p, err := pages.New()
	if err != nil {
		return err
	}
	v, _ := builtFrom()
	var buckets throttle.Shared // nil, as the next, unless sessions are shared, too
	var marks authn.Marks
	var mailKeys *session.Ledger
	if h.redis != nil {
		buckets, marks, mailKeys = session.NewBuckets(h.redis, codec), session.NewMarks(h.redis, codec), session.NewLedger(h.redis, codec, "idempotency keys of mail")
	}
	h.server, err = proxy.New(proxy.Options{
		Config: h.cfg.Server, Routes: h.cfg.Routes, Identity: h.cfg.Identity,
		Integrations: h.live, Nextcloud: h.nextcloud, Connections: h.granted, MailKeys: mailKeys,
		Clients: h.cfg.Clients, People: h.signIn, Tokens: h.signIn,
		Sessions: h.sessions, Cookies: cookies, SignIn: h.signIn,
		Keys: h.keys, Asserter: upstream.NewAsserter(h.cfg.Identity, h.cfg.Server.PublicURL, h.keys, time.Now),
		Audit: h.audit, Trace: h.trace, TrustTraces: h.cfg.Telemetry.TrustTraces, Pages: p, Buckets: buckets, Marks: marks, Provisioner: h.provision, Mirror: h.mirror, NextcloudURL: h.cfg.Nextcloud.URL, Version: v, Log: h.log, Registry: h.registry,
		TLSRefused: func() { h.secrets.refuse(tlsKey) },
	})
	return err
}

// ended writes down sessions that end without anybody asking.
func (h *house) ended(who *session.Identity, why session.End) {
	h.audit.Write(audit.Event{Kind: audit.SessionEnded, Reason: string(why)}.By(who))
}

// giveBack has the provider revoke tokens that nobody will use any more. Where
// nobody asked for the end, an OpenID Connect provider may take it for the end
// of a later sign-in of the same browser, too: there they are left to expire.
func (h *house) giveBack(ctx context.Context, g session.Grant, why session.End) {
	switch why {
	case session.EndGrantDead, session.EndAtProvider:
		return
	case session.EndIdle, session.EndLifetime, session.EndNotAllowed, session.EndReplaced:
		if g.Identity.Method == session.ByOIDC {
			return
		}
	}
	ctx, cancel := context.WithTimeout(ctx, giveBackTime)
	defer cancel()
	h.signIn.SignOut(ctx, g, "")
}

// giveBackTime is how long the provider may take to revoke tokens.
const giveBackTime = 10 * time.Second
