package proxy

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"anteroom/proxy/authz"
	"anteroom/session"
)

// TestOurAnswersAreInert: redirects and refusals of ours carry what pages carry;
// answers of the application's do not.
func TestOurAnswersAreInert(t *testing.T) {
	app := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer app.Close()
	s := testExplainer(t, Config{PublicURL: "https://app.example.com"}, Route{Path: "/public", Allow: authz.Allow{Public: true}, Upstream: app.URL}, Route{Path: "/", Upstream: app.URL}).s
	for _, d := range s.apps {
		d.answer = func(x *exchange, who *session.Identity) error { return d.forward.Forward(x, x.r, who, &x.hop) }
	}
	s.own["/redirects"] = &door{name: doorOwn, allow: authz.Allow{Public: true}, refuse: refuseByPage, answer: func(x *exchange, _ *session.Identity) error {
		http.Redirect(x, x.r, "/elsewhere", http.StatusSeeOther)
		return nil
	}}
	fails := func(style refusalStyle) *door {
		return &door{name: doorOwn, allow: authz.Allow{Public: true}, methods: []string{"GET"}, refuse: style, answer: func(*exchange, *session.Identity) error { return errors.New("it broke") }}
	}
	s.own["/fails/page"], s.own["/fails/problem"], s.own["/fails/dav"] = fails(refuseByPage), fails(refuseByProblem), fails(refuseByDAV)
	for _, tt := range []struct {
		method, target, accept string
		want                   int
		ours                   bool
	}{
		{"GET", "https://app.example.com/redirects", "", 303, true},
		{"GET", "https://app.example.com/page", "text/html", 302, true},
		{"GET", "https://app.example.com/page", "", 401, true},
		{"GET", "https://app.example.com/a//b", "text/html", 302, true},
		{"GET", "https://app.example.com/%zz", "", 400, true},
		{"GET", "https://evil.example/", "text/html", 421, true},
		{"TRACE", "https://app.example.com/", "", 405, true},
		{"POST", "https://app.example.com/fails/page", "text/html", 405, true},
		{"GET", "https://app.example.com/fails/page", "text/html", 500, true},
		{"GET", "https://app.example.com/fails/problem", "", 500, true},
		{"GET", "https://app.example.com/fails/dav", "", 500, true},
		{"GET", "https://app.example.com/public", "text/html", 200, false},
	} {
		r := httptest.NewRequest(tt.method, strings.Replace(tt.target, "%zz", "x", 1), nil)
		if strings.Contains(tt.target, "%zz") {
			r.URL.Path, r.URL.RawPath, r.RequestURI = "/\x00", "", "/%00"
		}
		r.Header.Set("Accept", tt.accept)
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		h := w.Header()
		if w.Code != tt.want {
			t.Errorf("%s %s = %d, want %d", tt.method, tt.target, w.Code, tt.want)
		}
		csp := h.Get("Content-Security-Policy")
		guarded := strings.Contains(csp, "default-src 'none'") && strings.Contains(csp, "frame-ancestors") && h.Get("Referrer-Policy") != "" && h.Get("X-Content-Type-Options") == "nosniff"
		if guarded != tt.ours || !tt.ours && csp != "" {
			t.Errorf("%s %s carries %v, want it guarded: %v", tt.method, tt.target, h, tt.ours)
		}
	}
}
