package session

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
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
	EndAtProvider End = "at_provider" // the provider says that the person signed out there
	EndRevoked    End = "revoked"     // the person, from elsewhere, or an operator
	EndGone       End = "gone"        // the store has it no more
	EndNotBegun   End = "not_begun"   // it could not be written down
)

// inTime refuses a session whose time is up. Whether it is idle only the store
// can tell, for other replicas may have served it.
func (m *Manager) inTime(ctx context.Context, l *live, now time.Time) error {
	why, over := m.over(l, now)
	switch {
	case l.ended.Load():
		return ErrNone
	case !over:
		return nil
	case why == EndIdle && !m.alone:
		return m.endIdle(ctx, l, now)
	}
	m.endOf(ctx, l, why)
	return ErrNone
}

// endIdle ends a session that nobody used for too long on any replica. If
// somebody did, it goes on.
func (m *Manager) endIdle(ctx context.Context, l *live, now time.Time) error {
	limit := now.Add(-m.cfg.IdleTimeout)
	l.asking.Store(true)
	defer l.asking.Store(false)
	ended, err := m.st.End(ctx, l.key, Ended{Why: EndIdle, UnusedFor: limit})
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	case ended:
		l.end(nil) // unless the store's word of it was here first
		m.metrics.ended.WithLabelValues(string(EndIdle)).Inc()
		m.tellOf(l, EndIdle)
		return ErrNone
	}
	if err := m.reread(ctx, l); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if _, over := m.over(l, now); over || l.ended.Load() {
		return ErrNone
	}
	return nil
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

// carried finds every session whose cookie a request brings along, whatever
// Load would say of it. Several come only where somebody planted one.
func (m *Manager) carried(r *http.Request) (found []*live, err error) {
	for _, token := range m.o.Cookies.All(r, m.o.Cookies.Name("")) {
		if len(token) != tokenLen(32) {
			continue
		}
		l, e := m.find(WithJar(r.Context(), nil, r), token)
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
// runs under them, on all replicas. It returns the last grants, waiting for a
// renewal under way until ctx is done, so that no token is left that nobody
// knows of. An error means that a session may live on: the store did not
// answer, and will be told once it does.
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

// end ends a session once: of several callers, the first does it. Those who
// come later hear whether the store knows by now.
func (m *Manager) end(ctx context.Context, l *live, why End) error {
	_, err := m.endFirst(ctx, l, why)
	return err
}

func (m *Manager) endFirst(ctx context.Context, l *live, why End) (first bool, err error) {
	if first = l.end(&Ended{Why: why}); first {
		m.metrics.ended.WithLabelValues(string(why)).Inc()
	}
	e := l.untold()
	if e == nil {
		return first, nil
	}
	if _, err := m.st.End(ctx, l.key, *e); err != nil {
		return first, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	l.told()
	return first, nil
}

// endOf ends a session that nobody asked to end, and tells of it.
func (m *Manager) endOf(ctx context.Context, l *live, why End) {
	first, err := m.endFirst(ctx, l, why)
	if err != nil {
		m.o.Log.Warn("ended session not removed from the store; will try again", "error", err)
	}
	if first {
		m.tellOf(l, why)
	}
}

// tellOf tells of an end that this process decided, and gives the grant back
// once no renewal can change it any more.
func (m *Manager) tellOf(l *live, why End) {
	if m.o.Ended != nil {
		m.o.Ended(l.current.Load().Who(), why)
	}
	m.giveBackOf(l, why)
}

// tellEnd repeats to the store what it did not hear before.
func (m *Manager) tellEnd(l *live) {
	e := l.untold()
	if e == nil {
		return
	}
	ctx, cancel := m.storeTime()
	defer cancel()
	if _, err := m.st.End(ctx, l.key, *e); err == nil {
		l.told()
	}
}

// vanished ends a session that the store has no more: it ended elsewhere, or
// its time was up.
func (m *Manager) vanished(l *live) {
	if l.end(nil) {
		m.metrics.ended.WithLabelValues(string(EndGone)).Inc()
	}
}

// endedElsewhere ends a session that another replica, or the command line,
// has ended.
func (m *Manager) endedElsewhere(l *live, n Note) {
	if !l.end(nil) {
		return
	}
	if !l.asking.Load() {
		m.metrics.revoked.WithLabelValues(string(n.Why)).Inc()
		m.o.Log.Info("session ended elsewhere", "who", l.current.Load().Who(), "why", string(n.Why))
	}
	if n.Orphaned {
		m.spawn(func() {
			ctx, cancel := m.storeTime()
			defer cancel()
			if first, err := m.st.Once(ctx, "give back "+l.key, time.Hour); err == nil && first {
				m.giveBackOf(l, n.Why)
			}
		})
	}
}

// giveBackOf gives a session's grant back, after the renewal under way.
func (m *Manager) giveBackOf(l *live, why End) {
	if m.o.GiveBack == nil {
		return
	}
	m.spawn(func() {
		l.settle(m.ctx)
		m.o.GiveBack(m.ctx, l.current.Load().Grant(), why)
	})
}

func (m *Manager) giveBack(g Grant, why End) {
	if m.o.GiveBack != nil {
		m.spawn(func() { m.o.GiveBack(m.ctx, g, why) })
	}
}
