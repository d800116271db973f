//go:build real

package realtest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"anteroom/demo"
)

// attacked is a site with a public part, a part for administrators, and the
// rest for whoever is signed in. The nurse is signed in.
func attacked(t *testing.T, env ...string) *rig {
	t.Helper()
	g := &rig{site: newSite(t), app: newApplication(t), p: newPerson(t)}
	g.nc = startNextcloud(t, g.site, demo.Options{})
	g.start(t, settings{env: with(g.nc.env(), env...), yaml: fmt.Sprintf(`
upstream: %q
routes:
  - {path: /public, allow: public}
  - {path: /admin, allow: {groups: [admin]}}
  - {path: /, allow: signed-in}
`, g.app.URL)})
	shown(t, g.p.signIn(g.site, g.URL+"/", "nurse", "nurse123"))
	return g
}

// cookies is the nurse's Cookie header.
func (g *rig) cookies() string {
	r := g.p.request(http.MethodGet, g.URL, nil)
	for _, c := range g.p.client.Jar.Cookies(r.URL) {
		r.AddCookie(c)
	}
	return r.Header.Get("Cookie")
}

// answered is one answer read off a socket; status 0 means that the connection
// was closed without any.
type answered struct {
	status int
	header http.Header
	body   string
}

// raw sends bytes over a connection of their own and reads the answer.
func (g *rig) raw(t *testing.T, request string) answered {
	t.Helper()
	return g.raws(t, request)[0]
}

// raws is raw for what may be taken for several requests. It reads until the
// server closes or says nothing for a second.
func (g *rig) raws(t *testing.T, request string) []answered {
	t.Helper()
	c, err := net.Dial("tcp", g.Listen)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	go io.WriteString(c, request) // ends when the connection is closed
	var all []answered
	in := bufio.NewReader(c)
	for {
		limit := time.Second
		if len(all) == 0 {
			limit = 10 * time.Second
		}
		c.SetReadDeadline(time.Now().Add(limit))
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			break
		}
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
		resp.Body.Close()
		all = append(all, answered{resp.StatusCode, resp.Header, string(body)})
		if resp.Close || resp.StatusCode == http.StatusSwitchingProtocols {
			break
		}
	}
	if all == nil {
		all = []answered{{}}
	}
	return all
}

// ask writes a request head for the site with further header lines.
func (g *rig) ask(method, target string, lines ...string) string {
	host := strings.TrimPrefix(g.URL, "http://")
	return method + " " + target + " HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n" +
		strings.Join(append(lines, "", ""), "\r\n")
}

// spoofable are the headers of ours, and those that applications commonly take
// for a front proxy's word.
var spoofable = []string{
	"X-Forwarded-User", "X-Forwarded-Preferred-Username", "X-Forwarded-Email", "X-Forwarded-Name", "X-Forwarded-Groups",
	"X-Forwarded-Groups-Truncated", "Authorization", "X-Request-Id", "Traceparent", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto",
	"Remote-User", "Remote-Groups", "X-Remote-User", "X-Auth-Request-User", "X-WebAuth-User",
	"X-Real-Ip", "Forwarded", "X-Forwarded-Port", "X-Forwarded-Prefix", "X-Forwarded-Server", "X-Forwarded-Uri", "X-Forwarded-Method",
}

func TestSpoofedHeaders(t *testing.T) {
	g := attacked(t)
	const canary = "spoofed-by-the-client"
	spellings := map[string]func(string) []string{
		"as is":      func(h string) []string { return []string{h + ": " + canary} },
		"lower":      func(h string) []string { return []string{strings.ToLower(h) + ": " + canary} },
		"upper":      func(h string) []string { return []string{strings.ToUpper(h) + ": " + canary} },
		"underscore": func(h string) []string { return []string{strings.ReplaceAll(h, "-", "_") + ": " + canary} },
		"dot":        func(h string) []string { return []string{strings.ReplaceAll(h, "-", ".") + ": " + canary} },
		"mixed": func(h string) []string {
			return []string{strings.Replace(strings.ToLower(h), "-", "_", 1) + ": " + canary}
		},
		"twice":         func(h string) []string { return []string{h + ": " + canary, h + ": " + canary + "2"} },
		"in Connection": func(h string) []string { return []string{h + ": " + canary, "Connection: " + h} },
		"both spellings": func(h string) []string {
			return []string{h + ": " + canary, strings.ReplaceAll(h, "-", "_") + ": " + canary}
		},
		"obsolete folding": func(h string) []string { return []string{h + ":", "\t" + canary} },
	}
	for who, lines := range map[string][]string{"nobody": nil, "nurse": {"Cookie: " + g.cookies()}} {
		for spelling, spell := range spellings {
			for _, h := range spoofable {
				before := len(g.app.reached())
				a := g.raw(t, g.ask("GET", "/public/x", append(spell(h), lines...)...))
				reached := g.app.reached()[before:]
				if a.status != http.StatusOK && a.status != http.StatusBadRequest {
					t.Errorf("%s as %s, %s: %d, want 200 or 400", h, who, spelling, a.status)
				}
				for _, r := range reached {
					if s := fmt.Sprint(r.Headers, r.Trailers); strings.Contains(s, canary) {
						t.Errorf("%s as %s, %s: reached the application: %v", h, who, spelling, r.Headers)
					}
					if user := r.Headers.Get("X-Forwarded-User"); user != map[string]string{"nobody": "", "nurse": "nurse"}[who] {
						t.Errorf("%s as %s, %s: the application takes the caller for %q", h, who, spelling, user)
					}
				}
			}
		}
	}
	g.raw(t, g.ask("POST", "/public/trailer", "Transfer-Encoding: chunked", "Trailer: X-Forwarded-User, X_Forwarded_Groups", "")+
		"3\r\nabc\r\n0\r\nX-Forwarded-User: "+canary+"\r\nX_Forwarded_Groups: "+canary+"\r\n\r\n")
	for _, r := range g.app.reached() {
		if strings.Contains(fmt.Sprint(r.Trailers), canary) {
			t.Errorf("trailers reached the application: %v", r.Trailers)
		}
	}
}

func TestForeignHosts(t *testing.T) {
	g := attacked(t)
	for _, host := range []string{"evil.example", "localhost", "localhost:1", "127.0.0.1", g.Listen, "localhost.evil.example", ""} {
		for _, target := range []string{"/public/x", "/", "/auth/login", "/auth/me"} {
			a := g.raw(t, "GET "+target+" HTTP/1.1\r\nHost: "+host+"\r\nConnection: close\r\nCookie: "+g.cookies()+"\r\n\r\n")
			if a.status != http.StatusMisdirectedRequest && !(host == "" && a.status == http.StatusBadRequest) {
				t.Errorf("%s with Host %q = %d, want 421", target, host, a.status)
			}
		}
	}
	if a := g.raw(t, "GET /.well-known/jwks.json HTTP/1.1\r\nHost: anteroom:8000\r\nConnection: close\r\n\r\n"); a.status != http.StatusOK {
		t.Errorf("the published keys under another Host = %d, want 200", a.status)
	}
	for name, lines := range map[string][]string{
		"X-Forwarded-Host": {"X-Forwarded-Host: evil.example"}, "Forwarded": {"Forwarded: host=evil.example"},
		"X-Forwarded-Proto": {"X-Forwarded-Proto: https"},
	} {
		a := g.raw(t, g.ask("GET", "/private", append(lines, "Accept: text/html", "Sec-Fetch-Mode: navigate")...))
		if l := a.header.Get("Location"); a.status != http.StatusFound || !strings.HasPrefix(l, g.URL+"/auth/login") {
			t.Errorf("%s from an untrusted peer: %d to %q, want 302 to %s", name, a.status, l, g.URL)
		}
	}
}

func TestMethodsAndUpgrades(t *testing.T) {
	g := attacked(t)
	cookie := "Cookie: " + g.cookies()
	for _, method := range []string{"TRACE", "CONNECT", "get", "Get", "pOST", "GE(T", "GET\x00"} {
		before := len(g.app.reached())
		if a := g.raw(t, g.ask(method, "/public/x", cookie)); a.status < 400 && a.status != 0 {
			t.Errorf("method %q = %d, want it refused", method, a.status)
		}
		if len(g.app.reached()) != before {
			t.Errorf("method %q reached the application", method)
		}
	}
	for _, upgrade := range []string{"h2c", "HTTP/2.0", "TLS/1.2", "websocket, h2c", "h2c, websocket"} {
		before := len(g.app.reached())
		a := g.raw(t, strings.Replace(g.ask("GET", "/x", cookie, "Upgrade: "+upgrade, "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA", "Origin: "+g.URL),
			"Connection: close", "Connection: Upgrade, HTTP2-Settings", 1))
		if a.status == http.StatusSwitchingProtocols {
			t.Errorf("Upgrade: %s = 101, want it dropped", upgrade)
		}
		for _, r := range g.app.reached()[before:] {
			if up := r.Headers.Values("Upgrade"); len(up) != 0 || r.Headers.Get("HTTP2-Settings") != "" {
				t.Errorf("Upgrade: %s reached the application as %q", upgrade, up)
			}
		}
	}
	if a := g.raw(t, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"); a.status == http.StatusOK {
		t.Error("HTTP/2 with prior knowledge on a listener without h2c was answered 200")
	}
	for origin, want := range map[string]bool{
		g.URL: true, "": true, "null": false, "https://evil.example": false, g.URL + ".evil.example": false,
		strings.Replace(g.URL, "http:", "https:", 1): false, "http://evil.example@" + strings.TrimPrefix(g.URL, "http://"): false,
	} {
		before := len(g.app.reached())
		lines := []string{cookie, "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="}
		if origin != "" {
			lines = append(lines, "Origin: "+origin)
		}
		a := g.raw(t, strings.Replace(g.ask("GET", "/ws", lines...), "Connection: close", "Connection: Upgrade", 1))
		if passed := len(g.app.reached()) > before; passed != want || !want && a.status != http.StatusForbidden {
			t.Errorf("WebSocket from Origin %q = %d, reached the application: %v, want %v", origin, a.status, passed, want)
		}
	}
}
