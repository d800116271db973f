package upstream

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"anteroom/session"
)

// sockets echoes messages; it sends its first request's header to came and
// closes ended when the socket is over.
type sockets struct {
	came  chan http.Header
	ended chan struct{}
}

func newSockets() *sockets {
	return &sockets{came: make(chan http.Header, 1), ended: make(chan struct{})}
}

func (s *sockets) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		return
	}
	defer close(s.ended)
	defer c.CloseNow()
	s.came <- r.Header
	c.SetReadLimit(4 << 20)
	for {
		kind, b, err := c.Read(context.Background())
		if err != nil {
			return
		}
		if err := c.Write(context.Background(), kind, b); err != nil {
			return
		}
	}
}

func dialSocketAt(t *testing.T, f *front) *websocket.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	c, _, err := websocket.Dial(ctx, f.URL+"/ws?token=evil", &websocket.DialOptions{HTTPHeader: http.Header{"Cookie": {"anteroom=s"}, "X-Forwarded-User": {"evil"}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.CloseNow() })
	c.SetReadLimit(4 << 20)
	return c
}

func TestWebSocket(t *testing.T) {
	s := newSockets()
	app := newApp(t, s.ServeHTTP)
	for name, dest := range map[string]string{"http": app, "h2c": "h2c" + strings.TrimPrefix(app, "http")} {
		t.Run(name, func(t *testing.T) {
			*s = *newSockets()
			f := newFront(t, dest, withQuery)
			c := dialSocketAt(t, f)
			h := <-s.came
			if h.Get("X-Forwarded-User") != "testdoc" || h.Get("Cookie") != "" || !strings.HasPrefix(h.Get("Authorization"), "Bearer ") {
				t.Errorf("handshake header = %v, want our identity and no cookie", h)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			for _, msg := range []string{"hello", strings.Repeat("audio", 300_000)} {
				if err := c.Write(ctx, websocket.MessageBinary, []byte(msg)); err != nil {
					t.Fatal(err)
				}
				if _, b, err := c.Read(ctx); err != nil || string(b) != msg {
					t.Fatalf("echo = %d bytes, %v, want %d", len(b), err, len(msg))
				}
			}
			f.cut() // the session ends
			if _, _, err := c.Read(ctx); err == nil || ctx.Err() != nil {
				t.Errorf("client's read after the session = %v, want the connection closed", err)
			}
			<-s.ended
		})
	}
}

func TestWebSocketCloseByEitherSide(t *testing.T) {
	s := newSockets()
	f := newFront(t, newApp(t, s.ServeHTTP))
	c := dialSocketAt(t, f)
	if err := c.Close(websocket.StatusNormalClosure, "bye"); err != nil {
		t.Errorf("closing handshake = %v", err)
	}
	<-s.ended
}

func TestApplicationsOwnClose(t *testing.T) {
	u := newTunnel(t, newApp(t, func(w http.ResponseWriter, r *http.Request) {
		if c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true}); err == nil {
			c.Close(4000, "done")
		}
	}))
	if _, got := readClose(t, u.open(t)); got != (websocket.CloseError{Code: 4000, Reason: "done"}) {
		t.Errorf("closed with %v, want the application's 4000 done", got)
	}
}

// TestNoSecondClose: after the application's own Close frame nothing is said
// (RFC 6455 §5.5.1).
func TestNoSecondClose(t *testing.T) {
	own := newCloseFrame(4000, "done")
	app, ended := byteApp(t, func(c net.Conn) { c.Write(own) })
	u := newTunnel(t, app)
	c := u.openRaw(t)
	if _, err := io.ReadFull(c, make([]byte, len(own))); err != nil {
		t.Fatal(err)
	}
	end, start := <-u.came, time.Now()
	end(session.ErrOver)
	if b, err := io.ReadAll(c); len(b) > 0 || err != nil {
		t.Errorf("read %x, %v, want the end", b, err)
	}
	c.Close()
	within(t, "over at the proxy", start, u.over)
	within(t, "over at the application", start, ended)
}

// TestWebSocketOfClientThatReadsNothing: a sign-out closes it all the same.
func TestWebSocketOfClientThatReadsNothing(t *testing.T) {
	over := make(chan struct{})
	f := newFront(t, newApp(t, func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		for buf := make([]byte, 1<<16); err == nil; {
			err = c.Write(context.Background(), websocket.MessageBinary, buf)
		}
	}))
	h := f.Config.Handler
	f.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(over)
		h.ServeHTTP(w, r)
	})
	dialSocketAt(t, f)
	f.cut()
	<-over
}

func TestHandshakeRefusedByApplication(t *testing.T) {
	f := newFront(t, newApp(t, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusForbidden) }))
	resp, body := f.raw(t, "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	if resp.StatusCode != http.StatusForbidden || body != "no\n" {
		t.Errorf("answer = %d %q, want the application's 403", resp.StatusCode, body)
	}
}

func TestOtherUpgradesAreDropped(t *testing.T) {
	f := newFront(t, newApp(t, echo))
	for _, lines := range []string{
		"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__",
		"Connection: Upgrade\r\nUpgrade: websocket, h2c", "Connection: Upgrade\r\nUpgrade: h2c, websocket",
		"Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c", "Connection: Upgrade\r\nUpgrade: TLS/1.0",
		"Connection: keep-alive\r\nUpgrade: websocket", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__",
	} {
		t.Run(lines, func(t *testing.T) { checkHeaders(t, f.get(t, "/", lines), f.who) })
	}
	s := f.send(t, "POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\n")
	delete(s.Header, "Content-Length")
	checkHeaders(t, s, f.who)
}

// TestUnaskedSwitch: an application that switches protocols unasked opens no
// tunnel.
func TestUnaskedSwitch(t *testing.T) {
	for name, lines := range map[string]string{"plain": "", "h2c": "Connection: Upgrade\r\nUpgrade: h2c\r\n", "other": "Connection: Upgrade\r\nUpgrade: websocket\r\n"} {
		f := newFront(t, newApp(t, func(w http.ResponseWriter, _ *http.Request) {
			c, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				return
			}
			defer c.Close()
			io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
			io.Copy(io.Discard, c)
		}))
		resp, _ := f.raw(t, "GET / HTTP/1.1\r\nHost: a\r\n"+lines+"\r\n")
		if resp.StatusCode != http.StatusBadGateway {
			t.Errorf("%s: answer = %d, want 502", name, resp.StatusCode)
		}
	}
}

// TestSocketOverTLS: https servers that prefer HTTP/2 are spoken to in
// HTTP/1.1 for a WebSocket.
func TestSocketOverTLS(t *testing.T) {
	s := newSockets()
	app := httptest.NewUnstartedServer(s)
	app.EnableHTTP2 = true
	app.StartTLS()
	t.Cleanup(app.Close)
	f := newFront(t, app.URL)
	trust(f, app)
	c := dialSocketAt(t, f)
	if err := c.Write(t.Context(), websocket.MessageText, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if _, b, err := c.Read(t.Context()); string(b) != "hello" {
		t.Errorf("echo = %q, %v", b, err)
	}
}

// TestBytesSentWithTheHandshake: what a client sends early is not lost.
func TestBytesSentWithTheHandshake(t *testing.T) {
	f := newFront(t, newApp(t, func(w http.ResponseWriter, _ *http.Request) {
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer c.Close()
		io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		line, _ := rw.ReadString('\n')
		io.WriteString(c, "got "+line)
	}))
	c := f.dial(t)
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\r\n")
	answers := bufio.NewReader(c)
	resp, err := http.ReadResponse(answers, &http.Request{Method: "GET", URL: &url.URL{}})
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("answer = %v, %v, want 101", resp, err)
	}
	io.WriteString(c, "early\n")
	if line, err := answers.ReadString('\n'); line != "got early\n" {
		t.Errorf("line = %q, %v, want got early", line, err)
	}
}
