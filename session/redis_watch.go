package session

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	redisBeat     = 500 * time.Millisecond // between two beats, and how long one may take
	redisPauseMin = 100 * time.Millisecond // before a subscription is tried again,
	redisPauseMax = time.Second            // at most
)

var errRedisUnheard = errors.New("Redis did not pass on a message to itself in time")

// A subscription that has gone deaf looks like one on which nothing happens: to
// a frozen server, to a former master behind a parted network, to a Cluster
// whose nodes do not hear each other. So a Watch talks to itself: it publishes
// the way changes are published, on every master, and what it does not hear
// back it holds to be unheard. A server passes messages on in order, so
// whatever was changed before a beat was sent has been heard when it is heard.
//
// Nothing here relies on the client to connect again, for it would not tell.

// Watch implements Shared.
func (r *Redis) Watch(ctx context.Context, w Watcher) {
	pause, warned := redisPauseMin, false
	for ctx.Err() == nil {
		connected, err := r.watch(ctx, w, warned)
		if ctx.Err() != nil {
			return
		}
		err = fmt.Errorf("redis: %w%s", err, redisRemedy(err))
		switch {
		case connected:
			pause, warned = redisPauseMin, true
			r.era.Add(1) // what other connections there are may be dead too
			w.Disconnected(err)
		case !warned:
			warned = true
			r.o.Log.Warn("changes are not heard from redis yet", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause/2 + mathrand.N(pause/2)): // #nosec G404 -- spreads waits
		}
		pause = min(2*pause, redisPauseMax)
	}
}

// watch is one connection's time, until it fails or ctx is done. again: it was
// said that nothing is heard.
func (r *Redis) watch(ctx context.Context, w Watcher, again bool) (connected bool, err error) {
	s, err := r.subscribe(ctx)
	if err != nil {
		return false, err
	}
	defer s.close()
	tick := time.NewTicker(redisBeat)
	defer tick.Stop()
	beat := r.sendBeat(ctx, s, 1)
	for {
		select {
		case <-ctx.Done():
			return connected, nil
		case <-tick.C:
			if !beat.done {
				return connected, errRedisUnheard
			}
			beat = r.sendBeat(ctx, s, beat.number+1)
		case sent := <-beat.sent:
			if sent.err != nil {
				return connected, sent.err
			}
			beat.want = sent.times
		case got := <-s.got:
			if got.err != nil {
				return connected, got.err
			}
			r.take(got.message, s, beat, w)
		}
		if beat.done || beat.want == 0 || beat.heard < beat.want {
			continue
		}
		if beat.done = true; !connected {
			connected = true
			r.metrics.subscribed.Inc()
			defer r.metrics.subscribed.Dec()
			if again {
				r.o.Log.Info("changes are heard from redis again")
			}
			w.Connected()
		}
		w.Alive(beat.at)
		if r.Answering() != nil {
			go func() { _ = r.Writable(ctx) }() // which takes the last word back, if it can
		}
	}
}

// take passes a change on, or counts a beat.
func (r *Redis) take(m *redis.Message, s *redisSubscription, beat *redisBeating, w Watcher) {
	if m.Channel == s.beats {
		if m.Payload == strconv.Itoa(beat.number) {
			beat.heard++
		}
		return
	}
	n, err := parseNote(m.Payload)
	if err != nil {
		r.metrics.unreadable.Inc()
		r.o.Log.Debug("a message on redis' channel of changes was not understood", "error", err)
		return
	}
	w.Heard(n)
}

// redisSubscription is one connection on which changes are heard.
type redisSubscription struct {
	ps    *redis.PubSub
	beats string // its own channel
	got   chan redisGot
	over  chan struct{}
}

// redisGot is a message, or an error and the end.
type redisGot struct {
	message *redis.Message
	err     error
}

// subscribe returns once Redis has confirmed.
func (r *Redis) subscribe(ctx context.Context) (*redisSubscription, error) {
	s := &redisSubscription{
		ps:    r.client.Subscribe(ctx),
		beats: r.prefix + ":beat:" + rand.Text(),
		got:   make(chan redisGot),
		over:  make(chan struct{}),
	}
	limit, cancel := context.WithTimeout(ctx, redisLimit)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = s.ps.Close() })
	defer stop()
	if err := s.ps.Subscribe(limit, s.beats, r.changes()); err != nil {
		_ = s.ps.Close()
		return nil, err
	}
	for range 2 {
		if err := s.confirmed(limit); err != nil {
			_ = s.ps.Close()
			return nil, err
		}
	}
	go func() {
		err := Contain(r.o.Log, "hearing of changes", func() error {
			s.read(context.WithValue(ctx, redisKept{}, true))
			return nil
		})
		if err != nil {
			s.give(redisGot{nil, err})
		}
	}()
	return s, nil
}

// confirmed waits for the confirmation of one channel.
func (s *redisSubscription) confirmed(ctx context.Context) error {
	v, err := s.ps.ReceiveTimeout(context.WithValue(ctx, redisKept{}, true), redisLimit)
	if err != nil {
		return err
	}
	if _, ok := v.(*redis.Subscription); !ok {
		return fmt.Errorf("redis sent %T instead of confirming a subscription", v)
	}
	return nil
}

// read passes messages on until the connection fails or close is called. It
// reads without a limit of time, for one that passed in the middle of a message
// would leave its other half to be read as the next.
func (s *redisSubscription) read(ctx context.Context) {
	for {
		v, err := s.ps.ReceiveTimeout(ctx, 0)
		m, _ := v.(*redis.Message)
		if err == nil && m == nil {
			continue
		}
		if !s.give(redisGot{m, err}) || err != nil {
			return
		}
	}
}

// give hands on what was read; false once nobody wants it any more.
func (s *redisSubscription) give(g redisGot) bool {
	select {
	case s.got <- g:
		return true
	case <-s.over:
		return false
	}
}

func (s *redisSubscription) close() {
	close(s.over)
	_ = s.ps.Close()
}

// redisBeating is one beat under way.
type redisBeating struct {
	number int
	at     time.Time
	sent   chan redisSent
	want   int // to be heard so often; 0: not known yet
	heard  int
	done   bool
}

type redisSent struct {
	times int
	err   error
}

// sendBeat publishes a beat, by every master there is. It asks even a server
// that is left alone, and thereby finds out that it answers again.
func (r *Redis) sendBeat(ctx context.Context, s *redisSubscription, number int) *redisBeating {
	b := &redisBeating{number: number, at: r.o.Now(), sent: make(chan redisSent, 1)}
	go func() {
		ctx, cancel := context.WithTimeout(context.WithValue(ctx, redisUrgent{}, true), redisBeat)
		defer cancel()
		var sent redisSent
		sent.err = Contain(r.o.Log, "publishing in redis", func() (err error) {
			sent.times, err = r.publish(ctx, s.beats, strconv.Itoa(number))
			r.heard(err)
			return err
		})
		b.sent <- sent
	}()
	return b
}

func (r *Redis) publish(ctx context.Context, channel, text string) (times int, err error) {
	cluster, ok := r.client.(*redis.ClusterClient)
	if !ok {
		return 1, r.client.Publish(ctx, channel, text).Err()
	}
	var n atomic.Int64
	err = cluster.ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error {
		n.Add(1)
		return c.Publish(ctx, channel, text).Err()
	})
	return int(n.Load()), err
}
