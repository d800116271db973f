//go:build real

package realtest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// frontSuite is what must hold behind every front proxy: with Anteroom below
// /auth/ of the application's host, and with a host of its own that signs people
// in for others.
func frontSuite(t *testing.T, kind front) {
	for _, tt := range []struct{ public, app string }{{"app", "app"}, {"auth", "wiki"}} {
		t.Run(tt.public, func(t *testing.T) { frontTest{newFrontage(t, kind, tt.public), tt.app}.all(t) })
	}
}

// frontTest is the suite at one of the front proxy's hosts.
type frontTest struct {
	*frontage
	app string // the guarded host
}

func (s frontTest) all(t *testing.T) {
	t.Run("sign-in", s.signIn)
	for name, test := range map[string]func(*testing.T){
		"identity": s.identity, "programs": s.programs, "forbidden": s.forbidden, "sockets": s.sockets,
		"upload": s.upload, "streams": s.streams, "many cookies": s.manyCookies, "spoofs": s.spoofs, "doors": s.doors, "paths": s.paths, "lies": s.lies,
	} {
		t.Run(name, test)
	}
	t.Run("sign-out", s.signOut)
	t.Run("away", s.away)
}

// signIn: from nobody to back where they wanted to go.
func (s frontTest) signIn(t *testing.T) {
	wanted := "/notes?a=1&b=%2F..%2F&next=/x?y"
	g, err := s.p.trySignIn(s.site, s.at(s.app, wanted), "nurse", "nurse123")
	if err != nil {
		t.Fatal(err)
	}
	if s.app != "app" { // the sign-in ends on the public host, with a page that goes on
		to := ""
		for _, l := range g.links {
			to = l.String()
		}
		if to != s.at(s.app, wanted) {
			t.Fatalf("the sign-in ends at %s with links %v, want one to %s", g.url, g.links, s.at(s.app, wanted))
		}
		g = s.p.visit(to)
	}
	if got := shown(t, g); got.URI != wanted || got.Headers.Get("X-Forwarded-User") != "nurse" {
		t.Errorf("after signing in the application got %s as %q, want %s as nurse", got.URI, got.Headers.Get("X-Forwarded-User"), wanted)
	}
}

// identity: headers, a JWT that verifies, and no cookie of ours.
func (s frontTest) identity(t *testing.T) {
	u, _ := url.Parse(s.at(s.app, "/"))
	s.p.client.Jar.SetCookies(u, []*http.Cookie{{Name: "theme", Value: "dark", Path: "/"}})
	got := shown(t, s.p.visit(s.at(s.app, "/who")))
	for name, want := range map[string]string{"X-Forwarded-User": "nurse", "X-Forwarded-Preferred-Username": "nurse", "X-Forwarded-Email": "nurse@example.com", "X-Forwarded-Groups": "users,ward-3"} {
		if v := got.Headers.Get(name); v != want {
			t.Errorf("%s = %q, want %q", name, v, want)
		}
	}
	audience, door := s.URL, "forward_auth"
	if s.front.forwards {
		audience, door = s.frontage.app.URL, "application"
	}
	if id := verify(t, s.site, got, audience); id.Subject != "nurse" {
		t.Errorf("the JWT is of %q, want nurse", id.Subject)
	}
	if c := got.Headers.Get("Cookie"); c != "theme=dark" {
		t.Errorf("the application got the cookies %q, want theme=dark alone", c)
	}
	if host := got.Host; host != s.host(s.app) {
		t.Errorf("the application got Host %q, want %q", host, s.host(s.app))
	}
	if for_ := got.Headers.Get("X-Forwarded-For"); for_ != "127.0.0.1" {
		t.Errorf("the application got X-Forwarded-For %q, want the client's address alone", for_)
	}
	until(t, nil, "the access line", 5*time.Second, s.wrote(1, map[string]string{"msg": "request", "path": "/who", "host": s.host(s.app), "sub": "nurse", "door": door}))
}

// ask is a program's request; jar says whether the nurse's cookies go along.
func (s frontTest) ask(t *testing.T, jar bool, method, path string, body io.Reader, lines ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequest(method, s.at(s.app, path), body)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		r.Header[name] = append(r.Header[name], value)
	}
	c := &http.Client{Transport: s.p.client.Transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	if jar {
		c.Jar = s.p.client.Jar
	}
	resp, err := c.Do(r)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 4<<20))
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(b)
}

// programs get a 401 and no redirect; what is public passes.
func (s frontTest) programs(t *testing.T) {
	for _, method := range []string{"GET", "HEAD", "POST", "DELETE", "OPTIONS", "PROPFIND"} {
		resp, _ := s.ask(t, false, method, "/api/x", nil, "Accept: application/json")
		if resp.StatusCode != http.StatusUnauthorized || resp.Header.Get("Location") != "" {
			t.Errorf("%s of nobody = %d to %q, want 401 and no redirect", method, resp.StatusCode, resp.Header.Get("Location"))
		}
	}
	resp, body := s.ask(t, false, "GET", "/public/x?a=/../b", nil)
	var got received
	if err := json.Unmarshal([]byte(body), &got); err != nil || resp.StatusCode != http.StatusOK || got.URI != "/public/x?a=/../b" {
		t.Errorf("what is public = %d %.200q, want the application's answer", resp.StatusCode, body)
	}
	for name, values := range got.Headers {
		if strings.HasPrefix(name, "X-Forwarded-User") || name == "X-Forwarded-Groups" || name == "Authorization" {
			if strings.Join(values, "") != "" {
				t.Errorf("the application of nobody got %s %q, want nothing", name, values)
			}
		}
	}
	resp, _ = s.ask(t, false, "GET", "/page?a=1&b=2", nil, "Accept: text/html", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document")
	back := "/page?a=1&b=2"
	if s.app != "app" {
		back = s.at(s.app, back)
	}
	if want := s.URL + "/auth/login?return_to=" + url.QueryEscape(back); resp.StatusCode != http.StatusFound || resp.Header.Get("Location") != want {
		t.Errorf("a navigation of nobody = %d to %q, want 302 to %q", resp.StatusCode, resp.Header.Get("Location"), want)
	}
}

func (s frontTest) forbidden(t *testing.T) {
	for _, path := range []string{"/admin", "/admin/x"} {
		if resp, _ := s.ask(t, true, "GET", path, nil); resp.StatusCode != http.StatusForbidden {
			t.Errorf("%s as nurse = %d, want 403", path, resp.StatusCode)
		}
		resp, body := s.ask(t, true, "GET", path, nil, "Accept: text/html", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document")
		if resp.StatusCode != http.StatusForbidden || s.front.relays && !strings.Contains(body, "Anteroom") {
			t.Errorf("%s as nurse in a browser = %d %.100q, want 403 and a page", path, resp.StatusCode, body)
		}
	}
}

func (s frontTest) sockets(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	origin := "http://" + s.host(s.app)
	c, _, err := s.socket(ctx, s.p, s.app, origin)
	if err != nil {
		t.Fatalf("a WebSocket of the nurse: %v", err)
	}
	defer c.CloseNow()
	if _, b, err := c.Read(ctx); err != nil || string(b) != "nurse" {
		t.Errorf("a WebSocket of the nurse says %q, %v, want nurse", b, err)
	}
	if _, resp, err := s.socket(ctx, s.newPerson(t), s.app, origin); err == nil || resp == nil || resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("a WebSocket of nobody: %v, want 401", err)
	}
	if _, resp, err := s.socket(ctx, s.p, s.app, "http://evil.example"); err == nil || resp == nil || resp.StatusCode != http.StatusForbidden {
		t.Errorf("a WebSocket from a foreign page: %v, want 403", err)
	}
}

// upload: a body that the check does not see arrives whole, and is not sent
// along for nobody.
func (s frontTest) upload(t *testing.T) {
	body := bytes.Repeat([]byte("0123456789abcdef"), 10<<16)
	sum := sha256.Sum256(body)
	for _, kind := range []string{"length", "chunked"} {
		var r io.Reader = bytes.NewReader(body)
		if kind == "chunked" {
			r = io.MultiReader(r)
		}
		resp, answer := s.ask(t, true, "POST", "/upload", r)
		var got uploaded
		if err := json.Unmarshal([]byte(answer), &got); err != nil || got != (uploaded{int64(len(body)), hex.EncodeToString(sum[:]), "nurse"}) {
			t.Errorf("10 MiB, %s = %d %+v %.200q, want it whole", kind, resp.StatusCode, got, answer)
		}
	}
}

// streams: a body without end reaches the application as it comes.
func (s frontTest) streams(t *testing.T) {
	said, says := io.Pipe()
	ended := make(chan error, 1)
	r, err := http.NewRequestWithContext(t.Context(), "POST", s.at(s.app, "/talk"), said)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		c := &http.Client{Transport: s.p.client.Transport, Jar: s.p.client.Jar}
		resp, err := c.Do(r)
		if err == nil {
			resp.Body.Close()
		}
		ended <- err
	}()
	for range 2 {
		go io.WriteString(says, "hello\n")
		select {
		case line := <-s.frontage.app.talk:
			if line != "hello\n" {
				t.Errorf("the application heard %q, want hello", line)
			}
		case <-time.After(5 * time.Second):
			t.Fatal("what was said did not reach the application within 5 s")
		}
	}
	says.Close()
	if err := <-ended; err != nil {
		t.Errorf("a body that ends at last: %v", err)
	}
}

// manyCookies: as much as a session in cookies may take, where nobody is asked and
// where somebody is.
func (s frontTest) manyCookies(t *testing.T) {
	theme := "theme=" + strings.Repeat("x", 19000)
	if got := s.through(t, "GET", "/public/x", "Cookie: "+theme); got.status != http.StatusOK {
		t.Errorf("what is public, with 19 KB of cookies = %d, want 200", got.status)
	}
	if got := s.send(t, "127.0.0.1:"+s.port, "127.0.0.1", "GET /auth/me HTTP/1.1\r\nHost: "+s.host(map[string]string{"app": "app", "wiki": "auth"}[s.app])+"\r\n"+head([]string{"Cookie: " + theme})); got.status != http.StatusUnauthorized {
		t.Errorf("Anteroom's own page, with 19 KB of cookies = %d, want 401", got.status)
	}
}

// doors: what front proxies ask is not for clients to ask.
func (s frontTest) doors(t *testing.T) {
	for _, name := range []string{s.app, "app", "auth"} {
		for _, path := range []string{"/auth/verify", "/auth/verify/nginx", "/auth/forward", "/auth/forward/traefik", "/auth/forward/envoy/public", "/auth/%76erify", "/auth//verify", "/auth/./verify", "/auth/x/../verify", "/_anteroom/check"} {
			r, err := http.NewRequest("GET", s.at(name, path), nil)
			if err != nil {
				t.Fatal(err)
			}
			for n, v := range map[string]string{"X-Forwarded-Method": "GET", "X-Forwarded-Uri": "/public", "X-Forwarded-Host": s.host(s.app), "X-Forwarded-Proto": "http",
				"X-Original-Method": "GET", "X-Original-Url": s.at(s.app, "/public")} {
				r.Header.Set(n, v)
			}
			resp, err := s.p.client.Transport.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode < 300 {
				t.Errorf("%s%s from outside = %d, want it refused", name, path, resp.StatusCode)
			}
		}
	}
}

func (s frontTest) signOut(t *testing.T) {
	g := s.p.visit(s.URL + "/auth/logout")
	if len(g.forms) == 0 {
		t.Fatalf("%s (%d) has no form to sign out with", g.url, g.status)
	}
	s.p.submit(g, g.forms[0], nil)
	if resp, _ := s.ask(t, true, "GET", "/page", nil, "Accept: text/html", "Sec-Fetch-Mode: navigate"); resp.StatusCode != http.StatusFound {
		t.Errorf("a navigation after signing out = %d, want 302", resp.StatusCode)
	}
	if resp, _ := s.ask(t, true, "GET", "/api/x", nil); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("a program after signing out = %d, want 401", resp.StatusCode)
	}
}

// away: an Anteroom that is not there lets nobody in, and signs nobody out.
func (s frontTest) away(t *testing.T) {
	s.interrupt(t)
	before := len(s.frontage.app.reached())
	for _, path := range []string{"/notes", "/public/x", "/admin"} {
		for _, lines := range [][]string{nil, {"Accept: text/html", "Sec-Fetch-Mode: navigate"}} {
			resp, _ := s.ask(t, true, "GET", path, nil, lines...)
			if resp.StatusCode < 500 || len(resp.Header.Values("Set-Cookie")) > 0 {
				t.Errorf("%s without Anteroom = %d %v, want a 5xx that sets no cookie", path, resp.StatusCode, resp.Header)
			}
		}
	}
	if n := len(s.frontage.app.reached()) - before; n != 0 {
		t.Errorf("%d requests reached the application without Anteroom: %v", n, fmt.Sprint(s.frontage.app.reached()[before:]))
	}
}
