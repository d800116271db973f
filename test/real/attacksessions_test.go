//go:build real

package realtest

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"sync"
	"testing"

	"anteroom/demo"
)

// me asks /auth/me with the given Cookie header and nothing else.
func (g *rig) me(t *testing.T, cookie string) answered {
	t.Helper()
	return g.raw(t, g.ask("GET", "/auth/me", "Cookie: "+cookie))
}

func TestSessionFixation(t *testing.T) {
	g := attacked(t)
	u, _ := url.Parse(g.URL)
	attackers := g.p.cookie(g.URL, "anteroom")
	for name, planted := range map[string]string{
		"made up":          base64.RawURLEncoding.EncodeToString(make([]byte, 32)),
		"the attacker's":   attackers,
		"not even a token": "x",
	} {
		victim := newPerson(t)
		victim.client.Jar.SetCookies(u, []*http.Cookie{{Name: "anteroom", Value: planted, Path: "/"}})
		victim.signIn(g.site, g.URL+"/auth/login?switch=1", demo.DefaultUser, demo.DefaultPassword)
		now := victim.cookie(g.URL, "anteroom")
		if now == planted || now == "" {
			t.Errorf("%s: after sign-in the cookie is still the planted one", name)
		}
		if a := g.me(t, "anteroom="+planted); strings.Contains(a.body, demo.DefaultUser) {
			t.Errorf("%s: the planted cookie opens the victim's session", name)
		}
	}
	p := newPerson(t)
	seen := map[string]bool{}
	for range 3 {
		p.signIn(g.site, g.URL+"/auth/login?switch=1", demo.DefaultUser, demo.DefaultPassword)
		c := p.cookie(g.URL, "anteroom")
		if seen[c] || c == "" {
			t.Error("a sign-in kept the session's cookie, want a new one each time")
		}
		for old := range seen {
			if a := g.me(t, "anteroom="+old); a.status != http.StatusUnauthorized {
				t.Errorf("the cookie of before the last sign-in = %d, want 401", a.status)
			}
		}
		seen[c] = true
	}
}

// TestSignInCSRF brings somebody else's callback, and one's own twice.
func TestSignInCSRF(t *testing.T) {
	g := attacked(t)
	attacker, victim := newPerson(t), newPerson(t)
	var callback string
	attacker.client.CheckRedirect = func(r *http.Request, _ []*http.Request) error {
		if strings.HasPrefix(r.URL.String(), g.Redirect) {
			callback = r.URL.String()
			return http.ErrUseLastResponse
		}
		return nil
	}
	a := attacker.visit(g.URL + "/auth/login")
	for range 5 {
		if callback != "" {
			break
		}
		r, err := attacker.next(a, demo.DefaultUser, demo.DefaultPassword)
		if err != nil {
			t.Fatal(err)
		}
		a = attacker.do(r)
	}
	if a := victim.visit(callback); a.status < 400 || victim.cookie(g.URL, "anteroom") != "" {
		t.Errorf("another's callback = %d, cookie %q, want it refused", a.status, victim.cookie(g.URL, "anteroom"))
	}
	attacker.client.CheckRedirect = nil
	if a := attacker.visit(callback); a.status != http.StatusOK {
		t.Fatalf("one's own callback ended with %d at %s, want 200", a.status, a.url)
	}
	mine := attacker.cookie(g.URL, "anteroom")
	if a := attacker.visit(callback); a.status != http.StatusOK || attacker.cookie(g.URL, "anteroom") != mine {
		t.Errorf("one's own callback a second time = %d, want a soft landing in the same session", a.status)
	}
	for _, query := range []string{"", "?state=x&code=y", "?error=%3Cscript%3Ealert(1)%3C/script%3E", "?error=x&state=" + url.QueryEscape(strings.Repeat("s", 5000)), "?state=a&state=b&code=c&code=d"} {
		a := newPerson(t).visit(g.Redirect + query)
		if a.status < 400 || a.status >= 500 || strings.Contains(a.body, "<script>alert") {
			t.Errorf("callback%.40s = %d, want a page with 4xx and no script of the caller's", query, a.status)
		}
	}
}

func TestCookieTossing(t *testing.T) {
	g := attacked(t)
	good := g.p.cookie(g.URL, "anteroom")
	bad := base64.RawURLEncoding.EncodeToString(make([]byte, 32))
	for name, c := range map[string]struct {
		cookie string
		want   int
	}{
		"alone":           {"anteroom=" + good, http.StatusOK},
		"the same twice":  {"anteroom=" + good + "; anteroom=" + good, http.StatusOK},
		"another before":  {"anteroom=" + bad + "; anteroom=" + good, http.StatusUnauthorized},
		"another after":   {"anteroom=" + good + "; anteroom=" + bad, http.StatusUnauthorized},
		"two headers":     {"anteroom=" + good + "\r\nCookie: anteroom=" + bad, http.StatusUnauthorized},
		"other case":      {"Anteroom=" + good, http.StatusUnauthorized},
		"a bit flipped":   {"anteroom=" + good[:len(good)-2] + "zz", http.StatusUnauthorized},
		"longer":          {"anteroom=" + good + "A", http.StatusUnauthorized},
		"with the prefix": {"__Host-anteroom=" + good, http.StatusUnauthorized},
		"empty":           {"anteroom=", http.StatusUnauthorized},
	} {
		if a := g.me(t, c.cookie); a.status != c.want {
			t.Errorf("%s = %d, want %d", name, a.status, c.want)
		}
		before := len(g.app.reached())
		g.raw(t, g.ask("GET", "/public/x", "Cookie: theme=dark; "+c.cookie))
		for _, r := range g.app.reached()[before:] {
			if strings.Contains(r.Headers.Get("Cookie"), good) && name != "other case" || !strings.Contains(r.Headers.Get("Cookie"), "theme=dark") {
				t.Errorf("%s: the application got Cookie %q, want theme=dark and none of ours", name, r.Headers.Get("Cookie"))
			}
		}
	}
}

// member is somebody in many groups, whose session is large.
func member(groups int) []demo.User {
	u := demo.User{UID: "many", Password: "many123", Name: "Many Groups", Email: "many@example.com"}
	for i := range groups {
		u.Groups = append(u.Groups, fmt.Sprintf("ward-%03d-of-the-university-hospital", i))
	}
	return []demo.User{u}
}

// TestManyGroups: the groups header is bounded, by whole groups, and says so;
// the JWT has them all.
func TestManyGroups(t *testing.T) {
	s, app, p := newSite(t), newApplication(t), newPerson(t)
	nc := startNextcloud(t, s, demo.Options{Users: member(250)})
	s.start(t, settings{env: with(nc.env(), "ANTEROOM_UPSTREAM", app.URL)})
	got := shown(t, p.signIn(s, s.URL+"/", "many", "many123"))
	h := got.Headers.Get("X-Forwarded-Groups")
	if len(h) > 4096 || len(h) < 4000 || !strings.HasSuffix(h, "-of-the-university-hospital") || got.Headers.Get("X-Forwarded-Groups-Truncated") != "true" {
		t.Errorf("250 groups reached the application as %d bytes ending in %.30q, truncated: %q, want nearly 4096 of whole groups, and true",
			len(h), h[max(0, len(h)-30):], got.Headers.Get("X-Forwarded-Groups-Truncated"))
	}
	if id := verify(t, s, got, app.URL); len(id.Groups) != 250 {
		t.Errorf("the JWT has %d groups, want 250", len(id.Groups))
	}
}

// TestCookieChunks keeps a session so large that it takes several cookies, and
// asks a process that has never seen it to read them.
func TestCookieChunks(t *testing.T) {
	s, app, p := newSite(t), newApplication(t), newPerson(t)
	nc := startNextcloud(t, s, demo.Options{Users: member(25)})
	cfg := settings{env: with(nc.env(), "ANTEROOM_UPSTREAM", app.URL, "ANTEROOM_SESSION_STORE", "cookie",
		"ANTEROOM_SESSION_KEYS", base64.StdEncoding.EncodeToString([]byte("0123456789abcdef0123456789abcdef")))}
	s.start(t, cfg)
	shown(t, p.signIn(s, s.URL+"/", "many", "many123"))
	u, _ := url.Parse(s.URL)
	jar := map[string]string{}
	for _, c := range p.client.Jar.Cookies(u) {
		jar[c.Name] = c.Value
	}
	chunks := 0
	for jar[fmt.Sprintf("anteroom_%d", chunks)] != "" {
		chunks++
	}
	if chunks < 2 {
		t.Fatalf("the session takes %d cookies, want several chunks", chunks)
	}
	header := func(change func(map[string]string)) string {
		m, parts := map[string]string{}, []string{}
		for k, v := range jar {
			m[k] = v
		}
		change(m)
		for k, v := range m {
			parts = append(parts, k+"="+v)
		}
		return strings.Join(parts, "; ")
	}
	g := &rig{site: s}
	for name, c := range map[string]struct {
		change func(map[string]string)
		want   []int
	}{
		"whole":           {func(map[string]string) {}, []int{200}},
		"first missing":   {func(m map[string]string) { delete(m, "anteroom_0") }, []int{401}},
		"second missing":  {func(m map[string]string) { delete(m, "anteroom_1") }, []int{401}},
		"token missing":   {func(m map[string]string) { delete(m, "anteroom") }, []int{401}},
		"swapped":         {func(m map[string]string) { m["anteroom_0"], m["anteroom_1"] = m["anteroom_1"], m["anteroom_0"] }, []int{401}},
		"altered":         {func(m map[string]string) { m["anteroom_0"] = m["anteroom_0"][:100] + "AAAAA" + m["anteroom_0"][105:] }, []int{401}},
		"cut short":       {func(m map[string]string) { m["anteroom_1"] = m["anteroom_1"][:10] }, []int{401}},
		"one too many":    {func(m map[string]string) { m[fmt.Sprintf("anteroom_%d", chunks)] = "AAAA" }, []int{401}},
		"a huge number":   {func(m map[string]string) { m["anteroom_99999999999999999999"] = "AAAA" }, []int{200, 401}},
		"huge":            {func(m map[string]string) { m["anteroom_0"] = strings.Repeat("A", 1<<17) }, []int{431}},
		"another's token": {func(m map[string]string) { m["anteroom"] = base64.RawURLEncoding.EncodeToString(make([]byte, 32)) }, []int{401}},
	} {
		s.interrupt(t)
		s.start(t, cfg) // a process that knows nothing
		a := g.me(t, header(c.change))
		ok := false
		for _, w := range c.want {
			ok = ok || a.status == w
		}
		if !ok {
			t.Errorf("chunks %s: /auth/me = %d, want %v", name, a.status, c.want)
		}
	}
}

// TestIdentitySwap signs two people in at the same time, over and over: each
// must only ever be themselves.
func TestIdentitySwap(t *testing.T) {
	g := attacked(t)
	people := map[string]string{demo.DefaultUser: demo.DefaultPassword, "nurse": "nurse123"}
	for round := range 50 {
		var both sync.WaitGroup
		for user, password := range people {
			p := &person{t: t, client: &http.Client{Transport: g.p.client.Transport}}
			p.client.Jar, _ = cookiejar.New(nil)
			both.Go(func() {
				for range 3 {
					a, err := p.trySignIn(g.site, g.URL+"/who", user, password)
					if err != nil || !strings.Contains(a.body, `"X-Forwarded-User":["`+user+`"]`) {
						t.Errorf("round %d: %s is shown %+v, %v", round, user, a, err)
					}
				}
			})
		}
		both.Wait()
		if t.Failed() {
			return
		}
	}
}
