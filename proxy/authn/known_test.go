package authn

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// notes are Marks in memory.
type notes struct {
	mu   sync.Mutex
	till map[string]time.Time
	away bool
	sets int
}

func (n *notes) do(f func()) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.away {
		return errors.New("away")
	}
	f()
	return nil
}

func (n *notes) Set(_ context.Context, name string, ttl time.Duration) error {
	return n.do(func() { n.till[name] = time.Now().Add(ttl); n.sets++ })
}

func (n *notes) Has(_ context.Context, name string) (found bool, err error) {
	err = n.do(func() { found = time.Now().Before(n.till[name]) })
	return found, err
}

func (n *notes) Drop(_ context.Context, name string) error {
	return n.do(func() { delete(n.till, name) })
}

// TestKnownElsewhere: while somebody guesses at an account, its password passes
// at a replica that never saw it, if another did; nothing else does.
func TestKnownElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, shared := &cloud{}, &notes{till: map[string]time.Time{}}
		one := source(t, c, Options{Marks: shared})
		shared.away = true // for the first answer
		if _, err := one.Identify(from("198.51.100.1", basic("ada", "good"))); err != nil {
			t.Fatal(err)
		}
		shared.away = false
		time.Sleep(goodFor + time.Second)
		for range 3 {
			if _, err := one.Identify(from("198.51.100.1", basic("ada", "good"))); err != nil {
				t.Fatal(err)
			}
			time.Sleep(goodFor + time.Second)
		}
		if shared.sets != 1 {
			t.Errorf("the others were told %d times within minutes, want once", shared.sets)
		}
		guessedAt := func() *Authorization {
			a := source(t, c, Options{Marks: shared})
			tried(t, a, c, nameFailures.Count, func(i int) *http.Request {
				return from(fmt.Sprintf("203.0.113.%d", i), basic("ada", fmt.Sprint("guess", i)))
			})
			return a
		}
		two := guessedAt()
		if _, err := two.Identify(from("198.51.100.1", basic("ada", "wrong"))); !errors.Is(err, ErrThrottled) {
			t.Errorf("one more guess = %v, want ErrThrottled", err)
		}
		if _, err := two.Identify(from("198.51.100.1", basic("ada", "good"))); err != nil {
			t.Errorf("the password that another replica knows = %v, want it to pass", err)
		}
		shared.away = true
		if _, err := guessedAt().Identify(from("198.51.100.1", basic("ada", "good"))); !errors.Is(err, ErrThrottled) {
			t.Errorf("while no replica answers = %v, want ErrThrottled", err)
		}
		shared.away = false
		c.changed.Store(true)
		three := guessedAt()
		if _, err := three.Identify(from("198.51.100.1", basic("ada", "good"))); !errors.Is(err, ErrRefused) || len(shared.till) != 0 {
			t.Errorf("what is good no more = %v, and %d are known, want it refused and forgotten", err, len(shared.till))
		}
	})
}
