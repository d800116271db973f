package authn

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// ErrThrottled: so many credentials from that address were refused lately that
// no more are tried (429). One that was good before is.
var ErrThrottled = errors.New("too many attempts from this address")

const (
	failuresAtOnce = 10              // from one address
	failureEvery   = 5 * time.Second // one more after each of these
	maxAddresses   = 10_000
)

// attempts limits how many refused credentials one address gets to try: each
// is booked at Nextcloud on our own address, and slows everybody here down.
type attempts struct {
	now func() time.Time

	mu  sync.Mutex
	by  map[string]*rate.Limiter // guarded by mu
	all *rate.Limiter            // of addresses that there is no room for
}

func newAttempts(now func() time.Time) *attempts {
	return &attempts{now: now, by: map[string]*rate.Limiter{}, all: newLimiter()}
}

func newLimiter() *rate.Limiter { return rate.NewLimiter(rate.Every(failureEvery), failuresAtOnce) }

// of is the limiter of an address.
func (a *attempts) of(address string) *rate.Limiter {
	a.mu.Lock()
	defer a.mu.Unlock()
	if l := a.by[address]; l != nil {
		return l
	}
	if len(a.by) >= maxAddresses {
		now := a.now()
		for address, l := range a.by {
			if l.TokensAt(now) >= failuresAtOnce {
				delete(a.by, address)
			}
		}
	}
	if len(a.by) >= maxAddresses {
		return a.all
	}
	l := newLimiter()
	a.by[address] = l
	return l
}

// allowed takes one attempt; give it back if the credential was good.
func (a *attempts) allowed(address string) error {
	if !a.of(address).AllowN(a.now(), 1) {
		return ErrThrottled
	}
	return nil
}

// back gives an attempt back.
func (a *attempts) back(address string) { a.of(address).AllowN(a.now(), -1) }

type addressKey struct{}

// From notes the client's address in a request's context, for limits by it.
func From(ctx context.Context, address string) context.Context {
	return context.WithValue(ctx, addressKey{}, address)
}

func addressOf(ctx context.Context) string {
	address, _ := ctx.Value(addressKey{}).(string)
	return address
}
