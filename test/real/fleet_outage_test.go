//go:build real

package realtest

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"anteroom/demo"
)

// TestReplicasWithoutRedis: Redis freezes, or dies, under load. Whoever is
// known goes on; whoever is not is told to come again; nobody is signed out and
// nobody let in; it mends itself.
func TestReplicasWithoutRedis(t *testing.T) {
	for name, outage := range map[string]struct{ begin, end func(*fleet) }{
		"frozen": {func(f *fleet) { f.redis.Freeze() }, func(f *fleet) { f.redis.Thaw() }},
		"killed": {func(f *fleet) { f.redis.Kill() }, func(f *fleet) { f.redis.Restart() }},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFleet(t, 3, demo.Options{OIDC: demo.NoOIDC, AccessTTL: 10 * time.Second})
			people := f.signIn(50)
			for _, p := range people { // known everywhere
				for range f.replicas {
					(&load{}).one(p, f.url+"/page")
				}
			}
			stop := make(chan struct{})
			stopped := sync.OnceFunc(func() { close(stop) })
			defer stopped()
			known := f.visits(people, 250*time.Millisecond, stop)
			strangers := f.strangers(stop)
			time.Sleep(time.Second)
			outage.begin(f)
			time.Sleep(max(6*time.Second, span()/2))
			strangers.phase("out")
			outage.end(f)
			back := time.Now()
			until(t, nil, "every replica judges unknown sessions again", 2*time.Second, f.judges)
			t.Logf("every replica judges unknown sessions again %v after Redis is back", time.Since(back).Round(time.Millisecond))
			newcomer := newPerson(t)
			shownName(t, newcomer.signIn(&site{URL: f.url}, f.url+"/", demo.DefaultUser, demo.DefaultPassword))
			time.Sleep(2 * time.Second)
			stopped()
			known.check(t)
			strangers.check(t)
		})
	}
}

func shownName(t *testing.T, g *page) {
	t.Helper()
	if g.status != http.StatusOK || g.body != demo.DefaultUser {
		t.Fatalf("%s = %d %.200q, want the application's answer", g.url, g.status, g.body)
	}
}

// strangers are requests with sessions that nobody knows.
type strangers struct {
	mu      sync.Mutex
	waited  []time.Duration
	status  map[int]int
	waits   string
	noRetry int
	cleared int
}

func (f *fleet) strangers(stop <-chan struct{}) *strangers {
	s := &strangers{status: map[int]int{}}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for !pause(stop, 25*time.Millisecond) {
				s.one(f.url + "/page")
			}
		})
	}
	f.t.Cleanup(all.Wait)
	return s
}

func (s *strangers) one(address string) {
	token := make([]byte, 32)
	rand.Read(token)
	r, _ := http.NewRequest(http.MethodGet, address, nil)
	r.Header.Set("Accept", "text/html")
	r.Header.Set("Cookie", "anteroom="+base64.RawURLEncoding.EncodeToString(token))
	began := time.Now()
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return
	}
	resp.Body.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waited = append(s.waited, time.Since(began))
	s.status[resp.StatusCode]++
	if resp.StatusCode == http.StatusServiceUnavailable && resp.Header.Get("Retry-After") == "" {
		s.noRetry++
	}
	for _, c := range resp.Cookies() {
		if c.MaxAge < 0 && !strings.HasSuffix(c.Name, "_signin") {
			s.cleared++
		}
	}
}

// judges is a condition: each replica sends a stranger to sign in.
func (f *fleet) judges() error {
	for i := range f.replicas {
		status, err := f.at(i, http.MethodGet, "/page", "anteroom="+strings.Repeat("A", 43))
		if status != http.StatusUnauthorized {
			return fmt.Errorf("replica %d says %d, %v to an unknown session", i, status, err)
		}
	}
	return nil
}

// phase sums up what was measured so far.
func (s *strangers) phase(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	slices.Sort(s.waited)
	at := func(p int) time.Duration {
		return s.waited[min(len(s.waited)-1, len(s.waited)*p/100)].Round(time.Millisecond)
	}
	s.waits = fmt.Sprintf("%s: %d requests, p50 %v, p99 %v, longest %v, statuses %v", name, len(s.waited), at(50), at(99), at(100), s.status)
}

func (s *strangers) check(t *testing.T) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	t.Log(s.waits)
	slices.Sort(s.waited)
	if p99 := s.waited[len(s.waited)*99/100]; p99 > 1500*time.Millisecond {
		t.Errorf("p99 of unknown sessions = %v, want 1.5 s at most", p99)
	}
	for code, n := range s.status {
		if code != http.StatusServiceUnavailable && code != http.StatusFound {
			t.Errorf("%d unknown sessions were answered %d", n, code)
		}
	}
	if s.status[http.StatusServiceUnavailable] == 0 || s.noRetry > 0 || s.cleared > 0 {
		t.Errorf("%d unavailable, %d without Retry-After, %d cookies cleared", s.status[http.StatusServiceUnavailable], s.noRetry, s.cleared)
	}
}
