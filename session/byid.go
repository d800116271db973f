package session

import (
	"context"
	"errors"
)

// Find finds a session that lives by the public id its identity JWTs carry, for
// a caller who has no cookie. who is the person as the session has them; s is
// nil where this process has only heard of the session: what a shared store
// keeps opens by the cookie alone, and its list says who, but neither groups
// nor tokens. ErrNone means that it is over or another person's; ErrNoList that
// this process does not know it, and a store without a list cannot tell; ErrUnavailable that nobody can at the
// moment. It does not count as a use of the session.
func (m *Manager) Find(ctx context.Context, subject, id string) (who *Identity, s *Session, err error) {
	if l := m.byID(id); l != nil {
		now := m.o.Now()
		if err := m.lives(ctx, l, now); err != nil {
			return nil, nil, err
		}
		if !m.alone {
			if err := m.renewIfDue(ctx, l, now); err != nil {
				return nil, nil, err
			}
		}
		s = l.current.Load()
		if s.Identity.Subject != subject {
			return nil, nil, ErrNone
		}
		return s.Who(), s, nil
	}
	found, err := m.SessionsOf(ctx, subject)
	switch {
	case errors.Is(err, ErrOtherKeys):
		return nil, nil, ErrNone
	case err != nil:
		return nil, nil, err
	}
	for _, o := range found {
		if o.ID == id && o.Subject == subject {
			return &Identity{Subject: o.Subject, Username: o.Username, Method: o.Method, SessionID: o.ID}, nil, nil
		}
	}
	return nil, nil, ErrNone
}

// byID is the session with a public id that this process knows; nil for none.
func (m *Manager) byID(id string) *live {
	v, ok := m.ids.Load(id)
	if !ok {
		return nil
	}
	l := v.(*live)
	if known, _ := m.known.Load(l.key); known != l {
		return nil // nobody tells it any more when it ends
	}
	return l
}
