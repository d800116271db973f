package session_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"anteroom/session"
	"anteroom/session/storetest"
	"anteroom/test/redistest"
)

func TestRedisKilled(t *testing.T) {
	for name, tls := range map[string]bool{"plain": false, "TLS": true} {
		t.Run(name, func(t *testing.T) {
			s := redistest.Start(t, redistest.Options{TLS: tls})
			back := make(said, 4)
			r := openRedisWith(t, session.RedisConfig{URL: session.Secret(s.URL()), CAFile: s.CAFile}, slog.New(slog.NewTextHandler(back, nil)))
			w := watchRedis(t, r)
			begin(t, r, "k")
			warm(t, r)
			s.Kill()
			allFail(t, r, 1200*time.Millisecond)
			if err := r.Answering(); err == nil {
				t.Error("Answering = nil, want an error")
			}
			storetest.Within(t, 1500*time.Millisecond, "Disconnected", w.Disconnects)
			start := time.Now()
			for range 20 {
				allFail(t, r, 900*time.Millisecond)
			}
			if took := time.Since(start); took > 3*time.Second { // 20 s, were each to wait for Redis
				t.Errorf("300 operations while down took %v, want none to wait", took)
			}
			s.Restart()
			recovers(t, r, "k")
			storetest.Within(t, 2*time.Second, "Connected", w.Connects)
			storetest.Within(t, time.Second, "Alive", w.Lives)
			if len(w.Disconnects) != 0 {
				t.Errorf("Disconnected(%v) once more", <-w.Disconnects)
			}
			if len(back) != 1 {
				t.Errorf("said %d times that changes are heard again, want once", len(back))
			}
		})
	}
}

// said is how often the log says that changes are heard again.
type said chan struct{}

func (s said) Write(line []byte) (int, error) {
	if strings.Contains(string(line), "heard from redis again") {
		s <- struct{}{}
	}
	return len(line), nil
}

// warm fills the pool with connections.
func warm(t *testing.T, r *session.Redis) {
	t.Helper()
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			if _, _, err := r.Load(t.Context(), "k"); err != nil {
				t.Errorf("Load = %v", err)
			}
		})
	}
	wg.Wait()
}

func TestRedisFrozen(t *testing.T) {
	s := redistest.Start(t, redistest.Options{})
	r := openRedis(t, session.RedisConfig{URL: session.Secret(s.URL())})
	w := watchRedis(t, r)
	begin(t, r, "k")
	warm(t, r)
	s.Freeze()
	frozen := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, _, err := r.Load(ctx, "k"); !errors.Is(err, context.DeadlineExceeded) || time.Since(frozen) > 900*time.Millisecond {
		t.Errorf("Load(context of 50 ms) = %v after %v, want its end then", err, time.Since(frozen))
	}
	allFail(t, r, 1200*time.Millisecond)
	storetest.Within(t, time.Until(frozen.Add(1500*time.Millisecond)), "Disconnected", w.Disconnects)
	start := time.Now()
	quick, slow := 0, 0
	for time.Since(start) < time.Second {
		one := time.Now()
		if _, _, err := r.Load(t.Context(), "k"); err == nil {
			t.Fatal("Load = nil, want an error")
		}
		if time.Since(one) > 300*time.Millisecond {
			slow++
		} else {
			quick++
		}
		time.Sleep(5 * time.Millisecond)
	}
	if slow > 2 || quick < 20 {
		t.Errorf("%d operations in a second waited and %d did not, want one or two to ask for the others", slow, quick)
	}
	s.Thaw()
	recovers(t, r, "k")
	storetest.Within(t, 2*time.Second, "Connected", w.Connects)
}

func TestRedisAbsentAtFirst(t *testing.T) {
	s := redistest.Start(t, redistest.Options{})
	s.Kill()
	r := openRedis(t, session.RedisConfig{URL: session.Secret(s.URL())})
	if err := r.Answering(); err == nil {
		t.Error("Answering = nil before anything was asked, want an error")
	}
	allFail(t, r, 1200*time.Millisecond)
	w, ctx := storetest.NewWatched(), t.Context()
	go r.Watch(ctx, w)
	s.Restart()
	storetest.Within(t, 2*time.Second, "Connected", w.Connects)
	within(t, 2*time.Second, "readiness", r.Answering)
}

func TestRedisRefuses(t *testing.T) {
	tests := map[string]struct {
		break_, mend []string
		want         string
		reads        bool // while it is broken
	}{
		"OOM":      {[]string{"config", "set", "maxmemory", "1"}, []string{"config", "set", "maxmemory", "0"}, "OOM", true},
		"READONLY": {[]string{"replicaof", "127.0.0.1", "1"}, []string{"replicaof", "no", "one"}, "READONLY", true},
		"NOPERM":   {[]string{"acl", "setuser", "default", "-set"}, []string{"acl", "setuser", "default", "+set"}, "NOPERM", true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := redistest.Start(t, redistest.Options{})
			r := openRedis(t, session.RedisConfig{URL: session.Secret(s.URL())})
			w := watchRedis(t, r)
			begin(t, r, "k")
			s.CLI(tt.break_...)
			err := r.Put(t.Context(), "x", []byte("y"), time.Hour)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Put = %v, want %s", err, tt.want)
			}
			if _, found, err := r.Load(t.Context(), "k"); found != tt.reads || err != nil {
				t.Errorf("Load = %v, %v, want found %v", found, err, tt.reads)
			}
			time.Sleep(600 * time.Millisecond) // a beat later, too
			if err := r.Answering(); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Answering = %v, want %s", err, tt.want)
			}
			if name == "READONLY" {
				if ended, err := r.End(t.Context(), "k", session.Ended{Why: session.EndRevoked}); ended || err == nil {
					t.Errorf("End = %v, %v, want an error", ended, err)
				}
			}
			s.CLI(tt.mend...)
			within(t, 2*time.Second, "readiness", r.Answering)
			if len(w.Notes) != 0 {
				t.Errorf("Heard(%+v), want nothing of what did not happen", <-w.Notes)
			}
			begin(t, r, "after")
		})
	}
}

func TestRedisPassword(t *testing.T) {
	s := redistest.Start(t, redistest.Options{})
	set := func(was, is string) {
		t.Helper()
		if was == "" {
			s.CLI("config", "set", "requirepass", is)
			return
		}
		s.CLI("-a", was, "--no-auth-warning", "config", "set", "requirepass", is)
	}
	set("", "another-word")
	with := openRedis(t, session.RedisConfig{URL: session.Secret(s.URL()), Password: "right-word"})
	without := openRedis(t, session.RedisConfig{URL: session.Secret(s.URL())})
	for want, r := range map[string]*session.Redis{"WRONGPASS": with, "NOAUTH": without} {
		allFail(t, r, 1200*time.Millisecond)
		err := r.Writable(t.Context())
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "right-word") {
			t.Errorf("Writable = %v, want %s and no password", err, want)
		}
	}
	set("another-word", "right-word")
	within(t, 2*time.Second, "the right password", func() error { return with.Writable(t.Context()) })
	within(t, 2*time.Second, "readiness", with.Answering)
}

// TestRedisDeaf: a subscription that passes nothing on any more is noticed,
// while everything else works.
func TestRedisDeaf(t *testing.T) {
	s := redistest.Start(t, redistest.Options{})
	p := newDeafProxy(t, s.Addr)
	r := openRedis(t, session.RedisConfig{URL: session.Secret("redis://" + p.addr)})
	w := watchRedis(t, r)
	p.deaf.Store(true)
	storetest.Within(t, 1500*time.Millisecond, "Disconnected", w.Disconnects)
	begin(t, r, "k")
	p.deaf.Store(false)
	storetest.Within(t, 2*time.Second, "Connected", w.Connects)
}

// deafProxy passes bytes on; from Redis to a subscriber only while it is not deaf.
type deafProxy struct {
	addr string
	deaf atomic.Bool
}

func newDeafProxy(t *testing.T, target string) *deafProxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	p := &deafProxy{addr: l.Addr().String()}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go p.serve(c, target)
		}
	}()
	return p
}

func (p *deafProxy) serve(c net.Conn, target string) {
	defer c.Close()
	up, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer up.Close()
	var subscriber atomic.Bool
	go func() {
		defer up.Close()
		_, _ = io.Copy(io.MultiWriter(up, onWrite(func(b []byte) {
			if strings.Contains(string(b), "subscribe") {
				subscriber.Store(true)
			}
		})), c)
	}()
	buf := make([]byte, 4096)
	for {
		n, err := up.Read(buf)
		if err != nil {
			return
		}
		if p.deaf.Load() && subscriber.Load() {
			continue
		}
		if _, err := c.Write(buf[:n]); err != nil {
			return
		}
	}
}

type onWrite func([]byte)

func (f onWrite) Write(b []byte) (int, error) { f(b); return len(b), nil }

func TestRedisUnreadableNotes(t *testing.T) {
	s := redistest.Start(t, redistest.Options{})
	r := openRedis(t, session.RedisConfig{URL: session.Secret(s.URL())})
	w := watchRedis(t, r)
	for _, junk := range []string{"", "1", "1 c", "1 c x k", "1 c 0 k", "1 c 5 ", "1 e 0 k", "1 e 2idle k", "2 c 5 k", "1 z 5 k", "\xff"} {
		s.CLI("publish", "anteroom:changes", junk)
	}
	if _, err := r.End(t.Context(), "a key", session.Ended{Why: session.EndIdle}); err != nil {
		t.Fatal(err)
	}
	want := session.Note{Key: "a key", Why: session.EndIdle}
	if n := storetest.Within(t, 2*time.Second, "Heard", w.Notes); n != want {
		t.Errorf("Heard(%+v), want %+v and nothing before", n, want)
	}
}

func TestCheckRedisURL(t *testing.T) {
	good := []string{
		"redis://h", "redis://h/", "redis://h:1/15", "redis://:p@h", "redis://u:p%40@h", "REDIS://h", "redis://[::1]", "redis://[::1]:7/0",
		"rediss://u@h", "unix:///a/b", "unix:///a?db=3", "unix://u:p@/a", "redis+unix:///a",
		"redis+sentinel://h/m", "redis+sentinel://u:p@h1:26379,h2,h3/m/2", "rediss+sentinel://h1,[::2]:5/m",
		"redis+cluster://h1,h2:7", "rediss+cluster://u:p@h1/", "redis+cluster://h/0",
	}
	for _, u := range good {
		if err := session.CheckRedisURL(session.Secret(u)); err != nil {
			t.Errorf("CheckRedisURL(%q) = %v, want nil", u, err)
		}
	}
	bad := []string{
		"", "h:6379", "http://h", "redis:h", "redis://", "redis:///0", "redis://:6379", "redis://h:0", "redis://h:65536", "redis://h:x",
		"redis://h1,h2", "redis://h/x", "redis://h/-1", "redis://h/1/2", "redis://h?db=1", "redis://h#f", "redis://h h", "redis://::1",
		"redis://[::1", "redis://[h]", "redis://u:p@q@h", "redis://u:%zz@h", "unix://h/a", "unix://", "unix:///", "unix:///a?db=", "unix:///a?db=1&x=2", "unix:///a?x=1",
		"redis+sentinel://h", "redis+sentinel://h/", "redis+sentinel://h/m/x", "redis+sentinel:///m", "redis+sentinel://h1,,h2/m",
		"redis+cluster://h/1", "redis+cluster://h,", "redis+cluster://", "redis://user:hun/ter2@h", "redis://user:hun?ter2@h", "redis://user:hun#ter2@h", "redis://u:hunter2@h:x",
	}
	for _, u := range bad {
		err := session.CheckRedisURL(session.Secret(u))
		if err == nil || strings.Contains(err.Error(), "hun") || strings.Contains(err.Error(), "ter2") {
			t.Errorf("CheckRedisURL(%q) = %v, want an error without the password", u, err)
		}
	}
}

func TestOpenRedisRefuses(t *testing.T) {
	tests := map[string]session.RedisConfig{
		"no url":             {},
		"ca without TLS":     {URL: "redis://h", CAFile: "x"},
		"no such ca":         {URL: "rediss://h", CAFile: "/does/not/exist"},
		"ca that is none":    {URL: "rediss://h", CAFile: "redis_test.go"},
		"cert without a key": {URL: "rediss://h", CertFile: "redis_test.go"},
	}
	for name, cfg := range tests {
		if r, err := session.OpenRedis(cfg, session.RedisOptions{}); err == nil {
			r.Close()
			t.Errorf("OpenRedis(%s) = nil, want an error", name)
		}
	}
}

func FuzzRedisURL(f *testing.F) {
	for _, u := range []string{"redis://u:p@h:1/2", "unix:///a?db=1", "redis+sentinel://a,b:3/m/1", "rediss+cluster://[::1]:5,x"} {
		f.Add(u)
	}
	f.Fuzz(func(t *testing.T, u string) {
		err := session.CheckRedisURL(session.Secret(u))
		r, opened := session.OpenRedis(session.RedisConfig{URL: session.Secret(u)}, session.RedisOptions{})
		if (err == nil) != (opened == nil) {
			t.Errorf("CheckRedisURL(%q) = %v, OpenRedis = %v, want them to agree", u, err, opened)
		}
		if opened == nil {
			r.Close()
		}
	})
}
