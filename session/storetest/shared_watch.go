package storetest

import (
	"context"
	"testing"
	"time"

	"anteroom/session"
)

// Watched is what a Watcher was told, in order. It is a session.Watcher that
// never blocks for fewer than a thousand.
type Watched struct {
	Connects    chan struct{}
	Lives       chan time.Time // the newest only
	Disconnects chan error
	Notes       chan session.Note
}

// NewWatched makes one.
func NewWatched() *Watched {
	return &Watched{make(chan struct{}, 1000), make(chan time.Time, 1), make(chan error, 1000), make(chan session.Note, 1000)}
}

// Connected implements session.Watcher.
func (w *Watched) Connected() { w.Connects <- struct{}{} }

// Disconnected implements session.Watcher.
func (w *Watched) Disconnected(err error) { w.Disconnects <- err }

// Heard implements session.Watcher.
func (w *Watched) Heard(n session.Note) { w.Notes <- n }

// Alive implements session.Watcher.
func (w *Watched) Alive(at time.Time) {
	select {
	case <-w.Lives:
	default:
	}
	w.Lives <- at
}

// Within takes what comes on a channel, or fails the test.
func Within[T any](t *testing.T, d time.Duration, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(d):
		t.Fatalf("%s: not within %v", what, d)
		panic("not reached")
	}
}

const soon = 5 * time.Second

// watch starts a Watch on st that ends with the test, and waits until it hears.
func (s *shared) watch(st session.Shared) *Watched {
	s.Helper()
	w := NewWatched()
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan struct{})
	go func() {
		defer close(over)
		st.Watch(ctx, w)
	}()
	s.Cleanup(func() {
		cancel()
		Within(s.T, soon, "the end of Watch", over)
	})
	Within(s.T, soon, "Connected", w.Connects)
	Within(s.T, soon, "Alive", w.Lives)
	return w
}

func (s *shared) heard(w *Watched, want session.Note) {
	s.Helper()
	if got := Within(s.T, soon, "Heard", w.Notes); got != want {
		s.Fatalf("Heard(%+v), want %+v", got, want)
	}
}

func watchChange(s *shared) {
	w := s.watch(s.a)
	s.begin(key)
	s.save(s.saved(2), true, true)
	s.heard(w, session.Note{Key: key, Version: 2})
	late := s.saved(2)
	late.Value = []byte("late")
	s.save(late, false, true)
	s.save(s.saved(7), true, true)
	s.heard(w, session.Note{Key: key, Version: 7})
}

func watchEnd(s *shared) {
	w := s.watch(s.a)
	v := s.begin(key)
	s.end(session.Ended{Why: session.EndIdle, UnusedFor: v.Seen.Add(-time.Hour)}, false)
	s.end(session.Ended{Why: session.EndAtProvider, Orphaned: true}, true)
	s.heard(w, session.Note{Key: key, Why: session.EndAtProvider, Orphaned: true})
	s.end(session.Ended{Why: session.EndRevoked}, false) // told of all the same
	s.heard(w, session.Note{Key: key, Why: session.EndRevoked})
}

func watchQuiet(s *shared) {
	w := s.watch(s.a)
	s.begin(key, "person")
	if _, err := s.b.Touch(s.Context(), key, s.now().Add(time.Second), time.Hour); err != nil {
		s.Fatal(err)
	}
	s.claim("one", true, false, session.ClaimYours)
	s.extend("one", true)
	s.release("one", true)
	if _, err := s.b.List(s.Context(), "person"); err != nil {
		s.Fatal(err)
	}
	s.end(session.Ended{Why: session.EndSignedOut}, true)
	s.heard(w, session.Note{Key: key, Why: session.EndSignedOut})
}

func watchOver(s *shared) {
	ctx, cancel := context.WithCancel(context.Background())
	w, over := NewWatched(), make(chan struct{})
	go func() {
		defer close(over)
		s.a.Watch(ctx, w)
	}()
	Within(s.T, soon, "Connected", w.Connects)
	cancel()
	Within(s.T, time.Second, "the end of Watch", over)
	s.begin(key)
	s.end(session.Ended{Why: session.EndSignedOut}, true)
	if len(w.Notes) != 0 {
		s.Errorf("Heard(%+v) after the end of Watch", <-w.Notes)
	}
}

func watchTwo(s *shared) {
	one, two := s.watch(s.a), s.watch(s.b)
	s.begin(key)
	s.save(s.saved(2), true, true)
	s.heard(one, session.Note{Key: key, Version: 2})
	s.heard(two, session.Note{Key: key, Version: 2})
}
