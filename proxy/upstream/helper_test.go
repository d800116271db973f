package upstream

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"anteroom/session"
)

const testSecret = "0123456789abcdef0123456789abcdef"

// testConfig is the configuration's defaults, with an algorithm that makes no
// key.
func testConfig() Config {
	return Config{
		Headers: HeaderConfig{
			User: "X-Forwarded-User", PreferredUsername: "X-Forwarded-Preferred-Username",
			Email: "X-Forwarded-Email", Name: "X-Forwarded-Name", Groups: "X-Forwarded-Groups", GroupsMax: 4096,
		},
		JWT:   JWTConfig{Algorithm: "HS256", Lifetime: 5 * time.Minute, Header: "Authorization", Query: "token", Secret: testSecret},
		Strip: []string{"Remote-User", "X-Auth-Request-User"},
	}
}

func testWho() *session.Identity {
	return &session.Identity{
		Subject: "testdoc", Username: "test.doc", Email: "testdoc@example.com", Name: "Test Doctor",
		Groups: []string{"physicians", "users"}, SessionID: "s1",
	}
}

func testHop() *Hop {
	return &Hop{ClientIP: "192.0.2.7", ForwardedFor: "192.0.2.7", Proto: "https", Host: "site.example",
		RequestID: "req-1", Traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
}

func ownCookie(name string) bool { return name == "__Host-anteroom" || name == "anteroom" }

func newAsserter(tb testing.TB, cfg Config, now func() time.Time) *Asserter {
	tb.Helper()
	keys, err := OpenKeys(cfg.JWT, now, nil)
	if err != nil {
		tb.Fatal(err)
	}
	return NewAsserter(cfg, "https://site.example", keys, now)
}

// front is a proxy in front of one application, on a socket of its own.
type front struct {
	*httptest.Server
	forward *Forwarder
	who     *session.Identity
	cut     context.CancelFunc // ends whatever is under way, as a sign-out does
	errs    chan error         // what Forward returned, where it was not nil
	before  http.Header        // set on every answer before Forward
}

type setting func(*Config, *Destination, *Options, *front)

func asNobody(_ *Config, _ *Destination, _ *Options, f *front) { f.who = nil }

func withQuery(_ *Config, d *Destination, _ *Options, _ *front) { d.JWTInQuery = true }

func over2(_ *Config, _ *Destination, _ *Options, f *front) { f.EnableHTTP2 = true }

func newFront(t *testing.T, dest string, settings ...setting) *front {
	t.Helper()
	ctx, cut := context.WithCancel(t.Context())
	f := &front{who: testWho(), cut: cut, errs: make(chan error, 64)}
	f.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		defer context.AfterFunc(ctx, cancel)()
		for name, v := range f.before {
			w.Header()[name] = v
		}
		if err := f.forward.Forward(w, r.WithContext(rctx), f.who, testHop()); err != nil {
			f.errs <- err
			w.WriteHeader(statusOf(err))
		}
	}))
	f.Config.ErrorLog = log.New(io.Discard, "", 0)
	cfg, d, o := testConfig(), Destination{URL: dest}, Options{OwnCookie: ownCookie, DialTimeout: 5 * time.Second}
	for _, s := range settings {
		s(&cfg, &d, &o, f)
	}
	var err error
	if f.forward, err = NewForwarder(cfg, d, newAsserter(t, cfg, time.Now), o); err != nil {
		t.Fatal(err)
	}
	if f.EnableHTTP2 {
		f.StartTLS()
	} else {
		f.Start()
	}
	t.Cleanup(func() { cut(); f.Close(); f.forward.Close() })
	return f
}

func statusOf(err error) int {
	switch {
	case errors.Is(err, ErrTimeout):
		return http.StatusGatewayTimeout
	case errors.Is(err, ErrTarget):
		return http.StatusBadRequest
	case errors.Is(err, ErrUnreachable):
		return http.StatusBadGateway
	}
	return http.StatusInternalServerError
}

// seen is a request as an application got it.
type seen struct {
	Method, Target, Host, Proto string
	Header                      http.Header
	Trailer                     http.Header
	Body                        int64
}

func echo(w http.ResponseWriter, r *http.Request) {
	n, _ := io.Copy(io.Discard, r.Body)
	json.NewEncoder(w).Encode(seen{r.Method, r.RequestURI, r.Host, r.Proto, r.Header, r.Trailer, n})
}

func newApp(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.Start()
	t.Cleanup(s.Close)
	return s.URL
}

// raw sends bytes and reads one answer.
func (f *front) raw(t *testing.T, request string) (*http.Response, string) {
	t.Helper()
	c := f.dial(t)
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	return readAnswer(t, bufio.NewReader(c))
}

func (f *front) dial(t *testing.T) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", f.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(20 * time.Second))
	return c
}

func readAnswer(t *testing.T, r *bufio.Reader) (*http.Response, string) {
	t.Helper()
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatalf("reading the answer: %v", err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("reading the answer's body: %v", err)
	}
	return resp, string(b)
}

// get sends GET with header lines and returns what the application saw.
func (f *front) get(t *testing.T, target string, lines ...string) seen {
	t.Helper()
	return f.send(t, "GET "+target+" HTTP/1.1\r\nHost: app.example\r\n"+joined(lines)+"\r\n")
}

func (f *front) send(t *testing.T, request string) (s seen) {
	t.Helper()
	resp, body := f.raw(t, request)
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("answer to %q = %d %s, want 200", request, resp.StatusCode, body)
	}
	if err := json.Unmarshal([]byte(body), &s); err != nil {
		t.Fatal(err)
	}
	return s
}

func joined(lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	return strings.Join(lines, "\r\n") + "\r\n"
}

func (f *front) lastErr(t *testing.T) error {
	t.Helper()
	select {
	case err := <-f.errs:
		return err
	case <-time.After(20 * time.Second):
		t.Fatal("Forward returned no error")
	}
	return fmt.Errorf("unreachable")
}
