package session

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	redisLimit = 900 * time.Millisecond // for one operation, whatever happens
	redisRest  = 300 * time.Millisecond // how long a server that did not answer is left alone
)

// errRedisResting: the server did not answer a moment ago, so nobody waits for it now.
var errRedisResting = errors.New("left alone for a moment, for it did not answer")

// errNotHere: a subscription is never renewed behind its owner's back.
var errNotHere = errors.New("the subscription lost its connection")

// Keys of a context's values.
type (
	redisUrgent struct{} // asks even a server that is left alone
	redisKept   struct{} // does not connect again
)

// redisLink stands before one server, inside the client, and keeps callers
// from waiting for it one after the other when it is gone: a circuit breaker.
// It is a redis.Hook.
type redisLink struct {
	all     *atomic.Uint64 // connections older than this are not used any more: of every server,
	own     atomic.Uint64  // and of this one
	metrics *redisMetrics
	silent  func(error)                                // told when the server did not answer
	trace   func(context.Context, string) func(string) // see RedisOptions

	mu      sync.Mutex
	rests   time.Time // guarded by mu: until when; zero: it answers
	cause   error     // guarded by mu: why
	probing bool      // guarded by mu: one is asking whether it answers again
}

// DialHook implements redis.Hook.
func (l *redisLink) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		if ctx.Value(redisKept{}) != nil {
			return nil, errNotHere
		}
		all, own := l.all.Load(), l.own.Load()
		c, err := next(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &redisConn{Conn: c, link: l, all: all, own: own}, nil
	}
}

// ProcessHook implements redis.Hook.
func (l *redisLink) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if redisHandshake(cmd) {
			return next(ctx, cmd)
		}
		return l.pass(ctx, cmd.Name(), func() error { return next(ctx, cmd) })
	}
}

// ProcessPipelineHook implements redis.Hook.
func (l *redisLink) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if len(cmds) == 0 || redisHandshake(cmds[0]) {
			return next(ctx, cmds)
		}
		return l.pass(ctx, "pipeline", func() error { return next(ctx, cmds) })
	}
}

// redisHandshake reports whether a command is a new connection's, within
// another that is counted already.
func redisHandshake(cmd redis.Cmder) bool {
	n := cmd.Name()
	return n == "hello" || n == "auth" || n == "select"
}

// pass makes one round trip, unless the server is to be left alone.
func (l *redisLink) pass(ctx context.Context, command string, trip func() error) error {
	if err := l.admit(ctx.Value(redisUrgent{}) != nil); err != nil {
		l.metrics.commands.WithLabelValues("refused").Inc()
		return err
	}
	end := l.traced(ctx, command)
	start := time.Now()
	over := false
	defer func() {
		if !over { // a panic: somebody else may have to ask
			l.settle(redisNothing, nil)
		}
	}()
	err := trip()
	over = true
	word := redisWordOf(err)
	l.settle(word, err)
	l.metrics.seconds.Observe(time.Since(start).Seconds())
	result := redisResult(word, err)
	l.metrics.commands.WithLabelValues(result).Inc()
	if end != nil {
		end(result)
	}
	return err
}

func (l *redisLink) traced(ctx context.Context, command string) (end func(string)) {
	if l.trace == nil {
		return nil
	}
	return l.trace(ctx, command)
}

// admit is nil for whoever may ask: everybody while the server answers, one at
// a time after it has been left alone. The cause is not wrapped, for the client
// would take it for another failure and try again.
func (l *redisLink) admit(urgent bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case urgent || l.rests.IsZero():
		return nil
	case l.probing || time.Now().Before(l.rests):
		return fmt.Errorf("%w: %v", errRedisResting, l.cause)
	}
	l.probing = true
	return nil
}

// settle draws the conclusion from one round trip.
func (l *redisLink) settle(word redisWord, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.probing = false
	switch word {
	case redisAnswered, redisRefused:
		l.rests = time.Time{}
	case redisSilent:
		l.rests, l.cause = time.Now().Add(redisRest), err
		l.own.Add(1)
		l.silent(err)
	}
}

// redisWord is what an attempt tells about the server. It is a closed set.
type redisWord int

const (
	redisAnswered redisWord = iota
	redisRefused            // it answered with an error
	redisSilent             // it did not answer
	redisNothing            // the attempt did not come that far
)

func redisWordOf(err error) redisWord {
	var reply redis.Error
	switch {
	case err == nil, errors.Is(err, redis.Nil):
		return redisAnswered
	case errors.As(err, &reply):
		for _, routine := range []string{"NOSCRIPT", "MOVED", "ASK"} {
			if redis.HasErrorPrefix(err, routine) {
				return redisAnswered
			}
		}
		return redisRefused
	case errors.Is(err, errRedisResting), errors.Is(err, redis.ErrPoolTimeout), errors.Is(err, redis.ErrClosed), errors.Is(err, context.Canceled):
		return redisNothing
	}
	return redisSilent
}

// redisResult is a metric's label.
func redisResult(word redisWord, err error) string {
	var late net.Error
	switch {
	case word == redisAnswered:
		return "ok"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &late) && late.Timeout():
		return "timeout"
	}
	return "error"
}

// redisConn is a connection that the pool throws away once its server did not
// answer somebody: all that were open before are as likely to be dead. The pool
// looks at SyscallConn before it hands one out, and for TLS has no other means.
type redisConn struct {
	net.Conn
	link     *redisLink
	all, own uint64
}

// SyscallConn implements syscall.Conn. The error means that it is outdated.
func (c *redisConn) SyscallConn() (syscall.RawConn, error) {
	if c.all != c.link.all.Load() || c.own != c.link.own.Load() {
		return nil, net.ErrClosed
	}
	if plain, ok := c.Conn.(syscall.Conn); ok {
		return plain.SyscallConn()
	}
	return redisOpaque{}, nil
}

// redisOpaque is a connection whose bytes say nothing: TLS has its own.
type redisOpaque struct{}

func (redisOpaque) Control(func(uintptr)) error    { return nil }
func (redisOpaque) Read(func(uintptr) bool) error  { return nil }
func (redisOpaque) Write(func(uintptr) bool) error { return nil }

// redisAsk does one operation. It ends when ctx is done, or after redisLimit;
// what was sent may still be carried out then.
func redisAsk[T any](ctx context.Context, r *Redis, what string, do func(context.Context) (T, error)) (T, error) {
	type answer struct {
		v   T
		err error
	}
	done := make(chan answer, 1)
	go func() {
		own, cancel := context.WithTimeout(context.WithoutCancel(ctx), redisLimit)
		defer cancel()
		var a answer
		a.err = Contain(r.o.Log, "asking redis", func() (err error) {
			a.v, err = do(own)
			r.heard(err)
			return err
		})
		done <- a
	}()
	select {
	case a := <-done:
		if a.err != nil {
			a.err = fmt.Errorf("redis: %s: %w%s", what, a.err, redisRemedy(a.err))
		}
		return a.v, a.err
	case <-ctx.Done():
		var none T
		return none, fmt.Errorf("redis: %s: %w", what, context.Cause(ctx))
	}
}

// redisRemedies say what to do about an answer that begins so.
var redisRemedies = map[string]string{
	"NOAUTH":    "set session.redis.password",
	"WRONGPASS": "see session.redis.username and password",
	"NOPERM":    "its ACL grants this user too little; see docs",
	"OOM":       "it is full and may evict nothing: give it more memory",
	"READONLY":  "this is a replica: name its master, or its Sentinels",
	"MISCONF":   "it cannot write to its disk",
}

// redisRemedy is a remedy in brackets, or nothing.
func redisRemedy(err error) string {
	for prefix, remedy := range redisRemedies {
		if redis.HasErrorPrefix(err, prefix) {
			return " (" + remedy + ")"
		}
	}
	return ""
}
