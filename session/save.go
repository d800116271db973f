package session

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// Touch writes down that the session is in use, at most once per touch
// interval, and whatever could not be written before. It does not hold up the
// request unless the browser itself keeps the session. A store that does not
// answer is no matter: the next Touch tries again.
//
// room is how many Set-Cookie of this answer reach the browser, or AnyCookies.
// A browser's own session that needs more is left to a Touch that has them.
func (m *Manager) Touch(w http.ResponseWriter, r *http.Request, s *Session, room int) {
	l, now := s.live, m.o.Now()
	switch {
	case !l.saveDue(now, m.touchEvery()):
	case m.alone:
		m.saveByAnswer(w, r, l, room, now)
	default:
		m.writeSoon(l)
	}
}

// saveByAnswer saves a session in the browser that keeps it, if the answer
// takes it there, and looks whether what was written before has come back.
func (m *Manager) saveByAnswer(w http.ResponseWriter, r *http.Request, l *live, room int, now time.Time) {
	a, every := m.st.(*alone), m.touchEvery()
	left, version := room-len(w.Header()["Set-Cookie"]), l.current.Load().Version
	if a.cramped(l.key, left, version, now, every) {
		return
	}
	ctx := withJar(r.Context(), &Jar{w: w, r: r, room: room})
	if a.lost(ctx, l.key, now, every) {
		m.unreached(a, now, "they keep not coming back")
	}
	err := m.save(ctx, l, now)
	switch {
	case errors.Is(err, errNoRoom):
		if a.noRoom(l.key, left, version, now, m.cfg.IdleTimeout/2) {
			m.unreached(a, now, "no answer had room for them for half of session.idle_timeout")
		}
	case err != nil:
		m.o.Log.Warn("session not saved; will try again", "error", err)
	}
	if l.ended.Load() { // it ended while we wrote
		a.forget(l.key)
	}
}

// unreached counts, and says now and then, that cookies do not reach the
// browser: this process alone knows the session's present state.
func (m *Manager) unreached(a *alone, now time.Time, why string) {
	m.metrics.lost.Inc()
	if a.mayWarn(now) {
		m.o.Log.Warn("session cookies do not reach the browser, which keeps older ones; "+
			"have the front proxy relay Set-Cookie, also that of its check, or set session.store to memory or redis", "why", why)
	}
}

// touchEvery is how much of the idle timeout may pass unwritten.
func (m *Manager) touchEvery() time.Duration { return min(time.Minute, m.cfg.IdleTimeout/4) }

// writeSoon saves or touches in the background, once at a time.
func (m *Manager) writeSoon(l *live) {
	if l.writing.Swap(true) {
		return
	}
	work := func() {
		defer l.writing.Store(false)
		ctx, cancel := m.storeTime()
		defer cancel()
		if err := m.save(ctx, l, m.o.Now()); err != nil {
			m.o.Log.Warn("session not saved; will try again", "error", err)
		}
	}
	if !m.spawn(work) {
		l.writing.Store(false)
	}
}

// storeTime is a context for a word to the store that nobody waits for, and
// that is not given up when the program stops.
func (m *Manager) storeTime() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), readTime)
}

// save writes the session's present state to the store, or only its use where
// the store has the state already.
func (m *Manager) save(ctx context.Context, l *live, now time.Time) error {
	s := l.current.Load()
	rec := s.record
	rec.Seen = l.lastSeen()
	ttl := m.ttl(&rec, now)
	if ttl <= 0 || l.ended.Load() {
		return nil
	}
	found, err := m.write(ctx, l, s, rec, ttl)
	switch {
	case errors.Is(err, ErrTooLarge):
		l.unsaved()
		return err
	case err != nil:
		if l.unwritten() {
			l.unsaved()
		}
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	case !found:
		m.vanished(l)
		return nil
	}
	l.saved(s, now)
	if m.alone && l.ended.Load() { // it ended while we wrote: what we wrote must not bring it back
		_, err = m.st.End(ctx, l.key, Ended{Why: EndSignedOut})
		return err
	}
	return nil
}

// ttl is for how long a store keeps a session without hearing of it: for as
// long as it may be in use. That it is idle is judged by its last use; a store
// that is away hears of none, and is not to forget it for that.
func (m *Manager) ttl(rec *record, now time.Time) time.Duration {
	return min(rec.Created.Add(m.cfg.Lifetime).Sub(now), m.cfg.IdleTimeout+m.touchEvery()+m.cfg.Grace)
}

// write is save's word to the store. A newer version there is read instead.
func (m *Manager) write(ctx context.Context, l *live, s *Session, rec record, ttl time.Duration) (found bool, err error) {
	if !m.alone && !l.unwritten() {
		return m.st.Touch(ctx, l.key, rec.Seen, ttl)
	}
	saved, found, err := m.put(ctx, l, rec, ttl, "")
	if errors.Is(err, ErrTooLarge) && rec.Tokens.ID != "" {
		rec.Tokens.ID = "" // only a hint for signing out at the provider
		saved, found, err = m.put(ctx, l, rec, ttl, "")
	}
	if err == nil && found && !saved && l.current.Load() == s {
		l.refused.Store(true) // somebody wrote a newer one, or another of this version
		l.stale.Store(true)
	}
	return found, err
}

func (m *Manager) put(ctx context.Context, l *live, rec record, ttl time.Duration, owner string) (saved, found bool, err error) {
	v, err := m.seal(l, &rec)
	if err != nil {
		return false, true, err
	}
	return m.st.Save(ctx, l.key, v, ttl, owner)
}

// retold is for how long after an end or a change the store is told of it again
// when it comes back: a failover may have lost what it confirmed.
const retold = 10 * time.Minute

// resync tells a store that is back what it could not be told, and what it may
// have lost: ends first, then changes and uses. Sessions with streams are read,
// for they may have ended meanwhile, and those that changed lately, which tells
// whether the store has it.
func (m *Manager) resync() {
	if m.alone { // nothing was away, and without a request nothing can be told
		return
	}
	since, epoch := m.o.Now().Add(-retold), m.trust.epoch.Load()
	m.known.Range(func(_, v any) bool {
		if l := v.(*live); l.ended.Load() {
			m.tellEnd(l, l.endedSince(since))
		}
		return m.ctx.Err() == nil
	})
	m.tellGraves(m.ctx)
	m.known.Range(func(_, v any) bool {
		l := v.(*live)
		switch {
		case l.ended.Load():
		case l.hasStreams():
			m.startReading(l)
			fallthrough
		case l.unwritten(), l.unseen():
			m.writeSoon(l)
		}
		return m.ctx.Err() == nil
	})
	m.known.Range(func(_, v any) bool { // one after the other, for these may be most of all
		if l := v.(*live); !l.ended.Load() && l.current.Load().changedSince(since) {
			_ = m.reread(m.ctx, l)
		}
		return m.serving.Err() == nil && m.trust.epoch.Load() == epoch
	})
}

// changedSince reports whether a session got another state after a time. How it
// began is none: what the store has lost of that, nobody can tell it again.
func (s *Session) changedSince(t time.Time) bool {
	return s.Version > 1 && (s.Asked.After(t) || s.Tokens.Issued.After(t))
}

// settleAll tells the store, before the program stops, what it has not heard.
func (m *Manager) settleAll(ctx context.Context) {
	if m.alone {
		return
	}
	defer m.tellGraves(ctx) // those that may be made up come last
	m.known.Range(func(_, v any) bool {
		l := v.(*live)
		switch {
		case l.ended.Load():
			m.tellEnd(l, false)
		case l.unwritten(), l.unseen():
			once, cancel := context.WithTimeout(ctx, readTime)
			defer cancel()
			if err := m.save(once, l, m.o.Now()); err != nil {
				m.o.Log.Warn("session not saved before stopping", "error", err)
				return false // the store is away; the others would fare no better
			}
		}
		return ctx.Err() == nil
	})
}

// Writable is nil if a session could be begun now. To know before a sign-in's
// code is redeemed keeps the sign-in whole.
func (m *Manager) Writable(ctx context.Context) error {
	if err := m.st.Writable(ctx); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return nil
}

// Once reports true to the first who comes with a key, on any replica, until
// ttl is over.
func (m *Manager) Once(ctx context.Context, key string, ttl time.Duration) (bool, error) {
	first, err := m.st.Once(ctx, key, ttl)
	if err != nil {
		return false, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return first, nil
}
