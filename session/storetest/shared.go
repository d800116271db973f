package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"anteroom/session"
)

// SharedHarness is one shared store under test.
type SharedHarness struct {
	Store session.Shared
	// Other is a second way in, as another replica has it; nil means Store.
	Other session.Shared
	// Advance moves the store's clock on, or ages what is in it.
	Advance func(time.Duration)
	// Now is the store's time. Nil means time.Now.
	Now func() time.Time
}

// RunShared holds the stores that open makes, a new and empty one for each
// case, to the contract of session.Shared. That of session.Store is Run's.
func RunShared(t *testing.T, open func(t *testing.T) *SharedHarness) {
	cases := map[string]func(*shared){
		"load absent":                     loadAbsent,
		"begin then load":                 beginLoad,
		"begin twice":                     beginTwice,
		"begin again after the end":       beginAfterEnd,
		"values are copied":               sharedCopied,
		"sessions expire":                 sharedExpires,
		"save rises":                      saveRises,
		"save refuses what is not newer":  saveOlder,
		"save among many goes upwards":    saveRace,
		"save never creates":              saveAbsent,
		"save renews the expiry":          saveRenews,
		"seen never goes backwards":       seenForward,
		"touch":                           touches,
		"touch absent":                    touchAbsent,
		"end":                             ends,
		"end among many is one's":         endRace,
		"end if unused":                   endUnused,
		"claim is yours":                  claimYours,
		"claim of nothing":                claimGone,
		"claim of another version":        claimChanged,
		"claim is held":                   claimHeld,
		"claim expires":                   claimExpires,
		"claim extended":                  claimExtended,
		"claim in doubt":                  claimDoubt,
		"claim by force":                  claimForce,
		"claim twice by one owner":        claimAgain,
		"claim released":                  claimReleased,
		"claim released after spending":   claimReleasedSpent,
		"claim released by another":       claimReleasedByOther,
		"save ends the claim":             claimSaved,
		"save under a claim":              claimedSave,
		"claim among many is one's":       claimRace,
		"list":                            lists,
		"list leaves out what ended":      listEnded,
		"list until the end":              listEnds,
		"list shows the last use":         listSeen,
		"list of many":                    listMany,
		"once":                            once,
		"once among many":                 onceRace,
		"watch hears changes":             watchChange,
		"watch hears ends":                watchEnd,
		"watch hears no use and no claim": watchQuiet,
		"watch ends":                      watchOver,
		"two watch":                       watchTwo,
		"writable":                        writable,
		"a done context":                  sharedDone,
	}
	for name, f := range cases {
		t.Run(name, func(t *testing.T) {
			h := open(t)
			s := &shared{T: t, a: h.Store, b: h.Other, advance: h.Advance, now: h.Now}
			if s.b == nil {
				s.b = s.a
			}
			if s.now == nil {
				s.now = time.Now
			}
			f(s)
		})
	}
}

// shared is one case at work.
type shared struct {
	*testing.T
	a, b    session.Shared
	advance func(time.Duration)
	now     func() time.Time
}

const key = "c2Vzc2lvbg"

// value is a session's, unlike any other.
func value(version uint64) []byte { return fmt.Appendf(nil, "value %d\x00\xff\r\n", version) }

func (s *shared) saved(version uint64) session.Saved {
	return session.Saved{Value: value(version), Info: []byte("info\x00"), Version: version, Seen: s.now()}
}

func (s *shared) begin(k string, names ...string) session.Saved {
	s.Helper()
	v := s.saved(1)
	if err := s.a.Begin(s.Context(), k, v, time.Hour, names, s.now().Add(10*time.Hour)); err != nil {
		s.Fatalf("Begin = %v", err)
	}
	return v
}

// is checks what b has of a session. Version 0: it is over.
func (s *shared) is(k string, version uint64) session.Saved {
	s.Helper()
	got, found, err := s.b.Load(s.Context(), k)
	if err != nil || found != (version != 0) || got.Version != version || found && !bytes.Equal(got.Value, value(version)) {
		s.Fatalf("Load = version %d %q, %v, %v, want version %d", got.Version, got.Value, found, err, version)
	}
	return got
}

func (s *shared) save(v session.Saved, saved, found bool) {
	s.Helper()
	if ok, there, err := s.b.Save(s.Context(), key, v, time.Hour, ""); err != nil || ok != saved || there != found {
		s.Fatalf("Save(version %d) = %v, %v, %v, want %v, %v", v.Version, ok, there, err, saved, found)
	}
}

func (s *shared) end(e session.Ended, want bool) {
	s.Helper()
	if ended, err := s.b.End(s.Context(), key, e); err != nil || ended != want {
		s.Fatalf("End(%+v) = %v, %v, want %v", e, ended, err, want)
	}
}

// atOnce calls f from n goroutines, on both handles, and counts the trues.
func (s *shared) atOnce(n int, f func(i int, st session.Shared) (bool, error)) int {
	s.Helper()
	var mu sync.Mutex
	var wg sync.WaitGroup
	var count int
	for i := range n {
		st := s.a
		if i%2 == 1 {
			st = s.b
		}
		wg.Go(func() {
			ok, err := f(i, st)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				s.Errorf("at once: %v", err)
			}
			if ok {
				count++
			}
		})
	}
	wg.Wait()
	return count
}

func loadAbsent(s *shared) { s.is("nobody", 0) }

func beginLoad(s *shared) {
	v := s.begin(key)
	got := s.is(key, 1)
	if want := v.Seen.Truncate(time.Millisecond); !got.Seen.Equal(want) {
		s.Errorf("Seen = %v, want %v: to the millisecond", got.Seen, want)
	}
	s.is("another", 0)
}

func beginTwice(s *shared) {
	s.begin(key)
	other := s.saved(1)
	other.Value = []byte("of somebody else")
	if err := s.b.Begin(s.Context(), key, other, time.Hour, nil, s.now().Add(time.Hour)); !errors.Is(err, session.ErrExists) {
		s.Fatalf("Begin(a key that is taken) = %v, want ErrExists", err)
	}
	s.is(key, 1)
}

func beginAfterEnd(s *shared) {
	s.begin(key)
	s.end(session.Ended{Why: session.EndRevoked}, true)
	s.begin(key)
	s.is(key, 1)
}

func sharedCopied(s *shared) {
	v := s.begin(key)
	copy(v.Value, "CHANGED")
	got := s.is(key, 1)
	copy(got.Value, "CHANGED")
	s.is(key, 1)
}

func sharedExpires(s *shared) {
	s.begin(key)
	s.advance(59 * time.Minute)
	s.is(key, 1)
	s.advance(2 * time.Minute)
	s.is(key, 0)
	s.save(s.saved(2), false, false)
}

func saveRises(s *shared) {
	s.begin(key)
	s.save(s.saved(2), true, true)
	s.is(key, 2)
	s.save(s.saved(9), true, true)
	s.is(key, 9)
	s.save(s.saved(10), true, true)
	s.is(key, 10)
}

func saveOlder(s *shared) {
	s.begin(key)
	s.save(s.saved(10), true, true)
	for _, version := range []uint64{10, 9, 1} {
		v := s.saved(version)
		v.Value = []byte("late")
		s.save(v, false, true)
	}
	s.is(key, 10)
}

func saveRace(s *shared) {
	s.begin(key)
	const n = 24
	s.atOnce(n, func(i int, st session.Shared) (bool, error) {
		ok, _, err := st.Save(s.Context(), key, s.saved(uint64(i+2)), time.Hour, "")
		return ok, err
	})
	s.is(key, n+1)
}

func saveAbsent(s *shared) {
	s.save(s.saved(2), false, false)
	s.is(key, 0)
	s.begin(key)
	s.end(session.Ended{Why: session.EndSignedOut}, true)
	s.save(s.saved(2), false, false)
	s.is(key, 0)
}

func saveRenews(s *shared) {
	s.begin(key)
	s.advance(50 * time.Minute)
	s.save(s.saved(2), true, true)
	s.advance(50 * time.Minute)
	s.is(key, 2)
	s.advance(11 * time.Minute)
	s.is(key, 0)
}

func seenForward(s *shared) {
	v := s.begin(key)
	earlier, later := v.Seen.Add(-time.Minute), v.Seen.Add(time.Minute)
	steps := []struct{ seen, want time.Time }{{earlier, v.Seen}, {later, later}, {v.Seen, later}}
	for i, step := range steps {
		if found, err := s.b.Touch(s.Context(), key, step.seen, time.Hour); !found || err != nil {
			s.Fatalf("Touch = %v, %v, want found", found, err)
		}
		if got := s.is(key, 1); !got.Seen.Equal(step.want.Truncate(time.Millisecond)) {
			s.Errorf("Touch #%d: Seen = %v, want %v", i+1, got.Seen, step.want)
		}
	}
	next := s.saved(2)
	next.Seen = earlier
	s.save(next, true, true)
	if got := s.is(key, 2); !got.Seen.Equal(later.Truncate(time.Millisecond)) {
		s.Errorf("Save of an earlier use: Seen = %v, want %v", got.Seen, later)
	}
	next = s.saved(3)
	next.Seen = later.Add(time.Second)
	s.save(next, true, true)
	if got := s.is(key, 3); !got.Seen.Equal(next.Seen.Truncate(time.Millisecond)) {
		s.Errorf("Save of a later use: Seen = %v, want %v", got.Seen, next.Seen)
	}
}

func touches(s *shared) {
	s.begin(key)
	s.advance(50 * time.Minute)
	if found, err := s.b.Touch(s.Context(), key, s.now(), time.Hour); !found || err != nil {
		s.Fatalf("Touch = %v, %v, want found", found, err)
	}
	s.advance(50 * time.Minute)
	s.is(key, 1)
}

func touchAbsent(s *shared) {
	if found, err := s.a.Touch(s.Context(), key, s.now(), time.Hour); found || err != nil {
		s.Fatalf("Touch(absent) = %v, %v, want absent", found, err)
	}
	s.is(key, 0)
}

func ends(s *shared) {
	s.begin(key)
	s.end(session.Ended{Why: session.EndSignedOut}, true)
	s.is(key, 0)
	s.end(session.Ended{Why: session.EndSignedOut}, false)
}

func endRace(s *shared) {
	s.begin(key)
	n := s.atOnce(16, func(_ int, st session.Shared) (bool, error) {
		return st.End(s.Context(), key, session.Ended{Why: session.EndRevoked})
	})
	if n != 1 {
		s.Errorf("End by 16 at once ended it %d times, want 1", n)
	}
}

func endUnused(s *shared) {
	v := s.begin(key)
	s.end(session.Ended{Why: session.EndIdle, UnusedFor: v.Seen.Add(-time.Second)}, false)
	s.is(key, 1)
	if _, err := s.a.Touch(s.Context(), key, v.Seen.Add(time.Minute), time.Hour); err != nil {
		s.Fatal(err)
	}
	s.end(session.Ended{Why: session.EndIdle, UnusedFor: v.Seen.Add(time.Second)}, false)
	s.is(key, 1)
	s.end(session.Ended{Why: session.EndIdle, UnusedFor: v.Seen.Add(time.Minute)}, true)
	s.is(key, 0)
}

func lists(s *shared) {
	v := s.begin("a", "person 1", "provider")
	s.begin("b", "person 1")
	s.begin("c", "person 2", "provider")
	s.listed("person 1", "a", "b")
	s.listed("person 2", "c")
	s.listed("provider", "a", "c")
	s.listed("nobody")
	got, _ := s.b.List(s.Context(), "person 2")
	if len(got) != 1 || !bytes.Equal(got[0].Info, v.Info) {
		s.Errorf("List = %+v, want Info %q", got, v.Info)
	}
}

func (s *shared) listed(name string, want ...string) {
	s.Helper()
	got, err := s.b.List(s.Context(), name)
	if err != nil || len(got) != len(want) {
		s.Fatalf("List(%q) = %d sessions, %v, want %v", name, len(got), err, want)
	}
	there := map[string]bool{}
	for _, l := range got {
		there[l.Key] = true
	}
	for _, k := range want {
		if !there[k] {
			s.Fatalf("List(%q) = %v, want %v", name, there, want)
		}
	}
}

func listEnded(s *shared) {
	s.begin(key, "person")
	s.begin("b", "person")
	s.end(session.Ended{Why: session.EndRevoked}, true)
	s.listed("person", "b")
	s.listed("person", "b")
	s.begin(key, "person")
	s.listed("person", key, "b")
}

func listEnds(s *shared) {
	ends := s.now().Add(20 * time.Minute)
	if err := s.a.Begin(s.Context(), key, s.saved(1), time.Hour, []string{"person"}, ends); err != nil {
		s.Fatal(err)
	}
	s.begin("longer", "person")
	s.advance(19 * time.Minute)
	s.listed("person", key, "longer")
	s.advance(2 * time.Minute)
	s.listed("person", "longer")
	s.is(key, 1)
}

func listSeen(s *shared) {
	v := s.begin(key, "person")
	later := v.Seen.Add(time.Minute)
	if _, err := s.a.Touch(s.Context(), key, later, time.Hour); err != nil {
		s.Fatal(err)
	}
	got, err := s.b.List(s.Context(), "person")
	if err != nil || len(got) != 1 || !got[0].Seen.Equal(later.Truncate(time.Millisecond)) {
		s.Fatalf("List = %+v, %v, want Seen %v", got, err, later)
	}
}

func listMany(s *shared) {
	const n = 1200
	s.atOnce(8, func(i int, st session.Shared) (bool, error) {
		for j := i; j < n; j += 8 {
			if err := st.Begin(s.Context(), fmt.Sprint("k", j), s.saved(1), time.Hour, []string{"crowd"}, s.now().Add(time.Hour)); err != nil {
				return false, err
			}
		}
		return true, nil
	})
	if got, err := s.b.List(s.Context(), "crowd"); err != nil || len(got) != n {
		s.Fatalf("List = %d sessions, %v, want %d", len(got), err, n)
	}
}

func once(s *shared) {
	want := []bool{true, false}
	for i, st := range []session.Shared{s.a, s.b} {
		if first, err := st.Once(s.Context(), "mark", 10*time.Second); err != nil || first != want[i] {
			s.Fatalf("Once #%d = %v, %v, want %v", i+1, first, err, want[i])
		}
	}
	s.advance(11 * time.Second)
	if first, err := s.b.Once(s.Context(), "mark", 10*time.Second); err != nil || !first {
		s.Fatalf("Once(after its time) = %v, %v, want true", first, err)
	}
	if _, found, err := s.a.Get(s.Context(), "mark"); found || err != nil {
		s.Errorf("Get(a key of Once) = %v, %v, want absent: they are apart", found, err)
	}
}

func onceRace(s *shared) {
	n := s.atOnce(16, func(_ int, st session.Shared) (bool, error) { return st.Once(s.Context(), "mark", time.Minute) })
	if n != 1 {
		s.Errorf("Once by 16 at once was first %d times, want 1", n)
	}
}

func writable(s *shared) {
	if err := s.a.Writable(s.Context()); err != nil {
		s.Errorf("Writable = %v, want nil", err)
	}
}

// sharedDone: a store in this process may answer all the same.
func sharedDone(s *shared) {
	s.begin(key)
	ctx, cancel := context.WithCancel(s.Context())
	cancel()
	if got, found, err := s.a.Load(ctx, key); err == nil && (!found || got.Version != 1) {
		s.Errorf("Load(done context) = %v, %v, nil, want an error or the session", got.Version, found)
	}
	s.is(key, 1)
}
