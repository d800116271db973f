package session

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// What a Redis keeps:
//
//	<prefix>:s:<key>   a session: v version, d sealed value, i info, t last use;
//	                   lo, lx who renews it and until when, lm that claim's
//	                   mark; sp the version whose refresh token was presented
//	<prefix>:n:<name>  the sessions begun under a name, by when they end
//	<prefix>:r:<key>   a record of Store, or an entry of a Ledger
//	<prefix>:o:<key>   a mark of Once
//	<prefix>:probe     what Writable writes
//	<prefix>:changes   the channel on which every change is told
//	<prefix>:beat:<id> the channel on which one Watch hears itself
//
// Times are Unix milliseconds.

const (
	redisListed = 10_000 // sessions in a list, at most
	redisBatch  = 500    // of them read in one round trip
)

// Load implements Shared.
func (r *Redis) Load(ctx context.Context, key string) (Saved, bool, error) {
	v, err := redisAsk(ctx, r, "load", func(ctx context.Context) ([]any, error) {
		return r.client.HMGet(ctx, r.sessionKey(key), "v", "d", "t").Result()
	})
	if err != nil || len(v) != 3 || v[0] == nil {
		return Saved{}, false, err
	}
	version, _ := v[0].(string)
	value, ok := v[1].(string)
	seen, timed := redisTime(v[2])
	n, err := strconv.ParseUint(version, 10, 64)
	if err != nil || !ok || !timed {
		return Saved{}, false, errors.New("redis: load: the key holds no session of ours")
	}
	return Saved{Value: []byte(value), Version: n, Seen: seen}, true, nil
}

// redisTime reads a time as Redis keeps it.
func redisTime(v any) (time.Time, bool) {
	s, _ := v.(string)
	ms, err := strconv.ParseInt(s, 10, 64)
	return time.UnixMilli(ms), err == nil
}

// Begin implements Shared. The session comes first and its names after, so that
// a name without a session always means one that is over. One that could not be
// listed is taken back as well as can be.
func (r *Redis) Begin(ctx context.Context, key string, s Saved, ttl time.Duration, names []string, ends time.Time) error {
	version, err := redisVersion(s.Version)
	if err != nil {
		return fmt.Errorf("redis: begin: %w", err)
	}
	first, err := redisAsk(ctx, r, "begin", func(ctx context.Context) (bool, error) {
		n, err := r.number(ctx, beginScript, r.sessionKey(key), version, s.Value, s.Info, s.Seen.UnixMilli(), redisMS(ttl))
		for _, name := range names {
			if err != nil || n != 1 {
				break
			}
			_, err = r.run(ctx, nameScript, r.nameKey(name), ends.UnixMilli(), key)
		}
		return n == 1, err
	})
	switch {
	case err != nil:
		// Not before what was sent is over, one way or the other.
		time.AfterFunc(redisLimit, func() { r.unbegin(key, s.Value) })
		return err
	case !first:
		return ErrExists
	}
	return nil
}

// unbegin takes back what a Begin that failed may have written.
func (r *Redis) unbegin(key string, value []byte) {
	ctx, cancel := context.WithTimeout(context.Background(), redisLimit)
	defer cancel()
	_, err := redisAsk(ctx, r, "begin", func(ctx context.Context) (int64, error) {
		return r.number(ctx, unbeginScript, r.sessionKey(key), value)
	})
	if err != nil {
		r.o.Log.Debug("a session that could not be begun may be left behind, known to nobody", "error", err)
	}
}

// Save implements Shared.
func (r *Redis) Save(ctx context.Context, key string, s Saved, ttl time.Duration, owner string) (saved, found bool, err error) {
	version, err := redisVersion(s.Version)
	if err != nil {
		return false, false, fmt.Errorf("redis: save: %w", err)
	}
	note := Note{Key: key, Version: s.Version}.text()
	n, err := redisAsk(ctx, r, "save", func(ctx context.Context) (int64, error) {
		return r.number(ctx, saveScript, r.sessionKey(key), version, s.Value, s.Seen.UnixMilli(), redisMS(ttl), r.changes(), note, owner)
	})
	return n == 2, n != 0, err
}

// Touch implements Shared.
func (r *Redis) Touch(ctx context.Context, key string, seen time.Time, ttl time.Duration) (bool, error) {
	n, err := redisAsk(ctx, r, "touch", func(ctx context.Context) (int64, error) {
		return r.number(ctx, touchScript, r.sessionKey(key), seen.UnixMilli(), redisMS(ttl))
	})
	return n == 1, err
}

// End implements Shared. If the answer is lost, nobody learns that it was the
// one who ended it; all hear of the end.
func (r *Redis) End(ctx context.Context, key string, e Ended) (bool, error) {
	limit := ""
	if !e.UnusedFor.IsZero() {
		limit = strconv.FormatInt(e.UnusedFor.UnixMilli(), 10)
	}
	note := Note{Key: key, Why: e.Why, Orphaned: e.Orphaned}.text()
	n, err := redisAsk(ctx, r, "end", func(ctx context.Context) (int64, error) {
		return r.number(ctx, endScript, r.sessionKey(key), limit, r.changes(), note)
	})
	return n == 1, err
}

// redisClaims are the claim script's answers.
var redisClaims = []ClaimOutcome{ClaimGone, ClaimYours, ClaimChanged, ClaimHeld, ClaimDoubt}

// Claim implements Shared.
func (r *Redis) Claim(ctx context.Context, key string, c Claim) (ClaimAnswer, error) {
	version, err := redisVersion(c.Version)
	if err != nil {
		return ClaimAnswer{}, fmt.Errorf("redis: claim: %w", err)
	}
	mark := rand.Text()
	answer, err := redisAsk(ctx, r, "claim", func(ctx context.Context) (ClaimAnswer, error) {
		n, wait, err := r.pair(ctx, claimScript, r.sessionKey(key), version, c.Owner, redisMS(c.Hold), redisFlag(c.Spend), redisFlag(c.Force), mark)
		if err == nil && (n < 0 || n >= int64(len(redisClaims))) {
			err = fmt.Errorf("the script answered %d", n)
		}
		if err != nil {
			return ClaimAnswer{}, err
		}
		return ClaimAnswer{Outcome: redisClaims[n], Wait: time.Duration(wait) * time.Millisecond}, nil
	})
	if err != nil || answer.Outcome != ClaimYours || !c.Durable {
		return answer, err
	}
	_, err = redisAsk(ctx, r, "claim", func(ctx context.Context) (struct{}, error) {
		return struct{}{}, r.copied(ctx, key, c)
	})
	if err != nil {
		r.unclaim(ctx, key, c.Owner, mark)
		return ClaimAnswer{}, err
	}
	return answer, nil
}

// Extend implements Shared.
func (r *Redis) Extend(ctx context.Context, key, owner string, hold time.Duration) (bool, error) {
	n, err := redisAsk(ctx, r, "extend", func(ctx context.Context) (int64, error) {
		return r.number(ctx, extendScript, r.sessionKey(key), owner, redisMS(hold))
	})
	return n == 1, err
}

// Release implements Shared.
func (r *Redis) Release(ctx context.Context, key, owner string, spent bool) error {
	_, err := redisAsk(ctx, r, "release", func(ctx context.Context) (int64, error) {
		return r.number(ctx, releaseScript, r.sessionKey(key), owner, redisFlag(spent), "")
	})
	return err
}

// List implements Shared. It reads what the name holds, then the sessions; of
// those that are over the name is rid, so that they keep none that are not from
// the list.
func (r *Redis) List(ctx context.Context, name string) ([]Listed, error) {
	var all []Listed
	for {
		p, err := redisAsk(ctx, r, "list", func(ctx context.Context) (redisPage, error) { return r.listFrom(ctx, name, len(all)) })
		if err != nil {
			return nil, err
		}
		if all = append(all, p.found...); !p.more {
			return all, nil
		}
	}
}

// redisPage is a part of a list, and whether there is another behind it.
type redisPage struct {
	found []Listed
	more  bool
}

// listFrom reads on behind so many of a name that live.
func (r *Redis) listFrom(ctx context.Context, name string, from int) (p redisPage, err error) {
	v, err := r.run(ctx, namedScript, r.nameKey(name), from, redisListed-from)
	if err != nil {
		return p, err
	}
	keys, _ := v.([]any)
	var over []any
	for batch := range slices.Chunk(keys, redisBatch) {
		if p.found, over, err = r.readListed(ctx, batch, p.found, over); err != nil {
			return p, err
		}
	}
	if len(over) > 0 && r.client.ZRem(ctx, r.nameKey(name), over...).Err() == nil { // else they are left out next time too
		p.more = len(keys) == redisListed-from
	}
	return p, nil
}

// readListed reads one batch of sessions, in one round trip for each server.
func (r *Redis) readListed(ctx context.Context, keys []any, out []Listed, over []any) ([]Listed, []any, error) {
	pipe := r.client.Pipeline()
	cmds := make([]*redis.SliceCmd, len(keys))
	for i, k := range keys {
		key, _ := k.(string)
		cmds[i] = pipe.HMGet(ctx, r.sessionKey(key), "i", "t")
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, nil, err
	}
	for i, c := range cmds {
		key, _ := keys[i].(string)
		v := c.Val()
		if len(v) != 2 || v[1] == nil {
			over = append(over, key)
			continue
		}
		about, _ := v[0].(string)
		seen, _ := redisTime(v[1])
		out = append(out, Listed{Key: key, Info: []byte(about), Seen: seen})
	}
	return out, over, nil
}
