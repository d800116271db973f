package authn

import (
	"context"
	"errors"
	"time"

	"anteroom/proxy/throttle"
)

// ErrThrottled: so many credentials from that address, or for that name, were
// refused lately that no more are tried (429). One that is known to be good, or
// was good within a day, is.
var ErrThrottled = errors.New("too many attempts")

// Throttled is an ErrThrottled that says when to come again.
type Throttled struct{ Wait time.Duration }

func (t *Throttled) Error() string { return ErrThrottled.Error() }

// Is reports that it is one.
func (t *Throttled) Is(target error) bool { return target == ErrThrottled }

// How many refused credentials one network, or one name from wherever, gets to
// try: each is booked at Nextcloud on our own address, and slows everybody here
// down. What is being asked costs nothing until it is refused, so that many good
// ones may come at once; guesses at once are paid for afterwards.
var (
	addressFailures = throttle.Rate{Count: 10, Window: 50 * time.Second}
	nameFailures    = throttle.Rate{Count: 30, Window: 150 * time.Second}
)

type addressKey struct{}

// From notes the client's address in a request's context, for limits by it.
func From(ctx context.Context, address string) context.Context {
	return context.WithValue(ctx, addressKey{}, address)
}

func addressOf(ctx context.Context) string {
	address, _ := ctx.Value(addressKey{}).(string)
	return address
}
