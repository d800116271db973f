package upstream

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFilterCookies(t *testing.T) {
	for _, c := range []struct{ in, want []string }{
		{nil, nil},
		{[]string{"a=1; b=2"}, []string{"a=1; b=2"}},
		{[]string{"anteroom=s"}, nil},
		{[]string{"a=1; anteroom=s; b=2"}, []string{"a=1; b=2"}},
		{[]string{"anteroom=s; a=1"}, []string{"a=1"}},
		{[]string{"a=1; anteroom=s"}, []string{"a=1"}},
		{[]string{"a=1;anteroom=s;b=2;anteroom=t"}, []string{"a=1;b=2"}},
		{[]string{"__Host-anteroom=s;anteroom=t"}, nil},
		{[]string{";;a=1;; anteroom=s ;"}, []string{";;a=1;;"}},
		{[]string{";"}, []string{";"}},
		{[]string{""}, []string{""}},
		{[]string{"=;=x; ;"}, []string{"=;=x; ;"}},
		{[]string{"anteroom"}, nil},
		{[]string{" \"anteroom\" = s; a=\"x y\""}, []string{"a=\"x y\""}},
		{[]string{"=anteroom=s; a=1"}, []string{"a=1"}},
		{[]string{"a=anteroom; xanteroom=1; anteroomx=2"}, []string{"a=anteroom; xanteroom=1; anteroomx=2"}},
		{[]string{"a=1", "anteroom=s", "b=2"}, []string{"a=1", "b=2"}},
		{[]string{"a=1", "", "anteroom=s; c=3"}, []string{"a=1", "", "c=3"}},
		{[]string{"a=\xff\x00; anteroom=s"}, []string{"a=\xff\x00"}},
	} {
		h := http.Header{}
		if c.in != nil {
			h["Cookie"] = c.in
		}
		filterCookies(h, ownCookie)
		if diff := cmp.Diff(c.want, h["Cookie"]); diff != "" {
			t.Errorf("filterCookies(%q) (-want +got):\n%s", c.in, diff)
		}
	}
}

func TestOwnCookieStaysHere(t *testing.T) {
	f := newFront(t, newApp(t, echo))
	s := f.get(t, "/", "Cookie: theme=dark; __Host-anteroom=canary; lang=de", "Cookie: anteroom=canary")
	if diff := cmp.Diff([]string{"theme=dark; lang=de"}, s.Header["Cookie"]); diff != "" {
		t.Errorf("cookies at the application (-want +got):\n%s", diff)
	}
}

func TestSetCookieCannotReplaceOurs(t *testing.T) {
	f := newFront(t, newApp(t, func(w http.ResponseWriter, _ *http.Request) {
		for _, v := range []string{"a=1; Path=/", "anteroom=evil; Path=/admin", "__Host-anteroom=evil; Secure", "=anteroom=evil", " anteroom =evil", "anteroom", "b=anteroom"} {
			w.Header().Add("Set-Cookie", v)
		}
	}))
	resp, _ := f.raw(t, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	if diff := cmp.Diff([]string{"a=1; Path=/", "b=anteroom"}, resp.Header["Set-Cookie"]); diff != "" {
		t.Errorf("Set-Cookie at the client (-want +got):\n%s", diff)
	}
}

// FuzzCookies: no pair of ours is left, and all others are, byte for byte.
func FuzzCookies(f *testing.F) {
	for _, s := range []string{"a=1; anteroom=s", ";;", "anteroom", "=;=", "__Host-anteroom=x;anteroom=y; a", "\"anteroom\"=1; é=ü"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		got, cut := withoutCookies(line, ownCookie)
		if !cut {
			if got != line {
				t.Fatalf("withoutCookies(%q) = %q, unchanged", line, got)
			}
		}
		var want []string
		for _, pair := range strings.Split(line, ";") {
			if !ownCookie(cookieName(pair)) {
				want = append(want, pair)
			}
		}
		if cut && len(want) > 0 {
			want[0] = strings.TrimLeft(want[0], " \t")
		}
		if got != strings.Join(want, ";") {
			t.Errorf("withoutCookies(%q) = %q, want %q", line, got, strings.Join(want, ";"))
		}
		r := http.Request{Header: http.Header{"Cookie": {got}}}
		for _, c := range r.Cookies() {
			if ownCookie(c.Name) {
				t.Errorf("withoutCookies(%q) leaves %s", line, c.Name)
			}
		}
	})
}
