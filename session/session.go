package session

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

var (
	// ErrNone: the request carries no session that is still good.
	ErrNone = errors.New("no session")
	// ErrTossed: the request carries two different session cookies, of which
	// somebody else set one. It counts as no session.
	ErrTossed = fmt.Errorf("two different session cookies: %w", ErrNone)
	// ErrUnavailable: the store or the provider does not answer and grace does
	// not cover it. It says nothing about the session.
	ErrUnavailable = errors.New("sessions are unavailable")

	errClosed = errors.New("stopping")
)

// Options is what a Manager needs besides its configuration.
type Options struct {
	Store    Store // one that is not Shared keeps sessions in the browser
	Cookies  *Cookies
	Codec    *Codec           // seals what a shared store has
	Renewer  Renewer          // nil: tokens are never renewed
	Now      func() time.Time // nil: time.Now
	Log      *slog.Logger
	Registry prometheus.Registerer // nil: nothing is counted
	// Ended is told of every session ended by this process other than by End;
	// nil: nobody is. It must not block.
	Ended func(*Identity, End)
	// GiveBack is handed grants that nobody will use any more, to be revoked at
	// the provider; nil: they are left to expire. It may take its time.
	GiveBack func(context.Context, Grant, End)
}

// Manager begins, finds, renews and ends the sessions of one site. All methods
// are safe for concurrent use. Run must be running for renewal and expiry to
// happen without requests, and for changes elsewhere to be heard.
type Manager struct {
	cfg     Config
	o       Options
	st      Shared
	alone   bool // each browser keeps its own session, and nobody else has it
	metrics *metrics
	trust   trust
	latency atomic.Int64 // of the provider's renewals, a moving average in nanoseconds

	known   sync.Map     // store key → *live: the sessions this process has seen lately
	ids     sync.Map     // public id → *live: the same, for those who have no cookie
	graves  sync.Map     // store key → *grave: ends of sessions that could not be read
	dug     atomic.Int64 // how many there are
	loading sync.Mutex
	loads   map[string]*reading // guarded by loading: sessions being read for the first time

	ctx     context.Context // ends the work in the background
	stop    context.CancelFunc
	tasks   sync.WaitGroup
	closing sync.Mutex
	closed  bool            // guarded by closing
	serving context.Context // done once Close begins
	retire  context.CancelFunc
}

// New makes a manager. Call Close when no request is served any more.
func New(cfg Config, o Options) *Manager {
	if o.Now == nil {
		o.Now = time.Now
	}
	m := &Manager{cfg: cfg, o: o, metrics: newMetrics(o.Registry), loads: make(map[string]*reading)}
	var shared bool
	if m.st, shared = o.Store.(Shared); !shared {
		m.st, m.alone = &alone{Store: o.Store, marks: Memory{Now: o.Now}}, true
	}
	m.ctx, m.stop = context.WithCancel(context.Background())
	m.serving, m.retire = context.WithCancel(m.ctx)
	return m
}

// Close waits for the renewals that have reached the provider, then tells the
// store what it has not heard yet, until ctx is done.
func (m *Manager) Close(ctx context.Context) {
	m.retire()
	m.closing.Lock()
	m.closed = true
	m.closing.Unlock()
	done := make(chan struct{})
	go func() { m.tasks.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
		m.stop()
		<-done
	}
	m.stop()
	m.settleAll(ctx)
}

// spawn runs work in the background; it reports false if it is too late for any.
func (m *Manager) spawn(work func()) bool {
	m.closing.Lock()
	defer m.closing.Unlock()
	if !m.closed {
		m.tasks.Go(func() { _ = Contain(m.o.Log, "work on a session", func() error { work(); return nil }) })
	}
	return !m.closed
}

// Session is one sign-in, as it stood when the request came: a snapshot that
// does not change under its reader.
type Session struct {
	record
	live *live
}

// Who is the person. Callers share it and must not change it.
func (s *Session) Who() *Identity { return &s.record.Identity }

// Grant is the person and the tokens.
func (s *Session) Grant() Grant {
	return Grant{Identity: s.record.Identity, Tokens: s.record.Tokens, Login: s.record.Login}
}

// Begin starts a session for a person who has just signed in from an address,
// under an id that was never used before, and ends the one the request
// carried, if any. If it cannot, the grant is given back.
func (m *Manager) Begin(w http.ResponseWriter, r *http.Request, g Grant, address string) (*Session, error) {
	old, _, _ := m.carried(r) // what cannot be found cannot be ended; the new one replaces its cookie
	token := newToken(32)
	now := m.o.Now()
	g.Identity.SessionID = newToken(16)
	g.Identity.AuthTime = now
	s := &Session{record: record{Version: 1, Identity: g.Identity, Tokens: g.Tokens, Login: g.Login, Created: now, Seen: now, Asked: now, Until: holdsUntil(g.Tokens, now)}}
	l := m.newLive(keyOf(token), secretOf(token), s)
	l.confirm(now.UnixNano())
	l.epoch.Store(m.trust.epoch.Load())
	l.writing.Store(true) // by us, until it is begun
	m.know(l)             // before it is written, so as to hear of it from the start
	if err := m.begin(WithJar(r.Context(), w, r), l, s, newInfo(l.key, s, r.UserAgent(), address, m.cfg.Lifetime)); err != nil {
		m.forget(l)
		m.giveBack(g, EndNotBegun)
		return nil, err
	}
	l.writing.Store(false)
	for _, l := range old {
		m.replace(r.Context(), l)
	}
	m.o.Cookies.Set(w, m.o.Cookies.Name(""), token, 0)
	m.metrics.begun.Inc()
	return s, nil
}

// begin writes a new session to the store.
func (m *Manager) begin(ctx context.Context, l *live, s *Session, about info) error {
	rec := s.record
	saved, err := m.seal(l, &rec)
	if err != nil {
		return err
	}
	var names []string
	if !m.alone {
		if saved.Info, err = m.o.Codec.sealInfo(about); err != nil {
			return err
		}
		names = m.o.Codec.namesOf(&rec)
	}
	ttl, ends := m.ttl(&rec, rec.Created), rec.Created.Add(m.cfg.Lifetime)
	err = m.st.Begin(ctx, l.key, saved, ttl, names, ends)
	if errors.Is(err, ErrTooLarge) && rec.Tokens.ID != "" {
		rec.Tokens.ID = "" // only a hint for signing out at the provider
		if saved, err = m.seal(l, &rec); err == nil {
			err = m.st.Begin(ctx, l.key, saved, ttl, names, ends)
		}
	}
	switch {
	case errors.Is(err, ErrTooLarge):
		return err
	case err != nil:
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	l.saved(s, rec.Created)
	return nil
}

// Load finds the session a request carries. ErrNone (ErrTossed is one) means
// there is none; ErrUnavailable that nobody can tell. A person of whom the
// provider was not asked for too long is asked after first; otherwise that
// happens in the background.
func (m *Manager) Load(r *http.Request) (*Session, error) {
	token, tossed := m.o.Cookies.Read(r, m.o.Cookies.Name(""))
	switch {
	case tossed:
		return nil, ErrTossed
	case len(token) != tokenLen(32):
		return nil, ErrNone
	}
	ctx := r.Context()
	if m.alone {
		ctx = WithJar(ctx, nil, r)
	}
	l, err := m.find(ctx, token)
	if err != nil {
		return nil, err
	}
	now := m.o.Now()
	if err := m.lives(ctx, l, now); err != nil {
		return nil, err
	}
	raise(&l.seen, now.UnixNano())
	if err := m.renewIfDue(ctx, l, now); err != nil {
		return nil, err
	}
	return l.current.Load(), nil
}

// lives is ErrNone for a session that is over, by its end or by its time.
func (m *Manager) lives(ctx context.Context, l *live, now time.Time) error {
	if l.ended.Load() {
		return l.isOver()
	}
	if err := m.check(ctx, l, now); err != nil {
		return err
	}
	return m.inTime(ctx, l, now)
}

// newToken makes n random bytes as URL-safe text.
func newToken(n int) string {
	b := make([]byte, n)
	rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)
}

func tokenLen(n int) int { return base64.RawURLEncoding.EncodedLen(n) }

// keyOf is the store key of a cookie's token: whoever reads the store cannot
// make the cookie from it.
func keyOf(token string) string {
	var room [80]byte
	sum := sha256.Sum256(append(append(room[:0], "anteroom session "...), token...))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
