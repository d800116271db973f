package signin

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// TestAutoDecides: only a certain answer decides between the providers.
func TestAutoDecides(t *testing.T) {
	const undecided = ""
	installed := says(map[string]any{"installed": true, "maintenance": false})
	away := func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://elsewhere.example/index.php"+r.URL.Path, http.StatusMovedPermanently)
	}
	cut := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "1000")
		w.Write([]byte(`{"issuer":`))
		panic(http.ErrAbortHandler)
	}
	for _, tt := range []struct {
		name           string
		places, status http.HandlerFunc // what all three places of the document say
		want           string
	}{
		{"not found", http.NotFound, installed, kindNextcloud},
		{"a page", page, installed, kindNextcloud},
		{"another document", says(map[string]any{"x": "y"}), installed, kindNextcloud},
		{"sent to another server", away, installed, kindNextcloud},
		{"sent to another server, which has no status either", away, away, undecided},
		{"not found, maintenance", http.NotFound, says(map[string]any{"installed": true, "maintenance": true}), undecided},
		{"not found, not installed", http.NotFound, says(map[string]any{"installed": false}), undecided},
		{"not found anywhere", http.NotFound, http.NotFound, undecided},
		{"pages everywhere", page, page, undecided},
		{"cut off", cut, installed, undecided},
		{"over 1 MiB", huge, installed, undecided},
		{"maintenance", fails(503, nil), installed, undecided},
		{"too many requests", fails(429, nil), installed, undecided},
		{"unknown host name", fails(400, nil), installed, undecided},
		{"forbidden", fails(403, nil), installed, undecided},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHostile(t, nil)
			for _, place := range []string{"/.well-known/openid-configuration", "/index.php/.well-known/openid-configuration", "/index.php/apps/oidc/openid-configuration"} {
				h.set(place, tt.places)
			}
			h.set("/status.php", tt.status)
			v, err := relyingParty(t, h.URL, func(c *Config, _ *Options) { c.Provider = "auto" }).discover(t.Context())
			if (err == nil) != (tt.want != undecided) || err == nil && v.kind() != tt.want {
				t.Errorf("discover(%s) = %v, %v, want %q", tt.name, v, err, tt.want)
			}
		})
	}
}

func TestEndpointsOverTLS(t *testing.T) {
	p := relyingParty(t, "https://cloud.example", nil)
	good := metadata{Issuer: "https://cloud.example/", AuthURL: "https://cloud.example/a", TokenURL: "https://cloud.example/t", JWKSURL: "https://cloud.example/k"}
	if err := p.judgeMetadata(&good); err != nil {
		t.Errorf("judgeMetadata(all https) = %v, want nil", err)
	}
	for what, change := range map[string]func(*metadata){
		"token over http":       func(m *metadata) { m.TokenURL = "http://cloud.example/t" },
		"userinfo over http":    func(m *metadata) { m.UserInfoURL = "http://cloud.example/u" },
		"revocation over http":  func(m *metadata) { m.RevocationURL = "http://cloud.example/r" },
		"end_session no URL":    func(m *metadata) { m.EndSessionURL = "javascript:alert(1)" },
		"userinfo without host": func(m *metadata) { m.UserInfoURL = "/u" },
	} {
		bad := good
		change(&bad)
		if err := p.judgeMetadata(&bad); err == nil {
			t.Errorf("judgeMetadata(%s) = nil, want an error", what)
		}
	}
}

// TestNoRedirectWithSecrets: nothing that carries a secret is sent on.
func TestNoRedirectWithSecrets(t *testing.T) {
	var reached atomic.Int64
	evil := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	t.Cleanup(evil.Close)
	for _, path := range []string{"/token", "/userinfo", "/jwks"} {
		for _, status := range []int{302, 307, 308} {
			h := newHostile(t, nil)
			res, err := attempt(t, h, func(nonce string) {
				h.gives(signed(t, h.claims(nonce)))
				h.set(path, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, evil.URL, status) })
			})
			refusedAs(t, path+" redirects", res, err, Unavailable)
		}
	}
	if n := reached.Load(); n != 0 {
		t.Errorf("%d calls followed a redirect, want none", n)
	}
}

// TestNothingLeaks plants secrets wherever they could slip into a log, an error
// or a metric.
func TestNothingLeaks(t *testing.T) {
	const canary = "c4nary"
	echo := map[string]any{"error": "invalid_client", "error_description": "no " + canary, "error_uri": "http://x/" + canary}
	var log bytes.Buffer
	reg := prometheus.NewRegistry()
	for path, answer := range map[string]http.HandlerFunc{"/token": fails(400, echo), "/userinfo": fails(500, echo), "/x": nil} {
		h := newHostile(t, nil)
		p := found(t, relyingParty(t, h.URL, func(c *Config, o *Options) {
			c.ClientSecret, o.Log, o.Registry = canary, slog.New(slog.NewTextHandler(&log, nil)), nil
			if path == "/token" {
				o.Registry = reg
			}
		}))
		b := newBrowser(p)
		q, err := b.start("/" + canary)
		if err != nil {
			t.Fatalf("Start = %v, want nil", err)
		}
		claims := h.claims(q.Get("nonce"))
		claims["aud"] = "another" // an id_token that is refused
		h.gives(signed(t, claims))
		if answer != nil {
			h.gives(signed(t, h.claims(q.Get("nonce"))))
			h.set(path, answer)
		}
		_, err = b.finish(url.Values{"state": q["state"], "code": {canary}})
		if err == nil || strings.Contains(err.Error(), canary) {
			t.Errorf("Finish(%s fails) = %v, want an error without the secret", path, err)
		}
	}
	if text := log.String(); strings.Contains(text, canary) || strings.Count(text, "does not accept signin.client_id") != 1 {
		t.Errorf("log = %s, want no secret, and once that the client is not accepted", text)
	}
	families, err := reg.Gather()
	if err != nil || len(families) != 3 {
		t.Errorf("Gather = %d families, %v, want 3", len(families), err)
	}
	for _, f := range families {
		if strings.Contains(f.String(), canary) {
			t.Errorf("metric %s shows a secret", f.GetName())
		}
	}
}
