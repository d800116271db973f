package session

import (
	"sync"
	"time"
)

// Rotating is a secret that is shown to a server and may be exchanged, here and
// there, in either order: as long as the server has not taken the new one, the
// one before is shown to it. Safe for concurrent use.
type Rotating struct {
	Now  func() time.Time // nil: time.Now
	Look func()           // takes up a change at once, if there is one; nil: nothing to look at

	mu      sync.Mutex
	current Secret    // guarded by mu
	before  Secret    // guarded by mu: accepted last; "": none
	proven  bool      // guarded by mu: current was accepted
	refused time.Time // guarded by mu: current was refused then; zero: it was not
}

// RetrySecret is how long a secret that was refused is not shown first again:
// servers book each as a failed login.
const RetrySecret = time.Minute

// NewRotating makes one of the secret to begin with.
func NewRotating(first Secret) *Rotating { return &Rotating{current: first} }

// Renew takes a new secret. The last that was accepted stays beside it.
func (r *Rotating) Renew(s Secret) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s == r.current {
		return
	}
	if r.proven || r.before == "" {
		r.before = r.current
	}
	r.current, r.proven, r.refused = s, false, time.Time{}
}

// InForce is the secret to be shown first.
func (r *Rotating) InForce() Secret {
	first, _ := r.order()
	return first
}

// order is the secret to be shown first, and the one to be shown if it is
// refused; "": none.
func (r *Rotating) order() (first, second Secret) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.before == "" || r.proven:
		return r.current, ""
	case !r.refused.IsZero() && r.now().Sub(r.refused) < RetrySecret:
		return r.before, r.current
	}
	return r.current, r.before
}

func (r *Rotating) now() time.Time {
	if r.Now == nil {
		return time.Now()
	}
	return r.Now()
}

// Show has f show the server the secret in force and, if refused says that its
// error is the server's word on that, the other. A secret that f succeeds with
// is accepted; another error proves nothing.
func (r *Rotating) Show(f func(Secret) error, refused func(error) bool) error {
	first, second := r.order()
	err := f(first)
	if !refused(err) {
		r.accepted(first, err)
		return err
	}
	r.note(first, false)
	if second == "" && r.Look != nil {
		r.Look()
		if second = r.InForce(); second == first {
			second = ""
		}
	}
	if second == "" {
		return err
	}
	if err = f(second); refused(err) {
		r.note(second, false)
	}
	r.accepted(second, err)
	return err
}

func (r *Rotating) accepted(s Secret, err error) {
	if err == nil {
		r.note(s, true)
	}
}

// note notes what the server made of a secret. One that is accepted after it
// was exchanged makes the one before needless.
func (r *Rotating) note(s Secret, accepted bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case s != r.current:
	case accepted:
		r.before, r.proven, r.refused = "", true, time.Time{}
	default:
		r.proven, r.refused = false, r.now()
	}
}
