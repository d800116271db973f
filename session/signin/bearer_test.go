package signin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"anteroom/demo"
	"anteroom/session"
)

// answers is a Nextcloud that says one thing to every credential, and keeps
// what it was asked last.
func answers(t *testing.T, status int, contentType, body string, change func(*Config)) (*RelyingParty, *http.Request) {
	t.Helper()
	last := &http.Request{}
	cloud := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*last = *r
		w.Header().Set("Content-Type", contentType)
		w.Header().Set("Location", "https://else.example/login")
		http.SetCookie(w, &http.Cookie{Name: "oc_sessionPassphrase", Value: "x"})
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}))
	t.Cleanup(cloud.Close)
	p := relyingParty(t, cloud.URL, func(c *Config, _ *Options) {
		c.Provider, c.AccessTokens = kindNextcloud, "own"
		if change != nil {
			change(c)
		}
	})
	p.adopt(newNextcloud(p))
	return p, last
}

const adaAnswer = `{"ocs":{"meta":{"statuscode":200},"data":{"id":"ada","display-name":"Ada","email":"ada@example.com","groups":["doctors"]}}}`

// TestOCSVerdicts: what Nextcloud may answer to a credential, and whether that
// is yes, no, or no answer at all.
func TestOCSVerdicts(t *testing.T) {
	disabled := `<?xml version="1.0"?><ocs><meta><statuscode>997</statuscode><message>User disabled</message></meta></ocs>`
	for _, tt := range []struct {
		name       string
		status     int
		kind, body string
		change     func(*Config)
		want       string // "", "refused", "not allowed", "broken"
	}{
		{"known", 200, "application/json", adaAnswer, nil, ""},
		{"in an allowed group", 200, "application/json", adaAnswer, func(c *Config) { c.AllowedGroups = []string{"doctors"} }, ""},
		{"an allowed user", 200, "application/json", adaAnswer, func(c *Config) { c.AllowedUsers = []string{"ada"} }, ""},
		{"in no allowed group", 200, "application/json", adaAnswer, func(c *Config) { c.AllowedGroups = []string{"nurses"} }, "not allowed"},
		{"allowed by the login name, not the id", 200, "application/json", adaAnswer, func(c *Config) { c.AllowedUsers = []string{"ada@example.com"} }, "not allowed"},
		{"unknown", 401, "application/json", `{"ocs":{"meta":{"statuscode":997},"data":[]}}`, nil, "refused"},
		{"disabled", 401, "text/xml", disabled, nil, "refused"},
		{"throttled", 429, "text/html", "<html>", nil, "broken"},
		{"no OCS-APIRequest", 412, "application/json", `{"message":"CSRF check failed"}`, nil, "broken"},
		{"maintenance", 503, "text/html", "<html>", nil, "broken"},
		{"error", 500, "text/html", "", nil, "broken"},
		{"not a trusted domain", 400, "text/html", "<html>", nil, "broken"},
		{"sent elsewhere", 303, "text/html", "", nil, "broken"},
		{"a page", 200, "text/html", "<html>", nil, "broken"},
		{"nobody", 200, "application/json", `{"ocs":{"data":{"id":""}}}`, nil, "broken"},
		{"no data", 200, "application/json", `{"ocs":{"data":[]}}`, nil, "broken"},
		{"cut", 200, "application/json", adaAnswer[:40], nil, "broken"},
		{"without end", 200, "application/json", strings.Repeat(" ", maxAnswer+1), nil, "broken"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, asked := answers(t, tt.status, tt.kind, tt.body, tt.change)
			who, err := p.ByPassword(t.Context(), "ada@example.com", "secret")
			judged(t, "ByPassword", who, err, tt.want)
			if user, password, _ := asked.BasicAuth(); user != "ada@example.com" || password != "secret" || asked.Header.Get("OCS-APIRequest") != "true" || asked.URL.Path != "/ocs/v2.php/cloud/user" {
				t.Errorf("asked %s with %v, want cloud/user with Basic and OCS-APIRequest", asked.URL, asked.Header)
			}
			who, opens, err := p.ByToken(t.Context(), "token")
			judged(t, "ByToken", who, err, tt.want)
			if asked.Header.Get("Authorization") != "Bearer token" || !opens {
				t.Errorf("ByToken asked with %q, opens %v, want the token, and that it opens", asked.Header.Get("Authorization"), opens)
			}
			if len(asked.Cookies()) > 0 {
				t.Errorf("asked with cookies %v: they would say who asks", asked.Cookies())
			}
		})
	}
}

// judged checks one verdict: yes is about ada.
func judged(t *testing.T, what string, who session.Identity, err error, want string) {
	t.Helper()
	got := ""
	switch {
	case errors.Is(err, session.ErrGrantDead):
		got = "refused"
	case errors.Is(err, session.ErrNotAllowed):
		got = "not allowed"
	case err != nil:
		got = "broken"
	case who.Subject != "ada":
		t.Errorf("%s = %+v, want ada", what, who)
	}
	if got != want {
		t.Errorf("%s = %v (%q), want %q", what, err, got, want)
	}
}

// TestNobodyAnswers: that nobody can be asked says nothing about a credential.
func TestNobodyAnswers(t *testing.T) {
	p, _ := answers(t, 200, "application/json", adaAnswer, nil)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := p.ByPassword(gone, "ada", "secret")
	judged(t, "ByPassword(left)", session.Identity{}, err, "broken")
	p = relyingParty(t, "http://127.0.0.1:1", func(c *Config, _ *Options) { c.AccessTokens = "own" })
	_, err = p.ByPassword(t.Context(), "ada", "secret")
	judged(t, "ByPassword(away)", session.Identity{}, err, "broken")
}

// TestTokenBeforeTheProvider: no token is anybody's while it is not known who
// gives them, also in the moment between asking for the provider and asking why
// there is none.
func TestTokenBeforeTheProvider(t *testing.T) {
	p := relyingParty(t, "http://127.0.0.1:1", func(c *Config, _ *Options) { c.AccessTokens = "own" })
	for _, when := range []string{"not asked yet", "just found"} {
		if when == "just found" {
			p.failed.Store(nil)
		}
		if who, _, err := p.ByToken(t.Context(), "token"); err == nil || errors.Is(err, session.ErrGrantDead) {
			t.Errorf("ByToken(%s) = %+v, %v, want an error that does not refuse", when, who, err)
		}
	}
}

// TestPeopleOfTheDemo: with the pretend Nextcloud, as a whole.
func TestPeopleOfTheDemo(t *testing.T) {
	s := newSite(t, demo.Options{}, func(c *Config) { c.AccessTokens = "own" })
	who, err := s.ByPassword(t.Context(), "testdoc@example.com", demo.DefaultPassword)
	if err != nil || who.Subject != demo.DefaultUser {
		t.Fatalf("ByPassword(an address) = %+v, %v, want the account's id", who, err)
	}
	if _, err := s.ByPassword(t.Context(), demo.DefaultUser, "wrong"); !errors.Is(err, session.ErrGrantDead) {
		t.Errorf("ByPassword(wrong) = %v, want ErrGrantDead", err)
	}
	s.cloud.Disable(demo.DefaultUser, true)
	if _, err := s.ByPassword(t.Context(), demo.DefaultUser, demo.DefaultPassword); !errors.Is(err, session.ErrGrantDead) {
		t.Errorf("ByPassword(disabled) = %v, want ErrGrantDead", err)
	}
	s.cloud.Disable(demo.DefaultUser, false)
	s.cloud.SetMaintenance(true)
	if _, err := s.ByPassword(t.Context(), demo.DefaultUser, demo.DefaultPassword); err == nil || errors.Is(err, session.ErrGrantDead) {
		t.Errorf("ByPassword(maintenance) = %v, want an error that does not refuse", err)
	}
}

// idp is an OpenID Connect provider as far as access tokens go.
type idp struct {
	introspection, userinfo int // statuses
	said                    map[string]any
	asked                   []string
}

func (i *idp) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i.asked = append(i.asked, r.URL.Path)
	status, said := i.userinfo, any(map[string]any{"sub": "ada", "groups": []string{"doctors"}})
	if r.URL.Path == "/introspect" {
		status, said = i.introspection, i.said
		if r.FormValue("client_id") != testClient || r.FormValue("client_secret") != "secret" || r.FormValue("token") != "token" || r.URL.RawQuery != "" {
			status = http.StatusUnauthorized
		}
	}
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(said)
}

// TestTokensOfOpenID: a token counts if the provider gave it to this client.
func TestTokensOfOpenID(t *testing.T) {
	ours := map[string]any{"active": true, "client_id": testClient}
	for _, tt := range []struct {
		name          string
		accept        string
		introspection bool
		i             idp
		change        func(*Config)
		want          string
		asked         string
	}{
		{"ours", "own", true, idp{200, 200, ours, nil}, nil, "", "/introspect /userinfo"},
		{"another client's", "own", true, idp{200, 200, map[string]any{"active": true, "client_id": "else"}, nil}, nil, "refused", "/introspect"},
		{"nobody's", "own", true, idp{200, 200, map[string]any{"active": true}, nil}, nil, "refused", "/introspect"},
		{"over", "own", true, idp{200, 200, map[string]any{"active": false, "client_id": testClient}, nil}, nil, "refused", "/introspect"},
		{"active as text", "own", true, idp{200, 200, map[string]any{"active": "true", "client_id": testClient}, nil}, nil, "refused", "/introspect"},
		{"introspection refuses us", "own", true, idp{401, 200, ours, nil}, nil, "broken", "/introspect"},
		{"introspection fails", "own", true, idp{503, 200, ours, nil}, nil, "broken", "/introspect"},
		{"no introspection", "own", false, idp{200, 200, ours, nil}, nil, "refused", ""},
		{"any client's", "any", false, idp{200, 200, nil, nil}, nil, "", "/userinfo"},
		{"none", "none", true, idp{200, 200, ours, nil}, nil, "refused", ""},
		{"userinfo refuses as Nextcloud does", "own", true, idp{200, 400, ours, nil}, nil, "refused", "/introspect /userinfo"},
		{"userinfo refuses", "own", true, idp{200, 401, ours, nil}, nil, "refused", "/introspect /userinfo"},
		{"userinfo fails", "own", true, idp{200, 502, ours, nil}, nil, "broken", "/introspect /userinfo"},
		{"in no allowed group", "own", true, idp{200, 200, ours, nil}, func(c *Config) { c.AllowedGroups = []string{"nurses"} }, "not allowed", "/introspect /userinfo"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			srv := httptest.NewServer(&tt.i)
			defer srv.Close()
			p := relyingParty(t, srv.URL, func(c *Config, _ *Options) {
				c.AccessTokens = tt.accept
				if tt.change != nil {
					tt.change(c)
				}
			})
			m := &metadata{Issuer: srv.URL, UserInfoURL: srv.URL + "/userinfo", JWKSURL: srv.URL + "/jwks"}
			if tt.introspection {
				m.Introspection = srv.URL + "/introspect"
			}
			o, err := newOIDC(p, m)
			if err != nil {
				t.Fatal(err)
			}
			p.adopt(o)
			who, opens, err := p.ByToken(t.Context(), "token")
			judged(t, "ByToken", who, err, tt.want)
			if opens {
				t.Error("the token opens Nextcloud, want that it does not")
			}
			if got := strings.Join(tt.i.asked, " "); got != tt.asked {
				t.Errorf("asked %q, want %q", got, tt.asked)
			}
		})
	}
}

// TestTokenWhileSecretIsExchanged: a token counts while the provider knows the
// client by the secret before.
func TestTokenWhileSecretIsExchanged(t *testing.T) {
	i := &idp{200, 200, map[string]any{"active": true, "client_id": testClient}, nil}
	srv := httptest.NewServer(i)
	defer srv.Close()
	p := relyingParty(t, srv.URL, func(c *Config, _ *Options) { c.AccessTokens = "own" })
	o, err := newOIDC(p, &metadata{Issuer: srv.URL, UserInfoURL: srv.URL + "/userinfo", JWKSURL: srv.URL + "/jwks", Introspection: srv.URL + "/introspect"})
	if err != nil {
		t.Fatal(err)
	}
	p.adopt(o)
	p.RenewClientSecret("another")
	who, _, err := p.ByToken(t.Context(), "token")
	judged(t, "ByToken", who, err, "")
	if got := strings.Join(i.asked, " "); got != "/introspect /introspect /userinfo" {
		t.Errorf("asked %q, want the secret before shown, too", got)
	}
}

// TestIntrospectionIsNoPlainText: the client's secret goes there.
func TestIntrospectionIsNoPlainText(t *testing.T) {
	p := relyingParty(t, "https://id.example", nil)
	m := metadata{Issuer: "https://id.example", AuthURL: "https://id.example/a", TokenURL: "https://id.example/t", JWKSURL: "https://id.example/k", Introspection: "https://id.example/i"}
	if err := p.judgeMetadata(&m); err != nil {
		t.Errorf("judgeMetadata = %v, want nil", err)
	}
	m.Introspection = "http://id.example/i"
	if err := p.judgeMetadata(&m); err == nil {
		t.Error("judgeMetadata(introspection without TLS) = nil, want an error")
	}
}
