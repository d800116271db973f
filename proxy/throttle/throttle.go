// Package throttle limits how often something is done by somebody, or from
// somewhere: a token bucket for each, in bounded memory. Where replicas share a
// store, they draw from the same buckets as far as that store answers; while it
// does not, each goes by its own. It refuses a try, and never a session.
package throttle

import (
	"context"
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/text/unicode/norm"
	"golang.org/x/time/rate"
)

// Shared keeps buckets that several processes draw from. Draw takes a token out
// of a bucket of that many, which gets one more each time every has passed. It
// returns how long it takes until there is one: 0 if it took it. In debt it takes
// one in any case, and says how long it takes until the next. An error means that
// the store did not answer.
type Shared interface {
	Draw(ctx context.Context, name string, tokens int, every time.Duration, debt bool) (wait time.Duration, err error)
}

// Throttle is one kind of buckets. Made by New; safe for concurrent use.
type Throttle struct {
	kind   string
	rate   Rate
	shared Shared // nil: each process for itself
	now    func() time.Time

	mu sync.Mutex
	by map[string]*bucket // guarded by mu
}

type bucket struct {
	left   *rate.Limiter // may be in debt
	asking int           // begun, and not ended
	until  time.Time     // there is none in the shared bucket before
}

// AskingAtOnce is how many may be begun and not ended, of one key.
const AskingAtOnce = 20

const (
	maxRemembered = 10_000                 // keys
	looked        = 64                     // at so many of them, to make room for another
	sharedTime    = 250 * time.Millisecond // how long a shared bucket is waited for
)

// New makes a throttle of a kind, which names its buckets in the shared store,
// if there is one. A rate that is off limits nothing.
func New(kind string, r Rate, shared Shared, now func() time.Time) *Throttle {
	return &Throttle{kind: kind, rate: r, shared: shared, now: now, by: map[string]*bucket{}}
}

// Take takes a token for a key. It returns how long to wait for one, and 0 if it
// was taken.
func (t *Throttle) Take(ctx context.Context, key string) (wait time.Duration) {
	if t.rate.Count == 0 {
		return 0
	}
	if wait = t.take(key); wait > 0 {
		return wait
	}
	return t.draw(ctx, key, false)
}

// take is Take from the bucket of this process.
func (t *Throttle) take(key string) (wait time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	b := t.bucket(key, now)
	if b == nil {
		return t.rate.every()
	}
	if wait = t.wait(b, now); wait == 0 {
		b.left.ReserveN(now, 1)
	}
	return wait
}

// Begin asks whether something may be tried whose price is known afterwards. It
// returns how long to wait; if that is 0, End is owed. It asks nobody else: that
// the bucket is empty for others too is known from the last End.
func (t *Throttle) Begin(key string) (wait time.Duration) {
	if t.rate.Count == 0 {
		return 0
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	b := t.bucket(key, now)
	switch {
	case b == nil:
		return t.rate.every()
	case b.asking >= AskingAtOnce:
		return max(t.wait(b, now), t.rate.every())
	}
	if wait = t.wait(b, now); wait == 0 {
		b.asking++
	}
	return wait
}

// End says what came of a try. One that costs takes a token, in debt if there is
// none: who tries many at once pays afterwards.
func (t *Throttle) End(ctx context.Context, key string, costs bool) {
	if t.rate.Count == 0 {
		return
	}
	if t.end(key, costs); costs {
		t.draw(context.WithoutCancel(ctx), key, true)
	}
}

func (t *Throttle) end(key string, costs bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	b := t.by[key] // not forgotten while it is being asked
	b.asking--
	now := t.now()
	if costs {
		b.left.ReserveN(now, 1)
	} else if b.asking == 0 && b.left.TokensAt(now) >= float64(t.rate.Count) && !now.Before(b.until) {
		delete(t.by, key)
	}
}

// draw draws from the shared bucket, and remembers if it is empty.
func (t *Throttle) draw(ctx context.Context, key string, debt bool) (wait time.Duration) {
	if t.shared == nil {
		return 0
	}
	ctx, cancel := context.WithTimeout(ctx, sharedTime)
	defer cancel()
	wait, err := t.shared.Draw(ctx, t.kind+" "+key, t.rate.Count, t.rate.every(), debt)
	if err != nil || wait <= 0 {
		return 0
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	if b := t.bucket(key, now); b != nil {
		b.until = now.Add(wait)
	}
	return wait
}

// bucket is the bucket of a key; nil if there is no room for one more. Called
// with mu held.
func (t *Throttle) bucket(key string, now time.Time) *bucket {
	b := t.by[key]
	if b == nil {
		if len(t.by) >= maxRemembered && !t.makeRoom(now) {
			return nil
		}
		b = &bucket{left: rate.NewLimiter(rate.Every(t.rate.every()), t.rate.Count)}
		t.by[key] = b
	}
	return b
}

// wait is how long it takes until a bucket has a token. Called with mu held.
func (t *Throttle) wait(b *bucket, now time.Time) time.Duration {
	wait := max(b.until.Sub(now), 0)
	if missing := 1 - b.left.TokensAt(now); missing > 0 {
		wait = max(wait, time.Duration(missing*float64(t.rate.every()))+1)
	}
	return wait
}

// makeRoom forgets, of some, the one with the most tokens left: whoever took
// most is remembered longest. What is forgotten of a shared bucket is learnt again
// there. Called with mu held.
func (t *Throttle) makeRoom(now time.Time) bool {
	found, key, most, n := false, "", 0.0, 0
	for k, b := range t.by {
		if n++; n > looked {
			break
		}
		left := b.left.TokensAt(now) - float64(max(b.until.Sub(now), 0))/float64(t.rate.every())
		if b.asking == 0 && (!found || left > most) {
			found, key, most = true, k, left
		}
	}
	if found {
		delete(t.by, key)
	}
	return found
}

// Network is what counts as one address: who has one IPv6 address has a whole
// /64 (RFC 6177) to choose others from. What is no address stays as it is.
func Network(address string) string {
	ip, err := netip.ParseAddr(address)
	if err != nil {
		to, err := netip.ParseAddrPort(address)
		if err != nil {
			return address
		}
		ip = to.Addr()
	}
	if ip = ip.Unmap().WithZone(""); ip.Is4() {
		return ip.String()
	}
	return netip.PrefixFrom(ip, 64).Masked().String()
}

// Account is what counts as one account: Nextcloud finds it in any case, and
// however its letters are composed.
func Account(name string) string {
	return strings.ToLower(norm.NFKC.String(strings.TrimSpace(name)))
}
