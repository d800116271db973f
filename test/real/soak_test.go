//go:build real

package realtest

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"anteroom/demo"
)

// soak is for how long TestSoak goes on: SOAK in the environment ("make soak"
// says 30m), else long enough to see that it works.
func soak() time.Duration {
	if d, err := time.ParseDuration(os.Getenv("SOAK")); err == nil {
		return d
	}
	return 20 * time.Second
}

// TestSoak keeps replicas at a moderate rate: requests, renewals, WebSockets
// that come and go, people who sign in and out. What they hold must not grow.
func TestSoak(t *testing.T) {
	f := newFleet(t, 2, demo.Options{OIDC: demo.NoOIDC, Strict: true, AccessTTL: 10 * time.Second})
	stop := make(chan struct{})
	stopped := sync.OnceFunc(func() { close(stop) })
	defer stopped()
	l := f.visits(f.signIn(40), 200*time.Millisecond, stop)
	var churn sync.WaitGroup
	churn.Go(func() { f.comeAndGo(t, stop) })
	defer churn.Wait()
	defer stopped()

	samples := make([][]sample, len(f.replicas))
	every := max(time.Second, min(10*time.Second, soak()/40))
	for began := time.Now(); time.Since(began) < soak(); {
		time.Sleep(every)
		for i, r := range f.replicas {
			s, err := r.sample()
			if err != nil {
				t.Fatal(err)
			}
			samples[i] = append(samples[i], s)
		}
	}
	stopped()
	l.check(t)
	if n := f.nc.Reuses(); n != 0 {
		t.Errorf("%d refresh tokens were presented twice, want none", n)
	}
	for i, s := range samples {
		judgeFlat(t, fmt.Sprintf("replica %d: goroutines", i), s, func(s sample) float64 { return s.goroutines }, 25)
		judgeFlat(t, fmt.Sprintf("replica %d: resident MiB", i), s, func(s sample) float64 { return s.resident / (1 << 20) }, 4)
	}
}

// comeAndGo has one person after another sign in, open WebSockets, sign out and
// have them closed.
func (f *fleet) comeAndGo(t *testing.T, stop <-chan struct{}) {
	for i := 0; !pause(stop, 500*time.Millisecond); i++ {
		p := newPerson(t)
		if _, err := p.trySignIn(&site{URL: f.url}, f.url+"/", demo.DefaultUser, demo.DefaultPassword); err != nil {
			t.Errorf("signing in: %v", err)
			return
		}
		if err := f.beSignedOut(t.Context(), i%len(f.replicas), f.cookieOf(p)); err != nil {
			t.Error(err)
		}
		p.client.CloseIdleConnections()
	}
}

// beSignedOut opens a WebSocket at each replica, signs out at one, and waits
// until all are closed.
func (f *fleet) beSignedOut(ctx context.Context, at int, cookie string) error {
	var open []*websocket.Conn
	for i := range f.replicas {
		c, err := f.dial(ctx, i, cookie)
		if err != nil {
			return fmt.Errorf("opening a WebSocket: %w", err)
		}
		defer c.CloseNow()
		open = append(open, c)
	}
	if status, err := f.at(at, http.MethodPost, "/auth/logout", cookie); err != nil || status >= 400 {
		return fmt.Errorf("signing out = %d, %w", status, err)
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	for _, c := range open {
		if _, _, err := c.Read(ctx); websocket.CloseStatus(err) != 4401 {
			return fmt.Errorf("a WebSocket ended with %w, want 4401", err)
		}
	}
	return nil
}

// sample is what a replica holds at a time.
type sample struct{ goroutines, resident float64 }

func (s *site) sample() (v sample, err error) {
	if v.goroutines, err = s.count("go_goroutines"); err != nil {
		return v, err
	}
	v.resident, err = s.count("process_resident_memory_bytes")
	return v, err
}

// judgeFlat compares the median of the last third with that of the middle one:
// it may be a tenth more, and a little.
func judgeFlat(t *testing.T, what string, s []sample, of func(sample) float64, little float64) {
	t.Helper()
	third := len(s) / 3
	middle, last := medianOf(s[third:2*third], of), medianOf(s[2*third:], of)
	t.Logf("%s: %.1f in the middle third, %.1f in the last, of %d samples", what, middle, last, len(s))
	if last > middle*1.1+little {
		t.Errorf("%s grew from %.1f to %.1f", what, middle, last)
	}
}

func medianOf(s []sample, of func(sample) float64) float64 {
	var v []float64
	for _, x := range s {
		v = append(v, of(x))
	}
	slices.Sort(v)
	if len(v) == 0 {
		return 0
	}
	return v[len(v)/2]
}
