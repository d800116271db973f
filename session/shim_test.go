package session_test

import (
	"context"
	"sync"
	"time"

	"anteroom/session"
)

// shim stands in the way of single calls to a store.
type shim struct {
	session.Shared

	mu    sync.Mutex
	load  func(next func() (session.Saved, bool, error)) (session.Saved, bool, error) // guarded by mu, like the rest
	claim func(next func() (session.ClaimAnswer, error)) (session.ClaimAnswer, error)
	save  func(next func() (bool, bool, error)) (bool, bool, error)
	once  error // instead of an answer

	claims int
	asked  session.Claim // the last of them
	keys   []string      // that were read
}

// shim puts one under a replica's line.
func (f *fleet) shim(at int) *shim {
	s := &shim{Shared: f.lines[at].Shared}
	f.lines[at].Shared = s
	return s
}

func (s *shim) set(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func (s *shim) Load(ctx context.Context, key string) (session.Saved, bool, error) {
	s.mu.Lock()
	hook := s.load
	s.keys = append(s.keys, key)
	s.mu.Unlock()
	next := func() (session.Saved, bool, error) { return s.Shared.Load(ctx, key) }
	if hook != nil {
		return hook(next)
	}
	return next()
}

func (s *shim) Claim(ctx context.Context, key string, c session.Claim) (session.ClaimAnswer, error) {
	s.mu.Lock()
	hook := s.claim
	s.claims, s.asked = s.claims+1, c
	s.mu.Unlock()
	next := func() (session.ClaimAnswer, error) { return s.Shared.Claim(ctx, key, c) }
	if hook != nil {
		return hook(next)
	}
	return next()
}

func (s *shim) Save(ctx context.Context, key string, v session.Saved, ttl time.Duration, owner string) (bool, bool, error) {
	s.mu.Lock()
	hook := s.save
	s.mu.Unlock()
	next := func() (bool, bool, error) { return s.Shared.Save(ctx, key, v, ttl, owner) }
	if hook != nil {
		return hook(next)
	}
	return next()
}

func (s *shim) Once(ctx context.Context, key string, ttl time.Duration) (bool, error) {
	s.mu.Lock()
	err := s.once
	s.mu.Unlock()
	if err != nil {
		return false, err
	}
	return s.Shared.Once(ctx, key, ttl)
}
