package session

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

const (
	renewAhead   = 2 * time.Minute  // how long before expiry to renew, at most
	recheckEvery = 15 * time.Minute // how often to ask who the person is where no token expires
	renewTimeout = 30 * time.Second // for one renewal, all its calls together
	retryMax     = time.Minute      // between renewals that got no answer
)

// renewal is one renewal under way: all who need it wait for the same one.
type renewal struct{ done chan struct{} }

// planRenewal sets when the provider is next asked: somewhat before the access
// token expires, a quarter of its life at most.
func (l *live) planRenewal() {
	t := l.current.Load().Tokens
	at := t.Expiry.Add(-min(renewAhead, t.Expiry.Sub(t.Issued)/4))
	if t.Expiry.IsZero() {
		at = t.Issued.Add(recheckEvery)
	}
	l.renewAt.Store(at.UnixNano())
}

// replan follows a renewal that changed nothing (the provider gives no refresh
// token, or did not answer): not every request must ask again.
func (l *live) replan(now time.Time, wait time.Duration) {
	l.renewAt.Store(now.Add(wait).UnixNano())
}

// renewIfDue asks the provider again when it is time. A token that is still
// good is renewed in the background; one that has expired is waited for. A
// provider that does not answer costs nothing within grace.
func (m *Manager) renewIfDue(ctx context.Context, l *live, now time.Time) error {
	if m.o.Renewer == nil {
		return nil
	}
	expiry := l.current.Load().Tokens.Expiry
	if now.UnixNano() >= l.renewAt.Load() {
		flight := m.startRenewal(l, now)
		if !expiry.IsZero() && !now.Before(expiry) {
			select {
			case <-flight.done:
			case <-ctx.Done():
				return fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
			}
		}
	}
	return m.stillGood(l)
}

// stillGood judges a session after renewals had their chance.
func (m *Manager) stillGood(l *live) error {
	if l.ended.Load() {
		return ErrNone
	}
	if l.failed.Load() == 0 {
		return nil
	}
	if m.o.Now().After(l.current.Load().Until.Add(m.cfg.Grace)) {
		return fmt.Errorf("%w: the provider has not answered for longer than session.grace", ErrUnavailable)
	}
	return nil
}

// startRenewal begins a renewal, or joins the one under way.
func (m *Manager) startRenewal(l *live, now time.Time) *renewal {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.renewing != nil {
		return l.renewing
	}
	flight := &renewal{done: make(chan struct{})}
	if now.UnixNano() < l.renewAt.Load() { // somebody else's has just ended
		close(flight.done)
		return flight
	}
	l.renewing = flight
	m.tasks.Go(func() {
		m.renew(l)
		l.mu.Lock()
		l.renewing = nil
		l.mu.Unlock()
		close(flight.done)
	})
	return flight
}

// renew asks the provider and draws the consequence. It is apart from any
// request: once the provider has rotated the tokens, losing its answer would
// lose the session.
func (m *Manager) renew(l *live) {
	ctx, cancel := context.WithTimeout(m.ctx, renewTimeout)
	defer cancel()
	before := l.current.Load()
	g, err := m.o.Renewer.Renew(ctx, before.Grant())
	if err == nil || g.Tokens.Access != "" && g.Tokens != before.Tokens {
		m.adopt(ctx, l, before, g, err == nil)
	}
	now := m.o.Now()
	switch {
	case errors.Is(err, ErrGrantDead):
		m.endByProvider(ctx, l, EndGrantDead)
	case errors.Is(err, ErrNotAllowed):
		m.endByProvider(ctx, l, EndNotAllowed)
	case err != nil:
		m.renewalFailed(l, now, err)
	default:
		m.renewalDone(l, now)
	}
}

// adopt makes a renewed grant the session's present state and stores it. Only
// if the provider has confirmed the person does its word hold for longer: new
// tokens alone prove nothing. Streams are cut off where the person's groups
// changed, for their door may be closed now.
func (m *Manager) adopt(ctx context.Context, l *live, before *Session, g Grant, confirmed bool) {
	g.Identity.SessionID, g.Identity.AuthTime = before.Identity.SessionID, before.Identity.AuthTime
	if g.Identity.Subject != before.Identity.Subject {
		g.Identity = before.Identity // who someone is never changes within a session
	}
	next := &Session{record: before.record, live: l}
	next.Identity, next.Tokens = g.Identity, g.Tokens
	if confirmed {
		next.Until = holdsUntil(g.Tokens, m.o.Now())
	}
	if sameIdentity(&next.Identity, before.Who()) && next.Tokens == before.Tokens && next.Until.Equal(before.Until) {
		return
	}
	l.current.Store(next)
	if !slices.Equal(next.Identity.Groups, before.Identity.Groups) {
		l.cut()
	}
	if err := m.save(ctx, l, m.o.Now()); err != nil && !errors.Is(err, errNoJar) {
		m.o.Log.Warn("renewed session not saved; will try again", "who", next.Who(), "error", err)
	}
}

// holdsUntil is how long what a provider says now of a person holds: as long
// as the token it came with or, where none expires, until the next question.
func holdsUntil(t Tokens, now time.Time) time.Time {
	if t.Expiry.After(now) {
		return t.Expiry
	}
	return now.Add(recheckEvery)
}

func (m *Manager) renewalDone(l *live, now time.Time) {
	l.failed.Store(0)
	l.planRenewal()
	if l.renewAt.Load() <= now.UnixNano() {
		l.replan(now, recheckEvery)
	}
	m.metrics.renewed.WithLabelValues("ok").Inc()
}

func (m *Manager) renewalFailed(l *live, now time.Time, err error) {
	wait := min(retryMax, time.Second<<min(l.failed.Add(1), 6))
	l.replan(now, wait/2+rand.N(wait/2))
	m.metrics.renewed.WithLabelValues("unavailable").Inc()
	m.o.Log.Warn("provider did not renew; the session goes on within its grace", "who", l.current.Load().Who(), "error", err)
}

func (m *Manager) endByProvider(ctx context.Context, l *live, why End) {
	m.metrics.renewed.WithLabelValues(string(why)).Inc()
	m.endOf(ctx, l, why)
}

func sameIdentity(a, b *Identity) bool {
	return a.Subject == b.Subject && a.Username == b.Username && a.Email == b.Email && a.Name == b.Name &&
		slices.Equal(a.Groups, b.Groups)
}
