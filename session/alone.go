package session

import (
	"context"
	"errors"
	"sync"
	"time"
)

// ErrNoList: the store keeps sessions where nobody but their browser sees them.
var ErrNoList = errors.New("session.store keeps no list of sessions")

// alone lets a plain Store pass for a Shared one that nobody shares: the
// browser's cookies. It has no list, and what it is asked to claim is free.
type alone struct {
	Store
	marks Memory // for Once

	mu     sync.Mutex
	ways   map[string]*way // guarded by mu: by key, of sessions that were written since their sign-in, or should have been
	warned time.Time       // guarded by mu: when mayWarn last said yes
}

// way is what is known of the way to one browser. A front proxy that asks, and
// forwards by itself, may drop the cookies of the answer.
type way struct {
	awaited time.Time // last use told by the oldest record that went out and did not come back, nor a newer one; zero: none is out
	since   time.Time // when it went out, or was last looked for
	misses  int       // how often in a row it was looked for in vain

	stuck   time.Time // since when there is no room for what should be written; zero: there is
	tried   time.Time // when that was last found
	left    int       // for how many cookies there was room then
	version uint64    // of the session then
}

// missesMax is how often a record is looked for in vain before it is lost: an
// answer may be slow, and requests that left before it came say nothing.
const missesMax = 3

func (a *alone) Load(ctx context.Context, key string) (Saved, bool, error) {
	value, found, err := a.Get(ctx, key)
	return Saved{Value: value}, found, err
}

func (a *alone) Begin(ctx context.Context, key string, s Saved, ttl time.Duration, _ []string, _ time.Time) error {
	return a.Put(ctx, key, s.Value, ttl)
}

func (a *alone) Save(ctx context.Context, key string, s Saved, ttl time.Duration, _ string) (saved, found bool, err error) {
	if err := a.Put(ctx, key, s.Value, ttl); err != nil {
		return false, true, err
	}
	a.wrote(key, s.Seen)
	return true, true, nil
}

// Touch is never called: a cookie that is not written anew says nothing new.
func (a *alone) Touch(context.Context, string, time.Time, time.Duration) (bool, error) {
	return true, nil
}

func (a *alone) End(ctx context.Context, key string, _ Ended) (bool, error) {
	a.forget(key)
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

// way is what is known of a session's way, from now on. Called with mu held.
func (a *alone) way(key string) *way {
	y := a.ways[key]
	if y == nil {
		if a.ways == nil {
			a.ways = make(map[string]*way)
		}
		y = &way{}
		a.ways[key] = y
	}
	return y
}

func (a *alone) forget(key string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.ways, key)
}

// wrote notes that a record went out.
func (a *alone) wrote(key string, seen time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	y := a.way(key)
	y.stuck = time.Time{}
	if y.awaited.IsZero() {
		y.awaited, y.since = seen, a.marks.Now()
	}
}

// noRoom notes that there was no room for a session's cookies. It reports true
// where that has been so for longer than most, and then counts from anew.
func (a *alone) noRoom(key string, left int, version uint64, now time.Time, most time.Duration) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	y := a.way(key)
	if y.stuck.IsZero() {
		y.stuck = now
	}
	y.tried, y.left, y.version = now, left, version
	if now.Sub(y.stuck) <= most {
		return false
	}
	y.stuck = now
	return true
}

// cramped reports that this much room did not suffice for the same session a
// moment ago. To seal it again, only to find that out, is saved.
func (a *alone) cramped(key string, left int, version uint64, now time.Time, every time.Duration) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	y := a.ways[key]
	return y != nil && !y.stuck.IsZero() && left <= y.left && version == y.version && now.Sub(y.tried) < every
}

// lost looks whether the browser at hand has what was written to it, or
// anything newer. It reports true the third time in a row that it has not, each
// at least every after the one before, and then counts from anew.
func (a *alone) lost(ctx context.Context, key string, now time.Time, every time.Duration) bool {
	awaited, ok := a.lookFor(key, now, every)
	if !ok {
		return false
	}
	var had record // the zero one where it cannot be read: only parts of it came through
	value, found, err := a.Get(ctx, key)
	if err != nil || found && had.decode(value) != nil {
		return false
	}
	back := !had.Seen.Before(awaited)
	a.mu.Lock()
	defer a.mu.Unlock()
	y := a.way(key)
	if y.misses++; back || y.misses == missesMax {
		y.awaited, y.misses = time.Time{}, 0
		return !back
	}
	return false
}

// lookFor is the use that a record tells which should be back by now, if one is
// out. Of several requests at once, one is to look.
func (a *alone) lookFor(key string, now time.Time, every time.Duration) (awaited time.Time, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	y := a.ways[key]
	if y == nil || y.awaited.IsZero() || now.Sub(y.since) < every {
		return awaited, false
	}
	y.since = now
	return y.awaited, true
}

// mayWarn reports true once an hour.
func (a *alone) mayWarn(now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.warned.IsZero() && now.Sub(a.warned) < time.Hour {
		return false
	}
	a.warned = now
	return true
}
