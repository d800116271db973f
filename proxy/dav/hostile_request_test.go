package dav

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"anteroom/integrations"
	"anteroom/session"
	"anteroom/test/loopback"
)

// encodedOver is a name that is percent-encoded n times over.
func encodedOver(n int) string { return "%" + strings.Repeat("25", n) + "41" }

// TestEncodedOverAndOver: what a path costs to judge grows with its length, not
// with its square.
func TestEncodedOverAndOver(t *testing.T) {
	u := newUpstream(t, created)
	f := newFront(t, services(u.URL), nil)
	const n = 20_000 // of the four million that a body has room for
	for _, tt := range []struct{ name, method, uri, body, header string }{
		{"in a body", "REPORT", "/calendar/", `<d:x xmlns:d="DAV:"><d:href>/calendar/` + encodedOver(n) + `</d:href></d:x>`, ""},
		{"in a destination", "COPY", "/dav/x", "", "Destination: /dav/" + encodedOver(n)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var headers []string
			if tt.header != "" {
				headers = []string{tt.header}
			}
			start := time.Now()
			resp, _ := f.ask(t, tt.method, tt.uri, tt.body, headers...)
			if took := time.Since(start); took > time.Second {
				t.Errorf("%s of %d bytes took %v = %d, want it judged at once", tt.method, 2*n, took, resp.StatusCode)
			}
		})
	}
}

// TestEncodingDeclared: what a document says of its encoding is read as loosely
// as servers read it. libxml2, and so PHP, reads UTF-7, in which the dots of
// these hrefs are written with letters alone.
func TestEncodingDeclared(t *testing.T) {
	u := newUpstream(t, created)
	cfg := services(u.URL)
	cfg.CalDAV.Scope = "/svc/team"
	f := newFront(t, cfg, nil)
	doc := `<d:x xmlns:d="DAV:"><d:href>/calendar/svc/team/+AC4ALg-/private/</d:href></d:x>`
	for _, tt := range []struct{ name, body, contentType string }{
		{"a blank before =", `<?xml version="1.0" encoding ="UTF-7"?>` + doc, "text/xml"},
		{"blanks around =", `<?xml version="1.0" encoding = 'utf-7'?>` + doc, "text/xml"},
		{"a line feed", "<?xml version=\"1.0\" encoding\n=\n\"UTF-7\" ?>" + doc, "text/xml"},
		{"after a mark", "\ufeff<?xml version=\"1.0\" encoding\t=\"UTF-7\"?>" + doc, "text/xml"},
		{"charset beside another", doc, "text/xml; charset=utf-7; charset=utf-8"},
		{"charset in a parameter that is none", doc, "text/xml; xcharset=utf-7"},
		{"charset in what is no media type", doc, "text/xml; charset=utf-7; x"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			u.heard()
			resp, _ := f.ask(t, "REPORT", "/calendar/svc/team/", tt.body, "Content-Type: "+tt.contentType)
			if resp.StatusCode != http.StatusUnsupportedMediaType && resp.StatusCode != http.StatusBadRequest {
				t.Errorf("REPORT = %d, want 415", resp.StatusCode)
			}
			for _, a := range u.heard() {
				t.Errorf("the server was sent %s with Content-Type %q", a.body, a.h.Get("Content-Type"))
			}
		})
	}
}

// TestNamespaceOfOld: sabre/dav before 2.0 takes urn:DAV for DAV:.
func TestNamespaceOfOld(t *testing.T) {
	u := newUpstream(t, created)
	cfg := services(u.URL)
	cfg.CalDAV.Scope = "/svc/team"
	f := newFront(t, cfg, nil)
	resp, _ := f.ask(t, "REPORT", "/calendar/svc/team/", `<d:x xmlns:d="urn:DAV"><d:href>/remote.php/dav/calendars/svc/private/</d:href></d:x>`)
	if resp.StatusCode/100 != 4 {
		t.Errorf("an href of urn:DAV outside of the scope = %d, want it refused", resp.StatusCode)
	}
}

// TestConnectionHeader: what a client names in Connection is left out of what
// goes on, but not what was put there here.
func TestConnectionHeader(t *testing.T) {
	u := newUpstream(t, created)
	f := newFront(t, services(u.URL), nil)
	resp, _ := f.ask(t, "PROPFIND", "/calendar/~/principals/users/", "", "Depth: 1", "Connection: Depth")
	for _, a := range u.heard() {
		if got := a.h.Get("Depth"); got != "0" {
			t.Errorf("%d: PROPFIND of all principals went on with Depth %q, want 0", resp.StatusCode, got)
		}
	}
}

// TestSearchBelowTheRoot: Nextcloud reads the scope of a SEARCH from its own
// root, wherever that is asked for. A mount whose address lies deeper ends
// there all the same.
func TestSearchBelowTheRoot(t *testing.T) {
	u := newUpstream(t, created)
	cfg := services(u.URL)
	cfg.WebDAV.URL = u.URL + "/remote.php/dav/files/svc/Shared"
	f := newFront(t, cfg, nil)
	for _, href := range []string{"/files/svc/Private", "/dav/files/svc/Private"} {
		u.heard()
		resp, _ := f.ask(t, "SEARCH", "/dav/", `<d:searchrequest xmlns:d="DAV:"><d:basicsearch><d:from><d:scope><d:href>`+href+`</d:href></d:scope></d:from></d:basicsearch></d:searchrequest>`)
		for _, a := range u.heard() {
			if strings.Contains(a.body, "<d:href>/files/svc/Private<") {
				t.Errorf("SEARCH of %s = %d, and the server was asked for %s", href, resp.StatusCode, a.body)
			}
		}
	}
}

// TestTokenOpensNoConnection: an access token of an OpenID Connect provider
// opens what uses the service account alone, as docs/dav.md says.
func TestTokenOpensNoConnection(t *testing.T) {
	a := &integrations.Access{Granted: granting{}}
	got, err := a.For(t.Context(), "caldav", &integrations.DAV{Credential: "user"}, &integrations.Caller{Who: &session.Identity{Subject: "testdoc", Method: session.ByToken}})
	if err == nil {
		t.Errorf("For(a token that opens nothing at Nextcloud) = %s by %d, want none", got.Credential.User, got.By)
	}
}

// TestRequestLine: HTTP/2 has paths with blanks in them, which would end the
// path of an HTTP/1.1 request line.
func TestRequestLine(t *testing.T) {
	lines := make(chan string, 4)
	addr := loopback.Serve(t, nil, func(c net.Conn) {
		line, _ := bufio.NewReader(c).ReadString('\n')
		lines <- line
		fmt.Fprint(c, "HTTP/1.1 201 Created\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	})
	f := newFront(t, services("http://"+addr), nil)
	for _, uri := range []string{"/dav/files/svc/x HTTP/1.0", "/dav/files/svc/x?y HTTP/1.0"} {
		path, query, _ := strings.Cut(uri, "?")
		r := httptest.NewRequest("GET", "/dav/", nil)
		r.URL.RawQuery = query
		f.service.Serve(httptest.NewRecorder(), r, &Call{Caller: integrations.Caller{Who: &session.Identity{Subject: "indexer", Method: session.ByClient}}, Path: path})
		select {
		case line := <-lines:
			if strings.Count(line, " ") != 2 {
				t.Errorf("the server was asked %q, want one path in it", line)
			}
		default:
		}
	}
}
