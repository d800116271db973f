package dav

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"anteroom/integrations"
	"anteroom/session"
)

// upstream is a stand-in for Nextcloud that writes down what it is asked.
type upstream struct {
	*httptest.Server
	mu     sync.Mutex
	asked  []asked // guarded by mu
	answer http.HandlerFunc
}

type asked struct {
	method, uri, body string
	h                 http.Header
	length            int64
	chunked           bool
}

func newUpstream(t *testing.T, answer http.HandlerFunc) *upstream {
	u := &upstream{answer: answer}
	u.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		u.mu.Lock()
		u.asked = append(u.asked, asked{r.Method, r.RequestURI, string(body), r.Header.Clone(), r.ContentLength, len(r.TransferEncoding) > 0})
		u.mu.Unlock()
		u.answer(w, r)
	}))
	t.Cleanup(u.Close)
	return u
}

// heard is what it was asked since the last call.
func (u *upstream) heard() []asked {
	u.mu.Lock()
	defer u.mu.Unlock()
	a := u.asked
	u.asked = nil
	return a
}

// front is the passthrough on a socket; whoever comes is testdoc.
type front struct {
	*httptest.Server
	mu   sync.Mutex
	call Call // guarded by mu: of the last request
	err  error
}

func newFront(t *testing.T, cfg integrations.Config, change func(*Options)) *front {
	f := &front{}
	var s *Service
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path, _, _ := strings.Cut(r.RequestURI, "?")
		c := &Call{Who: &session.Identity{Subject: "testdoc", Method: session.ByClient, Username: "indexer"}, Path: path, ForwardedFor: "192.0.2.7", RequestID: "request-1"}
		err := s.Serve(w, r, c)
		f.mu.Lock()
		f.call, f.err = *c, err
		f.mu.Unlock()
		var no *Refusal
		if errors.As(err, &no) {
			http.Error(w, no.Reason, no.Status)
		}
	}))
	t.Cleanup(f.Close)
	o := Options{Client: &http.Client{Transport: &http.Transport{}}, Public: f.URL, Log: slog.New(slog.DiscardHandler),
		Ours: func(host string) bool { return "http://"+host == f.URL || host == "voice.example.com" }}
	if change != nil {
		change(&o)
	}
	var err error
	if s, err = New(cfg, o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return f
}

// services are the three of a Nextcloud at base, of one service account.
func services(base string) integrations.Config {
	account := func(path, mount string) integrations.DAV {
		return integrations.DAV{URL: base + path, Username: "svc", Password: "canary-password", Mount: mount, Credential: "service"}
	}
	return integrations.Config{WebDAV: account("/remote.php/dav", "/dav"), CalDAV: account("/remote.php/dav/calendars", "/calendar"), CardDAV: account("/remote.php/dav/addressbooks", "/contacts")}
}

// ask sends one request; headers are "Name: value" lines.
func (f *front) ask(t *testing.T, method, uri, body string, headers ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(context.Background(), method, f.URL+"/", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body == "" {
		r.Body, r.ContentLength = http.NoBody, 0
	}
	r.URL.Opaque = uri
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header[name] = append(r.Header[name], value)
	}
	client := &http.Client{Transport: &http.Transport{DisableCompression: true}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	defer client.CloseIdleConnections()
	resp, err := client.Do(r)
	if err != nil {
		t.Fatalf("%s %s: %v", method, uri, err)
	}
	defer resp.Body.Close()
	out, _ := io.ReadAll(resp.Body)
	return resp, string(out)
}

func created(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusCreated) }

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
			headers := []string{"Cookie: nc_session_id=1; oc_sessionPassphrase=2", "XAuthorization: Basic eA==", "Authorization: Basic eA==", "X-Forwarded-For: 203.0.113.9", "X_Forwarded_For: 203.0.113.9",
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
			for _, name := range []string{"Cookie", "Xauthorization", "X_forwarded_for", "X-Nextcloud-Federation", "Authorization-App-Api", "X-Http-Method-Override"} {
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

// TestAttacks is the table of what must not reach the server, or not there.
func TestAttacks(t *testing.T) {
	u := newUpstream(t, created)
	cfg := services(u.URL)
	cfg.WebDAV.Scope = "/files/svc/Shared"
	cfg.CalDAV.Scope = "/{user}"
	cfg.CardDAV.ReadOnly = true
	f := newFront(t, cfg, nil)
	const xmlns = ` xmlns:d="DAV:"`
	inBody := func(href string) string { return `<d:x` + xmlns + `><d:href>` + href + `</d:href></d:x>` }
	tests := []struct {
		name, method, uri, body string
		headers                 []string
		want                    int
	}{
		{"somebody else's files", "GET", "/dav/files/admin/x", "", nil, 403},
		{"the folder above", "PROPFIND", "/dav/files/svc/", "", nil, 403},
		{"a name that begins alike", "GET", "/dav/files/svc/SharedX/y", "", nil, 403},
		{"the root", "PROPFIND", "/dav/", "", nil, 403},
		{"in another case", "GET", "/dav/files/svc/shared/x", "", nil, 403},
		{"dots", "GET", "/dav/files/svc/Shared/../../admin/x", "", nil, 400},
		{"dots to the server's root", "GET", "/dav/../../ocs/v2.php/cloud/users", "", nil, 400},
		{"encoded dots", "GET", "/dav/files/svc/Shared/%2e%2e/x", "", nil, 400},
		{"half encoded dots", "GET", "/dav/files/svc/Shared/.%2E/x", "", nil, 400},
		{"dots encoded twice", "GET", "/dav/files/svc/Shared/%252e%252e/x", "", nil, 400},
		{"dots encoded twice beside a bad escape", "GET", "/dav/files/svc/Shared/%252e%252e/%25zz", "", nil, 400},
		{"a dot", "GET", "/dav/./files/admin", "", nil, 400},
		{"dots at the end", "GET", "/dav/files/svc/Shared/..", "", nil, 400},
		{"encoded slash", "GET", "/dav/files/svc/Shared%2f..%2f..%2fadmin", "", nil, 400},
		{"encoded slash without dots", "GET", "/dav/files/svc/Shared%2Fx", "", nil, 400},
		{"slash encoded twice", "GET", "/dav/files/svc/Shared/%252f", "", nil, 400},
		{"backslash", "GET", `/dav/files/svc/Shared/..\..\admin`, "", nil, 400},
		{"encoded backslash", "GET", "/dav/files/svc/Shared/..%5c..%5cadmin", "", nil, 400},
		{"a null byte", "GET", "/dav/files/svc/Shared/x%00y", "", nil, 400},
		{"a line feed", "GET", "/dav/files/svc/Shared/x%0ay", "", nil, 400},
		{"broken UTF-8", "GET", "/dav/files/svc/Shared/%ff", "", nil, 400},
		{"double slashes into another's", "GET", "/dav//files//admin/x", "", nil, 403},
		{"another's calendar", "REPORT", "/calendar/other/personal/", "", nil, 403},

		{"destination of another's", "MOVE", "/dav/files/svc/Shared/a", "", []string{"Destination: /dav/files/admin/a"}, 403},
		{"destination of another's, as a URL", "COPY", "/dav/files/svc/Shared/a", "", []string{"Destination: {front}/dav/files/admin/a"}, 403},
		{"destination with dots", "COPY", "/dav/files/svc/Shared/a", "", []string{"Destination: /dav/files/svc/Shared/../../admin/a"}, 400},
		{"destination with encoded dots", "COPY", "/dav/files/svc/Shared/a", "", []string{"Destination: {front}/dav/files/svc/Shared/%2e%2e/a"}, 400},
		{"destination on another host", "COPY", "/dav/files/svc/Shared/a", "", []string{"Destination: http://evil.example.com/dav/files/svc/Shared/a"}, 502},
		{"destination on another host, in disguise", "COPY", "/dav/files/svc/Shared/a", "", []string{"Destination: http://voice.example.com@evil.example.com/dav/files/svc/Shared/a"}, 502},
		{"destination without a scheme", "COPY", "/dav/files/svc/Shared/a", "", []string{"Destination: //evil.example.com/dav/files/svc/Shared/a"}, 400},
		{"destination of the server's own path", "COPY", "/dav/files/svc/Shared/a", "", []string{"Destination: /remote.php/dav/files/svc/Shared/a"}, 403},
		{"two destinations", "COPY", "/dav/files/svc/Shared/a", "", []string{"Destination: /dav/files/svc/Shared/b", "Destination: /dav/files/admin/b"}, 400},
		{"destination that is only read", "COPY", "/dav/files/svc/Shared/a", "", []string{"Destination: /contacts/x"}, 403},
		{"destination in a condition", "PUT", "/dav/files/svc/Shared/a", "x", []string{`If: </dav/files/admin/a> (["e"])`}, 403},
		{"condition on another host", "PUT", "/dav/files/svc/Shared/a", "x", []string{`If: <http://evil.example.com/dav/files/svc/Shared/a> (["e"])`}, 502},
		{"condition that does not end", "PUT", "/dav/files/svc/Shared/a", "x", []string{`If: </dav/files/svc/Shared/a> (["e"`}, 400},
		{"all uploads", "PROPFIND", "/dav/uploads/svc/", "", nil, 403},
		{"another's upload", "PUT", "/dav/uploads/admin/1/1", "x", nil, 403},
		{"a part of an upload", "GET", "/dav/uploads/svc/1/1", "", nil, 403},
		{"a part of an upload moved out", "MOVE", "/dav/uploads/svc/1/1", "", []string{"Destination: /dav/files/admin/x"}, 403},
		{"a file moved to uploads", "MOVE", "/dav/files/svc/Shared/x", "", []string{"Destination: /dav/uploads/svc/1/1"}, 403},
		{"upload for another's", "MKCOL", "/dav/uploads/svc/1", "", []string{"Destination: /dav/files/admin/a"}, 403},

		{"href of another's", "REPORT", "/dav/files/svc/Shared/", inBody("/dav/files/admin/a"), nil, 403},
		{"href of the server's own path", "REPORT", "/dav/files/svc/Shared/", inBody("/remote.php/dav/files/admin/a"), nil, 403},
		{"href as a URL", "REPORT", "/dav/files/svc/Shared/", inBody("{front}/dav/files/admin/a"), nil, 403},
		{"href on another host", "REPORT", "/dav/files/svc/Shared/", inBody("http://evil.example.com/remote.php/dav/files/admin/a"), nil, 502},
		{"relative href that climbs", "REPORT", "/dav/files/svc/Shared/", inBody("../../admin/a"), nil, 400},
		{"href in CDATA", "REPORT", "/dav/files/svc/Shared/", inBody("<![CDATA[/dav/files/admin/a]]>"), nil, 403},
		{"href with references", "REPORT", "/dav/files/svc/Shared/", inBody("/dav/files/&#97;dmin/a"), nil, 403},
		{"href with a comment", "REPORT", "/dav/files/svc/Shared/", inBody("/dav/fi<!-- -->les/admin/a"), nil, 403},
		{"href with escapes", "REPORT", "/dav/files/svc/Shared/", inBody("/dav/files/%61dmin/a"), nil, 403},
		{"search elsewhere", "SEARCH", "/dav/files/svc/Shared/", inBody("/files/admin"), nil, 403},
		{"search everywhere", "SEARCH", "/dav/", inBody("/files/svc/Shared"), nil, 403},

		{"entities that multiply", "PROPFIND", "/dav/files/svc/Shared/", `<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]><d:propfind` + xmlns + `>&b;</d:propfind>`, nil, 400},
		{"external entity", "PROPFIND", "/dav/files/svc/Shared/", `<!DOCTYPE x SYSTEM "file:///etc/passwd"><d:propfind` + xmlns + `/>`, nil, 400},
		{"an entity nobody declared", "PROPFIND", "/dav/files/svc/Shared/", `<d:propfind` + xmlns + `>&x;</d:propfind>`, nil, 400},
		{"deep nesting", "PROPFIND", "/dav/files/svc/Shared/", `<d:propfind` + xmlns + `>` + strings.Repeat("<d:x>", 100) + strings.Repeat("</d:x>", 100) + `</d:propfind>`, nil, 400},
		{"not well-formed", "PROPFIND", "/dav/files/svc/Shared/", `<d:propfind` + xmlns + `>`, nil, 400},
		{"two roots", "PROPFIND", "/dav/files/svc/Shared/", `<d:propfind` + xmlns + `/><d:propfind` + xmlns + `/>`, nil, 400},
		{"broken UTF-8 in a body", "PROPFIND", "/dav/files/svc/Shared/", "<d:propfind" + xmlns + ">\xff</d:propfind>", nil, 400},
		{"UTF-16", "PROPFIND", "/dav/files/svc/Shared/", "\xff\xfe<\x00x\x00/\x00>\x00", nil, 415},
		{"another encoding", "PROPFIND", "/dav/files/svc/Shared/", `<?xml version="1.0" encoding="utf-7"?><d:propfind` + xmlns + `/>`, nil, 415},
		{"another encoding by header", "PROPFIND", "/dav/files/svc/Shared/", `<d:propfind` + xmlns + `/>`, []string{`Content-Type: text/xml; charset="utf-16"`}, 415},
		{"compressed", "PROPFIND", "/dav/files/svc/Shared/", "\x1f\x8b", []string{"Content-Encoding: gzip"}, 415},
		{"a processing instruction", "PROPFIND", "/dav/files/svc/Shared/", `<d:propfind` + xmlns + `><?php x ?></d:propfind>`, nil, 400},
		{"too large", "PROPFIND", "/dav/files/svc/Shared/", strings.Repeat(" ", maxXML+1), nil, 413},

		{"change what is only read", "PUT", "/contacts/users/svc/x.vcf", "x", nil, 403},
		{"delete what is only read", "DELETE", "/contacts/users/svc/x.vcf", "", nil, 403},
		{"properties of what is only read", "PROPPATCH", "/contacts/users/svc/", "", nil, 403},
		{"post to what is only read", "POST", "/contacts/users/svc/?sabreAction=mkcol", "x", nil, 403},
		{"a method nobody knows on what is only read", "FROB", "/contacts/users/svc/", "", nil, 403},
		{"move from what is only read", "MOVE", "/contacts/users/svc/x.vcf", "", []string{"Destination: /dav/files/svc/Shared/x"}, 403},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			fill := strings.NewReplacer("{front}", f.URL).Replace
			headers := make([]string, len(tt.headers))
			for i, h := range tt.headers {
				headers[i] = fill(h)
			}
			resp, body := f.ask(t, tt.method, tt.uri, fill(tt.body), headers...)
			if resp.StatusCode != tt.want {
				t.Errorf("%s %s = %d %s, want %d", tt.method, tt.uri, resp.StatusCode, strings.TrimSpace(body), tt.want)
			}
			if heard := u.heard(); len(heard) > 0 {
				t.Errorf("the server was asked %s %s", heard[0].method, heard[0].uri)
			}
		})
	}
	// The same, where it may be.
	for _, ok := range []struct{ method, uri, body, destination string }{
		{"GET", "/dav/files/svc/Shared/x", "", ""},
		{"PROPFIND", "/dav/files/svc/Shared", "", ""},
		{"MOVE", "/dav/files/svc/Shared/x", "", "/dav/files/svc/Shared/y"},
		{"REPORT", "/dav/files/svc/Shared/", inBody("/dav/files/svc/Shared/a..b"), ""},
		{"REPORT", "/calendar/testdoc/", inBody("mailto:x@example.com"), ""},
		{"COPY", "/contacts/x", "", "/dav/files/svc/Shared/x"},
		{"REPORT", "/contacts/x", inBody("/contacts/x"), ""},
		{"MKCOL", "/dav/uploads/svc/1", "", "/dav/files/svc/Shared/x"},
		{"PUT", "/dav/uploads/svc/1/00001", "x", ""},
		{"MOVE", "/dav/uploads/svc/1/.file", "", "/dav/files/svc/Shared/x"},
	} {
		var headers []string
		if ok.destination != "" {
			headers = append(headers, "Destination: "+ok.destination)
		}
		if resp, body := f.ask(t, ok.method, ok.uri, ok.body, headers...); resp.StatusCode != http.StatusCreated {
			t.Errorf("%s %s = %d %s, want it to pass", ok.method, ok.uri, resp.StatusCode, body)
		}
	}
}

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
		{"service account refused", "PROPFIND", say(401, "application/xml", "<d:error/>"), 502, reasonService, ""},
		{"maintenance", "PROPFIND", say(503, "application/xml", "<d:error/>"), 503, "", "Retry-After: 120"},
		{"maintenance that says how long", "PROPFIND", say(503, "application/xml", "<d:error/>", "Retry-After: 7"), 503, "", "Retry-After: 7"},
		{"throttled", "GET", say(429, "text/html", "slow"), 429, reasonThrottled, ""},
		{"untrusted domain", "PROPFIND", say(400, "text/html", "Access through untrusted domain"), 502, reasonUntrusted, ""},
		{"bad request", "PROPFIND", say(400, "application/xml", "<d:error/>"), 400, "", ""},
		{"no DAV server", "PROPFIND", say(200, "text/html; charset=UTF-8", "<html>"), 502, reasonNotDAV, ""},
		{"redirect elsewhere", "GET", say(302, "text/html", "", "Location: http://evil.example.com/remote.php/dav/"), 502, reasonRedirect, ""},
		{"redirect without a scheme", "GET", say(302, "text/html", "", "Location: //evil.example.com/remote.php/dav/"), 502, reasonRedirect, ""},
		{"redirect to the login page", "GET", say(303, "text/html", "", "Location: /index.php/login"), 502, reasonRedirect, ""},
		{"redirect within", "GET", say(301, "text/html", "", "Location: /remote.php/dav/files/"), 301, "", "Location: /dav/files/"},
		{"created", "MKCOL", say(201, "text/html", "", "Location: {up}/remote.php/dav/files/x/"), 201, "", "Location: {front}/dav/files/x/"},
		{"file that is XML", "GET", say(200, "application/xml", `<d:href xmlns:d="DAV:">/remote.php/dav/</d:href>`), 200, "", "Content-Length: 48"},
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
	if resp, body := f.ask(t, "GET", "/dav/x", ""); resp.StatusCode != http.StatusBadGateway || strings.TrimSpace(body) != reasonAway {
		t.Errorf("with the server away = %d %s, want 502 %s", resp.StatusCode, body, reasonAway)
	}
}

// TestPrincipalsAside: who may use calendars alone still finds theirs, by way
// of the server's principals, which are there to be read and nothing else.
func TestPrincipalsAside(t *testing.T) {
	u := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(http.StatusMultiStatus)
		io.WriteString(w, `<d:x xmlns:d="DAV:"><d:href>/remote.php/dav/principals/users/svc/</d:href><d:href>/remote.php/dav/calendars/svc/</d:href><d:href>/remote.php/dav/files/svc/</d:href></d:x>`)
	})
	for name, change := range map[string]func(*integrations.DAV){
		"not served":       func(d *integrations.DAV) { d.Mount = integrations.NoMount },
		"not for them":     func(d *integrations.DAV) { d.Allow.Users = []string{"somebody"} },
		"out of its scope": func(d *integrations.DAV) { d.Scope = "/files/svc/Shared" },
	} {
		cfg := services(u.URL)
		change(&cfg.WebDAV)
		cfg.CalDAV.Scope = "/svc"
		f := newFront(t, cfg, nil)
		resp, body := f.ask(t, "PROPFIND", "/calendar/svc/", "")
		want := `<d:x xmlns:d="DAV:"><d:href>/calendar/~/principals/users/svc/</d:href><d:href>/calendar/svc/</d:href><d:href>/remote.php/dav/files/svc/</d:href></d:x>`
		if resp.StatusCode != 207 || body != want {
			t.Errorf("files %s: %d\n got %s\nwant %s", name, resp.StatusCode, body, want)
		}
		u.heard()
		for _, tt := range []struct {
			method, uri, destination string
			want                     int
			heard                    string
		}{
			{"PROPFIND", "/calendar/~/principals/users/svc/", "", 207, "/remote.php/dav/principals/users/svc/"},
			{"PROPPATCH", "/calendar/~/principals/users/svc/", "", 403, ""},
			{"DELETE", "/calendar/~/principals", "", 403, ""},
			{"COPY", "/calendar/svc/x", "/calendar/~/principals/x", 403, ""},
			{"PROPFIND", "/calendar/~/principals/../files/", "", 400, ""},
			{"PROPFIND", "/calendar/~/principalsx", "", 403, ""},
			{"PROPFIND", "/calendar/~/files", "", 403, ""},
		} {
			var headers []string
			if tt.destination != "" {
				headers = append(headers, "Destination: "+tt.destination)
			}
			resp, body := f.ask(t, tt.method, tt.uri, "", headers...)
			heard := ""
			if h := u.heard(); len(h) > 0 {
				heard = h[0].uri
			}
			if resp.StatusCode != tt.want || heard != tt.heard {
				t.Errorf("files %s: %s %s = %d %s, the server was asked for %q; want %d and %q", name, tt.method, tt.uri, resp.StatusCode, body, heard, tt.want, tt.heard)
			}
		}
	}
}

// TestCompressedAnswers are mapped, and decoded on the way.
func TestCompressedAnswers(t *testing.T) {
	doc := multistatus(2000, "/remote.php/dav")
	u := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/xml; charset=utf-8")
		w.Header().Set("Content-Encoding", "gzip")
		w.WriteHeader(http.StatusMultiStatus)
		z := gzip.NewWriter(w)
		z.Write(doc)
		z.Close()
	})
	f := newFront(t, services(u.URL), nil)
	resp, body := f.ask(t, "PROPFIND", "/dav/files/svc/", "", "Accept-Encoding: gzip")
	want := bytes.ReplaceAll(doc, []byte(">/remote.php/dav/"), []byte(">/dav/"))
	if resp.StatusCode != http.StatusMultiStatus || body != string(want) || resp.Header.Get("Content-Encoding") != "" {
		t.Errorf("PROPFIND = %d, %d bytes %s; want 207 and %d bytes", resp.StatusCode, len(body), resp.Header.Get("Content-Encoding"), len(want))
	}
	if a := u.heard()[0].h.Get("Accept-Encoding"); a != "" && a != "identity" {
		t.Errorf("Accept-Encoding = %q, want none: what is mapped has to be read", a)
	}
}

// TestUsersOwn: each person's own credential goes up, and what the server says
// of it is theirs.
func TestUsersOwn(t *testing.T) {
	status := 401
	var body string
	u := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(status)
		io.WriteString(w, body)
	})
	cfg := services(u.URL)
	cfg.WebDAV.Username, cfg.WebDAV.Credential = "", "user"
	var refusedCredential session.Credential
	granted := &grants{of: map[string]session.Credential{"ada": {User: "ada@example.com", Secret: "canary-app-password"}}}
	s, err := New(cfg, Options{Client: &http.Client{Transport: &http.Transport{}}, Public: "http://voice", Ours: func(string) bool { return true }, Connections: granted,
		Refused: func(c session.Credential) { refusedCredential = c }, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ask := func(c Call) (int, string, string) {
		w := httptest.NewRecorder()
		c.Path = "/dav/x"
		err := s.Serve(w, httptest.NewRequest("PROPFIND", "/dav/x", nil), &c)
		header := ""
		if h := u.heard(); len(h) > 0 {
			header = h[0].h.Get("Authorization")
		}
		var no *Refusal
		if errors.As(err, &no) {
			return no.Status, no.Reason, header
		}
		return w.Code, "", header
	}
	ada := &session.Identity{Subject: "ada", Method: session.ByOIDC}
	bob := &session.Identity{Subject: "bob", Method: session.ByOIDC}
	own := session.Credential{User: "ada", Secret: "own"}
	tests := []struct {
		name       string
		call       Call
		status     int
		body       string
		want       int
		wantReason string
		wantHeader string
	}{
		{"what came with the request", Call{Who: ada, Own: own}, 207, "", 207, "", "Basic YWRhOm93bg=="},
		{"what came with the request, refused", Call{Who: ada, Own: own}, 401, "", 401, reasonOwn, "Basic YWRhOm93bg=="},
		{"the session's token", Call{Who: ada, Session: session.Credential{Secret: "token"}}, 207, "", 207, "", "Bearer token"},
		{"the session's token, refused", Call{Who: ada, Session: session.Credential{Secret: "token"}}, 401, "", 502, reasonToken, "Bearer token"},
		{"granted", Call{Who: ada}, 207, "", 207, "", "Basic YWRhQGV4YW1wbGUuY29tOmNhbmFyeS1hcHAtcGFzc3dvcmQ="},
		{"disabled", Call{Who: ada}, 500, `<s:exception>OC\User\LoginException</s:exception>`, 403, reasonDisabled, "Basic YWRhQGV4YW1wbGUuY29tOmNhbmFyeS1hcHAtcGFzc3dvcmQ="},
		{"another fault of the server's", Call{Who: ada}, 500, `<s:exception>Error</s:exception>`, 500, "", "Basic YWRhQGV4YW1wbGUuY29tOmNhbmFyeS1hcHAtcGFzc3dvcmQ="},
		{"granted, refused", Call{Who: ada}, 401, "", 403, reasonConnect, "Basic YWRhQGV4YW1wbGUuY29tOmNhbmFyeS1hcHAtcGFzc3dvcmQ="},
		{"never granted", Call{Who: bob}, 207, "", 403, reasonConnect, ""},
		{"a program has nothing of its own", Call{Who: &session.Identity{Subject: "client:x", Method: session.ByClient}}, 207, "", 403, reasonConnect, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			status, body = tt.status, tt.body
			got, reason, header := ask(tt.call)
			if got != tt.want || reason != tt.wantReason || header != tt.wantHeader {
				t.Errorf("= %d %s with %q, want %d %s with %q", got, reason, header, tt.want, tt.wantReason, tt.wantHeader)
			}
		})
	}
	if refusedCredential != own || fmt.Sprint(granted.forgotten) != "[ada]" {
		t.Errorf("told of %v and %v, want ada's", refusedCredential.User, granted.forgotten)
	}
	granted.err = errors.New("away")
	if got, reason, _ := ask(Call{Who: ada}); got != 503 || reason != reasonConnection {
		t.Errorf("with the connections away = %d %s, want 503: broken is not refused", got, reason)
	}
}

type grants struct {
	of        map[string]session.Credential
	forgotten []string
	err       error
}

func (g *grants) Of(_ context.Context, subject string) (session.Credential, bool, error) {
	c, ok := g.of[subject]
	return c, ok, g.err
}

func (g *grants) Forget(_ context.Context, subject string) {
	g.forgotten = append(g.forgotten, subject)
}
