package upstream

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"anteroom/session"
)

// spoofs are header lines a client sends to pass for somebody else.
func spoofs() []string {
	return []string{
		"X-Forwarded-User: evil", "x-forwarded-user: evil", "X_Forwarded_User: evil", "X_FORWARDED_USER: evil",
		"x.forwarded.user: evil", "X-Forwarded_User: evil", "X.Forwarded-User: evil", "X~Forwarded|User: evil",
		"X-Forwarded-Preferred-Username: evil", "X_Forwarded_Email: evil", "X-Forwarded-Name: evil",
		"X-Forwarded-Groups: evil", "X.Forwarded_Groups: evil", "X-Forwarded-Groups-Truncated: evil",
		"Authorization: evil", "authorization: Bearer evil", "AUTHORIZATION: evil",
		"Remote-User: evil", "Remote_User: evil", "remote.user: evil", "X-Auth-Request-User: evil", "X_Auth_Request_User: evil",
		"X-Request-Id: evil", "X_Request_Id: evil", "Traceparent: evil", "tracestate: evil=1",
		"X-Forwarded-For: 6.6.6.6", "X_Forwarded_For: 6.6.6.6", "X-Forwarded-Proto: evil", "X-Forwarded-Host: evil",
		"X-Forwarded-Prefix: /evil", "X-Forwarded-Port: 666", "X-Forwarded-Uri: /evil", "X-Forwarded-Method: EVIL", "X-Forwarded-Ssl: evil",
		"X-Forwarded: evil", "Forwarded: for=evil", "X-Real-IP: 6.6.6.6", "X_Real_IP: 6.6.6.6", "Proxy: evil",
		"X-Original-URL: /evil", "X-Original-URI: /evil", "X-Original-Method: EVIL", "X-Rewrite-URL: /evil", "X.Rewrite.URL: /evil",
		"X-HTTP-Method-Override: EVIL", "X_HTTP_Method_Override: EVIL", "X-Http-Method: EVIL", "X-Method-Override: EVIL",
	}
}

func stripOverrides(_ *Config, _ *Destination, o *Options, _ *front) { o.MethodOverrideStripped = true }

// checkHeaders holds what the application got against the truth.
func checkHeaders(t *testing.T, s seen, who *session.Identity) {
	t.Helper()
	want := http.Header{
		"X-Request-Id": {"req-1"}, "Traceparent": {testHop().Traceparent}, "X-Forwarded-For": {"192.0.2.7"},
		"X-Forwarded-Proto": {"https"}, "X-Forwarded-Host": {"site.example"},
	}
	if who != nil {
		want["X-Forwarded-User"] = []string{"testdoc"}
		want["X-Forwarded-Preferred-Username"] = []string{"test.doc"}
		want["X-Forwarded-Email"] = []string{"testdoc@example.com"}
		want["X-Forwarded-Name"] = []string{"Test Doctor"}
		want["X-Forwarded-Groups"] = []string{"physicians,users"}
		auth := s.Header["Authorization"]
		if len(auth) != 1 || !strings.HasPrefix(auth[0], "Bearer eyJ") {
			t.Errorf("Authorization = %q, want one Bearer JWT", auth)
		}
		delete(s.Header, "Authorization")
	}
	if diff := cmp.Diff(want, s.Header); diff != "" {
		t.Errorf("headers at the application (-want +got):\n%s", diff)
	}
}

func TestSpoofedHeadersAreReplaced(t *testing.T) {
	app := newApp(t, echo)
	for name, who := range map[string]setting{"signed in": nil, "public": asNobody} {
		settings := []setting{stripOverrides}
		if who != nil {
			settings = append(settings, who)
		}
		f := newFront(t, app, settings...)
		for _, line := range spoofs() {
			t.Run(name+"/"+line, func(t *testing.T) {
				checkHeaders(t, f.get(t, "/", line, line), f.who)
			})
		}
		t.Run(name+"/all at once", func(t *testing.T) {
			checkHeaders(t, f.get(t, "/", append(spoofs(), spoofs()...)...), f.who)
		})
	}
}

func TestConnectionCannotRemoveOurHeaders(t *testing.T) {
	f := newFront(t, newApp(t, echo))
	for _, line := range []string{
		"Connection: X-Forwarded-User", "Connection: Authorization, X-Forwarded-Groups", "Connection: close, x-forwarded-for, traceparent",
		"Connection: x-request-id\r\nConnection: X_Forwarded_User\r\nX_Forwarded_User: evil",
		"Connection: upgrade, Authorization\r\nUpgrade: nothing", "Keep-Alive: X-Forwarded-User", "Proxy-Connection: X-Forwarded-User",
	} {
		t.Run(line, func(t *testing.T) { checkHeaders(t, f.get(t, "/", line), f.who) })
	}
}

func TestTrailersCannotSmuggle(t *testing.T) {
	f := newFront(t, newApp(t, echo))
	s := f.send(t, "POST / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nTrailer: X-Forwarded-User, X-Own\r\nTransfer-Encoding: chunked\r\n\r\n"+
		"5\r\nhello\r\n0\r\nX-Forwarded-User: evil\r\nX-Own: evil\r\n\r\n")
	if len(s.Trailer) != 0 || s.Body != 5 {
		t.Errorf("trailer = %v with %d bytes, want none with 5", s.Trailer, s.Body)
	}
	delete(s.Header, "Te")
	checkHeaders(t, s, f.who)
}

func TestOtherHeadersPass(t *testing.T) {
	f := newFront(t, newApp(t, echo), asNobody)
	s := f.get(t, "/", "X-Http-Method-Override: PUT", "User-Agent: u", "X-User: own", "Accept-Encoding: br", "X_Own: 1", "X-Twice: a", "X-Twice: b",
		"X-"+strings.Repeat("long-", 100)+": 1")
	for name, want := range map[string][]string{"X-Http-Method-Override": {"PUT"}, "User-Agent": {"u"}, "X-User": {"own"},
		"Accept-Encoding": {"br"}, "X_own": {"1"}, "X-Twice": {"a", "b"}, "X-" + strings.Repeat("Long-", 100): {"1"}} {
		if diff := cmp.Diff(want, s.Header[name]); diff != "" {
			t.Errorf("header %s (-want +got):\n%s", name, diff)
		}
	}
}

func TestWithoutJWT(t *testing.T) {
	f := newFront(t, newApp(t, echo), func(c *Config, _ *Destination, _ *Options, _ *front) {
		c.JWT = JWTConfig{Algorithm: "none", Header: "X-Jwt"}
	})
	s := f.get(t, "/", "Authorization: Basic own", "X-Jwt: evil", "x_jwt: evil")
	if got := s.Header.Get("Authorization"); got != "Basic own" {
		t.Errorf("Authorization = %q, want the client's", got)
	}
	if s.Header["X-Jwt"] != nil || s.Header["X_jwt"] != nil || s.Header.Get("X-Forwarded-User") != "testdoc" {
		t.Errorf("headers = %v, want no X-Jwt and the user", s.Header)
	}
}

func TestOwnHeaderNames(t *testing.T) {
	f := newFront(t, newApp(t, echo), func(c *Config, _ *Destination, _ *Options, _ *front) {
		c.Headers.User, c.Headers.Email, c.Headers.Name, c.JWT.Header = "Remote-User", "none", "", "X-Identity-Jwt"
	})
	s := f.get(t, "/", "Remote_User: evil", "X-Forwarded-User: evil", "X-Forwarded-Email: evil", "X-Identity.Jwt: evil", "Authorization: own")
	for name, want := range map[string]string{"Remote-User": "testdoc", "X-Forwarded-User": "", "X-Forwarded-Email": "", "X-Forwarded-Name": "", "Authorization": "own", "X-Identity.jwt": ""} {
		if got := s.Header.Get(name); got != want {
			t.Errorf("header %s = %q, want %q", name, got, want)
		}
	}
	if jwt := s.Header.Get("X-Identity-Jwt"); !strings.HasPrefix(jwt, "eyJ") {
		t.Errorf("X-Identity-Jwt = %q, want a bare JWT", jwt)
	}
}

func TestHostIsTheOneJudged(t *testing.T) {
	f := newFront(t, newApp(t, echo))
	if s := f.get(t, "/"); s.Host != "site.example" {
		t.Errorf("Host = %q, want site.example", s.Host)
	}
}

func TestNobodyIsAsserted(t *testing.T) {
	f := newFront(t, newApp(t, echo))
	f.who = &session.Identity{}
	if resp, _ := f.raw(t, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); resp.StatusCode != http.StatusInternalServerError {
		t.Errorf("identity without a subject: %d, want 500", resp.StatusCode)
	}
}

func TestHeaderSafe(t *testing.T) {
	for _, c := range []struct {
		in   string
		list bool
		want string
	}{
		{"Test Doctor", false, "Test Doctor"}, {"", false, ""}, {"Ärztin Müller", false, "%C3%84rztin M%C3%BCller"},
		{"a\r\nX-Forwarded-User: evil", false, "a%0D%0AX-Forwarded-User: evil"}, {"100%", false, "100%25"}, {"\x00\x7f", false, "%00%7F"},
		{" admin ", false, "%20admin%20"}, {" ", false, "%20"}, {"a,b", false, "a,b"}, {"a,b", true, "a%2Cb"}, {"\tadmin", false, "%09admin"},
	} {
		if got := headerSafe(c.in, c.list); got != c.want {
			t.Errorf("headerSafe(%q, %v) = %q, want %q", c.in, c.list, got, c.want)
		}
	}
}

func TestJoinGroups(t *testing.T) {
	for _, c := range []struct {
		groups []string
		limit  int
		want   string
		cut    bool
	}{
		{nil, 10, "", false}, {[]string{"a", "b"}, 3, "a,b", false}, {[]string{"a", "b"}, 2, "a", true}, {[]string{"abc"}, 3, "abc", false},
		{[]string{"abcd", "a"}, 3, "", true}, {[]string{"a", "bbbb", "c"}, 4, "a", true}, {[]string{"", "a,b", "c"}, 100, "a%2Cb,c", false}, {[]string{"a"}, 0, "", true},
	} {
		if got, cut := joinGroups(c.groups, c.limit); got != c.want || cut != c.cut {
			t.Errorf("joinGroups(%q, %d) = %q, %v, want %q, %v", c.groups, c.limit, got, cut, c.want, c.cut)
		}
	}
}

func TestGroupsOverflow(t *testing.T) {
	f := newFront(t, newApp(t, echo), func(c *Config, _ *Destination, _ *Options, _ *front) { c.Headers.GroupsMax = 12 })
	s := f.get(t, "/", "X-Forwarded-Groups-Truncated: false")
	if g, cut := s.Header.Get("X-Forwarded-Groups"), s.Header["X-Forwarded-Groups-Truncated"]; g != "physicians" || !cmp.Equal(cut, []string{"true"}) {
		t.Errorf("groups = %q, truncated %q, want physicians, true", g, cut)
	}
}

// FuzzStrip: no header survives that folds to a name of ours, and nothing else
// goes.
func FuzzStrip(f *testing.F) {
	for _, line := range spoofs() {
		name, _, _ := strings.Cut(line, ":")
		f.Add(name)
	}
	f.Add("X-Forwarded")
	f.Add("Accept")
	s := newStripper(testConfig(), true)
	f.Fuzz(func(t *testing.T, name string) {
		folded := string(fold(name, nil))
		h := http.Header{name: {"v", "v"}, "Accept": {"*/*"}}
		s.strip(h)
		_, left := h[name]
		if want := !strings.HasPrefix(folded, "x-forwarded-") && !s.names[folded]; left != want {
			t.Errorf("strip(%q): left %v, want %v", name, left, want)
		}
		if h["Accept"] == nil {
			t.Error("strip removed Accept")
		}
	})
}
