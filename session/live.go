package session

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// live is a session as this process knows it: the newest snapshot, when it was
// last used, the renewal under way, and the streams that run under it.
type live struct {
	key     string
	id      string // public
	secret  recordSecret
	current atomic.Pointer[Session] // replaced with mu held, by a newer version only
	seen    atomic.Int64            // when last used, in Unix nanoseconds
	renewAt atomic.Int64            // when to ask the provider again, in Unix nanoseconds
	ended   atomic.Bool             // set with mu held, so that no stream is attached afterwards
	failed  atomic.Int32            // renewals in a row that got no answer
	doubt   atomic.Uint64           // the version whose refresh token may have been taken

	epoch     atomic.Uint64 // the connection since which every change was heard
	refused   atomic.Bool   // the store has another state of the same version
	stale     atomic.Bool   // a change was heard and not yet read
	confirmed atomic.Int64  // when it was read, or known to be as the store has it, in Unix nanoseconds
	changed   chan struct{} // holds one: stale was set, or it ended
	asking    atomic.Bool   // the store is being asked to end it: what is heard of that is our own doing
	writing   atomic.Bool   // it is being written down in the background

	mu          sync.Mutex
	streams     *stream   // guarded by mu: list of what to stop when the session ends
	renewing    *renewal  // guarded by mu: nil when none is under way
	reading     *reading  // guarded by mu: nil when none is under way
	savedAt     time.Time // guarded by mu: when the store was last written; zero when it lacks the newest state
	savedAs     *Session  // guarded by mu
	toEnd       *Ended    // guarded by mu: the store is still to be told of the end
	cookieStays bool      // guarded by mu: it ended, and its browser was not told
	endedAt     time.Time // guarded by mu
	why         End       // guarded by mu: it ended
	claimed     lostClaim // guarded by mu
}

// lostClaim is a claim that the store may have granted without our hearing of
// it. Nothing was presented under it, and only its owner can take it up again.
type lostClaim struct {
	owner   string
	version uint64
}

// stream is one request that goes on: a node in a doubly linked list, so that
// beginning and ending one costs no search.
type stream struct {
	stop       func()
	prev, next *stream
}

// newLive makes a session known to this process; s becomes part of it.
func (m *Manager) newLive(key string, secret recordSecret, s *Session) *live {
	l := &live{key: key, id: s.Identity.SessionID, secret: secret, changed: make(chan struct{}, 1)}
	s.live = l
	l.current.Store(s)
	l.seen.Store(s.Seen.UnixNano())
	m.planRenewal(l)
	return l
}

// know adds a session to what this process knows, unless it is there already;
// it returns the one that is there.
func (m *Manager) know(l *live) *live {
	known, _ := m.known.LoadOrStore(l.key, l)
	l = known.(*live)
	m.ids.Store(l.id, l)
	return l
}

// forget drops a session from what this process knows.
func (m *Manager) forget(l *live) {
	m.known.CompareAndDelete(l.key, l)
	m.ids.CompareAndDelete(l.id, l)
}

func (l *live) lastSeen() time.Time { return time.Unix(0, l.seen.Load()) }

// used notes a use, here or elsewhere.
func (l *live) used(at time.Time) { raise(&l.seen, at.UnixNano()) }

func (l *live) confirm(at int64) { raise(&l.confirmed, at) }

func raise(v *atomic.Int64, to int64) {
	for old := v.Load(); old < to && !v.CompareAndSwap(old, to); old = v.Load() {
	}
}

// poke wakes who waits for the session to change.
func (l *live) poke() {
	select {
	case l.changed <- struct{}{}:
	default:
	}
}

// advance makes a newer version the present state, or another of the same
// version where that is wanted. It returns what was before, or nil if next is
// older.
func (l *live) advance(next *Session, orEqual bool) (before *Session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	before = l.current.Load()
	if before.Version > next.Version || before.Version == next.Version && !orEqual {
		return nil
	}
	l.current.Store(next)
	return before
}

// owner is the name to claim a renewal of this version by: that of a claim
// whose answer was lost, or a new one.
func (l *live) owner(version uint64) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.claimed.owner == "" || l.claimed.version != version {
		l.claimed = lostClaim{newToken(12), version}
	}
	return l.claimed.owner
}

// spent forgets the name: the token is presented under it, which is done once.
func (l *live) spent() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.claimed = lostClaim{}
}

// cutIfChanged stops the streams of a person whose groups changed: their door
// may be closed now.
func (l *live) cutIfChanged(before, now *Session) {
	if !slices.Equal(before.Identity.Groups, now.Identity.Groups) {
		l.cut()
	}
}

// Attach has stop called when the session ends, or its person's groups change,
// until detach is called; at once, if that has happened already. Neither may
// block.
func (s *Session) Attach(stop func()) (detach func()) {
	l, n := s.live, &stream{stop: stop}
	l.mu.Lock()
	if l.ended.Load() || !slices.Equal(l.current.Load().Identity.Groups, s.Identity.Groups) {
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

// end marks the session as ended and stops its streams. e is what the store is
// still to be told, nil if it knows. It reports false if that was done before.
func (l *live) end(e *Ended, why End, now time.Time) bool {
	l.mu.Lock()
	if l.ended.Swap(true) {
		l.mu.Unlock()
		return false
	}
	l.toEnd, l.endedAt, l.why = e, now, why
	l.mu.Unlock()
	l.poke()
	l.cut()
	return true
}

// isOver is ErrNone, with what is known of the session's end.
func (l *live) isOver() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	why := l.why
	if l.cookieStays {
		why = EndGone
	}
	return &Over{ID: l.id, Why: why, At: l.endedAt}
}

// leaveCookie notes that the session's browser keeps its cookie, or not: that it
// comes again is no sign of anybody else.
func (l *live) leaveCookie(stays bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cookieStays = stays
}

// untold is what the store is still to be told of the end; nil if nothing.
func (l *live) untold() *Ended {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.toEnd
}

// endedSince reports whether the session ended after a time.
func (l *live) endedSince(t time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.endedAt.After(t)
}

func (l *live) told() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.toEnd = nil
}

// shed leaves of an ended session the mark that it ended, and its times.
func (l *live) shed() {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.current.Load()
	if s.Identity.Subject == "" || l.renewing != nil || l.reading != nil || l.streams != nil {
		return
	}
	l.current.Store(&Session{live: l, record: record{Version: s.Version, Created: s.Created, Seen: s.Seen}})
	l.savedAs = nil
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
// every, or lacks the newest state.
func (l *live) saveDue(now time.Time, every time.Duration) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.ended.Load() && (now.Sub(l.savedAt) >= every || l.savedAs != l.current.Load())
}

// unseen reports whether the session was used since the store was written.
func (l *live) unseen() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lastSeen().After(l.savedAt)
}

// unwritten reports whether the store lacks the newest state.
func (l *live) unwritten() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.savedAs != l.current.Load()
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
