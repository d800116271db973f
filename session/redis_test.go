package session_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"anteroom/session"
	"anteroom/session/storetest"
	"anteroom/test/redistest"
)

// redisCase numbers the prefixes that keep cases on one server apart.
var redisCase atomic.Int64

// openRedis opens a handle that is closed with the test.
func openRedis(t *testing.T, cfg session.RedisConfig) *session.Redis {
	t.Helper()
	return openRedisWith(t, cfg, slog.New(slog.DiscardHandler))
}

func openRedisWith(t *testing.T, cfg session.RedisConfig, log *slog.Logger) *session.Redis {
	t.Helper()
	r, err := session.OpenRedis(cfg, session.RedisOptions{Log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// suites runs both suites on one deployment. Its administrators, one for each
// master, age what is in it.
func suites(t *testing.T, cfg session.RedisConfig, admins ...*redis.Client) {
	t.Cleanup(func() {
		for _, a := range admins {
			a.Close()
		}
	})
	open := func(t *testing.T) *storetest.SharedHarness {
		cfg.Prefix = fmt.Sprint("anteroom:", redisCase.Add(1))
		age := func(d time.Duration) { ageRedis(t, admins, cfg.Prefix, d) }
		return &storetest.SharedHarness{Store: openRedis(t, cfg), Other: openRedis(t, cfg), Advance: age}
	}
	t.Run("store", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) *storetest.Harness {
			h := open(t)
			return &storetest.Harness{Store: h.Store, Advance: h.Advance}
		})
	})
	t.Run("shared", func(t *testing.T) { storetest.RunShared(t, open) })
}

// ageRedis makes everything below a prefix older, which is as good as waiting.
func ageRedis(t *testing.T, admins []*redis.Client, prefix string, d time.Duration) {
	t.Helper()
	const age = `
local d, key = tonumber(ARGV[1]), KEYS[1]
local kind = redis.call('TYPE', key).ok
if kind == 'hash' then
  local lx = redis.call('HGET', key, 'lx')
  if lx then redis.call('HSET', key, 'lx', string.format('%.0f', lx - d)) end
elseif kind == 'zset' then
  local l = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
  for i = 1, #l, 2 do redis.call('ZINCRBY', key, -d, l[i]) end
end
local left = redis.call('PTTL', key)
if left >= 0 then
  if left > d then redis.call('PEXPIRE', key, left - d) else redis.call('DEL', key) end
end
return 1`
	for _, a := range admins {
		keys, err := a.Keys(t.Context(), prefix+":*").Result()
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range keys {
			if err := a.Eval(t.Context(), age, []string{k}, d.Milliseconds()).Err(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// adminOf is a client that may do anything.
func adminOf(s *redistest.Server) *redis.Client {
	return redis.NewClient(&redis.Options{Network: "unix", Addr: s.Socket})
}

func TestRedis(t *testing.T) {
	s := redistest.Start(t, redistest.Options{})
	t.Run("tcp", func(t *testing.T) { suites(t, session.RedisConfig{URL: session.Secret(s.URL())}, adminOf(s)) })
	t.Run("unix", func(t *testing.T) {
		suites(t, session.RedisConfig{URL: session.Secret("unix://" + s.Socket + "?db=3")},
			redis.NewClient(&redis.Options{Network: "unix", Addr: s.Socket, DB: 3}))
	})
}

const aclPassword = "p@ss/word:?#%"

func TestRedisTLSAndACL(t *testing.T) {
	s := redistest.Start(t, redistest.Options{TLS: true, Users: map[string]string{"anteroom": "on >" + aclPassword + " " + redistest.ACL}})
	admin := redis.NewClient(&redis.Options{Network: "unix", Addr: s.Socket, Password: redistest.AdminPassword})
	cfg := session.RedisConfig{URL: session.Secret(s.URL()), Username: "anteroom", Password: aclPassword, CAFile: s.CAFile}
	suites(t, cfg, admin)
	t.Run("password in the url", func(t *testing.T) {
		in := session.RedisConfig{URL: session.Secret("rediss://anteroom:p%40ss%2Fword%3A%3F%23%25@" + s.Addr), CAFile: s.CAFile}
		if err := openRedis(t, in).Writable(t.Context()); err != nil {
			t.Errorf("Writable = %v, want nil", err)
		}
	})
	t.Run("stranger's certificate", func(t *testing.T) {
		in := cfg
		in.CAFile = ""
		if err := openRedis(t, in).Writable(t.Context()); err == nil || !strings.Contains(err.Error(), "certificate") {
			t.Errorf("Writable = %v, want a certificate's error", err)
		}
	})
	t.Run("another prefix", func(t *testing.T) {
		in := cfg
		in.Prefix = "other"
		if err := openRedis(t, in).Writable(t.Context()); err == nil || !strings.Contains(err.Error(), "NOPERM") {
			t.Errorf("Writable = %v, want NOPERM", err)
		}
	})
}

func TestRedisCluster(t *testing.T) {
	rules := "on >" + aclPassword + " " + redistest.ACL + " " + redistest.ACLOfCluster
	c := redistest.StartCluster(t, redistest.Options{Users: map[string]string{"anteroom": rules}})
	cfg := session.RedisConfig{URL: session.Secret(c.URL()), Username: "anteroom", Password: aclPassword}
	var admins []*redis.Client
	for _, s := range c.Servers {
		admins = append(admins, redis.NewClient(&redis.Options{Network: "unix", Addr: s.Socket, Password: redistest.AdminPassword}))
	}
	suites(t, cfg, admins...)
	t.Run("slots move", func(t *testing.T) { slotsMove(t, c, cfg) })
	t.Run("one frozen", func(t *testing.T) { oneFrozen(t, c, cfg) })
}

// slotsMove uses a session while its slot moves to another server.
func slotsMove(t *testing.T, c *redistest.Cluster, cfg session.RedisConfig) {
	cfg.Prefix = "anteroom:moving"
	r, other := openRedis(t, cfg), openRedis(t, cfg)
	w := watchRedis(t, r)
	ctx := t.Context()
	begin(t, other, "k")
	slot := c.Slot(cfg.Prefix + ":s:k")
	version := uint64(1)
	c.Move(slot, (c.Owner(slot)+1)%3, func(step string) {
		version++
		if a, err := other.Claim(ctx, "k", session.Claim{Owner: step, Version: version - 1, Hold: time.Minute, Spend: true}); err != nil || a.Outcome != session.ClaimYours {
			t.Fatalf("%s: Claim = %+v, %v, want it", step, a, err)
		}
		if saved, found, err := other.Save(ctx, "k", session.Saved{Value: []byte(step), Version: version, Seen: time.Now()}, time.Hour, ""); !saved || !found || err != nil {
			t.Fatalf("%s: Save = %v, %v, %v, want saved", step, saved, found, err)
		}
		if n := storetest.Within(t, 2*time.Second, step, w.Notes); n != (session.Note{Key: "k", Version: version}) {
			t.Fatalf("%s: Heard(%+v), want version %d", step, n, version)
		}
		if s, found, err := r.Load(ctx, "k"); err != nil || !found || s.Version != version {
			t.Fatalf("%s: Load = %+v, %v, %v, want version %d", step, s, found, err, version)
		}
	})
	if ended, err := other.End(ctx, "k", session.Ended{Why: session.EndRevoked}); !ended || err != nil {
		t.Errorf("End = %v, %v, want true", ended, err)
	}
}

// oneFrozen: one server's silence costs the others' sessions nothing.
func oneFrozen(t *testing.T, c *redistest.Cluster, cfg session.RedisConfig) {
	cfg.Prefix = "anteroom:frozen"
	r := openRedis(t, cfg)
	w := watchRedis(t, r)
	keys := map[int]string{}
	for i := 0; len(keys) < 3; i++ {
		k := fmt.Sprint("k", i)
		keys[c.Owner(c.Slot(cfg.Prefix+":s:"+k))] = k
	}
	for _, k := range keys {
		begin(t, r, k)
	}
	c.Servers[0].Freeze()
	defer c.Servers[0].Thaw()
	start := time.Now()
	if _, _, err := r.Load(t.Context(), keys[0]); err == nil || time.Since(start) > 1200*time.Millisecond {
		t.Errorf("Load from the frozen = %v in %v, want an error in 1.2 s", err, time.Since(start))
	}
	start = time.Now()
	if _, found, err := r.Load(t.Context(), keys[1]); !found || err != nil || time.Since(start) > 900*time.Millisecond {
		t.Errorf("Load from another = %v, %v in %v, want it at once", found, err, time.Since(start))
	}
	storetest.Within(t, 1500*time.Millisecond, "Disconnected", w.Disconnects)
	c.Servers[0].Thaw()
	storetest.Within(t, 3*time.Second, "Connected", w.Connects)
	recovers(t, r, keys[0])
}

func TestRedisSentinel(t *testing.T) {
	d := redistest.StartSentinel(t)
	cfg := session.RedisConfig{URL: session.Secret(d.URL())}
	t.Run("suites", func(t *testing.T) { suites(t, cfg, adminOf(d.Servers[0])) })
	r := openRedis(t, cfg)
	w := watchRedis(t, r)
	begin(t, r, "k")
	d.Servers[0].CLI("wait", "2", "2000") // what is not replicated may be lost
	d.Freeze(0)
	d.Servers[0].Kill()
	storetest.Within(t, 1500*time.Millisecond, "Disconnected", w.Disconnects)
	until := time.Now().Add(15 * time.Second)
	for version := uint64(2); ; version++ {
		start := time.Now()
		saved, found, err := r.Save(t.Context(), "k", session.Saved{Value: fmt.Append(nil, version), Version: version, Seen: start}, time.Hour, "")
		if took := time.Since(start); took > 1200*time.Millisecond {
			t.Errorf("Save during failover took %v, want under 1.2 s", took)
		}
		if err == nil {
			if !saved || !found {
				t.Errorf("Save after failover = %v, %v, want saved", saved, found)
			}
			break
		}
		if time.Now().After(until) {
			t.Fatalf("no master after 15 s: %v", err)
		}
		time.Sleep(20 * time.Millisecond)
	}
	storetest.Within(t, 3*time.Second, "Connected", w.Connects)
	if ended, err := r.End(t.Context(), "k", session.Ended{Why: session.EndRevoked}); !ended || err != nil {
		t.Errorf("End = %v, %v, want true", ended, err)
	}
	n := storetest.Within(t, 2*time.Second, "Heard", w.Notes)
	for n.Why == "" { // the change from before
		n = storetest.Within(t, 2*time.Second, "Heard", w.Notes)
	}
	if n.Why != session.EndRevoked {
		t.Errorf("Heard(%+v), want the end", n)
	}
	if d.Master() == d.Servers[0] {
		t.Error("the master is who was killed")
	}
}

// begin writes a session.
func begin(t *testing.T, r *session.Redis, key string) {
	t.Helper()
	s := session.Saved{Value: []byte("first"), Version: 1, Seen: time.Now()}
	if err := r.Begin(t.Context(), key, s, time.Hour, []string{"person"}, time.Now().Add(time.Hour)); err != nil {
		t.Fatalf("Begin = %v", err)
	}
}

// watchRedis starts a Watch that ends with the test, and waits until it hears.
func watchRedis(t *testing.T, r *session.Redis) *storetest.Watched {
	t.Helper()
	w, over := storetest.NewWatched(), make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer close(over)
		r.Watch(ctx, w)
	}()
	t.Cleanup(func() {
		cancel()
		storetest.Within(t, time.Second, "the end of Watch", over)
	})
	storetest.Within(t, 3*time.Second, "Connected", w.Connects)
	storetest.Within(t, time.Second, "Alive", w.Lives)
	return w
}

// recovers waits until a session is read again, at most 2 s.
func recovers(t *testing.T, r *session.Redis, key string) {
	t.Helper()
	within(t, 2*time.Second, "recovery", func() error {
		_, found, err := r.Load(t.Context(), key)
		if err == nil && !found {
			err = errors.New("the session is gone")
		}
		return err
	})
	within(t, 2*time.Second, "readiness", r.Answering)
}

// within asks until it is told nil.
func within(t *testing.T, d time.Duration, what string, ask func() error) {
	t.Helper()
	end := time.Now().Add(d)
	for {
		err := ask()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: not within %v: %v", what, d, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// everything is every operation there is, by name.
func everything(r *session.Redis) map[string]func(context.Context) error {
	s := session.Saved{Value: []byte("v"), Version: 2, Seen: time.Now()}
	return map[string]func(context.Context) error{
		"Get":    func(ctx context.Context) error { _, _, err := r.Get(ctx, "k"); return err },
		"Put":    func(ctx context.Context) error { return r.Put(ctx, "k", nil, time.Hour) },
		"Take":   func(ctx context.Context) error { _, _, err := r.Take(ctx, "k"); return err },
		"Delete": func(ctx context.Context) error { return r.Delete(ctx, "k") },
		"Load":   func(ctx context.Context) error { _, _, err := r.Load(ctx, "k"); return err },
		"Begin":  func(ctx context.Context) error { return r.Begin(ctx, "new", s, time.Hour, []string{"n"}, time.Now()) },
		"Save":   func(ctx context.Context) error { _, _, err := r.Save(ctx, "k", s, time.Hour, ""); return err },
		"Touch":  func(ctx context.Context) error { _, err := r.Touch(ctx, "k", s.Seen, time.Hour); return err },
		"End":    func(ctx context.Context) error { _, err := r.End(ctx, "gone", session.Ended{Why: "x"}); return err },
		"Claim": func(ctx context.Context) error {
			_, err := r.Claim(ctx, "k", session.Claim{Owner: "o", Version: 1, Hold: time.Second})
			return err
		},
		"Extend":   func(ctx context.Context) error { _, err := r.Extend(ctx, "k", "o", time.Second); return err },
		"Release":  func(ctx context.Context) error { return r.Release(ctx, "k", "o", false) },
		"List":     func(ctx context.Context) error { _, err := r.List(ctx, "person"); return err },
		"Once":     func(ctx context.Context) error { _, err := r.Once(ctx, "m", time.Second); return err },
		"Writable": r.Writable,
	}
}

// allFail runs every operation at once; each fails, within a time.
func allFail(t *testing.T, r *session.Redis, d time.Duration) {
	t.Helper()
	var wg sync.WaitGroup
	for name, f := range everything(r) {
		wg.Go(func() {
			start := time.Now()
			if err := f(t.Context()); err == nil {
				t.Errorf("%s = nil, want an error", name)
			}
			if took := time.Since(start); took > d {
				t.Errorf("%s took %v, want under %v", name, took, d)
			}
		})
	}
	wg.Wait()
}

// TestRedisAgain: what is sent again because its answer was lost does no harm.
func TestRedisAgain(t *testing.T) {
	s := redistest.Start(t, redistest.Options{})
	r := openRedis(t, session.RedisConfig{URL: session.Secret(s.URL())})
	ctx, seen := t.Context(), time.Now()
	first := session.Saved{Value: []byte("sealed once"), Version: 1, Seen: seen}
	for i := range 2 {
		if err := r.Begin(ctx, "k", first, time.Hour, []string{"person"}, seen.Add(time.Hour)); err != nil {
			t.Fatalf("Begin #%d = %v, want nil", i+1, err)
		}
	}
	next := session.Saved{Value: []byte("sealed anew"), Version: 2, Seen: seen}
	for i := range 2 {
		if saved, found, err := r.Save(ctx, "k", next, time.Hour, ""); !saved || !found || err != nil {
			t.Fatalf("Save #%d = %v, %v, %v, want saved", i+1, saved, found, err)
		}
		want := []session.ClaimOutcome{session.ClaimYours, session.ClaimHeld}[i]
		if a, err := r.Claim(ctx, "k", session.Claim{Owner: fmt.Sprint(i), Version: 2, Hold: time.Minute}); err != nil || a.Outcome != want {
			t.Fatalf("Claim after Save #%d = %+v, %v, want %d: a Save again takes no claim away", i+1, a, err, want)
		}
	}
	if l, err := r.List(ctx, "person"); err != nil || len(l) != 1 {
		t.Errorf("List = %d sessions, %v, want 1", len(l), err)
	}
}

// TestRedisKeepsNothing: when everything is over, nothing is left behind.
func TestRedisKeepsNothing(t *testing.T) {
	s := redistest.Start(t, redistest.Options{})
	r := openRedis(t, session.RedisConfig{URL: session.Secret(s.URL())})
	admin := adminOf(s)
	defer admin.Close()
	begin(t, r, "k")
	if _, err := r.Once(t.Context(), "m", time.Hour); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(r.Put(t.Context(), "x", nil, time.Hour), r.Writable(t.Context())); err != nil {
		t.Fatal(err)
	}
	if n := admin.DBSize(t.Context()).Val(); n != 5 {
		t.Errorf("%d keys, want 5: session, name, mark, record, probe", n)
	}
	if _, err := r.End(t.Context(), "k", session.Ended{Why: session.EndRevoked}); err != nil {
		t.Fatal(err)
	}
	if l, err := r.List(t.Context(), "person"); len(l) != 0 || err != nil {
		t.Errorf("List = %d sessions, %v, want none", len(l), err)
	}
	if n := admin.DBSize(t.Context()).Val(); n != 3 {
		t.Errorf("%d keys, want 3: a list is rid of a session that is over", n)
	}
	begin(t, r, "k")
	ageRedis(t, []*redis.Client{admin}, "anteroom", 61*time.Minute)
	if n := admin.DBSize(t.Context()).Val(); n != 0 {
		t.Errorf("%v are left, want nothing", admin.Keys(t.Context(), "*").Val())
	}
}

// TestRedisListsBehindThoseThatAreOver: however many there are, of whom no list
// was asked for since.
func TestRedisListsBehindThoseThatAreOver(t *testing.T) {
	s := redistest.Start(t, redistest.Options{})
	admin := adminOf(s)
	t.Cleanup(func() { admin.Close() })
	r, ends := openRedis(t, session.RedisConfig{URL: session.Secret(s.URL())}), time.Now().Add(time.Hour)
	for round := range 2 {
		over := make([]redis.Z, 12_000)
		for i := range over {
			over[i] = redis.Z{Score: float64(ends.Add(-time.Minute).UnixMilli()), Member: fmt.Sprint("over", i)}
		}
		if err := admin.ZAdd(t.Context(), "anteroom:n:all", over...).Err(); err != nil {
			t.Fatal(err)
		}
		key := fmt.Sprint("lives", round)
		if err := r.Begin(t.Context(), key, session.Saved{Value: []byte("sealed"), Version: 1, Seen: time.Now()}, time.Hour, []string{"all"}, ends); err != nil {
			t.Fatal(err)
		}
		if got, err := r.List(t.Context(), "all"); err != nil || len(got) != round+1 {
			t.Errorf("List = %d sessions, %v, want %d", len(got), err, round+1)
		}
	}
}
