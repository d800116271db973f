package authn

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// ErrThrottled: so many credentials from that address, or for that name, were
// refused lately that no more are tried (429). One that is known to be good, or
// was good within a day, is.
var ErrThrottled = errors.New("too many attempts")

const (
	failuresAtOnce     = 10              // from one network
	nameFailuresAtOnce = 30              // for one name, from wherever
	failureEvery       = 5 * time.Second // one more after each of these
	askingAtOnce       = 20              // answers waited for, of one network or for one name
	maxRemembered      = 10_000          // networks, and names
	looked             = 64              // at so many of them, to make room for another
)

// attempts limits how many refused credentials one network, or one name, gets
// to try: each is booked at Nextcloud on our own address, and slows everybody
// here down. What is being asked costs nothing until it is refused, so that
// many good ones may come at once; guesses at once are paid for afterwards.
type attempts struct {
	now    func() time.Time
	atOnce int

	mu sync.Mutex
	by map[string]*tries // guarded by mu
}

type tries struct {
	left   *rate.Limiter // may be in debt
	asking int
}

func newAttempts(atOnce int, now func() time.Time) *attempts {
	return &attempts{now: now, atOnce: atOnce, by: map[string]*tries{}}
}

// begin reports whether one more may be tried; if so, end is owed.
func (a *attempts) begin(key string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.now()
	t := a.by[key]
	if t == nil {
		if len(a.by) >= maxRemembered && !a.makeRoom(now) {
			return false
		}
		t = &tries{left: rate.NewLimiter(rate.Every(failureEvery), a.atOnce)}
		a.by[key] = t
	}
	if t.asking >= askingAtOnce || t.left.TokensAt(now) < 1 {
		return false
	}
	t.asking++
	return true
}

// end says what came of a try. One that failed counts.
func (a *attempts) end(key string, failed bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	t := a.by[key] // not forgotten while it is being asked
	t.asking--
	now := a.now()
	if failed {
		t.left.ReserveN(now, 1)
	} else if t.asking == 0 && t.left.TokensAt(now) >= float64(a.atOnce) {
		delete(a.by, key)
	}
}

// makeRoom forgets, of some, the one with the most tries left: whoever failed
// most is remembered longest. Called with mu held.
func (a *attempts) makeRoom(now time.Time) bool {
	found, key, most, n := false, "", 0.0, 0
	for k, t := range a.by {
		if n++; n > looked {
			break
		}
		if left := t.left.TokensAt(now); t.asking == 0 && (!found || left > most) {
			found, key, most = true, k, left
		}
	}
	if found {
		delete(a.by, key)
	}
	return found
}

// nameKey is the name that attempts are counted for: Nextcloud's own accounts
// are found in any case.
func nameKey(user string) string { return strings.ToLower(user) }

// networkOf is what an address's attempts are counted for: who has one IPv6
// address has a whole /64 (RFC 6177) to choose others from.
func networkOf(address string) string {
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

type addressKey struct{}

// From notes the client's address in a request's context, for limits by it.
func From(ctx context.Context, address string) context.Context {
	return context.WithValue(ctx, addressKey{}, address)
}

func addressOf(ctx context.Context) string {
	address, _ := ctx.Value(addressKey{}).(string)
	return address
}
