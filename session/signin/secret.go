package signin

import (
	"errors"
	"sync"
	"time"

	"golang.org/x/oauth2"

	"anteroom/session"
)

// clientSecret is the client's secret. It may be exchanged while people are
// signed in, here and at the provider, in either order: as long as the provider
// has not taken the new one, the one before is shown to it. Safe for concurrent
// use.
type clientSecret struct {
	now  func() time.Time
	look func() // takes up a change at once, if there is one; nil: nothing to look at

	mu      sync.Mutex
	current session.Secret // guarded by mu
	before  session.Secret // guarded by mu: accepted last; "": none
	proven  bool           // guarded by mu: current was accepted
	refused time.Time      // guarded by mu: current was refused then; zero: it was not
}

// retrySecret is how long a secret that was refused is not shown first again:
// Nextcloud's built-in OAuth2 books each as a failed login.
const retrySecret = time.Minute

// renew takes a new secret. The last that was accepted stays beside it.
func (c *clientSecret) renew(s session.Secret) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s == c.current {
		return
	}
	if c.proven || c.before == "" {
		c.before = c.current
	}
	c.current, c.proven, c.refused = s, false, time.Time{}
}

// inForce is the secret to be shown first.
func (c *clientSecret) inForce() session.Secret {
	first, _ := c.order()
	return first
}

// order is the secret to be shown first, and the one to be shown if it is
// refused; "": none.
func (c *clientSecret) order() (first, second session.Secret) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.before == "" || c.proven:
		return c.current, ""
	case !c.refused.IsZero() && c.now().Sub(c.refused) < retrySecret:
		return c.before, c.current
	}
	return c.current, c.before
}

// show has f show the provider the secret in force and, if that is refused, the
// other. A refused secret has used up neither code nor refresh token: the
// client is looked at before them (RFC 6749 §5.2).
func (c *clientSecret) show(f func(session.Secret) error) error {
	first, second := c.order()
	err := f(first)
	if !isClientRefused(err) {
		c.accepted(first, err)
		return err
	}
	c.note(first, false)
	if second == "" && c.look != nil {
		c.look()
		if second = c.inForce(); second == first {
			second = ""
		}
	}
	if second == "" {
		return err
	}
	if err = f(second); isClientRefused(err) {
		c.note(second, false)
	}
	c.accepted(second, err)
	return err
}

// accepted notes a secret that tokens were given for. Another answer proves
// nothing: some providers look at the code first.
func (c *clientSecret) accepted(s session.Secret, err error) {
	if err == nil {
		c.note(s, true)
	}
}

// note notes what the provider made of a secret. One that is accepted after it
// was exchanged makes the one before needless.
func (c *clientSecret) note(s session.Secret, accepted bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case s != c.current:
	case accepted:
		c.before, c.proven, c.refused = "", true, time.Time{}
	default:
		c.proven, c.refused = false, c.now()
	}
}

// isClientRefused reports whether a token endpoint refused the client itself.
func isClientRefused(err error) bool {
	var re *oauth2.RetrieveError
	return errors.As(err, &re) && (re.ErrorCode == "invalid_client" || re.ErrorCode == "unauthorized_client")
}

// RenewClientSecret takes a new client secret. It is used at once; where the
// provider does not know it yet, the one before is.
func (p *RelyingParty) RenewClientSecret(s session.Secret) { p.secret.renew(s) }
