package authn

import (
	"errors"
	"fmt"
	"net/http"

	"anteroom/session"
)

// Cookie knows callers by their session cookie.
type Cookie struct {
	Sessions *session.Manager
}

// Identify implements Source. A cookie that opens nothing is nobody: the
// session may simply be over.
func (c Cookie) Identify(r *http.Request) (Caller, error) {
	s, err := c.Sessions.Load(r)
	switch {
	case errors.Is(err, session.ErrNone):
		var over *session.Over
		errors.As(err, &over)
		return Caller{Over: over}, nil
	case err != nil:
		return Caller{}, fmt.Errorf("%w: %w", ErrBroken, err)
	}
	return Caller{Who: s.Who(), Session: s}, nil
}
