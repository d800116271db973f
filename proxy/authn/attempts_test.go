package authn

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"anteroom/proxy/throttle"
	"anteroom/session"
)

// from is a request of an address.
func from(address, value string) *http.Request {
	r := request(value)
	return r.WithContext(From(r.Context(), address))
}

// tried is how many of n guesses reach Nextcloud.
func tried(t *testing.T, a *Authorization, c *cloud, n int, guess func(i int) *http.Request) int {
	t.Helper()
	before := c.asked.Load()
	for i := range n {
		if _, err := a.Identify(guess(i)); err == nil {
			t.Errorf("guess %d was good", i)
		}
	}
	return int(c.asked.Load() - before)
}

// TestAttemptsByNetwork: who has one IPv6 address has 2^64 of them.
func TestAttemptsByNetwork(t *testing.T) {
	for _, tt := range []struct {
		name, addresses string
		want            int
	}{
		{"one IPv6 network", "2001:db8::%x", addressFailures.Count},
		{"the same with zones and ports left on", "[2001:db8::%x]:443", addressFailures.Count},
		{"one IPv4 address written as IPv6", "::ffff:192.0.2.7%.0x", addressFailures.Count},
		{"many IPv6 networks", "2001:db8:0:%x::1", 25},
		{"many IPv4 addresses", "192.0.2.%d", 25},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := &cloud{}
				a := source(t, c, Options{})
				got := tried(t, a, c, 25, func(i int) *http.Request {
					address := fmt.Sprintf(tt.addresses, i+1)
					if tt.name == "one IPv4 address written as IPv6" {
						address = []string{"::ffff:192.0.2.7", "192.0.2.7"}[i%2]
					}
					return from(address, basic(fmt.Sprint("user", i), "guess"))
				})
				if got != tt.want {
					t.Errorf("%d of 25 guesses were tried, want %d", got, tt.want)
				}
			})
		})
	}
}

// TestAttemptsByName: guesses at one account from everywhere are limited, too,
// and neither other accounts nor the person pay for it.
func TestAttemptsByName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cloud{}
		a := source(t, c, Options{})
		if _, err := a.Identify(from("198.51.100.1", basic("ada", "good"))); err != nil {
			t.Fatal(err)
		}
		spellings := []string{"ada", "Ada", "ADA"}
		got := tried(t, a, c, 200, func(i int) *http.Request {
			return from(fmt.Sprintf("203.0.113.%d", i), basic(spellings[i%3], fmt.Sprint("guess", i)))
		})
		if got != nameFailures.Count {
			t.Errorf("%d of 200 guesses at one account were tried, want %d", got, nameFailures.Count)
		}
		if _, err := a.Identify(from("203.0.113.250", basic("bob", "guess"))); !errors.Is(err, ErrRefused) {
			t.Errorf("another account = %v, want it asked about", err)
		}
		time.Sleep(goodFor + time.Second)
		tried(t, a, c, 100, func(i int) *http.Request {
			return from(fmt.Sprintf("203.0.113.%d", i), basic("ada", fmt.Sprint("more", i)))
		})
		if _, err := a.Identify(from("198.51.100.1", basic("ada", "good"))); err != nil {
			t.Errorf("the person's own, good before = %v, want it to pass", err)
		}
	})
}

// TestNewcomersAreNotFailures: many people behind one address whose credentials
// are good come in at once, however slow Nextcloud is.
func TestNewcomersAreNotFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &people{takes: time.Second}
		a, err := NewAuthorization(Options{People: p})
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for i := range throttle.AskingAtOnce {
			wg.Go(func() {
				if _, err := a.Identify(request(basic(fmt.Sprint("user", i), "good"))); err != nil {
					t.Errorf("newcomer %d = %v, want nil", i, err)
				}
			})
		}
		synctest.Wait()
		if _, err := a.Identify(request(basic("more", "good"))); !errors.Is(err, ErrThrottled) {
			t.Errorf("beyond %d at once = %v, want ErrThrottled: all may be guesses", throttle.AskingAtOnce, err)
		}
		wg.Wait()
		if _, err := a.Identify(request(basic("more", "good"))); err != nil {
			t.Errorf("afterwards = %v, want nil", err)
		}
	})
}

// TestGuessesAtOnce: what is guessed at the same time is paid for afterwards.
func TestGuessesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &people{takes: time.Second}
		a, err := NewAuthorization(Options{People: p})
		if err != nil {
			t.Fatal(err)
		}
		volley := func() (tried int) {
			var wg sync.WaitGroup
			before := p.asked()
			for i := range 100 {
				wg.Go(func() { a.Identify(request(basic("ada", fmt.Sprint("bad", time.Now(), i)))) })
			}
			wg.Wait()
			return p.asked() - before
		}
		if got := volley(); got != throttle.AskingAtOnce {
			t.Errorf("%d of 100 guesses at once were tried, want %d", got, throttle.AskingAtOnce)
		}
		time.Sleep(time.Duration(throttle.AskingAtOnce-addressFailures.Count) * 5 * time.Second)
		if got := volley(); got > 1 {
			t.Errorf("%d guesses were tried before the first ones were paid for, want one at most", got)
		}
	})
}

// TestHangingUpIsNoWayOut: a guess counts also if whoever guessed has left.
func TestHangingUpIsNoWayOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cloud{}
		a := source(t, c, Options{})
		got := tried(t, a, c, 100, func(i int) *http.Request {
			r := request(basic("ada", fmt.Sprint("guess", i)))
			ctx, cancel := context.WithCancel(r.Context())
			cancel()
			return r.WithContext(ctx)
		})
		if got != addressFailures.Count {
			t.Errorf("%d of 100 guesses were tried, want %d", got, addressFailures.Count)
		}
	})
}

// TestBrokenIsNoFailure: that Nextcloud is away costs nobody an attempt.
func TestBrokenIsNoFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cloud{}
		c.away.Store(true)
		a := source(t, c, Options{})
		for i := range 5 * addressFailures.Count {
			if _, err := a.Identify(request(basic("ada", "good"))); !errors.Is(err, ErrBroken) || errors.Is(err, ErrThrottled) || errors.Is(err, ErrRefused) {
				t.Fatalf("Identify %d while Nextcloud is away = %v, want ErrBroken alone", i, err)
			}
		}
		c.away.Store(false)
		if _, err := a.Identify(request(basic("ada", "good"))); err != nil {
			t.Errorf("Identify afterwards = %v, want nil", err)
		}
	})
}

// TestNobodyIsNotGood: an answer that names no person is none, and one that
// ends in a panic leaves nothing behind.
func TestNobodyIsNotGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &people{}
		a, err := NewAuthorization(Options{People: p})
		if err != nil {
			t.Fatal(err)
		}
		if c, err := a.Identify(request(basic("ghost", "good"))); !errors.Is(err, ErrBroken) || c.Who != nil {
			t.Errorf("Identify(nobody named) = %v, %v, want ErrBroken", c.Who, err)
		}
		for range 2 * throttle.AskingAtOnce {
			func() {
				defer func() {
					if recover() == nil {
						t.Error("the panic went nowhere")
					}
				}()
				a.Identify(request(basic("panic", "good")))
			}()
		}
		if _, err := a.Identify(request(basic("ada", "good"))); err != nil {
			t.Errorf("Identify after panics = %v, want nil", err)
		}
	})
}

// TestCounted: every verdict is counted once, by labels from this list alone.
func TestCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, reg := &cloud{}, prometheus.NewRegistry()
		secret, hash := NewSecret()
		a := source(t, c, Options{Clients: []Client{{Name: "indexer", SecretHash: hash}}, Assertions: issued{}, Registry: reg})
		for _, values := range [][]string{nil, {basic("indexer", secret.Reveal())}, {basic("ada", "good")}, {basic("ada", "bad")}, {"Bearer good"},
			{"Bearer ours.good"}, {"Bearer ours.bad"}, {"Digest canary"}, {"Bearer good", "Bearer good"}} {
			a.Identify(request(values...))
		}
		c.away.Store(true)
		a.Identify(request(basic("bob", "canary")))
		c.away.Store(false)
		tried(t, a, c, 12, func(i int) *http.Request { return request(basic("ada", fmt.Sprint("canary", i))) })
		got := map[string]float64{}
		families, err := reg.Gather()
		if err != nil || len(families) != 1 {
			t.Fatalf("Gather = %v, %v", families, err)
		}
		for _, m := range families[0].Metric {
			got[m.Label[0].GetValue()+" "+m.Label[1].GetValue()] = m.Counter.GetValue()
		}
		// Of the thirteen wrong passwords ten are tried.
		want := map[string]float64{"client good": 1, "password good": 1, "password refused": 10, "password broken": 1, "password throttled": 3,
			"token good": 1, "assertion good": 1, "assertion refused": 1, "none refused": 2}
		if !maps.Equal(got, want) {
			t.Errorf("counted %v, want %v", got, want)
		}
	})
}

// people knows everybody whose password is "good".
type people struct {
	takes time.Duration
	mu    sync.Mutex
	n     int // guarded by mu
}

func (p *people) asked() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.n
}

func (p *people) ByPassword(_ context.Context, user string, password session.Secret) (session.Identity, error) {
	p.mu.Lock()
	p.n++
	p.mu.Unlock()
	time.Sleep(p.takes)
	switch {
	case user == "panic":
		panic("in the question")
	case user == "ghost":
		return session.Identity{}, nil
	case password == "good":
		return session.Identity{Subject: user}, nil
	}
	return session.Identity{}, session.ErrGrantDead
}
