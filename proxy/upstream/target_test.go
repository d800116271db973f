package upstream

import (
	"errors"
	"net/http"
	"net/url"
	"testing"
)

func TestTargetGoesOutByteForByte(t *testing.T) {
	f := newFront(t, newApp(t, echo))
	for _, target := range []string{
		"/", "/?", "/a?", "/a??", "/a?b?c", "/a/b/", "/a//b", "//a", "//a//b?c", "//", "///", "//host:80/x%2fy", "/a%2fb%2Fc", "/%61%41%7e~", "/a%20b",
		"/a;b=c;d", "/a?x=1;y=2", "/a?x=%zz", "/a?%", "/a?x=a+b&&=&", "/a?q=\"<>\\^`{|}", "/\"<>\\^`{|}[]", "/é/ü", "/a?é=ü", "/a#b", "/a?b#c", "/a?x=//y",
		"/.", "/..", "/a/../b", "/./a", "/%2e%2e/a", "/a:b", "/:80", "/@", "/*", "/a,b!$&'()*+=", "/a%00b", "/http://other/x",
	} {
		t.Run(target, func(t *testing.T) {
			if s := f.get(t, target); s.Target != target {
				t.Errorf("target at the application = %q, want %q", s.Target, target)
			}
		})
	}
}

func TestTargetInAbsoluteForm(t *testing.T) {
	f := newFront(t, newApp(t, echo))
	for target, want := range map[string]string{
		"http://app.example/a%2fb?x=%zz;y": "/a%2fb?x=%zz;y", "http://app.example": "/", "http://app.example/?": "/?",
		"http://app.example//x": "//x", "http://u:p@other.example/a": "/a",
	} {
		if s := f.get(t, target); s.Target != want {
			t.Errorf("target %q at the application = %q, want %q", target, s.Target, want)
		}
	}
}

func TestTargetThatCannotPass(t *testing.T) {
	f := newFront(t, newApp(t, echo))
	for _, target := range []string{"//a^b", "//\"", "//a b", "http:opaque"} {
		resp, _ := f.raw(t, "GET "+target+" HTTP/1.1\r\nHost: a\r\n\r\n")
		if resp.StatusCode != http.StatusBadRequest {
			t.Errorf("GET %s = %d, want 400", target, resp.StatusCode)
		}
	}
	for _, uri := range []string{"/a b", "/a HTTP/1.1", "/a?b c", "/a\tb", "/a\x7f", "/a\r\nX: y"} {
		r := &http.Request{Method: "GET", RequestURI: uri, URL: &url.URL{Path: "/a"}}
		if _, err := targetOf(r); !errors.Is(err, ErrTarget) {
			t.Errorf("targetOf(%q) = %v, want ErrTarget", uri, err)
		}
	}
}

// FuzzTarget: what can be parsed goes out as it came in, or not at all.
func FuzzTarget(f *testing.F) {
	for _, s := range []string{"/", "//a", "/a?b", "/?", "*", "/%2f", "http://h/p", "/a b", "/é", "//a^"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, uri string) {
		u, err := url.ParseRequestURI(uri)
		if err != nil {
			return
		}
		got, err := targetOf(&http.Request{Method: "GET", RequestURI: uri, URL: u})
		if err != nil || uri[0] != '/' {
			return
		}
		out := *u
		out.Opaque, out.RawQuery, out.ForceQuery = got.opaque, got.query, got.mark
		if s := out.RequestURI(); s != uri {
			t.Errorf("target %q goes out as %q", uri, s)
		}
	})
}
