package upstream

import (
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/coder/websocket"

	"anteroom/session"
)

// cutTime is how long a WebSocket may take to be over once it is cut off: what
// it is given, and room for a busy machine.
const cutTime = frameTime + lingerTime + 2*time.Second

// tunnel is a WebSocket under way, as its two ends and the proxy see it.
type tunnel struct {
	*front
	came chan context.CancelCauseFunc // ends the request that came
	over chan struct{}                // closed when it is over at the proxy
}

// newTunnel is a front for one request, which is ended by what came says.
func newTunnel(t *testing.T, dest string, settings ...setting) *tunnel {
	t.Helper()
	u := &tunnel{came: make(chan context.CancelCauseFunc, 1), over: make(chan struct{})}
	u.front = newFront(t, dest, append(settings, func(_ *Config, _ *Destination, _ *Options, f *front) {
		h := f.Config.Handler
		f.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ctx, end := context.WithCancelCause(r.Context())
			defer close(u.over)
			defer end(nil)
			u.came <- end
			h.ServeHTTP(w, r.WithContext(ctx))
		})
	})...)
	return u
}

// open is the client's end, for a browser.
func (u *tunnel) open(t *testing.T) *websocket.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	c, _, err := websocket.Dial(ctx, u.URL, &websocket.DialOptions{HTTPClient: &http.Client{
		Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.CloseNow() })
	c.SetReadLimit(-1)
	return c
}

// openRaw is the client's end, byte by byte.
func (u *tunnel) openRaw(t *testing.T) net.Conn {
	t.Helper()
	c := u.dial(t)
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	for head := []byte(nil); !bytes.HasSuffix(head, []byte("\r\n\r\n")); {
		b := make([]byte, 1)
		if _, err := io.ReadFull(c, b); err != nil {
			t.Fatalf("after %q: %v, want a 101", head, err)
		}
		head = append(head, b...)
	}
	return c
}

// byteApp is an application that talks byte by byte; ended is closed when its
// connection is.
func byteApp(t *testing.T, talk func(net.Conn)) (dest string, ended chan struct{}) {
	ended = make(chan struct{})
	return newApp(t, func(w http.ResponseWriter, r *http.Request) {
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer c.Close()
		sum := sha1.Sum([]byte(r.Header.Get("Sec-Websocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) // RFC 6455 §4.2.2
		fmt.Fprintf(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: %s\r\n\r\n",
			base64.StdEncoding.EncodeToString(sum[:]))
		talk(c)
		io.Copy(io.Discard, c)
		close(ended)
	}), ended
}

// within fails unless ch is closed in time.
func within(t *testing.T, what string, start time.Time, ch <-chan struct{}) {
	t.Helper()
	select {
	case <-ch:
		if took := time.Since(start); took > cutTime {
			t.Errorf("%s after %v, want at most %v", what, took, cutTime)
		}
	case <-time.After(10 * time.Second):
		t.Fatalf("%s: not after 10 s", what)
	}
}

// readClose reads messages until there are none, and says how that ended.
func readClose(t *testing.T, c *websocket.Conn) (messages int, end websocket.CloseError) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for {
		_, _, err := c.Read(ctx)
		if err == nil {
			messages++
			continue
		}
		if ctx.Err() != nil {
			t.Fatal("the connection is still open")
		}
		errors.As(err, &end)
		return messages, end
	}
}

var errOver = fmt.Errorf("%w: %w", context.Canceled, session.ErrOver)

var sessionEnded = websocket.CloseError{Code: CloseSessionEnded, Reason: "session ended"}

func TestCutOffSocketIsToldWhy(t *testing.T) {
	for name, cut := range map[string]struct {
		cause error
		want  websocket.CloseError
	}{
		"session over":  {session.ErrOver, sessionEnded},
		"as gate tells": {errOver, sessionEnded},
		"shutting down": {ErrShuttingDown, websocket.CloseError{Code: CloseRestarting, Reason: "restarting"}},
		"another":       {nil, websocket.CloseError{}},
	} {
		for scheme, settings := range map[string][]setting{"ws": nil, "wss": {over2}} {
			t.Run(name+"/"+scheme, func(t *testing.T) {
				s := newSockets()
				u := newTunnel(t, newApp(t, s.ServeHTTP), settings...)
				c := u.open(t)
				end, start := <-u.came, time.Now()
				end(cut.cause)
				if _, got := readClose(t, c); got != cut.want {
					t.Errorf("closed with %v, want %v", got, cut.want)
				}
				t.Logf("told after %v", time.Since(start))
				within(t, "over at the proxy", start, u.over)
				within(t, "over at the application", start, s.ended)
			})
		}
	}
}

// flood is an application that sends without end.
func flood(t *testing.T, size int) (dest string, ended chan struct{}) {
	return byteApp(t, func(c net.Conn) {
		for frame := frameOf(finBit|2, size); ; {
			if _, err := c.Write(frame); err != nil {
				return
			}
		}
	})
}

func TestCutInFlood(t *testing.T) {
	for _, size := range []int{0, 125, 1000, 100_000} {
		for scheme, settings := range map[string][]setting{"ws": nil, "wss": {over2}} {
			t.Run(fmt.Sprint(scheme, size), func(t *testing.T) {
				app, ended := flood(t, size)
				u := newTunnel(t, app, settings...)
				c := u.open(t)
				if _, _, err := c.Read(t.Context()); err != nil {
					t.Fatal(err)
				}
				end, start := <-u.came, time.Now()
				end(session.ErrOver)
				if n, got := readClose(t, c); got != sessionEnded {
					t.Errorf("closed after %d messages with %v, want %v", n, got, sessionEnded)
				}
				within(t, "over at the proxy", start, u.over)
				within(t, "over at the application", start, ended)
			})
		}
	}
}

// dam is an application that sends until nobody takes any more; full then says
// so, and it waits.
func dam(t *testing.T) (dest string, ended chan struct{}, full chan bool) {
	full = make(chan bool, 1)
	dest, ended = byteApp(t, func(c net.Conn) {
		for frame := frameOf(finBit|2, 1<<20); ; {
			c.SetWriteDeadline(time.Now().Add(frameTime / 5))
			if n, err := c.Write(frame); err != nil {
				full <- true
				c.SetWriteDeadline(time.Time{})
				c.Write(frame[n:])
				return
			}
		}
	})
	return dest, ended, full
}

// TestCutOfClientThatReadsNothing: it holds nothing up.
func TestCutOfClientThatReadsNothing(t *testing.T) {
	for name, settings := range map[string][]setting{"ws": nil, "wss": {over2}} {
		t.Run(name, func(t *testing.T) {
			app, ended, full := dam(t)
			u := newTunnel(t, app, settings...)
			u.open(t)
			<-full
			end, start := <-u.came, time.Now()
			end(session.ErrOver)
			within(t, "over at the proxy", start, u.over)
			within(t, "over at the application", start, ended)
		})
	}
	app, ended := byteApp(t, func(net.Conn) {})
	u := newTunnel(t, app)
	u.open(t) // there is room for the Close frame, but no answer
	end, start := <-u.came, time.Now()
	end(session.ErrOver)
	within(t, "over at the proxy", start, u.over)
	within(t, "over at the application", start, ended)
}
