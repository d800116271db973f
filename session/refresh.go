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
		defer func() {
			l.mu.Lock()
			l.renewing = nil
			l.mu.Unlock()
			close(flight.done)
		}()
		if err := Contain(m.o.Log, "renewing a session", func() error { m.renew(l); return nil }); err != nil {
			m.renewalFailed(l, "unavailable", err)
		}
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
	for {
		s := l.current.Load()
		owner, spend := l.owner(s.Version), m.spends(s)
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
		wait := answer.Wait
		if answer.Outcome == ClaimChanged {
			wait = time.Second // its news should be here by now
		}
		if m.follow(ctx, l, s, wait) {
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
	case err == nil && l.unwritten(): // the store lost what it was told, and is being told again
		err = errors.New("the store has an older state of the session")
		fallthrough
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
	return m.st.Claim(ctx, l.key, Claim{
		Owner: owner, Version: s.Version, Hold: m.hold(), Spend: spend, Force: force,
		Durable: spend && !force && m.early(s),
	})
}

// lastChance reports whether grace is as good as over, so that presenting a
// token a second time can lose nothing more.
func (m *Manager) lastChance(s *Session) bool {
	return !m.o.Now().Before(s.Until.Add(m.cfg.Grace - lastChance))
}

// early reports whether there is time to try again, so that more can be asked of
// a claim. Later, to be left without tokens is the greater evil.
func (m *Manager) early(s *Session) bool {
	due := m.tokenDue(s)
	return m.o.Now().Before(due.Add(s.Tokens.Expiry.Sub(due) / 2))
}

// waitFor waits until another's claim came to something, or has run out.
func (m *Manager) waitFor(ctx context.Context, l *live, most time.Duration) error {
	t := time.NewTimer(most + 10*time.Millisecond)
	defer t.Stop()
	select {
	case <-l.changed:
	case <-t.C:
	case <-m.serving.Done():
		return errClosed
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// renewClaimed renews what this replica has claimed, and holds the claim for as
// long as that takes.
func (m *Manager) renewClaimed(ctx context.Context, l *live, before *Session, owner string, spend bool) {
	stop := m.keepHold(l, owner)
	defer stop()
	began := m.o.Now()
	g, spend, err := m.ask(ctx, l, before, owner, spend)
	m.took(m.o.Now().Sub(began))
	stop()
	kept := m.adopt(l, before, g, err, owner)
	if kept != adopted {
		m.release(l, owner, spend && (err == nil || errors.Is(err, ErrInDoubt)))
	}
	mine := l.current.Load()
	switch {
	case errors.Is(err, ErrGrantDead):
		m.endByProvider(l, mine, EndGrantDead)
	case errors.Is(err, ErrNotAllowed):
		m.endByProvider(l, mine, EndNotAllowed)
	case errors.Is(err, ErrInDoubt):
		m.o.Log.Warn("provider did not say whether it renewed; the session goes on within its grace", "who", before.Who(), "error", err)
		m.inDoubt(l, before)
	case err != nil:
		m.renewalFailed(l, "unavailable", err)
	case kept == notWritten:
		m.renewalFailed(l, "store", errors.New("what the provider said could not be written down"))
	default:
		m.renewalDone(l)
	}
}

// ask asks the provider: for new tokens, or only who the person is. Where the
// access token turns out to be dead before its time, it is for the refresh
// token to say what that means, if it is ours to present.
func (m *Manager) ask(ctx context.Context, l *live, s *Session, owner string, spend bool) (_ Grant, spent bool, err error) {
	g := s.Grant()
	if !spend {
		g.Tokens.Refresh = ""
		g, err = m.renewer(ctx, g, ErrUnavailable)
		g.Tokens = s.Tokens
		if !errors.Is(err, ErrGrantDead) || s.Tokens.Refresh == "" {
			return g, false, err
		}
		if answer, e := m.claim(ctx, l, s, owner, true); e != nil || answer.Outcome != ClaimYours {
			l.stale.Store(true)
			return g, false, fmt.Errorf("the access token is dead, and the refresh token not ours to present: %w", errors.Join(e, ErrUnavailable))
		}
		g = s.Grant()
	}
	l.spent()
	g, err = m.renewer(ctx, g, ErrInDoubt)
	return g, true, err
}

// renewer has the provider asked. A panic on the way is no word of its: it is
// doubt, an error of that kind.
func (m *Manager) renewer(ctx context.Context, g Grant, doubt error) (next Grant, err error) {
	next = g
	panicked := Contain(m.o.Log, "asking the provider", func() error {
		next, err = m.o.Renewer.Renew(ctx, g)
		return nil
	})
	if panicked != nil {
		return g, fmt.Errorf("%w: %w", doubt, panicked)
	}
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
		held := false
		err := Contain(m.o.Log, "holding a claim", func() (err error) {
			held, err = m.st.Extend(once, l.key, owner, hold)
			return err
		})
		if (held || err != nil) && ctx.Err() == nil {
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

// adoption says what became of an answer; a closed set.
type adoption int

const (
	nothingNew adoption = iota // there was nothing in it
	notWritten                 // it holds here alone, until the provider is asked again
	adopted                    // it is the session's state, or will be once the store can be told
)

// adopt makes what the provider said the session's present state. Only if it
// has confirmed the person does its word hold for longer: new tokens alone
// prove nothing. New tokens are stored however long it takes; an answer
// without counts elsewhere only if it is written down under its own claim, for
// somebody else's new tokens must not give way to it.
func (m *Manager) adopt(l *live, before *Session, g Grant, err error, owner string) adoption {
	rotated := g.Tokens.Access != "" && g.Tokens != before.Tokens
	if err != nil && !rotated {
		return nothingNew
	}
	g.Identity.SessionID, g.Identity.AuthTime = before.Identity.SessionID, before.Identity.AuthTime
	if g.Identity.Subject != before.Identity.Subject {
		g.Identity = before.Identity // who someone is never changes within a session
	}
	if g.Identity.AppID == "" {
		g.Identity.AppID, g.Identity.AppTold = before.Identity.AppID, before.Identity.AppTold
	}
	now := m.o.Now()
	next := &Session{record: before.record, live: l}
	next.Version++
	next.Identity, next.Tokens = g.Identity, g.Tokens
	if err == nil {
		next.Asked, next.Until = now, holdsUntil(g.Tokens, now)
	}
	ctx, cancel := m.storeTime()
	defer cancel()
	if !rotated && !m.alone {
		return m.adoptAnswer(ctx, l, before, next, owner)
	}
	if l.advance(next, false) == nil {
		return nothingNew
	}
	l.cutIfChanged(before, next)
	if err := m.save(ctx, l, now); err != nil && !errors.Is(err, errNoJar) {
		m.o.Log.Warn("renewed session not saved; will try again", "who", next.Who(), "error", err)
	}
	if l.ended.Load() && rotated { // it ended meanwhile: nobody will use these
		m.giveBack(next.Grant(), EndRevoked)
	}
	return adopted
}

// adoptAnswer adopts an answer without new tokens.
func (m *Manager) adoptAnswer(ctx context.Context, l *live, before, next *Session, owner string) adoption {
	now, kept := m.o.Now(), adopted
	rec := next.record
	rec.Seen = l.lastSeen()
	saved, found, err := m.put(ctx, l, rec, m.ttl(&rec, now), owner)
	switch {
	case err == nil && !found:
		m.vanished(l)
		return nothingNew
	case err != nil || !saved:
		l.stale.Store(true)
		next.Version, kept = before.Version, notWritten
	}
	if l.current.Load() != before || l.advance(next, true) == nil {
		return nothingNew
	}
	l.saved(next, now)
	l.cutIfChanged(before, next)
	return kept
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
	l.replan(m.o.Now(), wait/2+rand.N(wait/2)) // #nosec G404 -- spreads waits
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

// endByProvider ends a session whose grant is dead, or whose person may not
// enter, unless somebody has meanwhile got new tokens for it.
func (m *Manager) endByProvider(l *live, mine *Session, why End) {
	ctx, cancel := m.storeTime()
	defer cancel()
	if !m.alone && m.reread(ctx, l) == nil && l.current.Load().Version > mine.Version {
		m.metrics.renewed.WithLabelValues("elsewhere").Inc()
		return
	}
	m.metrics.renewed.WithLabelValues(string(why)).Inc()
	m.endOf(ctx, l, why)
}
