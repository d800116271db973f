package proxy

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"anteroom/proxy/authz"
	"anteroom/session"
)

// trapped is a server on which every door panics: at once, or on the path late
// once the answer has begun. /sound is answered. It counts the traps.
func trapped(t *testing.T) (*Server, *atomic.Int32) {
	t.Helper()
	cfg := Config{PublicURL: "http://localhost:8000", Hosts: []string{"127.0.0.1"}, H2C: true, MaxHeaderBytes: 65536, BodyTimeout: time.Minute, WriteTimeout: time.Minute,
		ExtAuthzListen: "127.0.0.1:0", TrustedProxies: []string{"127.0.0.1"}}
	s := testExplainer(t, cfg, Route{Path: "/", Allow: authz.Allow{Public: true}, Upstream: "http://localhost:1"}).s
	traps := new(atomic.Int32)
	said := new(lockedBuffer)
	s.o.Log = slog.New(slog.NewJSONHandler(said, nil))
	s.limits.log = s.o.Log
	t.Cleanup(func() {
		if log := said.String(); strings.Contains(log, "canary") || traps.Load() > 0 && (!strings.Contains(log, `"msg":"panic"`) || !strings.Contains(log, `"type":"string"`)) {
			t.Errorf("the log of panics is %.2000s, want their type and place alone", log)
		}
	})
	trap := func(x *exchange, _ *session.Identity) error {
		switch {
		case strings.HasSuffix(x.r.URL.Path, "/sound"):
			io.WriteString(x, "sound")
			return nil
		case strings.HasSuffix(x.r.URL.Path, "/late"):
			io.WriteString(x, strings.Repeat("late", 10_000))
			x.FlushError()
		case strings.HasSuffix(x.r.URL.Path, "/socket"):
			conn, _, err := x.Hijack()
			if err != nil {
				return err
			}
			defer conn.Close()
			io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		}
		traps.Add(1)
		panic("a trap with a canary-secret")
	}
	for name, style := range map[string]refusalStyle{doorDAV: refuseByDAV, doorAPI: refuseByProblem, doorOwn: refuseByPage} {
		s.own["/"+name+"/"] = &door{name: name, allow: authz.Allow{Public: true}, answer: trap, refuse: style, streams: true}
		s.under = append(s.under, "/"+name+"/")
	}
	for _, d := range s.apps {
		d.answer = trap
	}
	for _, d := range s.extAuthz.asks.routes {
		d.allow, d.answer = authz.Allow{Public: true}, trap
	}
	return s, traps
}

// lockedBuffer is a buffer for several goroutines.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// public has the site's own name in a URL.
func public(t *testing.T, r *http.Request) *http.Request {
	t.Helper()
	r.Host = "localhost:8000"
	return r
}

// TestPanicsStayWithin: a panic costs its own request and no other, whichever
// way that one came.
func TestPanicsStayWithin(t *testing.T) {
	s, traps := trapped(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	defer func() {
		s.http.Close()
		<-served
	}()
	h2 := new(http.Protocols)
	h2.SetUnencryptedHTTP2(true)
	for proto, transport := range map[string]*http.Transport{"HTTP/1.1": {}, "HTTP/2.0": {Protocols: h2}} {
		client := &http.Client{Transport: transport, Timeout: 10 * time.Second}
		defer transport.CloseIdleConnections()
		get := func(method, path string) (int, error) {
			r, _ := http.NewRequest(method, "http://"+l.Addr().String()+path, strings.NewReader("a body"))
			resp, err := client.Do(public(t, r))
			if err != nil {
				return 0, err
			}
			defer resp.Body.Close()
			_, err = io.Copy(io.Discard, resp.Body)
			return resp.StatusCode, err
		}
		for _, under := range []string{"", "/" + doorDAV, "/" + doorAPI, "/" + doorOwn} {
			if status, err := get("POST", under+"/trap"); err != nil || status != http.StatusInternalServerError {
				t.Errorf("%s %s/trap = %d, %v, want 500", proto, under, status, err)
			}
			if status, err := get("GET", under+"/late"); err == nil {
				t.Errorf("%s %s/late = %d and whole, want it cut off", proto, under, status)
			}
			if status, err := get("GET", under+"/sound"); err != nil || status != http.StatusOK {
				t.Errorf("%s %s/sound after panics = %d, %v, want 200", proto, under, status, err)
			}
		}
	}

	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	io.WriteString(conn, "GET /socket HTTP/1.1\r\nHost: localhost:8000\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	in := bufio.NewReader(conn)
	if resp, err := http.ReadResponse(in, nil); err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("a WebSocket: %v, %v, want 101", resp, err)
	}
	if _, err := in.ReadByte(); err != io.EOF {
		t.Errorf("a WebSocket after a panic: %v, want it closed", err)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, public(t, httptest.NewRequest("GET", "/sound", nil)))
	if w.Code != http.StatusOK {
		t.Errorf("/sound after all panics = %d, want 200", w.Code)
	}
	if n := traps.Load(); n < 17 { // net/http may ask again where an answer broke off
		t.Errorf("%d panics, want 17 at least", n)
	}
}

// TestPanicIsNoYes: Envoy gets a no for a question that ends in a panic, and an
// answer to the next.
func TestPanicIsNoYes(t *testing.T) {
	s, traps := trapped(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	checks := []Check{{Name: "trap", Err: func() error { traps.Add(1); panic("a canary, too") }}}
	go func() { served <- s.ServeExtAuthz(l, checks) }()
	defer func() {
		s.extAuthz.server.Stop()
		<-served
	}()
	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for range 3 {
		answer, err := auth.NewAuthorizationClient(conn).Check(ctx, &auth.CheckRequest{Attributes: &auth.AttributeContext{
			Source: &auth.AttributeContext_Peer{Address: &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{Address: "192.0.2.1"}}}},
			Request: &auth.AttributeContext_Request{Http: &auth.AttributeContext_HttpRequest{Method: "GET", Path: "/trap", Host: "localhost:8000", Scheme: "http",
				Headers: map[string]string{":method": "GET", ":path": "/trap", ":authority": "localhost:8000", ":scheme": "http"}}},
		}})
		if err != nil || answer.GetStatus().GetCode() == 0 || answer.GetOkResponse() != nil {
			t.Errorf("a question that ends in a panic = %v, %v, want a no", answer, err)
		}
	}
	state, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{})
	if err != nil || state.GetStatus() != healthpb.HealthCheckResponse_NOT_SERVING {
		t.Errorf("health with a check that panics = %v, %v, want NOT_SERVING", state, err)
	}
	w := httptest.NewRecorder()
	s.Admin(checks, prometheus.NewRegistry(), nil).ServeHTTP(w, httptest.NewRequest("GET", "/readyz", nil))
	if w.Code != http.StatusServiceUnavailable || strings.Contains(w.Body.String(), "canary") {
		t.Errorf("/readyz with a check that panics = %d %s, want 503", w.Code, w.Body)
	}
	if n := traps.Load(); n != 5 {
		t.Errorf("%d panics, want 5", n)
	}
}

// trappedBody is a request's body that panics when it is read, as net/http's
// does in trouble.
type trappedBody struct{ io.ReadCloser }

func (trappedBody) Read([]byte) (int, error) { panic("a canary") }

// TestBodyPanicsWithin: a body is read on a goroutine of the connection to the
// application, where a panic would end the program.
func TestBodyPanicsWithin(t *testing.T) {
	app := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) }))
	defer app.Close()
	s := testExplainer(t, Config{PublicURL: "http://localhost:8000", BodyTimeout: time.Minute}, Route{Path: "/", Allow: authz.Allow{Public: true}, Upstream: app.URL}).s
	said := new(lockedBuffer)
	s.o.Log = slog.New(slog.NewJSONHandler(said, nil))
	s.limits.log = s.o.Log
	d := s.apps[0]
	d.answer = func(x *exchange, who *session.Identity) error { return d.forward.Forward(x, x.r, who, &x.hop) }
	r := public(t, httptest.NewRequest("POST", "/", strings.NewReader("a body")))
	r.Body = trappedBody{r.Body}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	if w.Code != http.StatusBadGateway || strings.Contains(said.String(), "canary") || !strings.Contains(said.String(), "reading a body") {
		t.Errorf("a body that panics = %d, log %s, want 502 and no value", w.Code, said.String())
	}
}
