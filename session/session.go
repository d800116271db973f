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
)

// End says why a session ended. It is a closed set, fit for a metric's label.
type End string

// Why sessions end.
const (
	EndSignedOut  End = "signed_out"  // the person asked
	EndIdle       End = "idle"        // unused for idle_timeout
	EndLifetime   End = "lifetime"    // older than lifetime
	EndReplaced   End = "replaced"    // signed in anew
	EndGrantDead  End = "grant_dead"  // the provider refused to renew
	EndNotAllowed End = "not_allowed" // no longer among those who may enter
)

// Options is what a Manager needs besides its configuration.
type Options struct {
	Store    Store
	Cookies  *Cookies
	Renewer  Renewer          // nil: tokens are never renewed
	Now      func() time.Time // nil: time.Now
	Log      *slog.Logger
	Registry prometheus.Registerer // nil: nothing is counted
	// Ended is told of every session that ends other than by End; nil: nobody
	// is. It must not block.
	Ended func(*Identity, End)
}

// Manager begins, finds, renews and ends the sessions of one site. All methods
// are safe for concurrent use. Run must be running for renewal and expiry to
// happen without requests.
type Manager struct {
	cfg     Config
	o       Options
	metrics *metrics

	known sync.Map // store key → *live: the sessions this process has seen lately
	tasks sync.WaitGroup
	ctx   context.Context // ends the renewals in the background
	stop  context.CancelFunc
}

// New makes a manager. Call Close when no request is served any more.
func New(cfg Config, o Options) *Manager {
	if o.Now == nil {
		o.Now = time.Now
	}
	m := &Manager{cfg: cfg, o: o, metrics: newMetrics(o.Registry)}
	m.ctx, m.stop = context.WithCancel(context.Background())
	return m
}

// Close gives up renewals under way after those that have reached the
// provider are stored, or ctx is done.
func (m *Manager) Close(ctx context.Context) {
	done := make(chan struct{})
	go func() { m.tasks.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
		m.stop()
		<-done
	}
	m.stop()
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
func (s *Session) Grant() Grant { return Grant{s.record.Identity, s.record.Tokens} }

// Begin starts a session for a person who has just signed in, under an id that
// was never used before, and ends the one the request carried, if any.
func (m *Manager) Begin(w http.ResponseWriter, r *http.Request, g Grant) (*Session, error) {
	old, _ := m.carried(r) // what cannot be found cannot be ended; the new one replaces its cookie
	token := newToken(32)
	now := m.o.Now()
	g.Identity.SessionID = newToken(16)
	g.Identity.AuthTime = now
	s := &Session{record: record{Identity: g.Identity, Tokens: g.Tokens, Created: now, Seen: now, Until: holdsUntil(g.Tokens, now)}}
	s.live = newLive(keyOf(token), s)
	if err := m.save(WithJar(r.Context(), w, r), s.live, now); err != nil {
		return nil, err
	}
	for _, l := range old {
		m.end(r.Context(), l, EndReplaced)
	}
	m.known.Store(s.live.key, s.live)
	m.o.Cookies.Set(w, m.o.Cookies.Name(""), token, 0)
	m.metrics.begun.Inc()
	return s, nil
}

// Load finds the session a request carries. ErrNone (ErrTossed is one) means
// there is none; ErrUnavailable that nobody can tell. A token that has expired
// is renewed first; one that soon will be is renewed in the background.
func (m *Manager) Load(r *http.Request) (*Session, error) {
	token, tossed := m.o.Cookies.Read(r, m.o.Cookies.Name(""))
	switch {
	case tossed:
		return nil, ErrTossed
	case len(token) != tokenLen(32):
		return nil, ErrNone
	}
	l, err := m.find(r, keyOf(token))
	if err != nil {
		return nil, err
	}
	now := m.o.Now()
	if l.ended.Load() {
		return nil, ErrNone
	}
	if why, over := m.over(l, now); over {
		m.endOf(r.Context(), l, why)
		return nil, ErrNone
	}
	l.seen.Store(now.UnixNano())
	if err := m.renewIfDue(r.Context(), l, now); err != nil {
		return nil, err
	}
	return l.current.Load(), nil
}

// find looks among the sessions this process knows, then in the store.
func (m *Manager) find(r *http.Request, key string) (*live, error) {
	if l, ok := m.known.Load(key); ok {
		return l.(*live), nil
	}
	value, found, err := m.o.Store.Get(WithJar(r.Context(), nil, r), key)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if !found {
		return nil, ErrNone
	}
	s := &Session{}
	if err := s.decode(value); err != nil {
		m.o.Log.Warn("session record is unreadable", "error", err)
		return nil, ErrNone
	}
	s.live = newLive(key, s)
	l, _ := m.known.LoadOrStore(key, s.live)
	return l.(*live), nil
}

// Touch writes down that the session is in use, at most once per touch
// interval, and whatever could not be written before. A store that does not
// answer is no matter: the next Touch tries again.
func (m *Manager) Touch(w http.ResponseWriter, r *http.Request, s *Session) {
	l, now := s.live, m.o.Now()
	if !l.saveDue(now, m.touchEvery()) {
		return
	}
	if err := m.save(WithJar(r.Context(), w, r), l, now); err != nil {
		m.o.Log.Warn("session not saved; will try again", "error", err)
	}
}

// touchEvery is how much of the idle timeout may pass unwritten.
func (m *Manager) touchEvery() time.Duration { return min(time.Minute, m.cfg.IdleTimeout/4) }

// save writes the session's present state to the store.
func (m *Manager) save(ctx context.Context, l *live, now time.Time) error {
	s := l.current.Load()
	rec := s.record
	rec.Seen = l.lastSeen()
	ttl := min(rec.Created.Add(m.cfg.Lifetime).Sub(now), m.cfg.IdleTimeout+m.touchEvery())
	if ttl <= 0 {
		return nil
	}
	err := m.put(ctx, l.key, rec, ttl)
	if errors.Is(err, ErrTooLarge) && rec.Tokens.ID != "" {
		rec.Tokens.ID = "" // only a hint for signing out at the provider
		err = m.put(ctx, l.key, rec, ttl)
	}
	if err != nil {
		l.unsaved()
		if errors.Is(err, ErrTooLarge) {
			return err
		}
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	l.saved(s, now)
	if l.ended.Load() { // it ended while we wrote: what we wrote must not bring it back
		return m.o.Store.Delete(ctx, l.key)
	}
	return nil
}

func (m *Manager) put(ctx context.Context, key string, rec record, ttl time.Duration) error {
	value, err := rec.encode()
	if err != nil {
		return err
	}
	return m.o.Store.Put(ctx, key, value, ttl)
}

// carried finds every session whose cookie a request brings along, whatever
// Load would say of it. Several come only where somebody planted one.
func (m *Manager) carried(r *http.Request) (found []*live, err error) {
	for _, token := range m.o.Cookies.All(r, m.o.Cookies.Name("")) {
		if len(token) != tokenLen(32) {
			continue
		}
		l, e := m.find(r, keyOf(token))
		switch {
		case e == nil:
			found = append(found, l)
		case !errors.Is(e, ErrNone):
			err = e
		}
	}
	return found, err
}

// End ends every session that the request's cookies open, also one that Load
// would not give at the moment: the records, the cookies, and every stream that
// runs under them. It returns the last grants, waiting for a renewal under way
// until ctx is done, so that no token is left that nobody knows of. An error
// means that a session may live on: the store did not answer.
func (m *Manager) End(ctx context.Context, w http.ResponseWriter, r *http.Request, why End) ([]Grant, error) {
	m.o.Cookies.Clear(w, m.o.Cookies.Name(""))
	found, err := m.carried(r)
	var grants []Grant
	for _, l := range found {
		if e := m.end(WithJar(r.Context(), w, r), l, why); e != nil {
			err = e
		}
		l.settle(ctx)
		grants = append(grants, l.current.Load().Grant())
	}
	return grants, err
}

// end ends a session once: of several callers, the first does it.
func (m *Manager) end(ctx context.Context, l *live, why End) error {
	_, err := m.endFirst(ctx, l, why)
	return err
}

func (m *Manager) endFirst(ctx context.Context, l *live, why End) (first bool, err error) {
	if !l.end() {
		return false, nil
	}
	m.metrics.ended.WithLabelValues(string(why)).Inc()
	if err := m.o.Store.Delete(ctx, l.key); err != nil {
		return true, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return true, nil
}

// endOf ends a session that nobody asked to end, and tells of it.
func (m *Manager) endOf(ctx context.Context, l *live, why End) {
	first, err := m.endFirst(ctx, l, why)
	if err != nil {
		m.o.Log.Warn("ended session not removed from the store", "error", err)
	}
	if first && m.o.Ended != nil {
		m.o.Ended(l.current.Load().Who(), why)
	}
}

// over reports whether a session's time is up, and by which clock.
func (m *Manager) over(l *live, now time.Time) (End, bool) {
	s := l.current.Load()
	switch {
	case !now.Before(s.Created.Add(m.cfg.Lifetime)):
		return EndLifetime, true
	case now.Sub(l.lastSeen()) >= m.cfg.IdleTimeout:
		return EndIdle, true
	}
	return "", false
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
