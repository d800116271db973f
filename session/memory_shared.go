package session

import (
	"bytes"
	"context"
	"slices"
	"sync"
	"time"
)

// memorySession is a session in a Memory.
type memorySession struct {
	saved   Saved
	expires time.Time
	names   []string
	ends    time.Time

	owner string    // of the claim; empty: nobody
	holds time.Time // until when
	spent uint64    // the version whose refresh token was presented
}

// memoryWatcher has one Watcher told one thing at a time.
type memoryWatcher struct {
	mu sync.Mutex
	w  Watcher
}

func (w *memoryWatcher) heard(n Note) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.w.Heard(n)
}

// Load implements Shared.
func (m *Memory) Load(_ context.Context, key string) (Saved, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.session(key)
	if s == nil {
		return Saved{}, false, nil
	}
	return Saved{Value: bytes.Clone(s.saved.Value), Version: s.saved.Version, Seen: s.saved.Seen}, true, nil
}

// Begin implements Shared.
func (m *Memory) Begin(_ context.Context, key string, s Saved, ttl time.Duration, names []string, ends time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if old := m.session(key); old != nil {
		if old.same(s) {
			return nil
		}
		return ErrExists
	}
	if m.sessions == nil {
		m.sessions, m.named = make(map[string]*memorySession), make(map[string]map[string]bool)
	}
	now := m.now()
	m.sweep(now)
	s.Value, s.Info, s.Seen = bytes.Clone(s.Value), bytes.Clone(s.Info), s.Seen.Truncate(time.Millisecond)
	m.sessions[key] = &memorySession{saved: s, expires: now.Add(ttl), names: slices.Clone(names), ends: ends}
	for _, n := range names {
		if m.named[n] == nil {
			m.named[n] = make(map[string]bool)
		}
		m.named[n][key] = true
	}
	return nil
}

// Save implements Shared.
func (m *Memory) Save(_ context.Context, key string, next Saved, ttl time.Duration, owner string) (saved, found bool, err error) {
	m.mu.Lock()
	s := m.session(key)
	if s == nil || s.saved.Version >= next.Version || owner != "" && s.owner != owner {
		again := s != nil && s.same(next)
		m.mu.Unlock()
		return again, s != nil, nil
	}
	s.saved.Value, s.saved.Version = bytes.Clone(next.Value), next.Version
	s.used(next.Seen, m.now().Add(ttl))
	s.owner, s.spent = "", 0
	m.mu.Unlock()
	m.tell(Note{Key: key, Version: next.Version})
	return true, true, nil
}

// Touch implements Shared.
func (m *Memory) Touch(_ context.Context, key string, seen time.Time, ttl time.Duration) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.session(key)
	if s != nil {
		s.used(seen, m.now().Add(ttl))
	}
	return s != nil, nil
}

// same reports whether this very state was written before. Called with the
// Memory's mu held.
func (s *memorySession) same(as Saved) bool {
	return s.saved.Version == as.Version && bytes.Equal(s.saved.Value, as.Value)
}

// used notes a use. Called with the Memory's mu held.
func (s *memorySession) used(seen, expires time.Time) {
	if seen = seen.Truncate(time.Millisecond); seen.After(s.saved.Seen) {
		s.saved.Seen = seen
	}
	s.expires = expires
}

// End implements Shared.
func (m *Memory) End(_ context.Context, key string, e Ended) (bool, error) {
	m.mu.Lock()
	s := m.session(key)
	if s != nil && !e.UnusedFor.IsZero() && s.saved.Seen.After(e.UnusedFor) {
		m.mu.Unlock()
		return false, nil
	}
	m.drop(key)
	m.mu.Unlock()
	m.tell(Note{Key: key, Why: e.Why, Orphaned: e.Orphaned})
	return s != nil, nil
}

// Claim implements Shared.
func (m *Memory) Claim(_ context.Context, key string, c Claim) (ClaimAnswer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, now := m.session(key), m.now()
	switch {
	case s == nil:
		return ClaimAnswer{Outcome: ClaimGone}, nil
	case s.saved.Version != c.Version:
		return ClaimAnswer{Outcome: ClaimChanged}, nil
	case s.owner != "" && s.owner != c.Owner && now.Before(s.holds):
		return ClaimAnswer{Outcome: ClaimHeld, Wait: s.holds.Sub(now)}, nil
	case !c.Force && s.spent == c.Version && s.owner != c.Owner:
		return ClaimAnswer{Outcome: ClaimDoubt}, nil
	}
	s.owner, s.holds = c.Owner, now.Add(c.Hold)
	if c.Spend {
		s.spent = c.Version
	}
	return ClaimAnswer{Outcome: ClaimYours}, nil
}

// Extend implements Shared.
func (m *Memory) Extend(_ context.Context, key, owner string, hold time.Duration) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.session(key)
	if s == nil || s.owner != owner {
		return false, nil
	}
	s.holds = m.now().Add(hold)
	return true, nil
}

// Release implements Shared.
func (m *Memory) Release(_ context.Context, key, owner string, spent bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s := m.session(key); s != nil && s.owner == owner {
		s.owner = ""
		if !spent {
			s.spent = 0
		}
	}
	return nil
}

// List implements Shared.
func (m *Memory) List(_ context.Context, name string) ([]Listed, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []Listed
	now := m.now()
	for key := range m.named[name] {
		if s := m.session(key); s != nil && now.Before(s.ends) {
			out = append(out, Listed{Key: key, Info: bytes.Clone(s.saved.Info), Seen: s.saved.Seen})
		}
	}
	return out, nil
}

// Once implements Shared.
func (m *Memory) Once(_ context.Context, key string, ttl time.Duration) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.fresh("once " + key); ok {
		return false, nil
	}
	m.keep("once "+key, nil, ttl)
	return true, nil
}

// Watch implements Shared. Nothing goes unheard within one process.
func (m *Memory) Watch(ctx context.Context, w Watcher) {
	mine := &memoryWatcher{w: w}
	m.mu.Lock()
	m.watchers = append(m.watchers, mine)
	m.mu.Unlock()
	mine.mu.Lock()
	w.Connected()
	w.Alive(m.now().Add(100 * 365 * 24 * time.Hour))
	mine.mu.Unlock()
	<-ctx.Done()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.watchers = slices.DeleteFunc(slices.Clone(m.watchers), func(o *memoryWatcher) bool { return o == mine })
}

// Writable implements Shared.
func (m *Memory) Writable(context.Context) error { return nil }

func (m *Memory) tell(n Note) {
	m.mu.Lock()
	watchers := m.watchers
	m.mu.Unlock()
	for _, w := range watchers {
		w.heard(n)
	}
}

// session looks a session up and drops it if its time is past. Called with mu held.
func (m *Memory) session(key string) *memorySession {
	s := m.sessions[key]
	if s != nil && !m.now().Before(s.expires) {
		m.drop(key)
		return nil
	}
	return s
}

// drop forgets a session and its names. Called with mu held.
func (m *Memory) drop(key string) {
	s := m.sessions[key]
	if s == nil {
		return
	}
	for _, n := range s.names {
		if delete(m.named[n], key); len(m.named[n]) == 0 {
			delete(m.named, n)
		}
	}
	delete(m.sessions, key)
}
