package upstream

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"anteroom/session"
)

// renewed is a renewer that says what it is told to.
type renewed func(g session.Grant) (session.Grant, error)

func (f renewed) Renew(_ context.Context, g session.Grant) (session.Grant, error) { return f(g) }

// TestTellingAtRenewal: of what changed the application is told, and of nothing
// else; that it does not answer neither signs anybody out nor keeps groups that
// somebody lost.
func TestTellingAtRenewal(t *testing.T) {
	var mu sync.Mutex
	var told []map[string]any
	status := http.StatusOK
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		var said map[string]any
		_ = json.NewDecoder(r.Body).Decode(&said)
		told = append(told, said)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, `{"id":"va-17"}`)
	}))
	defer app.Close()
	cfg := Config{JWT: JWTConfig{Algorithm: "ES256"}, Provision: ProvisionConfig{URL: app.URL, Timeout: time.Second}}
	keys, err := OpenKeys(cfg.JWT, time.Now, nil)
	if err != nil {
		t.Fatal(err)
	}
	p := NewProvisioner(cfg, "https://site", keys, time.Now, slog.New(slog.DiscardHandler), nil)
	next := session.Identity{Subject: "ada", Groups: []string{"doctors", "ward-3"}}
	var nextErr error
	r := p.Renewing(renewed(func(g session.Grant) (session.Grant, error) {
		g.Identity = next
		return g, nextErr
	}))
	now := session.Grant{Identity: session.Identity{Subject: "ada", Groups: []string{"doctors", "ward-3"}}}
	if err := p.Tell(context.Background(), &now.Identity); err != nil || now.Identity.AppID != "va-17" {
		t.Fatalf("Tell = %v, id %q", err, now.Identity.AppID)
	}
	step := func(name string, asked int, appID string, want error) {
		t.Helper()
		mu.Lock()
		told = nil
		mu.Unlock()
		g, err := r.Renew(context.Background(), now)
		if !errors.Is(err, want) || len(told) != asked || err == nil && g.Identity.AppID != appID || len(g.Identity.Groups) != len(next.Groups) {
			t.Errorf("%s: Renew = %+v, %v and asked %d times, want %d times and %v", name, g.Identity, err, len(told), asked, want)
		}
		now = g
	}
	step("nothing changed", 0, "va-17", nil)
	next.Groups = []string{"doctors"}
	step("a group was lost", 1, "va-17", nil)
	if told[0]["id"] != "va-17" {
		t.Errorf("the application was told %v, want its own id in it", told[0])
	}
	step("and that was told", 0, "va-17", nil)
	status = http.StatusBadRequest
	next.Groups = nil
	step("the application does not answer", 1, "va-17", nil)
	step("it is told again", 1, "va-17", nil)
	status = http.StatusOK
	step("until it answers", 1, "va-17", nil)
	step("and no longer", 0, "va-17", nil)
	nextErr = errors.New("away")
	next.Groups = []string{"x"}
	step("the provider is away", 0, "va-17", nextErr)
	nextErr, status = nil, http.StatusForbidden
	step("the application wants them no more", 1, "", session.ErrNotAllowed)
	if (*Provisioner)(nil).Renewing(r) != r {
		t.Error("without a URL there is something in between")
	}
}

// answering is a transport that answers once it may.
type answering struct {
	asked atomic.Int32
	goOn  chan struct{}
}

// RoundTrip implements http.RoundTripper.
func (a *answering) RoundTrip(*http.Request) (*http.Response, error) {
	a.asked.Add(1)
	<-a.goOn
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(`{"id":"va-17"}`))}, nil
}

// TestTellingOnce: two sign-ins of one person at the same moment are told as
// one.
func TestTellingOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := Config{JWT: JWTConfig{Algorithm: "ES256"}, Provision: ProvisionConfig{URL: "http://app.invalid", Timeout: 10 * time.Second}}
		keys, err := OpenKeys(cfg.JWT, time.Now, nil)
		if err != nil {
			t.Fatal(err)
		}
		p := NewProvisioner(cfg, "https://site", keys, time.Now, slog.New(slog.DiscardHandler), nil)
		app := &answering{goOn: make(chan struct{})}
		p.client.Transport = app
		for _, subject := range []string{"ada", "ada", "grace"} {
			go func() {
				who := session.Identity{Subject: subject}
				if err := p.Tell(context.Background(), &who); err != nil || who.AppID != "va-17" {
					t.Errorf("Tell = %v, id %q", err, who.AppID)
				}
			}()
		}
		synctest.Wait()
		if n := app.asked.Load(); n != 2 {
			t.Errorf("the application was asked %d times, want once for each of two people", n)
		}
		close(app.goOn)
		synctest.Wait()
	})
}

// trap is a connection that panics.
type trap struct{}

func (trap) RoundTrip(*http.Request) (*http.Response, error) { panic("a canary") }

// TestTellingPanics: a panic on the way to the application is a failure of all
// sign-ins that wait for it, and of nothing else.
func TestTellingPanics(t *testing.T) {
	cfg := Config{JWT: JWTConfig{Algorithm: "ES256"}, Provision: ProvisionConfig{URL: "http://localhost:1", Timeout: time.Second}}
	keys, err := OpenKeys(cfg.JWT, time.Now, nil)
	if err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	p := NewProvisioner(cfg, "https://site", keys, time.Now, slog.New(slog.NewJSONHandler(&said, nil)), nil)
	p.Traced(func(http.RoundTripper) http.RoundTripper { return trap{} })
	who := session.Identity{Subject: "ada"}
	if err := p.Tell(t.Context(), &who); !errors.Is(err, ErrProvision) || !errors.Is(err, session.ErrPanic) || who.AppID != "" || strings.Contains(said.String(), "canary") {
		t.Errorf("Tell = %v, id %q, log %s, want ErrProvision and no value", err, who.AppID, &said)
	}
}

// TestIDs: what an application may call somebody, and what is no id.
func TestIDs(t *testing.T) {
	for answer, want := range map[string]string{
		`{"id":"va-17"}`: "va-17", `{"id":17}`: "17", `{"id":-3}`: "-3", `{"id":9007199254740993}`: "9007199254740993", `{"id":"ä ö"}`: "ä ö",
		`{"id":17.0}`: "", `{"id":1e2}`: "", `{"id":true}`: "", `{"id":null}`: "", `{"id":[1]}`: "", `[]`: "", `{"id":"a"}{"id":"b"}`: "", `{"id":"a"} x`: "",
		`{"id":"a\u0000b"}`: "", `{"id":"a\u202eb"}`: "", `{"id":"a\u009bb"}`: "", `{"id":" a"}`: "", "{\"id\":\"a\xff\"}": "",
	} {
		if id, err := idIn("application/json", []byte(answer)); id != want || (err == nil) != (want != "") {
			t.Errorf("idIn(%s) = %q, %v, want %q", answer, id, err, want)
		}
	}
}
