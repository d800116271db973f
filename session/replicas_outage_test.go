package session_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"anteroom/session"
)

// TestStoreDown: a known session goes on within grace, whatever the store
// does; an unknown one is neither let in nor refused.
func TestStoreDown(t *testing.T) {
	for name, fault := range map[string]func(context.Context) error{"refused": down, "frozen": frozen} {
		t.Run(name, func(t *testing.T) {
			inFleet(t, 2, config, func(f *fleet) {
				f.signIn(0)
				f.lines[0].cut(fault)
				f.lines[1].cut(fault)
				for range 110 {
					time.Sleep(30 * time.Second)
					began := time.Now()
					f.want(0, nil)
					if took := time.Since(began); took > 300*time.Millisecond {
						f.Fatalf("a known session waited %v for the store", took)
					}
				}
				began := time.Now()
				f.want(1, session.ErrUnavailable)
				if took := time.Since(began); took > 1500*time.Millisecond {
					f.Errorf("an unknown session waited %v for the store", took)
				}
				time.Sleep(6 * time.Minute) // grace is over
				f.want(0, session.ErrUnavailable)
				f.lines[0].mend()
				f.lines[1].mend()
				f.want(0, nil) // the store kept it, though it did not hear of its use for longer than idle_timeout
			})
		})
	}
}

func TestStoreComesBack(t *testing.T) {
	inFleet(t, 2, config, func(f *fleet) {
		f.signIn(0)
		f.want(1, nil)
		f.lines[0].cut(down)
		time.Sleep(20 * time.Minute) // the token runs out meanwhile
		f.want(0, nil)
		f.lines[0].mend()
		time.Sleep(10 * time.Second)
		f.want(0, nil)
		f.want(1, nil)
		if _, reuses := f.p.counts(); reuses != 0 {
			f.Errorf("%d reuses", reuses)
		}
	})
}

// TestRotatedWhileStoreIsDown: the tokens only this replica has reach the store
// once it is back, and nobody presents the old one meanwhile.
func TestRotatedWhileStoreIsDown(t *testing.T) {
	inFleet(t, 2, config, func(f *fleet) {
		f.p.set(func() { f.p.delay = 10 * time.Second })
		f.signIn(0)
		f.want(1, nil)
		time.Sleep(14 * time.Minute)
		f.want(0, nil) // begins the renewal
		time.Sleep(time.Second)
		f.lines[0].cut(down)
		time.Sleep(5 * time.Minute) // its claim runs out in the store
		f.want(1, nil)
		time.Sleep(5 * time.Minute)
		f.want(1, nil)
		f.lines[0].mend()
		time.Sleep(time.Minute)
		got := f.want(1, nil).Grant().Tokens.Access.Reveal()
		if n, reuses := f.p.counts(); reuses != 0 || n == 0 || got == "access0" {
			f.Errorf("%d refreshes, %d reuses, replica 1 has %q; want none presented twice and the new one everywhere", n, reuses, got)
		}
	})
}

// TestMissedEnd: a replica that did not hear an end, and knows that it may have
// missed something, does not serve the session.
func TestMissedEnd(t *testing.T) {
	inFleet(t, 2, config, func(f *fleet) {
		s := f.signIn(0)
		f.want(1, nil)
		f.lines[1].mu.Lock()
		f.lines[1].deaf = true
		w := f.lines[1].watcher
		f.lines[1].mu.Unlock()
		f.ms[0].Revoke(f.Context(), "testdoc", s.Who().SessionID, session.EndRevoked)
		w.Disconnected(errors.New("connection reset"))
		f.want(1, session.ErrNone)
	})
}

// TestLease: a process that slept, or whose connection says nothing, does not
// trust what it remembers, though nobody told it that the connection is gone.
func TestLease(t *testing.T) {
	inFleet(t, 2, config, func(f *fleet) {
		s := f.signIn(0)
		f.want(1, nil)
		f.lines[1].mu.Lock()
		f.lines[1].deaf = true
		w := f.lines[1].watcher
		f.lines[1].mu.Unlock()
		w.Alive(time.Now())
		f.ms[0].Revoke(f.Context(), "testdoc", s.Who().SessionID, session.EndRevoked)
		f.want(1, nil)
		time.Sleep(1501 * time.Millisecond)
		f.want(1, session.ErrNone)
	})
}

// TestSignOutWhileStoreIsDown: it is an error, this replica refuses the session
// at once, and the others do as soon as the store can be told.
func TestSignOutWhileStoreIsDown(t *testing.T) {
	inFleet(t, 2, config, func(f *fleet) {
		f.signIn(0)
		f.want(1, nil)
		f.lines[0].cut(down)
		_, r := f.b.exchange()
		for range 2 {
			if _, err := f.ms[0].End(f.Context(), httptest.NewRecorder(), r, session.EndSignedOut); !errors.Is(err, session.ErrUnavailable) {
				f.Errorf("End with the store down = %v, want ErrUnavailable", err)
			}
		}
		if _, err := f.ms[0].Load(r); !errors.Is(err, session.ErrNone) {
			f.Errorf("Load after End = %v, want ErrNone", err)
		}
		f.lines[0].mend()
		time.Sleep(50 * time.Millisecond)
		if _, err := f.ms[1].Load(r); !errors.Is(err, session.ErrNone) {
			f.Errorf("Load at another replica once the store is back = %v, want ErrNone", err)
		}
	})
}

// TestBeginWhileStoreIsDown: nobody is half signed in, and the tokens are given
// back.
func TestBeginWhileStoreIsDown(t *testing.T) {
	inFleet(t, 1, config, func(f *fleet) {
		f.lines[0].cut(down)
		w, r := f.b.exchange()
		if _, err := f.ms[0].Begin(w, r, session.Grant{Identity: session.Identity{Subject: "testdoc"}}, ""); !errors.Is(err, session.ErrUnavailable) {
			f.Fatalf("Begin = %v, want ErrUnavailable", err)
		}
		if c := w.Result().Cookies(); len(c) != 0 {
			f.Errorf("cookies set: %v", c)
		}
		time.Sleep(time.Millisecond)
		f.mu.Lock()
		defer f.mu.Unlock()
		if len(f.back) != 1 {
			f.Errorf("grants given back: %v, want one", f.back)
		}
	})
}

// TestHolderDies: a replica dies after it has claimed a renewal. Whether it
// presented the token nobody knows, so nobody presents it again until grace is
// nearly over; the session goes on until then, and is saved if it can be.
func TestHolderDies(t *testing.T) {
	inFleet(t, 2, config, func(f *fleet) {
		f.signIn(0)
		f.p.set(func() { f.p.delay = time.Hour * 3 }) // it never comes back
		time.Sleep(14 * time.Minute)
		f.want(0, nil)
		time.Sleep(time.Second)
		f.lines[0].cut(down) // nor does it extend its claim
		f.p.set(func() { f.p.delay = time.Second })
		for range 58 {
			time.Sleep(time.Minute)
			f.want(1, nil)
		}
		if n, _ := f.p.counts(); n != 0 {
			f.Errorf("the token was presented after %d refreshes though its holder may have", n)
		}
		for range 10 { // grace is over at 15 min + 1 h
			time.Sleep(time.Minute)
			f.want(1, nil)
		}
		if n, reuses := f.p.counts(); n == 0 || reuses != 0 {
			f.Errorf("%d refreshes, %d reuses; want the session saved at last", n, reuses)
		}
	})
}

// TestInDoubt: the provider took the token and its answer was lost.
func TestInDoubt(t *testing.T) {
	inFleet(t, 3, config, func(f *fleet) {
		f.signIn(0)
		f.p.set(func() { f.p.fault = session.ErrInDoubt })
		for i := range 72 {
			time.Sleep(time.Minute)
			f.want(i%3, nil)
		}
		if _, reuses := f.p.counts(); reuses != 0 {
			f.Errorf("%d reuses within grace, want none", reuses)
		}
		time.Sleep(4 * time.Minute)
		f.visit(0)
		time.Sleep(2 * time.Second)
		f.want(0, session.ErrNone) // the last try said that the token is dead
	})
}

// TestProviderRefusesConnections: that is no doubt; the token is presented
// again until it is taken.
func TestProviderRefusesConnections(t *testing.T) {
	inFleet(t, 3, config, func(f *fleet) {
		f.signIn(0)
		f.p.set(func() { f.p.refused = errDown })
		for i := range 40 {
			time.Sleep(time.Minute)
			f.want(i%3, nil)
		}
		f.p.set(func() { f.p.refused = nil })
		for i := range 5 {
			time.Sleep(time.Minute)
			f.want(i%3, nil)
		}
		if n, reuses := f.p.counts(); n == 0 || reuses != 0 {
			f.Errorf("%d refreshes, %d reuses once the provider is back, want some and none", n, reuses)
		}
	})
}

// TestSignOutsAnybodyMakesUp while nobody can look are remembered within bounds,
// and told after those of sessions that are known.
func TestSignOutsAnybodyMakesUp(t *testing.T) {
	inFleet(t, 2, config, func(f *fleet) {
		f.signIn(0)
		f.want(0, nil)
		_, real := f.b.exchange()
		f.lines[0].cut(down)
		made := 0
		for range 1500 {
			r := httptest.NewRequest("POST", "/auth/logout", nil)
			var b strings.Builder
			for range 20 {
				made++
				fmt.Fprintf(&b, "%s=%043d; ", config.Cookie.Name, made)
			}
			r.Header.Set("Cookie", b.String())
			if _, err := f.ms[0].End(f.Context(), httptest.NewRecorder(), r, session.EndSignedOut); !errors.Is(err, session.ErrUnavailable) {
				f.Fatalf("End = %v, want that it cannot be told", err)
			}
			if made == 20 && session.Graves(f.ms[0]) != 8 {
				f.Errorf("of one request %d are remembered, want 8", session.Graves(f.ms[0]))
			}
		}
		if n := session.Graves(f.ms[0]); n != 10_000 {
			f.Errorf("%d made-up sign-outs are remembered of %d, want 10,000", n, made)
		}
		f.ms[0].End(f.Context(), httptest.NewRecorder(), real, session.EndSignedOut)
		f.lines[0].mend()
		time.Sleep(time.Second)
		if _, err := f.ms[1].Load(real); !errors.Is(err, session.ErrNone) {
			f.Errorf("Load at the other replica = %v, want ErrNone", err)
		}
		time.Sleep(time.Minute)
		if n := session.Graves(f.ms[0]); n != 0 {
			f.Errorf("%d are still remembered a minute after the store came back", n)
		}
	})
}

// TestWhoSignedOutIsKnown though somebody signs out once more with the cookie that
// was taken, and with one that nobody can look up: that the first is used is told
// as before.
func TestWhoSignedOutIsKnown(t *testing.T) {
	inFleet(t, 1, config, func(f *fleet) {
		f.signIn(0)
		_, taken := f.b.exchange()
		if _, err := f.ms[0].End(f.Context(), httptest.NewRecorder(), taken, session.EndSignedOut); err != nil {
			f.Fatal(err)
		}
		f.lines[0].cut(down)
		again := taken.Clone(f.Context())
		again.Header.Add("Cookie", fmt.Sprintf("%s=%043d", config.Cookie.Name, 1))
		if _, err := f.ms[0].End(f.Context(), httptest.NewRecorder(), again, session.EndSignedOut); !errors.Is(err, session.ErrUnavailable) {
			f.Fatalf("End = %v, want that it cannot be told", err)
		}
		_, err := f.ms[0].Load(taken)
		var over *session.Over
		if !errors.As(err, &over) || over.Why != session.EndSignedOut {
			f.Errorf("Load = %v, %+v, want that they signed out", err, over)
		}
	})
}
