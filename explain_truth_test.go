package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"anteroom/demo"
	"anteroom/proxy"
)

// oddTargets are what applications read in ways of their own, and what only
// looks like it.
var oddTargets = []string{
	"/", "/x?y=/public", "/public", "/public/", "/public/a%20b", "/public/100%25", "/public/a;v=1", "/public//a", "/publicity", "/PUBLIC/x", "/Admin", "/publi%63x",
	"/admin", "/admin/x", "/ward/x", "/hook", "/asked/x", "/asked/../x", "/a/../b", "/a%2fb", "//a", "//evil.example/x", "///", "//ü",
	"/public/../admin", "/public/%2e%2e/admin", "/public/..%2fadmin", "/public%2f..%2fadmin", "/public/%252e%252e/admin", "/public/%25252e%25252e/admin",
	"/public/..;/admin", "/public;/../admin", `/public/..\admin`, "/public/..%5cadmin", "/public/x#y", "/public/#/../../admin", "/admin#/public", "/admin%3f/public",
	"//public/x", "/./public/x", "/%70ublic/x", "/admin%2fx", "/admin;x", "/%zz", "/public/%", "/public/%00", "/public/\x01", "/public/\x7f", "/public/%c0%ae%c0%ae/admin",
	"/public/\xff", "/public/ü", "/public/%25252525252e", "/public/?" + strings.Repeat("q", 5000),
	"/auth/me", "/auth/", "/auth", "/auth/login", "/auth/nothing", "/auth/token", "/.well-known/jwks.json", "/auth/../admin", "/auth/%6de",
}

// TestExplainIsTrue holds what is explained to what a running town does, with
// requests that come themselves and with those that front proxies ask about.
func TestExplainIsTrue(t *testing.T) {
	routes := `ANTEROOM_ROUTES=[{path: /public, allow: public}, {path: /admin, allow: {groups: [admin], users: [nurse]}}, {path: /ward, allow: {groups: [ward-3]}}, {path: /hook, methods: [POST], allow: public}, {path: /, methods: [PUT], host: wiki.test, upstream: none, allow: public}, {path: /, host: wiki.test, upstream: none}, {path: /asked, upstream: none, allow: {groups: [ward-3]}}]`
	for name, env := range map[string][]string{
		"asked by front proxies": {routes, "ANTEROOM_SERVER_HOSTS=wiki.test", "ANTEROOM_SERVER_TRUSTED_PROXIES=127.0.0.1,::1"},
		"asked by nobody":        {`ANTEROOM_ROUTES=[{path: /public, allow: public}, {path: /admin, allow: {groups: [admin]}}, {path: /hook, methods: [POST], allow: public}]`},
	} {
		t.Run(name, func(t *testing.T) {
			w := &truth{town: found(t, demo.Options{}, env...), cookies: map[string]string{"nobody": ""}}
			for _, p := range [][2]string{{"testdoc", demo.DefaultPassword}, {"nurse", "nurse123"}, {"admin", "admin_dev_password"}} {
				w.cookies[p[0]] = w.cookiesOf(w.from(p[0], p[1], ""))
			}
			for _, target := range oddTargets {
				w.holds("GET", w.site+target)
			}
			for _, method := range []string{"HEAD", "POST", "PUT", "DELETE", "OPTIONS", "CONNECT", "TRACE", "get", "GETT"} {
				for _, about := range []string{w.site + "/public/x", w.site + "/notes", w.site + "/hook", w.site + "/admin", w.site + "/auth/me", w.site + "/auth/token", "http://wiki.test/x"} {
					w.holds(method, about)
				}
			}
			for _, about := range []string{"http://wiki.test/", "http://wiki.test/public/x", "http://WIKI.test:80/x?y", "http://wiki.test./x", "http://wiki.test:81/public", "http://wiki.test/auth/me",
				"http://wiki.test/auth/nothing", "http://wiki.test/public/../x", "http://evil.test/public", "http://evil.test/.well-known/jwks.json", "http://evil.test/auth/me", "http://wiki.test.evil.test/", "http://[::1]/public"} {
				w.holds("GET", about)
			}
			if w.asked < 300 {
				t.Errorf("only %d answers were compared", w.asked)
			}
		})
	}
}

// truth compares explanations with a town.
type truth struct {
	*town
	cookies map[string]string // of each person's browser; "" for nobody's
	asked   int
}

// holds compares every answer of one explanation.
func (w *truth) holds(method, about string) {
	w.Helper()
	e := explainedJSON(w.T, w.env, method, about, "--user", "testdoc", "--group", "users", "--user", "nurse", "--group", "users", "--group", "ward-3", "--user", "admin", "--group", "admin")
	for _, a := range e.Answers {
		who, _, _ := strings.Cut(a.Who, " ")
		cookies, ok := w.cookies[who]
		if !ok {
			w.Fatalf("an answer about %q", a.Who)
		}
		before := len(w.app.requests())
		resp, reason := w.really(a.Asked, a.Client == "browser", cookies, method, about)
		reached := len(w.app.requests()) > before
		w.asked++
		told := fmt.Sprintf("%s %.80q for %s in a %s, %s: explained as passes %v, %d %s %q", method, about, a.Who, a.Client, a.Asked, a.Passed, a.Status, a.Reason, a.Location)
		switch {
		case a.Passed && a.Asked != proxy.Directly:
			if resp.StatusCode != http.StatusOK {
				w.Errorf("%s; asking = %d", told, resp.StatusCode)
			}
		case a.Passed && e.Own == "":
			if !reached {
				w.Errorf("%s; it did not reach the application: %d", told, resp.StatusCode)
			}
		case a.Passed:
			if resp.StatusCode >= 400 || reached {
				w.Errorf("%s; it was answered with %d, by the application %v", told, resp.StatusCode, reached)
			}
		case reached, resp.StatusCode != a.Status, resp.Header.Get("Location") != a.Location, reason != "" && reason != a.Reason:
			w.Errorf("%s; it was answered with %d %s %q, by the application %v", told, resp.StatusCode, reason, resp.Header.Get("Location"), reached)
		}
	}
}

// really makes the request, byte for byte, or asks about it.
func (w *truth) really(way proxy.Way, browser bool, cookies, method, about string) (resp *http.Response, reason string) {
	w.Helper()
	site, target, _ := strings.Cut(strings.TrimPrefix(about, "http://"), "/")
	lines := []string{method + " /" + target + " HTTP/1.1", "Host: " + site}
	if way != proxy.Directly {
		door := map[proxy.Way]string{proxy.Relaying: "/auth/forward", proxy.ByStatus: "/auth/verify"}[way]
		lines = []string{"GET " + door + " HTTP/1.1", "Host: anteroom", "X-Forwarded-Method: " + method, "X-Forwarded-Proto: http", "X-Forwarded-Host: " + site, "X-Forwarded-Uri: /" + target}
	}
	if browser {
		lines = append(lines, navigation...)
	} else {
		lines = append(lines, "Accept: application/json")
	}
	if cookies != "" {
		lines = append(lines, "Cookie: "+cookies)
	}
	sent := lines[0][:strings.IndexByte(lines[0], ' ')]
	return w.raw(sent, append(lines, "Content-Length: 0", "Connection: close"))
}

// raw sends a head as it is; reason is a problem document's.
func (w *truth) raw(method string, lines []string) (resp *http.Response, reason string) {
	w.Helper()
	to, _ := url.Parse(w.site)
	conn, err := net.Dial("tcp", to.Host)
	if err != nil {
		w.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	fmt.Fprintf(conn, "%s\r\n\r\n", strings.Join(lines, "\r\n"))
	if resp, err = http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method}); err != nil {
		w.Fatalf("%.200q: %v", lines, err)
	}
	defer resp.Body.Close()
	if strings.Contains(resp.Header.Get("Content-Type"), "problem") && method != http.MethodHead {
		var problem struct{ Reason string }
		if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<16)).Decode(&problem); err != nil && err != io.EOF { // about a HEAD, there is nothing
			w.Fatalf("%.200q: %v", lines, err)
		}
		reason = problem.Reason
	}
	return resp, reason
}

// TestExplainWhoMayNotSignIn: such a person is answered as nobody is, as it
// really happens.
func TestExplainWhoMayNotSignIn(t *testing.T) {
	w := found(t, demo.Options{}, "ANTEROOM_SIGNIN_ALLOWED_GROUPS=doctors", `ANTEROOM_ROUTES=[{path: /public, allow: public}]`)
	for user, kept := range map[string]bool{"testdoc": true, "nurse": false} {
		group := map[bool]string{true: "users", false: "doctors"}[kept]
		for path, passes := range map[string]bool{"/": !kept, "/public": true} {
			for _, a := range explainedJSON(t, w.env, "GET", path, "--user", user, "--group", group).Answers {
				if a.Who != "nobody" && (a.Kept != kept || a.Passed != passes) {
					t.Errorf("%s of %s: may not sign in: %v, passes: %v, want %v and %v", path, user, a.Kept, a.Passed, kept, passes)
				}
			}
		}
	}
	doc, page := w.testdoc("/")
	if resp, _ := w.ask(doc, "GET", "/", "", asProgram); page.Status != http.StatusForbidden || resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("testdoc really signs in with %d and gets %d, want 403 and 401", page.Status, resp.StatusCode)
	}
}
