package integrations

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"anteroom/session"
)

func TestLoginFlow(t *testing.T) {
	c := newCloud(t)
	f := c.flow(t)
	flow, err := f.Start(t.Context())
	if err != nil || !strings.HasPrefix(flow.Login, c.URL+"/cloud/") {
		t.Fatalf("Start = %q, %v", flow.Login, err)
	}
	if c.agents[0] != "Anteroom (voice.example)" {
		t.Errorf("the person reads %q in the list of their devices", c.agents[0])
	}
	if _, ok, err := f.Fetch(t.Context(), flow); ok || err != nil {
		t.Errorf("Fetch before the grant = %t, %v", ok, err)
	}
	c.grant(t, flow.Login, "ada", "ada@example.org")
	cred, ok, err := f.Fetch(t.Context(), flow)
	if !ok || err != nil || cred.User != "ada@example.org" || !strings.HasPrefix(cred.Secret.Reveal(), "canary-password-") {
		t.Fatalf("Fetch = %v, %t, %v", cred, ok, err)
	}
	if _, ok, err := f.Fetch(t.Context(), flow); ok || err != nil {
		t.Errorf("a second Fetch = %t, %v, want nothing", ok, err)
	}
	if owner, err := f.Owner(t.Context(), cred); owner != "ada" || err != nil {
		t.Errorf("Owner = %q, %v, want ada", owner, err)
	}
	for range 2 {
		if err := f.Revoke(t.Context(), cred); err != nil || c.left() != 0 {
			t.Errorf("Revoke = %v with %d left, want nil and none", err, c.left())
		}
	}
	if owner, err := f.Owner(t.Context(), cred); !errors.Is(err, ErrRefused) || errors.Is(err, ErrAway) {
		t.Errorf("Owner of what was deleted = %q, %v, want ErrRefused", owner, err)
	}
}

// TestAwayIsNotRefused: what is no answer says nothing about a credential.
func TestAwayIsNotRefused(t *testing.T) {
	c := newCloud(t)
	f := c.flow(t)
	flow, err := f.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	cred := session.Credential{User: "ada", Secret: "x"}
	for name, tt := range map[string]struct {
		says func(w http.ResponseWriter, r *http.Request) bool
		away bool
	}{
		"silence":     {func(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) }, true},
		"maintenance": {status(503, "<html>"), true},
		"error":       {status(500, ""), true},
		"gateway":     {status(502, ""), true},
		"throttled":   {status(429, "{}"), true},
		"cut": {func(w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("Content-Length", "10")
			w.Write([]byte("{"))
			panic(http.ErrAbortHandler)
		}, true},
		"redirect":  {status(302, ""), false},
		"untrusted": {status(400, "{}"), false},
		"forbidden": {status(403, "{}"), false},
		"a page":    {status(200, "<html>"), false},
		"endless":   {status(200, `{"x":"`+strings.Repeat("x", answerMost)+`"}`), false},
		"empty":     {status(200, `{}`), false},
	} {
		c.set(func(c *cloud) { c.says = tt.says })
		_, err1 := f.Start(t.Context())
		_, ok, err2 := f.Fetch(t.Context(), flow)
		_, err3 := f.Owner(t.Context(), cred)
		for what, err := range map[string]error{"Start": err1, "Fetch": err2, "Owner": err3} {
			if err == nil || ok || errors.Is(err, ErrAway) != tt.away || errors.Is(err, ErrRefused) {
				t.Errorf("%s, %s = %v, want an error; that it is away: %t", name, what, err, tt.away)
			}
		}
		err := f.Revoke(t.Context(), cred)
		if deleted := strings.HasPrefix(name, "a page") || name == "empty"; (err == nil) != deleted || errors.Is(err, ErrAway) != tt.away {
			t.Errorf("%s, Revoke = %v, want success %t", name, err, deleted)
		}
		for _, err := range []error{err1, err2, err3, err} {
			if err != nil && strings.Contains(err.Error(), "canary") {
				t.Errorf("%s: %v tells a token", name, err)
			}
		}
	}
}

func status(code int, body string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("Location", "/cloud/elsewhere")
		w.WriteHeader(code)
		w.Write([]byte(body))
		return true
	}
}

// TestFlowElsewhere: Nextcloud answers with whatever Host and scheme it saw; a
// person is sent to the configured one alone, and so is the poll's token.
func TestFlowElsewhere(t *testing.T) {
	c := newCloud(t)
	f := c.flow(t)
	good := c.URL + "/cloud/index.php/login/v2"
	host := strings.TrimPrefix(c.URL, "http://")
	for _, tt := range []struct {
		login, endpoint string
		ok              bool
	}{
		{good + "/flow/x", good + "/poll", true},
		{c.URL + "/cloud/login/v2/flow/x", c.URL + "/cloud/login/v2/poll", true},
		{strings.Replace(good, "http:", "HTTP:", 1) + "/flow/x", good + "/poll", true},
		{good + "/flow/x", "http://evil.example/cloud/poll", false},
		{"http://evil.example/cloud/flow", good + "/poll", false},
		{"https://" + host + "/cloud/flow", good + "/poll", false},
		{"http://" + host + ".evil.example/cloud/flow", good + "/poll", false},
		{"http://evil.example@" + host + "/cloud/flow", good + "/poll", false},
		{"http://" + host + "@evil.example/cloud/flow", good + "/poll", false},
		{"//" + host + "/cloud/flow", good + "/poll", false},
		{"/cloud/flow", good + "/poll", false},
		{"javascript:alert(1)", good + "/poll", false},
		{c.URL + "/cloudy/flow", good + "/poll", false},
		{c.URL + "/other/flow", good + "/poll", false},
		{good + "/flow/x\r\ny", good + "/poll", false},
		{good + "/flow/x\u202ey", good + "/poll", false},
		{"http://%C2%9B31m/cloud/flow", good + "/poll", false},
		{"", good + "/poll", false},
		{good + "/flow/x", "", false},
	} {
		c.set(func(c *cloud) {
			c.says = func(w http.ResponseWriter, _ *http.Request) bool {
				w.Write([]byte(`{"poll":{"token":"t","endpoint":` + quoted(tt.endpoint) + `},"login":` + quoted(tt.login) + `}`))
				return true
			}
		})
		if flow, err := f.Start(t.Context()); (err == nil) != tt.ok || err != nil && (flow != (Flow{}) || strings.ContainsFunc(err.Error(), unprintable)) {
			t.Errorf("Start(%q, %q) = %v, %v, want success %t", tt.login, tt.endpoint, flow, err, tt.ok)
		}
	}
}

func quoted(s string) string {
	return `"` + strings.NewReplacer("\r", `\r`, "\n", `\n`).Replace(s) + `"`
}

// TestFlowBehindAnotherName: connect_to changes where we dial, not what
// Nextcloud is called.
func TestFlowBehindAnotherName(t *testing.T) {
	c := newCloud(t)
	u, _ := url.Parse(c.URL)
	cfg := NextcloudConfig{URL: "http://cloud.example/cloud/", ConnectTo: u.Host, Timeout: 5 * time.Second}
	client, err := NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer client.CloseIdleConnections()
	base, _ := url.Parse(cfg.URL)
	f := NewLoginFlow(base, client, "voice.example")
	flow, err := f.Start(t.Context())
	if err != nil || !strings.HasPrefix(flow.Login, "http://cloud.example/cloud/index.php/login/v2/flow/") {
		t.Fatalf("Start = %q, %v", flow.Login, err)
	}
	c.grant(t, flow.Login, "ada", "ada")
	if _, ok, err := f.Fetch(t.Context(), flow); !ok || err != nil {
		t.Errorf("Fetch = %t, %v", ok, err)
	}
}

// TestUnsoundGrants: what cannot be a login name or a password is no grant.
func TestUnsoundGrants(t *testing.T) {
	c := newCloud(t)
	f := c.flow(t)
	for _, body := range []string{`{"loginName":"","appPassword":"x"}`, `{"loginName":"a:b","appPassword":"x"}`, `{"loginName":"a","appPassword":""}`,
		`{"loginName":"a\r\nX: y","appPassword":"x"}`, `{"loginName":"a","appPassword":"` + strings.Repeat("x", 2000) + `"}`, `{"loginName":7}`, `[]`} {
		c.set(func(c *cloud) { c.says = status(200, body) })
		if cred, ok, err := f.Fetch(t.Context(), Flow{Endpoint: c.URL + "/cloud/poll", Token: "t"}); ok || err == nil || !cred.IsZero() {
			t.Errorf("Fetch(%.60s) = %v, %t, %v, want an error", body, cred, ok, err)
		}
	}
}
