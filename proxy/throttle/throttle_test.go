package throttle

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestRateText(t *testing.T) {
	for _, text := range []string{"off", "15 in 10m", "1 in 1s", "10000 in 24h", "3 in 1h30m"} {
		var r Rate
		if err := r.UnmarshalText([]byte(text)); err != nil || r.String() != text {
			t.Errorf("UnmarshalText(%q) = %v, %v, want the same", text, r, err)
		}
	}
	for _, text := range []string{"", "15", "in 10m", "15 in", "0 in 10m", "-1 in 10m", "10001 in 10m", "1 in 0s", "1 in 25h", "1 per 10m", "on", "101 in 1s"} {
		r := Rate{Count: 1}
		if err := r.UnmarshalText([]byte(text)); err == nil || r.Count != 0 {
			t.Errorf("UnmarshalText(%q) = %v, %v, want an error", text, r, err)
		}
	}
}

// TestTake: as many at once as the rate says, then one each time a token is
// there; others do not pay for it.
func TestTake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		th := New("test", Rate{Count: 3, Window: 30 * time.Second}, nil, time.Now)
		for i := range 3 {
			if wait := th.Take(t.Context(), "a"); wait != 0 {
				t.Fatalf("Take %d = %v, want 0", i, wait)
			}
		}
		wait := th.Take(t.Context(), "a")
		if wait < 10*time.Second || wait > 10*time.Second+time.Millisecond {
			t.Errorf("Take beyond the rate = %v, want 10s", wait)
		}
		if wait := th.Take(t.Context(), "b"); wait != 0 {
			t.Errorf("Take of another = %v, want 0", wait)
		}
		time.Sleep(wait)
		if wait := th.Take(t.Context(), "a"); wait != 0 {
			t.Errorf("Take after waiting as told = %v, want 0", wait)
		}
		off := New("test", Rate{}, nil, time.Now)
		for range 1000 {
			if off.Take(t.Context(), "a") != 0 || off.Begin("a") != 0 {
				t.Fatal("a rate that is off limits something")
			}
			off.End(t.Context(), "a", true)
		}
	})
}

// store is a Shared that several throttles draw from.
type store struct {
	mu   sync.Mutex
	full map[string]time.Time
	away bool
}

func (s *store) Draw(_ context.Context, name string, tokens int, every time.Duration, debt bool) (time.Duration, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away {
		return 0, errors.New("away")
	}
	now := time.Now()
	full := s.full[name]
	if full.Before(now) {
		full = now
	}
	wait := full.Sub(now) - time.Duration(tokens-1)*every
	if wait > 0 && !debt {
		return wait, nil
	}
	s.full[name] = full.Add(every)
	if !debt {
		return 0, nil
	}
	return max(wait+every, 0), nil
}

// TestShared: replicas draw from one bucket. A store that is away leaves each
// its own.
func TestShared(t *testing.T) {
	rate := Rate{Count: 4, Window: 40 * time.Second}
	begin := func(ctx context.Context, th *Throttle) bool {
		if th.Begin("a") != 0 {
			return false
		}
		th.End(ctx, "a", true)
		return true
	}
	for name, tt := range map[string]struct {
		away bool
		try  func(context.Context, *Throttle) bool
		want int
	}{
		"take":               {false, func(ctx context.Context, th *Throttle) bool { return th.Take(ctx, "a") == 0 }, 4},
		"take, store away":   {true, func(ctx context.Context, th *Throttle) bool { return th.Take(ctx, "a") == 0 }, 12},
		"failed":             {false, begin, 6}, // the last two replicas hear of it with their own first failure
		"failed, store away": {true, begin, 12},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &store{full: map[string]time.Time{}, away: tt.away}
				got := 0
				for range 3 {
					th := New("test", rate, s, time.Now)
					for range 20 {
						if tt.try(t.Context(), th) {
							got++
						}
					}
				}
				if got != tt.want {
					t.Errorf("three replicas let %d pass, want %d", got, tt.want)
				}
			})
		})
	}
}

// TestBounded: a flood of keys costs no more memory than there is for them, and
// the worst of them are remembered.
func TestBounded(t *testing.T) {
	now := time.Now()
	th := New("test", Rate{Count: 10, Window: 50 * time.Second}, nil, func() time.Time { return now })
	for range 10 {
		if th.Begin("worst") != 0 {
			t.Fatal("Begin = a wait within the rate")
		}
		th.End(t.Context(), "worst", true)
	}
	for i := range 3 * maxRemembered {
		key := fmt.Sprint(i)
		if th.Begin(key) != 0 {
			t.Fatalf("Begin(%s) = a wait, want a newcomer to be let try", key)
		}
		th.End(t.Context(), key, true)
	}
	if len(th.by) > maxRemembered {
		t.Errorf("%d are remembered, want %d at most", len(th.by), maxRemembered)
	}
	if th.Begin("worst") == 0 {
		t.Error("a flood of others had the worst forgotten")
	}
}

// emptyBut is a Shared of which only one bucket has tokens.
type emptyBut string

func (e emptyBut) Draw(_ context.Context, name string, _ int, _ time.Duration, _ bool) (time.Duration, error) {
	if name == string(e) {
		return 0, nil
	}
	return time.Minute, nil
}

// TestSharedAndFull: as many as can be remembered have emptied their shared
// buckets, and one more comes.
func TestSharedAndFull(t *testing.T) {
	now := time.Now()
	th := New("test", Rate{Count: 10, Window: 50 * time.Second}, emptyBut("test newcomer"), func() time.Time { return now })
	for i := range maxRemembered {
		th.Take(t.Context(), fmt.Sprint(i))
	}
	if wait := th.Take(t.Context(), "newcomer"); wait != 0 {
		t.Errorf("Take = %v, want a newcomer to be let try", wait)
	}
}

func TestKeys(t *testing.T) {
	for address, want := range map[string]string{
		"192.0.2.7": "192.0.2.7", "::ffff:192.0.2.7": "192.0.2.7", "192.0.2.7:443": "192.0.2.7",
		"2001:db8::1": "2001:db8::/64", "[2001:db8::ffff%eth0]:443": "2001:db8::/64", "@": "@",
	} {
		if got := Network(address); got != want {
			t.Errorf("Network(%q) = %q, want %q", address, got, want)
		}
	}
	for name, want := range map[string]string{"Ada": "ada", " ADA ": "ada", "ａｄａ": "ada", "Zoe\u0308": "zoë"} {
		if got := Account(name); got != want {
			t.Errorf("Account(%q) = %q, want %q", name, got, want)
		}
	}
}
