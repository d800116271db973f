//go:build real

package realtest

import (
	"net/http"
	"net/textproto"
	"slices"
	"strings"
	"testing"
	"time"
)

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
