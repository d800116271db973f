// Package authn finds out who is calling. Each way of being known is one
// Source; the Chain asks them in order. A source tells three things apart:
// nobody it knows (the next is asked), somebody whose proof is bad (refused),
// and that it cannot tell (broken). Broken is never read as refused.
package authn

import (
	"errors"
	"net/http"

	"anteroom/session"
)

var (
	// ErrRefused: a proof of identity was offered and is not good.
	ErrRefused = errors.New("credentials refused")
	// ErrBroken: nobody can tell who this is at the moment.
	ErrBroken = errors.New("identity cannot be established")
)

// Caller is who makes a request. Session is nil for those known without one.
// Within is the session that an answer to them must not outlast, where they did
// not bring it themselves: it is not in use by that, and sets no cookie.
// Over is the session they brought that is over, where Who is nil.
// Own is the Nextcloud credential that the request itself carried, zero if it
// carried none: it may be used for nobody else.
type Caller struct {
	Who     *session.Identity
	Session *session.Session
	Within  *session.Session
	Over    *session.Over
	Own     session.Credential
}

// Source is one way of knowing callers. It returns the zero Caller and nil for
// a request that has nothing for it (Over may be set then), an error that is ErrRefused, ErrBroken or
// ErrThrottled otherwise. It never touches the answer.
type Source interface {
	Identify(r *http.Request) (Caller, error)
}

// Chain asks sources in order; the first that knows the caller, or errs, has
// the last word.
type Chain []Source

// Identify implements Source.
func (c Chain) Identify(r *http.Request) (Caller, error) {
	nobody := Caller{}
	for _, s := range c {
		caller, err := s.Identify(r)
		if err != nil || caller.Who != nil {
			return caller, err
		}
		if caller.Over != nil {
			nobody.Over = caller.Over
		}
	}
	return nobody, nil
}
