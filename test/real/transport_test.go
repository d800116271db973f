//go:build real

package realtest

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"anteroom/demo"
	"anteroom/test/loopback"
)

// TestHTTPS serves TLS itself: HTTP/2, and cookies that no other host, path or
// plain connection can set or read.
func TestHTTPS(t *testing.T) {
	pair := loopback.Certificate(t)
	cert, key := pair.Files(t)
	s, app, p := newSite(t), newApplication(t), newPerson(t)
	s.URL = strings.Replace(s.URL, "http:", "https:", 1)
	s.Redirect = s.URL + "/auth/callback"
	nc := startNextcloud(t, s, demo.Options{})
	s.start(t, settings{env: with(nc.env(), "ANTEROOM_UPSTREAM", app.URL, "ANTEROOM_SERVER_TLS_CERT", cert, "ANTEROOM_SERVER_TLS_KEY", key)})
	transport := p.client.Transport.(*http.Transport)
	transport.TLSClientConfig, transport.ForceAttemptHTTP2 = &tls.Config{RootCAs: pair.Pool()}, true

	got := shown(t, p.signIn(s, s.URL+"/x", demo.DefaultUser, demo.DefaultPassword))
	if proto := got.Headers.Get("X-Forwarded-Proto"); proto != "https" {
		t.Errorf("the application got X-Forwarded-Proto %q, want https", proto)
	}
	if p.cookie(s.URL, "__Host-anteroom") == "" {
		t.Error("over https there is no cookie __Host-anteroom")
	}
	r := p.request(http.MethodGet, s.URL+"/auth/login?switch=1", nil)
	resp, err := (&http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.ProtoMajor != 2 {
		t.Errorf("the site speaks %s, want HTTP/2", resp.Proto)
	}
	for _, c := range resp.Cookies() {
		if !strings.HasPrefix(c.Name, "__Host-") || !c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" {
			t.Errorf("the site sets %s, want __Host-, Secure, HttpOnly, SameSite=Lax, Path=/", c.Name)
		}
	}
	if _, err := tls.Dial("tcp", s.Listen, &tls.Config{RootCAs: pair.Pool(), ServerName: "localhost", MaxVersion: tls.VersionTLS11}); err == nil {
		t.Error("the site accepts TLS 1.1")
	}
}

// TestStreams reads server-sent events as they are sent, over each way to an
// application, and sees them end with the session.
func TestStreams(t *testing.T) {
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprintf(w, "data: %s\n\n", r.Proto)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	for scheme, serve := range map[string]func(t *testing.T) string{
		"http": func(t *testing.T) string { return serveApp(t, handler, "tcp", "127.0.0.1:0", false) },
		"h2c":  func(t *testing.T) string { return serveApp(t, handler, "tcp", "127.0.0.1:0", true) },
		"unix": func(t *testing.T) string {
			return serveApp(t, handler, "unix", filepath.Join(t.TempDir(), "app.sock"), false)
		},
	} {
		t.Run(scheme, func(t *testing.T) {
			s, p := newSite(t), newPerson(t)
			nc := startNextcloud(t, s, demo.Options{})
			s.start(t, settings{env: with(nc.env(), "ANTEROOM_UPSTREAM", serve(t))})
			p.signIn(s, s.URL+"/auth/", demo.DefaultUser, demo.DefaultPassword)
			resp, err := p.client.Do(p.request(http.MethodGet, s.URL+"/events", nil))
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			want := map[bool]string{true: "data: HTTP/2.0\n", false: "data: HTTP/1.1\n"}[scheme == "h2c"]
			in := bufio.NewReader(resp.Body)
			if line, err := in.ReadString('\n'); line != want {
				t.Fatalf("the first event is %q, %v (status %d), want %q while the stream is open", line, err, resp.StatusCode, want)
			}
			ended := make(chan struct{})
			go func() { io.Copy(io.Discard, in); close(ended) }()
			r := p.request(http.MethodPost, s.URL+"/auth/logout", nil)
			r.Header.Set("Origin", s.URL)
			p.do(r)
			select {
			case <-ended:
			case <-time.After(2 * time.Second):
				t.Error("the stream goes on 2 s after signing out, want it ended")
			}
		})
	}
}

// serveApp serves an application and returns its address as upstream wants it.
func serveApp(t *testing.T, h http.Handler, network, addr string, h2c bool) string {
	t.Helper()
	l, err := net.Listen(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(h)
	server.Listener.Close()
	server.Listener = l
	protocols := new(http.Protocols)
	protocols.SetHTTP1(!h2c)
	protocols.SetUnencryptedHTTP2(h2c)
	server.Config.Protocols = protocols
	server.Start()
	t.Cleanup(server.Close)
	switch {
	case network == "unix":
		return "unix:" + addr
	case h2c:
		return "h2c://" + l.Addr().String()
	}
	return "http://" + l.Addr().String()
}
