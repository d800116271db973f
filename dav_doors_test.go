package main

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	"anteroom/demo"
	"anteroom/test/person"
)

// ownFiles is a town in which everybody reaches their own files, calendars and
// contacts with the token of their sign-in.
func ownFiles(t *testing.T, env ...string) *town {
	return found(t, demo.Options{OIDC: demo.NoOIDC}, append([]string{
		"ANTEROOM_SIGNIN_PROVIDER=nextcloud", "ANTEROOM_INTEGRATIONS_WEBDAV_CREDENTIAL=user",
		"ANTEROOM_INTEGRATIONS_CALDAV_CREDENTIAL=user", "ANTEROOM_INTEGRATIONS_CARDDAV_CREDENTIAL=user",
	}, env...)...)
}

func TestFilesOfWhoIsSignedIn(t *testing.T) {
	w := ownFiles(t)
	p, _ := w.testdoc("/hello")
	home := "/dav/files/testdoc/"
	steps := []struct {
		method, path, body string
		header             []string
		want               int
		says               string
	}{
		{"PUT", home + "Befund%20M%c3%bcller.txt", "canary-finding", nil, 201, ""},
		{"GET", home + "Befund%20M%c3%bcller.txt", "", nil, 200, "canary-finding"},
		{"GET", home + "Befund%20M%c3%bcller.txt", "", []string{"Range: bytes=7-"}, 206, "finding"},
		{"PUT", home + "Befund%20M%c3%bcller.txt", "x", []string{"If-None-Match: *"}, 412, ""},
		{"PROPFIND", home, "", []string{"Depth: 1"}, 207, "<d:href>" + home + "Befund%20M%c3%bcller.txt</d:href>"},
		{"MOVE", home + "Befund%20M%c3%bcller.txt", "", []string{"Destination: " + w.site + home + "b.txt"}, 201, ""},
		{"GET", home + "b.txt", "", nil, 200, "canary-finding"},
		{"MKCOL", home + "Neu", "", nil, 201, ""},
		{"LOCK", home + "b.txt", "", nil, 501, "NotImplemented"},
		{"DELETE", home + "b.txt", "", nil, 204, ""},
		{"GET", "/dav/files/admin/x", "", nil, 404, ""},
		{"GET", "/dav/../ocs/v2.php/cloud/user", "", nil, 400, "ambiguous_path"},
	}
	for _, s := range steps {
		resp, body := w.ask(p, s.method, s.path, s.body, s.header...)
		if resp.StatusCode != s.want || !strings.Contains(body, s.says) {
			t.Errorf("%s %s = %d %s, want %d with %q", s.method, s.path, resp.StatusCode, body, s.want, s.says)
		}
		for _, c := range resp.Cookies() {
			if !strings.Contains(c.Name, "anteroom") {
				t.Errorf("%s %s set %s, a cookie of Nextcloud's", s.method, s.path, c.Name)
			}
		}
		if strings.Contains(body, "/remote.php/") {
			t.Errorf("%s %s shows where Nextcloud has it: %s", s.method, s.path, body)
		}
		if s.method == "GET" && s.want == 200 && !strings.Contains(resp.Header.Get("Content-Security-Policy"), "sandbox") {
			t.Errorf("%s %s: Content-Security-Policy = %q, want it in a sandbox", s.method, s.path, resp.Header.Get("Content-Security-Policy"))
		}
	}
	w.stop()
	if log := w.log.String(); strings.Contains(log, "Befund") || strings.Contains(log, "canary") || strings.Contains(log, "b.txt") {
		t.Errorf("the log names files:\n%s", log)
	}
	lines := w.audited("access")
	if len(lines) != len(steps) {
		t.Fatalf("%d lines of access, want one for each of %d requests:\n%s", len(lines), len(steps), w.audit)
	}
	put, move, refused := lines[0], lines[5], lines[len(lines)-1]
	if put["sub"] != "testdoc" || put["by"] != "nextcloud" || put["method"] != "PUT" || put["received"] != 14.0 || put["status"] != 201.0 || put["path"] != home+"Befund%20M%c3%bcller.txt" {
		t.Errorf("the upload is written down as %v", put)
	}
	if got := lines[1]; got["sent"] != 14.0 {
		t.Errorf("the download is written down as %v, want 14 bytes sent", got)
	}
	if move["to"] != home+"b.txt" || refused["reason"] != "ambiguous_path" {
		t.Errorf("written down: %v, %v", move, refused)
	}
}

// TestWhoIsAskedForWhat: each kind of caller is told in its own way that
// nobody knows it.
func TestWhoIsAskedForWhat(t *testing.T) {
	w := ownFiles(t)
	tests := []struct {
		name, method, path string
		header             []string
		want               int
		basic              bool
		kind               string
	}{
		{"a DAV client", "PROPFIND", "/dav/", nil, 401, true, "application/xml"},
		{"one that looks first", "OPTIONS", "/calendar/", nil, 401, true, "application/xml"},
		{"one that downloads", "GET", "/dav/files/x", []string{"Accept: */*"}, 401, true, "application/xml"},
		{"a page's script", "PROPFIND", "/dav/", []string{"X-Requested-With: XMLHttpRequest"}, 401, false, "application/xml"},
		{"a page's fetch", "GET", "/dav/x", []string{"Sec-Fetch-Mode: cors", "Accept: */*"}, 401, false, "application/xml"},
		{"a browser's window", "GET", "/dav/x", navigation, 302, false, ""},
	}
	for _, tt := range tests {
		resp, body := w.ask(nil, tt.method, tt.path, "", tt.header...)
		challenges := strings.Join(resp.Header.Values("WWW-Authenticate"), ", ")
		if resp.StatusCode != tt.want || strings.Contains(challenges, "Basic") != tt.basic || !strings.HasPrefix(resp.Header.Get("Content-Type"), tt.kind) {
			t.Errorf("%s: %d %s, challenged by %q, want %d, Basic %v, %s", tt.name, resp.StatusCode, resp.Header.Get("Content-Type"), challenges, tt.want, tt.basic, tt.kind)
		}
		if tt.kind != "" && !strings.Contains(body, `<s:exception>Sabre\DAV\Exception\NotAuthenticated`) {
			t.Errorf("%s: %s, want an error as sabre has it", tt.name, body)
		}
	}
	for _, path := range []string{"/.well-known/caldav", "/.well-known/carddav"} {
		want := map[string]string{"/.well-known/caldav": "/calendar/", "/.well-known/carddav": "/contacts/"}[path]
		if resp, _ := w.ask(nil, "PROPFIND", path, ""); resp.StatusCode != http.StatusMovedPermanently || resp.Header.Get("Location") != want {
			t.Errorf("PROPFIND %s = %d %s, want 301 to %s", path, resp.StatusCode, resp.Header.Get("Location"), want)
		}
	}
}

// TestForeignPagesAndFiles: a page elsewhere cannot use somebody's session, and
// nothing stored is run as a part of this site.
func TestForeignPagesAndFiles(t *testing.T) {
	w := ownFiles(t)
	p, _ := w.testdoc("/hello")
	w.ask(p, "PUT", "/dav/files/testdoc/evil.js", "alert(1)")
	for _, tt := range []struct {
		method string
		header []string
		want   int
	}{
		{"DELETE", []string{"Sec-Fetch-Site: cross-site"}, 403},
		{"PROPFIND", []string{"Sec-Fetch-Site: same-site"}, 403},
		{"PUT", []string{"Origin: https://evil.example.com"}, 403},
		{"GET", []string{"Sec-Fetch-Dest: script", "Sec-Fetch-Site: same-origin"}, 403},
		{"GET", []string{"Sec-Fetch-Dest: serviceworker"}, 403},
		{"GET", []string{"Sec-Fetch-Dest: iframe"}, 403},
		{"GET", []string{"Sec-Fetch-Dest: empty", "Sec-Fetch-Site: same-origin"}, 200},
		{"GET", []string{"Sec-Fetch-Dest: image"}, 200},
	} {
		if resp, body := w.ask(p, tt.method, "/dav/files/testdoc/evil.js", "", tt.header...); resp.StatusCode != tt.want {
			t.Errorf("%s with %v = %d %s, want %d", tt.method, tt.header, resp.StatusCode, body, tt.want)
		}
	}
}

// TestServiceAccountIsNotForEverybody: what the service account opens is closed
// to people until allow says otherwise, and the refusal names the key.
func TestServiceAccountIsNotForEverybody(t *testing.T) {
	service := []string{"NEXTCLOUD_WEBDAV_USERNAME=admin", "NEXTCLOUD_WEBDAV_PASSWORD=admin_dev_password"}
	w := found(t, demo.Options{}, service...)
	p, _ := w.testdoc("/hello")
	if resp, body := w.ask(p, "PROPFIND", "/dav/files/admin/", ""); resp.StatusCode != http.StatusForbidden || !strings.Contains(body, "integrations.webdav.allow") {
		t.Errorf("PROPFIND = %d %s, want 403 that names integrations.webdav.allow", resp.StatusCode, body)
	}
	w = found(t, demo.Options{}, append(service, "ANTEROOM_INTEGRATIONS_WEBDAV_ALLOW=signed-in", "ANTEROOM_INTEGRATIONS_WEBDAV_SCOPE=/files/admin", "ANTEROOM_INTEGRATIONS_WEBDAV_READ_ONLY=true")...)
	p, _ = w.testdoc("/hello")
	allowed := func(p *person.Person, method, path string, want int) {
		t.Helper()
		if resp, body := w.ask(p, method, path, ""); resp.StatusCode != want {
			t.Errorf("%s %s = %d %s, want %d", method, path, resp.StatusCode, body, want)
		}
	}
	allowed(p, "PROPFIND", "/dav/files/admin/", 207)
	allowed(p, "PROPFIND", "/dav/files/", 403)
	allowed(p, "PUT", "/dav/files/admin/x", 403)
	allowed(nil, "PROPFIND", "/dav/files/admin/", 401)
	if w.ask(p, "GET", "/calendar/x", ""); len(w.app.requests()) < 2 {
		t.Error("/calendar/x did not reach the application, though nothing is said about calendars")
	}
	w.stop()
	for _, line := range w.audited("access") {
		if line["status"] == 207.0 && (line["as"] != "admin" || line["sub"] != "testdoc") {
			t.Errorf("written down as %v, want testdoc as admin", line)
		}
	}
	w = found(t, demo.Options{}, append(service[:1:1], "NEXTCLOUD_WEBDAV_PASSWORD=wrong", "ANTEROOM_INTEGRATIONS_WEBDAV_ALLOW=signed-in")...)
	p, _ = w.testdoc("/hello")
	if resp, body := w.ask(p, "PROPFIND", "/dav/files/admin/", ""); resp.StatusCode != http.StatusBadGateway || !strings.Contains(body, "service_credential_refused") || resp.Header.Get("WWW-Authenticate") != "" {
		t.Errorf("with a wrong service password: %d %s, want 502 that says so, without a challenge", resp.StatusCode, body)
	}
	w.stop()
	if !strings.Contains(w.log.String(), "integrations.webdav.password") {
		t.Errorf("the log does not name the key to renew:\n%s", w.log)
	}
}

// TestUploadOfUnknownLength: what comes without its length is stored whole,
// small or large, by a server that would store it empty.
func TestUploadOfUnknownLength(t *testing.T) {
	w := ownFiles(t)
	p, _ := w.testdoc("/hello")
	for name, size := range map[string]int{"small.bin": 100_000, "large.bin": 25 << 20} {
		sent := bytes.Repeat([]byte("0123456789abcde\n"), size/16)
		r, err := http.NewRequest("PUT", w.site+"/dav/files/testdoc/"+name, struct{ io.Reader }{bytes.NewReader(sent)})
		if err != nil {
			t.Fatal(err)
		}
		resp, err := p.Client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusCreated || resp.Header.Get("ETag") == "" {
			t.Fatalf("PUT %s = %s, ETag %q, want 201 with one", name, resp.Status, resp.Header.Get("ETag"))
		}
		if resp, err = p.Client.Get(w.site + "/dav/files/testdoc/" + name); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || !bytes.Equal(got, sent) {
			t.Errorf("%s: %d bytes came back, %v, want the %d that were sent", name, len(got), err, len(sent))
		}
	}
}

// TestConditionsOfUnknownLength: content whose length nobody knew, by the API,
// goes by If-Match as any other does.
func TestConditionsOfUnknownLength(t *testing.T) {
	w := ownFiles(t)
	p, _ := w.testdoc("/hello")
	size := 25 << 20
	put := func(name, match string) *http.Response {
		t.Helper()
		size++ // what is as long as it was, in the same second, keeps its ETag
		r, err := http.NewRequest("PUT", w.site+"/integrations/files/content?path=/"+name, struct{ io.Reader }{bytes.NewReader(make([]byte, size))})
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Sec-Fetch-Site", "same-origin")
		if match != "" {
			r.Header.Set("If-Match", match)
		}
		resp, err := p.Client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp
	}
	etag := put("a.bin", "").Header.Get("ETag")
	for _, c := range []struct {
		name, match string
		want        int
	}{
		{"a.bin", `"bad"`, 412}, {"missing.bin", `"bad"`, 412}, {"missing/a.bin", `"bad"`, 412}, {"a.bin", `"bad", ` + etag, 204}, {"a.bin", etag, 412},
	} {
		if resp := put(c.name, c.match); resp.StatusCode != c.want {
			t.Errorf("PUT %s, If-Match: %s = %s, want %d", c.name, c.match, resp.Status, c.want)
		}
	}
}
