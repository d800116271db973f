package proxy

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestNetwork(t *testing.T) {
	for a, want := range map[string]string{
		"192.0.2.7:80":            "192.0.2.7",
		"[::ffff:192.0.2.7]:80":   "192.0.2.7",
		"[2001:db8:1:2:3::4]:80":  "2001:db8:1:2::",
		"[2001:db8:1:2:9::9]:443": "2001:db8:1:2::",
		"[fe80::1%eth0]:80":       "fe80::",
	} {
		if got := network(net.TCPAddrFromAddrPort(netip.MustParseAddrPort(a))); got.String() != want {
			t.Errorf("network(%s) = %s, want %s", a, got, want)
		}
	}
	if got := network(&net.UnixAddr{Name: "/run/x"}); got.IsValid() {
		t.Errorf("network(a socket) = %s, want none", got)
	}
}

// TestEnter counts connections in and out; an address that is gone is forgotten.
func TestEnter(t *testing.T) {
	front := netip.MustParseAddr("10.0.0.1")
	l := newLimits(Config{MaxConnections: 5, MaxConnectionsPerAddress: 2}, func(a netip.Addr) bool { return a == front }, nil)
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	for i, c := range []struct {
		from netip.Addr
		want string
	}{{a, ""}, {a, ""}, {a, limitAddress}, {front, ""}, {front, ""}, {front, ""}, {b, limitConnections}} {
		if got := l.enter(c.from); got != c.want {
			t.Errorf("%d: enter(%s) = %q, want %q", i, c.from, got, c.want)
		}
	}
	for _, from := range []netip.Addr{a, a, front, front, front} {
		l.leave(from)
	}
	if l.total != 0 || len(l.by) != 0 {
		t.Errorf("after all left: %d connections, %d addresses, want none", l.total, len(l.by))
	}
	without := newLimits(Config{}, func(netip.Addr) bool { return false }, nil)
	for range 100 {
		if got := without.enter(a); got != "" {
			t.Fatalf("enter without limits = %q, want none", got)
		}
	}
}

// script is a connection whose writes wait for their deadline.
type script struct {
	net.Conn
	deadlines []time.Time // every one that was set
}

func (s *script) SetWriteDeadline(t time.Time) error {
	s.deadlines = append(s.deadlines, t)
	return nil
}

func (s *script) Write(p []byte) (int, error) {
	last := s.deadlines[len(s.deadlines)-1]
	time.Sleep(time.Until(last))
	return 0, os.ErrDeadlineExceeded
}

// TestWriteDeadlines: somebody's earlier limit holds, a later one does not.
func TestWriteDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimits(Config{}, func(netip.Addr) bool { return false }, nil)
		for name, c := range map[string]struct{ wanted, want time.Duration }{
			"none":    {0, time.Minute},
			"earlier": {time.Second, time.Second},
			"later":   {time.Hour, time.Minute},
			"past":    {-time.Second, 0},
		} {
			x := &conn{Conn: &script{}, l: l, stall: time.Minute}
			if c.wanted != 0 {
				x.SetWriteDeadline(time.Now().Add(c.wanted))
			}
			start := time.Now()
			if _, err := x.Write(nil); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != c.want {
				t.Errorf("%s: a write ends after %v: %v, want %v", name, time.Since(start), err, c.want)
			}
		}
		s := &script{}
		x := &conn{Conn: s, l: l, stall: time.Minute}
		for range 100 {
			x.allow()
			x.SetWriteDeadline(time.Time{})
		}
		if len(s.deadlines) != 1 {
			t.Errorf("a hundred writes at once set %d limits, want 1", len(s.deadlines))
		}
	})
}

// TestUploadTime: how long a client may keep us waiting grows with what it sent.
func TestUploadTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimits(Config{BodyTimeout: 30 * time.Second}, func(netip.Addr) bool { return false }, nil)
		for name, c := range map[string]struct {
			pieces, size int
			every        time.Duration
			want         bool // it is cut
		}{
			"a good client":             {1000, 32 << 10, time.Second, false},
			"one at the slowest rate":   {1000, 500, time.Second, false},
			"one that drips":            {1000, 1, time.Second, true},
			"one that stands still":     {2, 1 << 20, 31 * time.Second, true},
			"one that nearly does":      {10, 1 << 20, 29 * time.Second, false},
			"a small body within reach": {25, 1, time.Second, false},
		} {
			r, out := io.Pipe()
			req := httptest.NewRequest("POST", "/", nil)
			req.Body, req.ContentLength = r, -1
			u := l.newUpload(httptest.NewRecorder(), req)
			u.g.cut = func() { out.CloseWithError(os.ErrDeadlineExceeded) }
			var client sync.WaitGroup
			client.Go(func() {
				for range c.pieces {
					time.Sleep(c.every)
					if _, err := io.WriteString(out, strings.Repeat("a", c.size)); err != nil {
						return
					}
				}
				out.Close()
			})
			_, err := io.Copy(io.Discard, req.Body)
			client.Wait()
			if cut := errors.Is(err, os.ErrDeadlineExceeded); cut != c.want || u.stalled() != c.want {
				t.Errorf("%s is cut off: %v, %v, want %v", name, cut, u.stalled(), c.want)
			}
			if rest := u.done(); rest != c.want {
				t.Errorf("%s: something is left to read: %v, want %v", name, rest, c.want)
			}
		}
	})
}

// TestGuardAfterEnd: what is over cannot be cut, whoever still reads.
func TestGuardAfterEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimits(Config{BodyTimeout: time.Second}, func(netip.Addr) bool { return false }, nil)
		g := &guard{limit: limitUpload, l: l, cut: func() { t.Error("it cut what was over") }}
		g.hold(time.Second)
		g.end()
		g.hold(time.Second)
		time.Sleep(time.Minute)
		var none *guard
		none.begin()
		none.release()
		none.end()
		if u := l.newUpload(httptest.NewRecorder(), &http.Request{Body: http.NoBody}); u.done() || u.stalled() {
			t.Error("no body is one that stands still")
		}
	})
}

// TestTooManyCookies: they are counted in one line and in several.
func TestTooManyCookies(t *testing.T) {
	l := newLimits(Config{}, func(netip.Addr) bool { return false }, nil)
	for name, tt := range map[string]struct {
		lines []string
		fits  bool
	}{
		"none":                 {nil, true},
		"as many as may be":    {[]string{strings.Repeat("a=b; ", maxCookies-1) + "a=b"}, true},
		"one more":             {[]string{strings.Repeat("a=b; ", maxCookies) + "a=b"}, false},
		"one more, in a line":  {[]string{strings.Repeat("a=b; ", maxCookies-1) + "a=b", "c=d"}, false},
		"nothing but the dots": {[]string{strings.Repeat(";", maxCookies)}, false},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header["Cookie"] = tt.lines
		var no *refusal
		err := l.bearable(http.Header{}, r)
		if refused := errors.As(err, &no) && no.status == http.StatusRequestHeaderFieldsTooLarge && no.reason == reasonCookies; refused == tt.fits {
			t.Errorf("%s: %v, want it borne: %v", name, err, tt.fits)
		}
	}
}
