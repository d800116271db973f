package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"anteroom/proxy"
	"anteroom/session"
	"anteroom/test/person"
)

// slow is a store that fails, or waits first.
type slow struct {
	session.Memory
	asked, done chan struct{}
	wait        atomic.Bool
}

func (s *slow) Load(ctx context.Context, _ string) (session.Saved, bool, error) {
	if s.wait.Load() {
		s.asked <- struct{}{}
		select {
		case <-s.done:
		case <-ctx.Done():
		}
	}
	return session.Saved{}, false, errors.New("connection refused")
}

// brokenHouse is a server whose store of sessions fails, with its gRPC listener
// alone, and somebody signed in.
func brokenHouse(t *testing.T, store session.Store, env ...string) (e *envoy, p *person.Person, stop func(context.Context) error, ready *atomic.Bool) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &town{T: t, site: "http://localhost:8000", log: &output{}, audit: &output{}}
	if len(env) > 0 { // TLS
		w.site = "https://localhost:8000"
	}
	sys := system{Out: w.audit, Err: w.log, Environ: append(env,
		"NEXTCLOUD_BASE_URL=http://localhost:1", "NEXTCLOUD_CLIENT_ID=c", "NEXTCLOUD_REDIRECT_URI="+w.site+"/auth/callback", "ANTEROOM_UPSTREAM=none",
		"ANTEROOM_ROUTES=[{path: /public, allow: public}, {path: /}]",
		"ANTEROOM_SERVER_TRUSTED_PROXIES=127.0.0.1", "ANTEROOM_SERVER_EXT_AUTHZ_LISTEN="+l.Addr().String(),
	)}
	cfg, faults := loadConfig("", false, sys.lookup, sys.Environ)
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	h, err := build(cfg, slog.New(slog.DiscardHandler), sys)
	if err != nil {
		t.Fatal(err)
	}
	cookies := session.NewCookies(cfg.Session.Cookie, false)
	codec, _ := session.NewCodec(nil)
	elsewhere := session.New(cfg.Session, session.Options{Store: &session.Memory{}, Cookies: cookies, Codec: codec, Log: h.log})
	begun := httptest.NewRecorder()
	if _, err := elsewhere.Begin(begun, httptest.NewRequest("GET", w.site, nil), session.Grant{Identity: session.Identity{Subject: "testdoc"}}, "192.0.2.1"); err != nil {
		t.Fatal(err)
	}
	p = person.New(nil)
	site, _ := url.Parse(w.site)
	p.Client.Jar.SetCookies(site, begun.Result().Cookies())

	h.sessions = session.New(cfg.Session, session.Options{Store: store, Cookies: cookies, Codec: codec, Log: h.log})
	h.registry = prometheus.NewRegistry()
	if err := h.buildServer(cookies, codec); err != nil {
		t.Fatal(err)
	}
	ready = &atomic.Bool{}
	ready.Store(true)
	check := proxy.Check{Name: "test", Err: func() error {
		if ready.Load() {
			return nil
		}
		return errors.New("not ready")
	}}
	done := make(chan error, 1)
	go func() { done <- h.server.ServeExtAuthz(l, []proxy.Check{check}) }()
	var once sync.Once
	stop = func(ctx context.Context) (err error) {
		once.Do(func() {
			err = h.server.Shutdown(ctx)
			if e := <-done; e != nil {
				t.Errorf("ServeExtAuthz = %v, want nil after a stop", e)
			}
			h.sessions.Close(ctx)
			elsewhere.Close(ctx)
		})
		return err
	}
	t.Cleanup(func() { stop(context.Background()) })
	return &envoy{w: w, Authorization: auth.NewAuthorizationClient(dialGRPC(t, l.Addr().String())), at: l.Addr().String()}, p, stop, ready
}

// TestExtAuthzStoreDown: broken is neither yes nor 401.
func TestExtAuthzStoreDown(t *testing.T) {
	e, p, _, _ := brokenHouse(t, &slow{})
	o := e.send(p, "GET", e.w.site+"/notes")
	if o.status != 503 || len(o.client["retry-after"]) != 1 || !strings.Contains(o.body, "sessions_unavailable") {
		t.Errorf("with the store away = %d %v %q, want 503", o.status, o.client, o.body)
	}
	if o := e.send(p, "GET", e.w.site+"/public/x"); o.status != 200 || len(o.app["x-forwarded-user"]) > 0 {
		t.Errorf("a public page with the store away = %d %v, want 200 as nobody", o.status, o.app)
	}
}

// TestExtAuthzDrains: what is under way may end; what does not is cut off.
func TestExtAuthzDrains(t *testing.T) {
	for name, ends := range map[string]bool{"ends": true, "hangs": false} {
		t.Run(name, func(t *testing.T) {
			store := &slow{asked: make(chan struct{}, 1), done: make(chan struct{})}
			store.wait.Store(true)
			e, p, stop, _ := brokenHouse(t, store)
			m := e.question("GET", e.w.site+"/notes", "Cookie: "+e.w.cookiesOf(p))
			answered := make(chan error, 1)
			go func() {
				_, err := e.Authorization.Check(context.Background(), m)
				answered <- err
			}()
			<-store.asked
			limit, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			if !ends {
				limit, cancel = context.WithTimeout(t.Context(), 200*time.Millisecond)
			}
			defer cancel()
			stopped := make(chan error, 1)
			go func() { stopped <- stop(limit) }()
			if ends {
				e.w.await("refusing connections", func() bool {
					c, err := net.Dial("tcp", e.at)
					if err == nil {
						c.Close()
					}
					return err != nil
				})
				close(store.done)
			}
			if !ends {
				defer close(store.done)
			}
			if err := <-answered; ends != (err == nil) {
				t.Errorf("the question under way = %v, want an answer: %v", err, ends)
			}
			if err := <-stopped; ends && err != nil {
				t.Errorf("Shutdown = %v", err)
			}
		})
	}
}

// TestExtAuthzHealth: as ready as /readyz says, and no watcher holds up a stop.
func TestExtAuthzHealth(t *testing.T) {
	e, _, stop, ready := brokenHouse(t, &slow{})
	h := healthpb.NewHealthClient(dialGRPC(t, e.at))
	is := func(service string) string {
		r, err := h.Check(t.Context(), &healthpb.HealthCheckRequest{Service: service})
		if err != nil {
			return status.Code(err).String()
		}
		return r.GetStatus().String()
	}
	for service, want := range map[string]string{"": "SERVING", "envoy.service.auth.v3.Authorization": "SERVING", "other": "NotFound"} {
		if got := is(service); got != want {
			t.Errorf("health of %q = %s, want %s", service, got, want)
		}
	}
	watch, err := h.Watch(t.Context(), &healthpb.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	next := func(want healthpb.HealthCheckResponse_ServingStatus) {
		t.Helper()
		if r, err := watch.Recv(); err != nil || r.GetStatus() != want {
			t.Errorf("watching = %v, %v, want %v", r, err, want)
		}
	}
	next(healthpb.HealthCheckResponse_SERVING)
	ready.Store(false)
	if got := is(""); got != "NOT_SERVING" {
		t.Errorf("health while not ready = %s", got)
	}
	next(healthpb.HealthCheckResponse_NOT_SERVING)
	ready.Store(true)
	next(healthpb.HealthCheckResponse_SERVING)
	begun := time.Now()
	if err := stop(t.Context()); err != nil {
		t.Errorf("Shutdown = %v", err)
	}
	next(healthpb.HealthCheckResponse_NOT_SERVING)
	if _, err := watch.Recv(); err != io.EOF || time.Since(begun) > 5*time.Second {
		t.Errorf("after %v watching = %v, want its end", time.Since(begun), err)
	}
}

// TestExtAuthzUntrusted: nobody else gets an answer at all.
func TestExtAuthzUntrusted(t *testing.T) {
	w, e := envoyTown(t, "ANTEROOM_SERVER_TRUSTED_PROXIES=192.0.2.1")
	a, err := e.Authorization.Check(t.Context(), e.question("GET", w.site+"/public/x"))
	if status.Code(err) != codes.PermissionDenied || a != nil {
		t.Errorf("Check = %v, %v, want PermissionDenied", a, err)
	}
	w.await("written down", func() bool { return strings.Contains(w.audit.String(), "untrusted_proxy") })
}
