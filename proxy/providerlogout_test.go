package proxy

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"anteroom/session"
	"anteroom/session/signin"
)

// logins is an ender that counts, on a real store of marks.
type logins struct {
	session.Memory
	mu     sync.Mutex
	ended  int           // guarded by mu
	broken error         // guarded by mu; what EndLogin says
	slow   chan struct{} // nil: EndLogin does not wait
}

func (l *logins) EndLogin(context.Context, session.Login, session.End) (int, error) {
	if l.slow != nil {
		<-l.slow
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.broken == nil {
		l.ended++
	}
	return 1, l.broken
}

func (l *logins) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.broken = err
}

func TestLogoutTokenActsOnce(t *testing.T) {
	m, l := &logins{}, signin.Logout{Token: "a"}
	if _, err := endOnce(t.Context(), m, l); err != nil {
		t.Fatalf("endOnce = %v, want nil", err)
	}
	for range 3 {
		time.Sleep(2 * lookTime) // looks are over by then; what is done stays so
		if _, err := endOnce(t.Context(), m, l); !errors.Is(err, errReplayed) || m.ended != 1 {
			t.Errorf("endOnce(again) = %v after %d ends, want errReplayed, one", err, m.ended)
		}
	}
	if _, err := endOnce(t.Context(), m, signin.Logout{Token: "b"}); err != nil || m.ended != 2 {
		t.Errorf("endOnce(another) = %v after %d ends, want nil, two", err, m.ended)
	}
}

// TestFailedLogoutTokenIsNotUsedUp: the store fails in the middle.
func TestFailedLogoutTokenIsNotUsedUp(t *testing.T) {
	m, l := &logins{broken: session.ErrUnavailable}, signin.Logout{Token: "a"}
	if _, err := endOnce(t.Context(), m, l); !errors.Is(err, session.ErrUnavailable) {
		t.Errorf("endOnce(store down) = %v, want ErrUnavailable", err)
	}
	m.fail(nil)
	time.Sleep(2 * lookTime)
	_, err := endOnce(t.Context(), m, l)
	if no := logoutRefusal(err); !errors.Is(err, errUnderWay) || no.status != http.StatusServiceUnavailable {
		t.Errorf("endOnce(too soon) = %v with status %d, want errUnderWay, 503: it is to be sent again", err, no.status)
	}
	forgotten := &logins{} // what the store is once the hold has run out
	if _, err := endOnce(t.Context(), forgotten, l); err != nil || forgotten.ended != 1 {
		t.Errorf("endOnce(later) = %v, want nil", err)
	}
}

// TestLogoutTokenManyTimesAtOnce: however many deliveries there are at once,
// one acts.
func TestLogoutTokenManyTimesAtOnce(t *testing.T) {
	m := &logins{slow: make(chan struct{})}
	var wg sync.WaitGroup
	var mu sync.Mutex
	acted := 0
	for i := range 50 {
		wg.Go(func() {
			time.Sleep(time.Duration(i) * 2 * time.Millisecond)
			if _, err := endOnce(t.Context(), m, signin.Logout{Token: "a"}); err == nil {
				mu.Lock()
				acted++
				mu.Unlock()
			} else if !errors.Is(err, errReplayed) && !errors.Is(err, errUnderWay) {
				t.Errorf("endOnce = %v", err)
			}
		})
	}
	time.AfterFunc(50*time.Millisecond, func() { close(m.slow) })
	wg.Wait()
	if acted != 1 || m.ended != 1 {
		t.Errorf("50 deliveries acted %d times and ended %d, want one", acted, m.ended)
	}
}

func TestReadLogoutToken(t *testing.T) {
	const form = "application/x-www-form-urlencoded"
	for _, tt := range []struct {
		name, target, kind, body string
		want                     string // "": refused
		status                   int
	}{
		{"one", "/", form, "logout_token=a.b.c", "a.b.c", 0},
		{"with a charset", "/", form + "; charset=utf-8", "logout_token=a.b.c", "a.b.c", 0},
		{"and something else", "/?x=1", form, "logout_token=a.b.c&state=x", "a.b.c", 0},
		{"two", "/", form, "logout_token=a.b.c&logout_token=d.e.f", "", 400},
		{"the same twice", "/", form, "logout_token=a.b.c&logout_token=a.b.c", "", 400},
		{"in the query", "/?logout_token=a.b.c", form, "", "", 400},
		{"in the query, too", "/?logout_token=a.b.c", form, "logout_token=a.b.c", "", 400},
		{"none", "/", form, "token=a.b.c", "", 400},
		{"empty", "/", form, "logout_token=", "", 400},
		{"malformed", "/", form, "logout_token=%zz", "", 400},
		{"multipart", "/", "multipart/form-data; boundary=x", "--x\r\nContent-Disposition: form-data; name=\"logout_token\"\r\n\r\na.b.c\r\n--x--\r\n", "", 400},
		{"JSON", "/", "application/json", `{"logout_token":"a.b.c"}`, "", 400},
		{"bare", "/", "application/jwt", "a.b.c", "", 400},
		{"no type", "/", "", "logout_token=a.b.c", "", 400},
		{"1 MiB", "/", form, "logout_token=" + strings.Repeat("a", 1<<20), "", 413},
	} {
		r := httptest.NewRequest(http.MethodPost, tt.target, strings.NewReader(tt.body))
		r.Header.Set("Content-Type", tt.kind)
		got, err := readLogoutToken(&exchange{ResponseWriter: httptest.NewRecorder(), r: r})
		if got != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("readLogoutToken(%s) = %q, %v, want %q", tt.name, got, err, tt.want)
		}
		if err != nil && logoutRefusal(err).status != tt.status {
			t.Errorf("readLogoutToken(%s) is refused with %d, want %d", tt.name, logoutRefusal(err).status, tt.status)
		}
	}
}

func TestLogoutRefusal(t *testing.T) {
	for _, tt := range []struct {
		err    error
		status int
		reason string
	}{
		{&signin.Error{Kind: signin.Invalid}, 400, reasonLogout},
		{&signin.Error{Kind: signin.Unavailable}, 503, reasonProvider},
		{signin.ErrNoLogout, 404, reasonNoLogout},
		{session.ErrNoList, 404, reasonNoList},
		{session.ErrUnavailable, 503, reasonBroken},
		{context.DeadlineExceeded, 503, reasonBroken},
	} {
		if no := logoutRefusal(tt.err); no.status != tt.status || no.reason != tt.reason || no.text == "" {
			t.Errorf("logoutRefusal(%v) = %d %s %q, want %d %s", tt.err, no.status, no.reason, no.text, tt.status, tt.reason)
		}
	}
}
