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

	"anteroom/session"
	"anteroom/test/redistest"
)

// copied is a Redis whose claims are asked for, with the servers that keep them.
type copied struct {
	*testing.T
	r               *session.Redis
	master, replica *redistest.Server
	log             lines
	later           atomic.Int64 // nanoseconds that its clock was put forward

	mu    sync.Mutex
	trips func(command string) // before each round trip; guarded by mu
}

// openCopied has a clock that stands still.
func openCopied(t *testing.T, url string) *copied {
	now := time.Now()
	return openCopiedBy(t, url, func() time.Time { return now })
}

func openCopiedBy(t *testing.T, url string, clock func() time.Time) *copied {
	c := &copied{T: t}
	var err error
	c.r, err = session.OpenRedis(session.RedisConfig{URL: session.Secret(url)}, session.RedisOptions{
		Log: slog.New(slog.NewTextHandler(&c.log, nil)),
		Now: func() time.Time { return clock().Add(time.Duration(c.later.Load())) },
		Trace: func(_ context.Context, command string) func(string) {
			c.mu.Lock()
			do := c.trips
			c.mu.Unlock()
			if do != nil {
				do(command)
			}
			return func(string) {}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.r.Close() })
	return c
}

// before has do happen before the next round trip of that name, once.
func (c *copied) before(command string, do func()) {
	set := func(f func(string)) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.trips = f
	}
	set(func(name string) {
		if name == command {
			set(nil)
			do()
		}
	})
}

func (c *copied) claim(owner string, durable bool) (session.ClaimAnswer, error) {
	return c.r.Claim(c.Context(), "k", session.Claim{Owner: owner, Version: 1, Hold: time.Minute, Spend: true, Durable: durable})
}

// has claims, and gives the claim up again.
func (c *copied) has(owner, when string) {
	c.Helper()
	if got, err := c.claim(owner, true); err != nil || got.Outcome != session.ClaimYours {
		c.Errorf("Claim %s = %+v, %v, want it", when, got, err)
	}
	c.release(owner)
}

// hasSoon is has, with patience: a replica may take a moment to confirm anything.
func (c *copied) hasSoon(owner, when string) {
	c.Helper()
	within(c.T, 5*time.Second, "a claim "+when, func() error {
		_, err := c.claim(owner, true)
		c.later.Add(int64(time.Second))
		return err
	})
	c.release(owner)
}

func (c *copied) release(owner string) {
	c.Helper()
	if err := c.r.Release(c.Context(), "k", owner, false); err != nil {
		c.Fatal(err)
	}
}

// hasNot claims in vain, and nothing is left of it.
func (c *copied) hasNot(owner, when string) {
	c.Helper()
	if got, err := c.claim(owner, true); err == nil || !strings.Contains(err.Error(), "no replica") {
		c.Errorf("Claim %s = %+v, %v, want an error", when, got, err)
	}
	if got := c.master.CLI("hmget", "anteroom:s:k", "lo", "sp"); strings.TrimSpace(got) != "" {
		c.Errorf("of a claim %s this is left: %q", when, got)
	}
}

// waits counts the WAITs that a server was asked for.
func waits(s *redistest.Server) (n int) {
	if _, stat, asked := strings.Cut(s.CLI("info", "commandstats"), "cmdstat_wait:calls="); asked {
		fmt.Sscan(stat, &n)
	}
	return n
}

// TestDurableClaimIsCopied: a replica has it before its owner is told, and
// where none says so, nobody has it.
func TestDurableClaimIsCopied(t *testing.T) {
	for name, user := range map[string]string{"who may do everything": "default:" + redistest.AdminPassword, "with the documented rights": "anteroom:pw"} {
		t.Run(name, func(t *testing.T) {
			users := map[string]string{"anteroom": "on >pw " + redistest.ACL}
			master := redistest.Start(t, redistest.Options{Users: users})
			replica := master.Replicate()
			c := openCopied(t, "redis://"+user+"@"+master.Addr)
			c.master, c.replica = master, replica
			begin(t, c.r, "k")

			if got, err := c.claim("one", true); err != nil || got.Outcome != session.ClaimYours || replica.CLI("hget", "anteroom:s:k", "lo") != "one" {
				t.Fatalf("Claim = %+v, %v, and the replica has %q", got, err, replica.CLI("hgetall", "anteroom:s:k"))
			}
			c.release("one")

			replica.Freeze()
			c.hasNot("two", "that no replica confirms")
			waited := waits(master)
			c.hasNot("three", "in the second after")
			if n := waits(master) - waited; n != 0 {
				t.Errorf("in the second after, Redis was asked to wait %d times, want nobody to wait again", n)
			}
			if got, err := c.claim("four", false); err != nil || got.Outcome != session.ClaimYours {
				t.Errorf("Claim that may be forgotten = %+v, %v, want it", got, err)
			}
			c.release("four")
			replica.Thaw()
			c.later.Add(int64(time.Second))
			c.hasSoon("five", "once the replica is back")

			replica.Kill()
			within(t, 5*time.Second, "the replica is gone", func() error {
				if master.Replicas() > 0 {
					return errors.New("it is still there")
				}
				return nil
			})
			c.hasNot("six", "just after the replica went: it may be a master by now")
			c.later.Add(int64(10 * time.Second))
			c.has("seven", "where there is no replica")
		})
	}
}

// TestDurableClaimOfADeposedMaster: a replica that is promoted while its master
// lives leaves it, and the others confirm for a while what they will forget.
func TestDurableClaimOfADeposedMaster(t *testing.T) {
	for _, during := range []bool{false, true} {
		t.Run(fmt.Sprint("during a claim: ", during), func(t *testing.T) {
			master := redistest.Start(t, redistest.Options{})
			next, other := master.Replicate(), master.Replicate()
			c := openCopied(t, master.URL())
			c.master = master
			begin(t, c.r, "k")
			c.hasSoon("one", "with both")
			c.later.Add(int64(time.Hour)) // a process with few people claims now and then
			promote := func() {
				next.CLI("replicaof", "no", "one")
				within(t, 5*time.Second, "the next one left", func() error {
					if n := master.Replicas(); n != 1 {
						return fmt.Errorf("%d replicas", n)
					}
					return nil
				})
			}
			if during {
				c.before("pipeline", func() { c.before("pipeline", promote) })
			} else {
				promote()
			}
			c.hasNot("two", "that the other alone confirms")
			if got := other.CLI("info", "replication"); !strings.Contains(got, "master_link_status:up") {
				t.Fatalf("the other follows nobody: %s", got)
			}
			c.later.Add(int64(10 * time.Second))
			c.hasSoon("three", "once it is sure who is the master")
		})
	}
}

// TestDurableClaimInCluster asks the server that has the key, and its replica.
func TestDurableClaimInCluster(t *testing.T) {
	cluster := redistest.StartCluster(t, redistest.Options{})
	at := cluster.Owner(cluster.Slot("anteroom:s:k"))
	replica := cluster.Replicate(at)
	c := openCopied(t, cluster.URL())
	c.master, c.replica = cluster.Servers[at], replica
	begin(t, c.r, "k")
	within(t, 10*time.Second, "replication", func() error {
		if c.master.Replicas() == 0 {
			return errors.New("not yet")
		}
		return nil
	})
	c.has("one", "with a replica")
	replica.Freeze()
	c.hasNot("two", "that no replica confirms")
}

// TestDurableClaimIsGone: whoever answers has to be a server that has it.
func TestDurableClaimIsGone(t *testing.T) {
	s := redistest.Start(t, redistest.Options{})
	c := openCopied(t, s.URL())
	begin(t, c.r, "k")
	c.before("pipeline", func() { s.CLI("hdel", "anteroom:s:k", "lo", "lx", "sp") }) // as one has that was promoted
	if got, err := c.claim("one", true); err == nil {
		t.Errorf("Claim that the next server does not know = %+v, want an error", got)
	}
	c.has("two", "after that")
}

// TestFailedClaimLeavesNoDoubt: nothing was presented under it, so whoever comes
// next has it, though Redis was silent when it was to be given up.
func TestFailedClaimLeavesNoDoubt(t *testing.T) {
	for name, silent := range map[string]time.Duration{"for a moment": 750 * time.Millisecond, "for longer": 1300 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			s := redistest.Start(t, redistest.Options{})
			c := openCopied(t, s.URL())
			begin(t, c.r, "k")
			c.before("pipeline", func() {
				s.Freeze()
				time.AfterFunc(silent, s.Thaw)
			})
			if got, err := c.claim("one", true); err == nil {
				t.Errorf("Claim = %+v, want an error", got)
			}
			within(t, 5*time.Second, "nothing of it", func() error {
				if got := s.CLI("hmget", "anteroom:s:k", "lo", "sp"); strings.TrimSpace(got) != "" {
					return errors.New(got)
				}
				return nil
			})
			within(t, time.Second, "somebody else's claim", func() error {
				got, err := c.claim("two", true)
				if err == nil && got.Outcome != session.ClaimYours {
					t.Errorf("Claim = %+v, want it", got)
				}
				return err
			})
		})
	}
}

// TestClaimWithoutWait: a Redis that does not let us ask for its replicas is as
// good as one without. It says so once, and is no outage.
func TestClaimWithoutWait(t *testing.T) {
	without := func(what string) redistest.Options {
		return redistest.Options{Users: map[string]string{"anteroom": "on >pw " + strings.Replace(redistest.ACL, what, "", 1)}}
	}
	for name, o := range map[string]redistest.Options{
		"not granted INFO": without(" +info"),
		"not granted WAIT": without(" +wait"),
		"without INFO":     {Args: []string{"--rename-command", "INFO", ""}, Users: without("nothing").Users},
		"without WAIT":     {Args: []string{"--rename-command", "WAIT", ""}, Users: without("nothing").Users},
	} {
		t.Run(name, func(t *testing.T) {
			master := redistest.Start(t, o)
			c := openCopied(t, "redis://anteroom:pw@"+master.Addr)
			if !strings.Contains(name, "INFO") { // else nobody gets as far as that
				master.Replicate()
			}
			begin(t, c.r, "k")
			for range 3 {
				c.has("one", name)
				c.later.Add(int64(11 * time.Minute)) // asks anew
			}
			if err := c.r.Answering(); err != nil {
				t.Errorf("Answering = %v: what is not granted is no outage", err)
			}
			if n := strings.Count(c.log.b.String(), "info and wait"); n != 1 {
				t.Errorf("the log says %d times what is not granted, want once", n)
			}
		})
	}
}

// TestDurableClaimsOfAPlannedFailover: what is claimed while Sentinels replace a
// master that lives is known to the new one.
func TestDurableClaimsOfAPlannedFailover(t *testing.T) {
	const before, during, after = 10, 300, 10
	d := redistest.StartSentinel(t)
	c, old := openCopiedBy(t, d.URL(), time.Now), d.Servers[0]
	keys := make([]string, before+during+after)
	for i := range keys {
		keys[i] = fmt.Sprint("k", i)
		begin(t, c.r, keys[i])
	}
	var given []string
	claim := func(keys []string) {
		for _, k := range keys {
			got, err := c.r.Claim(t.Context(), k, session.Claim{Owner: "one", Version: 1, Hold: time.Minute, Spend: true, Durable: true})
			if err == nil && got.Outcome == session.ClaimYours {
				given = append(given, k)
			}
		}
	}
	claim(keys[:before])
	d.Failover()
	moved := false
	for i := before; i < before+during && !moved; i++ {
		claim(keys[i : i+1])
		moved = i%10 == 0 && d.Master() != old
		time.Sleep(15 * time.Millisecond)
	}
	if !moved {
		t.Fatalf("the master is the same after %d claims", during)
	}
	within(t, 20*time.Second, "claims from the new master", func() error {
		n := len(given)
		if claim(keys[before+during:]); n == len(given) {
			return errors.New("none is given")
		}
		return nil
	})
	for _, k := range given {
		if got := d.Master().CLI("hget", "anteroom:s:"+k, "lo"); got != "one" {
			t.Errorf("of %d claims, that of %s is forgotten: its owner is %q", len(given), k, got)
		}
	}
}
