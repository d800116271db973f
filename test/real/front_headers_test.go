//go:build real

package realtest

import (
	"fmt"
	"strings"
	"testing"
)

// everyFront is every front proxy and every example of deploy/ for one.
func everyFront(t *testing.T) []front {
	old := caddy("/usr/bin/caddy")
	old.name = "caddy of debian"
	return append(fronts(t), old, envoyBy("http"), envoyBy("grpc"))
}

// TestFrontsKeepTheIdentity: a client cannot have the identity taken out by
// naming it in Connection, nor hand its session on in odd Cookie lines, nor say
// where it comes from.
func TestFrontsKeepTheIdentity(t *testing.T) {
	for _, kind := range everyFront(t) {
		t.Run(kind.name, func(t *testing.T) {
			s := frontTest{newFrontage(t, kind, "app"), "app"}
			s.signIn(t)
			cookie := s.cookies()
			for _, name := range []string{"X-Forwarded-User", "X-Forwarded-Groups", "Authorization", "X-Forwarded-For", "X-Forwarded-Host"} {
				r := s.reaches(t, "127.0.0.1", "Cookie: "+cookie, "Connection: close, "+name)
				if r.Headers.Get("X-Forwarded-User") != "nurse" || r.Headers.Get("X-Forwarded-Groups") == "" || r.Headers.Get("Authorization") == "" {
					t.Errorf("with %s in Connection the application got %v, want the whole identity", name, r.Headers)
				}
			}
			for _, lines := range [][]string{
				{"Cookie: theme=dark", "Cookie: " + cookie}, {"Cookie: " + cookie, "Cookie: theme=dark"}, {"Cookie: theme=dark," + cookie},
				{"Cookie: $Version=1; " + cookie}, {"Cookie: theme=dark;\t" + cookie}, {`Cookie: theme="dark"; ` + strings.Replace(cookie, "=", `="`, 1) + `"`},
			} {
				r := s.reaches(t, "127.0.0.1", lines...)
				if _, secret, _ := strings.Cut(cookie, "="); strings.Contains(fmt.Sprint(r.Headers), secret) {
					t.Errorf("with %d Cookie lines the application got the session: %v", len(lines), r.Headers["Cookie"])
				}
			}
			r := s.reaches(t, "127.0.0.2", "X-Forwarded-For: 192.0.2.1", "X-Forwarded-For: 192.0.2.2")
			if got := r.Headers["X-Forwarded-For"]; len(got) != 1 || got[0] != "127.0.0.2" {
				t.Errorf("the application got X-Forwarded-For %q, want the client's address alone", got)
			}
		})
	}
}

// reaches is what the application gets of a request for something public.
func (s frontTest) reaches(t *testing.T, from string, lines ...string) received {
	t.Helper()
	before := len(s.frontage.app.reached())
	a := s.send(t, "127.0.0.1:"+s.port, from, "GET /public/x HTTP/1.1\r\nHost: "+s.host(s.app)+"\r\n"+head(lines))
	got := s.frontage.app.reached()[before:]
	if len(got) != 1 {
		t.Fatalf("%.80q = %d %.200q, reached the application %d times", lines, a.status, a.body, len(got))
	}
	return got[0]
}

// TestFrontsAndOverrides: no header makes another method, or another path, of
// what was judged, and none of identity.strip reaches the application.
func TestFrontsAndOverrides(t *testing.T) {
	for _, kind := range everyFront(t) {
		t.Run(kind.name, func(t *testing.T) {
			f := newFrontage(t, kind, "app", "ANTEROOM_IDENTITY_STRIP", "X-Staff", "ANTEROOM_ROUTES", `[{path: /public, allow: public}, {path: /api, methods: [POST], allow: public}, {path: /, allow: signed-in}]`)
			s := frontTest{f, "app"}
			for _, h := range []string{"X-HTTP-Method-Override", "X-Rewrite-Url", "Proxy", "X-Staff"} {
				before := len(f.app.reached())
				a := s.through(t, "POST", "/api/x", h+": DELETE", "Content-Length: 0")
				for _, r := range f.app.reached()[before:] {
					if got := r.Headers.Get(h); got != "" {
						t.Errorf("%s of nobody = %d, reached the application", h, a.status)
					}
				}
			}
		})
	}
}
