package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"anteroom/demo"
	"anteroom/session"
	"anteroom/test/person"
	"anteroom/test/redistest"
)

// TestSessionsInBrowsers: with the cookie store nobody can list.
func TestSessionsInBrowsers(t *testing.T) {
	w := found(t, demo.Options{}, providers["cookie sessions"].env...)
	doc := w.from(demo.DefaultUser, demo.DefaultPassword, onLinux)
	resp, page := w.ask(doc, "GET", "/auth/", "", asBrowser)
	if resp.StatusCode != http.StatusOK || !strings.Contains(page, "cannot be listed") || strings.Contains(page, "/auth/sessions/end") {
		t.Errorf("the account page = %d, want one sentence on sessions\n%s", resp.StatusCode, page)
	}
	for _, ask := range []func() (*http.Response, string){
		func() (*http.Response, string) { return w.ask(doc, "GET", "/auth/sessions", "") },
		func() (*http.Response, string) { return w.end(doc, "others=1", asProgram) },
	} {
		if resp, body := ask(); resp.StatusCode != http.StatusNotFound || !strings.Contains(body, "sessions_not_listed") {
			t.Errorf("= %d %s, want 404 sessions_not_listed", resp.StatusCode, body)
		}
	}
}

// shaky is a store that answers, or does not.
type shaky struct {
	session.Memory
	down atomic.Bool
}

func (s *shaky) List(ctx context.Context, name string) ([]session.Listed, error) {
	if s.down.Load() {
		return nil, errors.New("connection refused")
	}
	return s.Memory.List(ctx, name)
}

// onShaky is a site whose sessions are in a store that can go down, and
// somebody signed in there.
func onShaky(t *testing.T, store session.Store) (*town, *person.Person) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	w := &town{T: t, site: "http://localhost:" + port, log: &output{}, audit: &output{}}
	sys := system{Out: w.audit, Err: w.log, Environ: []string{
		"NEXTCLOUD_BASE_URL=http://localhost:1", "NEXTCLOUD_CLIENT_ID=c", "NEXTCLOUD_REDIRECT_URI=" + w.site + "/auth/callback", "ANTEROOM_UPSTREAM=http://localhost:1",
	}}
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
	h.sessions = session.New(cfg.Session, session.Options{Store: store, Cookies: cookies, Codec: codec, Log: h.log})
	h.registry = prometheus.NewRegistry()
	if err := h.buildServer(cookies, codec); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { h.server.Serve(l); close(done) }()
	t.Cleanup(func() { h.server.Shutdown(context.Background()); <-done; h.sessions.Close(context.Background()) })

	begun, r := httptest.NewRecorder(), httptest.NewRequest("GET", w.site, nil)
	r.Header.Set("User-Agent", onLinux)
	if _, err := h.sessions.Begin(begun, r, session.Grant{Identity: session.Identity{Subject: "testdoc"}}, "192.0.2.1"); err != nil {
		t.Fatal(err)
	}
	p := person.New(nil)
	site, _ := url.Parse(w.site)
	p.Client.Jar.SetCookies(site, begun.Result().Cookies())
	return w, p
}

// TestSessionsWhileTheStoreIsDown: the account page says so and is there all
// the same; who asked for an end is told that it did not come.
func TestSessionsWhileTheStoreIsDown(t *testing.T) {
	store := &shaky{}
	w, doc := onShaky(t, store)
	if list := w.sessionsOf(doc); len(list) != 1 || list[0].Address != "192.0.2.1" {
		t.Fatalf("sessions = %+v", list)
	}
	store.down.Store(true)
	resp, page := w.ask(doc, "GET", "/auth/", "", asBrowser)
	if resp.StatusCode != http.StatusOK || !strings.Contains(page, "testdoc") || !strings.Contains(page, "cannot be had at the moment") {
		t.Errorf("the account page = %d\n%s", resp.StatusCode, page)
	}
	for name, tt := range map[string]struct {
		ask  func() (*http.Response, string)
		kind string
	}{
		"list":    {func() (*http.Response, string) { return w.ask(doc, "GET", "/auth/sessions", "", asBrowser) }, "application/problem+json"},
		"program": {func() (*http.Response, string) { return w.end(doc, "session=x", asProgram) }, "application/problem+json"},
		"person":  {func() (*http.Response, string) { return w.end(doc, "others=1", asBrowser) }, "text/html; charset=utf-8"},
	} {
		resp, body := tt.ask()
		if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Content-Type") != tt.kind || resp.Header.Get("Retry-After") == "" {
			t.Errorf("%s: %d %v\n%s", name, resp.StatusCode, resp.Header, body)
		}
	}
}

// TestSessionsCommandWithoutAnswer: a Redis that is not there, and one that
// takes the connection and says nothing, are both told of before long.
func TestSessionsCommandWithoutAnswer(t *testing.T) {
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	for name, addr := range map[string]string{"absent": freeAddr(t), "mute": mute.Addr().String()} {
		for _, line := range []string{"list", "list --user u", "revoke --user u", "revoke --all --yes"} {
			var out output
			start := time.Now()
			err := run(t.Context(), strings.Fields("sessions "+line), system{Out: &out, Err: &out, Environ: []string{
				"NEXTCLOUD_BASE_URL=http://localhost:1", "NEXTCLOUD_CLIENT_ID=c", "NEXTCLOUD_REDIRECT_URI=http://localhost:8000/auth/callback", "ANTEROOM_UPSTREAM=http://localhost:1",
				"ANTEROOM_SESSION_STORE=redis", "ANTEROOM_SESSION_KEYS=MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=", "ANTEROOM_SESSION_REDIS_URL=redis://" + addr,
			}})
			if took := time.Since(start); !errors.Is(err, session.ErrUnavailable) || took > storeTime+time.Second {
				t.Errorf("%s: sessions %s = %v after %v, want ErrUnavailable within %v\n%s", name, line, err, took, storeTime, out.String())
			}
		}
	}
}

// TestSignOutWhileTheStoreIsAway ends the session here, says what is not certain,
// has a line, and alarms nobody over the cookie that stays in the browser.
func TestSignOutWhileTheStoreIsAway(t *testing.T) {
	store := redistest.Start(t, redistest.Options{})
	w := found(t, demo.Options{}, "ANTEROOM_SESSION_STORE=redis", "ANTEROOM_SESSION_REDIS_URL="+store.URL(), "ANTEROOM_SESSION_KEYS=MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=")
	p, _ := w.testdoc("/")
	store.Kill()
	resp, page := w.ask(p, "POST", "/auth/logout", "", append([]string{"Sec-Fetch-Site: same-origin"}, asBrowser)...)
	if resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(page, "not signed out everywhere yet") || strings.Contains(page, "You have not been signed out") {
		t.Errorf("signing out = %d\n%s", resp.StatusCode, page)
	}
	if lines := w.audited("sign_out"); len(lines) != 1 || lines[0]["status"] != float64(503) {
		t.Errorf("audit lines of it = %v, want one with 503", lines)
	}
	for range 3 {
		if resp, _ := w.ask(p, "GET", "/auth/me", ""); resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("/auth/me afterwards = %d, want 401", resp.StatusCode)
		}
	}
	store.Restart()
	within := time.Now().Add(10 * time.Second)
	for resp, _ = w.ask(p, "POST", "/auth/logout", "", "Sec-Fetch-Site: same-origin"); resp.StatusCode == http.StatusServiceUnavailable && time.Now().Before(within); time.Sleep(50 * time.Millisecond) {
		resp, _ = w.ask(p, "POST", "/auth/logout", "", "Sec-Fetch-Site: same-origin")
	}
	if resp.StatusCode >= 400 {
		t.Errorf("signing out once more = %d", resp.StatusCode)
	}
	if n := w.lines("alert"); n != 0 {
		t.Errorf("%d alerts: %v", n, w.audited("alert"))
	}
}
