package dav

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"anteroom/integrations"
)

// TestTrouble: what is wrong between us and the server is told apart from what
// the server says to the client.
func TestTrouble(t *testing.T) {
	var answer http.HandlerFunc
	u := newUpstream(t, func(w http.ResponseWriter, r *http.Request) { answer(w, r) })
	f := newFront(t, services(u.URL), nil)
	say := func(status int, contentType, body string, headers ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", contentType)
			w.Header().Add("Set-Cookie", "nc_session_id=1")
			w.Header().Set("WWW-Authenticate", `Basic realm="Nextcloud"`)
			w.Header().Set("Strict-Transport-Security", "max-age=1")
			for _, h := range headers {
				name, value, _ := strings.Cut(h, ": ")
				w.Header().Set(name, value)
			}
			w.WriteHeader(status)
			io.WriteString(w, body)
		}
	}
	tests := []struct {
		name, method string
		answer       http.HandlerFunc
		want         int
		reason       string // of ours
		header       string
	}{
		{"service account refused", "PROPFIND", say(401, "application/xml", "<d:error/>"), 502, integrations.ReasonService, ""},
		{"maintenance", "PROPFIND", say(503, "application/xml", "<d:error/>"), 503, "", "Retry-After: 120"},
		{"maintenance that says how long", "PROPFIND", say(503, "application/xml", "<d:error/>", "Retry-After: 7"), 503, "", "Retry-After: 7"},
		{"throttled", "GET", say(429, "text/html", "slow"), 429, integrations.ReasonThrottled, ""},
		{"untrusted domain", "PROPFIND", say(400, "text/html", "Access through untrusted domain"), 502, integrations.ReasonUntrusted, ""},
		{"bad request", "PROPFIND", say(400, "application/xml", "<d:error/>"), 400, "", ""},
		{"no DAV server", "PROPFIND", say(200, "text/html; charset=UTF-8", "<html>"), 502, integrations.ReasonNotDAV, ""},
		{"redirect elsewhere", "GET", say(302, "text/html", "", "Location: http://evil.example.com/remote.php/dav/"), 502, integrations.ReasonRedirect, ""},
		{"redirect without a scheme", "GET", say(302, "text/html", "", "Location: //evil.example.com/remote.php/dav/"), 502, integrations.ReasonRedirect, ""},
		{"redirect to the login page", "GET", say(303, "text/html", "", "Location: /index.php/login"), 502, integrations.ReasonRedirect, ""},
		{"redirect within", "GET", say(301, "text/html", "", "Location: /remote.php/dav/files/"), 301, "", "Location: /dav/files/"},
		{"redirect that leads out again", "GET", say(302, "text/html", "", "Location: /remote.php/dav/../../index.php"), 502, integrations.ReasonRedirect, ""},
		{"redirect that leads out in disguise", "GET", say(302, "text/html", "", "Location: /remote.php/dav/%2e%2e/x"), 502, integrations.ReasonRedirect, ""},
		{"created", "MKCOL", say(201, "text/html", "", "Location: {up}/remote.php/dav/files/x/"), 201, "", "Location: {front}/dav/files/x/"},
		{"file that is XML", "GET", say(200, "application/xml", `<d:href xmlns:d="DAV:">/remote.php/dav/</d:href>`), 200, "", "Content-Length: 48"},
		{"for every cache", "GET", say(200, "text/plain", "x", "Cache-Control: public, max-age=60"), 200, "", "Cache-Control: private, no-cache"},
		{"for one cache", "GET", say(200, "text/plain", "x", "Cache-Control: no-store"), 200, "", "Cache-Control: no-store"},
		{"a word to a front proxy", "GET", say(200, "text/plain", "x", "X-Accel-Redirect: /secret"), 200, "", "X-Accel-Redirect: "},
		{"not found", "GET", say(404, "application/xml", "<d:error/>"), 404, "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			fill := strings.NewReplacer("{front}", f.URL, "{up}", u.URL).Replace
			answer = func(w http.ResponseWriter, r *http.Request) {
				rec := httptest.NewRecorder()
				tt.answer(rec, r)
				for name, values := range rec.Header() {
					w.Header()[name] = []string{fill(values[0])}
				}
				w.WriteHeader(rec.Code)
				w.Write(rec.Body.Bytes())
			}
			resp, body := f.ask(t, tt.method, "/dav/files/svc/x", "")
			if resp.StatusCode != tt.want || tt.reason != "" && strings.TrimSpace(body) != tt.reason {
				t.Errorf("%s = %d %q, want %d %s", tt.method, resp.StatusCode, body, tt.want, tt.reason)
			}
			if name, value, ok := strings.Cut(fill(tt.header), ": "); ok && resp.Header.Get(name) != value {
				t.Errorf("%s = %q, want %q", name, resp.Header.Get(name), value)
			}
			for _, name := range []string{"Set-Cookie", "Www-Authenticate", "Strict-Transport-Security"} {
				if v := resp.Header.Get(name); v != "" {
					t.Errorf("%s: %s came through", name, v)
				}
			}
			if tt.name == "file that is XML" && !strings.Contains(body, "/remote.php/dav/") {
				t.Errorf("content was changed: %s", body)
			}
		})
	}
	u.Close()
	if resp, body := f.ask(t, "GET", "/dav/x", ""); resp.StatusCode != http.StatusBadGateway || strings.TrimSpace(body) != integrations.ReasonAway {
		t.Errorf("with the server away = %d %s, want 502 %s", resp.StatusCode, body, integrations.ReasonAway)
	}
}
