package session

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

const (
	renewAhead   = 2 * time.Minute   // how long before expiry to renew, at most, with a provider that is quick
	recheckEvery = 15 * time.Minute  // how long the provider's word on a person holds at most
	renewTimeout = 150 * time.Second // for one renewal, all its calls together; nobody waits for it that long
	retryMax     = time.Minute       // between renewals that got no answer
	holdMin      = 2 * time.Second   // of a claim, which is extended for as long as its holder lives
	holdMax      = 15 * time.Second
	overdueMax   = time.Minute      // how long after its end the provider's word is taken while it is asked again
	waitMax      = 2 * time.Second  // how long a request waits for a renewal that grace covers
	waitLong     = 10 * time.Second // and one that it does not cover
	lastChance   = 30 * time.Second // before grace is over: when a token in doubt is presented after all
)

// renewal is one renewal under way: all who need it wait for the same one.
type renewal struct {
	done  chan struct{}
	began time.Time
	late  bool // it was overdue as it began
}

// overdue reports whether the provider's last word on a person ran out longer
// ago than a renewal that is under way somewhere may take.
func (m *Manager) overdue(s *Session, now time.Time) bool {
	return !now.Before(s.Until.Add(min(overdueMax, s.Until.Sub(s.Asked)/4)))
}

// planRenewal sets when the provider is next asked: somewhat before its last
// word on the person, or the access token, runs out.
func (m *Manager) planRenewal(l *live) {
	s := l.current.Load()
	at := s.Until.Add(-m.lead(s.Until.Sub(s.Asked)))
	if t := s.Tokens; t.Refresh != "" && !t.Expiry.IsZero() {
		if due := m.tokenDue(s); due.Before(at) {
			at = due
		}
	}
	l.renewAt.Store(at.UnixNano())
}

// tokenDue is when the access token is due to be refreshed.
func (m *Manager) tokenDue(s *Session) time.Time {
	return s.Tokens.Expiry.Add(-m.lead(s.Tokens.Expiry.Sub(s.Tokens.Issued)))
}

// lead is how long before its end something of that life is renewed: a quarter
// of it and renewAhead at most, but time enough for a provider as slow as ours.
func (m *Manager) lead(life time.Duration) time.Duration {
	slow := 2 * time.Duration(m.latency.Load())
	return min(max(min(renewAhead, life/4), slow), life*3/4)
}

// took notes how long the provider took.
func (m *Manager) took(d time.Duration) {
	old := m.latency.Load()
	if old == 0 {
		m.latency.Store(int64(d))
		return
	}
	m.latency.Store(old + (int64(d)-old)/8)
}

// hold is for how long a claim holds without a sign of life: as the provider's
// latency is, so that a replica that dies holds nobody up for longer.
func (m *Manager) hold() time.Duration {
	return min(max(holdMin, 2*time.Duration(m.latency.Load())), holdMax)
}

// replan follows a renewal that changed nothing (the provider gives no refresh
// token, or did not answer): not every request must ask again.
func (l *live) replan(now time.Time, wait time.Duration) {
	l.renewAt.Store(now.Add(wait).UnixNano())
}

// renewIfDue asks the provider again when it is time, in the background. Only
// if its last word had run out already is it waited for, and not for long where
// grace covers the session.
func (m *Manager) renewIfDue(ctx context.Context, l *live, now time.Time) error {
	if m.o.Renewer == nil {
		return nil
	}
	if now.UnixNano() >= l.renewAt.Load() {
		if flight := m.startRenewal(l, now); flight.late {
			if err := m.await(ctx, l, flight, now); err != nil {
				return err
			}
			now = m.o.Now()
		}
	}
	return m.stillGood(l, now)
}

// await waits for a renewal as long as is reasonable: not at all where it is
// known to be in vain and grace covers the session.
func (m *Manager) await(ctx context.Context, l *live, flight *renewal, now time.Time) error {
	wait := waitMax
	switch {
	case now.After(l.current.Load().Until.Add(m.cfg.Grace)):
		wait = waitLong
	case l.failed.Load() > 0, !m.alone && !m.current(l, now):
		return nil
	}
	t := time.NewTimer(flight.began.Add(wait).Sub(now))
	defer t.Stop()
	select {
	case <-flight.done:
	case <-t.C:
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
	}
	return nil
}

// stillGood judges a session after renewals had their chance.
func (m *Manager) stillGood(l *live, now time.Time) error {
	switch {
	case l.ended.Load():
		return ErrNone
	case m.o.Renewer != nil && now.After(l.current.Load().Until.Add(m.cfg.Grace)):
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
	flight := &renewal{done: make(chan struct{}), began: now, late: m.overdue(l.current.Load(), now)}
	if now.UnixNano() < l.renewAt.Load() { // somebody else's has just ended
		close(flight.done)
		return flight
	}
	l.renewing = flight
	work := func() {
		m.renew(l)
		l.mu.Lock()
		l.renewing = nil
		l.mu.Unlock()
		close(flight.done)
	}
	if !m.spawn(work) {
		l.renewing = nil
		close(flight.done)
	}
	return flight
}

// renew has the provider asked once, by this replica or another, and draws the
// consequence. It is apart from any request: once the provider has rotated the
// tokens, losing its answer would lose the session.
func (m *Manager) renew(l *live) {
	ctx, cancel := context.WithTimeout(m.ctx, renewTimeout)
	defer cancel()
	owner := newToken(12)
	for {
		s := l.current.Load()
		spend := m.spends(s)
		answer, err := m.claim(ctx, l, s, owner, spend)
		switch {
		case err != nil:
			m.renewalFailed(l, "store", err)
			return
		case answer.Outcome == ClaimYours:
			m.renewClaimed(ctx, l, s, owner, spend)
			return
		case answer.Outcome == ClaimGone:
			m.vanished(l)
			return
		case answer.Outcome == ClaimDoubt:
			m.inDoubt(l, s)
			return
		}
		if m.follow(ctx, l, s, answer.Wait) {
			return
		}
	}
}

// follow reads what another replica makes of a session that it renews, waiting
// for it if need be. It reports true where nothing is left to do here.
func (m *Manager) follow(ctx context.Context, l *live, s *Session, wait time.Duration) (done bool) {
	err := m.reread(ctx, l)
	if err == nil && l.current.Load() == s && !l.ended.Load() {
		if err = m.waitFor(ctx, l, wait); err == nil {
			err = m.reread(ctx, l)
		}
	}
	switch {
	case err != nil:
		m.renewalFailed(l, "store", err)
		return true
	case l.ended.Load():
		return true
	case l.current.Load() != s && m.o.Now().UnixNano() < l.renewAt.Load():
		m.metrics.renewed.WithLabelValues("elsewhere").Inc()
		return true
	}
	return false
}

// spends reports whether the refresh token is to be presented. Between two
// refreshes the provider is only asked who the person is.
func (m *Manager) spends(s *Session) bool {
	return s.Tokens.Refresh != "" && !s.Tokens.Expiry.IsZero() && !m.o.Now().Before(m.tokenDue(s))
}

func (m *Manager) claim(ctx context.Context, l *live, s *Session, owner string, spend bool) (ClaimAnswer, error) {
	force := m.lastChance(s)
	if l.doubt.Load() == s.Version && !force {
		return ClaimAnswer{Outcome: ClaimDoubt}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	return m.st.Claim(ctx, l.key, Claim{Owner: owner, Version: s.Version, Hold: m.hold(), Spend: spend, Force: force})
}

// lastChance reports whether grace is as good as over, so that presenting a
// token a second time can lose nothing more.
func (m *Manager) lastChance(s *Session) bool {
	return !m.o.Now().Before(s.Until.Add(m.cfg.Grace - lastChance))
}

// waitFor waits until another's claim came to something, or has run out.
func (m *Manager) waitFor(ctx context.Context, l *live, most time.Duration) error {
	t := time.NewTimer(most + 10*time.Millisecond)
	defer t.Stop()
	select {
	case <-l.changed:
	case <-t.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// renewClaimed renews what this replica has claimed, and holds the claim for as
// long as that takes.
func (m *Manager) renewClaimed(ctx context.Context, l *live, before *Session, owner string, spend bool) {
	stop := m.keepHold(l, owner)
	began := m.o.Now()
	g, err := m.ask(ctx, before, spend)
	if errors.Is(err, ErrGrantDead) && !spend && before.Tokens.Refresh != "" {
		// The access token died before its time; that is for the refresh token to say.
		if answer, e := m.claim(ctx, l, before, owner, true); e == nil && answer.Outcome == ClaimYours {
			spend = true
			g, err = m.ask(ctx, before, true)
		}
	}
	m.took(m.o.Now().Sub(began))
	stop()
	if !m.adopt(l, before, g, err) {
		m.release(l, owner, errors.Is(err, ErrInDoubt))
	}
	switch {
	case errors.Is(err, ErrGrantDead):
		m.endByProvider(l, EndGrantDead)
	case errors.Is(err, ErrNotAllowed):
		m.endByProvider(l, EndNotAllowed)
	case errors.Is(err, ErrInDoubt):
		m.o.Log.Warn("provider did not say whether it renewed; the session goes on within its grace", "who", before.Who(), "error", err)
		m.inDoubt(l, before)
	case err != nil:
		m.renewalFailed(l, "unavailable", err)
	default:
		m.renewalDone(l)
	}
}

// ask asks the provider: for new tokens, or only who the person is.
func (m *Manager) ask(ctx context.Context, s *Session, spend bool) (Grant, error) {
	g := s.Grant()
	if spend {
		return m.o.Renewer.Renew(ctx, g)
	}
	g.Tokens.Refresh = ""
	next, err := m.o.Renewer.Renew(ctx, g)
	next.Tokens = s.Tokens
	return next, err
}

// keepHold extends a claim until stop is called.
func (m *Manager) keepHold(l *live, owner string) (stop func()) {
	hold := m.hold()
	ctx, cancel := context.WithCancel(context.Background())
	var beat func()
	beat = func() {
		once, done := context.WithTimeout(ctx, readTime)
		defer done()
		if held, err := m.st.Extend(once, l.key, owner, hold); (held || err != nil) && ctx.Err() == nil {
			time.AfterFunc(hold/3, beat)
		}
	}
	t := time.AfterFunc(hold/3, beat)
	return func() { cancel(); t.Stop() }
}

func (m *Manager) release(l *live, owner string, spent bool) {
	ctx, cancel := m.storeTime()
	defer cancel()
	if err := m.st.Release(ctx, l.key, owner, spent); err != nil {
		m.o.Log.Warn("renewal not given up in the store; it runs out by itself", "error", err)
	}
}

// adopt makes a renewed grant the session's present state and stores it, if
// there is anything new in it. Only if the provider has confirmed the person
// does its word hold for longer: new tokens alone prove nothing.
func (m *Manager) adopt(l *live, before *Session, g Grant, err error) bool {
	rotated := g.Tokens.Access != "" && g.Tokens != before.Tokens
	if err != nil && !rotated {
		return false
	}
	g.Identity.SessionID, g.Identity.AuthTime = before.Identity.SessionID, before.Identity.AuthTime
	if g.Identity.Subject != before.Identity.Subject {
		g.Identity = before.Identity // who someone is never changes within a session
	}
	now := m.o.Now()
	next := &Session{record: before.record, live: l}
	next.Version++
	next.Identity, next.Tokens = g.Identity, g.Tokens
	if err == nil {
		next.Asked, next.Until = now, holdsUntil(g.Tokens, now)
	}
	if l.advance(next) == nil {
		return false
	}
	l.cutIfChanged(before, next)
	ctx, cancel := m.storeTime()
	defer cancel()
	if err := m.save(ctx, l, now); err != nil && !errors.Is(err, errNoJar) {
		m.o.Log.Warn("renewed session not saved; will try again", "who", next.Who(), "error", err)
	}
	if l.ended.Load() && rotated { // it ended meanwhile: nobody will use these
		m.giveBack(next.Grant(), EndRevoked)
	}
	return true
}

// holdsUntil is how long what a provider says now of a person holds: as long
// as the token it came with, but not for ever.
func holdsUntil(t Tokens, now time.Time) time.Time {
	if t.Expiry.After(now) && t.Expiry.Before(now.Add(recheckEvery)) {
		return t.Expiry
	}
	return now.Add(recheckEvery)
}

func (m *Manager) renewalDone(l *live) {
	l.failed.Store(0)
	m.planRenewal(l)
	if now := m.o.Now(); l.renewAt.Load() <= now.UnixNano() {
		l.replan(now, recheckEvery)
	}
	m.metrics.renewed.WithLabelValues("ok").Inc()
}

func (m *Manager) renewalFailed(l *live, result string, err error) {
	wait := min(retryMax, time.Second<<min(l.failed.Add(1), 6))
	l.replan(m.o.Now(), wait/2+rand.N(wait/2))
	m.metrics.renewed.WithLabelValues(result).Inc()
	m.o.Log.Warn("session not renewed; it goes on within its grace", "who", l.current.Load().Who(), "result", result, "error", err)
}

// inDoubt leaves a session whose refresh token may have been taken alone until
// grace is nearly over: presented twice, a provider takes it for stolen.
func (m *Manager) inDoubt(l *live, s *Session) {
	l.doubt.Store(s.Version)
	now := m.o.Now()
	l.replan(now, max(s.Until.Add(m.cfg.Grace-lastChance).Sub(now), time.Second))
	m.metrics.renewed.WithLabelValues("in_doubt").Inc()
}

func (m *Manager) endByProvider(l *live, why End) {
	m.metrics.renewed.WithLabelValues(string(why)).Inc()
	ctx, cancel := m.storeTime()
	defer cancel()
	m.endOf(ctx, l, why)
}
