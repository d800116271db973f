package dav

import (
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"strings"
	"testing"

	"anteroom/integrations"
)

// scoped is somebody who may see one folder of the tests' files.
func scoped() *inward {
	_, files := testMounts()
	files.cfg.Scope = "/files/svc/Shared"
	return &inward{table: newTable([]*Mount{files}), entry: files, who: anybody, below: "/files/svc/Shared/", ours: func(host string) bool { return host == "voice.example.com" }}
}

// stays reports whether a path, as sent to the server and read in every way
// that is known, lies within the scope.
func stays(raw string) bool {
	const scope = "/remote.php/dav/files/svc/Shared"
	for p := integrations.Unescaped(raw); ; { // every server decodes once
		for _, read := range []string{p, path.Clean(p), path.Clean(strings.ReplaceAll(p, `\`, "/"))} {
			if read != scope && !strings.HasPrefix(read, scope+"/") {
				return false
			}
		}
		next := integrations.Unescaped(p)
		if next == p {
			return true
		}
		p = next
	}
}

func FuzzPath(f *testing.F) {
	for _, p := range []string{"/dav/files/svc/Shared/x", "/dav//files/svc/Shared/%2e%2e/x", "/dav/files/svc/Shared/%252e%252e/%25zz", "/d%61v/files/svc/Shared/..%2f", "/dav/files/svc/Shared/..", "/dav/%66iles/svc/Shared/a%20b", "/dav/~/principals"} {
		f.Add(p)
	}
	in := scoped()
	f.Fuzz(func(t *testing.T, escaped string) {
		to, err := in.path(escaped)
		if err == nil && !stays(to.raw) {
			t.Errorf("%q leads to %q", escaped, to.raw)
		}
	})
}

func FuzzHeaders(f *testing.F) {
	f.Add("http://voice.example.com/dav/files/svc/Shared/x", `</dav/files/svc/Shared/x> (<a:b> ["e"]) (Not <c>)`)
	f.Add("/dav/files/svc/Shared/../x", `(["a)"])`)
	f.Add("//evil/dav/files/svc/Shared/x", `<http://evil/dav/files/svc/Shared/x> ([])`)
	in := scoped()
	f.Fuzz(func(t *testing.T, destination, conditions string) {
		h := http.Header{"Destination": {destination}, "If": {conditions}}
		if _, err := in.mapHeaders(h); err != nil {
			return
		}
		check := func(value string) {
			u, err := url.Parse(value)
			if err != nil || u.Host != "cloud.example.com" || !stays(u.EscapedPath()) {
				t.Errorf("Destination %q, If %q led to %q, %v", destination, conditions, value, err)
			}
		}
		if d := h.Get("Destination"); d != "" {
			check(d)
		}
		for rest := h.Get("If"); ; {
			rest = strings.TrimLeft(rest, " \t")
			if rest == "" {
				return
			}
			end := listEnd(rest)
			if rest[0] == '<' {
				end = strings.IndexByte(rest, '>') + 1
				check(rest[1 : end-1])
			}
			if end <= 0 {
				t.Fatalf("If %q became %q", conditions, h.Get("If"))
			}
			rest = rest[end:]
		}
	})
}

// FuzzRequestBody: a body that is passed on is well-formed and names nothing
// outside of the scope, as another parser reads it.
func FuzzRequestBody(f *testing.F) {
	for _, s := range []string{
		`<d:x xmlns:d="DAV:"><d:href>/dav/files/svc/Shared/x</d:href></d:x>`,
		`<x xmlns="DAV:"><href>/dav/files/admin</href></x>`,
		`<d:x xmlns:d="DAV:"><d:href><![CDATA[/dav/files]]>/svc/Shared/<!-- -->x</d:href><d:href>mailto:x</d:href></d:x>`,
		`<d:x xmlns:d="DAV:" xmlns:cs="http://calendarserver.org/ns/"><cs:source><d:href>http://elsewhere/</d:href></cs:source></d:x>`,
		`<!DOCTYPE x><x/>`, `<x>&#x2f;</x>`, `<a:href xmlns:a="D&#65;V:">x.ics</a:href>`,
	} {
		f.Add(s)
	}
	in := scoped()
	f.Fuzz(func(t *testing.T, body string) {
		out, err := in.readXML(httptest.NewRequest("REPORT", "/dav/files/svc/Shared/", strings.NewReader(body)))
		if err != nil || out == nil {
			return
		}
		d := xml.NewDecoder(strings.NewReader(string(out)))
		s := &scan{everywhere: true}
		for {
			token, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%q was passed on as %q, which is broken: %v", body, out, err)
			}
			if err := s.take(token); err != nil {
				t.Fatalf("%q was passed on as %q: %v", body, out, err)
			}
		}
		for _, href := range withText(s.hrefs) {
			scheme, _, ok := strings.Cut(href, ":")
			if ok && !strings.ContainsAny(scheme, "/?#") && !strings.EqualFold(scheme, "http") && !strings.EqualFold(scheme, "https") {
				continue
			}
			if u, err := url.Parse(href); err != nil || !stays(u.EscapedPath()) {
				if direct, _, e := integrations.CleanPath(strings.SplitN(strings.SplitN(href, "#", 2)[0], "?", 2)[0]); e == nil && strings.HasPrefix(direct, "/files/svc/Shared") {
					continue // below the root of DAV, as in SEARCH
				}
				t.Errorf("%q names %q", body, href)
			}
		}
	})
}
