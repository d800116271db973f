package session_test

import (
	"context"
	"errors"
	"sync"
	"time"

	"anteroom/session"
)

var errDown = errors.New("connection refused")

// line is one replica's way to a store: it can be cut, or freeze.
type line struct {
	session.Shared

	mu      sync.Mutex
	fault   func(ctx context.Context) error // guarded by mu: nil while all is well
	loads   int                             // guarded by mu
	watcher session.Watcher                 // guarded by mu
	deaf    bool                            // guarded by mu: notes do not come through
}

func down(context.Context) error { return errDown }

func frozen(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(time.Second):
		return errors.New("i/o timeout")
	}
}

// cut makes every call fail, and has the watcher know of it.
func (l *line) cut(fault func(context.Context) error) {
	l.mu.Lock()
	l.fault, l.deaf = fault, true
	w := l.watcher
	l.mu.Unlock()
	w.Disconnected(errDown)
}

// deafen has changes go unheard, and the watcher know of it.
func (l *line) deafen() {
	l.mu.Lock()
	l.deaf = true
	w := l.watcher
	l.mu.Unlock()
	w.Disconnected(errDown)
}

func (l *line) mend() {
	l.mu.Lock()
	l.fault, l.deaf = nil, false
	w := l.watcher
	l.mu.Unlock()
	w.Connected()
	w.Alive(time.Now().Add(24 * time.Hour))
}

func (l *line) ok(ctx context.Context) error {
	l.mu.Lock()
	fault := l.fault
	l.mu.Unlock()
	if fault == nil {
		return nil
	}
	return fault(ctx)
}

func (l *line) read() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.loads
}

func (l *line) Load(ctx context.Context, key string) (session.Saved, bool, error) {
	l.mu.Lock()
	l.loads++
	l.mu.Unlock()
	if err := l.ok(ctx); err != nil {
		return session.Saved{}, false, err
	}
	return l.Shared.Load(ctx, key)
}

func (l *line) Begin(ctx context.Context, key string, s session.Saved, ttl time.Duration, names []string, ends time.Time) error {
	if err := l.ok(ctx); err != nil {
		return err
	}
	return l.Shared.Begin(ctx, key, s, ttl, names, ends)
}

func (l *line) Save(ctx context.Context, key string, s session.Saved, ttl time.Duration, owner string) (bool, bool, error) {
	if err := l.ok(ctx); err != nil {
		return false, false, err
	}
	return l.Shared.Save(ctx, key, s, ttl, owner)
}

func (l *line) Touch(ctx context.Context, key string, seen time.Time, ttl time.Duration) (bool, error) {
	if err := l.ok(ctx); err != nil {
		return false, err
	}
	return l.Shared.Touch(ctx, key, seen, ttl)
}

func (l *line) End(ctx context.Context, key string, e session.Ended) (bool, error) {
	if err := l.ok(ctx); err != nil {
		return false, err
	}
	return l.Shared.End(ctx, key, e)
}

func (l *line) Claim(ctx context.Context, key string, c session.Claim) (session.ClaimAnswer, error) {
	if err := l.ok(ctx); err != nil {
		return session.ClaimAnswer{}, err
	}
	return l.Shared.Claim(ctx, key, c)
}

func (l *line) Extend(ctx context.Context, key, owner string, hold time.Duration) (bool, error) {
	if err := l.ok(ctx); err != nil {
		return false, err
	}
	return l.Shared.Extend(ctx, key, owner, hold)
}

func (l *line) Release(ctx context.Context, key, owner string, spent bool) error {
	if err := l.ok(ctx); err != nil {
		return err
	}
	return l.Shared.Release(ctx, key, owner, spent)
}

func (l *line) List(ctx context.Context, name string) ([]session.Listed, error) {
	if err := l.ok(ctx); err != nil {
		return nil, err
	}
	return l.Shared.List(ctx, name)
}

func (l *line) Watch(ctx context.Context, w session.Watcher) {
	l.mu.Lock()
	l.watcher = w
	l.mu.Unlock()
	l.Shared.Watch(ctx, &ear{l, w})
}

// ear passes notes on while the line is whole.
type ear struct {
	l *line
	session.Watcher
}

func (e *ear) Heard(n session.Note) {
	e.l.mu.Lock()
	deaf := e.l.deaf
	e.l.mu.Unlock()
	if !deaf {
		e.Watcher.Heard(n)
	}
}
