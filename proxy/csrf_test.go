package proxy

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"anteroom/proxy/authz"
	"anteroom/session"
)

// TestPostsFromElsewhere: what changes something here is done for our own pages
// and for programs, whatever a browser may be made to send.
func TestPostsFromElsewhere(t *testing.T) {
	s := testExplainer(t, Config{PublicURL: "https://app.example.com", Hosts: []string{"alt.example.com"}}, Route{Path: "/", Allow: authz.Allow{Public: true}, Upstream: "http://localhost:1"}).s
	s.own["/posted"] = &door{name: doorOwn, allow: authz.Allow{Public: true}, posted: true, refuse: refuseByProblem, answer: func(x *exchange, _ *session.Identity) error {
		io.WriteString(x, "done")
		return nil
	}}
	for _, tt := range []struct {
		method, host string
		header       http.Header
		want         int
	}{
		{"POST", "app.example.com", http.Header{}, 200},
		{"POST", "app.example.com", http.Header{"Origin": {"https://app.example.com"}}, 200},
		{"POST", "app.example.com", http.Header{"Origin": {"https://APP.example.com:443"}, "Sec-Fetch-Site": {"same-origin"}}, 200},
		{"POST", "app.example.com", http.Header{"Sec-Fetch-Site": {"none"}}, 200},
		{"POST", "alt.example.com", http.Header{"Origin": {"https://alt.example.com"}}, 200},
		{"POST", "alt.example.com", http.Header{"Origin": {"https://app.example.com"}}, 200},
		{"GET", "app.example.com", http.Header{"Origin": {"https://evil.example"}, "Sec-Fetch-Site": {"cross-site"}}, 200},

		{"POST", "app.example.com", http.Header{"Origin": {"http://app.example.com"}}, 403},
		{"POST", "app.example.com", http.Header{"Origin": {"https://app.example.com:8443"}}, 403},
		{"POST", "app.example.com", http.Header{"Origin": {"https://alt.example.com"}}, 403},
		{"POST", "alt.example.com", http.Header{"Origin": {"http://alt.example.com"}}, 403},
		{"POST", "app.example.com", http.Header{"Origin": {"null"}}, 403},
		{"POST", "app.example.com", http.Header{"Origin": {""}}, 403},
		{"POST", "app.example.com", http.Header{"Origin": {"app.example.com"}}, 403},
		{"POST", "app.example.com", http.Header{"Origin": {"https://app.example.com", "https://evil.example"}}, 403},
		{"POST", "app.example.com", http.Header{"Origin": {"https://app.example.com.evil.example"}}, 403},
		{"POST", "app.example.com", http.Header{"Sec-Fetch-Site": {"cross-site"}}, 403},
		{"POST", "app.example.com", http.Header{"Sec-Fetch-Site": {"same-site"}}, 403},
		{"POST", "app.example.com", http.Header{"Sec-Fetch-Site": {"cross-site"}, "Origin": {"https://app.example.com"}}, 403},
		{"POST", "app.example.com", http.Header{"Sec-Fetch-Site": {"same-origin", "cross-site"}}, 403},
		{"DELETE", "app.example.com", http.Header{"Origin": {"https://evil.example"}}, 403},
	} {
		r := httptest.NewRequest(tt.method, "/posted", strings.NewReader("a=b"))
		r.Host = tt.host
		for name, v := range tt.header {
			r.Header[name] = v
		}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code != tt.want {
			t.Errorf("%s to %s with %v = %d %s, want %d", tt.method, tt.host, tt.header, w.Code, w.Body, tt.want)
		}
	}
}
