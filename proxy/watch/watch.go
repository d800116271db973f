// Package watch looks at what the audit log is told, and finds what somebody
// should look at: guessed passwords, sessions used in two places, many files
// read at once. It refuses nobody anything: it makes a metric, an audit event
// and a signed message to a webhook. What it remembers is hashed and bounded,
// whatever attackers make up, and is this process's own: a restart forgets it,
// and replicas do not share it. It trusts the events to be true, and to come
// about when they say.
package watch

import (
	"fmt"
	"hash/maphash"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"anteroom/proxy/audit"
	"anteroom/session"
)

// The rules: a closed set, for alerts, metrics and audit lines.
const (
	spray             = "spray"
	sprayWide         = "spray_wide"
	guessing          = "guessing"
	failures          = "failures"
	twoNetworks       = "two_networks"
	changedAgent      = "changed_agent"
	newDevice         = "new_device"
	revokedSession    = "revoked_session"
	serviceCredential = "service_credential"
	secretRefused     = "secret_refused"
	bulkDownload      = "bulk_download"
	bulkMiB           = "bulk_mib"
	bulkDelete        = "bulk_delete"
)

// Rules are the names of all rules.
func Rules() []string {
	return []string{spray, sprayWide, guessing, failures, twoNetworks, changedAgent, newDevice, revokedSession, serviceCredential, secretRefused, bulkDownload, bulkMiB, bulkDelete}
}

// Signer signs a request of ours over its body (RFC 9421).
type Signer interface {
	Sign(r *http.Request, body []byte) error
}

// Options is what a Watch is made of besides its configuration. All may be nil.
type Options struct {
	Audit    func(audit.Event) error // takes alerts; must not wait
	Sign     Signer                  // of webhooks; nil: they are not signed
	Log      *slog.Logger
	Registry prometheus.Registerer
	Now      func() time.Time // nil: time.Now
	Client   *http.Client     // for webhooks; nil: one as the configuration says. It must not follow redirects
}

// Watch holds events against rules. Safe for concurrent use.
type Watch struct {
	cfg     Config
	o       Options
	seed    maphash.Seed
	exempt  map[string]bool
	token   *session.Rotating    // of the webhook
	roots   *session.Authorities // by whom it is known
	metrics *metrics
	wake    chan struct{} // holds one: something was raised
	more    chan struct{} // holds one: something is to be sent

	mu       sync.Mutex
	attempts attempts          // guarded by mu
	sessions *table[use]       // guarded by mu
	people   *table[person]    // guarded by mu: by canonical name
	bulk     *table[taken]     // guarded by mu
	held     int               // guarded by mu: things that bulk's values hold
	services *table[recent]    // guarded by mu
	over     *table[recent]    // guarded by mu: sessions
	quiet    *table[pause]     // guarded by mu: by rule and what it is about; the oldest ends first
	rates    map[string]*rates // guarded by mu
	raised   []Alert           // guarded by mu: for the audit log
	toSend   []Alert           // guarded by mu: for the webhook
}

// How much is remembered. All of it full is some 30 MB: one entry of a table is
// 30 to 250 bytes, and what a limit counts 16 each.
const (
	mostTries    = 65_536 // wrong credentials
	mostNetworks = 16_384
	mostAccounts = 16_384
	mostSessions = 65_536
	mostPeople   = 16_384
	mostBulk     = 8192    // who reads or deletes
	mostHeld     = 262_144 // what they read or deleted
	mostServices = 64
	mostOver     = 4096
	mostQuiet    = 8192
)

// New makes a Watch. The error is about watch.webhook.
func New(cfg Config, o Options) (*Watch, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	roots, err := session.OpenAuthorities(cfg.Webhook.CAFile)
	if err != nil {
		return nil, fmt.Errorf("watch.webhook.ca_file: %w", err)
	}
	if o.Client == nil {
		o.Client = newClient(cfg.Webhook, roots)
	}
	w := &Watch{cfg: cfg, o: o, seed: maphash.MakeSeed(), exempt: map[string]bool{}, token: session.NewRotating(cfg.Webhook.Token), roots: roots, metrics: newMetrics(o.Registry),
		wake: make(chan struct{}, 1), more: make(chan struct{}, 1),
		attempts: newAttempts(), sessions: newTable[use](mostSessions), people: newTable[person](mostPeople),
		bulk: newTable[taken](mostBulk), services: newTable[recent](mostServices), over: newTable[recent](mostOver),
		quiet: newTable[pause](mostQuiet), rates: map[string]*rates{}}
	w.bulk.dropped = func(t *taken) { w.held -= t.len() }
	w.quiet.dropped = w.summarize
	for _, who := range cfg.BulkExempt {
		w.exempt[who] = true
	}
	for _, rule := range Rules() {
		w.rates[rule] = &rates{}
	}
	return w, nil
}

// See is shown each event. It takes no longer than looking it up.
func (w *Watch) See(e audit.Event) {
	now := e.Time.UnixNano()
	if e.Time.IsZero() {
		e.Time = w.o.Now()
		now = e.Time.UnixNano()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch e.Kind {
	case audit.SignInFailed:
		w.failed(&e, now)
	case audit.Refused:
		switch e.Reason {
		case "credentials_refused", "too_many_attempts":
			w.failed(&e, now)
		}
		w.usedOver(&e, now)
	case audit.SecretRefused:
		w.secret(&e, now)
	case audit.SignIn, audit.Access, audit.Request:
		if e.Subject == "" {
			return
		}
		if e.Session == "" || e.Kind == audit.SignIn {
			w.succeeded(&e)
		}
		w.device(&e, now)
		w.session(&e, now)
		if e.Kind == audit.Access {
			w.service(&e, now)
			w.takes(&e, now)
		}
	}
}

// hash is of a text, in this process alone.
func (w *Watch) hash(text string) uint64 { return maphash.String(w.seed, text) }

// mix makes one hash of two that keep their places.
func mix(a, b uint64) uint64 {
	a ^= b + 0x9e3779b97f4a7c15 + a<<6 + a>>2
	a = (a ^ a>>30) * 0xbf58476d1ce4e5b9
	a = (a ^ a>>27) * 0x94d049bb133111eb
	return a ^ a>>31
}
