package main

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync"
	"testing"
	"time"

	"anteroom/session"
)

// hotPath is the program's handler and a signed-in request for it, without
// sockets on the client's side.
func hotPath(tb testing.TB, path string, env ...string) (http.Handler, *http.Request) {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") }))
	tb.Cleanup(app.Close)
	sys := system{Out: io.Discard, Err: io.Discard, Environ: append([]string{
		"NEXTCLOUD_BASE_URL=http://localhost:1", "NEXTCLOUD_CLIENT_ID=c", "NEXTCLOUD_REDIRECT_URI=http://localhost:8000/auth/callback",
		"ANTEROOM_UPSTREAM=" + app.URL,
	}, env...)}
	cfg, faults := loadConfig("", false, sys.lookup, sys.Environ)
	if len(faults) > 0 {
		tb.Fatal(faults)
	}
	h, err := build(cfg, newLog(cfg.Telemetry, sys.Err), sys)
	if err != nil {
		tb.Fatal(err)
	}
	listen(tb, h)
	w := httptest.NewRecorder()
	r := httptest.NewRequest("GET", "http://localhost:8000"+path, nil)
	r.RemoteAddr = "127.0.0.1:4000"
	now := time.Now()
	if _, err := h.sessions.Begin(w, r, session.Grant{
		Identity: session.Identity{Subject: "testdoc", Username: "testdoc", Email: "testdoc@example.com", Name: "Test Doctor", Groups: []string{"users"}},
		Tokens:   session.Tokens{Access: "a", Refresh: "r", Issued: now, Expiry: now.Add(24 * time.Hour)},
	}, "127.0.0.1"); err != nil {
		tb.Fatal(err)
	}
	for _, c := range w.Result().Cookies() {
		r.AddCookie(c)
	}
	r.Header.Set("User-Agent", "bench")
	return h.server, r
}

// listen has the sessions listen for changes, without which every request asks
// the store.
func listen(tb testing.TB, h *house) {
	ctx, stop := context.WithCancel(context.Background())
	var work sync.WaitGroup
	work.Go(func() { h.sessions.Run(ctx) })
	work.Go(func() { h.trace.Run(ctx) })
	tb.Cleanup(func() { stop(); work.Wait() })
	for !heard(tb, h) {
		runtime.Gosched()
	}
}

func heard(tb testing.TB, h *house) bool {
	all, err := h.registry.Gather()
	if err != nil {
		tb.Fatal(err)
	}
	for _, f := range all {
		if f.GetName() == "anteroom_sessions_heard" {
			return f.Metric[0].GetGauge().GetValue() == 1
		}
	}
	return false
}

// nowhere is a ResponseWriter that keeps nothing.
type nowhere struct {
	h      http.Header
	status int
}

func (n *nowhere) Header() http.Header         { return n.h }
func (n *nowhere) Write(b []byte) (int, error) { return len(b), nil }
func (n *nowhere) WriteHeader(status int)      { n.status = status }

func once(h http.Handler, r *http.Request) int {
	w := &nowhere{h: http.Header{}, status: http.StatusOK}
	h.ServeHTTP(w, r)
	return w.status
}

// TestCheckIsCheap holds the allocations of the path from a cookie to an
// answer of our own, the access line among them: see BenchmarkCheck.
func TestCheckIsCheap(t *testing.T) {
	h, r := hotPath(t, "/auth/me")
	if status := once(h, r); status != http.StatusOK {
		t.Fatalf("GET /auth/me = %d", status)
	}
	if raceEnabled {
		return // the race detector allocates on its own account
	}
	if n := testing.AllocsPerRun(200, func() { once(h, r) }); n > checkAllocs {
		t.Errorf("a check allocates %v times, want at most %d", n, checkAllocs)
	}
}

const checkAllocs = 26

func BenchmarkCheck(b *testing.B) {
	h, r := hotPath(b, "/auth/me")
	b.ReportAllocs()
	for b.Loop() {
		once(h, r)
	}
}

// BenchmarkForwardAuth is the whole of a front proxy's question and our yes.
func BenchmarkForwardAuth(b *testing.B) {
	h, r := hotPath(b, "/auth/verify/nginx", "ANTEROOM_SERVER_TRUSTED_PROXIES=127.0.0.1")
	r.Header.Set("X-Original-Method", "GET")
	r.Header.Set("X-Original-Url", "http://localhost:8000/notes?a=1")
	if status := once(h, r); status != http.StatusOK {
		b.Fatalf("asking = %d", status)
	}
	b.ReportAllocs()
	for b.Loop() {
		once(h, r)
	}
}

func BenchmarkForward(b *testing.B) {
	h, r := hotPath(b, "/hello")
	b.ReportAllocs()
	for b.Loop() {
		once(h, r)
	}
}
