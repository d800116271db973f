package dav

import (
	"net/http"
	"strings"
	"testing"

	"anteroom/integrations"
)

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
		{"an empty condition", "PUT", "/dav/files/svc/Shared/a", "x", []string{`If: ()`}, 400},
		{"a condition that is none", "PUT", "/dav/files/svc/Shared/a", "x", []string{`If: (x)`}, 400},
		{"nothing negated", "PUT", "/dav/files/svc/Shared/a", "x", []string{`If: (Not)`}, 400},
		{"an open bracket", "PUT", "/dav/files/svc/Shared/a", "x", []string{`If: ([)`}, 400},
		{"a tag hidden in a list", "PUT", "/dav/files/svc/Shared/a", "x", []string{`If: ( </remote.php/dav/files/admin/a> (["e"])`}, 400},
		{"a tag without a list", "PUT", "/dav/files/svc/Shared/a", "x", []string{`If: </dav/files/svc/Shared/a>`}, 400},
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
		{"href with an element before", "REPORT", "/dav/files/svc/Shared/", inBody("<d:x/>/dav/files/admin/a"), nil, 400},
		{"href with an element after", "REPORT", "/dav/files/svc/Shared/", inBody("/remote.php/dav/files/admin/a<d:x/>"), nil, 400},
		{"href within an element of an href", "REPORT", "/dav/files/svc/Shared/", inBody("/dav/files/<d:x>admin</d:x>/a"), nil, 400},
		{"href within an href", "REPORT", "/dav/files/svc/Shared/", inBody("<d:href>/dav/files/admin/a</d:href>"), nil, 403},
		{"href within a source", "REPORT", "/dav/files/svc/Shared/", `<d:x` + xmlns + ` xmlns:cs="http://calendarserver.org/ns/"><cs:source><d:href>/remote.php/dav/files/admin/a</d:href></cs:source></d:x>`, nil, 403},
		{"another scheme", "REPORT", "/dav/files/svc/Shared/", inBody("x://y/remote.php/dav/files/admin/a"), nil, 502},
		{"another scheme of ours", "REPORT", "/dav/files/svc/Shared/", inBody("webdav://voice.example.com/dav/files/admin/a"), nil, 502},
		{"a scheme and a relative path", "REPORT", "/dav/files/svc/Shared/", inBody("http:remote.php/dav/files/admin/a"), nil, 400},
		{"mail to a path", "REPORT", "/dav/files/svc/Shared/", inBody("mailto://y/remote.php/dav/files/admin/a"), nil, 502},
		{"mail to a path without host", "REPORT", "/dav/files/svc/Shared/", inBody("mailto:/remote.php/dav/files/admin/a"), nil, 400},
		{"mail to a URL", "REPORT", "/dav/files/svc/Shared/", inBody("mailto:x://y/remote.php/dav/files/admin/a"), nil, 400},
		{"a search for people", "REPORT", "/dav/files/svc/Shared/", `<d:principal-property-search` + xmlns + `/>`, nil, 403},
		{"an attribute twice", "REPORT", "/dav/files/svc/Shared/", `<d:x` + xmlns + ` xmlns:d="x"/>`, nil, 400},
		{"a tag without an end in sight", "REPORT", "/dav/files/svc/Shared/", `<d:x` + xmlns + ` a="` + strings.Repeat("b", maxTag) + `"/>`, nil, 400},
		{"an href without an end in sight", "REPORT", "/dav/files/svc/Shared/", inBody("/dav/files/svc/Shared/" + strings.Repeat("b", maxTag)), nil, 400},
		{"very many attributes", "REPORT", "/dav/files/svc/Shared/", `<d:x` + xmlns + strings.Repeat(` a="b"`, 100) + `/>`, nil, 400},
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
		{"compressed, said second", "PROPFIND", "/dav/files/svc/Shared/", `<d:propfind` + xmlns + `/>`, []string{"Content-Encoding: identity", "Content-Encoding: gzip"}, 415},
		{"two types", "POST", "/dav/files/svc/Shared/", `<!DOCTYPE x><x/>`, []string{"Content-Type: text/plain", "Content-Type: text/xml"}, 415},
		{"XML by another name", "POST", "/dav/files/svc/Shared/", `<!DOCTYPE x><x/>`, []string{"Content-Type: text/plain; a=application/xml"}, 400},
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

// TestOtherServices: without a scope, what the service account opens still ends
// where the mounts do that let the caller in.
func TestOtherServices(t *testing.T) {
	u := newUpstream(t, created)
	cfg := services(u.URL)
	cfg.WebDAV.Mount, cfg.CardDAV.Allow.Users = integrations.NoMount, []string{"somebody"}
	f := newFront(t, cfg, nil)
	ask := func(method, href string) int {
		t.Helper()
		resp, _ := f.ask(t, method, "/calendar/svc/personal/", `<d:x xmlns:d="DAV:"><d:href>`+href+`</d:href></d:x>`)
		return resp.StatusCode
	}
	for _, href := range []string{
		"/remote.php/dav/addressbooks/svc/staff/x.vcf", "/contacts/svc/staff/x.vcf", "/remote.php/dav/files/svc/x", "http://elsewhere/remote.php/dav/files/svc/x",
		"x://y/remote.php/dav/files/svc/x", "/remote.php/dav/calendarsx/y", "/somewhere",
	} {
		if got := ask("REPORT", href); got != http.StatusForbidden {
			t.Errorf("REPORT that names %s = %d, want 403", href, got)
		}
	}
	for _, href := range []string{"/calendar/svc/personal/x.ics", "x.ics", "/remote.php/dav/calendars/svc/personal/x.ics", "mailto:x@example.com"} {
		if got := ask("REPORT", href); got != http.StatusCreated {
			t.Errorf("REPORT that names %s = %d, want it to pass", href, got)
		}
	}
	if got := ask("PROPPATCH", "http://elsewhere.example.com/"); got != http.StatusCreated {
		t.Errorf("PROPPATCH with a foreign URL as a value = %d, want it to pass", got)
	}
}
