package pages

import (
	"strings"
	"testing"

	"golang.org/x/net/html"
)

func TestLink(t *testing.T) {
	for in, good := range map[string]bool{
		"/":                                true,
		"/notes?x=1#y":                     true,
		"http://localhost:8000/":           true,
		"https://cloud.example/a%2Fb?c":    true,
		"":                                 false,
		"//evil.example/":                  false,
		`/\evil.example`:                   false,
		`\\evil.example`:                   false,
		"javascript:alert(1)":              false,
		" javascript:alert(1)":             false,
		"JavaScript:alert(1)":              false,
		"java\tscript:alert(1)":            false,
		"data:text/html,x":                 false,
		"vbscript:x":                       false,
		"https:evil.example":               false,
		"https:///evil.example":            false,
		"relative":                         false,
		"/a\nb":                            false,
		"/a\x00b":                          false,
		"http://[::1":                      false,
		"https://x.example/?u=javascript:": true,
	} {
		if got := link(in) != ""; got != good {
			t.Errorf("link(%q) leads somewhere: %t, want %t", in, got, good)
		}
	}
}

func TestContinueRefreshes(t *testing.T) {
	p := newPages(t)
	for to, want := range map[string]string{
		"https://cloud.example/out?a=1&b=;url=javascript:alert(1)": "0;url=https://cloud.example/out?a=1&b=;url=javascript:alert(1)",
		"/notes":              "0;url=/notes",
		"javascript:alert(1)": "",
		"'/x":                 "",
	} {
		doc, err := html.Parse(render(p, get("en"), Continue{To: to}).Body)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, m := range all(doc, "meta") {
			if strings.EqualFold(attr(m, "http-equiv"), "refresh") {
				got = attr(m, "content")
			}
		}
		if got != want {
			t.Errorf("Continue(%q) refreshes to %q, want %q", to, got, want)
		}
	}
}

// FuzzLink: whatever passes is a path or an http(s) URL to a browser too,
// which drops tabs and line ends and takes a backslash for a slash.
func FuzzLink(f *testing.F) {
	for _, s := range []string{"/", "//x", "/\\x", "https://x", "javascript:x", "\thttps:x", "/\t/x", "http:/\\x", "/#\x00", "/#\u0085"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := link(s)
		if got == "" {
			return
		}
		if got != s || strings.ContainsAny(s, "\t\r\n\\\x00") {
			t.Fatalf("link(%q) = %q", s, got)
		}
		lower := strings.ToLower(s)
		local := strings.HasPrefix(s, "/") && !strings.HasPrefix(s, "//")
		if !local && !strings.HasPrefix(lower, "http://") && !strings.HasPrefix(lower, "https://") {
			t.Fatalf("link(%q) passes", s)
		}
	})
}
