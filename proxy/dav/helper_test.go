package dav

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"anteroom/integrations"
	"anteroom/session"
)

// upstream is a stand-in for Nextcloud that writes down what it is asked.
type upstream struct {
	*httptest.Server
	mu     sync.Mutex
	asked  []asked // guarded by mu
	answer http.HandlerFunc
}

type asked struct {
	method, uri, body string
	h                 http.Header
	length            int64
	chunked           bool
}

func newUpstream(t *testing.T, answer http.HandlerFunc) *upstream {
	u := &upstream{answer: answer}
	u.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		u.mu.Lock()
		u.asked = append(u.asked, asked{r.Method, r.RequestURI, string(body), r.Header.Clone(), r.ContentLength, len(r.TransferEncoding) > 0})
		u.mu.Unlock()
		u.answer(w, r)
	}))
	t.Cleanup(u.Close)
	return u
}

// heard is what it was asked since the last call.
func (u *upstream) heard() []asked {
	u.mu.Lock()
	defer u.mu.Unlock()
	a := u.asked
	u.asked = nil
	return a
}

// front is the passthrough on a socket; whoever comes is testdoc, or whom they say.
type front struct {
	*httptest.Server
	service *Service
	mu      sync.Mutex
	call    Call // guarded by mu: of the last request
	err     error
}

func newFront(t *testing.T, cfg integrations.Config, change func(*Options)) *front {
	f := &front{}
	var s *Service
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path, _, _ := strings.Cut(r.RequestURI, "?")
		subject := cmp.Or(r.Header.Get("X-Caller"), "testdoc")
		c := &Call{Caller: integrations.Caller{Who: &session.Identity{Subject: subject, Method: session.ByClient, Username: "indexer"}, ForwardedFor: "192.0.2.7", RequestID: "request-1"}, Path: path}
		err := s.Serve(w, r, c)
		f.mu.Lock()
		f.call, f.err = *c, err
		f.mu.Unlock()
		var no *Refusal
		if errors.As(err, &no) {
			http.Error(w, no.Reason, no.Status)
		}
	}))
	t.Cleanup(f.Close)
	o := Options{Client: &http.Client{Transport: &http.Transport{}}, Public: f.URL, Log: slog.New(slog.DiscardHandler),
		Ours: func(host string) bool { return "http://"+host == f.URL || host == "voice.example.com" }}
	if change != nil {
		change(&o)
	}
	var err error
	if s, err = New(cfg, o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	f.service = s
	return f
}

// services are the three of a Nextcloud at base, of one service account.
func services(base string) integrations.Config {
	account := func(path, mount string) integrations.DAV {
		return integrations.DAV{URL: base + path, Username: "svc", Password: "canary-password", Mount: mount, Credential: "service"}
	}
	return integrations.Config{WebDAV: account("/remote.php/dav", "/dav"), CalDAV: account("/remote.php/dav/calendars", "/calendar"), CardDAV: account("/remote.php/dav/addressbooks", "/contacts")}
}

// ask sends one request; headers are "Name: value" lines.
func (f *front) ask(t *testing.T, method, uri, body string, headers ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(context.Background(), method, f.URL+"/", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body == "" {
		r.Body, r.ContentLength = http.NoBody, 0
	}
	r.URL.Opaque = uri
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header[name] = append(r.Header[name], value)
	}
	client := &http.Client{Transport: &http.Transport{DisableCompression: true}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	defer client.CloseIdleConnections()
	resp, err := client.Do(r)
	if err != nil {
		t.Fatalf("%s %s: %v", method, uri, err)
	}
	defer resp.Body.Close()
	out, _ := io.ReadAll(resp.Body)
	return resp, string(out)
}

func created(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusCreated) }
