//go:build real

package realtest

import (
	"sync"
	"testing"
	"time"

	"anteroom/demo"
)

const (
	clients   = 200
	tokenLife = 5 * time.Second
	think     = 400 * time.Millisecond // between two requests of one person
)

// TestReplicasRefresh: three replicas and a provider that rotates refresh
// tokens, and ends the whole sign-in if one comes twice. Nobody notices.
func TestReplicasRefresh(t *testing.T) {
	strict := demo.Options{OIDC: demo.NoOIDC, Strict: true, AccessTTL: tokenLife}
	t.Run("quick", func(t *testing.T) { refreshing(t, newFleet(t, 3, strict), 0, nil) })
	t.Run("slow", func(t *testing.T) { refreshing(t, newFleet(t, 3, strict), 3*time.Second, nil) })
	for name, latency := range map[string]time.Duration{"killed": 0, "killed and slow": 3 * time.Second} {
		t.Run(name, func(t *testing.T) {
			f := newFleet(t, 3, strict)
			refreshing(t, f, latency, f.kill)
		})
	}
}

// refreshing loads a fleet for a span and judges what it asked of the provider.
func refreshing(t *testing.T, f *fleet, latency time.Duration, kill func(i int)) {
	people := f.signIn(clients)
	f.nc.SetLatency(demo.Refresh, latency)
	stop := make(chan struct{})
	stopped := sync.OnceFunc(func() { close(stop) })
	defer stopped()
	before, began := f.nc.Calls(demo.Refresh), time.Now()
	l := f.visits(people, think, stop)
	every := min(10*time.Second, span()/3)
	for i := 0; time.Since(began) < span(); i++ {
		time.Sleep(min(every, span()-time.Since(began)))
		if kill != nil && time.Since(began) < span() {
			kill(i % len(f.replicas))
		}
	}
	refreshes, took := f.nc.Calls(demo.Refresh)-before, time.Since(began)
	stopped()
	time.Sleep(think + latency)
	l.check(t)
	if n := f.nc.Reuses(); n != 0 {
		t.Errorf("%d refresh tokens were presented twice, want none", n)
	}
	judgeRefreshes(t, refreshes, took, latency, kill != nil)
}

// judgeRefreshes compares with one refresh per session and period. A period is
// as long as a token lives less how long before its end it is renewed: a
// quarter of its life, or twice what the provider takes, three quarters at
// most. The first may be shorter, as the latency is not known yet.
func judgeRefreshes(t *testing.T, n int, took, latency time.Duration, killed bool) {
	t.Helper()
	lead := min(max(tokenLife/4, 2*latency), tokenLife*3/4)
	most := clients * (int(took/(tokenLife-lead)) + 2)
	least := clients * max(0, int(took/(tokenLife+latency+think))-1)
	switch {
	case killed && latency > 0: // most of what the dead held stays in doubt, and is not asked for again within grace
		least = clients
	case killed:
		least = least * 8 / 10
	}
	t.Logf("%d refreshes of %d sessions in %v: one each %.2f s", n, clients, took.Round(time.Second), took.Seconds()*clients/float64(max(1, n)))
	if n < least || n > most {
		t.Errorf("%d refreshes, want between %d and %d", n, least, most)
	}
}
