package dav

import (
	"net/http"
	"strings"
	"testing"
)

// TestWhatTheServerIsAsked: paths and headers as the server wants them, with
// our credential and none of the client's.
func TestWhatTheServerIsAsked(t *testing.T) {
	u := newUpstream(t, created)
	f := newFront(t, services(u.URL), nil)
	tests := []struct {
		name, method, uri string
		headers           []string
		body              string
		wantURI           string
		wantHeader        map[string]string
		wantBody          string
	}{
		{"a file", "PUT", "/dav/files/svc/a%20b%c3%BC(1).txt?x=1", nil, "text", "/remote.php/dav/files/svc/a%20b%c3%BC(1).txt?x=1", nil, "text"},
		{"the mount", "PROPFIND", "/dav", nil, "", "/remote.php/dav", nil, ""},
		{"the mount as a folder", "PROPFIND", "/dav/", nil, "", "/remote.php/dav/", nil, ""},
		{"double slashes are one", "DELETE", "/dav//files///x", nil, "", "/remote.php/dav/files/x", nil, ""},
		{"encoded letters of the mount", "DELETE", "/d%61v/x%2Bq", nil, "", "/remote.php/dav/x%2Bq", nil, ""},
		{"calendar", "PUT", "/calendar/svc/personal/1.ics", nil, "BEGIN", "/remote.php/dav/calendars/svc/personal/1.ics", nil, "BEGIN"},
		{"destination", "MOVE", "/dav/files/svc/a", []string{"Destination: {front}/dav/files/svc/b%20c"}, "", "/remote.php/dav/files/svc/a", map[string]string{"Destination": "{up}/remote.php/dav/files/svc/b%20c"}, ""},
		{"destination as a path with a space", "COPY", "/dav/files/svc/a", []string{"Destination: /dav/files/svc/b c"}, "", "/remote.php/dav/files/svc/a", map[string]string{"Destination": "{up}/remote.php/dav/files/svc/b%20c"}, ""},
		{"destination, https for http", "COPY", "/dav/files/svc/a", []string{"Destination: https://voice.example.com/dav/b"}, "", "/remote.php/dav/files/svc/a", map[string]string{"Destination": "{up}/remote.php/dav/b"}, ""},
		{"destination on another mount of the account", "MOVE", "/dav/calendars/svc/a/1.ics", []string{"Destination: /calendar/svc/b/1.ics"}, "", "/remote.php/dav/calendars/svc/a/1.ics", map[string]string{"Destination": "{up}/remote.php/dav/calendars/svc/b/1.ics"}, ""},
		{"chunked upload", "MKCOL", "/dav/uploads/svc/1", []string{"Destination: /dav/files/svc/big"}, "", "/remote.php/dav/uploads/svc/1", map[string]string{"Destination": "{up}/remote.php/dav/files/svc/big"}, ""},
		{"conditions without tags", "PUT", "/dav/x", []string{`If: (<opaquelocktoken:1> ["a)>b"]) (Not <DAV:no-lock>)`}, "x", "/remote.php/dav/x", map[string]string{"If": `(<opaquelocktoken:1> ["a)>b"]) (Not <DAV:no-lock>)`}, "x"},
		{"conditions with tags", "PUT", "/dav/x", []string{`If: <{front}/dav/x> (<opaquelocktoken:1>) </dav/y> (["e"])`}, "x", "/remote.php/dav/x", map[string]string{"If": `<{up}/remote.php/dav/x> (<opaquelocktoken:1>) <{up}/remote.php/dav/y> (["e"])`}, "x"},
		{"multiget", "REPORT", "/calendar/svc/personal/", nil, `<c:calendar-multiget xmlns:d="DAV:" xmlns:c="urn:ietf:params:xml:ns:caldav"><d:href>/calendar/svc/personal/a%20b.ics</d:href><d:href> b&amp;c.ics </d:href><d:href>{front}/calendar/svc/x.ics</d:href></c:calendar-multiget>`,
			"/remote.php/dav/calendars/svc/personal/", nil, `<c:calendar-multiget xmlns:d="DAV:" xmlns:c="urn:ietf:params:xml:ns:caldav"><d:href>/remote.php/dav/calendars/svc/personal/a%20b.ics</d:href><d:href>/remote.php/dav/calendars/svc/personal/b&amp;c.ics</d:href><d:href>/remote.php/dav/calendars/svc/x.ics</d:href></c:calendar-multiget>`},
		{"search", "SEARCH", "/dav/", nil, `<d:s xmlns:d="DAV:"><d:scope><d:href>/dav/files/svc</d:href></d:scope><d:scope><d:href>/files/svc</d:href></d:scope></d:s>`, "/remote.php/dav/", nil, `<d:s xmlns:d="DAV:"><d:scope><d:href>/files/svc</d:href></d:scope><d:scope><d:href>/files/svc</d:href></d:scope></d:s>`},
		{"what is no path here stays", "PROPPATCH", "/dav/x", nil, `<d:x xmlns:d="DAV:" xmlns:cs="http://calendarserver.org/ns/"><d:href>mailto:a@b</d:href><d:href>principal:principals/users/x</d:href><cs:source><d:href>/dav/x</d:href></cs:source><d:href>/remote.php/dav/x</d:href></d:x>`, "/remote.php/dav/x", nil, `<d:x xmlns:d="DAV:" xmlns:cs="http://calendarserver.org/ns/"><d:href>mailto:a@b</d:href><d:href>principal:principals/users/x</d:href><cs:source><d:href>/dav/x</d:href></cs:source><d:href>/remote.php/dav/x</d:href></d:x>`},
		{"the owner of a lock", "LOCK", "/dav/x", nil, `<d:lockinfo xmlns:d="DAV:"><d:owner><d:href>http://me.example.com/dav/</d:href></d:owner></d:lockinfo>`, "/remote.php/dav/x", nil, `<d:lockinfo xmlns:d="DAV:"><d:owner><d:href>http://me.example.com/dav/</d:href></d:owner></d:lockinfo>`},
		{"content is nobody's path", "PUT", "/dav/x.xml", []string{"Content-Type: text/xml"}, `<d:href xmlns:d="DAV:">/dav/x`, "/remote.php/dav/x.xml", nil, `<d:href xmlns:d="DAV:">/dav/x`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			fill := strings.NewReplacer("{front}", f.URL, "{up}", u.URL).Replace
			headers := []string{"Cookie: nc_session_id=1; oc_sessionPassphrase=2", "XAuthorization: Basic eA==", "Authorization: Basic eA==", "X-Forwarded-For: 203.0.113.9", "X_Forwarded_For: 203.0.113.9", "X.Real.Ip: 203.0.113.9",
				"X-Nextcloud-Federation: 1", "AUTHORIZATION-APP-API: eA==", "X-HTTP-Method-Override: DELETE", "OC-Checksum: SHA1:x"}
			for _, h := range tt.headers {
				headers = append(headers, fill(h))
			}
			resp, body := f.ask(t, tt.method, tt.uri, fill(tt.body), headers...)
			heard := u.heard()
			if len(heard) != 1 {
				t.Fatalf("%d %s: the server was asked %d times, want once", resp.StatusCode, body, len(heard))
			}
			got := heard[0]
			if got.uri != tt.wantURI || got.method != tt.method || got.body != tt.wantBody {
				t.Errorf("asked %s %s %q\nwant  %s %s %q", got.method, got.uri, got.body, tt.method, tt.wantURI, tt.wantBody)
			}
			for name, want := range tt.wantHeader {
				if v := got.h.Get(name); v != fill(want) {
					t.Errorf("%s = %s, want %s", name, v, fill(want))
				}
			}
			for _, name := range []string{"Cookie", "Xauthorization", "X_forwarded_for", "X.real.ip", "X-Nextcloud-Federation", "Authorization-App-Api", "X-Http-Method-Override"} {
				if got.h.Get(name) != "" {
					t.Errorf("the server was told %s: %s", name, got.h.Get(name))
				}
			}
			user, password, _ := (&http.Request{Header: got.h}).BasicAuth()
			if user != "svc" || password != "canary-password" || got.h.Get("X-Forwarded-For") != "192.0.2.7" || got.h.Get("Oc-Checksum") != "SHA1:x" {
				t.Errorf("the server was told %v", got.h)
			}
			if got.chunked {
				t.Error("the server was sent a body of unknown length")
			}
		})
	}
}
