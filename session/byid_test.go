package session_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"anteroom/session"
)

// TestFind: by its public id a session is found where it is known whole, and
// elsewhere by name; never as another person's, and not once it is over.
func TestFind(t *testing.T) {
	inFleet(t, 2, config, func(f *fleet) {
		s := f.signIn(0)
		id := s.Who().SessionID
		who, found, err := f.ms[0].Find(f.Context(), "testdoc", id)
		if err != nil || found == nil || who.SessionID != id || found.Grant().Tokens.Access != s.Grant().Tokens.Access {
			f.Fatalf("Find where it began = %v, %v, %v, want it with its tokens", who, found, err)
		}
		who, found, err = f.ms[1].Find(f.Context(), "testdoc", id)
		if err != nil || found != nil || who.Subject != "testdoc" || who.SessionID != id {
			f.Fatalf("Find elsewhere = %v, %v, %v, want the person alone", who, found, err)
		}
		for i, m := range f.ms {
			for _, tt := range []struct{ subject, id string }{{"nurse", id}, {"testdoc", ""}, {"", id}, {"", ""}, {"testdoc", id + "x"}, {"testdoc", "all"}} {
				if who, found, err := m.Find(f.Context(), tt.subject, tt.id); !errors.Is(err, session.ErrNone) {
					f.Errorf("Find(%q, %q) at replica %d = %v, %v, %v, want ErrNone", tt.subject, tt.id, i, who, found, err)
				}
			}
		}
		f.want(1, nil)
		if _, found, err := f.ms[1].Find(f.Context(), "testdoc", id); err != nil || found == nil {
			f.Errorf("Find after a visit = %v, %v, want it with its tokens", found, err)
		}
		if ok, err := f.ms[1].Revoke(f.Context(), "testdoc", id, session.EndRevoked); !ok || err != nil {
			f.Fatalf("Revoke = %v, %v", ok, err)
		}
		synctest.Wait()
		for i, m := range f.ms {
			if who, found, err := m.Find(f.Context(), "testdoc", id); !errors.Is(err, session.ErrNone) {
				f.Errorf("Find at replica %d after its end = %v, %v, %v, want ErrNone", i, who, found, err)
			}
		}
	})
}

// TestFindIsNoUse: whoever asks by the id does not keep the session from
// ending for want of use.
func TestFindIsNoUse(t *testing.T) {
	inFleet(t, 2, config, func(f *fleet) {
		id := f.signIn(0).Who().SessionID
		for range 5 {
			time.Sleep(11 * time.Minute)
			for i, m := range f.ms {
				if _, _, err := m.Find(f.Context(), "testdoc", id); err != nil {
					f.Fatalf("Find at replica %d within the idle timeout = %v", i, err)
				}
			}
		}
		time.Sleep(config.IdleTimeout - 50*time.Minute)
		for i, m := range f.ms {
			if who, _, err := m.Find(f.Context(), "testdoc", id); !errors.Is(err, session.ErrNone) {
				f.Errorf("Find at replica %d of a session nobody used for %v = %v, %v, want ErrNone", i, config.IdleTimeout+5*time.Minute, who, err)
			}
		}
	})
}

// TestFindWithoutStore: that the store is away ends nobody's session, and lets
// in nobody unknown.
func TestFindWithoutStore(t *testing.T) {
	inFleet(t, 2, config, func(f *fleet) {
		id := f.signIn(0).Who().SessionID
		for _, l := range f.lines {
			l.cut(down)
		}
		if _, found, err := f.ms[0].Find(f.Context(), "testdoc", id); err != nil || found == nil {
			f.Errorf("Find where it is known = %v, %v, want it, within the grace", found, err)
		}
		if who, _, err := f.ms[1].Find(f.Context(), "testdoc", id); !errors.Is(err, session.ErrUnavailable) {
			f.Errorf("Find elsewhere = %v, %v, want ErrUnavailable", who, err)
		}
	})
}

// TestFindInBrowsers: where each browser keeps its session, the process that
// began it knows, also that it ended; another cannot tell.
func TestFindInBrowsers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "cookie", config)
		id := s.signIn().Who().SessionID
		if _, found, err := s.m.Find(t.Context(), "testdoc", id); err != nil || found == nil {
			t.Errorf("Find = %v, %v, want it", found, err)
		}
		if _, _, err := s.m.Find(t.Context(), "nurse", id); !errors.Is(err, session.ErrNone) {
			t.Errorf("Find(another person) = %v, want ErrNone", err)
		}
		if _, _, err := s.m.Find(t.Context(), "testdoc", "elsewhere"); !errors.Is(err, session.ErrNoList) {
			t.Errorf("Find(unknown) = %v, want ErrNoList", err)
		}
		w, r := s.b.exchange()
		if _, err := s.m.End(t.Context(), w, r, session.EndSignedOut); err != nil {
			t.Fatal(err)
		}
		for range 5 {
			if _, _, err := s.m.Find(t.Context(), "testdoc", id); !errors.Is(err, session.ErrNone) {
				t.Errorf("Find after its end = %v, want ErrNone", err)
			}
			time.Sleep(config.IdleTimeout / 5)
		}
	})
}
