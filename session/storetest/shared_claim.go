package storetest

import (
	"fmt"
	"time"

	"anteroom/session"
)

const hold = 10 * time.Second

// claim asks b for a claim on version 1 as owner.
func (s *shared) claim(owner string, spend, force bool, want session.ClaimOutcome) session.ClaimAnswer {
	s.Helper()
	return s.claimOf(1, owner, spend, force, want)
}

func (s *shared) claimOf(version uint64, owner string, spend, force bool, want session.ClaimOutcome) session.ClaimAnswer {
	s.Helper()
	c := session.Claim{Owner: owner, Version: version, Hold: hold, Spend: spend, Force: force, Durable: spend}
	got, err := s.b.Claim(s.Context(), key, c)
	if err != nil || got.Outcome != want {
		s.Fatalf("Claim(%+v) = %+v, %v, want outcome %d", c, got, err, want)
	}
	return got
}

func (s *shared) extend(owner string, want bool) {
	s.Helper()
	if held, err := s.a.Extend(s.Context(), key, owner, hold); err != nil || held != want {
		s.Fatalf("Extend(%q) = %v, %v, want %v", owner, held, err, want)
	}
}

func (s *shared) release(owner string, spent bool) {
	s.Helper()
	if err := s.a.Release(s.Context(), key, owner, spent); err != nil {
		s.Fatalf("Release(%q) = %v", owner, err)
	}
}

func claimYours(s *shared) {
	s.begin(key)
	s.claim("one", false, false, session.ClaimYours)
	s.is(key, 1)
}

func claimGone(s *shared) {
	s.claim("one", true, false, session.ClaimGone)
	s.is(key, 0)
	s.extend("one", false)
	s.release("one", true)
	s.is(key, 0)
	s.begin(key)
	s.claim("one", true, false, session.ClaimYours)
	s.end(session.Ended{Why: session.EndSignedOut}, true)
	s.claim("one", true, false, session.ClaimGone)
	s.extend("one", false)
}

func claimChanged(s *shared) {
	s.begin(key)
	s.save(s.saved(2), true, true)
	s.claim("one", true, false, session.ClaimChanged)
	s.claim("one", true, true, session.ClaimChanged)
	s.claimOf(2, "one", true, false, session.ClaimYours)
	s.claim("two", true, false, session.ClaimChanged)
}

func claimHeld(s *shared) {
	s.begin(key)
	s.claim("one", true, false, session.ClaimYours)
	for _, force := range []bool{false, true} {
		if got := s.claim("two", true, force, session.ClaimHeld); got.Wait <= hold-2*time.Second || got.Wait > hold {
			s.Errorf("Claim(held) = Wait %v, want about %v", got.Wait, hold)
		}
	}
}

func claimExpires(s *shared) {
	s.begin(key)
	s.claim("one", false, false, session.ClaimYours)
	s.advance(hold - 2*time.Second)
	s.claim("two", false, false, session.ClaimHeld)
	s.advance(3 * time.Second)
	s.claim("two", false, false, session.ClaimYours)
	s.extend("one", false)
	s.extend("two", true)
}

func claimExtended(s *shared) {
	s.begin(key)
	s.claim("one", false, false, session.ClaimYours)
	s.advance(hold - 2*time.Second)
	s.extend("one", true)
	s.advance(hold - 2*time.Second)
	s.claim("two", false, false, session.ClaimHeld)
	s.extend("two", false)
	s.advance(3 * time.Second)
	s.claim("two", false, false, session.ClaimYours)
}

func claimDoubt(s *shared) {
	s.begin(key)
	s.claim("one", true, false, session.ClaimYours)
	s.advance(hold + time.Second)
	s.claim("two", true, false, session.ClaimDoubt)
	s.claim("two", true, false, session.ClaimDoubt)
	s.save(s.saved(2), true, true) // the answer comes after all
	s.claimOf(2, "two", true, false, session.ClaimYours)
}

func claimForce(s *shared) {
	s.begin(key)
	s.claim("one", true, false, session.ClaimYours)
	s.advance(hold + time.Second)
	s.claim("two", true, true, session.ClaimYours)
	s.claim("three", true, true, session.ClaimHeld)
	s.extend("one", false)
	s.extend("two", true)
}

func claimAgain(s *shared) {
	s.begin(key)
	s.claim("one", true, false, session.ClaimYours)
	s.claim("one", true, false, session.ClaimYours)
	s.claim("two", true, false, session.ClaimHeld)
	s.advance(hold + time.Second)
	s.claim("one", true, false, session.ClaimYours)
}

func claimReleased(s *shared) {
	s.begin(key)
	s.claim("one", true, false, session.ClaimYours)
	s.release("one", false)
	s.extend("one", false)
	s.claim("two", true, false, session.ClaimYours)
}

func claimReleasedSpent(s *shared) {
	s.begin(key)
	s.claim("one", true, false, session.ClaimYours)
	s.release("one", true)
	s.claim("two", true, false, session.ClaimDoubt)
	s.claim("two", true, true, session.ClaimYours)
	s.release("two", false)
	s.claim("three", true, false, session.ClaimYours)
}

func claimReleasedByOther(s *shared) {
	s.begin(key)
	s.claim("one", true, false, session.ClaimYours)
	s.release("two", false)
	s.extend("one", true)
	s.claim("two", true, false, session.ClaimHeld)
}

func claimSaved(s *shared) {
	s.begin(key)
	s.claim("one", true, false, session.ClaimYours)
	s.save(s.saved(2), true, true)
	s.extend("one", false)
	s.claimOf(2, "two", true, false, session.ClaimYours)
	late := s.saved(2)
	late.Value = []byte("late")
	s.save(late, false, true) // and takes no claim away
	s.claimOf(2, "three", true, false, session.ClaimHeld)
}

// claimedSave: what is saved under a claim needs it still to be one's own.
func claimedSave(s *shared) {
	s.begin(key)
	under := func(owner string, version uint64, want bool) {
		s.Helper()
		if ok, found, err := s.b.Save(s.Context(), key, s.saved(version), time.Hour, owner); err != nil || ok != want || !found {
			s.Fatalf("Save(version %d) under the claim of %q = %v, %v, %v, want %v, true", version, owner, ok, found, err, want)
		}
	}
	under("one", 2, false)
	s.claim("one", false, false, session.ClaimYours)
	s.advance(hold + time.Second)
	s.claim("two", true, false, session.ClaimYours)
	under("one", 2, false)
	s.is(key, 1)
	s.claim("one", true, false, session.ClaimHeld)
	under("two", 2, true)
	s.is(key, 2)
	under("two", 3, false)
}

func claimRace(s *shared) {
	s.begin(key)
	n := s.atOnce(32, func(i int, st session.Shared) (bool, error) {
		c := session.Claim{Owner: fmt.Sprint("owner", i), Version: 1, Hold: hold, Spend: true}
		got, err := st.Claim(s.Context(), key, c)
		if err == nil && got.Outcome != session.ClaimYours && got.Outcome != session.ClaimHeld {
			err = fmt.Errorf("outcome %d, want yours or held", got.Outcome)
		}
		return got.Outcome == session.ClaimYours, err
	})
	if n != 1 {
		s.Errorf("Claim by 32 at once was given %d times, want 1", n)
	}
}
