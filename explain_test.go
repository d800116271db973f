package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"anteroom/proxy"
)

// explained runs the command in an environment.
func explained(e env, args ...string) (out, said string, err error) {
	var environ []string
	for k, v := range e {
		environ = append(environ, k+"="+v)
	}
	return explainedIn(environ, args...)
}

func explainedIn(environ []string, args ...string) (out, said string, err error) {
	var stdout, stderr bytes.Buffer
	err = run(context.Background(), append([]string{"explain"}, args...), system{Environ: environ, Out: &stdout, Err: &stderr})
	return stdout.String(), stderr.String(), err
}

// explainedJSON runs it with --json.
func explainedJSON(t *testing.T, environ []string, args ...string) *explanation {
	t.Helper()
	out, said, err := explainedIn(environ, append(args, "--json")...)
	if err != nil {
		t.Fatalf("explain %q = %v %s", args, err, said)
	}
	e := &explanation{}
	if err := json.Unmarshal([]byte(out), e); err != nil {
		t.Fatalf("explain %q --json: %v\n%s", args, err, out)
	}
	return e
}

// family is a configuration with something of everything.
const family = `upstream: https://app:8001
nextcloud: {url: https://cloud.example.com}
signin:
  client_id: abc
server:
  public_url: https://app.example.com
  hosts: [other.example.org]
  trusted_proxies: [10.0.0.0/8]
session: {cookie: {domain: example.com}}
routes:
  - {path: /public, allow: public}
  - path: /admin
    allow: {groups: [admin, ward 3], users: [ada]}
  - {path: /hook, methods: [POST], allow: public}
  - {path: /ws, jwt_in_query: true, audience: chat}
  - {host: wiki.example.com, upstream: none, allow: {groups: [doctors]}}
`

// inFamily makes it the configuration of the working directory, with changes.
func inFamily(t *testing.T, changes ...string) {
	t.Helper()
	t.Chdir(t.TempDir())
	if err := os.WriteFile("config.yaml", []byte(strings.NewReplacer(changes...).Replace(family)), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestExplainText(t *testing.T) {
	inFamily(t)
	for _, tt := range []struct{ args, want string }{
		{"GET /admin/x?y=1 --user ada --user eve --group staff --group a,b", `
GET https://app.example.com/admin/x?y=1

host     app.example.com: ours, by server.public_url
path     /admin/x
rule     routes[1] (config.yaml:12): path /admin
allow    one of the groups admin, "ward 3", or the user ada
goes to  https://app:8001
JWT      aud https://app:8001, in Authorization

WHO                   ASKED               ANSWER  WHY
nobody, in a browser  directly, relaying  302     sign_in_required → https://app.example.com/auth/login?return_to=%2Fadmin%2Fx%3Fy%3D1
nobody, in a browser  by status           401     sign_in_required → https://app.example.com/auth/login?return_to=%2Fadmin%2Fx%3Fy%3D1
nobody, a program     any way             401     sign_in_required: Sign in first.
ada                   any way             passes  is the user ada
eve in "a,b", staff   any way             403     not_allowed: needs one of the groups admin, "ward 3", or the user ada

relaying: Traefik, Caddy, Envoy; by status: nginx, HAProxy (docs/forward-auth.md)
`},
		{"GET /PUBLIC/../admin", `
GET https://app.example.com/PUBLIC/../admin

host  app.example.com: ours, by server.public_url
path  /PUBLIC/../admin: ambiguous, since applications may read
        /admin → routes[1]
        /PUBLIC/../admin → the rest
        /PUBLIC/../admin, its letters in any case → routes[0]
rule  none

WHO        ASKED               ANSWER  WHY
everybody  directly, relaying  400     ambiguous_path: The path can be read in more than one way.
everybody  by status           403     ambiguous_path: The path can be read in more than one way.

relaying: Traefik, Caddy, Envoy; by status: nginx, HAProxy (docs/forward-auth.md)
`},
		{"GET https://WIKI.example.com:443/a/../ --group doctors", `
GET https://WIKI.example.com:443/a/../

host     wiki.example.com: ours, by session.cookie.domain
path     /a/../, in its normal form /
rule     routes[4] (config.yaml:16): path /, host wiki.example.com
allow    the group doctors
goes to  front proxies that ask; Anteroom itself answers 404
JWT      aud https://wiki.example.com, in Authorization

WHO                   ASKED             ANSWER  WHY
nobody, in a browser  relaying          302     sign_in_required → https://app.example.com/auth/login?return_to=https%3A%2F%2Fwiki.example.com%2Fa%2F..%2F
nobody, in a browser  by status         401     sign_in_required → https://app.example.com/auth/login?return_to=https%3A%2F%2Fwiki.example.com%2Fa%2F..%2F
nobody, a program     by a front proxy  401     sign_in_required: Sign in first.
somebody in doctors   by a front proxy  passes  is in the group doctors

relaying: Traefik, Caddy, Envoy; by status: nginx, HAProxy (docs/forward-auth.md)
`},
		{"POST /auth/me", `
POST https://app.example.com/auth/me

host     app.example.com: ours, by server.public_url
path     /auth/me
own URL  /auth/me: who is signed in, for programs

WHO        ASKED             ANSWER  WHY
everybody  directly          405     method_not_allowed: That method is not answered here. GET, HEAD are.
everybody  by a front proxy  403     own_url: This address is Anteroom's own; the front proxy must send it there without asking.
`},
	} {
		out, said, err := explained(env{}, strings.Fields(tt.args)...)
		if diff := cmp.Diff(strings.TrimPrefix(tt.want, "\n"), out); diff != "" || err != nil {
			t.Errorf("explain %s = %v %s (-want +got)\n%s", tt.args, err, said, diff)
		}
	}
}

// TestExplainAlone is the smallest set-up: nobody asks, so nothing is said of
// front proxies.
func TestExplainAlone(t *testing.T) {
	out, said, err := explained(smallest().with(env{"ANTEROOM_SIGNIN_ALLOWED_GROUPS": "doctors"}), "GET", "/x#y", "--user", "ada", "--user", "bob", "--group", "doctors")
	want := `GET https://app.example.com/x#y

host     app.example.com: ours, by server.public_url
path     /x#y
rule     the rest (ANTEROOM_UPSTREAM): path /
allow    whoever is signed in
goes to  http://localhost:8001
JWT      aud http://localhost:8001, in Authorization
sign-in  for the group doctors
note     coming directly, it counts as http: server.trusted_proxies names no front proxy that may say otherwise
note     a browser sends nothing of what follows #
note     ada may not sign in (signin.allowed_groups, allowed_users), and gets what nobody gets

WHO                   ANSWER  WHY
nobody, in a browser  302     sign_in_required → https://app.example.com/auth/login?return_to=%2Fx%2523y
nobody, a program     401     sign_in_required: Sign in first.
bob in doctors        passes  being signed in is enough
`
	if diff := cmp.Diff(want, out); diff != "" || err != nil {
		t.Errorf("explain = %v %s (-want +got)\n%s", err, said, diff)
	}
}

func TestExplainFinds(t *testing.T) {
	for _, tt := range []struct {
		method, url     string
		host, ours      string
		rule, own, note string
		direct, status  int // for a program that nobody is signed in to; 0: passes
	}{
		{"GET", "/public/x", "app.example.com", "server.public_url", "routes[0]", "", "", 0, 0},
		{"GET", "https://app.example.com?a=b", "app.example.com", "server.public_url", "the rest", "", "", 401, 401},
		{"POST", "/hook", "app.example.com", "server.public_url", "routes[2]", "", "", 0, 0},
		{"PUT", "/hook", "app.example.com", "server.public_url", "the rest", "", "", 401, 401},
		{"GET", "https://Other.example.org./ws", "other.example.org", "server.hosts", "routes[3]", "", "", 401, 401},
		{"GET", "https://deep.wiki.example.com/", "deep.wiki.example.com", "session.cookie.domain", "the rest", "", "", 401, 401},
		{"GET", "https://wiki.example.com:8443/", "wiki.example.com:8443", "session.cookie.domain", "routes[4]", "", "", 303, 401},
		{"GET", "https://evilexample.com/public", "evilexample.com", "", "", "", "", 421, 403},
		{"GET", "https://example.com.evil.org/", "example.com.evil.org", "", "", "", "", 421, 403},
		{"GET", "https://app.example.com:8000/public", "app.example.com:8000", "session.cookie.domain", "routes[0]", "", "", 0, 0},
		{"GET", "http://app.example.com/public", "app.example.com", "server.public_url", "routes[0]", "", "", 0, 0},
		{"get", "/public", "app.example.com", "server.public_url", "", "", "", 400, 403},
		{"TRACE", "/public", "app.example.com", "server.public_url", "", "", "", 405, 403},
		{"GET", "/auth/callback", "app.example.com", "server.public_url", "", "/auth/callback: a sign-in comes back here", "", 0, 403},
		{"GET", "/auth/assets/x.css", "app.example.com", "server.public_url", "", "/auth/assets/: what our pages load", "", 0, 403},
		{"GET", "https://evil.org/.well-known/jwks.json", "evil.org", "", "", "/.well-known/jwks.json: the keys of the identity JWT", "", 0, 403},
		{"GET", "https://wiki.example.com/auth/me", "wiki.example.com", "session.cookie.domain", "routes[4]", "/auth/me: who is signed in, for programs", "", 401, 401},
		{"GET", "/auth/forward/envoy/public", "app.example.com", "server.public_url", "", "/auth/forward/envoy/: front proxies ask here (envoy)", "", 0, 403},
		{"GET", "/public/%zz", "app.example.com", "server.public_url", "", "", "", 400, 403},
		{"GET", "/public/\x01", "app.example.com", "server.public_url", "", "", "", 400, 400},
		{"GET", "/public/x#y", "app.example.com", "server.public_url", "routes[0]", "", "a browser sends nothing of what follows #", 0, 403},
		{"GET", "//public/x", "app.example.com", "server.public_url", "", "", "", 400, 403},
		{"GET", "/auth/../admin", "app.example.com", "server.public_url", "", "", "", 400, 403},
	} {
		inFamily(t)
		e := explainedJSON(t, nil, tt.method, tt.url)
		rule := ""
		if e.Rule != nil {
			rule = e.Rule.Name
		}
		got := []string{e.Host, e.OursBy, rule, e.Own, strings.Join(e.Notes, ";")}
		if diff := cmp.Diff([]string{tt.host, tt.ours, tt.rule, tt.own, tt.note}, got); diff != "" {
			t.Errorf("explain %s %q (-want +got)\n%s", tt.method, tt.url, diff)
		}
		for way, want := range map[proxy.Way]int{proxy.Directly: tt.direct, proxy.ByStatus: tt.status} {
			for _, a := range e.Answers {
				if a.Who == "nobody" && a.Client == "program" && a.Asked == way && (a.Passed != (want == 0) || want != 0 && a.Status != want) {
					t.Errorf("explain %s %q, %s: passes %v with %d, want %d", tt.method, tt.url, way, a.Passed, a.Status, want)
				}
			}
		}
	}
}

// TestExplainSigned and what else a rule may have that takes keys to do.
func TestExplainSigned(t *testing.T) {
	inFamily(t, "audience: chat}", "audience: none, sign: body}")
	if e := explainedJSON(t, nil, "GET", "/ws"); e.Rule == nil || e.Rule.Name != "routes[3]" {
		t.Errorf("explain of a signed route = %+v", e.Rule)
	}
}

// TestExplainAPI: who may pass its door may not have each operation.
func TestExplainAPI(t *testing.T) {
	inFamily(t, "session: {", "integrations: {webdav: {username: svc, password: x}, caldav: {credential: user}}\nsession: {")
	for target, want := range map[string]int{"/integrations/files?path=/": 403, "/integrations/calendars": 0, "/integrations/nothing": 404, "/integrations/openapi.json": 0} {
		for _, a := range explainedJSON(t, nil, "GET", target, "--user", "ada").Answers {
			if a.Who == "ada" && a.Client != "browser" && a.Asked == proxy.Directly && a.Status != want {
				t.Errorf("explain %s for ada = %d %s, want %d", target, a.Status, a.Why, want)
			}
		}
	}
}

// TestExplainRule: what is said of a rule is what the application will see.
func TestExplainRule(t *testing.T) {
	inFamily(t)
	e := explainedJSON(t, nil, "GET", "/ws")
	want := &ruleSaid{Index: 3, Name: "routes[3]", Source: "config.yaml", Line: 15, Path: "/ws", Upstream: "https://app:8001", Audience: "chat", InQuery: true}
	if diff := cmp.Diff(want, e.Rule); diff != "" {
		t.Errorf("the rule (-want +got)\n%s", diff)
	}
	inFamily(t, "upstream: https://app:8001", "upstream: https://app:8001\nidentity: {jwt: {algorithm: none}}", "jwt_in_query: true, ", "")
	if out, _, _ := explained(env{}, "GET", "/ws"); !strings.Contains(out, "\nJWT      none\n") {
		t.Errorf("without a JWT:\n%s", out)
	}
	inFamily(t)
	e = explainedJSON(t, []string{"ANTEROOM_ROUTES=[{path: /a, methods: [GET]}]"}, "GET", "/a")
	if e.Rule == nil || e.Rule.Source != "ANTEROOM_ROUTES" {
		t.Errorf("a route of the environment is said to be %+v", e.Rule)
	}
}
