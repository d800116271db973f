package session_test

import (
	"errors"
	"testing"
	"testing/synctest"

	"anteroom/session"
)

// TestOver: who comes with a session that ended is told apart from nobody, with
// why, on every replica that knew it.
func TestOver(t *testing.T) {
	inFleet(t, 2, config, func(f *fleet) {
		id := f.signIn(0).Who().SessionID
		f.want(0, nil)
		f.want(1, nil)
		if ok, err := f.ms[1].Revoke(f.Context(), "testdoc", id, session.EndRevoked); !ok || err != nil {
			f.Fatalf("Revoke = %v, %v", ok, err)
		}
		synctest.Wait()
		for i, m := range f.ms {
			var over *session.Over
			if _, err := f.visit(i); !errors.Is(err, session.ErrNone) || !errors.As(err, &over) || over.ID != id || over.Why != session.EndRevoked || over.At.IsZero() {
				f.Errorf("Load at replica %d = %v (%+v), want that it was revoked", i, err, over)
			}
			over = nil
			if _, _, err := m.Find(f.Context(), "testdoc", id); !errors.As(err, &over) || over.ID != id || over.Why != session.EndRevoked {
				f.Errorf("Find at replica %d = %v (%+v), want that it was revoked", i, err, over)
			}
		}
	})
}
