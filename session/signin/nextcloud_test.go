package signin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"anteroom/demo"
	"anteroom/session"
	"anteroom/test/person"
)

// site is a relying party on a socket before a pretend Nextcloud.
type site struct {
	*RelyingParty
	url   string
	cloud *demo.Nextcloud
	fail  atomic.Pointer[string] // calls of the cloud below this path are answered 503
	mu    sync.Mutex
	last  Result // guarded by mu, with err
	err   error
	query string // of the last callback
}

func newSite(t *testing.T, o demo.Options, change func(*Config)) *site {
	t.Helper()
	s := &site{cloud: demo.NewNextcloud(o)}
	cloud := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p := s.fail.Load(); p != nil && strings.HasPrefix(r.URL.Path, *p) {
			http.Error(w, "no", http.StatusServiceUnavailable)
			return
		}
		s.cloud.ServeHTTP(w, r)
	}))
	t.Cleanup(cloud.Close)
	here := httptest.NewServer(s)
	t.Cleanup(here.Close)
	s.url = here.URL
	s.cloud.AddRedirectURI(demo.DefaultClientID, s.url+"/auth/callback")
	s.RelyingParty = found(t, relyingParty(t, cloud.URL, func(c *Config, o *Options) {
		c.Provider, c.ClientID, c.ClientSecret = "auto", demo.DefaultClientID, demo.DefaultClientSecret
		o.Public = address(t, s.url)
		if change != nil {
			change(c)
		}
	}))
	return s
}

func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/login" {
		if err := s.Start(w, r, r.FormValue("to")); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
		return
	}
	res, err := s.Finish(r)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last, s.err, s.query = res, err, r.URL.RawQuery
	fmt.Fprintf(w, "%s to %s: %v", res.Grant.Identity.Subject, res.ReturnTo, err)
}

// signIn has the test doctor sign in and returns what came of it.
func (s *site) signIn(t *testing.T) (Result, *person.Person) {
	t.Helper()
	p := person.New(map[string]string{"user": demo.DefaultUser, "password": demo.DefaultPassword})
	page, err := p.SignIn(s.url + "/login?to=/ward%3Fbed=3")
	if err != nil || page.URL.Path != "/auth/callback" {
		t.Fatalf("SignIn ended at %v, %v, want the callback", page, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		t.Fatalf("Finish = %v, want nil", s.err)
	}
	return s.last, p
}

func TestWholeFlows(t *testing.T) {
	for _, tt := range []struct {
		name, provider string
		oidc           demo.OIDCVersion
		want           session.Method
	}{
		{"oidc app 0.6", "oidc", demo.OIDC06, session.ByOIDC},
		{"oidc app 2.0", "oidc", demo.OIDC20, session.ByOIDC},
		{"built-in beside the oidc app", "nextcloud", demo.OIDC06, session.ByNextcloud},
		{"built-in of a recent server", "nextcloud", demo.OIDC20, session.ByNextcloud},
		{"built-in alone", "nextcloud", demo.NoOIDC, session.ByNextcloud},
		{"auto with 0.6", "auto", demo.OIDC06, session.ByOIDC},
		{"auto with 2.0", "auto", demo.OIDC20, session.ByOIDC},
		{"auto without the app", "auto", demo.NoOIDC, session.ByNextcloud},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t, demo.Options{OIDC: tt.oidc}, func(c *Config) { c.Provider = tt.provider })
			res, p := s.signIn(t)
			who := res.Grant.Identity
			if who.Subject != "testdoc" || who.Username != "testdoc" || who.Name != "Test Doctor" || who.Email != "testdoc@example.com" ||
				!slices.Equal(who.Groups, []string{"users"}) || who.Method != tt.want || s.Provider() != string(tt.want) {
				t.Errorf("Finish = %+v by %s, want the test doctor by %s", who, s.Provider(), tt.want)
			}
			if res.ReturnTo != "/ward?bed=3" || res.Grant.Tokens.Access == "" || res.Grant.Tokens.Refresh == "" || (res.Grant.Tokens.ID != "") != (tt.want == session.ByOIDC) {
				t.Errorf("Finish = to %s with %+v, want /ward?bed=3 and tokens", res.ReturnTo, res.Grant.Tokens)
			}
			if _, err := p.Open(s.url + "/auth/callback?" + s.query); err != nil || kindOf(s.err) != Invalid || s.last.Grant.Tokens.Access != "" {
				t.Errorf("Finish(code reused) = %v, %v, want Invalid", s.err, err)
			}
			if n := s.cloud.FailedLogins(); n != 0 {
				t.Errorf("Nextcloud booked %d failed logins, want 0", n)
			}
		})
	}
}

// TestRenewAtNextcloud turns the knobs one after the other on one grant each.
func TestRenewAtNextcloud(t *testing.T) {
	builtIn, both := []string{"nextcloud"}, []string{"nextcloud", "oidc"}
	tests := []struct {
		name      string
		providers []string
		turn      func(s *site)
		rotated   bool
		want      error // nil: none; errAnswer: any that ends nothing
	}{
		{"all well", both, func(*site) {}, true, nil},
		{"groups changed", both, func(s *site) { s.cloud.SetGroups("testdoc", []string{"users", "ward-9"}) }, true, nil},
		{"revoked", both, func(s *site) { s.cloud.RevokeAll("testdoc") }, false, session.ErrGrantDead},
		{"disabled", builtIn, func(s *site) { s.cloud.Disable("testdoc", true) }, true, session.ErrGrantDead},
		{"down", both, func(s *site) { s.cloud.SetDown(true) }, false, errAnswer},
		{"maintenance", both, func(s *site) { s.cloud.SetMaintenance(true) }, false, errAnswer},
		{"OCS fails after the rotation", builtIn, func(s *site) { s.fail.Store(new("/ocs/")) }, true, errAnswer},
		{"userinfo fails after the rotation", []string{"oidc"}, func(s *site) { s.fail.Store(new("/index.php/apps/oidc/userinfo")) }, true, errAnswer},
		{"client's secret wrong", both, func(s *site) {
			s.secret = session.NewRotating("wrong")
			s.adopt(must(s.discover(context.Background())))
		}, false, errAnswer},
		{"allowed group lost", both, func(s *site) { s.cloud.SetGroups("testdoc", nil) }, true, session.ErrNotAllowed},
	}
	for _, tt := range tests {
		for _, provider := range tt.providers {
			t.Run(tt.name+"/"+provider, func(t *testing.T) {
				s := newSite(t, demo.Options{}, func(c *Config) { c.Provider, c.AllowedGroups = provider, []string{"users"} })
				res, _ := s.signIn(t)
				old := res.Grant
				old.Identity.SessionID = "sid"
				tt.turn(s)
				next, err := s.Renew(t.Context(), old)
				ends := errors.Is(err, session.ErrGrantDead) || errors.Is(err, session.ErrNotAllowed)
				if tt.want == errAnswer && (err == nil || ends) || tt.want != errAnswer && !errors.Is(err, tt.want) {
					t.Errorf("Renew(%s) = %v, want %v", tt.name, err, tt.want)
				}
				if rotated := next.Tokens.Access != old.Tokens.Access && next.Tokens.Refresh != old.Tokens.Refresh; rotated != tt.rotated || next.Tokens.Access == "" {
					t.Errorf("Renew(%s) gave new tokens: %t, want %t", tt.name, rotated, tt.rotated)
				}
				if id := next.Identity; id.Subject != "testdoc" || id.SessionID != "sid" || !id.AuthTime.Equal(old.Identity.AuthTime) {
					t.Errorf("Renew(%s) = %+v, want the same person, session and AuthTime", tt.name, id)
				}
				if tt.name == "groups changed" && !next.Identity.In([]string{"ward-9"}) {
					t.Errorf("Renew(groups changed) groups = %v, want ward-9 among them", next.Identity.Groups)
				}
			})
		}
	}
}

func must(v provider, err error) provider {
	if err != nil {
		panic(err)
	}
	return v
}

func TestSignOut(t *testing.T) {
	s := newSite(t, demo.Options{}, func(c *Config) { c.Provider = "nextcloud" })
	res, _ := s.signIn(t)
	if got := s.SignOut(t.Context(), res.Grant, s.url+"/"); got != "" || s.cloud.Calls(demo.AppPassword) != 1 {
		t.Errorf("SignOut(built-in) = %q with %d calls for the app password, want nowhere and 1", got, s.cloud.Calls(demo.AppPassword))
	}
	if _, err := s.Renew(t.Context(), res.Grant); !errors.Is(err, session.ErrGrantDead) {
		t.Errorf("Renew(after SignOut) = %v, want ErrGrantDead", err)
	}
	s = newSite(t, demo.Options{OIDC: demo.OIDC20}, nil)
	res, p := s.signIn(t)
	to := s.SignOut(t.Context(), res.Grant, s.url+"/")
	u, err := url.Parse(to)
	if err != nil || u.Path != "/index.php/apps/oidc/logout" || u.Query().Get("id_token_hint") != res.Grant.Tokens.ID.Reveal() ||
		u.Query().Get("client_id") != demo.DefaultClientID || u.Query().Get("post_logout_redirect_uri") != s.url+"/" || u.Query().Get("state") == "" {
		t.Errorf("SignOut(oidc) = %s, want end_session with id_token_hint, client_id, post_logout_redirect_uri, state", to)
	}
	if page, err := p.Open(to); err != nil || "http://"+page.URL.Host != s.url {
		t.Errorf("the provider's sign-out led to %v, %v, want back here", page, err)
	}
}

func TestRunFindsProviderLater(t *testing.T) {
	for version, want := range map[demo.OIDCVersion]string{demo.OIDC06: "oidc", demo.NoOIDC: "nextcloud"} {
		synctest.Test(t, func(t *testing.T) {
			cloud := demo.NewNextcloud(demo.Options{OIDC: version})
			p := relyingParty(t, "http://cloud.example", func(c *Config, o *Options) { c.Provider, o.Client.Transport = "auto", handlerClient{cloud} })
			cloud.SetDown(true)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			go p.Run(ctx)
			time.Sleep(5 * time.Minute)
			if p.Ready() == nil || p.Provider() != "" {
				t.Errorf("Ready(down) = nil with provider %q, want why not", p.Provider())
			}
			cloud.SetDown(false)
			cloud.SetMaintenance(true)
			time.Sleep(time.Minute)
			if p.Ready() == nil || p.Provider() != "" {
				t.Errorf("Ready(maintenance) = nil with provider %q, want why not", p.Provider())
			}
			cloud.SetMaintenance(false)
			time.Sleep(time.Minute)
			if err := p.Ready(); err != nil || p.Provider() != want {
				t.Errorf("Ready(up) = %v with provider %q, want nil with %s", err, p.Provider(), want)
			}
			cloud.SetDown(true)
			time.Sleep(time.Hour)
			if err := p.Ready(); err != nil || p.Provider() != want {
				t.Errorf("Ready(down again) = %v with provider %q, want nil with %s: it was found once", err, p.Provider(), want)
			}
			cancel()
		})
	}
}

// TestRunSeesOutages: within two minutes of its going, it is known, said once,
// and nobody is sent there; that it is back is known at once where somebody asks.
func TestRunSeesOutages(t *testing.T) {
	for _, version := range []demo.OIDCVersion{demo.OIDC20, demo.NoOIDC} {
		synctest.Test(t, func(t *testing.T) {
			cloud := demo.NewNextcloud(demo.Options{OIDC: version})
			var log bytes.Buffer
			p := relyingParty(t, "http://cloud.example", func(c *Config, o *Options) {
				c.Provider, c.RedirectURI, o.Client.Transport, o.Log = "auto", testSite+"/auth/callback", handlerClient{cloud}, slog.New(slog.NewTextHandler(&log, nil))
			})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			go p.Run(ctx)
			time.Sleep(time.Minute)
			start := func() error {
				return p.Start(httptest.NewRecorder(), newBrowser(p).request(testSite+"/auth/login"), "/")
			}
			if err := p.Answering(); err != nil {
				t.Errorf("Answering(up) = %v, want nil", err)
			}
			cloud.SetDown(true)
			time.Sleep(2 * time.Minute)
			if p.Answering() == nil || p.Ready() != nil {
				t.Errorf("Answering(down), Ready(down) = nil, %v, want why not, and nil", p.Ready())
			}
			if err := start(); kindOf(err) != Unavailable {
				t.Errorf("Start(down) = %v, want %s", err, Unavailable)
			}
			time.Sleep(time.Hour)
			cloud.SetDown(false)
			start()
			time.Sleep(2 * time.Second)
			if err := p.Answering(); err != nil {
				t.Errorf("Answering(up again) = %v, want nil", err)
			}
			if err := start(); err != nil {
				t.Errorf("Start(up again) = %v, want nil", err)
			}
			cancel()
			synctest.Wait()
			for _, line := range []string{"sign-in provider does not answer", "sign-in provider answers again"} {
				if n := strings.Count(log.String(), line); n != 1 {
					t.Errorf("the log says %d times that the %s, want once:\n%s", n, line, &log)
				}
			}
		})
	}
}

func TestDiscoveryRefused(t *testing.T) {
	for what, metadata := range map[string]map[string]any{
		"another issuer": {"issuer": "https://evil.example"}, "no keys": {"jwks_uri": ""}, "a script": {"authorization_endpoint": "javascript:alert(1)"},
		"shared secrets alone": {"id_token_signing_alg_values_supported": []string{"HS256", "none"}},
	} {
		p := relyingParty(t, newHostile(t, metadata).URL, func(c *Config, _ *Options) { c.Provider = "auto" })
		if v, err := p.discover(t.Context()); err == nil {
			t.Errorf("discover(%s) = %s, want an error", what, v.kind())
		}
	}
}
