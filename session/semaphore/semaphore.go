// Package semaphore bounds how many may do something at a time, and how many of
// these one caller may be: whoever takes all they get, and keeps it, leaves the
// rest to others. It trusts whoever acquires to say who is calling, and to give
// back what they took.
package semaphore

import (
	"context"
	"errors"
	"sync"
	"time"
)

// ErrBusy: there was no place in time.
var ErrBusy = errors.New("all places are taken")

// Keyed is a counting semaphore of which each key may hold a share. It remembers
// the keys that hold a place or wait for one, and no others. Made by New; safe
// for concurrent use.
type Keyed struct {
	all  chan struct{} // holds one for each place that is taken
	each int

	mu sync.Mutex
	by map[string]*share // guarded by mu
}

// share is what one key has.
type share struct {
	taken chan struct{} // holds one for each place that is the key's, or that it is the next to get
	users int           // guarded by Keyed.mu: who hold one or wait for one
}

// New makes a semaphore of so many places, of which one key gets each at most.
func New(most, each int) *Keyed {
	return &Keyed{all: make(chan struct{}, most), each: each, by: map[string]*share{}}
}

// Acquire takes a place for a key; Release is owed then. Where there is none, it
// waits: for so long, or with no wait until ctx ends. Who waits for a place of
// their own share is in nobody else's way. An error is ErrBusy, or that of ctx.
func (k *Keyed) Acquire(ctx context.Context, key string, wait time.Duration) error {
	s := k.enter(key)
	if try(s.taken) {
		if try(k.all) {
			return nil
		}
		<-s.taken
	}
	err := k.await(ctx, s, wait)
	if err != nil {
		k.leave(key, s)
	}
	return err
}

// await is Acquire for whoever has to wait.
func (k *Keyed) await(ctx context.Context, s *share, wait time.Duration) error {
	var late <-chan time.Time
	if wait > 0 {
		t := time.NewTimer(wait)
		defer t.Stop()
		late = t.C
	}
	if err := put(ctx, s.taken, late); err != nil {
		return err
	}
	err := put(ctx, k.all, late)
	if err != nil {
		<-s.taken
	}
	return err
}

func try(in chan<- struct{}) bool {
	select {
	case in <- struct{}{}:
		return true
	default:
		return false
	}
}

func put(ctx context.Context, in chan<- struct{}, late <-chan time.Time) error {
	select {
	case in <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-late:
		return ErrBusy
	}
}

// Release gives a place of a key's back.
func (k *Keyed) Release(key string) {
	k.mu.Lock()
	s := k.by[key]
	k.mu.Unlock()
	<-k.all
	<-s.taken
	k.leave(key, s)
}

// Held is how many places are taken.
func (k *Keyed) Held() int { return len(k.all) }

func (k *Keyed) enter(key string) *share {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := k.by[key]
	if s == nil {
		s = &share{taken: make(chan struct{}, k.each)}
		k.by[key] = s
	}
	s.users++
	return s
}

func (k *Keyed) leave(key string, s *share) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if s.users--; s.users == 0 {
		delete(k.by, key)
	}
}
