package demo

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

func bearer(token string) []string { return []string{"Authorization", "Bearer " + token} }

// A session cookie beats the Authorization header.
func TestCookieBeatsHeader(t *testing.T) {
	s := serve(t, Options{})
	token := s.oauthTokens().Access
	b := s.browser()
	b.login(b.get("/index.php/login"), "admin", "admin_dev_password")
	a := b.do("GET", userURL, "", bearer(token)...)
	if data := a.json(t)["ocs"].(map[string]any)["data"].(map[string]any); data["id"] != "admin" {
		t.Errorf("admin's cookie and testdoc's token = %v, want admin", data["id"])
	}
	dav := func(headers ...string) int {
		return b.do("PROPFIND", "/remote.php/dav/files/admin/", "", append([]string{"Depth", "0"}, headers...)...).StatusCode
	}
	if got := dav(bearer(token)...); got != 207 {
		t.Errorf("the same at WebDAV = %d, want 207 as admin", got)
	}
	r := http.Request{Header: http.Header{}}
	r.SetBasicAuth(DefaultUser, DefaultPassword)
	if got := dav("Authorization", r.Header.Get("Authorization")); got != 401 {
		t.Errorf("admin's cookie and testdoc's password at WebDAV = %d, want 401", got)
	}
	if got := dav(); got != 401 {
		t.Errorf("a cookie alone at WebDAV = %d, want 401: no request token", got)
	}
	wantStatus(t, b.do("GET", userURL, ""), http.StatusPreconditionFailed)
	wantStatus(t, b.do("GET", userURL, "", "OCS-APIRequest", "true"), 200)
}

// Whoever comes by header gets cookies, and is known by them from then on. They
// fall with the token.
func TestHeaderLeavesSession(t *testing.T) {
	s := serve(t, Options{})
	token := s.oauthTokens()
	b := s.browser()
	wantStatus(t, b.do("GET", userURL, "", bearer(token.Access)...), 200)
	wantStatus(t, b.do("GET", userURL, "", "OCS-APIRequest", "true"), 200)
	wantStatus(t, b.do("PROPFIND", "/remote.php/dav/files/testdoc/", "", "Depth", "0"), 207)
	s.refresh(tokenURL, token.Refresh)
	wantStatus(t, b.do("GET", userURL, "", "OCS-APIRequest", "true"), 401)
}

func TestBearerIsByteExact(t *testing.T) {
	s := serve(t, Options{})
	token := s.oauthTokens().Access
	for _, h := range []string{"bearer " + token, "BEARER " + token, "Bearer  " + token, "Bearer " + token + " "} {
		want := 401
		if strings.HasSuffix(h, " ") {
			want = 200 // spaces at the end of a header are none of its value
		}
		wantStatus(t, s.browser().do("GET", userURL, "", "Authorization", h), want)
	}
	r := http.Request{Header: http.Header{}}
	r.SetBasicAuth(DefaultUser, DefaultPassword)
	wantStatus(t, s.browser().do("GET", userURL, "", "XAuthorization", r.Header.Get("Authorization"), "OCS-APIRequest", "true"), 200)
}

func TestAppPassword(t *testing.T) {
	s := serve(t, Options{})
	with := func(user, password string) []string {
		r := http.Request{Header: http.Header{}}
		r.SetBasicAuth(user, password)
		return []string{"Authorization", r.Header.Get("Authorization"), "OCS-APIRequest", "true"}
	}
	const get, del = "/ocs/v2.php/core/getapppassword?format=json", "/ocs/v2.php/core/apppassword?format=json"
	a := s.browser().do("GET", get, "", with(DefaultUser, DefaultPassword)...)
	app, _ := a.json(t)["ocs"].(map[string]any)["data"].(map[string]any)["apppassword"].(string)
	if len(app) != 72 {
		t.Fatalf("app password %q, want 72 characters", app)
	}
	wantStatus(t, s.browser().do("GET", userURL, "", with(DefaultUser, app)...), 200)
	wantStatus(t, s.browser().do("GET", userURL, "", with("testdoc@example.com", app)...), 200)
	wantStatus(t, s.browser().do("GET", userURL, "", with("TESTDOC", app)...), 401)
	wantStatus(t, s.browser().do("GET", get, "", with(DefaultUser, app)...), 403)
	wantStatus(t, s.browser().do("DELETE", del, "", with(DefaultUser, DefaultPassword)...), 403)
	wantStatus(t, s.browser().do("DELETE", del, "", with(DefaultUser, app)...), 200)
	wantStatus(t, s.browser().do("DELETE", del, "", with(DefaultUser, app)...), 401)
}

func TestLogin(t *testing.T) {
	s := serve(t, Options{})
	b := s.browser()
	form := b.get("/index.php/login?redirect_url=/index.php/apps/dashboard/")
	again := b.login(form, DefaultUser, "wrong")
	page := b.get(again.location())
	if !strings.Contains(page.body, "Wrong username or password.") || !strings.Contains(page.body, `value="testdoc"`) {
		t.Errorf("after a wrong password the page is\n%s\nwant the form, its message and the name", page.body)
	}
	if s.FailedLogins() != 1 {
		t.Errorf("FailedLogins = %d, want 1", s.FailedLogins())
	}
	forged := b.post("/index.php/login", values("user", DefaultUser, "password", DefaultPassword, "requesttoken", "forged"))
	if !strings.HasPrefix(forged.location(), "/index.php/login?") {
		t.Errorf("login without the request token leads to %q, want the form", forged.location())
	}
	cookies := func() string {
		u, _ := url.Parse(s.url)
		for _, c := range b.Jar.Cookies(u) {
			if c.Name == sessionCookie {
				return c.Value
			}
		}
		return ""
	}
	before := cookies()
	in := b.login(page, "testdoc@example.com", DefaultPassword)
	if in.location() != s.url+dashboard || cookies() == before {
		t.Errorf("login leads to %q, session renewed %v; want the dashboard, true", in.location(), cookies() != before)
	}
	home := b.get(in.location())
	if !strings.Contains(home.body, "Test Doctor") {
		t.Errorf("dashboard = %s, want the name", home.body)
	}
	b.get(home.value(t, `id="logout" href="([^"]+)"`))
	wantStatus(t, b.get(dashboard), http.StatusSeeOther)
	wantStatus(t, b.do("GET", dashboard, ""), http.StatusUnauthorized)
	s.Disable(DefaultUser, true)
	page = b.get(b.login(b.get("/index.php/login"), DefaultUser, DefaultPassword).location())
	if !strings.Contains(page.body, "disabled") {
		t.Errorf("login of a disabled user = %s, want a message", page.body)
	}
}

func TestSecureCookies(t *testing.T) {
	s := serve(t, Options{BaseURL: "https://cloud.example"})
	a := s.browser().get("/index.php/login")
	for _, c := range a.Cookies() {
		if !c.Secure || strings.HasPrefix(c.Name, "nc_sameSite") {
			t.Errorf("cookie over https = %s, want Secure and __Host-", c.Raw)
		}
	}
}

func TestDownAndLatency(t *testing.T) {
	s := serve(t, Options{})
	s.SetDown(true)
	if _, err := s.browser().Get(s.url + "/status.php"); err == nil {
		t.Error("status.php while down = answered, want the connection closed")
	}
	s.SetDown(false)
	wantStatus(t, s.browser().get("/status.php"), 200)
	s.SetLatency(Status, time.Hour)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	req, _ := http.NewRequestWithContext(ctx, "GET", s.url+"/status.php", nil)
	if _, err := s.browser().Do(req); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("slow status.php = %v, want no answer in time", err)
	}
	s.SetLatency(Status, 0)
	wantStatus(t, s.browser().get("/status.php"), 200)
}

func TestSessionsAreBounded(t *testing.T) {
	s := newSessions()
	first := s.begin(session{})
	for range maxSessions {
		s.begin(session{})
	}
	if _, ok := s.get(first.id, first.passphrase); ok || len(s.live) != maxSessions {
		t.Errorf("sessions kept = %d, the oldest %v; want %d, false", len(s.live), ok, maxSessions)
	}
}

// Whatever the login form is told to go back to, it stays on this server.
func FuzzLocal(f *testing.F) {
	for _, s := range []string{"/index.php", "//evil.example", "/\\evil.example", "https://evil.example", "/a@b", "/%2F/evil", "/\t/evil"} {
		f.Add(s)
	}
	base, _ := url.Parse("http://cloud.example")
	f.Fuzz(func(t *testing.T, back string) {
		if !local(back) {
			return
		}
		if u, err := base.Parse(back); err == nil && u.Host != base.Host {
			t.Errorf("local(%q) = true, but it leads to %s", back, u.Host)
		}
		if u, err := url.Parse("http://cloud.example" + back); err == nil && u.Host != base.Host {
			t.Errorf("local(%q) = true, but after the base it leads to %s", back, u.Host)
		}
	})
}
