//go:build real

package realtest

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

// TestDAVCookies: Nextcloud's cookies, which beat a credential there, do not
// pass in either direction, nor do the site's own.
func TestDAVCookies(t *testing.T) {
	names := []string{"nc_session_id", "nc_token", "nc_username", "oc_sessionPassphrase", "nc_sameSiteCookielax", "__Host-nc_sameSiteCookiestrict", "ocabcdefgh"}
	up := newDAVRecorder(t, func(w http.ResponseWriter, r *http.Request) {
		for _, n := range append(names, "anteroom") {
			w.Header().Add("Set-Cookie", n+"=of-the-server; Path=/")
		}
		w.Header().Set("Set-Cookie2", "x=y")
		w.Header().Set("Clear-Site-Data", `"cookies"`)
		multistatus(w, r)
	})
	s := up.server().through(t)
	p := s.signedIn(t)
	var all strings.Builder
	for _, n := range names {
		fmt.Fprintf(&all, "%s=of-the-browser; ", n)
	}
	for who, set := range map[string]func(*http.Request){
		"a browser": func(r *http.Request) { r.Header.Set("Cookie", all.String()+"anteroom="+p.cookie(s.URL, "anteroom")) },
		"a client":  func(r *http.Request) { r.Header.Set("Cookie", all.String()); r.SetBasicAuth(s.way.user, s.way.secret) },
		"a client, in two": func(r *http.Request) {
			r.Header["Cookie"] = []string{all.String(), "nc_token=x"}
			r.SetBasicAuth(s.way.user, s.way.secret)
		},
		"both": func(r *http.Request) {
			r.Header.Set("Cookie", all.String()+"anteroom="+p.cookie(s.URL, "anteroom"))
			r.SetBasicAuth(s.way.user, s.way.secret)
		},
	} {
		for _, method := range []string{"GET", "PROPFIND", "PUT"} {
			r, err := http.NewRequest(method, s.URL+"/dav/files/alice/x", strings.NewReader(""))
			if err != nil {
				t.Fatal(err)
			}
			set(r)
			if method == "PUT" {
				r.Header.Set("Origin", s.URL)
				r.Header.Set("Sec-Fetch-Site", "same-origin")
			}
			for _, h := range []string{"XAuthorization", "XAUTHORIZATION", "Proxy-Authorization", "Requesttoken", "X-Forwarded-For", "X-Nextcloud-Federation", "Authorization-App-Api", "Forwarded"} {
				r.Header.Set(h, "Basic of-the-client")
			}
			resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			heard := up.heard()
			if len(heard) != 1 || resp.StatusCode != http.StatusMultiStatus {
				t.Fatalf("%s by %s = %d and reached the server %d times, want 207 and once", method, who, resp.StatusCode, len(heard))
			}
			if user, pass, _ := (&http.Request{Header: heard[0].header}).BasicAuth(); user != davUser || pass != davSecret {
				t.Errorf("%s by %s reached the server as %q, want as the service account", method, who, user)
			}
			for name, values := range heard[0].header {
				for _, v := range values {
					if strings.Contains(v, "of-the-") || name == "Cookie" || strings.Contains(v, davClientSecret) {
						t.Errorf("%s by %s: the server got %s: %q, want none", method, who, name, v)
					}
				}
			}
			for _, name := range []string{"Set-Cookie", "Set-Cookie2", "Clear-Site-Data"} {
				for _, v := range resp.Header.Values(name) {
					if strings.Contains(v, "of-the-server") || name != "Set-Cookie" {
						t.Errorf("%s by %s got %s: %q of the server's, want none", method, who, name, v)
					}
				}
			}
		}
	}
}

// TestDAVRedirects: where the server redirects is not gone to, and nobody is
// sent there, least of all with a credential.
func TestDAVRedirects(t *testing.T) {
	var reached atomic.Int64
	evil := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	t.Cleanup(evil.Close)
	var to atomic.Value // of redirect
	type redirect struct {
		status int
		url    string
	}
	up := newDAVRecorder(t, func(w http.ResponseWriter, r *http.Request) {
		now := to.Load().(redirect)
		w.Header().Set("Location", now.url)
		w.WriteHeader(now.status)
	})
	to.Store(redirect{http.StatusOK, ""})
	s := up.server().through(t)
	host := func(u string) string { return strings.TrimPrefix(u, "http://") }
	for url, want := range map[string]string{ // want "": 502
		evil.URL + "/remote.php/dav/files/alice/x":              "",
		"//" + host(evil.URL) + "/remote.php/dav/files/alice/x": "",
		evil.URL:                              "",
		"/index.php/login":                    "",
		"/remote.php/davx/":                   "",
		"/remote.php/dav/../../index.php":     "",
		"/remote.php/dav/%2e%2e/%2e%2e/login": "",
		"https://" + host(up.URL) + "/remote.php/dav/files/alice/x":  "",
		up.URL + "@evil.example/remote.php/dav/files/alice/x":        "",
		up.URL + ".evil.example/remote.php/dav/files/alice/x":        "",
		"http://x@" + host(up.URL) + "/remote.php/dav/files/alice/x": "",
		"javascript:alert(1)":                    "",
		up.URL + "/remote.php/dav/files/alice/y": s.URL + "/dav/files/alice/y",
		"/remote.php/dav/calendars/alice/":       "/dav/calendars/alice/",
	} {
		for status, method := range map[int]string{301: "PROPFIND", 302: "GET", 303: "PUT", 307: "GET", 308: "PROPFIND"} {
			to.Store(redirect{status, url})
			got := s.raw(t, method, "/dav/files/alice/x", nil, "")
			switch where := got.header.Get("Location"); {
			case want != "" && (got.status != status || where != want):
				t.Errorf("%s redirected by %d to %s = %d to %q, want %q", method, status, url, got.status, where, want)
			case want == "" && (got.status != http.StatusBadGateway || where != ""):
				t.Errorf("%s redirected by %d to %s = %d to %q, want 502", method, status, url, got.status, where)
			case strings.Contains(got.body, "evil"):
				t.Errorf("%s redirected by %d to %s tells where:\n%s", method, status, url, got.body)
			}
		}
	}
	if n := reached.Load(); n != 0 {
		t.Errorf("the other server was asked %d times, want never", n)
	}
}
