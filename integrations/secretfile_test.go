package integrations

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"anteroom/session"
)

// guarded is a server with one account, and the file with its password.
type guarded struct {
	*httptest.Server
	t    *testing.T
	path string
	file *SecretFile

	mu    sync.Mutex
	takes string   // the password
	away  bool     // answers 503
	shown []string // passwords, in order
}

func newGuarded(t *testing.T) *guarded {
	v := &guarded{t: t, path: filepath.Join(t.TempDir(), "password"), takes: "one"}
	v.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		v.mu.Lock()
		defer v.mu.Unlock()
		_, password, _ := r.BasicAuth()
		v.shown = append(v.shown, password)
		switch {
		case v.away:
			w.WriteHeader(http.StatusServiceUnavailable)
		case password != v.takes:
			w.WriteHeader(http.StatusUnauthorized)
		case r.Method == "PROPFIND":
			w.WriteHeader(http.StatusMultiStatus)
		}
	}))
	t.Cleanup(v.Close)
	v.put("one")
	v.file = NewSecretFile(v.path, "one", nil)
	return v
}

// put replaces the file.
func (v *guarded) put(text string) {
	v.t.Helper()
	if err := errors.Join(os.WriteFile(v.path+"-next", []byte(text+"\n"), 0o600), os.Rename(v.path+"-next", v.path)); err != nil {
		v.t.Fatal(err)
	}
}

func (v *guarded) server(takes string, away bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.takes, v.away = takes, away
}

// try has what the file has tried, and reports what came of it.
func (v *guarded) try(text session.Secret) error {
	d := DAV{URL: v.URL, Username: "svc"}
	return v.file.Try(v.t.Context(), text, func(ctx context.Context, s session.Secret) error { return d.Takes(ctx, v.Client(), s) })
}

// ask sends a request by the service account; what was shown for it comes back.
func (v *guarded) ask(body io.Reader) (status int, shown string) {
	v.t.Helper()
	v.mu.Lock()
	v.shown = nil
	v.mu.Unlock()
	g := &Grant{By: ByService, Credential: session.Credential{User: "svc", Secret: v.file.Secret()}, File: v.file}
	r, _ := http.NewRequestWithContext(v.t.Context(), http.MethodPut, v.URL, body)
	g.Credential.Set(r.Header)
	resp, err := g.Send(http.DefaultTransport, r)
	if err != nil {
		v.t.Fatal(err)
	}
	resp.Body.Close()
	v.mu.Lock()
	defer v.mu.Unlock()
	return resp.StatusCode, strings.Join(v.shown, " ")
}

func (v *guarded) wantAsk(status int, shown string) {
	v.t.Helper()
	if got, passwords := v.ask(nil); got != status || passwords != shown {
		v.t.Errorf("a request = %d by %q, want %d by %q", got, passwords, status, shown)
	}
}

// TestPasswordIsTried: what a password file has is used once the server takes
// it. What it refuses costs no request anything, and is not tried again; an
// outage is no word on it.
func TestPasswordIsTried(t *testing.T) {
	v := newGuarded(t)
	v.wantAsk(200, "one")
	v.put("bad")
	for range 3 {
		if err := v.try("bad"); !errors.Is(err, ErrRefused) {
			t.Errorf("Try of a bad one = %v, want ErrRefused", err)
		}
	}
	if got := len(v.shown); got != 2 {
		t.Errorf("the server was asked %d times, want once for the bad one: it slows down whoever fails often", got-1)
	}
	v.wantAsk(200, "one")

	v.put("two")
	v.server("two", true)
	if err := v.try("two"); err == nil || errors.Is(err, ErrRefused) {
		t.Errorf("Try in an outage = %v, want another error than ErrRefused", err)
	}
	v.wantAsk(503, "one")
	v.server("two", false)
	if err := v.try("two"); err != nil {
		t.Errorf("Try after the outage = %v", err)
	}
	v.wantAsk(200, "two")
	if err := v.try("two"); err != nil {
		t.Errorf("Try of the one in force = %v", err)
	}
}

// TestPasswordByRequest: where the one in force is refused, the file's is shown
// at once, whether it was tried before or not, and used if it is taken.
func TestPasswordByRequest(t *testing.T) {
	v := newGuarded(t)
	v.put("two") // before the server is told
	if err := v.try("two"); !errors.Is(err, ErrRefused) {
		t.Errorf("Try before the server knows it = %v, want ErrRefused", err)
	}
	v.wantAsk(200, "one")
	v.server("two", false)
	v.wantAsk(200, "one two")
	v.wantAsk(200, "two")

	v.put("wrong")
	v.server("three", false)
	v.wantAsk(401, "two wrong")
	v.wantAsk(401, "two") // it was refused a moment ago
	v.server("two", false)
	v.wantAsk(200, "two") // the one that was taken last is not lost
	v.server("wrong", false)
	v.wantAsk(200, "two wrong")

	for _, useless := range []string{"", " ", strings.Repeat("x", secretMost+1)} {
		v.put(useless)
		v.server("other", false)
		v.wantAsk(401, "wrong")
	}
	os.Remove(v.path)
	v.wantAsk(401, "wrong")
}

// TestPasswordOfStream: a body that comes once is not sent again; that the
// password may be exchanged is found out by trying it.
func TestPasswordOfStream(t *testing.T) {
	v := newGuarded(t)
	v.put("two")
	if err := v.try("two"); !errors.Is(err, ErrRefused) {
		t.Fatalf("Try = %v", err)
	}
	v.server("two", false)
	if status, shown := v.ask(io.MultiReader(strings.NewReader("x"))); status != 401 || shown != "one" {
		t.Errorf("a stream = %d by %q", status, shown)
	}
	if !(&Grant{By: ByService, File: v.file}).renewed(&http.Response{Request: basic("one")}) {
		t.Error("its sender is not told to come again")
	}
	if err := v.try("two"); err != nil {
		t.Errorf("Try after the one in force was refused = %v, want it asked again", err)
	}
	v.wantAsk(200, "two")
}

func basic(password string) *http.Request {
	r, _ := http.NewRequest(http.MethodPut, "http://localhost/", nil)
	r.SetBasicAuth("svc", password)
	return r
}
