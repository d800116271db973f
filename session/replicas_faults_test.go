package session_test

import (
	"context"
	"errors"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"anteroom/session"
)

// TestLateAnswerDoesNotBringATokenBack: a replica asks who the person is, loses
// its store over it, and comes back with that answer after another replica has
// refreshed, or while it does.
func TestLateAnswerDoesNotBringATokenBack(t *testing.T) {
	for name, back := range map[string]time.Duration{"after": 5 * time.Second, "meanwhile": 500 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			inFleet(t, 3, config, func(f *fleet) {
				f.p.set(func() { f.p.life = time.Hour })
				f.signIn(0)
				f.want(1, nil)
				time.Sleep(13*time.Minute + 30*time.Second)
				f.want(0, nil) // asks; presents nothing
				time.Sleep(500 * time.Millisecond)
				f.lines[0].cut(down)
				time.Sleep(44*time.Minute + 30*time.Second)
				f.want(1, nil) // refreshes, which takes a second
				time.Sleep(back)
				f.lines[0].mend()
				for range 20 {
					time.Sleep(10 * time.Second)
					for at := range f.ms {
						f.want(at, nil)
					}
				}
				if n, reuses := f.p.counts(); n == 0 || reuses != 0 {
					f.Errorf("%d refreshes, %d reuses, want some and none", n, reuses)
				}
			})
		})
	}
}

// TestDeadAccessTokenIsNotADeadGrant: only the refresh token's own refusal ends
// a session, and it was not presented.
func TestDeadAccessTokenIsNotADeadGrant(t *testing.T) {
	inFleet(t, 2, config, func(f *fleet) {
		f.p.set(func() {
			f.p.life = time.Hour
			f.p.asked = func() error {
				f.lines[0].cut(down)
				return session.ErrGrantDead
			}
		})
		f.signIn(0)
		f.want(1, nil)
		time.Sleep(13*time.Minute + 30*time.Second)
		f.want(0, nil)
		time.Sleep(20 * time.Second)
		f.lines[0].mend()
		time.Sleep(10 * time.Second)
		f.want(0, nil)
		f.want(1, nil)
	})
}

// TestClaimWhoseAnswerIsLost is taken up again by who made it.
func TestClaimWhoseAnswerIsLost(t *testing.T) {
	inFleet(t, 2, config, func(f *fleet) {
		s := f.shim(0)
		f.signIn(0)
		s.claim = func(next func() (session.ClaimAnswer, error)) (session.ClaimAnswer, error) {
			next()
			s.set(func() { s.claim = nil })
			return session.ClaimAnswer{}, errors.New("i/o timeout")
		}
		time.Sleep(14 * time.Minute)
		for range 3 {
			f.want(0, nil)
			time.Sleep(time.Minute)
		}
		if n, reuses := f.p.counts(); n == 0 || reuses != 0 {
			f.Errorf("%d refreshes, %d reuses three minutes later, want one and none", n, reuses)
		}
	})
}

// TestEndHeardWhileLoading: the reading had begun before the end, and the next
// one fails.
func TestEndHeardWhileLoading(t *testing.T) {
	inFleet(t, 2, config, func(f *fleet) {
		s := f.shim(1)
		begun := f.signIn(0)
		gate, first := make(chan struct{}), true
		s.load = func(next func() (session.Saved, bool, error)) (session.Saved, bool, error) {
			if !first {
				return session.Saved{}, false, errDown
			}
			first = false
			v, found, err := next()
			<-gate
			return v, found, err
		}
		_, r := f.b.exchange()
		go f.ms[1].Load(r)
		time.Sleep(10 * time.Millisecond)
		f.ms[0].Revoke(f.Context(), "testdoc", begun.Who().SessionID, session.EndRevoked)
		close(gate)
		time.Sleep(time.Second)
		f.want(1, session.ErrNone)
	})
}

// TestSignOutOfAnUnreadSession: at a replica that never saw it, while the store
// is away. The browser keeps its cookie, to ask again, in vain until the store
// is back; the replica keeps the end, to tell it.
func TestSignOutOfAnUnreadSession(t *testing.T) {
	inFleet(t, 2, config, func(f *fleet) {
		f.signIn(0)
		f.lines[1].cut(down)
		_, r := f.b.exchange()
		for range 2 {
			w := httptest.NewRecorder()
			if _, err := f.ms[1].End(f.Context(), w, r, session.EndSignedOut); !errors.Is(err, session.ErrUnavailable) {
				f.Errorf("End = %v, want ErrUnavailable", err)
			}
			if c := w.Result().Cookies(); len(c) != 0 {
				f.Errorf("a sign-out that failed set %v", c)
			}
		}
		if _, err := f.ms[1].Load(r); !errors.Is(err, session.ErrNone) {
			f.Errorf("Load at once = %v, want ErrNone", err)
		}
		f.lines[1].mend()
		time.Sleep(100 * time.Millisecond)
		for at, m := range f.ms {
			if _, err := m.Load(r); !errors.Is(err, session.ErrNone) {
				f.Errorf("Load at %d once the store is back = %v, want ErrNone", at, err)
			}
		}
	})
}

// TestSignOutGoesThroughAtOnce when it is asked for again and the store is back,
// though nobody has heard so yet.
func TestSignOutGoesThroughAtOnce(t *testing.T) {
	inFleet(t, 2, config, func(f *fleet) {
		f.signIn(0)
		s := f.shim(1)
		s.set(func() {
			s.load = func(func() (session.Saved, bool, error)) (session.Saved, bool, error) {
				return session.Saved{}, false, errDown
			}
		})
		_, r := f.b.exchange()
		f.ms[1].End(f.Context(), httptest.NewRecorder(), r, session.EndSignedOut)
		if _, err := f.ms[1].End(f.Context(), httptest.NewRecorder(), r, session.EndSignedOut); err != nil {
			f.Errorf("End again = %v, want it done", err)
		}
		time.Sleep(100 * time.Millisecond)
		f.want(0, session.ErrNone)
		if n := session.Graves(f.ms[1]); n != 0 {
			f.Errorf("%d ends still to be told", n)
		}
	})
}

// TestSignOutWhileLoading: the session is being read for the first time when its
// person signs out and does not wait. It is refused at once all the same.
func TestSignOutWhileLoading(t *testing.T) {
	inFleet(t, 2, config, func(f *fleet) {
		s, gate := f.shim(1), make(chan struct{})
		f.signIn(0)
		s.set(func() {
			s.load = func(next func() (session.Saved, bool, error)) (session.Saved, bool, error) {
				defer func() { <-gate }()
				return next()
			}
		})
		_, r := f.b.exchange()
		ctx, hangUp := context.WithCancel(r.Context())
		time.AfterFunc(10*time.Millisecond, hangUp)
		if _, err := f.ms[1].End(f.Context(), httptest.NewRecorder(), r.WithContext(ctx), session.EndSignedOut); !errors.Is(err, session.ErrUnavailable) {
			f.Errorf("End = %v, want ErrUnavailable", err)
		}
		close(gate)
		time.Sleep(time.Millisecond) // it has been read
		f.want(1, session.ErrNone)
		f.lines[1].deafen()
		time.Sleep(10 * time.Second)
		f.want(0, session.ErrNone)
		f.lines[1].cut(down) // before the replica has heard of its own word
		f.want(1, session.ErrNone)
	})
}

// TestFailoverForgetsAnEnd: those who know of it tell the new master.
func TestFailoverForgetsAnEnd(t *testing.T) {
	inFleet(t, 3, config, func(f *fleet) {
		old, s := f.lines[0].Shared, f.shim(1)
		f.signIn(0)
		f.want(1, nil)
		saved, _, _ := old.Load(f.Context(), s.keys[0])
		_, r := f.b.exchange()
		if _, err := f.ms[1].End(f.Context(), httptest.NewRecorder(), r, session.EndSignedOut); err != nil {
			f.Fatal(err)
		}
		promoted := &session.Memory{}
		if err := promoted.Begin(f.Context(), s.keys[0], saved, time.Hour, nil, time.Now().Add(time.Hour)); err != nil {
			f.Fatal(err)
		}
		for _, l := range f.lines {
			l.cut(down)
		}
		time.Sleep(2 * time.Second)
		for _, l := range f.lines {
			l.Shared = promoted
			l.mend()
		}
		time.Sleep(100 * time.Millisecond)
		for at, m := range f.ms {
			if _, err := m.Load(r); !errors.Is(err, session.ErrNone) {
				f.Errorf("Load at %d after a failover that lost the end = %v, want ErrNone", at, err)
			}
		}
	})
}

// TestFailoverForgetsNewTokens: the replica that has them tells the new master,
// though the person has gone on at another, which must not present the old one.
func TestFailoverForgetsNewTokens(t *testing.T) {
	cfg := config
	cfg.IdleTimeout = 4 * time.Hour
	inFleet(t, 2, cfg, func(f *fleet) {
		old, s := f.lines[0].Shared, f.shim(1)
		f.signIn(0)
		f.want(1, nil)
		key := s.keys[0]
		saved, _, _ := old.Load(f.Context(), key)
		time.Sleep(13*time.Minute + 30*time.Second)
		f.want(0, nil) // renews
		time.Sleep(2 * time.Second)
		promoted := &session.Memory{} // heard of the claim, and of nothing after it
		if err := promoted.Begin(f.Context(), key, saved, 12*time.Hour, nil, time.Now().Add(12*time.Hour)); err != nil {
			f.Fatal(err)
		}
		promoted.Claim(f.Context(), key, session.Claim{Owner: "the first", Version: 1, Hold: time.Second, Spend: true})
		for _, l := range f.lines {
			l.cut(down)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		f.lines[0].Shared, s.Shared = promoted, promoted
		for _, l := range f.lines {
			l.mend()
		}
		for range 90 {
			time.Sleep(time.Minute)
			f.want(1, nil)
		}
		if n, reuses := f.p.counts(); reuses != 0 || n < 5 {
			f.Errorf("%d refreshes, %d reuses in 90 minutes, want one each 13 minutes and none", n, reuses)
		}
	})
}

// TestStreamsOfAnEndThatWasMissed stop as soon as the store is heard again.
func TestStreamsOfAnEndThatWasMissed(t *testing.T) {
	inFleet(t, 2, config, func(f *fleet) {
		s, stopped := f.signIn(0), make(chan time.Time, 1)
		f.want(1, nil).Attach(func() { stopped <- time.Now() })
		f.lines[1].cut(nil)
		f.ms[0].Revoke(f.Context(), "testdoc", s.Who().SessionID, session.EndRevoked)
		time.Sleep(100 * time.Millisecond)
		back := time.Now()
		f.lines[1].mend()
		if took := (<-stopped).Sub(back); took > 100*time.Millisecond {
			f.Errorf("a stream of an ended session went on for %v after the store was heard again", took)
		}
	})
}

// TestOutageIsNotIdleness: a session in use throughout an outage is not idle
// after it, on any replica, and not a moment early without one.
func TestOutageIsNotIdleness(t *testing.T) {
	cfg := config
	cfg.IdleTimeout = 15 * time.Minute
	for name, visits := range map[string]int{"longer than idle_timeout": 40, "shorter": 29} {
		t.Run(name, func(t *testing.T) {
			inFleet(t, 2, cfg, func(f *fleet) {
				f.signIn(0)
				f.want(1, nil)
				for _, l := range f.lines {
					l.cut(down)
				}
				for range visits {
					time.Sleep(30 * time.Second)
					f.want(0, nil)
				}
				time.Sleep(15 * time.Second)
				f.lines[1].mend() // who did not see it used hears the store first
				time.Sleep(time.Second)
				f.lines[0].mend()
				time.Sleep(40 * time.Second)
				f.want(0, nil)
				f.want(1, nil)
			})
		})
	}
	t.Run("not early", func(t *testing.T) {
		inFleet(t, 2, cfg, func(f *fleet) {
			f.signIn(0)
			f.want(1, nil)
			time.Sleep(58 * time.Second)
			f.want(0, nil)
			time.Sleep(14*time.Minute + 50*time.Second)
			f.want(0, nil)
		})
	})
}

// TestTheLastTokensAreGivenBack: not those that a replica remembers which has
// not read the renewed ones yet; and those of a session that is replaced, too.
func TestTheLastTokensAreGivenBack(t *testing.T) {
	inFleet(t, 2, config, func(f *fleet) {
		s := f.signIn(0)
		f.want(1, nil)
		time.Sleep(14 * time.Minute)
		f.want(0, nil)
		time.Sleep(10 * time.Second)
		f.ms[1].Revoke(f.Context(), "testdoc", s.Who().SessionID, session.EndRevoked)
		time.Sleep(time.Second)
		f.signIn(0)
		f.signIn(0)
		time.Sleep(time.Second)
		f.mu.Lock()
		defer f.mu.Unlock()
		if len(f.back) != 2 || f.back[0] != session.EndRevoked || f.tokens[0] != "access1" || f.back[1] != session.EndReplaced {
			f.Errorf("given back %v, %v; want access1, revoked, and one replaced", f.back, f.tokens)
		}
	})
}

// TestDurableWhileThereIsTime: a store whose replicas confirm nothing holds
// renewals up, but not until the tokens are over.
func TestDurableWhileThereIsTime(t *testing.T) {
	inFleet(t, 1, config, func(f *fleet) {
		s := f.shim(0)
		refused, spent := 0, 0 // guarded by s.mu
		s.set(func() {
			s.claim = func(next func() (session.ClaimAnswer, error)) (session.ClaimAnswer, error) {
				s.mu.Lock()
				durable, spend := s.asked.Durable, s.asked.Spend
				if durable {
					refused++
				} else if spend {
					spent++
				}
				s.mu.Unlock()
				if durable {
					return session.ClaimAnswer{}, errDown
				}
				return next()
			}
		})
		before := f.signIn(0).Grant().Tokens
		for time.Now().Before(before.Expiry.Add(-time.Second)) {
			f.want(0, nil)
			time.Sleep(time.Second)
		}
		if got := f.want(0, nil).Grant().Tokens; got == before {
			t.Error("the tokens are over and were not renewed")
		}
		s.set(func() {
			if refused < 3 || spent != 1 {
				t.Errorf("claims: %d durable, %d not, want a few and one", refused, spent)
			}
		})
	})
}

// TestCloseTellsTheStore what it has not heard: new tokens, and an end.
func TestCloseTellsTheStore(t *testing.T) {
	t.Run("tokens", func(t *testing.T) {
		inFleet(t, 2, config, func(f *fleet) {
			s := f.shim(0)
			f.signIn(0)
			f.want(1, nil)
			var refused atomic.Int32
			s.set(func() {
				s.save = func(func() (bool, bool, error)) (bool, bool, error) {
					refused.Add(1)
					return false, false, errDown
				}
			})
			time.Sleep(14 * time.Minute)
			f.want(0, nil)
			time.Sleep(1500 * time.Millisecond) // rotated, and not saved
			if refused.Load() == 0 {
				f.Error("no save was refused: nothing is left for Close to tell")
			}
			s.set(func() { s.save = nil })
			f.ms[0].Close(context.Background())
			f.lines[0].cut(down)
			if got := f.want(1, nil).Grant().Tokens.Access.Reveal(); got != "access1" {
				f.Errorf("the other replica has %q after Close, want the new one", got)
			}
		})
	})
	t.Run("end", func(t *testing.T) {
		inFleet(t, 2, config, func(f *fleet) {
			f.signIn(0)
			f.want(1, nil)
			_, r := f.b.exchange()
			f.lines[0].mu.Lock()
			f.lines[0].fault = down
			f.lines[0].mu.Unlock()
			f.ms[0].End(f.Context(), httptest.NewRecorder(), r, session.EndSignedOut)
			f.lines[0].mu.Lock()
			f.lines[0].fault = nil
			f.lines[0].mu.Unlock()
			f.ms[0].Close(context.Background())
			if _, err := f.ms[1].Load(r); !errors.Is(err, session.ErrNone) {
				f.Errorf("Load at the other replica = %v, want ErrNone", err)
			}
		})
	})
}

// TestCloseDoesNotWaitForOthers: only for what it has presented itself.
func TestCloseDoesNotWaitForOthers(t *testing.T) {
	inFleet(t, 2, config, func(f *fleet) {
		f.p.set(func() { f.p.delay = 100 * time.Second })
		f.signIn(0)
		f.want(1, nil)
		time.Sleep(14 * time.Minute)
		f.want(0, nil)
		time.Sleep(time.Second)
		f.want(1, nil) // waits in the background for the other's renewal
		time.Sleep(time.Second)
		began := time.Now()
		f.ms[1].Close(f.Context())
		if took := time.Since(began); took > time.Second {
			f.Errorf("Close took %v", took)
		}
	})
}

// TestNoHotLoop: a store that lost a version and takes no writes is not asked
// more often for that.
func TestNoHotLoop(t *testing.T) {
	inFleet(t, 2, config, func(f *fleet) {
		s := f.shim(0)
		f.signIn(0)
		s.set(func() {
			s.save = func(func() (bool, bool, error)) (bool, bool, error) { return false, false, errors.New("READONLY") }
		})
		time.Sleep(14 * time.Minute)
		f.want(0, nil)
		time.Sleep(13 * time.Minute)
		s.set(func() { s.claims = 0 })
		for range 60 {
			f.want(0, nil)
			time.Sleep(time.Second)
		}
		s.set(func() {
			if s.claims > 70 {
				f.Errorf("%d claims in a minute for one session", s.claims)
			}
		})
	})
}

// TestUnreadableIsNotCurrent: a change that was heard and cannot be read, for
// its key is not here yet, is covered by grace and no longer.
func TestUnreadableIsNotCurrent(t *testing.T) {
	inFleet(t, 2, config, func(f *fleet) {
		s := f.shim(1)
		f.signIn(0)
		f.want(1, nil)
		if saved, _, err := f.lines[0].Shared.Save(f.Context(), s.keys[0], session.Saved{Value: []byte("sealed"), Version: 2, Seen: time.Now()}, 12*time.Hour, ""); !saved || err != nil {
			f.Fatalf("Save = %v, %v", saved, err)
		}
		for range 59 {
			time.Sleep(time.Minute)
			f.want(1, nil)
		}
		time.Sleep(2 * time.Minute)
		f.want(1, session.ErrUnavailable)
		f.log.mu.Lock()
		defer f.log.mu.Unlock()
		if n := strings.Count(f.log.b.String(), "unreadable"); n != len(f.ms) {
			f.Errorf("said %d times, want once by each replica", n)
		}
	})
}
