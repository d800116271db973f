package session

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// A Manager keeps every session it has seen lately in memory, and asks the
// store again only where it cannot be sure to have heard of every change.

const (
	lease    = 1500 * time.Millisecond // how long a connection that was seen to work is trusted
	patience = 250 * time.Millisecond  // how long a known session's request waits for a store before grace is used
	readTime = 2 * time.Second         // for one reading of the store
)

// trust is what is known of the connection on which changes are heard.
type trust struct {
	epoch atomic.Uint64 // which connection it is; 0: there is none
	since atomic.Int64  // when it began, in Unix nanoseconds
	alive atomic.Int64  // when it was last seen to work, in Unix nanoseconds
	last  uint64        // the last epoch; touched by the watcher alone
}

// watcher is a Manager's ear.
type watcher struct{ m *Manager }

// Connected implements Watcher.
func (w watcher) Connected() {
	m := w.m
	m.trust.last++
	now := m.o.Now().UnixNano()
	m.trust.alive.Store(now)
	m.trust.since.Store(now)
	m.trust.epoch.Store(m.trust.last)
	m.metrics.heard.Set(1)
	m.spawn(m.resync)
}

// Alive implements Watcher.
func (w watcher) Alive(at time.Time) { w.m.trust.alive.Store(at.UnixNano()) }

// Disconnected implements Watcher. What was current until now was so when the
// connection was last seen to work.
func (w watcher) Disconnected(err error) {
	m := w.m
	epoch, alive := m.trust.epoch.Swap(0), min(m.trust.alive.Load(), m.o.Now().UnixNano())
	m.known.Range(func(_, v any) bool {
		if l := v.(*live); l.epoch.Load() == epoch {
			l.confirm(alive)
		}
		return true
	})
	m.metrics.heard.Set(0)
	m.o.Log.Warn("changes to sessions are not heard; each request asks the store until they are", "error", err)
}

// Heard implements Watcher.
func (w watcher) Heard(n Note) {
	m := w.m
	m.loading.Lock()
	if f := m.loads[n.Key]; f != nil {
		if f.dirty = true; n.Why != "" {
			f.end = &n
		}
	}
	m.loading.Unlock()
	v, ok := m.known.Load(n.Key)
	if !ok {
		return
	}
	l := v.(*live)
	switch {
	case n.Why != "":
		m.endedElsewhere(l, n)
	case n.Version > l.current.Load().Version:
		l.stale.Store(true)
		l.poke()
	}
}

// current reports whether a session is for certain as the store has it.
func (m *Manager) current(l *live, now time.Time) bool {
	epoch := m.trust.epoch.Load()
	return epoch != 0 && l.epoch.Load() == epoch && !l.stale.Load() && now.UnixNano()-m.trust.alive.Load() < int64(lease)
}

// check makes sure that a known session is as the store has it. A store that
// does not answer costs nothing for as long as grace covers it.
func (m *Manager) check(ctx context.Context, l *live, now time.Time) error {
	if m.alone || m.current(l, now) {
		m.metrics.hits.Inc()
		return nil
	}
	f := m.startReading(l)
	graced := now.Sub(m.confirmed(l)) < m.cfg.Grace
	err := f.wait(ctx, graced)
	switch {
	case err == nil:
		m.metrics.reads.Inc()
		return nil
	case graced:
		m.metrics.graced.Inc()
		return nil
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// confirmed is when a session was last known to be as the store has it.
func (m *Manager) confirmed(l *live) time.Time {
	at := l.confirmed.Load()
	if epoch := m.trust.epoch.Load(); epoch != 0 && l.epoch.Load() == epoch {
		at = max(at, min(m.trust.alive.Load(), m.o.Now().UnixNano()))
	}
	return time.Unix(0, at)
}

// reading is one reading of the store under way: all who need it share it.
type reading struct {
	done  chan struct{}
	err   error // once done is closed
	dirty bool  // guarded by Manager.loading: something changed meanwhile
	end   *Note // guarded by Manager.loading: it ended meanwhile
	l     *live // once done is closed, of a session that was not known; nil: there is none
}

var errSlow = errors.New("the store has not answered yet")

// wait waits for the reading; where grace covers the session, not for long.
func (f *reading) wait(ctx context.Context, graced bool) error {
	var enough <-chan time.Time
	if graced {
		t := time.NewTimer(patience)
		defer t.Stop()
		enough = t.C
	}
	select {
	case <-f.done:
		return f.err
	case <-enough:
		return errSlow
	case <-ctx.Done():
		return ctx.Err()
	}
}

// startReading reads a known session again, or joins who does.
func (m *Manager) startReading(l *live) *reading {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.reading != nil {
		return l.reading
	}
	f := &reading{done: make(chan struct{})}
	l.reading = f
	work := func() {
		f.err = Contain(m.o.Log, "reading a session", func() error { return m.reread(m.ctx, l) })
		l.mu.Lock()
		l.reading = nil
		l.mu.Unlock()
		close(f.done)
	}
	if !m.spawn(work) {
		f.err = errClosed
		l.reading = nil
		close(f.done)
	}
	return f
}

// reread brings a known session up to date with the store.
func (m *Manager) reread(ctx context.Context, l *live) error {
	ctx, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	epoch := m.trust.epoch.Load() // before the reading: what changes from here on is heard
	l.stale.Store(false)
	saved, found, err := m.st.Load(ctx, l.key)
	if err != nil {
		l.stale.Store(true)
		return err
	}
	if !found {
		m.vanished(l)
		return nil
	}
	switch now := l.current.Load().Version; {
	case m.alone:
	case saved.Version < now: // the store lost what it was told
		l.unsaved()
		m.writeSoon(l)
	case saved.Version > now || l.refused.Swap(false):
		rec, err := m.open(l.secret, saved)
		if err != nil {
			l.confirm(m.confirmed(l).UnixNano()) // from here on it is grace
			l.epoch.Store(0)
			if !l.refused.Swap(true) { // once, for each request reads it again
				m.o.Log.Warn("session record is unreadable", "error", err)
			}
			return err
		}
		m.take(l, rec)
	}
	l.used(saved.Seen)
	l.confirm(m.o.Now().UnixNano())
	l.epoch.Store(epoch)
	return nil
}

// take makes a record that somebody else wrote the session's present state.
func (m *Manager) take(l *live, rec *record) {
	next := &Session{record: *rec, live: l}
	before := l.advance(next, true)
	if before == nil { // older than what came meanwhile
		return
	}
	l.saved(next, rec.Seen)
	l.failed.Store(0)
	m.planRenewal(l)
	l.cutIfChanged(before, next)
}

// find looks among the sessions this process knows, then in the store.
func (m *Manager) find(ctx context.Context, token string) (*live, error) {
	key := keyOf(token)
	if m.buried(key) != nil { // first: a reading that began before may have made it known
		return nil, ErrNone
	}
	if l, ok := m.known.Load(key); ok {
		return l.(*live), nil
	}
	f := m.startLoading(ctx, key, secretOf(token))
	if err := f.wait(ctx, false); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if f.l == nil {
		return nil, ErrNone
	}
	return f.l, nil
}

// startLoading reads a session that is not known yet, or joins who does. In a
// browser's own store each request is read for itself.
func (m *Manager) startLoading(ctx context.Context, key string, secret recordSecret) *reading {
	f := &reading{done: make(chan struct{})}
	if m.alone {
		f.l, f.err = m.load(ctx, key, secret, f)
		close(f.done)
		return f
	}
	m.loading.Lock()
	defer m.loading.Unlock()
	if other := m.loads[key]; other != nil {
		return other
	}
	work := func() {
		f.err = Contain(m.o.Log, "reading a session", func() (err error) {
			f.l, err = m.load(m.ctx, key, secret, f)
			return err
		})
		m.loading.Lock()
		delete(m.loads, key)
		m.loading.Unlock()
		close(f.done)
	}
	if !m.spawn(work) {
		f.err = errClosed
		close(f.done)
		return f
	}
	m.loads[key] = f
	return f
}

// load reads a session and makes it known. What is heard of it before it is
// known makes it read again.
func (m *Manager) load(ctx context.Context, key string, secret recordSecret, f *reading) (*live, error) {
	ctx, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	m.metrics.reads.Inc()
	epoch := m.trust.epoch.Load()
	saved, found, err := m.st.Load(ctx, key)
	if err != nil || !found {
		return nil, err
	}
	rec, err := m.open(secret, saved)
	if err != nil {
		m.o.Log.Warn("session record is unreadable", "error", err)
		return nil, nil
	}
	s := &Session{record: *rec}
	l := m.newLive(key, secret, s)
	l.saved(s, rec.Seen)
	l.confirm(m.o.Now().UnixNano())
	l.epoch.Store(epoch)
	l = m.know(l)
	m.loading.Lock()
	dirty, end := f.dirty, f.end
	m.loading.Unlock()
	switch {
	case end != nil:
		m.endedElsewhere(l, *end)
	case dirty:
		l.stale.Store(true)
		return l, m.reread(ctx, l)
	}
	return l, nil
}
