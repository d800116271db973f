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
	EndRevoked    End = "revoked"     // the person, from elsewhere
	EndByOperator End = "by_operator" // by the command line
	EndGone       End = "gone"        // the store has it no more
	EndNotBegun   End = "not_begun"   // it could not be written down
)

// Over is ErrNone of a session that this process knew, and that was ended before
// it was asked for.
type Over struct {
	ID  string // public
	Why End
	At  time.Time
}

// Error implements error.
func (o *Over) Error() string { return ErrNone.Error() }

// Unwrap says that it is ErrNone.
func (o *Over) Unwrap() error { return ErrNone }

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
	if m.trust.epoch.Load() > 1 && now.UnixNano()-m.trust.since.Load() < int64(min(settling, m.cfg.IdleTimeout/4)) {
		return fmt.Errorf("%w: the store has just come back, and others may still have to tell of a use", ErrUnavailable)
	}
	limit := now.Add(-m.cfg.IdleTimeout)
	l.asking.Store(true)
	defer l.asking.Store(false)
	ended, err := m.st.End(ctx, l.key, Ended{Why: EndIdle, UnusedFor: limit})
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	case ended:
		l.end(nil, EndIdle, now) // unless the store's word of it was here first
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

// settling is how long after the store was away nobody is ended for idleness:
// uses elsewhere are being written down.
const settling = 5 * time.Second

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
// Load would say of it, and the keys of those that could not be read, with the
// reason. Several come only where somebody planted one.
func (m *Manager) carried(r *http.Request) (found []*live, unread []string, err error) {
	ctx, cancel := context.WithTimeout(r.Context(), carriedTime) // of them all
	defer cancel()
	for _, token := range m.o.Cookies.All(r, m.o.Cookies.Name("")) {
		if len(token) != tokenLen(32) {
			continue
		}
		key := keyOf(token)
		l, e := m.find(WithJar(ctx, nil, r), token)
		if g := m.buried(key); g != nil {
			e = m.tellGrave(ctx, key, g)
		}
		switch {
		case l != nil:
			m.freshen(ctx, l)
			found = append(found, l)
		case e != nil && !errors.Is(e, ErrNone):
			unread, err = append(unread, key), e
		}
	}
	return found, unread, err
}

// carriedTime is how long the cookies of one request may take to look up.
const carriedTime = 2 * readTime

// freshen brings a session up to date if it can be done soon: what is given
// back at its end should be its last tokens.
func (m *Manager) freshen(ctx context.Context, l *live) {
	if !m.alone && !l.ended.Load() && !m.current(l, m.o.Now()) {
		_ = m.startReading(l).wait(ctx, true)
	}
}

// End ends every session that the request's cookies open, also one that Load
// would not give at the moment: the records, the cookies, and every stream that
// runs under them, on all replicas. It returns the last grants, waiting for a
// renewal under way until ctx is done, so that no token is left that nobody
// knows of. An error means that a session may live on elsewhere: the store did
// not answer, and will be told once it does. This process refuses it from now
// on; the cookie stays with the browser, which can ask again.
func (m *Manager) End(ctx context.Context, w http.ResponseWriter, r *http.Request, why End) ([]Grant, error) {
	found, unread, err := m.carried(r)
	for _, key := range unread[:min(len(unread), gravesOfOne)] {
		m.bury(key, why)
	}
	var grants []Grant
	here := map[*live]bool{} // that this ends
	for _, l := range found {
		first, e := m.endFirst(WithJar(r.Context(), w, r), l, why)
		if e != nil {
			err = e
		}
		here[l] = first
		l.settle(ctx)
		if g := l.current.Load().Grant(); g.Identity.Subject != "" { // it ended long ago
			grants = append(grants, g)
		}
	}
	if err == nil {
		m.o.Cookies.Clear(w, m.o.Cookies.Name(""))
	}
	for _, l := range found {
		if here[l] || err == nil { // of one that was over its browser was told before
			l.leaveCookie(err != nil)
		}
	}
	return grants, err
}

// EndOne ends a session that is at hand, whatever lists know of it.
func (m *Manager) EndOne(ctx context.Context, s *Session, why End) error {
	return m.end(ctx, s.live, why)
}

// end ends a session once: of several callers, the first does it. Those who
// come later hear whether the store knows by now.
func (m *Manager) end(ctx context.Context, l *live, why End) error {
	_, err := m.endFirst(ctx, l, why)
	return err
}

func (m *Manager) endFirst(ctx context.Context, l *live, why End) (first bool, err error) {
	if first = l.end(&Ended{Why: why}, why, m.o.Now()); first {
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

// replace ends the session that a new one takes the place of.
func (m *Manager) replace(ctx context.Context, l *live) {
	if first, _ := m.endFirst(ctx, l, EndReplaced); first {
		m.giveBackOf(l, EndReplaced)
	}
}

// tellEnd tells the store of an end that it did not hear before, or again.
func (m *Manager) tellEnd(l *live, again bool) {
	e := l.untold()
	switch {
	case e == nil && !again:
		return
	case e == nil:
		e = &Ended{Why: EndGone}
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
	if l.end(nil, EndGone, m.o.Now()) {
		m.metrics.ended.WithLabelValues(string(EndGone)).Inc()
	}
}

// endedElsewhere ends a session that another replica, or the command line,
// has ended.
func (m *Manager) endedElsewhere(l *live, n Note) {
	stale := !m.current(l, m.o.Now())
	if !l.end(nil, n.Why, m.o.Now()) {
		return
	}
	if !l.asking.Load() {
		m.metrics.revoked.WithLabelValues(string(n.Why)).Inc()
		m.o.Log.Info("session ended elsewhere", "who", l.current.Load().Who(), "why", string(n.Why))
	}
	if n.Orphaned {
		m.spawn(func() {
			if stale { // who knows the last tokens goes first
				pause(m.serving, patience)
			}
			ctx, cancel := m.storeTime()
			defer cancel()
			first, err := m.st.Once(ctx, "give back "+l.key, time.Hour)
			if n.Why == EndByOperator && m.o.Ended != nil && (first || err != nil) { // who ended it has no audit log to write; better told twice than not at all
				m.o.Ended(l.current.Load().Who(), n.Why)
			}
			if first && err == nil {
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

// pause waits, or until ctx is done.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// grave is the end of a session whose record could not be read: the store is
// told of it as soon as it answers, and until then nobody is let in by it here.
type grave struct {
	end Ended
	dug time.Time
}

// Anybody can make up keys while nobody can look whether they are of a session:
// so many are kept, of one request and in all. Whoever asks for more is told that
// the session may live on, as everybody is whose session could not be read.
const (
	gravesOfOne = 8
	mostGraves  = 10_000
)

// bury ends a session of which only the key is known.
func (m *Manager) bury(key string, why End) {
	if m.alone || m.dug.Load() >= mostGraves {
		return
	}
	m.dug.Add(1) // before it is there: see buried
	if _, there := m.graves.LoadOrStore(key, &grave{Ended{Why: why, Orphaned: true}, m.o.Now()}); there {
		m.dug.Add(-1)
	}
}

// buried is the grave of a key; nil if it has none, as nearly always.
func (m *Manager) buried(key string) *grave {
	if m.dug.Load() == 0 {
		return nil
	}
	v, _ := m.graves.Load(key)
	g, _ := v.(*grave)
	return g
}

// tellGraves tells the store of the sessions that ended while it was away, as
// many as it hears of in a moment: there are other things to tell, and this is
// called again.
func (m *Manager) tellGraves(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	m.graves.Range(func(key, v any) bool { return m.tellGrave(ctx, key.(string), v.(*grave)) == nil })
}

// tellGrave tells the store of one. The error is ErrUnavailable.
func (m *Manager) tellGrave(ctx context.Context, key string, g *grave) error {
	_, err := m.st.End(ctx, key, g.end)
	if err == nil { // it may have been read meanwhile, and what the store tells of it may go unheard
		watcher{m}.Heard(Note{Key: key, Why: g.end.Why, Orphaned: g.end.Orphaned})
	}
	if err == nil || m.o.Now().Sub(g.dug) > m.cfg.Lifetime {
		if m.graves.CompareAndDelete(key, g) {
			m.dug.Add(-1)
		}
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return nil
}
