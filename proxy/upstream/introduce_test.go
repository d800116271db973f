package upstream

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"anteroom/session"
)

func newIntroducer(t *testing.T) *Introducer {
	cfg := testConfig()
	return NewIntroducer(cfg, newAsserter(t, cfg, time.Now), func(name string) bool { return strings.HasPrefix(name, "anteroom") }, false)
}

// TestIntroduceKeepsCookies: a front proxy may join Cookie lines with commas;
// ours is not for the application then either.
func TestIntroduceKeepsCookies(t *testing.T) {
	i := newIntroducer(t)
	for line, want := range map[string]string{
		"":                               "",
		"a=1":                            "a=1",
		"a=1,2;b=3,4":                    "a=1,2;b=3,4",
		"anteroom=s":                     "",
		"a=1,anteroom=s":                 "a=1",
		"a=1, anteroom=s; b=2":           "a=1; b=2",
		"a=1,anteroom=s,c=3;b=2":         "a=1,c=3;b=2",
		"anteroom=s,b=2":                 "",
		"a=1; anteroom=s,b=2; c=3":       "a=1; c=3",
		"a=1,\"anteroom=s\",anteroom_1=": "a=1",
	} {
		if got := i.Cookie(http.Header{"Cookie": {line}}); got != want {
			t.Errorf("Cookie(%q) = %q, want %q", line, got, want)
		}
	}
}

func TestInQuery(t *testing.T) {
	i, who := newIntroducer(t), &session.Identity{Subject: "testdoc", SessionID: "s"}
	for query, others := range map[string][]string{
		"":                             nil,
		"a=1&token=x&token":            nil,
		"Token=x&a&%54oken&token[]=1":  {"Token", "%54oken", "token[]"},
		"+token=1&token%00a=1&tokens=": {"+token", "token%00a"},
		"a=1;b=2":                      nil,
	} {
		for _, who := range []*session.Identity{who, nil} {
			q, err := i.InQuery(query, who, "aud")
			if err != nil || q.Name != "token" || !slices.Equal(q.Others, others) || (q.Token != "") != (who != nil) {
				t.Errorf("InQuery(%q) = %+v, %v, want others %q", query, q, err, others)
			}
		}
	}
	for _, query := range []string{"a=1;token=x", "token;a", "token=1;a=2", "a;Token"} {
		if _, err := i.InQuery(query, who, "aud"); !errors.Is(err, ErrTarget) {
			t.Errorf("InQuery(%q) = %v, want ErrTarget", query, err)
		}
	}
}

// TestRendered: once for a JWT, and anew for another identity.
func TestRendered(t *testing.T) {
	i, n := newIntroducer(t), 0
	render := func(h http.Header, who *session.Identity) any {
		n++
		if who == nil {
			return h.Get("X-Forwarded-User") + "nobody"
		}
		return h.Get("X-Forwarded-User")
	}
	for _, tt := range []struct {
		who       *session.Identity
		want      string
		renderers int
	}{
		{nil, "nobody", 1}, {nil, "nobody", 1},
		{&session.Identity{Subject: "a", SessionID: "s"}, "a", 2}, {&session.Identity{Subject: "a", SessionID: "s"}, "a", 2},
		{&session.Identity{Subject: "a", SessionID: "s", Groups: []string{"g"}}, "a", 3}, {&session.Identity{Subject: "b", SessionID: "t"}, "b", 4},
	} {
		got, err := i.Rendered(tt.who, "aud", render)
		if err != nil || got != tt.want || n != tt.renderers {
			t.Errorf("Rendered(%+v) = %v, %v after %d times, want %s after %d", tt.who, got, err, n, tt.want, tt.renderers)
		}
	}
}
