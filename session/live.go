package session

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// live is a session as this process knows it: the newest snapshot, when it was
// last used, the renewal under way, and the streams that run under it.
type live struct {
	key     string
	current atomic.Pointer[Session]
	seen    atomic.Int64 // when last used, in Unix nanoseconds
	renewAt atomic.Int64 // when to ask the provider again, in Unix nanoseconds
	ended   atomic.Bool  // set with mu held, so that no stream is attached afterwards
	failed  atomic.Int32 // renewals in a row that got no answer

	mu       sync.Mutex
	streams  *stream   // guarded by mu: list of what to stop when the session ends
	renewing *renewal  // guarded by mu: nil when none is under way
	savedAt  time.Time // guarded by mu: zero when the store lacks the newest state
	savedAs  *Session  // guarded by mu
}

// stream is one request that goes on: a node in a doubly linked list, so that
// beginning and ending one costs no search.
type stream struct {
	stop       func()
	prev, next *stream
}

func newLive(key string, s *Session) *live {
	l := &live{key: key}
	s.live = l
	l.current.Store(s)
	l.seen.Store(s.Seen.UnixNano())
	l.planRenewal()
	return l
}

func (l *live) lastSeen() time.Time { return time.Unix(0, l.seen.Load()) }

// Attach has stop called when the session ends, until detach is called. If it
// has ended already, stop is called at once. Neither may block.
func (s *Session) Attach(stop func()) (detach func()) {
	l, n := s.live, &stream{stop: stop}
	l.mu.Lock()
	if l.ended.Load() {
		l.mu.Unlock()
		stop()
		return func() {}
	}
	n.next = l.streams
	if n.next != nil {
		n.next.prev = n
	}
	l.streams = n
	l.mu.Unlock()
	return func() { l.detach(n) }
}

func (l *live) detach(n *stream) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case n.prev != nil:
		n.prev.next = n.next
	case l.streams == n:
		l.streams = n.next
	}
	if n.next != nil {
		n.next.prev = n.prev
	}
	n.prev, n.next = nil, nil
}

// end marks the session as ended and stops its streams. It reports false if
// that was done before.
func (l *live) end() bool {
	l.mu.Lock()
	if l.ended.Swap(true) {
		l.mu.Unlock()
		return false
	}
	l.mu.Unlock()
	l.cut()
	return true
}

// settle waits for a renewal under way.
func (l *live) settle(ctx context.Context) {
	l.mu.Lock()
	flight := l.renewing
	l.mu.Unlock()
	if flight == nil {
		return
	}
	select {
	case <-flight.done:
	case <-ctx.Done():
	}
}

// cut stops every stream that runs under the session.
func (l *live) cut() {
	l.mu.Lock()
	var stops []func()
	for n := l.streams; n != nil; n = n.next {
		stops = append(stops, n.stop)
	}
	l.streams = nil
	l.mu.Unlock()
	for _, stop := range stops {
		stop()
	}
}

func (l *live) hasStreams() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.streams != nil
}

// saveDue reports whether the store should be written: its copy is older than
// every, or lacks the newest tokens.
func (l *live) saveDue(now time.Time, every time.Duration) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.ended.Load() && (now.Sub(l.savedAt) >= every || l.savedAs != l.current.Load())
}

func (l *live) saved(s *Session, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.savedAt, l.savedAs = now, s
}

func (l *live) unsaved() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.savedAt, l.savedAs = time.Time{}, nil
}
