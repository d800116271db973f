package proxy

import (
	"context"
	"errors"
	"fmt"

	"anteroom/proxy/authn"
	"anteroom/session"
)

// ownTokens is the server as authn.Assertions: it knows the identity JWTs that
// it gives to applications, and takes those for some audiences.
type ownTokens struct {
	*Server
	audiences func() []string
}

// Issued implements authn.Assertions.
func (t ownTokens) Issued(token string) bool { return t.o.Asserter.Issued(token) }

// Verify implements authn.Assertions. The person is as their session has them
// now, not as the JWT says they were; where the session is known from a list
// alone, the JWT says the rest.
func (t ownTokens) Verify(ctx context.Context, token string) (authn.Caller, error) {
	said, err := t.o.Asserter.Verify(token, t.audiences())
	if err != nil {
		return authn.Caller{}, err
	}
	who, s, err := t.o.Sessions.Find(ctx, said.Subject, said.SessionID)
	switch {
	case errors.Is(err, session.ErrNone), errors.Is(err, session.ErrNoList): // with nobody to ask, what is not known here is over
		return authn.Caller{}, err
	case err != nil:
		return authn.Caller{}, fmt.Errorf("%w: %w", authn.ErrBroken, err)
	case s == nil:
		return authn.Caller{Who: &said}, nil
	}
	now := *who
	now.Method = session.ByAssertion
	return authn.Caller{Who: &now, Within: s, Own: sessionCredential(s)}, nil
}
