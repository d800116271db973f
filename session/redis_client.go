package session

import (
	"context"
	"crypto/tls"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

const (
	redisReply = 500 * time.Millisecond // for connecting, and for one answer
	// Of Sentinels several may have to be asked while connecting, and the
	// client does not turn away from a silent one before it has timed out twice.
	redisSentinelReply = 350 * time.Millisecond
	redisSentinelDial  = 850 * time.Millisecond
)

// connectTo makes the client. Nothing is sent again by it, but for what a
// Cluster's does: see redis_scripts.go.
func (r *Redis) connectTo(t redisTarget, cfg RedisConfig, secure *tls.Config, password *atomic.Pointer[Secret]) redis.UniversalClient {
	o := redis.UniversalOptions{
		Addrs: t.addrs, MasterName: t.master, DB: t.db,
		CredentialsProviderContext: func(context.Context) (string, string, error) {
			return t.username, password.Load().Reveal(), nil
		},
		SentinelUsername: cfg.SentinelUsername, SentinelPassword: cfg.SentinelPassword.Reveal(),
		TLSConfig: secure,

		Protocol: 2, DisableIdentity: true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},

		ContextTimeoutEnabled: true, MaxRetries: -1, DialerRetries: 1,
		DialTimeout: redisReply, ReadTimeout: redisReply, WriteTimeout: redisReply, PoolTimeout: redisReply,
		PoolSize: max(32, 10*runtime.GOMAXPROCS(0)), PipelinePoolSize: -1,
	}
	if secure != nil {
		o.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
			one := &redis.Options{DialTimeout: o.DialTimeout, TLSConfig: r.roots.Config(secure)}
			return redis.NewDialer(one)(ctx, network, addr)
		}
	}
	switch t.kind {
	case redisSentinel:
		o.DialTimeout, o.ReadTimeout = redisSentinelDial, redisSentinelReply
		c := redis.NewFailoverClient(o.Failover())
		c.AddHook(r.link())
		return c
	case redisCluster:
		cluster := o.Cluster()
		cluster.MaxRedirects, cluster.DisableRoutingPolicies = 3, true
		c := redis.NewClusterClient(cluster)
		c.OnNewNode(func(node *redis.Client) { node.AddHook(r.link()) })
		return c
	}
	single := o.Simple()
	single.Network = t.network
	c := redis.NewClient(single)
	c.AddHook(r.link())
	return c
}

// link makes what stands before one server.
func (r *Redis) link() *redisLink {
	return &redisLink{all: &r.era, metrics: r.metrics, silent: r.silent, trace: r.o.Trace}
}

// redisQuiet silences the client's logger, which is one for the whole process:
// what it has to say comes as errors too, and might there name keys.
var redisQuiet = sync.OnceFunc(func() { redis.SetLogger(redisSilence{}) })

type redisSilence struct{}

func (redisSilence) Printf(context.Context, string, ...any) {}

// redisMetrics are those of one Redis.
type redisMetrics struct {
	commands              *prometheus.CounterVec
	seconds               prometheus.Histogram
	subscribed, answering prometheus.Gauge
	unreadable            prometheus.Counter
}

func newRedisMetrics(reg prometheus.Registerer) *redisMetrics {
	m := &redisMetrics{
		commands:   prometheus.NewCounterVec(prometheus.CounterOpts{Name: "anteroom_redis_commands_total", Help: "Round trips to Redis, by result; refused: not made, for it did not answer a moment before."}, []string{"result"}),
		seconds:    prometheus.NewHistogram(prometheus.HistogramOpts{Name: "anteroom_redis_seconds", Help: "How long round trips to Redis took.", Buckets: []float64{.0002, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1}}),
		subscribed: prometheus.NewGauge(prometheus.GaugeOpts{Name: "anteroom_redis_subscribed", Help: "1 while what other replicas change is heard from Redis."}),
		answering:  prometheus.NewGauge(prometheus.GaugeOpts{Name: "anteroom_redis_answering", Help: "1 if the last word of Redis was good."}),
		unreadable: prometheus.NewCounter(prometheus.CounterOpts{Name: "anteroom_redis_unreadable_total", Help: "Messages on the channel of changes that were not understood."}),
	}
	if reg != nil {
		reg.MustRegister(m.commands, m.seconds, m.subscribed, m.answering, m.unreadable)
	}
	return m
}
