//go:build real

package realtest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
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
