package session

import (
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"anteroom/test/loopback"
)

// TestTransportFollows: in HTTP/1.1 and HTTP/2, a transport and what is derived
// of it know servers by the authorities of now, also where there is a connection
// from before. What is under way goes on.
func TestTransportFollows(t *testing.T) {
	old, next := loopback.Certificate(t), loopback.Certificate(t)
	for _, proto := range []string{"HTTP/1.1", "HTTP/2.0"} {
		t.Run(proto, func(t *testing.T) {
			more := make(chan bool)
			s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/long" {
					return
				}
				io.WriteString(w, "one ")
				w.(http.Flusher).Flush()
				<-more
				io.WriteString(w, "two")
			}))
			s.TLS, s.EnableHTTP2 = &tls.Config{Certificates: []tls.Certificate{next.Issue(t).TLS(t)}}, proto == "HTTP/2.0"
			s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
			var open atomic.Int32
			s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
				switch state {
				case http.StateNew:
					open.Add(1)
				case http.StateClosed:
					open.Add(-1)
				}
			}
			s.StartTLS()
			defer s.Close()
			file, _ := old.Files(t)
			by, err := OpenAuthorities(file)
			if err != nil {
				t.Fatal(err)
			}
			first := NewTransport(&http.Transport{TLSClientConfig: &tls.Config{}, ForceAttemptHTTP2: true}, by)
			second := Derive(first, func(t *http.Transport) { t.IdleConnTimeout = time.Minute })
			third := Derive(second, func(t *http.Transport) { // as session/signin has it
				t.DisableKeepAlives, t.ForceAttemptHTTP2, t.Protocols = true, false, new(http.Protocols)
				t.Protocols.SetHTTP1(true)
				t.TLSNextProto, t.TLSClientConfig.NextProtos = map[string]func(string, *tls.Conn) http.RoundTripper{}, nil
			})
			get := func(by *Transport, path, want string) (*http.Response, error) {
				r, _ := http.NewRequestWithContext(t.Context(), "GET", s.URL+path, nil)
				resp, err := by.RoundTrip(r)
				if err == nil && resp.Proto != want {
					err = fmt.Errorf("%s, want %s", resp.Proto, want)
				}
				return resp, err
			}
			for name, c := range map[string]struct {
				by    *Transport
				proto string
			}{"itself": {first, proto}, "derived": {second, proto}, "derived of that": {third, "HTTP/1.1"}} {
				t.Run(name, func(t *testing.T) {
					loopback.FollowAuthorities(t, old, next, first.RenewAuthorities, func() error {
						resp, err := get(c.by, "/", c.proto)
						if err == nil {
							resp.Body.Close()
						}
						return err
					})
				})
			}
			for end := time.Now().Add(10 * time.Second); open.Load() > 0; time.Sleep(time.Millisecond) {
				if time.Now().After(end) {
					t.Fatalf("%d connections from before are open", open.Load())
				}
			}
			if err := by.Renew(string(next.Cert)); err != nil {
				t.Fatal(err)
			}
			long, err := get(first, "/long", proto)
			if err != nil {
				t.Fatal(err)
			}
			if err := by.Renew(string(old.Cert)); err != nil {
				t.Fatal(err)
			}
			if _, err := get(first, "/", proto); err == nil {
				t.Error("with a request under way, another goes out on its connection")
			}
			close(more)
			if b, err := io.ReadAll(long.Body); string(b) != "one two" {
				t.Errorf("the request under way: %q, %v, want it whole", b, err)
			}
			long.Body.Close()
		})
	}
	if Derive(struct{ http.RoundTripper }{http.DefaultTransport}, nil) != nil {
		t.Error("something is derived of a transport that is wrapped")
	}
}
