package main

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"anteroom/proxy/audit"
	"anteroom/session"
)

const (
	secretLook = 2 * time.Second // between looks at the files that secrets are in
	// promoteAfter is how long new sealing keys only open: by then every replica
	// has looked at the file.
	promoteAfter = 30 * time.Second
)

// followed is a secret that was read from a file and may be exchanged there
// while the program runs. The service accounts' passwords follow their files by
// themselves (integrations.SecretFile), as do certificates and keys_file.
type followed struct {
	key, path string
	// take takes the new secret, having tried it where it can be tried. Its error
	// says why the old one stays, and never holds the secret.
	take func(ctx context.Context, text string) error

	mu      sync.Mutex
	used    session.Secret // guarded by mu: what was taken last
	refused session.Secret // guarded by mu: what was complained of last; "": nothing since
	seen    fs.FileInfo    // guarded by mu: how the file was at the last look; nil: there was none
}

// follower looks at files of secrets.
type follower struct {
	log     *slog.Logger
	counted *prometheus.CounterVec
	audit   func(audit.Event) error
	all     []*followed
}

func newFollower(log *slog.Logger, write func(audit.Event) error, reg prometheus.Registerer) *follower {
	f := &follower{log: log, audit: write, counted: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "anteroom_secret_reloads_total", Help: "Changed files of secrets, by key and whether the new one is used.",
	}, []string{"key", "result"})}
	reg.MustRegister(f.counted)
	return f
}

// follow adds a key, if its secret came from a file.
func (f *follower) follow(cfg *Config, key string, take func(ctx context.Context, text string) error) *followed {
	path, ok := cfg.SecretFiles[key]
	if !ok {
		return nil
	}
	x := &followed{key: key, path: path, take: take}
	if text, info, err := x.read(); err == nil {
		x.used, x.seen = session.Secret(text), info
	}
	f.all = append(f.all, x)
	f.counted.WithLabelValues(key, "used")
	f.counted.WithLabelValues(key, "refused")
	return x
}

// run looks until ctx is done.
func (f *follower) run(ctx context.Context) {
	if len(f.all) == 0 {
		return
	}
	tick := time.NewTicker(secretLook)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			for _, x := range f.all {
				f.look(ctx, x, false)
			}
		}
	}
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
	settled := err == nil && x.seen != nil && sameState(info, x.seen)
	x.seen = info
	switch {
	case err != nil || text == "":
		f.complain(x, unreadable, errors.New("it cannot be read, or is empty"))
		return
	case session.Secret(text) == x.used:
		x.refused = ""
		return
	case !settled && !atOnce:
		return
	}
	if err := x.take(ctx, text); err != nil {
		f.complain(x, session.Secret(text), err)
		return // and tried again at the next look
	}
	x.used, x.refused = session.Secret(text), ""
	f.counted.WithLabelValues(x.key, "used").Inc()
	f.log.Info("a changed secret is used", "key", x.key, "file", x.path)
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
	f.log.Error("a changed secret is not used; the old one stays", "key", x.key, "file", x.path, "error", err)
}

// refuse counts, writes down and so has watched that a changed secret is not used.
func (f *follower) refuse(key string) {
	f.counted.WithLabelValues(key, "refused").Inc()
	if err := f.audit(audit.Event{Kind: audit.SecretRefused, Operation: key}); err != nil {
		f.log.Error("audit line lost", "error", err)
	}
}

// read reads the file as the configuration does. The error leaves the name out.
func (x *followed) read() (text string, info fs.FileInfo, err error) {
	if info, err = os.Stat(x.path); err != nil {
		return "", nil, err
	}
	data, err := readAtMost(x.path, maxSecretBytes)
	return strings.TrimSpace(string(data)), info, err
}

func sameState(a, b fs.FileInfo) bool {
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}

// followSecrets has every secret of the program's own follow its file.
func (h *house) followSecrets(codec *session.Codec) {
	h.secrets = newFollower(h.log, h.audit.Write, h.registry)
	if h.cfg.Identity.JWT.Keys != "" {
		h.secrets.counted.WithLabelValues(keysFileKey, "refused")
		h.keys.Refused(func(error) { h.secrets.refuse(keysFileKey) })
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
	h.promote = time.AfterFunc(time.Hour, codec.Promote)
	h.promote.Stop()
}

// keysFileKey is the key of the signing keys' file, which the ring follows by itself.
const keysFileKey = "identity.jwt.keys_file"

// lookForClientSecret looks at once whether the client secret was exchanged.
func (h *house) lookForClientSecret() { h.secrets.look(context.Background(), h.clientSecret, true) }
