package upstream

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"anteroom/session"
)

// rawApp answers every connection once and hands out the bytes it was sent, to
// the end of the header and what has come of the body with it.
func rawApp(t *testing.T) (dest string, got <-chan string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ch := make(chan string, 64)
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.SetDeadline(time.Now().Add(20 * time.Second))
			ch <- readRaw(bufio.NewReader(c))
			io.WriteString(c, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
			c.Close()
		}
	})
	t.Cleanup(func() { l.Close(); all.Wait() })
	return "http://" + l.Addr().String(), ch
}

// receive waits for what must come, and for no longer than a test may take.
func receive[T any](t *testing.T, from <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-from:
	case <-time.After(20 * time.Second):
		t.Fatal("nothing came")
	}
	return v
}

// readRaw reads a header and, if it announces one, a chunked body.
func readRaw(r *bufio.Reader) string {
	var b strings.Builder
	chunked, ends := false, 0
	for {
		line, err := r.ReadString('\n')
		b.WriteString(line)
		chunked = chunked || strings.EqualFold(line, "Transfer-Encoding: chunked\r\n")
		if line == "\r\n" {
			ends++
		}
		if err != nil || ends == 2 || ends == 1 && !chunked {
			return b.String()
		}
	}
}

// TestNothingForgedIsOnTheWire looks at the bytes themselves, so that no parser
// of the application hides what is sent to it.
func TestNothingForgedIsOnTheWire(t *testing.T) {
	for _, c := range []struct{ name, first, rest string }{
		{"headers", "GET /a%2fb?x=%zz;y HTTP/1.1", joined(spoofs()) + "\r\n"},
		{"cookies", "GET / HTTP/1.1", "Cookie: anteroom=evil;__Host-anteroom=evil\r\nCookie: =anteroom=evil\r\n\r\n"},
		{"connection", "GET / HTTP/1.1", "Connection: X-Forwarded-User, authorization, cookie\r\nX-Forwarded-User: evil\r\n\r\n"},
		{"upgrade", "GET / HTTP/1.1", "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: evil\r\nHTTP2-Settings: evil\r\n\r\n"},
		{"trailers", "POST / HTTP/1.1", "Trailer: X-Evil\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Evil: 1\r\nX-Forwarded-User: evil\r\n\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dest, got := rawApp(t)
			f := newFront(t, dest, stripOverrides)
			f.raw(t, c.first+"\r\nHost: app.example\r\n"+c.rest)
			wire := receive(t, got)
			if strings.Contains(strings.ToLower(wire), "evil") {
				t.Errorf("bytes at the application = %q, want nothing of the forger's", wire)
			}
			if !strings.HasPrefix(wire, c.first+"\r\nHost: site.example\r\n") {
				t.Errorf("bytes at the application = %q, want them to begin with %q", wire, c.first)
			}
			for _, want := range []string{"X-Forwarded-User: testdoc\r\n", "Authorization: Bearer eyJ", "X-Forwarded-For: 192.0.2.7\r\n"} {
				if n := strings.Count(wire, "\r\n"+want); n != 1 {
					t.Errorf("bytes at the application hold %q %d times, want once", want, n)
				}
			}
		})
	}
}

func TestIdentityBeyondASCII(t *testing.T) {
	f := newFront(t, newApp(t, echo))
	f.who = &session.Identity{Subject: "ü\r\nX-Role: admin", Username: " Ö ", Name: "Žofie 🩺, MD", Groups: []string{"a,b", "Ärzte", "100%"}}
	s := f.get(t, "/")
	for name, want := range map[string][]string{
		"X-Forwarded-User": {"%C3%BC%0D%0AX-Role: admin"}, "X-Forwarded-Preferred-Username": {"%20%C3%96%20"}, "X-Forwarded-Email": {""},
		"X-Forwarded-Name": {"%C5%BDofie %F0%9F%A9%BA, MD"}, "X-Forwarded-Groups": {"a%2Cb,%C3%84rzte,100%25"}, "X-Forwarded-Groups-Truncated": nil, "X-Role": nil,
	} {
		if diff := cmp.Diff(want, s.Header[name]); diff != "" {
			t.Errorf("header %s (-want +got):\n%s", name, diff)
		}
	}
	if name, err := url.PathUnescape(s.Header.Get("X-Forwarded-Name")); name != f.who.Name {
		t.Errorf("X-Forwarded-Name decodes to %q, %v, want %q", name, err, f.who.Name)
	}
}

// TestIdentitiesDoNotMix: what requests share is never another's.
func TestIdentitiesDoNotMix(t *testing.T) {
	f := newFront(t, newApp(t, echo))
	var all sync.WaitGroup
	for i := range 8 {
		who := testWho()
		who.Subject, who.SessionID, who.Groups = fmt.Sprint("doc", i), fmt.Sprint("s", i), []string{fmt.Sprint("ward", i)}
		hop := testHop()
		hop.RequestID = fmt.Sprint("req-", i)
		all.Go(func() {
			for range 25 {
				w := httptest.NewRecorder()
				if err := f.forward.Forward(w, httptest.NewRequestWithContext(t.Context(), "GET", "/", nil), who, hop); err != nil {
					t.Errorf("Forward = %v", err)
					return
				}
				var s seen
				if err := json.Unmarshal(w.Body.Bytes(), &s); err != nil {
					t.Errorf("answer %q: %v", w.Body, err)
					return
				}
				token, _, _ := f.forward.asserter.Token(who, f.forward.audience)
				for name, want := range map[string]string{"X-Forwarded-User": who.Subject, "X-Forwarded-Groups": who.Groups[0], "X-Request-Id": hop.RequestID, "Authorization": "Bearer " + token} {
					if got := s.Header[name]; !cmp.Equal(got, []string{want}) {
						t.Errorf("%s of %s = %q, want %q", name, who.Subject, got, want)
					}
				}
			}
		})
	}
	all.Wait()
}

// silent fails a test if anything is written.
type silent struct {
	t *testing.T
	h http.Header
}

func (s silent) Header() http.Header { return s.h }

func (s silent) WriteHeader(status int) { s.t.Errorf("WriteHeader(%d), want nothing written", status) }

func (s silent) Write(b []byte) (int, error) {
	s.t.Errorf("Write(%q), want nothing written", b)
	return len(b), nil
}

// TestFailureWritesNothing: the answer is left to the caller, its header as it
// was, and the error may be logged.
func TestFailureWritesNothing(t *testing.T) {
	hangsUp := newApp(t, func(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) })
	for name, dest := range map[string]string{"dead": "http://127.0.0.1:1", "hangs up": hangsUp, "no socket": "unix:/nonexistent.sock"} {
		f := newFront(t, dest, withQuery)
		for _, r := range []*http.Request{
			httptest.NewRequestWithContext(t.Context(), "GET", "/a?secret=canary", nil),
			httptest.NewRequestWithContext(t.Context(), "POST", "/a?secret=canary", strings.NewReader("canary")),
		} {
			r.Header.Set("Cookie", "anteroom=canary")
			w := silent{t, http.Header{"X-Own": {"1"}}}
			err := f.forward.Forward(w, r, f.who, testHop())
			if !isAll(err, ErrUnreachable) {
				t.Fatalf("%s: Forward = %v, want ErrUnreachable", name, err)
			}
			if s := err.Error(); strings.Contains(s, "canary") || strings.Contains(s, "eyJ") || strings.Contains(s, "testdoc@") {
				t.Errorf("%s: Forward = %q, want no secret in it", name, s)
			}
			if diff := cmp.Diff(http.Header{"X-Own": {"1"}}, w.h); diff != "" {
				t.Errorf("%s: header after failure (-want +got):\n%s", name, diff)
			}
		}
	}
}

// lines is a log that goroutines share.
type lines chan string

func (l lines) Write(b []byte) (int, error) {
	l <- string(b)
	return len(b), nil
}

// TestUnreachableIsSaidOnce: when it goes, and when it is back.
func TestUnreachableIsSaidOnce(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	logged := make(lines, 16)
	f := newFront(t, "http://"+addr, func(_ *Config, _ *Destination, o *Options, _ *front) {
		o.Log = slog.New(slog.NewTextHandler(logged, nil))
	})
	ask := func() {
		_ = f.forward.Forward(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), "GET", "/", nil), f.who, testHop())
	}
	ask()
	ask()
	if l, err = net.Listen("tcp", addr); err != nil {
		t.Fatal(err)
	}
	s := &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})}}
	s.Start()
	defer s.Close()
	ask()
	ask()
	if len(logged) != 2 || !strings.Contains(<-logged, `level=WARN msg="the application cannot be reached"`) || !strings.Contains(<-logged, "level=INFO") {
		t.Errorf("%d lines left of two, a warning and that it is back", len(logged))
	}
}

func TestBrokenAnswerIsLogged(t *testing.T) {
	logged := make(lines, 16)
	f := newFront(t, newApp(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "10")
		io.WriteString(w, "half")
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}), withQuery, func(_ *Config, _ *Destination, o *Options, _ *front) {
		o.Log = slog.New(slog.NewTextHandler(logged, nil))
	})
	c := f.dial(t)
	io.WriteString(c, "GET /?secret=canary HTTP/1.1\r\nHost: a\r\nCookie: anteroom=canary\r\n\r\n")
	if answer, _ := io.ReadAll(c); strings.HasSuffix(string(answer), "0\r\n\r\n") {
		t.Errorf("answer = %q, want it cut off", answer)
	}
	if line := receive(t, (chan string)(logged)); !strings.Contains(line, "level=WARN") || !strings.Contains(line, "request_id="+testHop().RequestID) || strings.Contains(line, "httputil") || strings.Contains(line, "canary") || strings.Contains(line, "eyJ") {
		t.Errorf("log line = %q, want a warning without secrets", line)
	}
}
