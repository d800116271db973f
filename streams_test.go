package main

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"anteroom/demo"
	"anteroom/test/person"
)

// dial opens a WebSocket as a page of origin would.
func (w *town) dial(ctx context.Context, p *person.Person, origin string) (*websocket.Conn, *http.Response, error) {
	u, err := url.Parse(w.site)
	if err != nil {
		w.Fatal(err)
	}
	h := http.Header{"Origin": {origin}}
	for _, c := range p.Client.Jar.Cookies(u) {
		h.Add("Cookie", c.Name+"="+c.Value)
	}
	return websocket.Dial(ctx, "ws"+strings.TrimPrefix(w.site, "http")+"/echo", &websocket.DialOptions{HTTPHeader: h})
}

func TestSignOutEndsStreams(t *testing.T) {
	for _, store := range []string{"oidc, newer", "cookie sessions"} {
		t.Run(store, func(t *testing.T) {
			w := found(t, providers[store].o, providers[store].env...)
			doc, _ := w.testdoc("/")
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			socket, _, err := w.dial(ctx, doc, w.site)
			if err != nil {
				t.Fatalf("WebSocket: %v", err)
			}
			defer socket.CloseNow()
			if _, hello, err := socket.Read(ctx); err != nil || !strings.Contains(string(hello), "testdoc") {
				t.Fatalf("first message = %q, %v, want one that names testdoc", hello, err)
			}
			events, err := doc.Client.Get(w.site + "/events")
			if err != nil {
				t.Fatal(err)
			}
			defer events.Body.Close()
			stream := bufio.NewReader(events.Body)
			if _, err := stream.ReadString('\n'); err != nil {
				t.Fatalf("first event: %v", err)
			}

			w.signOut(doc)
			start := time.Now()
			if _, _, err := socket.Read(ctx); err == nil {
				t.Error("the WebSocket went on after signing out")
			}
			if _, err := io.Copy(io.Discard, stream); err == nil && time.Since(start) > 5*time.Second {
				t.Error("the event stream went on after signing out")
			}
			if took := time.Since(start); took > time.Second {
				t.Errorf("streams ended %v after signing out, want at once", took)
			}
		})
	}
}

func TestWebSocketOrigin(t *testing.T) {
	w := found(t, demo.Options{}, "ANTEROOM_SERVER_ALLOWED_ORIGINS=https://spa.example")
	doc, _ := w.testdoc("/")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for origin, want := range map[string]int{
		w.site: http.StatusSwitchingProtocols, strings.ToUpper(w.site): http.StatusSwitchingProtocols,
		"https://evil.example": http.StatusForbidden, "null": http.StatusForbidden, w.site + ".evil.example": http.StatusForbidden,
		strings.Replace(w.site, "http:", "https:", 1): http.StatusForbidden,
	} {
		socket, resp, err := w.dial(ctx, doc, origin)
		if resp == nil {
			t.Fatalf("dial from %s: %v", origin, err)
		}
		if resp.StatusCode != want {
			t.Errorf("WebSocket from %s = %d, want %d", origin, resp.StatusCode, want)
		}
		if socket != nil {
			socket.CloseNow()
		}
	}
}

// TestStopDrains: a stop waits for what is under way, and cuts a socket off
// when the time is over.
func TestStopDrains(t *testing.T) {
	w := found(t, demo.Options{}, "ANTEROOM_SERVER_DRAIN_TIMEOUT=500ms")
	doc, _ := w.testdoc("/")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	socket, _, err := w.dial(ctx, doc, w.site)
	if err != nil {
		t.Fatal(err)
	}
	defer socket.CloseNow()
	socket.Read(ctx)
	w.stop()
	if _, _, err := socket.Read(ctx); err == nil {
		t.Error("a socket outlived the program")
	}
}

// TestSecondSignalEndsAtOnce: a stop says that it waits; asked again, it does
// not, and what it cut off is not put down to the client.
func TestSecondSignalEndsAtOnce(t *testing.T) {
	w := found(t, demo.Options{}, "ANTEROOM_SERVER_DRAIN_TIMEOUT=1m", "ANTEROOM_INTEGRATIONS_WEBDAV_CREDENTIAL=user")
	body, rest := io.Pipe()
	defer rest.Close()
	r, err := http.NewRequestWithContext(t.Context(), "PUT", w.site+"/dav/files/testdoc/slow.txt", body)
	if err != nil {
		t.Fatal(err)
	}
	r.SetBasicAuth(demo.DefaultUser, demo.DefaultPassword)
	over := make(chan struct{})
	go func() {
		defer close(over)
		if resp, err := http.DefaultClient.Do(r); err == nil {
			resp.Body.Close()
		}
	}()
	rest.Write([]byte("half"))
	w.await("under way", func() bool {
		_, metrics := get(t, w.admin+"/metrics")
		return strings.Contains(metrics, "\nanteroom_requests_in_flight 1\n")
	})
	go w.stop()
	w.await("stopping", func() bool { return strings.Contains(w.log.String(), `"msg":"stopping","requests":1,`) })
	mine := make(chan os.Signal, 1) // one that comes too late ends no test
	signal.Notify(mine, syscall.SIGINT)
	defer signal.Stop(mine)
	start := time.Now()
	stopped := make(chan struct{})
	go func() { w.stop(); close(stopped) }()
	for again := true; again; { // the first ones count as the one that has it stop
		if err := syscall.Kill(os.Getpid(), syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		select {
		case <-stopped:
			again = false
		case <-time.After(50 * time.Millisecond):
		}
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("stopped %v after the second signal, want at once", took)
	}
	rest.Close()
	<-over
	lines := w.audited("access")
	if len(lines) != 1 || lines[0]["reason"] != "stopping" || lines[0]["status"] != 503.0 {
		t.Errorf("audit lines of the upload = %v, want one that says stopping", lines)
	}
}

// TestSpoofedIdentity: nothing a client says about who it is arrives, signed in
// or on a public route, in any spelling.
func TestSpoofedIdentity(t *testing.T) {
	w := found(t, demo.Options{}, `ANTEROOM_ROUTES=[{path: /public, allow: public}]`)
	doc, _ := w.testdoc("/")
	names := []string{"X-Forwarded-User", "X_Forwarded_User", "X.Forwarded.Groups", "x-forwarded-email", "X-Forwarded_Name", "Remote-User", "Remote_User", "X-Real-IP",
		"Forwarded", "X-Original-URL", "X-Forwarded-Prefix", "Authorization", "X-Auth-Request-User", "Traceparent", "X-Request-ID"}
	for _, path := range []string{"/headers", "/public/"} {
		for _, n := range names {
			before := len(w.app.requests())
			w.ask(doc, "GET", path, "", n+": spoofed", "Connection: X-Forwarded-User, Authorization, X-Request-Id")
			for _, r := range w.app.requests()[before:] {
				for name, values := range r.Header {
					if strings.Contains(strings.Join(values, ","), "spoofed") {
						t.Errorf("%s: %s arrived as %s", path, n, name)
					}
				}
				if r.Header.Get("X-Forwarded-User") != "testdoc" || !strings.HasPrefix(r.Header.Get("Authorization"), "Bearer ey") {
					t.Errorf("%s with %s: identity headers are missing: %v", path, n, r.Header["X-Forwarded-User"])
				}
			}
		}
	}
}
