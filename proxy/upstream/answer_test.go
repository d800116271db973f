package upstream

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"anteroom/session"
)

// TestCauseIsNoFaultOfApplication: a request that is ended for a cause is one
// that nobody wants any more, before its answer and within it.
func TestCauseIsNoFaultOfApplication(t *testing.T) {
	for _, cause := range []error{errOver, ErrShuttingDown} {
		t.Run(cause.Error(), func(t *testing.T) {
			u := newTunnel(t, newApp(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
			go func() { (<-u.came)(cause) }()
			if resp, err := http.Get(u.URL); err == nil {
				resp.Body.Close()
			}
			if err := u.lastErr(t); !isAll(err, ErrUnreachable, context.Canceled) {
				t.Errorf("Forward = %v, want ErrUnreachable and context.Canceled", err)
			}
		})
	}
}

// TestCutStreamIsNotLogged: only the application's own faults are.
func TestCutStreamIsNotLogged(t *testing.T) {
	for name, header := range map[string]http.Header{"endless": {}, "short": {"Content-Length": {"100000"}}} {
		for _, cause := range []error{nil, errOver, ErrShuttingDown} {
			t.Run(name, func(t *testing.T) {
				var log bytes.Buffer
				u := newTunnel(t, newApp(t, func(w http.ResponseWriter, r *http.Request) {
					for k, v := range header {
						w.Header()[k] = v
					}
					w.Write(make([]byte, 50_000))
					http.NewResponseController(w).Flush()
					<-r.Context().Done()
				}), func(_ *Config, _ *Destination, o *Options, _ *front) {
					o.Log = slog.New(slog.NewTextHandler(&log, nil))
				})
				resp, err := http.Get(u.URL)
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				(<-u.came)(cause)
				if _, err := io.ReadAll(resp.Body); err == nil || errors.Is(err, io.EOF) {
					t.Errorf("answer ended with %v, want it cut off", err)
				}
				if <-u.over; log.Len() > 0 {
					t.Errorf("logged %s, want nothing", &log)
				}
			})
		}
	}
}

// TestNothingReachesApplicationAfterCut, though a frame of its own goes on.
func TestNothingReachesApplicationAfterCut(t *testing.T) {
	got, half := make(chan string, 1), make(chan struct{})
	app, _ := byteApp(t, func(c net.Conn) {
		c.Write(frameOf(finBit|2, 100)[:50])
		<-half
		c.SetReadDeadline(time.Now().Add(cutTime))
		b, _ := io.ReadAll(c)
		got <- string(b)
	})
	u := newTunnel(t, app)
	c := u.openRaw(t)
	if _, err := io.ReadFull(c, make([]byte, 50)); err != nil {
		t.Fatal(err)
	}
	(<-u.came)(session.ErrOver)
	io.WriteString(c, strings.Repeat("late", 100))
	close(half)
	if b := <-got; b != "" {
		t.Errorf("the application read %q after the session, want nothing", b)
	}
}

// TestCutWhileClientSends: what it sent and nobody reads does not make the end
// a reset, which could overtake the Close frame.
func TestCutWhileClientSends(t *testing.T) {
	stop := make(chan struct{})
	defer close(stop)
	app, _ := byteApp(t, func(net.Conn) { <-stop })
	u := newTunnel(t, app)
	c := u.openRaw(t)
	c.SetWriteDeadline(time.Now().Add(frameTime)) // nobody takes that much
	if _, err := c.Write(make([]byte, 64<<20)); err == nil {
		t.Fatal("everything was taken, want the buffers full")
	}
	end, start := <-u.came, time.Now()
	end(session.ErrOver)
	told := newCloseFrame(CloseSessionEnded, "session ended")
	if b, err := io.ReadAll(c); !bytes.Equal(b, told) || err != nil {
		t.Errorf("read %x, %v, want %x and the end", b, err, told)
	}
	c.Close()
	within(t, "over at the proxy", start, u.over)
}
