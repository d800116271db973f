//go:build real

package realtest

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// toAdmin are request targets of which some reading, by some application, is
// below /admin although they begin elsewhere.
var toAdmin = []string{
	"/admin", "/admin/", "/admin/x?y=/public/", "//admin", "/./admin", "/%61dmin", "/%2561dmin", "/public/../admin", "/public/./../admin",
	"/public//../admin", "/public/%2e%2e/admin", "/public/.%2e/admin", "/public/%2E./admin", "/public/..%2fadmin", "/public/..%2Fadmin",
	"/public%2f..%2fadmin", "/public/%2e%2e%2fadmin", "/public/%252e%252e/admin", "/public/..%252fadmin", "/public/%25252e%25252e/admin",
	"/public/..;/admin", "/public/..;x=y/admin", "/public;/../admin", "/public;x=/../admin", "/public/%2e%2e;/admin", "/public/..%3b/admin",
	`/public/..\admin`, `/public\..\admin`, "/public/..%5cadmin", "/public%5c..%5cadmin", "/public/%255c..%255c..%255cadmin",
	"/public/..#/../../admin", "/public#/../admin", "/public%23/../admin", "/public%3f/../admin", "/public%253f/../admin",
	"/public/x/../../admin", "/public/../public/../admin", "/admin/../public/../admin", "/ADMIN/../public/../admin",
	"/PUBLIC", "/ADMIN", "/admin/..;/public", "/admin;/x", "/admin%2fx", "/admin%5cx", "/admin%3bx", "/admin/%2e", "/public/../admin/../admin",
}

// malformed are targets that are no path of anybody's.
var malformed = []string{
	"/%zz", "/public/%zz/../admin", "/public/%", "/public/%2", "/public/%00/../admin", "/public/..%00/admin", "/public/%0a/../admin",
	"/public/%c0%ae%c0%ae/admin", "/public/%c0%ae%c0%ae%c0%afadmin", "/public/%e0%80%ae%e0%80%ae/admin", "/public/..%c0%afadmin", "/public/%ff",
	"/public/\x01/../admin", "/public/\x7f", "/public/\xc0\xae\xc0\xae/admin", "/public/%7f/x", "/public/%25252525252e", "*", "public", "../admin",
	"/public/%c2%85/x",
}

// passing are targets that only look odd: they reach the application byte for
// byte, and everything about them is public.
var passing = []string{
	"/public", "/public/", "/public/a%20b", "/public/a+b", "/public/%C3%BC%20%23", "/public?/../admin", "/public/?next=/../admin&x=%2e%2e%2f",
	"/public/a;b=c/d", "/public/a//b", "/public/%41", "/public/x/../y", "/public/100%25", "/public/a%2Fb", "/public/~(x)!$&'*,=:@",
}

// private are targets that are not below /public, however close they look.
var private = []string{"/", "/publicx", "/public.html", "/publi%63x", "/%70ublicx", "/pub/lic", "/other?/public/"}

func TestPathTricks(t *testing.T) {
	g := attacked(t)
	for who, c := range map[string]struct {
		lines   []string
		refused []int
	}{
		"nobody": {nil, []int{302, 400, 401}},
		"nurse":  {[]string{"Cookie: " + g.cookies()}, []int{400, 403}},
	} {
		for _, target := range toAdmin {
			g.neverReaches(t, who, target, c.refused, c.lines)
			g.neverReaches(t, who, g.URL+target, c.refused, c.lines) // absolute-form
		}
		for _, target := range malformed {
			g.neverReaches(t, who, target, []int{400, 0}, c.lines)
		}
		for _, target := range passing {
			before := len(g.app.reached())
			a := g.raw(t, g.ask("GET", target, c.lines...))
			if reached := g.app.reached()[before:]; a.status != http.StatusOK || len(reached) != 1 || reached[0].URI != target {
				t.Errorf("%s as %s = %d, reached the application as %v, want 200 and the same bytes", target, who, a.status, reached)
			}
		}
	}
	for _, target := range private {
		g.neverReaches(t, "nobody", target, []int{302, 401}, nil)
	}
	g.neverReaches(t, "nobody", "http://evil.example/public/x", []int{421}, nil)
	g.neverReaches(t, "nobody", "/public/"+strings.Repeat("a", 1<<17), []int{400, 414, 431}, nil)
}

func (g *rig) neverReaches(t *testing.T, who, target string, want []int, lines []string) {
	t.Helper()
	before := len(g.app.reached())
	a := g.raw(t, g.ask("GET", target, lines...))
	shortened := target[:min(len(target), 80)]
	if reached := g.app.reached()[before:]; len(reached) != 0 {
		t.Errorf("%q as %s = %d, reached the application as %s %s", shortened, who, a.status, reached[0].Method, reached[0].URI)
	}
	if !slices.Contains(want, a.status) {
		t.Errorf("%q as %s = %d, want one of %v", shortened, who, a.status, want)
	}
}

// elsewhere are values of return_to that lead, in some browser, off the site.
var elsewhere = []string{
	"https://evil.example", "//evil.example", "///evil.example", `/\evil.example`, `\/evil.example`, `\\evil.example`, "/\t/evil.example", "/\n/evil.example",
	"\t//evil.example", " //evil.example", "http:evil.example", "https:///evil.example", "https:/evil.example", "javascript:alert(1)", "data:text/html,x",
	"//evil.example:80", "//localhost@evil.example", "HTTPS://evil.example", "/%09/evil.example", "/%5cevil.example", "/%2f%2fevil.example", "/..//evil.example",
	"/.//evil.example", "/%0d%0aSet-Cookie:x=y", "/\r\nSet-Cookie: x=y", "//evil。example", "／／evil.example", "/／evil.example", "//[::1]", "//0x7f000001",
	"@evil.example", ".evil.example", ":80/x", "?x//evil.example", "#//evil.example", "https://SITE.evil.example", "https://evilSITE", "https://SITE@evil.example",
	"http://SITE:443@evil.example", `http://evil.example\@SITE`, "http://SITE#@evil.example", "http://SITE.", "//SITE/x", "ws://SITE/", "//%65vil.example", "/;//evil.example",
	"/\x00/evil.example", "/\u2028/evil.example", "/%00//evil.example", "http://evil.example%2f@SITE", "//evil.example%00.SITE", "/auth/logout", "/auth/callback",
}

// TestOpenRedirects tries return_to as given, encoded once more, and as the
// path that a sign-in should come back to.
func TestOpenRedirects(t *testing.T) {
	g := attacked(t)
	host := strings.TrimPrefix(g.URL, "http://")
	g.p.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	for _, value := range elsewhere {
		value = strings.ReplaceAll(value, "SITE", host)
		for _, v := range []string{value, url.QueryEscape(value)} {
			a := g.p.visit(g.URL + "/auth/login?return_to=" + url.QueryEscape(v))
			g.staysHere(t, v, a.status, a.header)
		}
	}
	for _, path := range []string{"//evil.example/x", `/\evil.example/x`, "/%5cevil.example", "/%2f/evil.example", "/.//evil.example"} {
		a := g.raw(t, g.ask("GET", path, "Accept: text/html", "Sec-Fetch-Mode: navigate"))
		if a.status != http.StatusFound {
			continue
		}
		back, err := url.Parse(a.header.Get("Location"))
		if err != nil || back.Scheme+"://"+back.Host != g.URL {
			t.Errorf("%s leads to %q, want the sign-in of %s", path, a.header.Get("Location"), g.URL)
			continue
		}
		b := g.p.visit(back.String())
		g.staysHere(t, path, b.status, b.header)
	}
}

// staysHere judges a Location as browsers read it: tabs and newlines are
// nothing, a backslash is a slash.
func (g *rig) staysHere(t *testing.T, value string, status int, h http.Header) {
	t.Helper()
	location := h.Get("Location")
	if len(h.Values("Set-Cookie")) > 0 && strings.Contains(strings.Join(h.Values("Set-Cookie"), " "), "x=y") {
		t.Errorf("return_to=%q sets a cookie", value)
	}
	read := strings.NewReplacer("\t", "", "\n", "", "\r", "", `\`, "/").Replace(strings.TrimLeft(location, " \x00\t"))
	switch {
	case status == http.StatusBadRequest && location == "":
	case status/100 == 3 && strings.HasPrefix(read, "/") && !strings.HasPrefix(read, "//"):
	case status/100 == 3 && (read == g.URL || strings.HasPrefix(read, g.URL+"/")):
	default:
		t.Errorf("return_to=%q = %d to %q, want 400 or a place on %s", value, status, location, g.URL)
	}
}
