package semaphore

import (
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// left fails for a semaphore that has a place taken, or remembers anybody.
func left(t *testing.T, k *Keyed) {
	t.Helper()
	k.mu.Lock()
	defer k.mu.Unlock()
	if n := k.Held(); n != 0 || len(k.by) != 0 {
		t.Errorf("%d places are taken and %d keys remembered, want none", n, len(k.by))
	}
}

// TestShares: a key gets its share and no more, however many of it wait, and
// others are served at once meanwhile.
func TestShares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, begun := New(8, 2), time.Now()
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		var got, gone atomic.Int64
		for range 20 {
			all.Go(func() {
				if k.Acquire(ctx, "hoarder", 0) != nil {
					gone.Add(1)
					return
				}
				got.Add(1)
				<-ctx.Done()
				k.Release("hoarder")
			})
		}
		synctest.Wait()
		if got.Load() != 2 || k.Held() != 2 {
			t.Errorf("one key has %d of %d taken places, want 2", got.Load(), k.Held())
		}
		for _, key := range []string{"a", "b", "c"} {
			for range 2 {
				if err := k.Acquire(t.Context(), key, time.Second); err != nil {
					t.Fatalf("Acquire(%s) = %v beside one that has its share", key, err)
				}
			}
		}
		if waited := time.Since(begun); waited != 0 {
			t.Errorf("others waited for %s, want not at all", waited)
		}
		if err := k.Acquire(t.Context(), "hoarder", time.Second); !errors.Is(err, ErrBusy) || time.Since(begun) != time.Second {
			t.Errorf("Acquire beyond the share = %v after %s, want ErrBusy after 1s", err, time.Since(begun))
		}
		if err := k.Acquire(t.Context(), "d", time.Second); !errors.Is(err, ErrBusy) || time.Since(begun) != 2*time.Second {
			t.Errorf("Acquire when all are taken = %v after %s, want ErrBusy after 1s", err, time.Since(begun))
		}
		done := make(chan error)
		go func() { done <- k.Acquire(t.Context(), "d", 0) }()
		synctest.Wait()
		k.Release("a")
		if err := <-done; err != nil {
			t.Errorf("Acquire as a place is given back = %v", err)
		}
		cancel()
		all.Wait()
		if gone.Load() != 18 {
			t.Errorf("%d who waited left with their context, want 18", gone.Load())
		}
		for _, key := range []string{"a", "b", "b", "c", "c", "d"} {
			k.Release(key)
		}
		left(t, k)
	})
}

// TestNeverMore: whatever comes at once, neither all nor one key have more than
// they may, and nothing stays of anybody.
func TestNeverMore(t *testing.T) {
	const most, each, keys = 6, 2, 5
	k := New(most, each)
	var total atomic.Int64
	var by [keys]atomic.Int64
	var all sync.WaitGroup
	for range 60 {
		all.Go(func() {
			for range 200 {
				i := rand.IntN(keys)
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rand.IntN(2000))*time.Microsecond)
				if k.Acquire(ctx, strconv.Itoa(i), time.Duration(rand.IntN(1000))*time.Microsecond) == nil {
					if n, own := total.Add(1), by[i].Add(1); n > most || own > each {
						t.Errorf("%d places are taken, %d by one key, want %d and %d at most", n, own, most, each)
					}
					by[i].Add(-1)
					total.Add(-1)
					k.Release(strconv.Itoa(i))
				}
				cancel()
			}
		})
	}
	all.Wait()
	left(t, k)
}

// TestCheap: a key that has nothing yet costs its share, another nothing.
func TestCheap(t *testing.T) {
	k := New(8, 4)
	once := func() { _ = k.Acquire(context.Background(), "a", time.Second); k.Release("a") }
	if n := testing.AllocsPerRun(100, once); n > 2 {
		t.Errorf("a first place allocates %v times, want 2 at most", n)
	}
	_ = k.Acquire(context.Background(), "a", time.Second)
	if n := testing.AllocsPerRun(100, once); n > 0 {
		t.Errorf("a further place allocates %v times, want none", n)
	}
}
