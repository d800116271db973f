//go:build real

package realtest

import (
	"encoding/xml"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// TestDAVDiscovery goes the way of RFC 6764 and 4791 §7.1 from the site's name
// alone: to the principal, to what is its own, and to what is in it. It has to
// lead there however the services are laid out, and to nowhere but Anteroom.
func TestDAVDiscovery(t *testing.T) {
	t.Parallel()
	sabre, radicale := startSabre(t), startRadicale(t)
	radicale.make(t, "MKCALENDAR", "/alice/ward/", `<c:mkcalendar xmlns:c="urn:ietf:params:xml:ns:caldav"/>`)
	for _, c := range []struct {
		name  string
		d     *davServer
		kinds []string
		more  []string
	}{
		{"all three", sabre, []string{"caldav", "carddav"}, nil},
		{"under other names", sabre, []string{"caldav", "carddav"}, []string{"webdav.mount: /cloud/files", "caldav.mount: /cloud/kalender", "carddav.mount: /k"}},
		{"files alone", sabre.only("webdav"), []string{"caldav", "carddav"}, nil},
		{"calendars alone", sabre.only("caldav"), []string{"caldav"}, nil},
		{"contacts alone", sabre.only("carddav"), []string{"carddav"}, nil},
		{"files within a scope", sabre, []string{"caldav", "carddav"}, []string{"webdav.scope: /files/alice"}},
		{"a server without a path", radicale, []string{"caldav"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := c.d.through(t, c.more...)
			for _, kind := range c.kinds {
				t.Run(kind, func(t *testing.T) { discover(t, s, kind) })
			}
			if c.d.calendar != "" && c.kinds[0] == "caldav" {
				// It loses its question on a 301, and is told where that leads.
				t.Run("python-caldav", func(t *testing.T) { guideCalendarAt(t, c.d, s.way, s.follow(t, "/.well-known/caldav")) })
			}
		})
	}
}

// only is the server with one of its services alone.
func (d *davServer) only(service string) *davServer {
	c := *d
	keep := func(name string, home *string) {
		if name != service {
			*home = ""
		}
	}
	keep("webdav", &c.homes.files)
	keep("caldav", &c.homes.calendars)
	keep("carddav", &c.homes.contacts)
	return &c
}

// discover walks from the well-known address to a collection and stores
// something there.
func discover(t *testing.T, s *davSite, kind string) {
	ns, collection := map[string]string{"caldav": "urn:ietf:params:xml:ns:caldav calendar-home-set", "carddav": "urn:ietf:params:xml:ns:carddav addressbook-home-set"}[kind], map[string]string{"caldav": "ward", "carddav": "staff"}[kind]
	space, home, _ := strings.Cut(ns, " ")
	at := s.follow(t, "/.well-known/"+kind)
	for _, step := range [][2]string{{"DAV:", "current-user-principal"}, {space, home}} {
		found := s.propfind(t, at, "0", `<d:propfind xmlns:d="DAV:"><d:prop><x:`+step[1]+` xmlns:x="`+step[0]+`"/></d:prop></d:propfind>`)
		hrefs := found.inside(step[0], step[1])
		if len(hrefs) != 1 {
			t.Fatalf("%s has %d hrefs in %s, want one:\n%s", at, len(hrefs), step[1], found.text)
		}
		at = hrefs[0]
	}
	found := s.propfind(t, at, "1", `<d:propfind xmlns:d="DAV:"><d:prop><d:resourcetype/></d:prop></d:propfind>`)
	for _, href := range found.hrefs() {
		if strings.HasSuffix(href, "/"+collection+"/") {
			if kind == "caldav" {
				s.store(t, href+"found.ics", "text/calendar", visit(1, "found"))
				s.remove(t, href+"found.ics")
			} else {
				s.store(t, href+"found.vcf", "text/vcard", colleague(1, "found"))
			}
			return
		}
	}
	t.Errorf("%s does not list %s: %q", at, collection, found.hrefs())
}

// follow asks for a well-known address as each kind of client does, and returns
// where all are led.
func (s *davSite) follow(t *testing.T, path string) string {
	t.Helper()
	to := ""
	for _, method := range []string{"GET", "PROPFIND", "HEAD", "OPTIONS"} {
		resp := s.dav(t, method, path, nil, "")
		if resp.StatusCode != http.StatusMovedPermanently || to != "" && resp.Header.Get("Location") != to {
			t.Errorf("%s %s = %d to %q, want 301 to %q", method, path, resp.StatusCode, resp.Header.Get("Location"), to)
		}
		to = resp.Header.Get("Location")
	}
	u, err := url.Parse(to)
	if err != nil || u.Host != "" && "http://"+u.Host != s.URL {
		t.Fatalf("%s leads to %q, want a place of ours", path, to)
	}
	return u.Path
}

// dav asks for something as the configured client; header is name, value, ….
func (s *davSite) dav(t *testing.T, method, path string, header []string, body string) *davAnswer {
	t.Helper()
	r, err := http.NewRequest(method, s.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.SetBasicAuth(s.way.user, s.way.secret)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 8<<20))
	if err != nil {
		t.Fatalf("%s %s: reading the answer: %v", method, path, err)
	}
	return &davAnswer{resp, string(text)}
}

// davAnswer is an answer and its body.
type davAnswer struct {
	*http.Response
	text string
}

func (s *davSite) propfind(t *testing.T, path, depth, body string) *davAnswer {
	t.Helper()
	a := s.dav(t, "PROPFIND", path, []string{"Depth", depth, "Content-Type", "application/xml"}, body)
	if a.StatusCode != http.StatusMultiStatus {
		t.Fatalf("PROPFIND %s = %d, want 207:\n%.600s", path, a.StatusCode, a.text)
	}
	return a
}

func (s *davSite) store(t *testing.T, path, kind, body string) {
	t.Helper()
	if a := s.dav(t, "PUT", path, []string{"Content-Type", kind}, body); a.StatusCode/100 != 2 {
		t.Errorf("PUT %s = %d, want it stored:\n%.600s", path, a.StatusCode, a.text)
	}
}

func (s *davSite) remove(t *testing.T, path string) {
	t.Helper()
	if a := s.dav(t, "DELETE", path, nil, ""); a.StatusCode/100 != 2 {
		t.Errorf("DELETE %s = %d, want it gone:\n%.600s", path, a.StatusCode, a.text)
	}
}

// inside is the text of each DAV:href within an element.
func (a *davAnswer) inside(space, local string) (found []string) {
	d := xml.NewDecoder(strings.NewReader(a.text))
	var open []xml.Name
	for {
		token, err := d.Token()
		if err != nil {
			return found
		}
		switch e := token.(type) {
		case xml.StartElement:
			open = append(open, e.Name)
		case xml.EndElement:
			open = open[:len(open)-1]
		case xml.CharData:
			if n := len(open); n >= 2 && open[n-1] == (xml.Name{Space: "DAV:", Local: "href"}) && open[n-2] == (xml.Name{Space: space, Local: local}) {
				found = append(found, string(e))
			}
		}
	}
}

// hrefs are the places that a multistatus is about.
func (a *davAnswer) hrefs() []string { return a.inside("DAV:", "response") }
