package session

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"time"
)

// RedisHealth is what a Redis says of itself. Version is empty where our user may
// not ask.
type RedisHealth struct {
	Version string
	Role    string        // "master" or "slave"
	Append  bool          // it keeps an append-only file
	Policy  string        // maxmemory-policy
	Limited bool          // it has a maxmemory
	Copied  bool          // a replica of it is in step
	Waits   bool          // it lets us wait for its replicas
	Latency time.Duration // of the quickest of a few answers
}

// Examine asks Redis about itself, and whether it lets us write, read and
// delete. It is for whoever sets it up.
func (r *Redis) Examine(ctx context.Context) (h RedisHealth, err error) {
	key := r.prefix + ":doctor:" + rand.Text()
	if err := r.client.Set(ctx, key, "x", 10*time.Second).Err(); err != nil {
		return h, fmt.Errorf("writing to redis: %w", err)
	}
	for range 5 { // the quickest says how far it is
		start := time.Now()
		if err := r.client.Get(ctx, key).Err(); err != nil {
			return h, fmt.Errorf("reading from redis: %w", err)
		}
		if took := time.Since(start); h.Latency == 0 || took < h.Latency {
			h.Latency = took
		}
	}
	if err := r.client.Del(ctx, key).Err(); err != nil {
		return h, fmt.Errorf("deleting from redis: %w", err)
	}
	info, err := r.client.Info(ctx).Result()
	if err != nil && strings.HasPrefix(err.Error(), "NOPERM") {
		return h, nil // it may do what Anteroom does, and no more
	}
	if err != nil {
		return h, fmt.Errorf("asking redis about itself: %w", err)
	}
	for line := range strings.Lines(info) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		switch name {
		case "redis_version":
			h.Version = value
		case "role":
			h.Role = value
		case "aof_enabled":
			h.Append = value == "1"
		case "maxmemory_policy":
			h.Policy = value
		case "maxmemory":
			h.Limited = value != "0"
		}
	}
	h.Copied = redisInStep.MatchString(info)
	h.Waits = !redisWordless(r.client.Do(ctx, "wait", "0", "1").Err())
	return h, nil
}
