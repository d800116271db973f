package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestHSTS: browsers of an https site are told to come by https alone, on every
// kind of answer; what the application says of it stays.
func TestHSTS(t *testing.T) {
	const header = "Strict-Transport-Security"
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/own") {
			w.Header().Set(header, "max-age=60; includeSubDomains")
		}
		w.Write([]byte("hello"))
	}))
	defer app.Close()
	for _, tt := range []struct{ site, hsts, want, own string }{
		{"https://app.example.com", "", "max-age=31536000", "max-age=60; includeSubDomains"},
		{"https://app.example.com", "60", "max-age=60", "max-age=60; includeSubDomains"},
		{"https://app.example.com", "0", "", "max-age=60; includeSubDomains"},
		{"http://localhost:8000", "", "", "max-age=60; includeSubDomains"},
	} {
		env := []string{"ANTEROOM_SERVER_PUBLIC_URL=" + tt.site, "ANTEROOM_SIGNIN_REDIRECT_URI=" + tt.site + "/auth/callback",
			"ANTEROOM_ROUTES=[{path: /open, allow: public, upstream: \"" + app.URL + "\"}]"}
		if tt.hsts != "" {
			env = append(env, "ANTEROOM_SERVER_HSTS="+tt.hsts)
		}
		h, _ := hotPath(t, "/", env...)
		for path, want := range map[string]string{"/auth/login": tt.want, "/x": tt.want, "/auth/me": tt.want, "/.well-known/jwks.json": tt.want, "/open": tt.want, "/open/own": tt.own} {
			w := httptest.NewRecorder()
			r := httptest.NewRequest("GET", tt.site+path, nil)
			h.ServeHTTP(w, r)
			if got := strings.Join(w.Result().Header.Values(header), " | "); got != want {
				t.Errorf("%s, hsts %q: GET %s (%d) has %q, want %q", tt.site, tt.hsts, path, w.Code, got, want)
			}
		}
	}
}
