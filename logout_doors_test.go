package main

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"anteroom/demo"
	"anteroom/test/person"
)

const asForm = "Content-Type: application/x-www-form-urlencoded"

// logoutToken is one of the pretend Nextcloud's.
func (w *town) logoutToken(uid, sid string) string {
	w.Helper()
	token, err := w.cloud.LogoutToken(w.cloudURL, demo.DefaultClientID, uid, sid)
	if err != nil {
		w.Fatal(err)
	}
	return token
}

// sayLogout posts a logout token as the provider would, and judges the answer.
func (w *town) sayLogout(token string, status int) *http.Response {
	w.Helper()
	resp, body := w.ask(nil, "POST", "/auth/backchannel-logout", url.Values{"logout_token": {token}}.Encode(), asForm)
	var said struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	json.Unmarshal([]byte(body), &said)
	if resp.StatusCode != status || resp.Header.Get("Cache-Control") != "no-store" || len(resp.Cookies()) > 0 {
		w.Errorf("a logout token is answered %d %v\n%s, want %d, no-store, no cookie", resp.StatusCode, resp.Header, body, status)
	}
	if status == http.StatusOK && body != "" || status != http.StatusOK && (said.Error == "" || said.Description == "" || resp.Header.Get("Content-Type") != "application/json") {
		w.Errorf("a logout token is answered %d with %q of %s", resp.StatusCode, body, resp.Header.Get("Content-Type"))
	}
	if strings.Contains(w.log.String()+w.audit.String()+body, token) {
		w.Error("a logout token is in a log, or in the answer")
	}
	return resp
}

// alive are those of some people who are signed in.
func (w *town) alive(people ...*person.Person) (out string) {
	for _, p := range people {
		if w.signedIn(p) {
			out += "x"
		} else {
			out += "."
		}
	}
	return out
}

// TestLogoutByProvider ends sessions by the back channel: one by its name, all
// of a person's by theirs, and nobody else's.
func TestLogoutByProvider(t *testing.T) {
	w := found(t, demo.Options{OIDC: demo.OIDC20, NamesLogin: true})
	linux, phone := w.from(demo.DefaultUser, demo.DefaultPassword, onLinux), w.from(demo.DefaultUser, demo.DefaultPassword, onPhone)
	windows := w.from(demo.DefaultUser, demo.DefaultPassword, onWindows)
	nurse := w.from("nurse", "nurse123", onLinux)

	w.sayLogout(w.logoutToken("nurse", "login-1"), http.StatusOK) // both given: both must match
	w.sayLogout(w.logoutToken("nobody", ""), http.StatusOK)
	w.sayLogout(w.logoutToken("", "login-99"), http.StatusOK)
	if got := w.alive(linux, phone, windows, nurse); got != "xxxx" {
		t.Fatalf("signed in after three logouts of nobody: %s", got)
	}
	w.sayLogout(w.logoutToken(demo.DefaultUser, "login-1"), http.StatusOK)
	if got := w.alive(linux, phone, windows, nurse); got != ".xxx" {
		t.Errorf("signed in after the first's logout: %s, want .xxx", got)
	}
	w.sayLogout(w.logoutToken("", "login-2"), http.StatusOK)
	if got := w.alive(linux, phone, windows, nurse); got != "..xx" {
		t.Errorf("signed in after the second's logout: %s, want ..xx", got)
	}
	all := w.logoutToken(demo.DefaultUser, "")
	w.sayLogout(all, http.StatusOK)
	if got := w.alive(linux, phone, windows, nurse); got != "...x" {
		t.Errorf("signed in after the person's logout: %s, want ...x", got)
	}
	if n := strings.Count(w.audit.String(), `"reason":"at_provider"`); n != 3 || w.lines("session_ended") != 3 {
		t.Errorf("%d audit lines for three sessions ended by the provider\n%s", n, w.audit)
	}
	w.await("six log lines for six logouts", func() bool { return strings.Count(w.log.String(), "the provider ended a sign-in") == 6 })
	again := w.from(demo.DefaultUser, demo.DefaultPassword, onLinux)
	w.sayLogout(all, http.StatusBadRequest)
	if !w.signedIn(again) {
		t.Error("a logout token that came for the second time ended a newer session")
	}
	if w.cloud.Reuses() > 0 {
		t.Errorf("%d refresh tokens were presented twice", w.cloud.Reuses())
	}
}

// TestLogoutDoorIsNarrow: what is no call of the provider's.
func TestLogoutDoorIsNarrow(t *testing.T) {
	w := found(t, demo.Options{OIDC: demo.OIDC20})
	doc := w.from(demo.DefaultUser, demo.DefaultPassword, onLinux)
	good := w.logoutToken(demo.DefaultUser, "")
	const door = "/auth/backchannel-logout"
	foreign, err := w.cloud.LogoutToken("https://evil.example", demo.DefaultClientID, demo.DefaultUser, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, method, path, body string
		header                   []string
		status                   int
	}{
		{"GET", "GET", door + "?logout_token=" + good, "", nil, 405},
		{"in the query", "POST", door + "?logout_token=" + good, "", []string{asForm}, 400},
		{"twice", "POST", door, "logout_token=" + good + "&logout_token=" + good, []string{asForm}, 400},
		{"as JSON", "POST", door, `{"logout_token":"` + good + `"}`, []string{"Content-Type: application/json"}, 400},
		{"1 MiB", "POST", door, "logout_token=" + strings.Repeat("a", 1<<20), []string{asForm}, 413},
		{"garbage", "POST", door, "logout_token=a.b.c", []string{asForm}, 400},
		{"another issuer's", "POST", door, "logout_token=" + foreign, []string{asForm}, 400},
		{"another host", "POST", door, "logout_token=" + good, []string{asForm, "Host: evil.example"}, 421},
	} {
		resp, body := w.ask(nil, tt.method, tt.path, tt.body, tt.header...)
		if resp.StatusCode != tt.status || !w.signedIn(doc) {
			t.Errorf("%s = %d\n%s, want %d; signed in still: %t", tt.name, resp.StatusCode, body, tt.status, w.signedIn(doc))
		}
		if strings.Contains(body, good) || strings.Contains(body, "evil.example") {
			t.Errorf("%s is answered with what was sent\n%s", tt.name, body)
		}
	}
	w.sayLogout(good, http.StatusOK) // not used up by any of that
	if w.signedIn(doc) {
		t.Error("signed in after the provider's word")
	}
}

// TestLogoutWhereThereIsNoSuch: with the built-in OAuth2 nobody can say it, and
// sessions in cookies cannot be ended by anybody else.
func TestLogoutWhereThereIsNoSuch(t *testing.T) {
	for name, reason := range map[string]string{"built-in oauth2": "logout_not_offered", "cookie sessions": "sessions_not_listed"} {
		p := providers[name]
		w := found(t, p.o, p.env...)
		doc := w.from(demo.DefaultUser, demo.DefaultPassword, onLinux)
		w.sayLogout(w.logoutToken(demo.DefaultUser, ""), http.StatusNotFound)
		if resp, _ := w.ask(nil, "GET", "/auth/frontchannel-logout?sid=x&iss="+url.QueryEscape(w.cloudURL), ""); resp.StatusCode != http.StatusNotFound {
			t.Errorf("%s: front channel = %d, want 404", name, resp.StatusCode)
		}
		if !strings.Contains(w.audit.String(), reason) || !w.signedIn(doc) {
			t.Errorf("%s: signed in still: %t, want the reason %s\n%s", name, w.signedIn(doc), reason, w.audit)
		}
	}
}

// TestLogoutInFrame is the front channel: the provider's page frames ours.
func TestLogoutInFrame(t *testing.T) {
	for name, env := range map[string][]string{"memory": nil, "cookie": providers["cookie sessions"].env} {
		t.Run(name, func(t *testing.T) {
			w := found(t, demo.Options{OIDC: demo.OIDC20, NamesLogin: true}, env...)
			linux, phone := w.from(demo.DefaultUser, demo.DefaultPassword, onLinux), w.from(demo.DefaultUser, demo.DefaultPassword, onPhone)
			iss := url.QueryEscape(w.cloudURL)
			for _, q := range []string{"", "iss=" + iss, "sid=login-1", "iss=" + iss + "&sid=", "iss=https%3A%2F%2Fevil.example&sid=login-1", "iss=" + iss + "%2F&sid=login-1", "iss=" + iss + "&sid=login-1&sid=login-2"} {
				if resp, _ := w.ask(linux, "GET", "/auth/frontchannel-logout?"+q, ""); resp.StatusCode != http.StatusBadRequest || w.alive(linux, phone) != "xx" {
					t.Errorf("front channel ?%s = %d, signed in still: %s, want 400", q, resp.StatusCode, w.alive(linux, phone))
				}
			}
			framed := func(p *person.Person, sid string) *http.Response {
				resp, body := w.ask(p, "GET", "/auth/frontchannel-logout?iss="+iss+"&sid="+sid, "", asBrowser, "Sec-Fetch-Dest: iframe", "Sec-Fetch-Site: cross-site")
				csp := resp.Header.Get("Content-Security-Policy")
				if resp.StatusCode != http.StatusOK || !strings.HasSuffix(csp, "frame-ancestors "+w.cloudURL) || !strings.Contains(csp, "default-src 'none'") || resp.Header.Get("X-Frame-Options") != "" ||
					resp.Header.Get("Cache-Control") != "no-store" || !strings.HasPrefix(body, "<!doctype html>") {
					t.Errorf("front channel = %d %v\n%s", resp.StatusCode, resp.Header, body)
				}
				return resp
			}
			if resp := framed(linux, "login-1"); w.alive(linux, phone) != ".x" || len(resp.Cookies()) == 0 || resp.Cookies()[0].Value != "" || resp.Cookies()[0].MaxAge >= 0 {
				t.Errorf("front channel with the cookie: %s, cookies %v, want .x and the cookie cleared", w.alive(linux, phone), resp.Cookies())
			}
			if name == "cookie" {
				return // without the cookie nothing can be done there
			}
			again := w.from(demo.DefaultUser, demo.DefaultPassword, onLinux)
			if resp := framed(again, "login-2"); w.alive(phone, again) != ".x" || len(resp.Cookies()) > 0 {
				t.Errorf("front channel with another session's cookie: %s, cookies %v, want .x and none touched", w.alive(phone, again), resp.Cookies())
			}
			framed(nil, "login-3")
			if w.signedIn(again) {
				t.Error("signed in after the front channel, without the cookie")
			}
		})
	}
}
