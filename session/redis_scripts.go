package session

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Whatever takes more than one command is a script on one key, which Redis
// carries out whole or not at all, and in a Cluster on the key's own node. The
// change and the word of it are one step that way: who hears nothing missed
// nothing.
//
// A lost answer leaves open whether a script ran. The client of a Cluster then
// sends it again by itself (nothing else does), and so may a caller; each
// script says what comes of it.

// redisScript is one script.
type redisScript struct {
	src, hash string
	never     bool // is never sent again for a lost answer
}

func newRedisScript(src string) redisScript {
	return redisScript{src: src, hash: redis.NewScript(src).Hash()}
}

func (s redisScript) sentOnce() redisScript {
	s.never = true
	return s
}

// redisNow is a script's clock: the server's, in milliseconds. All replicas go by it.
const redisNow = `local t = redis.call('TIME') local now = t[1] * 1000 + math.floor(t[2] / 1000) `

var (
	// Again: the same version with the same value is who came first, for no
	// two sealings are alike.
	beginScript = newRedisScript(`
local c = redis.call('HMGET', KEYS[1], 'v', 'd')
if c[1] then return (c[1] == ARGV[1] and c[2] == ARGV[2]) and 1 or 0 end
redis.call('HSET', KEYS[1], 'v', ARGV[1], 'd', ARGV[2], 'i', ARGV[3], 't', ARGV[4])
redis.call('PEXPIRE', KEYS[1], ARGV[5])
return 1`)

	// Again: finds nothing.
	unbeginScript = newRedisScript(`
if redis.call('HGET', KEYS[1], 'd') == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0`)

	// Again: the same. A name is kept for as long as its last member.
	nameScript = newRedisScript(redisNow + `
redis.call('ZADD', KEYS[1], ARGV[1], ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
local last = redis.call('ZREVRANGE', KEYS[1], 0, 0, 'WITHSCORES')
if last[2] then redis.call('PEXPIREAT', KEYS[1], math.ceil(last[2])) end
return 1`)

	// Only reads.
	namedScript = newRedisScript(redisNow + `
return redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. string.format('%.0f', now), '+inf', 'LIMIT', ARGV[1], ARGV[2])`)

	// Again: sees its own value there and says so, touching nothing, for
	// somebody may hold the next claim already.
	saveScript = newRedisScript(`
local c = redis.call('HMGET', KEYS[1], 'v', 'd', 't', 'lo')
if not c[1] then return 0 end
local have, next = tonumber(c[1]), tonumber(ARGV[1])
if have == next and c[2] == ARGV[2] then return 2 end
if have >= next then return 1 end
if ARGV[7] ~= '' and c[4] ~= ARGV[7] then return 1 end
local seen = tonumber(ARGV[3]) > tonumber(c[3]) and ARGV[3] or c[3]
redis.call('HSET', KEYS[1], 'v', ARGV[1], 'd', ARGV[2], 't', seen)
redis.call('HDEL', KEYS[1], 'lo', 'lx', 'lm', 'sp')
redis.call('PEXPIRE', KEYS[1], ARGV[4])
redis.call('PUBLISH', ARGV[5], ARGV[6])
return 2`)

	// Again: the same.
	touchScript = newRedisScript(`
local t = redis.call('HGET', KEYS[1], 't')
if not t then return 0 end
if tonumber(ARGV[1]) > tonumber(t) then redis.call('HSET', KEYS[1], 't', ARGV[1]) end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1`)

	// Again: would find nothing left and report that it was not the one who
	// ended it, so it is not sent again: its caller gets the error, and ended =
	// false if it asks once more. All have heard of the end then. DEL comes
	// first, so that a replica refuses before a word is out.
	endScript = newRedisScript(`
if ARGV[1] ~= '' then
  local t = redis.call('HGET', KEYS[1], 't')
  if t and tonumber(t) > tonumber(ARGV[1]) then return 0 end
end
local n = redis.call('DEL', KEYS[1])
redis.call('PUBLISH', ARGV[2], ARGV[3])
return n`).sentOnce()

	// Again: the owner holds it already and gets it; the hold begins anew.
	claimScript = newRedisScript(redisNow + `
local c = redis.call('HMGET', KEYS[1], 'v', 'lo', 'lx', 'sp')
if not c[1] then return {0, 0} end
if c[1] ~= ARGV[1] then return {2, 0} end
local mine = c[2] == ARGV[2]
if c[2] and not mine and tonumber(c[3]) > now then return {3, tonumber(c[3]) - now} end
if ARGV[5] == '0' and c[4] == c[1] and not mine then return {4, 0} end
redis.call('HSET', KEYS[1], 'lo', ARGV[2], 'lx', string.format('%.0f', now + ARGV[3]), 'lm', ARGV[6])
if ARGV[4] == '1' then redis.call('HSET', KEYS[1], 'sp', c[1]) end
return {1, 0}`)

	// Again: the same, a little longer.
	extendScript = newRedisScript(redisNow + `
if redis.call('HGET', KEYS[1], 'lo') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'lx', string.format('%.0f', now + ARGV[2]))
return 1`)

	// Again: the claim is nobody's or another's, and stays so; with a mark, also
	// where the owner has claimed again.
	releaseScript = newRedisScript(`
local c = redis.call('HMGET', KEYS[1], 'lo', 'lm')
if c[1] ~= ARGV[1] or ARGV[3] ~= '' and c[2] ~= ARGV[3] then return 0 end
redis.call('HDEL', KEYS[1], 'lo', 'lx', 'lm')
if ARGV[2] == '0' then redis.call('HDEL', KEYS[1], 'sp') end
return 1`)

	// Again: finds its own mark.
	onceScript = newRedisScript(`
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return 1 end
return redis.call('GET', KEYS[1]) == ARGV[1] and 1 or 0`)

	// Again: finds its own, for no two sealings are alike.
	enterScript = newRedisScript(`
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return '' end
local there = redis.call('GET', KEYS[1])
return there == ARGV[1] and '' or there`)

	// Again: finds nothing, or another's.
	strikeScript = newRedisScript(`
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0`)
)

// run runs a script on one key. The text is sent only to a server that does
// not know it.
func (r *Redis) run(ctx context.Context, s redisScript, key string, args ...any) (any, error) {
	v, err := r.eval(ctx, s, "evalsha", s.hash, key, args)
	if redis.HasErrorPrefix(err, "NOSCRIPT") {
		v, err = r.eval(ctx, s, "eval", s.src, key, args)
	}
	return v, err
}

func (r *Redis) eval(ctx context.Context, s redisScript, verb, text, key string, args []any) (any, error) {
	cmd := redis.NewCmd(ctx, append([]any{verb, text, "1", key}, args...)...)
	err := r.send(ctx, cmd, s.never)
	return cmd.Val(), err
}

// send sends a command; never again, for a lost answer, if so told.
func (r *Redis) send(ctx context.Context, cmd *redis.Cmd, never bool) error {
	if never {
		return r.client.Process(ctx, redisNever{cmd})
	}
	return r.client.Process(ctx, cmd)
}

// redisNever is a command that a Cluster's client does not send again.
type redisNever struct{ *redis.Cmd }

// NoRetry is what the client asks.
func (redisNever) NoRetry() bool { return true }

// number runs a script whose answer is a number.
func (r *Redis) number(ctx context.Context, s redisScript, key string, args ...any) (int64, error) {
	v, err := r.run(ctx, s, key, args...)
	if err != nil {
		return 0, err
	}
	n, ok := v.(int64)
	if !ok {
		return 0, fmt.Errorf("a script answered %T", v)
	}
	return n, nil
}

// pair runs a script whose answer is two numbers.
func (r *Redis) pair(ctx context.Context, s redisScript, key string, args ...any) (a, b int64, err error) {
	v, err := r.run(ctx, s, key, args...)
	if err != nil {
		return 0, 0, err
	}
	if l, _ := v.([]any); len(l) == 2 {
		a, ok1 := l[0].(int64)
		b, ok2 := l[1].(int64)
		if ok1 && ok2 {
			return a, b, nil
		}
	}
	return 0, 0, fmt.Errorf("a script answered %T", v)
}

// redisVersion writes a version down. Scripts count in floating point, so
// above 2^53 one would look like the next.
func redisVersion(v uint64) (string, error) {
	if v > 1<<53 {
		return "", errors.New("the version is above 2^53")
	}
	return strconv.FormatUint(v, 10), nil
}

// redisMS is a duration in milliseconds, at least one: Redis takes no less.
func redisMS(d time.Duration) int64 { return max(d.Milliseconds(), 1) }

func redisFlag(b bool) string {
	if b {
		return "1"
	}
	return "0"
}

// text writes a note down: its format's number, what happened, of what, and
// last the key. Within one format, readers know every note.
func (n Note) text() string {
	if n.Why == "" {
		return "1 c " + strconv.FormatUint(n.Version, 10) + " " + n.Key
	}
	return "1 e " + redisFlag(n.Orphaned) + string(n.Why) + " " + n.Key
}

// parseNote reverses text. The error repeats nothing of it.
func parseNote(s string) (Note, error) {
	p := strings.SplitN(s, " ", 4)
	if len(p) != 4 || p[0] != "1" || p[3] == "" {
		return Note{}, errors.New("no note of format 1")
	}
	switch p[1] {
	case "c":
		v, err := strconv.ParseUint(p[2], 10, 64)
		if err != nil || v == 0 {
			return Note{}, errors.New("a change without a version")
		}
		return Note{Key: p[3], Version: v}, nil
	case "e":
		if len(p[2]) < 2 || p[2][0] != '0' && p[2][0] != '1' {
			return Note{}, errors.New("an end without a reason")
		}
		return Note{Key: p[3], Why: End(p[2][1:]), Orphaned: p[2][0] == '1'}, nil
	}
	return Note{}, errors.New("neither a change nor an end")
}
