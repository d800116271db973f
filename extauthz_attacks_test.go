package main

import (
	"net/http"
	"strings"
	"testing"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"

	"anteroom/test/person"
)

// TestExtAuthzReplaces: nothing that a client says of itself reaches the
// application, and nothing that would open its session.
func TestExtAuthzReplaces(t *testing.T) {
	w, all := envoyTown(t, "ANTEROOM_IDENTITY_STRIP=Remote-User,X-Auth-Request-User")
	doc, _ := w.testdoc("/auth/")
	spoofs := []string{
		"X-Forwarded-User: admin", "X-Forwarded-User: admin2", "X-Forwarded-Groups: admin", "X-Forwarded-Groups-Truncated: x", "Authorization: Bearer forged", "X-Request-Id: bad id",
		"X_Forwarded_User: admin", "X.Forwarded.Groups: admin", "x~forwarded~email: a@b", "Remote-User: admin", "remote_user: admin", "X-Auth_Request-User: admin",
		"X-User: kept", "X-Forwarded-Users: kept",
	}
	all.each(t, func(e *envoy) {
		for name, tt := range map[string]struct {
			p    *person.Person
			user string
		}{"testdoc": {doc, "testdoc"}, "nobody": {nil, ""}} {
			o := e.send(tt.p, "GET", w.site+"/public/x", append(spoofs, "Cookie: theme=dark")...)
			if o.status != http.StatusOK {
				e.w.Fatalf("%s = %d %s", name, o.status, o.body)
			}
			for h, values := range o.app {
				for _, v := range values {
					if strings.Contains(v, "admin") || strings.Contains(v, "forged") || strings.Contains(v, "bad id") || strings.Contains(h, "_") || strings.Contains(v, "anteroom") {
						e.w.Errorf("%s: the application gets %s: %s", name, h, v)
					}
				}
				if len(values) > 1 && h != "cookie" {
					e.w.Errorf("%s: the application gets %s %d times", name, h, len(values))
				}
			}
			if u := strings.Join(o.app["x-forwarded-user"], "|"); u != tt.user {
				e.w.Errorf("%s: X-Forwarded-User %q, want %q", name, u, tt.user)
			}
			if c := strings.Join(o.app["cookie"], "|"); c != "theme=dark" && (tt.p == nil || !strings.HasPrefix(c, "theme=dark")) {
				e.w.Errorf("%s: Cookie %q, want theme=dark", name, c)
			}
			if o.app["x-user"][0] != "kept" || o.app["x-forwarded-users"][0] != "kept" || len(o.app["x-request-id"]) != 1 {
				e.w.Errorf("%s: the application gets %v", name, o.app)
			}
			if jwt := o.app["authorization"]; tt.p != nil && (len(jwt) != 1 || !strings.HasPrefix(jwt[0], "Bearer ey")) || tt.p == nil && len(jwt) > 0 {
				e.w.Errorf("%s: Authorization %q", name, jwt)
			}
			if tt.p != nil && (o.metadata["sub"] != "testdoc" || o.metadata["sid"] == "" || len(o.metadata) != 3) || tt.p == nil && len(o.metadata) > 0 {
				e.w.Errorf("%s: metadata %v", name, o.metadata)
			}
		}
		if o := e.send(doc, "GET", w.site+"/notes"); len(o.app["cookie"]) > 0 {
			e.w.Errorf("our own cookie reaches the application: %q", o.app["cookie"])
		}
	})
}

// TestExtAuthzQuery: on routes that want it the JWT is in the query, once.
func TestExtAuthzQuery(t *testing.T) {
	w, all := envoyTown(t)
	doc, _ := w.testdoc("/auth/")
	all.each(t, func(e *envoy) {
		for _, tt := range []struct {
			p      *person.Person
			path   string
			status int
			want   string // the query, with JWT for one
		}{
			{doc, "/ws", 200, "|token=JWT"},
			{doc, "/ws?a=%2F&b", 200, "a=%2F|b|token=JWT"},
			{doc, "/ws?token=forged&a=1&token=again", 200, "a=1|token=JWT"},
			{doc, "/ws?TOKEN=f&%74oken=f&token[]=f&token%00x=f&a=1", 200, "a=1|token=JWT"},
			{doc, "/ws?a=1;token=f", 400, ""},
			{doc, "/ws?token;a=f", 400, ""},
			{nil, "/open?token=forged&Token=f&a=1", 200, "a=1"},
			{doc, "/open?token=forged&a=1", 200, "a=1|token=JWT"},
			{doc, "/notes?token=mine", 200, "token=mine"},
		} {
			o := e.send(tt.p, "GET", w.site+tt.path)
			for i, param := range o.query {
				if strings.HasPrefix(param, "token=ey") {
					o.query[i] = "token=JWT"
				}
			}
			if got := strings.Join(o.query, "|"); o.status != tt.status || got != tt.want {
				e.w.Errorf("%s = %d, query %q, want %d, %q", tt.path, o.status, got, tt.status, tt.want)
			}
		}
	})
}

// TestExtAuthzCookies: with sessions in cookies a yes writes them anew, each by
// itself.
func TestExtAuthzCookies(t *testing.T) {
	w, all := envoyTown(t, append([]string{"ANTEROOM_SESSION_IDLE_TIMEOUT=1s"}, providers["cookie sessions"].env...)...)
	all.each(t, func(e *envoy) {
		doc, _ := e.w.testdoc("/auth/")
		var o outcome
		e.w.await("written anew", func() bool {
			o = e.send(doc, "GET", w.site+"/notes")
			return o.status != http.StatusOK || len(o.client["set-cookie"]) > 0
		})
		if c := o.client["set-cookie"]; o.status != http.StatusOK || !strings.HasPrefix(c[0], "anteroom") || strings.Contains(c[0], ",anteroom") {
			e.w.Errorf("= %d, Set-Cookie %q", o.status, c)
		}
	})
}

// noQuestion are changes to a whole question after which it is none.
var noQuestion = map[string]func(m *auth.CheckRequest){
	"nothing":            func(m *auth.CheckRequest) { m.Attributes = nil },
	"no request":         func(m *auth.CheckRequest) { m.Attributes.Request = nil },
	"no http":            func(m *auth.CheckRequest) { m.Attributes.Request.Http = nil },
	"no source":          func(m *auth.CheckRequest) { m.Attributes.Source = nil },
	"no address":         func(m *auth.CheckRequest) { m.Attributes.Source.Address = nil },
	"a name for address": func(m *auth.CheckRequest) { m.Attributes.Source.Address.GetSocketAddress().Address = "localhost" },
	"a pipe": func(m *auth.CheckRequest) {
		m.Attributes.Source.Address = &core.Address{Address: &core.Address_Pipe{Pipe: &core.Pipe{Path: "/x"}}}
	},
	"no method":      func(m *auth.CheckRequest) { m.Attributes.Request.Http.Method = "" },
	"no host":        func(m *auth.CheckRequest) { m.Attributes.Request.Http.Host = "" },
	"no path":        func(m *auth.CheckRequest) { m.Attributes.Request.Http.Path = "" },
	"two schemes":    func(m *auth.CheckRequest) { m.Attributes.Request.Http.Headers["x-forwarded-proto"] = "http,https" },
	"an odd scheme":  func(m *auth.CheckRequest) { m.Attributes.Request.Http.Headers["x-forwarded-proto"] = "javascript" },
	"an empty one":   func(m *auth.CheckRequest) { m.Attributes.Request.Http.Headers["x-forwarded-proto"] = "" },
	"a query beside": func(m *auth.CheckRequest) { m.Attributes.Request.Http.Query = "a=1" },
	"a fragment":     func(m *auth.CheckRequest) { m.Attributes.Request.Http.Fragment = "a" },
	"huge headers":   func(m *auth.CheckRequest) { m.Attributes.Request.Http.Headers["a"] = strings.Repeat("a", 70_000) },
	"no name":        func(m *auth.CheckRequest) { m.Attributes.Request.Http.Headers[""] = "a" },
	"both headers": func(m *auth.CheckRequest) {
		m.Attributes.Request.Http.HeaderMap = &core.HeaderMap{Headers: []*core.HeaderValue{{Key: "a", RawValue: []byte("b")}}}
	},
	"raw and not": func(m *auth.CheckRequest) {
		m.Attributes.Request.Http.Headers = nil
		m.Attributes.Request.Http.HeaderMap = &core.HeaderMap{Headers: []*core.HeaderValue{{Key: "a", Value: "a", RawValue: []byte("b")}}}
	},
	"two raw schemes": func(m *auth.CheckRequest) {
		m.Attributes.Request.Http.Headers = nil
		m.Attributes.Request.Http.HeaderMap = &core.HeaderMap{Headers: []*core.HeaderValue{{Key: "x-forwarded-proto", RawValue: []byte("http")}, {Key: "x-forwarded-proto", RawValue: []byte("http")}}}
	},
	"a trusted proxy's nonsense": func(m *auth.CheckRequest) {
		m.Attributes.Source.Address.GetSocketAddress().Address = "127.0.0.1"
		m.Attributes.Request.Http.Headers["x-forwarded-for"] = "somebody"
	},
}

// TestExtAuthzNoQuestion: not even a public page for a question that is none.
func TestExtAuthzNoQuestion(t *testing.T) {
	w, e := envoyTown(t)
	if a := e.ask(e.question("GET", w.site+"/public/x")); a.GetOkResponse() == nil {
		t.Fatalf("a whole question = %v", a)
	}
	for name, change := range noQuestion {
		m := e.question("GET", w.site+"/public/x")
		change(m)
		if a := e.ask(m); a.GetStatus().GetCode() == 0 || a.GetDeniedResponse().GetStatus().GetCode() != 400 {
			t.Errorf("%s = %v %v, want a no with 400", name, a.GetStatus(), a.GetDeniedResponse().GetStatus())
		}
	}
	if a := e.ask(&auth.CheckRequest{}); a.GetStatus().GetCode() == 0 || a.GetDeniedResponse() == nil {
		t.Errorf("an empty question = %v", a)
	}
}

// TestExtAuthzAttacks: of nobody no attempt is let through to what is not
// public.
func TestExtAuthzAttacks(t *testing.T) {
	w, all := envoyTown(t)
	paths := []string{
		"/notes", "/public/../notes", "/public/%2e%2e/notes", "/public/..%2fnotes", "/public/..;/notes", "/public%2f..%2fnotes", "/public/./../notes", "/public\\..\\notes",
		"//evil/public/x", "//public/../notes", "/public//../notes", "http://evil/public/x", "https:///public", "/notes#/public", "/notes?/public/", "*", "", "?", "#", "/\x00", "/public/\x00/../notes",
		"/%zz", "/public/%zz", "/public/%00", "/public/%u002e%u002e/notes", "/public/%c0%ae%c0%ae/notes", "/%70ublic/../notes", "/Public/x", "/PUBLIC/x", "/public", "/publicity", "/" + strings.Repeat("a", 64<<10),
		"/auth/me", "/auth/verify", "/auth/forward/traefik", "/public/../auth/me",
	}
	all.each(t, func(e *envoy) {
		for _, path := range paths {
			for _, method := range []string{"GET", "HEAD", "POST", "OPTIONS", "get", "CONNECT", "TRACE", "FOO", "GET ", "GET\r\nX: y"} {
				m := e.question("GET", w.site+"/public/x", "User-Agent: kube-probe/1.31", "X-Original-Url: /public/x", "X-Forwarded-Uri: /public/x", "X-Forwarded-Method: GET", "X-Rewrite-Url: /public/x", "X-Http-Method-Override: GET")
				r := m.GetAttributes().GetRequest().GetHttp()
				r.Path, r.Method = strings.ToValidUTF8(path, "?"), method
				if a := e.ask(m); a.GetStatus().GetCode() == 0 && path != "/public" {
					e.w.Errorf("%s %.100q of nobody = yes", method, path)
				}
			}
		}
		for _, host := range []string{"evil.test", "localhost@evil.test", "evil.test/public", "LOCALHOST.evil.test", "localhost:1", "localhost,evil.test", "localhost evil.test", "[::1]", "localhost\x00", "wiki.test.", "wiki.test:80", "WIKI.TEST"} {
			m := e.question("GET", w.site+"/public/x", "X-Forwarded-Host: wiki.test", "Host: wiki.test")
			m.GetAttributes().GetRequest().GetHttp().Host = host
			ours := strings.HasPrefix(strings.ToLower(host), "wiki.test")
			if a := e.ask(m); (a.GetStatus().GetCode() == 0) != ours {
				e.w.Errorf("a public page of host %q = %v %v, want yes: %v", host, a.GetStatus(), a.GetDeniedResponse().GetStatus(), ours)
			}
		}
	})
}

// TestExtAuthzClient: X-Forwarded-For counts from a trusted proxy alone.
func TestExtAuthzClient(t *testing.T) {
	w, e := envoyTown(t, "ANTEROOM_TELEMETRY_TRUST_TRACES=true")
	for _, tt := range []struct{ source, forwarded, want string }{
		{"192.0.2.7", "198.51.100.1", "192.0.2.7"},
		{"192.0.2.7", "somebody", "192.0.2.7"},
		{"127.0.0.1", "203.0.113.1, 198.51.100.1", "198.51.100.1"},
		{"::ffff:127.0.0.1", "198.51.100.2,127.0.0.1", "198.51.100.2"},
		{"2001:db8::1", "", "2001:db8::1"},
	} {
		m := e.question("GET", w.site+"/notes", "X-Request-Id: client-test")
		m.Attributes.Source.Address.GetSocketAddress().Address = tt.source
		if tt.forwarded != "" {
			m.Attributes.Request.Http.Headers["x-forwarded-for"] = tt.forwarded
		}
		e.ask(m)
		lines := strings.Split(strings.TrimSpace(w.audit.String()), "\n")
		if last := lines[len(lines)-1]; !strings.Contains(last, `"client":"`+tt.want+`"`) || !strings.Contains(last, "client-test") {
			t.Errorf("from %s with %q: %s, want client %s", tt.source, tt.forwarded, last, tt.want)
		}
	}
}

// TestExtAuthzLeaksNothing looks for what people hold dear in all that is
// written down.
func TestExtAuthzLeaksNothing(t *testing.T) {
	w, e := envoyTown(t, "ANTEROOM_TELEMETRY_LOG_LEVEL=debug")
	doc, _ := w.testdoc("/auth/")
	o := e.send(doc, "GET", w.site+"/ws?secret=canary-query", "Authorization: Bearer canary-bearer")
	m := e.question("GET", w.site+"/public/x", "Cookie: anteroom=canary-cookie", "X-Secret: canary-header")
	m.Attributes.Request.Http.Body = "canary-body"
	e.ask(m)
	m.Attributes.Request.Http.Path = "canary-path"
	e.ask(m)
	_, metrics := get(t, w.admin+"/metrics")
	cookies := strings.Split(w.cookiesOf(doc), "; ")
	w.stop()
	all := w.log.String() + w.audit.String() + metrics
	for _, canary := range append(cookies, o.app["authorization"][0], "canary", "Test Doctor", "testdoc@example.com") {
		if _, value, found := strings.Cut(canary, "="); found {
			canary = value
		}
		if strings.Contains(all, strings.TrimPrefix(canary, "Bearer ")) {
			t.Errorf("%q is written down", canary)
		}
	}
	if !strings.Contains(metrics, `anteroom_checks_total{answer="yes",dialect="ext_authz"}`) || !strings.Contains(w.log.String(), `"dialect":"ext_authz"`) {
		t.Error("checks are not counted or not logged")
	}
}
