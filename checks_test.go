package main

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"anteroom/demo"
	"anteroom/test/person"
)

// askedTown is a town that front proxies at 127.0.0.1 may ask.
func askedTown(t *testing.T, env ...string) *town {
	return found(t, demo.Options{}, append([]string{
		"ANTEROOM_SERVER_TRUSTED_PROXIES=127.0.0.1,::1",
		"ANTEROOM_SERVER_HOSTS=wiki.test",
		`ANTEROOM_ROUTES=[{path: /public, allow: public, upstream: none}, {path: /admin, allow: {groups: [admin]}, upstream: none}, {path: /, host: wiki.test, upstream: none}, {path: /, upstream: none}]`,
	}, env...)...)
}

// check asks as a front proxy whose door is given, about a request for an
// absolute URL.
func (w *town) check(p *person.Person, door, method, about string, header ...string) (*http.Response, string) {
	w.Helper()
	u, err := url.Parse(about)
	if err != nil {
		w.Fatal(err)
	}
	target := strings.TrimPrefix(about, u.Scheme+"://"+u.Host)
	switch {
	case strings.HasSuffix(door, "nginx"):
		header = append(header, "X-Original-Method: "+method, "X-Original-URL: "+about)
	case strings.HasSuffix(door, "envoy"):
		if p != nil {
			header = append(header, "Cookie: "+w.cookiesOf(p))
		}
		return w.ask(nil, method, door+target, "", append(header, "Host: "+u.Host, "X-Forwarded-Proto: "+u.Scheme)...)
	default:
		header = append(header, "X-Forwarded-Method: "+method, "X-Forwarded-Proto: "+u.Scheme, "X-Forwarded-Host: "+u.Host, "X-Forwarded-Uri: "+target)
	}
	return w.ask(p, "GET", door, "", header...)
}

// cookiesOf is what a person's browser would send to the site.
func (w *town) cookiesOf(p *person.Person) string {
	site, _ := url.Parse(w.site)
	var pairs []string
	for _, c := range p.Client.Jar.Cookies(site) {
		pairs = append(pairs, c.Name+"="+c.Value)
	}
	return strings.Join(pairs, "; ")
}

var navigation = []string{"Accept: text/html", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"}

// checkDoors are the URLs that front proxies ask at; true for those that relay.
var checkDoors = map[string]bool{
	"/auth/verify": false, "/auth/verify/nginx": false, "/auth/verify/haproxy": false,
	"/auth/forward": true, "/auth/forward/traefik": true, "/auth/forward/caddy": true, "/auth/forward/envoy": true,
}

func TestChecks(t *testing.T) {
	w := askedTown(t)
	nurse := w.from("nurse", "nurse123", "")
	for door, relays := range checkDoors {
		t.Run(door, func(t *testing.T) {
			w := *w
			w.T = t
			w.says(door, nurse, "GET", w.site+"/notes?a=1", http.StatusOK)
			w.says(door, nil, "GET", w.site+"/public/x", http.StatusOK)
			w.says(door, nil, "GET", w.site+"/notes", http.StatusUnauthorized)
			w.says(door, nurse, "GET", w.site+"/admin/x", http.StatusForbidden)
			w.says(door, nurse, "GET", "http://wiki.test/", http.StatusOK)
			w.says(door, nurse, "DELETE", w.site+"/notes", http.StatusOK)
			or := func(relayed int) int {
				if relays {
					return relayed
				}
				return http.StatusForbidden
			}
			w.says(door, nil, "GET", w.site+"/public/../admin", or(http.StatusBadRequest))
			w.says(door, nurse, "GET", "http://evil.test/public/", or(http.StatusMisdirectedRequest))
			w.says(door, nurse, "GET", w.site+"/auth/me", http.StatusForbidden)
			w.says(door, nurse, "TRACE", w.site+"/notes", or(http.StatusMethodNotAllowed))

			resp, _ := w.check(nil, door, "GET", w.site+"/notes?a=1&b=%2F", navigation...)
			want := http.StatusUnauthorized
			if relays {
				want = http.StatusFound
			}
			if l := resp.Header.Get("Location"); resp.StatusCode != want || l != w.site+"/auth/login?return_to="+url.QueryEscape("/notes?a=1&b=%2F") {
				t.Errorf("a navigation of nobody = %d to %q, want %d to the sign-in", resp.StatusCode, l, want)
			}
			resp, _ = w.check(nil, door, "GET", "http://wiki.test/notes?a=1", navigation...)
			if l := resp.Header.Get("Location"); l != w.site+"/auth/login?return_to="+url.QueryEscape("http://wiki.test/notes?a=1") {
				t.Errorf("a navigation of nobody on another host leads to %q, want the sign-in on the public one", l)
			}
		})
	}
}

// says asks and looks at the status.
func (w *town) says(door string, p *person.Person, method, about string, want int) {
	w.Helper()
	if resp, body := w.check(p, door, method, about); resp.StatusCode != want {
		w.Errorf("%s about %s %s = %d %.200q, want %d", door, method, about, resp.StatusCode, body, want)
	}
}

// TestCheckFoldsHosts: a host in other letters, with a dot at its end or the
// scheme's own port, is the same host to every rule.
func TestCheckFoldsHosts(t *testing.T) {
	w := found(t, demo.Options{}, "ANTEROOM_SERVER_TRUSTED_PROXIES=127.0.0.1", "ANTEROOM_SERVER_HOSTS=closed.test,open.test",
		`ANTEROOM_ROUTES=[{path: /, host: closed.test, allow: {groups: [admin]}, upstream: none}, {path: /, host: open.test, allow: public, upstream: none}, {path: /, upstream: none}]`)
	for host, want := range map[string]int{
		"open.test": 200, "OPEN.test": 200, "open.test.": 200, "open.test:80": 200, "open.test:8080": 403, "open.test..": 403,
		"closed.test": 401, "CLOSED.TEST": 401, "Closed.test.": 401, "closed.test:80": 401, "closed.test:443": 403,
	} {
		for _, door := range []string{"/auth/verify", "/auth/verify/nginx"} {
			w.says(door, nil, "GET", "http://"+host+"/x", want)
		}
	}
}

// TestCheckTellsAll: a yes names every identity header, also where there is
// nobody, and the cookies that are not ours.
func TestCheckTellsAll(t *testing.T) {
	w := askedTown(t)
	p, _ := w.testdoc("/auth/")
	site, _ := url.Parse(w.site)
	p.Client.Jar.SetCookies(site, []*http.Cookie{{Name: "theme", Value: "dark"}})
	for who, tt := range map[string]struct {
		p      *person.Person
		user   string
		cookie string
	}{"testdoc": {p, "testdoc", "theme=dark"}, "nobody": {nil, "", ""}} {
		resp, _ := w.check(tt.p, "/auth/forward/traefik", "GET", w.site+"/public/x", "X-Forwarded-User: admin", "Authorization: Bearer forged")
		for _, name := range []string{"X-Forwarded-User", "X-Forwarded-Preferred-Username", "X-Forwarded-Email", "X-Forwarded-Name", "X-Forwarded-Groups", "X-Forwarded-Groups-Truncated", "Authorization", "Cookie"} {
			if v := resp.Header.Values(name); len(v) != 1 || tt.p == nil && v[0] != "" {
				t.Errorf("%s: %s = %q, want it once, and empty for nobody", who, name, v)
			}
		}
		if got := resp.Header.Get("X-Forwarded-User"); got != tt.user || resp.StatusCode != http.StatusOK {
			t.Errorf("%s: %d, X-Forwarded-User %q, want 200 and %q", who, resp.StatusCode, got, tt.user)
		}
		if got := resp.Header.Get("Cookie"); got != tt.cookie {
			t.Errorf("%s: Cookie %q, want %q", who, got, tt.cookie)
		}
		if a := resp.Header.Get("Authorization"); tt.p != nil && !strings.HasPrefix(a, "Bearer ey") {
			t.Errorf("%s: Authorization %q, want our JWT", who, a)
		}
	}
}

// TestCheckRefusesDisguise: what the front proxy would hand on to the
// application as the client spelt it is not let through.
func TestCheckRefusesDisguise(t *testing.T) {
	w := askedTown(t)
	for _, name := range []string{"X_Forwarded_User", "X-Forwarded_Groups", "X.Forwarded.Email", "x_forwarded-name", "Remote-User", "remote_user", "X-Auth-Request-User", "X~Remote~User", "X_Forwarded_For", "X.Real.IP", "X-Rewrite-Url", "Proxy"} {
		if resp, body := w.check(nil, "/auth/verify", "GET", w.site+"/public/x", name+": admin"); resp.StatusCode != http.StatusForbidden || !strings.Contains(body, "disguised_header") {
			t.Errorf("with %s = %d %.200q, want 403 disguised_header", name, resp.StatusCode, body)
		}
	}
	for _, name := range []string{"X-Forwarded-User", "Remote-Users", "X-User", "X-HTTP-Method-Override"} {
		if resp, body := w.check(nil, "/auth/verify", "GET", w.site+"/public/x", name+": admin"); resp.StatusCode != http.StatusOK {
			t.Errorf("with %s = %d %.200q, want 200", name, resp.StatusCode, body)
		}
	}
}

// TestCheckRefusesOverrides: where rules look at the method, no header names
// another.
func TestCheckRefusesOverrides(t *testing.T) {
	w := found(t, demo.Options{}, "ANTEROOM_SERVER_TRUSTED_PROXIES=127.0.0.1", `ANTEROOM_ROUTES=[{path: /api, methods: [POST], allow: public, upstream: none}, {path: /, upstream: none}]`)
	w.says("/auth/verify", nil, "POST", w.site+"/api/x", http.StatusOK)
	for _, name := range []string{"X-HTTP-Method-Override", "X-Http-Method", "x_method_override"} {
		if resp, _ := w.check(nil, "/auth/verify", "POST", w.site+"/api/x", name+": DELETE"); resp.StatusCode != http.StatusForbidden {
			t.Errorf("a POST with %s = %d, want 403", name, resp.StatusCode)
		}
	}
}

// TestChecksWithoutTrust: by default nobody may ask.
func TestChecksWithoutTrust(t *testing.T) {
	w := found(t, demo.Options{})
	p, _ := w.testdoc("/")
	for door := range checkDoors {
		if resp, body := w.check(p, door, "GET", w.site+"/"); resp.StatusCode != http.StatusForbidden || !strings.Contains(body, "untrusted_proxy") {
			t.Errorf("%s from nobody's proxy = %d %.200q, want 403 untrusted_proxy", door, resp.StatusCode, body)
		}
	}
	if resp, body := w.check(p, "/auth/forward", "GET", w.site+"/", "Accept: text/html"); resp.StatusCode != http.StatusForbidden || !strings.Contains(body, "Only a front proxy that is trusted") {
		t.Errorf("/auth/forward as a page = %d %q, want 403 that says why", resp.StatusCode, body)
	}
}
