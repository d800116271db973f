package authn

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"time"

	"anteroom/session"
)

const (
	goodFor     = time.Minute      // until Nextcloud is asked again: a password taken away there is good for so long here
	refusedFor  = 30 * time.Second // long enough that a client which tries on and on does not have us throttled
	knownFor    = 24 * time.Hour   // a credential that was good passes the limit on attempts
	maxVerdicts = 20_000
	askTime     = 30 * time.Second // Nextcloud delays its answer to who failed before
)

// verdicts remembers what Nextcloud said to credentials, under a keyed hash:
// what is in memory opens nothing, and whoever asks for the same at the same
// time waits for one answer.
type verdicts struct {
	key   [32]byte
	now   func() time.Time
	known known

	mu  sync.Mutex
	all map[[sha256.Size]byte]*verdict // guarded by mu
}

// verdict is one answer, or the question under way.
type verdict struct {
	done    chan struct{} // closed when the rest is there
	who     *session.Identity
	opens   bool // the credential opens Nextcloud's services
	err     error
	expires time.Time
	good    time.Time // when it was last good; guarded by verdicts.mu
	marked  time.Time // when the others were last told so; guarded by verdicts.mu
}

func newVerdicts(now func() time.Time, marks Marks) *verdicts {
	v := &verdicts{now: now, known: known{marks}, all: map[[sha256.Size]byte]*verdict{}}
	rand.Read(v.key[:])
	return v
}

// hash names a credential. Lengths keep its parts apart.
func (v *verdicts) hash(c session.Credential) (sum [sha256.Size]byte) {
	h := hmac.New(sha256.New, v.key[:])
	fmt.Fprintf(h, "%d %s %d %s", len(c.User), c.User, len(c.Secret), c.Secret.Reveal())
	h.Sum(sum[:0])
	return sum
}

// errBusy: as many answers are waited for as can be.
var errBusy = errors.New("too many credentials are being checked")

// ask returns what is known of a credential, or asks. allowed is asked before
// a question about one that was never good, and may refuse it; ask's own error
// is session.ErrGrantDead or ErrNotAllowed for a credential that is no good,
// any other for an answer that did not come, which is not remembered.
func (v *verdicts) ask(ctx context.Context, c session.Credential, allowed func() error, question func(context.Context) (session.Identity, bool, error)) (*session.Identity, bool, error) {
	key := v.hash(c)
	mine, w, err := v.find(key, allowed)
	if errors.Is(err, ErrThrottled) && v.known.has(ctx, c) {
		mine, w, err = v.find(key, nil)
	}
	if err != nil {
		return nil, false, err
	}
	if mine { // also for one who left: what was asked counts
		v.answer(ctx, w, question)
		v.note(ctx, c, w)
		return w.who, w.opens, w.err
	}
	select {
	case <-w.done:
		return w.who, w.opens, w.err
	case <-ctx.Done():
		return nil, false, fmt.Errorf("%w: %w", ErrBroken, ctx.Err())
	}
}

// find returns the verdict on a credential; mine says that it is to be had
// first, by the caller. allowed is nil for one that was good elsewhere.
func (v *verdicts) find(key [sha256.Size]byte, allowed func() error) (mine bool, w *verdict, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	now := v.now()
	w = v.all[key]
	if w != nil {
		select {
		case <-w.done:
			if now.Before(w.expires) {
				return false, w, nil
			}
		default:
			return false, w, nil
		}
	}
	var good, marked time.Time
	if w != nil {
		good, marked = w.good, w.marked
	}
	if allowed == nil {
		marked = now
	} else if now.Sub(good) > knownFor {
		if err := allowed(); err != nil {
			return false, nil, err
		}
	}
	if len(v.all) >= maxVerdicts && !v.sweep(now) {
		return false, nil, fmt.Errorf("%w: %w", ErrBroken, errBusy)
	}
	w = &verdict{done: make(chan struct{}), good: good, marked: marked}
	v.all[key] = w
	return true, w, nil
}

// answer has a question answered. It goes on if the one who asked leaves:
// others may be waiting.
func (v *verdicts) answer(ctx context.Context, w *verdict, question func(context.Context) (session.Identity, bool, error)) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), askTime)
	defer cancel()
	err := errors.New("no answer")
	var who session.Identity
	defer func() { // also if it panics
		v.mu.Lock()
		defer v.mu.Unlock()
		now := v.now()
		switch {
		case err == nil:
			w.who, w.expires, w.good = &who, now.Add(goodFor), now
		case errors.Is(err, session.ErrGrantDead), errors.Is(err, session.ErrNotAllowed):
			w.err, w.expires, w.good = fmt.Errorf("%w: %w", ErrRefused, err), now.Add(refusedFor), time.Time{}
		default: // past already: the next who comes asks again
			w.err = fmt.Errorf("%w: %w", ErrBroken, err)
		}
		close(w.done)
	}()
	if who, w.opens, err = question(ctx); err == nil && who.Subject == "" {
		err = errors.New("the answer names nobody")
	}
}

// forget drops what is remembered of a credential, which Nextcloud refused
// since.
func (v *verdicts) forget(c session.Credential) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.all, v.hash(c))
}

// sweep makes room: what is past goes first, then what was refused, of which
// anybody can make as many as they like. Called with mu held.
func (v *verdicts) sweep(now time.Time) bool {
	for _, past := range []func(*verdict) bool{
		func(w *verdict) bool { return now.After(w.expires) && now.Sub(w.good) > knownFor },
		func(w *verdict) bool { return w.good.IsZero() },
		func(w *verdict) bool { return now.After(w.expires) },
	} {
		for key, w := range v.all {
			select {
			case <-w.done:
				if past(w) {
					delete(v.all, key)
				}
			default:
			}
		}
		if len(v.all) < maxVerdicts/8*7 {
			return true
		}
	}
	return len(v.all) < maxVerdicts
}
