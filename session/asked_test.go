package session_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/prometheus/client_golang/prometheus"

	"anteroom/session"
)

// asked is a site with the cookie store, asked by a front proxy that relays
// some of an answer's cookies.
type asked struct {
	*site
	stop  func()
	lines lines
	reg   *prometheus.Registry
}

// lines is a log that several write to.
type lines struct {
	mu sync.Mutex
	b  strings.Builder // guarded by mu
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

// askedSite runs f in fake time.
func askedSite(t *testing.T, f func(s *asked)) {
	synctest.Test(t, func(t *testing.T) {
		s := &asked{site: newSite(t, "cookie", config)}
		s.o.Log = slog.New(slog.NewTextHandler(&s.lines, nil))
		s.stop = func() {}
		s.restart()
		t.Cleanup(func() { s.stop() })
		f(s)
	})
}

// restart has another process take over, which knows what the browser brings.
func (s *asked) restart() {
	s.stop()
	s.reg = prometheus.NewRegistry()
	s.o.Registry, s.o.Store = s.reg, session.NewBrowser(s.o.Cookies, s.o.Codec, nil)
	s.m = session.New(config, s.o)
	s.stop = run(s.m)
}

// pass makes a request whose answer has room for so many cookies, of which so
// many reach the browser. It returns all that were set.
func (s *asked) pass(room, relayed int) []*http.Cookie {
	s.Helper()
	w, r := s.b.exchange()
	return s.answer(w, r, room, relayed)
}

// answer is pass for a request that was made before.
func (s *asked) answer(w *httptest.ResponseRecorder, r *http.Request, room, relayed int) []*http.Cookie {
	s.Helper()
	got, err := s.m.Load(r)
	if err != nil {
		s.Fatalf("Load = %v", err)
	}
	s.m.Touch(w, r, got, room)
	set := w.Result().Cookies()
	s.b.last = httptest.NewRecorder()
	for _, c := range set[:min(relayed, len(set))] {
		http.SetCookie(s.b.last, c)
	}
	return set
}

// wantLost compares how often cookies were found lost, and how often that was
// said.
func (s *asked) wantLost(counted, said int) {
	s.Helper()
	all, err := s.reg.Gather()
	if err != nil {
		s.Fatal(err)
	}
	n := -1.0
	for _, f := range all {
		if f.GetName() == "anteroom_session_cookies_lost_total" {
			n = f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	if n != float64(counted) {
		s.Errorf("cookies were counted as lost %v times, want %d", n, counted)
	}
	s.lines.mu.Lock()
	defer s.lines.mu.Unlock()
	if n := strings.Count(s.lines.b.String(), "level="); n != said {
		s.Errorf("the log has %d lines, want %d:\n%s", n, said, s.lines.b.String())
	}
	if n := strings.Count(s.lines.b.String(), "relay Set-Cookie, also that of its check, or set session.store to memory or redis"); n != said {
		s.Errorf("%d log lines name the remedy, want %d:\n%s", n, said, s.lines.b.String())
	}
}

func (s *asked) wantSet(room, want int) {
	s.Helper()
	if set := s.pass(room, session.AnyCookies); len(set) != want {
		s.Fatalf("Touch(room %d) set %d cookies, want %d", room, len(set), want)
	}
}

// long is a list of groups that makes a record of three cookies.
func long() (groups []string) {
	for i := range 30 {
		groups = append(groups, fmt.Sprint(strings.Repeat("g", 150), i))
	}
	return groups
}

// watched is an answer that has something done before its headers are seen: the
// first time, and once more.
type watched struct {
	http.ResponseWriter
	first, second func()
}

func (w *watched) Header() http.Header {
	f := w.first
	if w.first, w.second = w.second, nil; f != nil {
		f()
	}
	return w.ResponseWriter.Header()
}
