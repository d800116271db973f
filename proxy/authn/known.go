package authn

import (
	"context"
	"errors"
	"fmt"
	"time"

	"anteroom/session"
)

// Marks remembers for all replicas what was noted by one of them, under names
// that it hides. An error means that it did not answer.
type Marks interface {
	Set(ctx context.Context, name string, ttl time.Duration) error
	Has(ctx context.Context, name string) (bool, error)
	Drop(ctx context.Context, name string) error
}

// known knows the passwords that were good at another replica, or before a
// restart. They pass the limit on attempts as those do that this process saw;
// whether they still are good is asked all the same.
type known struct{ marks Marks } // nil: there are no others

const (
	markEvery = time.Hour // of a password in use
	markTime  = 250 * time.Millisecond
)

// markOf names a credential. The length keeps its parts apart.
func markOf(c session.Credential) string {
	return fmt.Sprintf("credential %d %s %s", len(c.User), c.User, c.Secret.Reveal())
}

// has reports whether a password was good somewhere.
func (k known) has(ctx context.Context, c session.Credential) bool {
	if k.marks == nil || c.User == "" {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, markTime)
	defer cancel()
	found, err := k.marks.Has(ctx, markOf(c))
	return err == nil && found
}

// note tells the others what was said of a credential: that it is good, now and
// then, and that it is no longer. Without an answer they go by their own.
func (v *verdicts) note(ctx context.Context, c session.Credential, w *verdict) {
	if v.known.marks == nil || c.User == "" {
		return
	}
	v.mu.Lock()
	now, marked := v.now(), w.marked
	good, refused := w.err == nil, errors.Is(w.err, ErrRefused)
	switch {
	case good && now.Sub(marked) >= markEvery:
		w.marked = now
	case refused && !marked.IsZero():
		w.marked = time.Time{}
	default:
		v.mu.Unlock()
		return
	}
	v.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), markTime)
	defer cancel()
	if !good {
		v.known.marks.Drop(ctx, markOf(c))
		return
	}
	if v.known.marks.Set(ctx, markOf(c), knownFor) != nil { // with the next answer, then
		v.mu.Lock()
		w.marked = marked
		v.mu.Unlock()
	}
}
