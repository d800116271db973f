package session

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
)

// RedisConfig is the section "session.redis".
type RedisConfig struct {
	URL              Secret `yaml:"url" doc:"redis://[user:password@]host[:6379][/db], unix:///path[?db=N], redis+sentinel://host[:26379],…/mymaster[/db] or redis+cluster://host[:6379],…; rediss:// and so on for TLS"`
	Username         string `yaml:"username" doc:"instead of the one in url"`
	Password         Secret `yaml:"password" doc:"instead of the one in url"`
	SentinelUsername string `yaml:"sentinel_username" doc:"for the Sentinels themselves"`
	SentinelPassword Secret `yaml:"sentinel_password" doc:"for the Sentinels themselves"`
	CAFile           string `yaml:"ca_file" doc:"PEM of the authorities that may vouch for Redis; empty: those of the system; read again when it changes"`
	CertFile         string `yaml:"cert_file" doc:"PEM of a client certificate, if Redis wants one; read again when it changes"`
	KeyFile          string `yaml:"key_file" doc:"PEM of its key"`
	Prefix           string `yaml:"prefix" default:"anteroom" doc:"how every key and channel begins; two deployments in one Redis need two"`
}

// RedisOptions are what OpenRedis needs besides. The zero value will do.
type RedisOptions struct {
	Log      *slog.Logger          // nil: slog's own
	Registry prometheus.Registerer // nil: nothing is counted
	Now      func() time.Time      // nil: time.Now; for Watcher.Alive
	// Trace begins to tell of a round trip, and is nil where nobody is told; so
	// is what it returns, which is called with "ok" or a word for what went wrong.
	Trace func(ctx context.Context, command string) (end func(result string))
}

// Redis is a Shared store in Redis: one server, one watched by Sentinels, or a
// Cluster. It is tested with 7.0 and needs 6.2 (GETDEL). Made by OpenRedis.
//
// It never keeps a caller for much longer than redisLimit, thrice that for a
// durable claim, and hardly at all once a server is known not to answer. For a
// moment a failing over Redis may confirm what it then loses, for its replication
// does not wait; durable claims do.
type Redis struct {
	client  redis.UniversalClient
	prefix  string
	o       RedisOptions
	metrics *redisMetrics
	era     atomic.Uint64 // see redisLink.all

	roots *Authorities // by whom servers are known

	copies    sync.Map // of *redisCopies by address
	saidBlind sync.Once

	password atomic.Pointer[Secret]                                       // for new connections
	probe    func(password *atomic.Pointer[Secret]) redis.UniversalClient // a client of its own

	mu      sync.Mutex
	word    error // guarded by mu: see Answering
	refused bool  // guarded by mu: word was an answer, which only a successful write can take back
}

var _ Shared = (*Redis)(nil)

// errRedisUnasked is what is known of a Redis at first.
var errRedisUnasked = errors.New("redis has not been asked yet")

// OpenRedis makes a store of a Redis, without asking it anything yet: it need
// not be there. An error is one of the configuration's.
func OpenRedis(cfg RedisConfig, o RedisOptions) (*Redis, error) {
	t, err := parseRedisURL(cfg.URL)
	if err != nil {
		return nil, fmt.Errorf("session.redis.url: %w", err)
	}
	if cfg.Username != "" {
		t.username = cfg.Username
	}
	if cfg.Password != "" {
		t.password = cfg.Password
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	secure, err := t.tlsConfig(cfg, o.Log)
	if err != nil {
		return nil, fmt.Errorf("session.redis: %w", err)
	}
	roots, err := OpenAuthorities(cfg.CAFile)
	if err != nil {
		return nil, fmt.Errorf("session.redis: reading ca_file: %w", err)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	r := &Redis{roots: roots, prefix: cfg.Prefix, o: o, metrics: newRedisMetrics(o.Registry), word: errRedisUnasked}
	if r.prefix == "" {
		r.prefix = "anteroom"
	}
	redisQuiet()
	r.probe = func(p *atomic.Pointer[Secret]) redis.UniversalClient { return r.connectTo(t, cfg, secure, p) }
	r.password.Store(&t.password)
	r.client = r.probe(&r.password)
	return r, nil
}

// RenewPassword exchanges the password for new connections, once Redis has let
// one in with it; those there are stay. The error says why it stays as it was;
// ErrUntried: Redis gave no word on it.
func (r *Redis) RenewPassword(ctx context.Context, password Secret) error {
	if *r.password.Load() == password {
		return nil
	}
	var tried atomic.Pointer[Secret]
	tried.Store(&password)
	c := r.probe(&tried)
	defer c.Close()
	ctx, cancel := context.WithTimeout(ctx, redisTrial)
	defer cancel()
	// A command that the documented ACL grants, which PING is not of.
	switch err := c.Get(ctx, r.probeKey()).Err(); redisWordOf(err) {
	case redisAnswered:
	case redisRefused:
		return fmt.Errorf("redis does not let us in with it: %w", err)
	default:
		return fmt.Errorf("%w: redis: %w", ErrUntried, err)
	}
	r.password.Store(&password)
	return nil
}

// RenewAuthorities has servers known by those of a text in PEM. The connections
// that there are end with what is under way on them, but for a Watch's, which
// stays. The error says why all is as it was.
func (r *Redis) RenewAuthorities(pem string) error {
	err := r.roots.Renew(pem)
	if err == nil {
		r.era.Add(1)
	}
	return err
}

// redisTrial is how long Redis may take to judge a new password.
const redisTrial = 3 * time.Second

// Close closes every connection. Operations fail from then on; those under way may.
func (r *Redis) Close() error { return r.client.Close() }

// Answering is nil if the last word of Redis was good. It asks nobody: while a
// Watch is on, it is never older than a second or so. The error may be shown to
// an operator.
func (r *Redis) Answering() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.word
}

// heard notes what came of an operation. Where Redis refused one, it takes a
// write that works to believe that it would not again.
func (r *Redis) heard(err error) {
	switch redisWordOf(err) {
	case redisAnswered:
		r.mu.Lock()
		if !r.refused {
			r.setWord(nil, false)
		}
		r.mu.Unlock()
	case redisRefused:
		r.mu.Lock()
		r.setWord(fmt.Errorf("redis: %w%s", err, redisRemedy(err)), true)
		r.mu.Unlock()
	}
}

// silent notes that a server did not answer.
func (r *Redis) silent(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.setWord(fmt.Errorf("redis: %w", err), false)
}

// setWord is called with mu held.
func (r *Redis) setWord(err error, refused bool) {
	r.word, r.refused = err, refused
	if err == nil {
		r.metrics.answering.Set(1)
	} else {
		r.metrics.answering.Set(0)
	}
}

func (r *Redis) sessionKey(key string) string { return r.prefix + ":s:" + key }
func (r *Redis) nameKey(name string) string   { return r.prefix + ":n:" + name }
func (r *Redis) recordKey(key string) string  { return r.prefix + ":r:" + key }
func (r *Redis) onceKey(key string) string    { return r.prefix + ":o:" + key }
func (r *Redis) probeKey() string             { return r.prefix + ":probe" }
func (r *Redis) changes() string              { return r.prefix + ":changes" }

// Get implements Store.
func (r *Redis) Get(ctx context.Context, key string) ([]byte, bool, error) {
	return redisRecord(ctx, r, "get", redis.NewCmd(ctx, "get", r.recordKey(key)), false)
}

// Put implements Store. Again: the same.
func (r *Redis) Put(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	_, err := redisAsk(ctx, r, "put", func(ctx context.Context) (string, error) {
		return r.client.Set(ctx, r.recordKey(key), value, time.Duration(redisMS(ttl))*time.Millisecond).Result()
	})
	return err
}

// Take implements Store. Again, it would find nothing: it is not sent again.
func (r *Redis) Take(ctx context.Context, key string) ([]byte, bool, error) {
	return redisRecord(ctx, r, "take", redis.NewCmd(ctx, "getdel", r.recordKey(key)), true)
}

// redisRecord sends a command that answers with a record, or none.
func redisRecord(ctx context.Context, r *Redis, what string, cmd *redis.Cmd, never bool) ([]byte, bool, error) {
	v, err := redisAsk(ctx, r, what, func(ctx context.Context) (any, error) {
		err := r.send(ctx, cmd, never)
		return cmd.Val(), err
	})
	switch {
	case errors.Is(err, redis.Nil):
		return nil, false, nil
	case err != nil:
		return nil, false, err
	}
	s, _ := v.(string)
	return []byte(s), true, nil
}

// Delete implements Store. Again: the same.
func (r *Redis) Delete(ctx context.Context, key string) error {
	_, err := redisAsk(ctx, r, "delete", func(ctx context.Context) (int64, error) {
		return r.client.Del(ctx, r.recordKey(key)).Result()
	})
	return err
}

// Once implements Shared.
func (r *Redis) Once(ctx context.Context, key string, ttl time.Duration) (bool, error) {
	mark := rand.Text()
	n, err := redisAsk(ctx, r, "once", func(ctx context.Context) (int64, error) {
		return r.number(ctx, onceScript, r.onceKey(key), mark, redisMS(ttl))
	})
	return n == 1, err
}

// Writable implements Shared. It writes, and leaves nothing behind for long.
func (r *Redis) Writable(ctx context.Context) error {
	_, err := redisAsk(ctx, r, "write", func(ctx context.Context) (string, error) {
		s, err := r.client.Set(ctx, r.probeKey(), strconv.FormatInt(r.o.Now().Unix(), 10), time.Second).Result()
		if err == nil {
			r.mu.Lock()
			r.setWord(nil, false)
			r.mu.Unlock()
		}
		return s, err
	})
	return err
}
