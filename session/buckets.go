package session

import (
	"context"
	"time"
)

// Buckets are token buckets in a Redis, which all replicas draw from. Redis sees
// keyed hashes for their names.
type Buckets struct {
	redis *Redis
	codec *Codec
}

// NewBuckets makes buckets of a Redis, without asking it anything yet.
func NewBuckets(r *Redis, codec *Codec) *Buckets { return &Buckets{redis: r, codec: codec} }

// drawScript keeps, of a bucket, when it will be full again (the generic cell
// rate algorithm, ITU-T I.371 §5.4.1.1); one that is full is not kept. Sent
// again it would draw twice, so it is not.
var drawScript = newRedisScript(redisNow + `
local tokens, every, debt = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3] == '1'
local full = math.max(tonumber(redis.call('GET', KEYS[1]) or '0') or 0, now)
full = math.min(full, now + 4 * tokens * every) -- another master's clock may have been ahead
local wait = full - now - (tokens - 1) * every
if wait > 0 and not debt then return math.ceil(wait) end
full = full + every
redis.call('SET', KEYS[1], string.format('%.0f', full), 'PX', math.ceil(full - now))
if not debt then return 0 end
return math.max(0, math.ceil(wait + every))`).sentOnce()

// Draw takes a token out of a bucket of that many, which gets one more each time
// every (at least a millisecond) has passed. It returns how long it takes until
// there is one: 0 if it took it. In debt it takes one in any case, and says how
// long it takes until the next. An error means that Redis did not answer.
func (b *Buckets) Draw(ctx context.Context, name string, tokens int, every time.Duration, debt bool) (wait time.Duration, err error) {
	r := b.redis
	key := r.prefix + ":b:" + b.codec.held.Load().names("bucket " + name)[0]
	ms, err := redisAsk(ctx, r, "draw", func(ctx context.Context) (int64, error) {
		return r.number(ctx, drawScript, key, tokens, redisMS(every), redisFlag(debt))
	})
	return time.Duration(ms) * time.Millisecond, err
}
