package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"anteroom/proxy/forwardauth"
	"anteroom/session"
)

// extAuthz is Envoy's external authorization over gRPC. A question goes the way
// of any other: origin, rule, gate, and an error becomes a refusal, which is
// told as a message. An empty message would mean yes to Envoy: it is only ever
// a yes where a door made one, and a no in every other case.
type extAuthz struct {
	auth.UnimplementedAuthorizationServer
	s        *Server
	asks     *asking
	server   *grpc.Server
	health   *health
	stopping chan struct{} // closed when draining begins
}

// checkTime is how long one question may take; Envoy gives up long before.
const checkTime = 10 * time.Second

// Check implements envoy.service.auth.v3.Authorization.
func (e *extAuthz) Check(ctx context.Context, m *auth.CheckRequest) (*auth.CheckResponse, error) {
	if end, ok := ctx.Deadline(); !ok || time.Until(end) > checkTime { // Envoy sets one
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, checkTime)
		defer cancel()
	}
	v := &verdict{h: http.Header{}}
	if err := e.s.serveCheck(ctx, v, m); err != nil {
		return nil, err
	}
	var answer *auth.CheckResponse
	if session.Contain(e.s.o.Log, "answering Envoy", func() error { answer = v.message(); return nil }) != nil {
		return nil, status.Error(codes.Internal, reasonText[reasonInternal])
	}
	return answer, nil
}

// serveCheck is ServeHTTP for a message: it is named, judged and written down,
// whatever happens to it. The error is for peers that may not ask.
func (s *Server) serveCheck(ctx context.Context, v *verdict, m *auth.CheckRequest) (err error) {
	x := &exchange{ResponseWriter: v, start: s.o.Now(), door: doorCheck, dialect: s.extAuthz.asks.dialect}
	x.r = (&http.Request{URL: &url.URL{}, Header: http.Header{}, Body: http.NoBody}).WithContext(ctx)
	defer func() {
		if recover() != nil { // finish wrote it down
			v.yes, err = nil, nil
		}
	}()
	s.metrics.inFlight.Inc()
	defer s.finish(x)
	if no := s.check(x, m); no != nil {
		s.refuse(x, no)
		if r := (*refusal)(nil); errors.As(no, &r) && r.reason == reasonUntrusted {
			return status.Error(codes.PermissionDenied, reasonText[reasonUntrusted])
		}
	}
	return nil
}

// check takes a question from its arrival to a yes. An error means that there
// is none.
func (s *Server) check(x *exchange, m *auth.CheckRequest) error {
	s.requests.Add(1)
	defer s.requests.Add(-1)
	asker := askerOf(x.r.Context())
	if x.origin.client = asker.String(); !s.origins.trustsAddr(asker) {
		x.identify()
		s.traced(x)
		return &refusal{status: http.StatusForbidden, reason: reasonUntrusted, cause: fmt.Errorf("%s is not within server.trusted_proxies", asker)}
	}
	q, err := forwardauth.ReadCheck(m, s.o.Config.MaxHeaderBytes)
	x.r.Header = q.Header
	if q.Source.IsValid() {
		var lost error
		x.origin, lost = s.origins.behind(q.Source, q.Header)
		err = errors.Join(err, lost)
	}
	x.identify()
	s.traced(x)
	if err != nil {
		return &refusal{status: http.StatusBadRequest, reason: reasonForwarded, cause: err}
	}
	d, err := s.judge(x, s.extAuthz.asks, q.Asked)
	if err != nil {
		return err
	}
	return s.gate(x, d)
}

// askerOf is the address of who asks; none is invalid, and trusted by nobody.
func askerOf(ctx context.Context) (a netip.Addr) {
	if p, ok := peer.FromContext(ctx); ok {
		if tcp, ok := p.Addr.(*net.TCPAddr); ok {
			a = tcp.AddrPort().Addr().Unmap().WithZone("")
		}
	}
	return a
}

// approve makes the yes of one route.
func (s *Server) approve(route int) answer {
	return func(x *exchange, who *session.Identity) error {
		v, ok := x.ResponseWriter.(*verdict)
		if !ok {
			return fmt.Errorf("approving for %T, want a verdict", x.ResponseWriter)
		}
		yes, err := s.approval(x, who, route)
		if err != nil {
			return err
		}
		s.metrics.checked(x.dialect.Name, http.StatusOK)
		x.WriteHeader(http.StatusOK)
		v.yes = yes
		return nil
	}
}
