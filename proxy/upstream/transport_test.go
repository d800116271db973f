package upstream

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// trust lets a front take a test server's certificate for good.
func trust(f *front, app *httptest.Server) {
	pool := x509.NewCertPool()
	pool.AddCert(app.Certificate())
	f.forward.wire.main.TLSClientConfig.RootCAs = pool
}

func isAll(err error, targets ...error) bool {
	for _, target := range targets {
		if !errors.Is(err, target) {
			return false
		}
	}
	return true
}

func TestOverHTTPS(t *testing.T) {
	for _, proto := range []string{"HTTP/1.1", "HTTP/2.0"} {
		app := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Sni", r.TLS.ServerName)
			echo(w, r)
		}))
		app.EnableHTTP2 = proto == "HTTP/2.0"
		app.StartTLS()
		t.Cleanup(app.Close)
		f := newFront(t, "https://example.com:"+port(app))
		trust(f, app)
		f.forward.wire.main.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, app.Listener.Addr().String())
		}
		resp, body := f.raw(t, "POST /a%2fb?;x HTTP/1.1\r\nHost: app.example\r\nContent-Length: 2\r\n\r\nhi")
		var s seen
		if err := json.Unmarshal([]byte(body), &s); err != nil {
			t.Fatalf("%s: %d %s", proto, resp.StatusCode, body)
		}
		if s.Proto != proto || s.Host != "site.example" || s.Target != "/a%2fb?;x" || s.Body != 2 {
			t.Errorf("application got %s %s%s, %d bytes, want %s site.example/a%%2fb?;x, 2 bytes", s.Proto, s.Host, s.Target, s.Body, proto)
		}
		if sni := resp.Header.Get("X-Sni"); sni != "example.com" {
			t.Errorf("SNI = %q, want the URL's example.com", sni)
		}
	}
}

func port(s *httptest.Server) string {
	_, p, _ := net.SplitHostPort(s.Listener.Addr().String())
	return p
}

func TestForeignCertificate(t *testing.T) {
	app := httptest.NewUnstartedServer(http.HandlerFunc(echo))
	app.Config.ErrorLog = log.New(io.Discard, "", 0)
	app.StartTLS()
	t.Cleanup(app.Close)
	f := newFront(t, app.URL)
	if resp, _ := f.raw(t, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); resp.StatusCode != http.StatusBadGateway {
		t.Errorf("answer = %d, want 502 for an unknown authority", resp.StatusCode)
	}
}

func TestOverH2C(t *testing.T) {
	app := httptest.NewUnstartedServer(http.HandlerFunc(echo))
	app.Config.Protocols = new(http.Protocols)
	app.Config.Protocols.SetUnencryptedHTTP2(true)
	app.Start()
	t.Cleanup(app.Close)
	f := newFront(t, "h2c"+strings.TrimPrefix(app.URL, "http"))
	s := f.get(t, "/a%2fb?x=%zz;", "X_Forwarded_User: evil", "Cookie: a=1; anteroom=s; b=2")
	if s.Proto != "HTTP/2.0" || s.Target != "/a%2fb?x=%zz;" || s.Host != "site.example" || s.Header.Get("Cookie") != "a=1; b=2" {
		t.Errorf("application got %+v", s)
	}
	delete(s.Header, "Cookie")
	checkHeaders(t, s, f.who)
}

func TestOverUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	app := httptest.NewUnstartedServer(http.HandlerFunc(echo))
	app.Listener.Close()
	app.Listener = l
	app.Start()
	t.Cleanup(app.Close)
	f := newFront(t, "unix:"+path)
	if s := f.get(t, "//a?b"); s.Target != "//a?b" || s.Host != "site.example" {
		t.Errorf("application got %s%s, want site.example//a?b", s.Host, s.Target)
	}
}

func TestClientOverHTTP2(t *testing.T) {
	f := newFront(t, newApp(t, echo), over2)
	r, _ := http.NewRequestWithContext(t.Context(), "GET", f.URL+"/a", nil)
	r.Header["X_Forwarded_User"] = []string{"evil"}
	r.Header["Cookie"] = []string{"a=1; anteroom=s; b=2"}
	r.Header["Accept-Encoding"] = []string{"identity"}
	resp, err := f.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var s seen
	if err := json.NewDecoder(resp.Body).Decode(&s); err != nil || resp.ProtoMajor != 2 {
		t.Fatalf("answer in HTTP/%d: %v", resp.ProtoMajor, err)
	}
	if c := s.Header.Get("Cookie"); c != "a=1; b=2" {
		t.Errorf("Cookie = %q, want a=1; b=2", c)
	}
	for _, name := range []string{"Cookie", "Accept-Encoding", "User-Agent"} {
		delete(s.Header, name)
	}
	checkHeaders(t, s, f.who)
}

// TestSpacesInHTTP2Target: a :path with a space would be another request line
// in HTTP/1.1.
func TestSpacesInHTTP2Target(t *testing.T) {
	f := newFront(t, newApp(t, echo), over2)
	r, _ := http.NewRequestWithContext(t.Context(), "GET", f.URL, nil)
	r.URL.Opaque = "/public HTTP/1.1"
	resp, err := f.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusBadRequest {
		t.Errorf("answer = %d, want 400", resp.StatusCode)
	}
}

func TestDeadApplication(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	for _, dest := range []string{"http://" + addr, "h2c://" + addr, "https://" + addr, "unix:/nonexistent.sock"} {
		f := newFront(t, dest)
		if resp, _ := f.raw(t, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); resp.StatusCode != http.StatusBadGateway {
			t.Errorf("%s: answer = %d, want 502", dest, resp.StatusCode)
		}
		if err := f.lastErr(t); !errors.Is(err, ErrUnreachable) || errors.Is(err, ErrTimeout) {
			t.Errorf("%s: Forward = %v, want ErrUnreachable", dest, err)
		}
	}
}

func TestApplicationThatHangsUp(t *testing.T) {
	f := newFront(t, newApp(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	if resp, _ := f.raw(t, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"); resp.StatusCode != http.StatusBadGateway {
		t.Errorf("answer = %d, want 502", resp.StatusCode)
	}
}

func TestApplicationThatTalksNonsense(t *testing.T) {
	for name, answer := range map[string]string{"nonsense": "SSH-2.0-x\r\n", "headers without end": "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 2*maxHeaderBytes)} {
		f := newFront(t, newApp(t, func(w http.ResponseWriter, _ *http.Request) {
			if c, _, err := http.NewResponseController(w).Hijack(); err == nil {
				io.WriteString(c, answer)
				c.Close()
			}
		}))
		if resp, _ := f.raw(t, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); resp.StatusCode != http.StatusBadGateway {
			t.Errorf("%s: answer = %d, want 502", name, resp.StatusCode)
		}
	}
}

func TestSlowApplication(t *testing.T) {
	f := newFront(t, newApp(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }),
		func(_ *Config, _ *Destination, o *Options, _ *front) { o.HeaderTimeout = 20 * time.Millisecond })
	if resp, _ := f.raw(t, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); resp.StatusCode != http.StatusGatewayTimeout {
		t.Errorf("answer = %d, want 504", resp.StatusCode)
	}
	if err := f.lastErr(t); !errors.Is(err, ErrTimeout) || errors.Is(err, ErrUnreachable) {
		t.Errorf("Forward = %v, want ErrTimeout", err)
	}
}

func TestDeadlineOfTheRequest(t *testing.T) {
	f := newFront(t, newApp(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	r := httptest.NewRequestWithContext(ctx, "GET", "/", nil)
	if err := f.forward.Forward(httptest.NewRecorder(), r, f.who, testHop()); !errors.Is(err, ErrTimeout) {
		t.Errorf("Forward = %v, want ErrTimeout", err)
	}
}

func TestBodyTooLong(t *testing.T) {
	f := newFront(t, newApp(t, echo))
	r := httptest.NewRequestWithContext(t.Context(), "POST", "/", strings.NewReader(strings.Repeat("x", 1<<20)))
	w := httptest.NewRecorder()
	r.Body = http.MaxBytesReader(w, r.Body, 10)
	err := f.forward.Forward(w, r, f.who, testHop())
	if long := new(http.MaxBytesError); !errors.As(err, &long) || !errors.Is(err, ErrUnreachable) {
		t.Errorf("Forward = %v, want a MaxBytesError", err)
	}
}

func TestNoProxyFromEnvironment(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	f := newFront(t, newApp(t, echo))
	if f.forward.wire.main.Proxy != nil {
		t.Error("the transport asks for a proxy")
	}
	f.get(t, "/")
}

func TestBadDestinations(t *testing.T) {
	for _, dest := range []string{"", "localhost:80", "ftp://a", "http://", "http://a/base", "http://u:p@a", "http://a?q", "unix:", "unix:app.sock", "unix://host/path", "http://%zz", "//a"} {
		if _, err := NewForwarder(testConfig(), Destination{URL: dest}, nil, Options{}); err == nil {
			t.Errorf("NewForwarder(%q) = nil, want an error", dest)
		}
	}
	for _, dest := range []string{"http://a", "https://a:8443/", "h2c://[::1]:80", "unix:/a", "unix:///a"} {
		if f, err := NewForwarder(testConfig(), Destination{URL: dest}, nil, Options{}); err != nil {
			t.Errorf("NewForwarder(%q) = %v", dest, err)
		} else {
			f.Close()
		}
	}
}
