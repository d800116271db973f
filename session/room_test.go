package session_test

import (
	"context"
	"errors"
	"net/http/httptest"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"anteroom/session"
)

func TestTouchWithoutRoom(t *testing.T) {
	askedSite(t, func(s *asked) {
		s.signIn()
		time.Sleep(30 * time.Minute)
		s.pass(0, 0) // begins a renewal
		time.Sleep(2 * time.Second)
		s.wantSet(0, 0)
		s.wantSet(-1, 0)
		s.wantSet(1, 1)
		s.wantSet(1, 0) // nothing new
		s.restart()
		time.Sleep(55 * time.Minute) // idle, had the use not been written down
		if got := s.want(nil).Grant().Tokens.Refresh.Reveal(); got == "refresh0" {
			s.Errorf("refresh token after a restart = %q, want the renewed one", got)
		}
	})
}

// TestTouchWritesAllOrNothing: a record of several cookies of which some do not
// arrive would be none.
func TestTouchWritesAllOrNothing(t *testing.T) {
	askedSite(t, func(s *asked) {
		s.signIn()
		s.p.set(func() { s.p.groups = long() })
		time.Sleep(14 * time.Minute)
		s.pass(0, 0)
		time.Sleep(2 * time.Second)
		s.wantSet(1, 0)
		s.wantSet(2, 0)
		s.wantSet(3, 3)

		s.p.set(func() { s.p.groups = []string{"users"} }) // one cookie, and two to be cleared
		time.Sleep(14 * time.Minute)
		s.pass(0, 0)
		time.Sleep(2 * time.Second)
		s.wantSet(1, 0)
		w, r := s.b.exchange()
		w.Header().Add("Set-Cookie", "other=1") // takes room, too
		if set := s.answer(w, r, 3, 0); len(set) != 1 {
			s.Errorf("Touch(room 3, one taken) set %d cookies, want none", len(set)-1)
		}
		s.wantSet(2, 0)
		s.wantSet(3, 3)
		if _, r := s.b.exchange(); len(r.Cookies()) != 2 {
			s.Errorf("the browser has %d cookies, want 2", len(r.Cookies()))
		}
		s.restart()
		if got := s.want(nil).Who().Groups; !slices.Equal(got, []string{"users"}) {
			s.Errorf("groups after a restart = %.20q, want [users]", got)
		}
	})
}

// TestNoRoomForHours: without any room the session goes on in this process,
// each refresh token is used once, and the log is quiet but once an hour.
func TestNoRoomForHours(t *testing.T) {
	askedSite(t, func(s *asked) {
		s.signIn()
		_, r := s.b.exchange()
		sent := r.Header.Get("Cookie")
		start := time.Now()
		for _, tt := range []struct {
			until         time.Duration
			counted, said int
		}{
			{30 * time.Minute, 0, 0},
			{33 * time.Minute, 1, 1}, // half of the idle timeout after the first that was due
			{60 * time.Minute, 1, 1},
			{64 * time.Minute, 2, 1},
			{90 * time.Minute, 2, 1},
			{95 * time.Minute, 3, 2},
		} {
			for time.Since(start) < tt.until {
				time.Sleep(10 * time.Second)
				s.wantSet(0, 0)
			}
			s.wantLost(tt.counted, tt.said)
		}
		if _, r := s.b.exchange(); r.Header.Get("Cookie") != sent {
			s.Error("the browser's cookies changed without room for any")
		}
		s.p.mu.Lock()
		if used := slices.Clone(s.p.seen); len(used) < 6 || len(slices.Compact(slices.Sorted(slices.Values(used)))) != len(used) {
			s.Errorf("refresh tokens presented: %q, want each once", used)
		}
		s.p.mu.Unlock()
		s.wantSet(session.AnyCookies, 1)
		newest := s.want(nil).Grant().Tokens.Refresh
		s.restart()
		if got := s.want(nil).Grant().Tokens.Refresh; got != newest {
			s.Errorf("refresh token after a restart = %q, want %q", got.Reveal(), newest.Reveal())
		}
	})
}

// TestRoomNowAndThen: where a way with room is taken often enough, nothing is
// wrong with one that has none.
func TestRoomNowAndThen(t *testing.T) {
	askedSite(t, func(s *asked) {
		s.signIn()
		for range 4 {
			for range 25 {
				time.Sleep(time.Minute)
				s.wantSet(0, 0)
			}
			s.wantSet(1, 1)
		}
		s.wantLost(0, 0)
	})
}

// TestShorterNow: what had no room is tried again once it is another.
func TestShorterNow(t *testing.T) {
	askedSite(t, func(s *asked) {
		s.signIn()
		s.p.set(func() { s.p.groups, s.p.life = long(), 20*time.Second })
		time.Sleep(14 * time.Minute)
		s.pass(0, 0)
		time.Sleep(2 * time.Second)
		s.wantSet(1, 0)
		s.p.set(func() { s.p.groups = []string{"users"} })
		time.Sleep(16 * time.Second)
		s.pass(0, 0)
		time.Sleep(2 * time.Second)
		s.wantSet(1, 1)
	})
}

// TestNoBrowserNoWord: a session that only its browser keeps is not written
// where there is none.
func TestNoBrowserNoWord(t *testing.T) {
	askedSite(t, func(s *asked) {
		s.stop()
		s.o.Registry = nil
		s.m = session.New(config, s.o)
		s.signIn()
		time.Sleep(2 * time.Minute)
		s.wantSet(0, 0)
		s.stop = run(s.m)
		time.Sleep(time.Minute)
		s.wantLost(0, 0)
	})
}

// touches counts the uses that a store is told of.
type touches struct {
	session.Shared
	n atomic.Int32
}

func (c *touches) Touch(ctx context.Context, key string, seen time.Time, ttl time.Duration) (bool, error) {
	c.n.Add(1)
	return c.Shared.Touch(ctx, key, seen, ttl)
}

// TestMemoryIgnoresRoom: other stores need none.
func TestMemoryIgnoresRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "memory", config)
		store := &touches{Shared: &session.Memory{}}
		s.o.Store = store
		s.m = session.New(config, s.o)
		s.signIn()
		time.Sleep(30 * time.Minute)
		w, r := s.b.exchange()
		got, err := s.m.Load(r)
		if err != nil {
			t.Fatal(err)
		}
		s.m.Touch(w, r, got, 0)
		synctest.Wait()
		if n := store.n.Load(); n != 1 {
			t.Errorf("Touch(room 0) told the store of %d uses, want 1", n)
		}
	})
}

// TestTouchCostsNothing: neither where nothing is due, nor where there was no
// room a moment ago.
func TestTouchCostsNothing(t *testing.T) {
	askedSite(t, func(s *asked) {
		got := s.signIn()
		w, r := s.b.exchange()
		cost := func(room int) float64 {
			return testing.AllocsPerRun(100, func() { s.m.Touch(w, r, got, room) })
		}
		if n := cost(session.AnyCookies); n > 0 {
			s.Errorf("Touch, nothing due: %v allocations, want none", n)
		}
		time.Sleep(2 * time.Minute)
		if n := cost(0); n > 0 {
			s.Errorf("Touch without room: %v allocations, want none", n)
		}
	})
}

// TestWaysAreForgotten: a session leaves nothing behind, also if it ends while it
// is written.
func TestWaysAreForgotten(t *testing.T) {
	askedSite(t, func(s *asked) {
		for i, room := range []int{0, 0, session.AnyCookies, session.AnyCookies} {
			got := s.signIn()
			time.Sleep(2 * time.Minute)
			s.pass(room, room)
			if n := session.Ways(s.m); n != 1 {
				s.Errorf("%d sessions are followed on their way to the browser, want 1", n)
			}
			w, r := s.b.exchange()
			end := func() {
				if _, err := s.m.End(s.Context(), w, r, session.EndSignedOut); err != nil {
					s.Fatal(err)
				}
			}
			if i%2 == 0 {
				time.Sleep(2 * time.Minute)
				s.m.Touch(&watched{ResponseWriter: httptest.NewRecorder(), second: end}, r, got, room)
			} else {
				end()
			}
			if _, err := s.m.Load(r); !errors.Is(err, session.ErrNone) {
				s.Errorf("Load after End = %v, want ErrNone", err)
			}
			if n := session.Ways(s.m); n != 0 {
				s.Errorf("%d ended sessions are followed still, want none", n)
			}
		}
	})
}
