package main

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"anteroom/demo"
	"anteroom/proxy/authn"
)

// TestClientsByBasicAndBearer: a program's secret is good in both, at routes that
// name it and at our own doors that tell who one is.
func TestClientsByBasicAndBearer(t *testing.T) {
	secret, hash := authn.NewSecret()
	w := found(t, demo.Options{}, `ANTEROOM_CLIENTS=[{name: indexer, secret_hash: "`+hash+`"}]`,
		`ANTEROOM_ROUTES=[{path: /api, audience: api, allow: {clients: [indexer]}, upstream: "{app}"}, {path: /, audience: rest, upstream: "{app}"}]`)
	for name, header := range map[string]string{
		"Basic":  "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("indexer:"+secret.Reveal())),
		"Bearer": "Authorization: Bearer " + secret.Reveal(),
	} {
		t.Run(name, func(t *testing.T) {
			before := len(w.app.requests())
			w.ask(nil, "GET", "/api/x", "", header)
			seen := w.app.requests()
			if len(seen) == before || !strings.Contains(seen[len(seen)-1].Header.Get("X-Forwarded-User"), "indexer") {
				t.Errorf("the application was not told of indexer")
			}
			resp, body := w.ask(nil, "GET", "/auth/me", "", header)
			if resp.StatusCode != 200 || !strings.Contains(body, `"preferred_username":"indexer"`) {
				t.Errorf("/auth/me = %d %s", resp.StatusCode, body)
			}
			for query, want := range map[string]int{"": 200, "?audience=api": 200, "?audience=rest": 400} {
				resp, body := w.ask(nil, "POST", "/auth/token"+query, "", header)
				var said struct {
					Token string `json:"access_token"`
				}
				_ = json.Unmarshal([]byte(body), &said)
				if resp.StatusCode != want || want == 200 && audienceOf(t, said.Token) != "api" {
					t.Errorf("/auth/token%s = %d for %q, want %d", query, resp.StatusCode, audienceOf(t, said.Token), want)
				}
			}
		})
	}
	resp, _ := w.ask(nil, "GET", "/auth/me", "", "Authorization: Bearer "+strings.Repeat("x", 52))
	if got := strings.Join(resp.Header.Values("WWW-Authenticate"), ", "); resp.StatusCode != 401 || !strings.Contains(got, "Basic") || !strings.Contains(got, "Bearer") {
		t.Errorf("a wrong secret = %d with challenges %q, want both", resp.StatusCode, got)
	}
	resp, _ = w.ask(nil, "GET", "/auth/me", "", "Sec-Fetch-Mode: cors")
	if got := strings.Join(resp.Header.Values("WWW-Authenticate"), ", "); strings.Contains(got, "Basic") {
		t.Errorf("a page's script is challenged by %q: the browser would ask for a password", got)
	}
}

// TestTokensByAuthorization are for the routes that know callers by it: an app
// password opens no other here, nor does a client's group.
func TestTokensByAuthorization(t *testing.T) {
	secret, hash := authn.NewSecret()
	w := found(t, demo.Options{}, `ANTEROOM_CLIENTS=[{name: indexer, secret_hash: "`+hash+`", groups: [robots]}]`,
		`ANTEROOM_ROUTES=[{path: /robots, audience: robots, allow: {groups: [robots]}, upstream: "{app}"}, {path: /public, audience: public, allow: public, upstream: "{app}"}, {path: /api, audience: api, allow: {clients: [indexer], users: [testdoc]}, upstream: "{app}"}, {path: /, audience: rest, upstream: "{app}"}]`)
	for user, password := range map[string]string{"indexer": secret.Reveal(), demo.DefaultUser: demo.DefaultPassword} {
		basic := "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
		for query, want := range map[string]int{"": 200, "?audience=api": 200, "?audience=robots": 400, "?audience=public": 400, "?audience=rest": 400} {
			resp, body := w.ask(nil, "POST", "/auth/token"+query, "", basic)
			var said struct {
				Token string `json:"access_token"`
			}
			_ = json.Unmarshal([]byte(body), &said)
			if resp.StatusCode != want || want == 200 && audienceOf(t, said.Token) != "api" {
				t.Errorf("/auth/token%s for %s = %d for %q, want %d", query, user, resp.StatusCode, audienceOf(t, said.Token), want)
			}
		}
	}
}

// TestNoTokenForAToken: who has a JWT of ours gets no other with it.
func TestNoTokenForAToken(t *testing.T) {
	w := found(t, demo.Options{}, "ANTEROOM_INTEGRATIONS_WEBDAV_CREDENTIAL=user", `ANTEROOM_ROUTES=[{path: /a, audience: app-a, upstream: "{app}"}, {path: /, audience: app-b, upstream: "{app}"}]`)
	p, _ := w.testdoc("/")
	_, jwt := ownToken(w, p, "?audience=app-a")
	for _, query := range []string{"", "?audience=app-a", "?audience=app-b"} {
		if resp, _ := w.ask(nil, "POST", "/auth/token"+query, "", "Authorization: Bearer "+jwt); resp.StatusCode != 401 {
			t.Errorf("/auth/token%s with a JWT = %d, want 401", query, resp.StatusCode)
		}
	}
	if resp, body := w.ask(nil, "GET", "/auth/me", "", "Authorization: Bearer "+jwt); resp.StatusCode != 200 || !strings.Contains(body, demo.DefaultUser) {
		t.Errorf("/auth/me with a JWT = %d %s", resp.StatusCode, body)
	}
}

// TestSessionBeforeAuthorization where one is told who one is: pages have an
// Authorization for the application about them, the JWT they got here among them.
func TestSessionBeforeAuthorization(t *testing.T) {
	for name, with := range map[string][]string{"with programs": {"ANTEROOM_INTEGRATIONS_WEBDAV_CREDENTIAL=user"}, "without": nil} {
		t.Run(name, func(t *testing.T) {
			w := found(t, demo.Options{}, with...)
			p, _ := w.testdoc("/")
			_, jwt := ownToken(w, p, "")
			for _, said := range []string{"Bearer " + jwt, "Bearer of-the-application", "Basic ZnJvbTp0aGVtc2VsdmVz", "Digest x"} {
				if resp, body := w.ask(p, "POST", "/auth/token", "", "Sec-Fetch-Site: same-origin", "Authorization: "+said); resp.StatusCode != 200 {
					t.Errorf("/auth/token with a session and %.20s = %d %s", said, resp.StatusCode, body)
				}
				if resp, body := w.ask(p, "GET", "/auth/me", "", "Authorization: "+said); resp.StatusCode != 200 || !strings.Contains(body, "session_ends") {
					t.Errorf("/auth/me with a session and %.20s = %d %s", said, resp.StatusCode, body)
				}
			}
		})
	}
}

// TestNoPasswordsToTry where nothing is for who comes with one: who they are is
// not asked of Nextcloud, and nobody is told whether a password is good.
func TestNoPasswordsToTry(t *testing.T) {
	w := found(t, demo.Options{})
	for _, password := range []string{demo.DefaultPassword, "wrong"} {
		basic := "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(demo.DefaultUser+":"+password))
		for method, path := range map[string]string{"GET": "/auth/me", "POST": "/auth/token"} {
			if resp, body := w.ask(nil, method, path, "", basic); resp.StatusCode != 401 || !strings.Contains(body, "sign_in_required") || strings.Contains(strings.Join(resp.Header.Values("WWW-Authenticate"), ""), "Basic") {
				t.Errorf("%s with the password %s = %d %s, want it passed over", path, password, resp.StatusCode, body)
			}
		}
	}
	if _, metrics := get(t, w.admin+"/metrics"); strings.Contains(metrics, "anteroom_credentials_total{") {
		t.Error("a password was judged")
	}
}

// TestTokensWhereOthersForward: where front proxies alone ask, tokens are for who
// may use a route, too.
func TestTokensWhereOthersForward(t *testing.T) {
	w := found(t, demo.Options{}, "ANTEROOM_SERVER_TRUSTED_PROXIES=127.0.0.1",
		`ANTEROOM_ROUTES=[{path: /secret, audience: secret, upstream: none, allow: {groups: [admin]}}, {path: /, audience: open, upstream: none}]`)
	p := w.from("nurse", "nurse123", "")
	for query, want := range map[string]int{"": 200, "?audience=open": 200, "?audience=secret": 400} {
		if status, jwt := ownToken(w, p, query); status != want || want == 200 && audienceOf(t, jwt) != "open" {
			t.Errorf("/auth/token%s = %d for %q, want %d", query, status, audienceOf(t, jwt), want)
		}
	}
}

// TestWhereNothingIsToBeAsked: a typing error in what a front proxy asks at is no
// yes of the application's.
func TestWhereNothingIsToBeAsked(t *testing.T) {
	w := found(t, demo.Options{}, "ANTEROOM_SERVER_TRUSTED_PROXIES=127.0.0.1")
	p, _ := w.testdoc("/")
	for _, path := range []string{"/auth/verify/", "/auth/verify/ngnix", "/auth/forward/x", "/auth/verify/nginx/"} {
		before := len(w.app.requests())
		if resp, _ := w.ask(p, "GET", path, ""); resp.StatusCode != 404 || len(w.app.requests()) > before {
			t.Errorf("%s = %d, at the application %v; want 404 of ours", path, resp.StatusCode, len(w.app.requests()) > before)
		}
	}
}

// TestNothingServedUnsaid: without a word on integrations the paths of the JSON
// API are the application's, and nobody's files are reached.
func TestNothingServedUnsaid(t *testing.T) {
	for name, o := range map[string]demo.Options{"OIDC": {}, "built-in OAuth2": {OIDC: demo.NoOIDC}} {
		t.Run(name, func(t *testing.T) {
			w := found(t, o)
			p, _ := w.testdoc("/")
			for _, path := range []string{"/integrations/files?path=/", "/integrations/calendars", "/integrations/contacts", "/integrations/openapi.json", "/dav/files/testdoc/"} {
				before := len(w.app.requests())
				w.ask(p, "GET", path, "")
				if len(w.app.requests()) == before {
					t.Errorf("%s did not reach the application", path)
				}
			}
		})
	}
}
