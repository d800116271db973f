package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"anteroom/integrations"
	"anteroom/proxy/audit"
	"anteroom/session"
)

const (
	secretLook    = 2 * time.Second  // between looks at the files that secrets are in
	authorityLook = 10 * time.Second // and at those of authorities
	// promoteAfter is how long new sealing keys only open: by then every replica
	// has looked at the file.
	promoteAfter = 30 * time.Second
	untriedLooks = 5 // are left out after nobody gave a word on a new secret
)

// followed is what was read from a file, a secret or authorities, and may be
// exchanged there while the program runs. Certificates and keys_file follow theirs
// by themselves.
type followed struct {
	what      string // a changed one is in the log
	key, path string
	most      int64         // bytes that the file may have
	every     time.Duration // between two looks
	// take takes the new secret, having tried it where it can be tried. Its error
	// says why the old one stays, and never holds the secret; session.ErrUntried:
	// nobody gave a word on it, and it is to be tried again.
	take func(ctx context.Context, text string) error

	mu      sync.Mutex
	used    session.Secret // guarded by mu: what was taken last
	absent  bool           // guarded by mu: at the last look nothing could be read
	refused session.Secret // guarded by mu: what was complained of last; "": nothing since
	waits   session.Secret // guarded by mu: what was said last to be untried; "": nothing since
	rest    int            // guarded by mu: looks to leave out before that is tried again
	seen    fs.FileInfo    // guarded by mu: how the file was at the last look; nil: there was none
}

// follower looks at files of secrets and of authorities.
type follower struct {
	log     *slog.Logger
	counted *prometheus.CounterVec
	audit   func(audit.Event) error
	all     []*followed
}

func newFollower(log *slog.Logger, write func(audit.Event) error, reg prometheus.Registerer) *follower {
	f := &follower{log: log, audit: write, counted: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "anteroom_secret_reloads_total", Help: "Changed files of secrets and authorities, by key and whether the new one is used.",
	}, []string{"key", "result"})}
	reg.MustRegister(f.counted)
	return f
}

// follow adds a key, if its secret came from a file.
func (f *follower) follow(cfg *Config, key string, take func(ctx context.Context, text string) error) *followed {
	from, ok := cfg.SecretFiles[key]
	if !ok {
		return nil
	}
	return f.add(&followed{what: "a changed secret", key: key, path: from.Path, most: maxSecretBytes, every: secretLook, take: take, used: from.Text})
}

// followAuthorities adds a key that names a file of authorities, if it is set.
func (f *follower) followAuthorities(cfg *Config, key string, renew func(pem string) error) *followed {
	from, ok := cfg.AuthorityFiles[key]
	if !ok {
		return nil
	}
	return f.add(&followed{what: "a changed file of authorities", key: key, path: from.Path, most: session.AuthoritiesMost, every: authorityLook,
		take: func(_ context.Context, pem string) error { return renew(pem) }, used: from.Text})
}

func (f *follower) add(x *followed) *followed {
	f.all = append(f.all, x)
	f.counted.WithLabelValues(x.key, "used")
	f.counted.WithLabelValues(x.key, "refused")
	return x
}

// run looks until ctx is done.
func (f *follower) run(ctx context.Context) {
	var looking sync.WaitGroup // each by itself: trying one may take a while
	for _, x := range f.all {
		looking.Go(func() {
			tick := time.NewTicker(x.every)
			defer tick.Stop()
			for {
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
					f.look(ctx, x, false)
				}
			}
		})
	}
	looking.Wait()
}

// look takes a changed file up. One that changed since the last look is left
// until the next, for it may be half written, unless there is no time for that.
// nil is looked at in vain.
func (f *follower) look(ctx context.Context, x *followed, atOnce bool) {
	if x == nil {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	text, info, err := x.read()
	settled := err == nil && x.seen != nil && session.SameState(info, x.seen)
	again := x.absent
	x.seen, x.absent = info, err != nil || text == ""
	switch {
	case x.absent && !again: // it may be written at this moment
		return
	case x.absent:
		f.complain(x, unreadable, cmp.Or(err, errors.New("is empty")))
		return
	case session.Secret(text) == x.used:
		x.refused, x.waits, x.rest = "", "", 0
		return
	case !settled && !atOnce:
		x.rest = 0
		return
	case x.rest > 0 && !atOnce:
		x.rest--
		return
	}
	switch err := x.take(ctx, text); {
	case err == nil:
	case errors.Is(err, session.ErrUntried):
		x.rest = untriedLooks
		if x.waits != session.Secret(text) {
			x.waits = session.Secret(text)
			f.log.Warn(x.what+" waits to be tried; the old one stays until then", "key", x.key, "file", x.path, "error", err)
		}
		return
	default:
		f.complain(x, session.Secret(text), err)
		return // and tried again at the next look
	}
	x.used, x.refused, x.waits = session.Secret(text), "", ""
	f.counted.WithLabelValues(x.key, "used").Inc()
	f.log.Info(x.what+" is used", "key", x.key, "file", x.path)
}

// unreadable stands for a secret that cannot be read.
const unreadable = session.Secret("\x00")

// complain says once of each secret why it is not used. Called with x.mu held.
func (f *follower) complain(x *followed, of session.Secret, err error) {
	if x.refused == of {
		return
	}
	x.refused = of
	f.refuse(x.key)
	f.log.Error(x.what+" is not used; the old one stays", "key", x.key, "file", x.path, "error", err)
}

// refuse counts, writes down and so has watched that a changed secret is not used.
func (f *follower) refuse(key string) {
	f.counted.WithLabelValues(key, "refused").Inc()
	if err := f.audit(audit.Event{Kind: audit.SecretRefused, Operation: key}); err != nil {
		f.log.Error("audit line lost", "error", err)
	}
}

// read reads the file as the configuration does.
func (x *followed) read() (string, fs.FileInfo, error) {
	data, info, err := session.ReadFile(x.path, x.most)
	return strings.TrimSpace(string(data)), info, err
}

// followSecrets has every secret of the program's own follow its file.
func (h *house) followSecrets(codec *session.Codec) {
	h.secrets = newFollower(h.log, h.audit.Write, h.registry)
	if h.cfg.Identity.JWT.Keys != "" {
		h.secrets.counted.WithLabelValues(keysFileKey, "refused")
		h.keys.Refused(func(error) { h.secrets.refuse(keysFileKey) })
	}
	if h.cfg.Server.TLS.Cert != "" {
		h.secrets.counted.WithLabelValues(tlsKey, "refused")
	}
	h.clientSecret = h.secrets.follow(h.cfg, "signin.client_secret", func(_ context.Context, text string) error {
		h.signIn.RenewClientSecret(session.Secret(text))
		return nil
	})
	h.secrets.follow(h.cfg, "session.keys", func(_ context.Context, text string) error {
		keys, err := splitSecrets(text, "\n")
		if err != nil {
			return err
		}
		if err := codec.Renew(keys); err != nil {
			return err
		}
		h.promote.Reset(promoteAfter)
		return nil
	})
	h.secrets.follow(h.cfg, "identity.jwt.secret", func(_ context.Context, text string) error { return h.keys.RenewSecret(session.Secret(text)) })
	h.secrets.follow(h.cfg, "audit.token", func(_ context.Context, text string) error {
		h.audit.RenewToken(session.Secret(text))
		return nil
	})
	h.secrets.follow(h.cfg, "watch.webhook.token", func(_ context.Context, text string) error {
		h.watch.RenewToken(session.Secret(text))
		return nil
	})
	if h.trace != nil {
		h.secrets.follow(h.cfg, "telemetry.otlp_headers", func(_ context.Context, text string) error { return h.trace.RenewHeaders(session.Secret(text)) })
	}
	if h.redis != nil {
		h.secrets.follow(h.cfg, "session.redis.password", func(ctx context.Context, text string) error {
			return h.redis.RenewPassword(ctx, session.Secret(text))
		})
	}
	h.live = h.cfg.Integrations
	for _, p := range heldPasswords(h.cfg, &h.live) {
		h.secrets.follow(h.cfg, p.key, func(ctx context.Context, text string) error {
			ctx, cancel := context.WithTimeout(ctx, passwordTrial)
			defer cancel()
			err := p.file.Try(ctx, session.Secret(text), func(ctx context.Context, s session.Secret) error { return p.asks(ctx, h.nextcloud, s) })
			if err != nil && !errors.Is(err, integrations.ErrRefused) {
				err = fmt.Errorf("%w: %w", session.ErrUntried, err)
			}
			return err
		})
	}
	h.promote = time.AfterFunc(time.Hour, codec.Promote)
	h.promote.Stop()
}

// followAuthorities has those by whom others are known follow their files.
func (h *house) followAuthorities() (err error) {
	if h.live.Mail.Roots, err = session.OpenAuthorities(h.live.Mail.CAFile); err != nil {
		return fmt.Errorf("integrations.mail.ca_file: %w", err)
	}
	h.secrets.followAuthorities(h.cfg, "nextcloud.ca_file", h.nextcloud.Transport.(*session.Transport).RenewAuthorities)
	h.secrets.followAuthorities(h.cfg, "audit.ca_file", h.audit.RenewAuthorities)
	h.secrets.followAuthorities(h.cfg, "watch.webhook.ca_file", h.watch.RenewAuthorities)
	h.secrets.followAuthorities(h.cfg, "integrations.mail.ca_file", h.live.Mail.Roots.Renew)
	if h.redis != nil {
		h.secrets.followAuthorities(h.cfg, "session.redis.ca_file", h.redis.RenewAuthorities)
	}
	if h.trace != nil {
		h.secrets.followAuthorities(h.cfg, "telemetry.otlp_ca_file", h.trace.RenewAuthorities)
	}
	return nil
}

// passwordTrial is how long servers may take to judge a service account's password.
const passwordTrial = 30 * time.Second

// keysFileKey is the key of the signing keys' file, which the ring follows by itself.
const keysFileKey = "identity.jwt.keys_file"

// tlsKey is the section of the certificate's files, which are followed by
// whatever listens.
const tlsKey = "server.tls"

// lookForClientSecret looks at once whether the client secret was exchanged.
func (h *house) lookForClientSecret() { h.secrets.look(context.Background(), h.clientSecret, true) }
