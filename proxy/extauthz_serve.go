package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/grpclog"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	"anteroom/proxy/forwardauth"
)

// The bounds of the gRPC listener. Envoy keeps a connection per worker and asks
// on it for many clients at once.
const (
	maxQuestion     = 1 << 20 // bytes; Envoy may be set to send a request's body, which nobody reads here
	maxAtOnce       = 1024    // questions on one connection
	maxMetadata     = 16 << 10
	handshakeTime   = 10 * time.Second
	connectionAge   = 30 * time.Minute // then Envoy connects anew, and may find another replica
	connectionGrace = checkTime + time.Second
	pingAfter       = time.Minute // without a word from Envoy
	pingTime        = 20 * time.Second
	pingEvery       = 10 * time.Second // Envoy may ping as often
	window          = 1 << 20          // of HTTP/2's flow control; fixed, as estimating it costs pings
	workers         = 32               // goroutines kept for questions: a new one's stack grows each time, a fifth of the throughput
)

// quietGRPC keeps the library's own log, which belongs to the whole process,
// from quoting what peers send.
var quietGRPC = sync.OnceFunc(func() {
	grpclog.SetLoggerV2(grpclog.NewLoggerV2(io.Discard, io.Discard, io.Discard))
})

func (s *Server) newExtAuthz() (*extAuthz, error) {
	quietGRPC()
	e := &extAuthz{s: s, stopping: make(chan struct{})}
	e.asks = s.asking(forwardauth.ExtAuthz(), s.approve)
	e.health = &health{e: e}
	o := []grpc.ServerOption{
		grpc.MaxRecvMsgSize(maxQuestion), grpc.MaxConcurrentStreams(maxAtOnce), grpc.MaxHeaderListSize(maxMetadata),
		grpc.ConnectionTimeout(handshakeTime),
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionAge: connectionAge, MaxConnectionAgeGrace: connectionGrace, Time: pingAfter, Timeout: pingTime}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: pingEvery, PermitWithoutStream: true}),
		grpc.StaticStreamWindowSize(window), grpc.StaticConnWindowSize(window),
		grpc.WaitForHandlers(true), grpc.NumStreamWorkers(workers),
	}
	if s.o.Config.TLS.Cert != "" {
		t, err := s.tls()
		if err != nil {
			return nil, err
		}
		o = append(o, grpc.Creds(credentials.NewTLS(t.Clone())))
	}
	e.server = grpc.NewServer(o...)
	auth.RegisterAuthorizationServer(e.server, e)
	healthpb.RegisterHealthServer(e.server, e.health)
	return e, nil
}

// ServeExtAuthz answers Envoy from the listener until Shutdown; it then returns
// nil. The health service is as ready as checks say. It is for servers whose
// Config.ExtAuthzListen is set.
func (s *Server) ServeExtAuthz(l net.Listener, checks []Check) error {
	if s.extAuthz == nil {
		return errors.New("server.ext_authz_listen is not set")
	}
	s.extAuthz.health.checks.Store(&checks)
	if err := s.extAuthz.server.Serve(&listener{l, s.limits}); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return fmt.Errorf("server.ext_authz_listen: %w", err)
	}
	return nil
}

// drain begins to stop: no new connection, and what is under way may go on
// until ctx is done. The function it returns waits for the end.
func (e *extAuthz) drain(ctx context.Context) (wait func()) {
	if e == nil {
		return func() {}
	}
	close(e.stopping)
	var work sync.WaitGroup
	work.Go(func() {
		defer context.AfterFunc(ctx, e.server.Stop)()
		e.server.GracefulStop()
	})
	return work.Wait
}

// health is grpc.health.v1: for the whole, and for the one service by its name.
type health struct {
	healthpb.UnimplementedHealthServer
	e      *extAuthz
	checks atomic.Pointer[[]Check]
}

// healthPoll is how often a watched state is looked at.
const healthPoll = time.Second

func (h *health) status(service string) (healthpb.HealthCheckResponse_ServingStatus, error) {
	if service != "" && service != auth.Authorization_ServiceDesc.ServiceName {
		return healthpb.HealthCheckResponse_SERVICE_UNKNOWN, status.Error(codes.NotFound, "unknown service")
	}
	if checks := h.checks.Load(); checks == nil || !h.e.s.readiness(*checks).Ready {
		return healthpb.HealthCheckResponse_NOT_SERVING, nil
	}
	return healthpb.HealthCheckResponse_SERVING, nil
}

// Check implements grpc.health.v1.Health.
func (h *health) Check(_ context.Context, r *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	s, err := h.status(r.GetService())
	if err != nil {
		return nil, err
	}
	return &healthpb.HealthCheckResponse{Status: s}, nil
}

// Watch implements grpc.health.v1.Health. It ends when the server stops.
func (h *health) Watch(r *healthpb.HealthCheckRequest, to grpc.ServerStreamingServer[healthpb.HealthCheckResponse]) error {
	tick := time.NewTicker(healthPoll)
	defer tick.Stop()
	last := healthpb.HealthCheckResponse_UNKNOWN
	for {
		if now, _ := h.status(r.GetService()); now != last {
			if err := to.Send(&healthpb.HealthCheckResponse{Status: now}); err != nil {
				return err
			}
			last = now
		}
		select {
		case <-h.e.stopping:
			if last != healthpb.HealthCheckResponse_NOT_SERVING {
				return to.Send(&healthpb.HealthCheckResponse{Status: healthpb.HealthCheckResponse_NOT_SERVING})
			}
			return nil
		case <-to.Context().Done():
			return to.Context().Err()
		case <-tick.C:
		}
	}
}
