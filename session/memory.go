package session

import (
	"bytes"
	"context"
	"sync"
	"time"
)

// Memory is a Shared store in this process: fast, and gone with it. Now is the
// clock; nil means time.Now. The zero value is ready for use.
type Memory struct {
	Now func() time.Time

	mu      sync.Mutex
	records map[string]memoryRecord // guarded by mu
	swept   time.Time               // guarded by mu: when what expired was last dropped

	sessions map[string]*memorySession  // guarded by mu
	named    map[string]map[string]bool // guarded by mu: keys of sessions, by name
	watchers []*memoryWatcher           // guarded by mu: replaced, never changed
}

type memoryRecord struct {
	value   []byte
	expires time.Time
}

// memorySweep is how often a Put also drops every expired record.
const memorySweep = time.Minute

func (m *Memory) now() time.Time {
	if m.Now == nil {
		return time.Now()
	}
	return m.Now()
}

// Get implements Store.
func (m *Memory) Get(_ context.Context, key string) ([]byte, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, ok := m.fresh(key)
	return bytes.Clone(v), ok, nil
}

// Put implements Store.
func (m *Memory) Put(_ context.Context, key string, value []byte, ttl time.Duration) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.keep(key, value, ttl)
	return nil
}

// keep writes a record. Called with mu held.
func (m *Memory) keep(key string, value []byte, ttl time.Duration) {
	now := m.now()
	m.sweep(now)
	if m.records == nil {
		m.records = make(map[string]memoryRecord)
	}
	m.records[key] = memoryRecord{value: bytes.Clone(value), expires: now.Add(ttl)}
}

// Take implements Store.
func (m *Memory) Take(_ context.Context, key string) ([]byte, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, ok := m.fresh(key)
	delete(m.records, key)
	return v, ok, nil
}

// Delete implements Store.
func (m *Memory) Delete(_ context.Context, key string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.records, key)
	return nil
}

// fresh looks a record up and drops it if its time is past. Called with mu held.
func (m *Memory) fresh(key string) ([]byte, bool) {
	r, ok := m.records[key]
	if ok && !m.now().Before(r.expires) {
		delete(m.records, key)
		return nil, false
	}
	return r.value, ok
}

// sweep drops expired records, at most once per memorySweep. Called with mu held.
func (m *Memory) sweep(now time.Time) {
	if now.Sub(m.swept) < memorySweep {
		return
	}
	m.swept = now
	for k, r := range m.records {
		if !now.Before(r.expires) {
			delete(m.records, k)
		}
	}
	for k := range m.sessions {
		m.session(k)
	}
}
