//go:build real

package realtest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"slices"
	"strings"
	"testing"
	"time"
)

// spoofs: what a client says of itself never reaches the application, in any
// spelling, whoever the client is.
func (s frontTest) spoofs(t *testing.T) {
	const canary = "spoofed-by-the-client"
	spellings := map[string]func(string) []string{
		"as is":      func(h string) []string { return []string{h + ": " + canary} },
		"lower":      func(h string) []string { return []string{strings.ToLower(h) + ": " + canary} },
		"underscore": func(h string) []string { return []string{strings.ReplaceAll(h, "-", "_") + ": " + canary} },
		"mixed": func(h string) []string {
			return []string{strings.Replace(strings.ToLower(h), "-", "_", 1) + ": " + canary}
		},
		"dot":   func(h string) []string { return []string{strings.ReplaceAll(h, "-", ".") + ": " + canary} },
		"twice": func(h string) []string { return []string{h + ": " + canary, h + ": " + canary + "2"} },
		"in Connection": func(h string) []string {
			return []string{h + ": " + canary, "Connection: close, " + h}
		},
		"both": func(h string) []string {
			return []string{h + ": " + canary, strings.ReplaceAll(h, "-", "_") + ": " + canary}
		},
	}
	names := slices.DeleteFunc(slices.Clone(spoofable), func(h string) bool {
		return slices.Contains([]string{"X-Request-Id", "Traceparent"}, h) // no identity; front proxies may pass them on
	})
	for who, cookie := range map[string]string{"nobody": "", "nurse": s.cookies()} {
		for spelling, spell := range spellings {
			for _, h := range names {
				before := len(s.frontage.app.reached())
				lines := spell(h)
				if cookie != "" {
					lines = append(lines, "Cookie: "+cookie)
				}
				s.through(t, "GET", "/public/spoof", lines...)
				for _, r := range s.frontage.app.reached()[before:] {
					if strings.Contains(fmt.Sprint(r.Headers), canary) {
						t.Errorf("%s as %s, %s: reached the application: %v", h, who, spelling, r.Headers)
					}
					if user := r.Headers.Get("X-Forwarded-User"); user != "" && user != who {
						t.Errorf("%s as %s, %s: the application takes the caller for %q", h, who, spelling, user)
					}
				}
			}
		}
	}
}

// cookies is the nurse's Cookie header at the guarded host.
func (s frontTest) cookies() string {
	r, _ := http.NewRequest("GET", s.at(s.app, "/"), nil)
	for _, c := range s.p.client.Jar.Cookies(r.URL) {
		r.AddCookie(c)
	}
	return r.Header.Get("Cookie")
}

// through sends a request as bytes to the front proxy.
func (s frontTest) through(t *testing.T, method, target string, lines ...string) answered {
	t.Helper()
	return s.send(t, "127.0.0.1:"+s.port, "127.0.0.1", method+" "+target+" HTTP/1.1\r\nHost: "+s.host(s.app)+"\r\n"+head(lines))
}

// head ends a request's head; without a Connection of its own it asks for the
// connection to be closed.
func head(lines []string) string {
	if !slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, "Connection:") }) {
		lines = append(slices.Clone(lines), "Connection: close")
	}
	return strings.Join(append(slices.Clone(lines), "", ""), "\r\n")
}

// send writes a request from an address and reads the answer's head.
func (s frontTest) send(t *testing.T, to, from, request string) answered {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: 5 * time.Second}
	c, err := d.Dial("tcp", to)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	go io.WriteString(c, request) // ends when the connection is closed
	c.SetReadDeadline(time.Now().Add(10 * time.Second))
	in := bufio.NewReader(c)
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		return answered{}
	}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	resp.Body.Close()
	return answered{resp.StatusCode, resp.Header, string(body)}
}

// paths: no spelling of a path leads nobody, or the nurse, to /admin.
func (s frontTest) paths(t *testing.T) {
	cookie := s.cookies()
	for _, target := range append(slices.Clone(toAdmin), malformed...) {
		for who, lines := range map[string][]string{"nobody": nil, "nurse": {"Cookie: " + cookie}} {
			before := len(s.frontage.app.reached())
			a := s.through(t, "GET", target, lines...)
			for _, r := range s.frontage.app.reached()[before:] {
				if who == "nobody" && !isPublic(r.URI) || strings.Contains(strings.ToLower(r.URI), "admin") && !isPublic(r.URI) {
					t.Errorf("%q as %s = %d, reached the application as %s", target, who, a.status, r.URI)
				}
			}
		}
	}
	// A request line and a Host that name different hosts.
	other := map[string]string{"app": "wiki", "wiki": "app"}[s.app]
	for _, request := range []string{
		"GET http://" + s.host(other) + "/admin HTTP/1.1\r\nHost: " + s.host(s.app) + "\r\n",
		"GET http://evil.example/admin HTTP/1.1\r\nHost: " + s.host(s.app) + "\r\n",
		"GET http://" + s.host(s.app) + "/admin HTTP/1.1\r\nHost: evil.example\r\n",
		"GET /admin HTTP/1.1\r\nHost: " + s.host(s.app) + "\r\nHost: " + s.host(other) + "\r\n",
	} {
		before := len(s.frontage.app.reached())
		a := s.send(t, "127.0.0.1:"+s.port, "127.0.0.1", request+head([]string{"Cookie: " + cookie}))
		if len(s.frontage.app.reached()) != before {
			t.Errorf("%q = %d, reached the application", request, a.status)
		}
	}
}

// lies: a client's own words about where it wants to go move nobody, whichever
// form they have.
func (s frontTest) lies(t *testing.T) {
	public := []string{"/public/x", "//public/x", "http://" + s.host(s.app) + "/public/x", "/public/../notes", "/public/%2e%2e/notes", "/public/#/../notes", ""}
	var lies [][]string
	for _, target := range public {
		lies = append(lies,
			[]string{"X-Forwarded-Uri: " + target}, []string{"X-Original-Url: " + target}, []string{"X-Original-Uri: " + target}, []string{"X-Rewrite-Url: " + target},
			[]string{"X-Forwarded-Method: GET", "X-Forwarded-Proto: http", "X-Forwarded-Host: " + s.host(s.app), "X-Forwarded-Uri: " + target},
			[]string{"X-Original-Method: GET", "X-Original-Url: http://" + s.host(s.app) + target},
			[]string{"X_Forwarded_Uri: " + target, "X_Original_Url: " + target}, []string{"X-Forwarded-Uri: " + target, "X-Forwarded-Uri: " + target},
			[]string{"X-Forwarded-Prefix: /public", "X-Forwarded-Uri: " + target}, []string{"Forwarded: for=127.0.0.1;host=" + s.host(s.app) + ";proto=http", "X-Forwarded-Path: " + target})
	}
	for _, agent := range []string{"kube-probe/1.30", "GoogleHC/1.0", "ELB-HealthChecker/2.0", "Envoy/HC", "Blackbox Exporter"} {
		lies = append(lies, []string{"User-Agent: " + agent})
	}
	lies = append(lies, []string{"X-HTTP-Method-Override: OPTIONS"}, []string{"X-Forwarded-For: 127.0.0.1"}, []string{"X-Real-IP: 127.0.0.1"}, []string{"X-Forwarded-Host: localhost"}, []string{"X-Forwarded-Proto: javascript"})
	for _, lines := range lies {
		before := len(s.frontage.app.reached())
		a := s.through(t, "GET", "/notes", lines...)
		if n := len(s.frontage.app.reached()) - before; n != 0 || a.status < 300 && a.status != 0 {
			t.Errorf("%q = %d, reached the application %d times, want neither", lines, a.status, n)
		}
	}
}

// isPublic reports whether a target, as the application got it, is below
// /public whichever way it is read.
func isPublic(target string) bool {
	path, _, _ := strings.Cut(target, "?")
	return (path == "/public" || strings.HasPrefix(path, "/public/")) && !strings.Contains(path, "..") && !strings.Contains(path, "%2") && !strings.ContainsAny(path, `\;`)
}

// TestForwardAuthAttacks asks at every door itself, from an address that is
// trusted and from one that is not: nobody gets a yes but for what is public.
func TestForwardAuthAttacks(t *testing.T) {
	s := frontTest{newFrontage(t, front{name: "none"}, "app"), "app"}
	good := question{"GET", "http", s.host("app"), "/public/x"}
	for door := range frontDoors {
		if a := s.asks(t, "127.0.0.1", door, good); a.status != http.StatusOK {
			t.Errorf("%s about what is public = %d %.200q, want 200", door, a.status, a.body)
		}
		for who, from := range map[string]string{"a trusted proxy": "127.0.0.1", "anybody": "127.0.0.2"} {
			for _, q := range crafted(good) {
				if a := s.asks(t, from, door, q); a.status < 300 && a.status != 0 {
					t.Errorf("%s from %s about %.200q = %d, want no yes", door, who, q, a.status)
				}
			}
			for _, agent := range []string{"kube-probe/1.30", "GoogleHC/1.0", "ELB-HealthChecker/2.0", "Envoy/HC", "Consul Health Check"} {
				if a := s.asks(t, from, door, question{"GET", "http", s.host("app"), "/notes"}, "User-Agent: "+agent); a.status < 300 {
					t.Errorf("%s from %s as %s = %d, want no yes", door, who, agent, a.status)
				}
			}
		}
		if a := s.asks(t, "127.0.0.2", door, good); a.status != http.StatusForbidden {
			t.Errorf("%s from anybody about what is public = %d, want 403", door, a.status)
		}
	}
	s.malformedQuestions(t, good)
}

// question is what a front proxy asks about.
type question struct{ method, proto, host, target string }

// frontDoors is where front proxies ask, and by which headers.
var frontDoors = map[string]string{
	"/auth/verify": "forwarded", "/auth/forward": "forwarded", "/auth/verify/nginx": "original", "/auth/verify/haproxy": "forwarded",
	"/auth/forward/traefik": "forwarded", "/auth/forward/caddy": "forwarded", "/auth/forward/envoy": "request",
}

func (s frontTest) asks(t *testing.T, from, door string, q question, lines ...string) answered {
	t.Helper()
	host, method, target := "anteroom", "GET", door
	switch frontDoors[door] {
	case "forwarded":
		lines = append(lines, "X-Forwarded-Method: "+q.method, "X-Forwarded-Proto: "+q.proto, "X-Forwarded-Host: "+q.host, "X-Forwarded-Uri: "+q.target)
	case "original":
		lines = append(lines, "X-Original-Method: "+q.method, "X-Original-URL: "+q.proto+"://"+q.host+q.target)
	default:
		host, method, target = q.host, q.method, door+q.target
		lines = append(lines, "X-Forwarded-Proto: "+q.proto)
	}
	return s.send(t, s.Listen, from, method+" "+target+" HTTP/1.1\r\nHost: "+host+"\r\n"+head(lines))
}

// crafted are questions of which no reading is about something public alone.
func crafted(good question) (all []question) {
	for _, target := range slices.Concat(toAdmin, malformed, []string{
		"/admin", "/notes", "/public/../admin", "http://evil/public/x", "//evil/public/x", "//public/x", "/public/#/../admin", "/admin#/public/", "#", "",
		"/public/x#", "/" + strings.Repeat("a/../", 13<<10) + "admin", "/public/" + strings.Repeat("a", 64<<10), "/public/\x00", "/public/%00", "/public/ x", "?/public", "/public/..",
	}) {
		all = append(all, question{good.method, good.proto, good.host, target})
	}
	for _, method := range []string{"get", "Get", "TRACE", "CONNECT", "GE T", "", "GET,GET", "GET\x00", "GETÉ"} {
		all = append(all, question{method, good.proto, good.host, good.target})
	}
	all = append(all, question{"GETX", good.proto, good.host, "/notes"}, question{"OPTIONS", good.proto, good.host, "/notes"})
	for _, proto := range []string{"", "ftp", "javascript", "https,http", "https, http", "http:", "//", "h2c", "unix"} {
		all = append(all, question{good.method, proto, good.host, good.target})
	}
	for _, host := range []string{"", "evil.example", "app.front.test", "app.front.test:1", "x@" + good.host, good.host + "/admin", good.host + "#", good.host + ",evil", good.host + ", evil", "app.front.test.evil.example", "evil" + good.host, "[::1]", "127.0.0.1", "localhost"} {
		all = append(all, question{good.method, good.proto, host, good.target})
	}
	return all
}

// malformedQuestions leaves out, doubles and joins each header of a question.
func (s frontTest) malformedQuestions(t *testing.T, good question) {
	forms := map[string][]string{
		"forwarded": {"X-Forwarded-Method: " + good.method, "X-Forwarded-Proto: " + good.proto, "X-Forwarded-Host: " + good.host, "X-Forwarded-Uri: " + good.target},
		"original":  {"X-Original-Method: " + good.method, "X-Original-URL: " + good.proto + "://" + good.host + good.target},
	}
	for door, form := range frontDoors {
		lines := forms[form]
		for i := range lines {
			name, value, _ := strings.Cut(lines[i], ": ")
			rest := slices.Delete(slices.Clone(lines), i, i+1)
			for what, instead := range map[string][]string{
				"missing": {}, "empty": {name + ":"}, "doubled": {lines[i], lines[i]}, "of two values": {lines[i], name + ": /admin"},
				"joined": {name + ": " + value + ", " + value}, "underscored": {strings.ReplaceAll(name, "-", "_") + ": " + value},
			} {
				a := s.send(t, s.Listen, "127.0.0.1", "GET "+door+" HTTP/1.1\r\nHost: anteroom\r\n"+head(append(instead, rest...)))
				if a.status < 400 && a.status != 0 {
					t.Errorf("%s with %s %s = %d, want it refused", door, textproto.CanonicalMIMEHeaderKey(name), what, a.status)
				}
			}
		}
	}
	// The other form comes from a client, and says something else.
	for _, door := range []string{"/auth/verify", "/auth/forward"} {
		for _, mixed := range [][]string{
			append(slices.Clone(forms["forwarded"]), "X-Original-Method: GET", "X-Original-URL: http://"+good.host+"/public/y"),
			append(slices.Clone(forms["forwarded"]), "X-Original-URL: http://"+good.host+"/public/x"),
			append(slices.Clone(forms["original"]), "X-Forwarded-Uri: /public/x"),
			append(slices.Clone(forms["original"]), "X-Forwarded-Method: POST"),
		} {
			if a := s.send(t, s.Listen, "127.0.0.1", "GET "+door+" HTTP/1.1\r\nHost: anteroom\r\n"+head(mixed)); a.status < 400 {
				t.Errorf("%s of %q = %d, want it refused", door, mixed, a.status)
			}
		}
	}
	// A question with a body that is announced and does not come.
	began := time.Now()
	a := s.send(t, s.Listen, "127.0.0.1", "POST /auth/verify/nginx HTTP/1.1\r\nHost: anteroom\r\nContent-Length: 10485760\r\nConnection: keep-alive\r\n"+strings.Join(forms["original"], "\r\n")+"\r\n\r\n")
	if took := time.Since(began); a.status != http.StatusOK || took > 2*time.Second {
		t.Errorf("a question with a body that does not come = %d after %v, want 200 at once", a.status, took)
	}
}
