package signin

import (
	"strings"
	"testing"
)

func returning(t testing.TB) *RelyingParty {
	return relyingParty(t, "http://127.0.0.1:1", func(_ *Config, o *Options) {
		o.Public = address(t, "https://site.example")
		o.ReturnHosts = []string{"wiki.example", ".apps.example"}
	})
}

// tricks are addresses that must not be led to, whatever a browser makes of them.
var tricks = []string{"", "//evil", "///evil", "/\\evil", "\\\\evil", "/\tevil", "/\t/evil", "\t//evil", " //evil", "/\n/evil", "/\x00/evil", "https://site.evil", "https://evil@site.example",
	"https://site.example@evil/", "https://ada:pw@site.example/", "https://site.example:8443/", "https://site.example./", "http://site.example/", "https:evil", "https:/evil", "https:///evil",
	"javascript:alert(1)", "JaVaScRiPt:alert(1)", "data:text/html,x", "//site.example/x", "/./../\\evil", "/.//evil", "/..//evil", "/a/..//evil", "/%2e%2e//evil", "/./x", "x", "?a=b", "#x",
	"https://site.example//evil", "https://site.example/..//evil", "https://site\u3002example/", "https://wiki\u3002example/", "/\u2028", "https://evil\u2044.wiki.example/", "https://evilwiki.example/", "https://wiki.example.evil/",
	"https://wiki.example./", "https://wiki.example:/", "https://wiki.example:81/", "https://wiki.example//evil", "http://wiki.example/", "https://apps.example/", "https://.apps.example/", "https://evilapps.example/", "https://evil\\.apps.example/", "https://[::1]/", "https://evil%EF%BC%8F.apps.example/", "https://evil%E2%84%80.apps.example/",
	"/" + strings.Repeat("a", 2000), "https://wiki.example/%zz", "/%zz"}

func TestReturnTo(t *testing.T) {
	p := returning(t)
	for raw, want := range map[string]string{"/": "/", "/x?y=//evil#z": "/x?y=//evil#z", "/%09/evil": "/%09/evil", "/%5cevil": "/%5cevil", "/a//b": "/a//b", "/x?u=https://evil/": "/x?u=https://evil/",
		"https://site.example": "/", "https://SITE.example/x?y": "/x?y", "https://wiki.example/x": "https://wiki.example/x", "https://WIKI.example/": "https://WIKI.example/",
		"https://a.apps.example/x": "https://a.apps.example/x", "/" + strings.Repeat("a", 1999): "/" + strings.Repeat("a", 1999)} {
		if got := p.ReturnTo(raw); got != want {
			t.Errorf("ReturnTo(%q) = %q, want %q", raw, got, want)
		}
	}
	for _, raw := range tricks {
		if got := p.ReturnTo(raw); got != "/" {
			t.Errorf("ReturnTo(%q) = %q, want /", raw, got)
		}
	}
}

func FuzzReturnTo(f *testing.F) {
	for _, raw := range append(tricks, "/x", "https://site.example/x", "https://wiki.example/x", "https://a.apps.example/?x#y") {
		f.Add(raw)
	}
	p := returning(f)
	site := address(f, "https://site.example/auth/callback")
	f.Fuzz(func(t *testing.T, raw string) {
		got := p.ReturnTo(raw)
		to, err := site.Parse(got) // as a browser resolves it
		if err != nil || strings.ContainsFunc(got, oddInURL) || strings.ContainsFunc(to.Host, oddInURL) || strings.HasPrefix(got, "//") || strings.HasPrefix(to.Path, "//") {
			t.Fatalf("ReturnTo(%q) = %q, %v, want nothing a browser reads in another way", raw, got, err)
		}
		host := strings.ToLower(strings.TrimSuffix(to.Host, ":"))
		away := to.Scheme == "https" && to.User == nil && (host == "wiki.example" || strings.HasSuffix(host, ".apps.example") && len(host) > len(".apps.example"))
		if got[0] == '/' && to.Host != site.Host || got[0] != '/' && !away {
			t.Errorf("ReturnTo(%q) = %q, want a path of this site or an allowed host", raw, got)
		}
	})
}
