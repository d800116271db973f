package session

import (
	"context"
	"errors"
	"time"
)

// Tokens is what the provider gave for one sign-in. Refresh and ID may be
// empty; a zero Expiry means the provider named none.
type Tokens struct {
	Access  Secret
	Refresh Secret
	ID      Secret    // the raw id_token, kept as id_token_hint for sign-out
	Issued  time.Time // when they were received
	Expiry  time.Time // of Access
}

// Login is what the provider calls a sign-in, so that it can end it from its
// side: the id_token's iss, sub and sid. Session is empty where the provider
// names none; all of it for a provider that does not speak OpenID Connect.
type Login struct {
	Issuer  string `json:"iss,omitempty"`
	Subject string `json:"sub,omitempty"`
	Session string `json:"sid,omitempty"`
}

// Grant is a person and the tokens they came with: what a sign-in or a
// renewal yields.
type Grant struct {
	Identity Identity
	Tokens   Tokens
	Login    Login
}

// Renewer asks the provider again: fresh tokens, and who the person is now.
//
// If the provider rotated the tokens, the returned Grant carries the new ones
// even when err is not nil, because the old ones are dead: the caller stores
// any Grant whose Tokens.Access is set before it looks at err. An error that
// is ErrGrantDead or ErrNotAllowed ends the session; any other means the
// provider did not answer and says nothing about the person.
type Renewer interface {
	Renew(ctx context.Context, g Grant) (Grant, error)
}

var (
	// ErrGrantDead: the provider refused the refresh token, or the person.
	ErrGrantDead = errors.New("the provider no longer honours this sign-in")
	// ErrNotAllowed: the person is known but may no longer enter.
	ErrNotAllowed = errors.New("this person may not enter")
	// ErrInDoubt: the provider gave no answer, but may have taken the refresh
	// token. It is not to be presented again.
	ErrInDoubt = errors.New("the provider may have taken the refresh token")
	// ErrOver is why a request under way is stopped when its session ends.
	ErrOver = errors.New("the session is over")
)
