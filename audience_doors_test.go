package main

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"

	"anteroom/demo"
	"anteroom/proxy/authn"
	"anteroom/test/person"
)

// audienceOf is the aud of a JWT, as "" where it has none, and "no JWT".
func audienceOf(t *testing.T, bearer string) string {
	t.Helper()
	jwt := strings.TrimPrefix(bearer, "Bearer ")
	if strings.Count(jwt, ".") != 2 {
		return "no JWT"
	}
	said, there := claimsOf(t, jwt)["aud"]
	aud, one := said.(string)
	if there && !one {
		t.Fatalf("aud = %v, want one", said)
	}
	return aud
}

// ownToken asks for a JWT of one's own.
func ownToken(w *town, p *person.Person, query string) (status int, jwt string) {
	w.Helper()
	resp, body := w.ask(p, "POST", "/auth/token"+query, "", "Sec-Fetch-Site: same-origin")
	var said struct {
		Token string `json:"access_token"`
	}
	_ = json.Unmarshal([]byte(body), &said)
	return resp.StatusCode, said.Token
}

// TestEachRouteItsAudience, one without among them, at every door that tells of
// it.
func TestEachRouteItsAudience(t *testing.T) {
	w := found(t, demo.Options{}, "ANTEROOM_SERVER_TRUSTED_PROXIES=127.0.0.1",
		`ANTEROOM_ROUTES=[{path: /legacy, audience: none, upstream: "{app}"}, {path: /wiki, audience: wiki, upstream: "{app}"}, {path: /payroll, audience: payroll, upstream: "{app}", allow: {groups: [admin]}}, {path: /, audience: rest, upstream: "{app}"}]`)
	p := w.from("nurse", "nurse123", "")
	for path, want := range map[string]string{"/legacy/x": "", "/wiki/x": "wiki", "/x": "rest"} {
		if resp, _ := w.check(p, "/auth/verify", "GET", w.site+path); resp.StatusCode != 200 || audienceOf(t, resp.Header.Get("Authorization")) != want {
			t.Errorf("verify of %s = %d for %q, want %q", path, resp.StatusCode, audienceOf(t, resp.Header.Get("Authorization")), want)
		}
		w.ask(p, "GET", path, "")
		seen := w.app.requests()
		if got := audienceOf(t, seen[len(seen)-1].Header.Get("Authorization")); got != want {
			t.Errorf("%s reached the application with a JWT for %q, want %q", path, got, want)
		}
	}
	if resp, _ := w.check(p, "/auth/verify", "GET", w.site+"/payroll/x"); resp.StatusCode != 403 {
		t.Errorf("verify of what is not theirs = %d, want 403", resp.StatusCode)
	}
	for asked, want := range map[string]int{"wiki": 200, "rest": 200, "payroll": 400, "other": 400} {
		if status, jwt := ownToken(w, p, "?audience="+asked); status != want || want == 200 && audienceOf(t, jwt) != asked {
			t.Errorf("a token for %s = %d, %q, want %d", asked, status, audienceOf(t, jwt), want)
		}
	}
}

// TestNoAudience at all, as programs want it that do not look at aud.
func TestNoAudience(t *testing.T) {
	w := found(t, demo.Options{}, "ANTEROOM_IDENTITY_JWT_AUDIENCE=none", "ANTEROOM_SERVER_TRUSTED_PROXIES=127.0.0.1")
	p, _ := w.testdoc("/")
	if status, jwt := ownToken(w, p, ""); status != 200 || audienceOf(t, jwt) != "" {
		t.Errorf("a token = %d for %q, want one without audience", status, audienceOf(t, jwt))
	}
	if resp, _ := w.check(p, "/auth/verify", "GET", w.site+"/x"); resp.StatusCode != 200 || audienceOf(t, resp.Header.Get("Authorization")) != "" {
		t.Errorf("verify = %d for %q", resp.StatusCode, audienceOf(t, resp.Header.Get("Authorization")))
	}
}

// TestTokenOfAnotherApplication opens no route that has another audience.
func TestTokenOfAnotherApplication(t *testing.T) {
	_, hash := authn.NewSecret()
	w := found(t, demo.Options{}, `ANTEROOM_CLIENTS=[{name: indexer, secret_hash: "`+hash+`"}]`, "ANTEROOM_SERVER_TRUSTED_PROXIES=127.0.0.1",
		`ANTEROOM_ROUTES=[{path: /a, audience: app-a, allow: {clients: [indexer], users: [testdoc]}, upstream: "{app}"}, {path: /b, audience: app-b, allow: {clients: [indexer], users: [testdoc]}, upstream: "{app}"}, {path: /c, audience: none, allow: {clients: [indexer], users: [testdoc]}, upstream: "{app}"}, {path: /, upstream: "{app}"}]`)
	p, _ := w.testdoc("/a/x")
	_, jwt := ownToken(w, p, "?audience=app-a")
	for path, want := range map[string]int{"/a/x": 200, "/b/x": 401, "/c/x": 401} {
		before := len(w.app.requests())
		resp, _ := w.ask(nil, "GET", path, "", "Authorization: Bearer "+jwt)
		if passed := len(w.app.requests()) > before; passed != (want == 200) || !passed && resp.StatusCode != want {
			t.Errorf("%s with the JWT of /a = %d, passed %v, want %d", path, resp.StatusCode, passed, want)
		}
		if resp, _ := w.check(nil, "/auth/verify", "GET", w.site+path, "Authorization: Bearer "+jwt); resp.StatusCode != want {
			t.Errorf("verify of %s with it = %d, want %d", path, resp.StatusCode, want)
		}
	}
}

// TestCredentialsStayHere: what proves to us who somebody is goes no further,
// wherever the JWT is told.
func TestCredentialsStayHere(t *testing.T) {
	secret, hash := authn.NewSecret()
	for name, how := range map[string][]string{"in Authorization": nil, "in another header": {"ANTEROOM_IDENTITY_JWT_HEADER=X-Identity-Jwt"}, "nowhere": {"ANTEROOM_IDENTITY_JWT_ALGORITHM=none"}} {
		t.Run(name, func(t *testing.T) {
			at := freeAddr(t)
			w := found(t, demo.Options{}, append([]string{`ANTEROOM_CLIENTS=[{name: indexer, secret_hash: "` + hash + `"}]`, "ANTEROOM_SERVER_TRUSTED_PROXIES=127.0.0.1", "ANTEROOM_SERVER_EXT_AUTHZ_LISTEN=" + at,
				`ANTEROOM_ROUTES=[{path: /api, allow: {clients: [indexer], users: [testdoc]}, upstream: "{app}"}, {path: /, allow: public, upstream: "{app}"}]`}, how...)...)
			asker := &envoy{w: w, Authorization: auth.NewAuthorizationClient(dialGRPC(t, at)), at: at}
			for user, password := range map[string]string{"indexer": secret.Reveal(), demo.DefaultUser: demo.DefaultPassword} {
				basic := "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
				w.ask(nil, "GET", "/api/x", "", basic)
				seen := w.app.requests()
				if len(seen) == 0 {
					t.Fatalf("%s does not reach the application", user)
				}
				last := seen[len(seen)-1]
				if got := last.Header.Values("Authorization"); last.URL.Path != "/api/x" || strings.Contains(strings.Join(got, ""), "Basic") {
					t.Errorf("%s: %s reached the application with Authorization %q", user, last.URL.Path, got)
				}
				resp, _ := w.check(nil, "/auth/verify", "GET", w.site+"/api/x", basic)
				if got, told := resp.Header["Authorization"]; resp.StatusCode != http.StatusOK || !told || strings.Contains(strings.Join(got, ""), "Basic") {
					t.Errorf("%s: verify = %d with Authorization %q, want it replaced", user, resp.StatusCode, got)
				}
				if o := asker.send(nil, "GET", w.site+"/api/x", basic); o.status != http.StatusOK || strings.Contains(strings.Join(o.app["authorization"], ""), "Basic") {
					t.Errorf("%s: by way of Envoy = %d with Authorization %q", user, o.status, o.app["authorization"])
				}
			}
			w.ask(nil, "GET", "/x", "", "Authorization: Basic ZnJvbTp0aGVtc2VsdmVz")
			seen := w.app.requests()
			if got := seen[len(seen)-1].Header.Get("Authorization"); name != "in Authorization" && got != "Basic ZnJvbTp0aGVtc2VsdmVz" {
				t.Errorf("where nobody is asked, the application got Authorization %q, want the client's", got)
			}
		})
	}
}
