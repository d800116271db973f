package session

import (
	"context"
	"errors"
	"time"
)

// ErrNoList: the store keeps sessions where nobody but their browser sees them.
var ErrNoList = errors.New("session.store keeps no list of sessions")

// alone lets a plain Store pass for a Shared one that nobody shares: the
// browser's cookies. It has no list, and what it is asked to claim is free.
type alone struct {
	Store
	marks Memory // for Once
}

func (a *alone) Load(ctx context.Context, key string) (Saved, bool, error) {
	value, found, err := a.Get(ctx, key)
	return Saved{Value: value}, found, err
}

func (a *alone) Begin(ctx context.Context, key string, s Saved, ttl time.Duration, _ []string, _ time.Time) error {
	return a.Put(ctx, key, s.Value, ttl)
}

func (a *alone) Save(ctx context.Context, key string, s Saved, ttl time.Duration, _ string) (saved, found bool, err error) {
	err = a.Put(ctx, key, s.Value, ttl)
	return err == nil, true, err
}

// Touch is never called: a cookie that is not written anew says nothing new.
func (a *alone) Touch(context.Context, string, time.Time, time.Duration) (bool, error) {
	return true, nil
}

func (a *alone) End(ctx context.Context, key string, _ Ended) (bool, error) {
	return true, a.Delete(ctx, key)
}

func (a *alone) Claim(context.Context, string, Claim) (ClaimAnswer, error) {
	return ClaimAnswer{Outcome: ClaimYours}, nil
}

func (a *alone) Extend(context.Context, string, string, time.Duration) (bool, error) {
	return true, nil
}

func (a *alone) Release(context.Context, string, string, bool) error { return nil }

func (a *alone) List(context.Context, string) ([]Listed, error) { return nil, ErrNoList }

func (a *alone) Once(ctx context.Context, key string, ttl time.Duration) (bool, error) {
	return a.marks.Once(ctx, key, ttl)
}

func (a *alone) Watch(ctx context.Context, w Watcher) { a.marks.Watch(ctx, w) }

func (a *alone) Writable(context.Context) error { return nil }
