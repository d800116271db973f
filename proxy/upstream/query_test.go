package upstream

import (
	"net/url"
	"strings"
	"testing"
)

func TestWithParam(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"", "token=J"}, {"a=1", "a=1&token=J"}, {"token=x", "token=J"}, {"a=1&token=x&b=2", "a=1&b=2&token=J"},
		{"token=x&token=y&a=1", "a=1&token=J"}, {"%74oken=x", "token=J"}, {"%74%6F%6b%65%6E=x&a=%2f", "a=%2f&token=J"},
		{"Token=x&TOKEN", "token=J"}, {"+token=x&token%20=y", "token=J"}, {"token%00z=x", "token=J"}, {"token[]=x&token%5B0%5D=y", "token=J"},
		{"a=1;token=x;b=2", "a=1;b=2&token=J"}, {"token=x;a=1", "a=1&token=J"}, {"&&a=1&", "&&a=1&&token=J"}, {"a=1&&token=x&&b", "a=1&&&b&token=J"},
		{"tokens=x&xtoken=y&a=token", "tokens=x&xtoken=y&a=token&token=J"}, {"%zz&a=%&b=+%20", "%zz&a=%&b=+%20&token=J"},
		{"%zztoken=x&token%=y", "%zztoken=x&token%=y&token=J"}, {"=token", "=token&token=J"}, {"a=b=c?d/é", "a=b=c?d/é&token=J"},
	} {
		if got := withParam(c.in, "token", "J"); got != c.want {
			t.Errorf("withParam(%q) = %q, want %q", c.in, got, c.want)
		}
		if got, want := withParam(c.in, "token", ""), strings.TrimSuffix(strings.TrimSuffix(c.want, "token=J"), "&"); got != want {
			t.Errorf("withParam(%q) without value = %q, want %q", c.in, got, want)
		}
	}
}

func TestQueryToken(t *testing.T) {
	app := newApp(t, echo)
	s := newFront(t, app, withQuery).get(t, "/ws?a=1&%74oken=evil;b&token=evil")
	jwt, ok := strings.CutPrefix(s.Target, "/ws?a=1;b&token=")
	if !ok || "Bearer "+jwt != s.Header.Get("Authorization") {
		t.Errorf("target = %q, want our token alone", s.Target)
	}
	if s := newFront(t, app, withQuery, asNobody).get(t, "/ws?token=evil&a"); s.Target != "/ws?a" {
		t.Errorf("target for nobody = %q, want no token", s.Target)
	}
	if s := newFront(t, app).get(t, "/ws?token=own"); s.Target != "/ws?token=own" {
		t.Errorf("target on another route = %q, want it untouched", s.Target)
	}
}

// FuzzQuery: whoever reads the query finds our value alone, and what else was
// in it unchanged.
func FuzzQuery(f *testing.F) {
	for _, s := range []string{"a=1&token=x", "%74oken=1;token", "&&;;&", "token%5b%5d=1", "%", "a=%zz&%ff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, query string) {
		got := withParam(query, "token", "J")
		rest, ok := strings.CutSuffix(got, "token=J")
		if !ok {
			t.Fatalf("withParam(%q) = %q, want our token at its end", query, got)
		}
		if v, _ := url.ParseQuery(strings.ReplaceAll(got, ";", "&")); len(v["token"]) != 1 || v.Get("token") != "J" {
			t.Errorf("withParam(%q) reads token = %q", query, v["token"])
		}
		var want []string
		for _, p := range strings.FieldsFunc(query, func(r rune) bool { return r == '&' || r == ';' }) {
			if !spells(p, "token") {
				want = append(want, p)
			}
		}
		left := strings.FieldsFunc(rest, func(r rune) bool { return r == '&' || r == ';' })
		if strings.Join(left, "\n") != strings.Join(want, "\n") {
			t.Errorf("withParam(%q) = %q, want the rest as it was", query, got)
		}
	})
}
