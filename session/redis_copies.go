package session

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// A Redis answers before its replicas have heard. A claim that only a master
// had is gone where it fails over, and the refresh token that somebody presents
// under it would be presented again: so that claim waits for a replica.

const (
	// redisCopy is how long a replica may take to confirm a claim. Redis looks
	// at the clock ten times a second only, and an answer of its own may take
	// no longer than redisReply, or the server counts as silent.
	redisCopy = 100 * time.Millisecond
	// redisMissed is how long nobody waits again for replicas that did not answer.
	redisMissed = time.Second
	// redisLeft is how long a server is not believed that has lost replicas: they
	// may have been promoted over it.
	redisLeft = 10 * time.Second
	// redisBlind is how long a server that does not tell is not asked again.
	redisBlind = 10 * time.Minute
)

// errRedisNotCopied: a failover now would forget the claim.
var errRedisNotCopied = errors.New("no replica of it confirms the claim")

// redisCopies is what is known of one server's replicas: when it last had one,
// when it was found to have fewer, when none answered, and when it did not tell.
type redisCopies struct {
	seen, fewer, missed, unsaid moment

	last atomic.Int64 // how many there were
}

// left reports whether a replica is missing that was there when the server was
// last asked, however long ago, or was found missing lately. It may have been
// promoted while the others go on confirming to a master of old what they are
// about to forget.
func (k *redisCopies) left(now time.Time, said redisReplication) bool {
	if k.last.Swap(said.replicas) > said.replicas {
		k.fewer.note(now)
	}
	return k.fewer.within(now, redisLeft)
}

// moment is when something was last so; zero: never. Safe for concurrent use.
type moment struct{ ns atomic.Int64 }

func (m *moment) note(now time.Time) { m.ns.Store(now.UnixNano()) }

func (m *moment) within(now time.Time, d time.Duration) bool {
	ns := m.ns.Load()
	return ns != 0 && now.UnixNano()-ns < int64(d)
}

// copied is nil once a replica has a claim, or where the key's server has none.
func (r *Redis) copied(ctx context.Context, key string, c Claim) error {
	server, err := r.serverOf(ctx, r.sessionKey(key))
	if err != nil {
		return err
	}
	known, now := r.copiesOf(server), r.o.Now()
	switch {
	case known.unsaid.within(now, redisBlind):
		return nil
	case known.missed.within(now, redisMissed):
		return errRedisNotCopied
	}
	info := redis.NewStringCmd(ctx, "info", "replication")
	if err := r.withClaim(ctx, server, key, c, info); err != nil {
		return err
	}
	if redisWordless(info.Err()) {
		r.unsaid(known, now, info.Err())
		return nil
	}
	if info.Err() != nil {
		return info.Err()
	}
	said := redisReplicationOf(info.Val())
	switch left := known.left(now, said); {
	case left, said.inStep == 0 && known.seen.within(now, redisLeft):
		return errRedisNotCopied
	case said.inStep == 0:
		return nil
	}
	known.seen.note(now)
	have := redis.NewIntCmd(ctx, "wait", said.inStep, redisMS(redisCopy))
	info = redis.NewStringCmd(ctx, "info", "replication")
	if err := r.withClaim(ctx, server, key, c, have, info); err != nil {
		return err
	}
	switch {
	case redisWordless(have.Err()):
		r.unsaid(known, now, have.Err())
		return nil
	case have.Err() != nil:
		return have.Err()
	case info.Err() != nil:
		return info.Err()
	case have.Val() == 0:
		known.missed.note(now)
		return errRedisNotCopied
	case known.left(now, redisReplicationOf(info.Val())):
		return errRedisNotCopied
	}
	return nil
}

// withClaim sends commands right behind another writing of the claim, on one
// connection: WAIT is for what its own wrote, and the server that answers has to
// be one that has the claim. The error is the claim's, not the commands'.
func (r *Redis) withClaim(ctx context.Context, server *redis.Client, key string, c Claim, cmds ...redis.Cmder) error {
	pipe := server.Pipeline()
	held := redis.NewCmd(ctx, "eval", extendScript.src, "1", r.sessionKey(key), c.Owner, redisMS(c.Hold))
	_ = pipe.Process(ctx, held)
	for _, cmd := range cmds {
		_ = pipe.Process(ctx, cmd)
	}
	_, err := pipe.Exec(ctx)
	n, answered := held.Val().(int64)
	switch {
	case held.Err() != nil:
		return held.Err()
	case !answered:
		return err
	case n != 1:
		return errors.New("the claim is gone again")
	}
	return nil
}

// unclaim gives a claim up that was to be durable and is not. What presents
// nothing must leave no doubt behind: it asks a server that is left alone, too,
// and once more later. Neither touches a claim that was made again meanwhile.
func (r *Redis) unclaim(ctx context.Context, key, owner, mark string) {
	ctx = context.WithValue(context.WithoutCancel(ctx), redisUrgent{}, true)
	once := func() error {
		_, err := redisAsk(ctx, r, "release", func(ctx context.Context) (int64, error) {
			return r.number(ctx, releaseScript, r.sessionKey(key), owner, redisFlag(false), mark)
		})
		return err
	}
	if once() != nil {
		time.AfterFunc(2*redisRest, func() {
			if err := once(); err != nil {
				r.o.Log.Debug("a claim is not given up in the store; it runs out by itself", "error", err)
			}
		})
	}
}

// redisReplication is what a master says of its replicas.
type redisReplication struct {
	replicas int64 // connected
	inStep   int64 // of them have caught up: one that still loads what it was sent is online, too, but confirmed nothing
}

var (
	redisReplica = regexp.MustCompile(`(?m)^slave\d+:`)
	redisInStep  = regexp.MustCompile(`(?m)^slave\d+:.*\bstate=online,offset=[1-9]`)
)

// redisReplicationOf reads the section "replication" of INFO.
func redisReplicationOf(info string) redisReplication {
	count := func(of *regexp.Regexp) int64 { return int64(len(of.FindAllStringIndex(info, -1))) }
	return redisReplication{count(redisReplica), count(redisInStep)}
}

// redisWordless reports whether a server answers that it does not do this for
// us, and not that it cannot now.
func redisWordless(err error) bool {
	var reply redis.Error
	if !errors.As(err, &reply) {
		return false
	}
	for _, now := range []string{"LOADING", "READONLY", "MASTERDOWN", "UNBLOCKED", "MOVED", "ASK", "NOAUTH"} {
		if redis.HasErrorPrefix(err, now) {
			return false
		}
	}
	return true
}

func (r *Redis) unsaid(known *redisCopies, now time.Time, err error) {
	known.unsaid.note(now)
	r.saidBlind.Do(func() {
		r.o.Log.Warn("redis does not let us wait for its replicas: a failover may have a refresh token presented twice; its ACL has to grant info and wait",
			"error", err)
	})
}

// copiesOf is what is known of a server, by its address; of one behind
// Sentinels, of whichever is the master.
func (r *Redis) copiesOf(server *redis.Client) *redisCopies {
	known, _ := r.copies.LoadOrStore(server.Options().Addr, &redisCopies{})
	return known.(*redisCopies)
}

// serverOf is a client of the one server that has a key.
func (r *Redis) serverOf(ctx context.Context, key string) (*redis.Client, error) {
	switch c := r.client.(type) {
	case *redis.Client:
		return c, nil
	case *redis.ClusterClient:
		return c.MasterForKey(ctx, key)
	}
	return nil, fmt.Errorf("a client of type %T", r.client)
}
