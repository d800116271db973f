package session_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"anteroom/session"
)

// TestContain: a panic is an error, and what it panicked with is nowhere.
func TestContain(t *testing.T) {
	var said bytes.Buffer
	log := slog.New(slog.NewJSONHandler(&said, nil))
	err := session.Contain(log, "a thing", func() error { panic("a canary") })
	if !errors.Is(err, session.ErrPanic) || strings.Contains(err.Error()+said.String(), "canary") {
		t.Errorf("Contain = %v, log %s, want ErrPanic and no value", err, &said)
	}
	for _, part := range []string{`"in":"a thing"`, `"type":"string"`, "contain_test.go"} {
		if !strings.Contains(said.String(), part) {
			t.Errorf("the log is %s, want %s in it", &said, part)
		}
	}
	if err := session.Contain(nil, "a thing", func() error { panic(1) }); !errors.Is(err, session.ErrPanic) {
		t.Errorf("Contain without a log = %v, want ErrPanic", err)
	}
	if err := session.Contain(log, "a thing", func() error { return context.Canceled }); err != context.Canceled {
		t.Errorf("Contain = %v, want the error itself", err)
	}
}

// TestPersist: what goes on goes on after a panic, until it is to end.
func TestPersist(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
		defer cancel()
		begun, n := time.Now(), 0
		session.Persist(ctx, nil, "a loop", func(ctx context.Context) {
			if n++; n < 4 {
				panic(n)
			}
		})
		if took := time.Since(begun); n != 4 || took != 7*time.Second {
			t.Errorf("begun %d times in %s, want 4 in 7s", n, took)
		}
		session.Persist(ctx, nil, "a loop", func(context.Context) { panic(n) })
		if ctx.Err() == nil {
			t.Error("Persist returned before its time")
		}
	})
}

// trapped is a provider that panics.
type trapped struct{ calls atomic.Int32 }

func (p *trapped) Renew(context.Context, session.Grant) (session.Grant, error) {
	p.calls.Add(1)
	panic("a canary")
}

// TestRenewalPanics: a panic on the way to the provider signs nobody out, and
// is no reason to present a refresh token again.
func TestRenewalPanics(t *testing.T) {
	each(t, config, func(s *site) {
		p, said := &trapped{}, &bytes.Buffer{}
		s.o.Renewer, s.o.Log = p, slog.New(slog.NewJSONHandler(said, nil))
		s.m.Close(context.Background())
		s.m = session.New(config, s.o)
		defer run(s.m)()
		s.signIn()
		for range 9 {
			time.Sleep(5 * time.Minute)
			s.want(nil)
			synctest.Wait()
		}
		if n := p.calls.Load(); n != 1 {
			t.Errorf("the provider was asked %d times within the grace, want once", n)
		}
		if log := said.String(); strings.Contains(log, "canary") || !strings.Contains(log, "asking the provider") {
			t.Errorf("the log is %s, want a panic without its value", log)
		}
	})
}

// brittle is a store that panics when it is read.
type brittle struct {
	session.Memory
	on atomic.Bool
}

func (b *brittle) Load(ctx context.Context, key string) (session.Saved, bool, error) {
	if b.on.Load() {
		panic("a canary")
	}
	return b.Memory.Load(ctx, key)
}

// TestReadingPanics: whoever waits for a session that is being read hears of a
// panic as of a store that is away.
func TestReadingPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, b := newSite(t, "memory", config), &brittle{}
		s.o.Store = b
		s.m = session.New(config, s.o)
		s.signIn()
		s.m.Close(context.Background())
		s.m = session.New(config, s.o) // knows none
		defer run(s.m)()
		b.on.Store(true)
		s.want(session.ErrUnavailable)
		b.on.Store(false)
		s.want(nil)
	})
}
