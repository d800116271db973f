//go:build real

package realtest

import (
	"encoding/xml"
	"net/http"
	"strings"
	"testing"
)

// escapingHrefs name, by some reading, /alice/private/secret.ics to a request
// at /calendar/alice/ward/.
var escapingHrefs = []string{
	"/calendar/alice/private/secret.ics", "/remote.php/dav/calendars/alice/private/secret.ics", "/dav/calendars/alice/private/secret.ics",
	"../private/secret.ics", "./../private/secret.ics", "%2e%2e/private/secret.ics", "..%2fprivate/secret.ics", "/calendar/alice/ward/../private/secret.ics",
	"/calendar/alice/ward/%2e%2e/private/secret.ics", "/calendar/alice/ward/%252e%252e/private/secret.ics", "/calendar//alice/private/secret.ics", "//remote.php/dav/calendars/alice/private/secret.ics",
	"http://evil.example/remote.php/dav/calendars/alice/private/secret.ics", "https://evil.example/calendar/alice/private/secret.ics", "//evil.example/remote.php/dav/calendars/alice/private/secret.ics",
	"SITE/calendar/alice/private/secret.ics", "SITE/remote.php/dav/calendars/alice/private/secret.ics", "SERVER/remote.php/dav/calendars/alice/private/secret.ics",
	"&#47;calendar/alice/private/secret.ics", "&#x2F;calendar&#x2f;alice/private/secret.ics", "/calendar/alice/ward/&#46;&#46;/private/secret.ics",
	"<![CDATA[/calendar/alice/private/secret.ics]]>", "/calendar/alice/<![CDATA[private]]>/secret.ics", "/calendar/alice/<!-- x -->private/secret.ics", "/calendar/alice/<?x y?>private/secret.ics",
	"\n  /calendar/alice/private/secret.ics  \n", "\t/remote.php/dav/calendars/alice/private/secret.ics", "/calendar/%61lice/private/secret.ics", "/remote.php/dav/%63alendars/alice/private/secret.ics",
	"/calendar/alice/private/secret.ics?x", "/calendar/alice/private/secret.ics#x", "http:/remote.php/dav/calendars/alice/private/secret.ics", "http:remote.php/dav/calendars/alice/private/secret.ics",
	"<x/>/remote.php/dav/calendars/alice/private/secret.ics", "/remote.php/dav/calendars/alice/private/secret.ics<x/>", "/remote.php/dav/calendars/alice/<x>private</x>/secret.ics", "<d:x>/remote.php/dav/calendars/alice/private/secret.ics</d:x>",
	"x://y/remote.php/dav/calendars/alice/private/secret.ics", "webdav://remote.php/dav/calendars/alice/private/secret.ics", "mailto://y/remote.php/dav/calendars/alice/private/secret.ics", "mailto:x://y/remote.php/dav/calendars/alice/private/secret.ics", "x:y@z://h/remote.php/dav/calendars/alice/private/secret.ics",
	"urn:x?://y/remote.php/dav/calendars/alice/private/secret.ics", ":://y/remote.php/dav/calendars/alice/private/secret.ics", "principal:x://y/remote.php/dav/calendars/alice/private/secret.ics", "&#xA0;/calendar/alice/private/secret.ics", "\ufeff/remote.php/dav/calendars/alice/private/secret.ics",
	"x:/remote.php/dav/calendars/alice/private/secret.ics", "remote.php/dav/calendars/alice/private/secret.ics", `\remote.php\dav\calendars\alice\private\secret.ics`,
}

// bodies sends reports that name things outside of the scope. They are refused,
// or at least nothing comes of them.
func (s *davSite) bodies(t *testing.T, seen *davRecorder, d *davServer) {
	const caldav = `xmlns:c="urn:ietf:params:xml:ns:caldav"`
	hrefs := []string{}
	for _, h := range escapingHrefs {
		hrefs = append(hrefs, strings.NewReplacer("SITE", s.URL, "SERVER", d.origin).Replace(h))
	}
	multiget := func(element, ns string) func(string) string {
		return func(href string) string {
			return `<?xml version="1.0"?><c:calendar-multiget ` + caldav + ` xmlns:d="DAV:"><d:prop><d:getetag/><d:displayname/><c:calendar-data/></d:prop>` +
				`<d:href>/calendar/alice/ward/open.ics</d:href><` + element + " " + ns + `>` + href + `</` + element + `></c:calendar-multiget>`
		}
	}
	ward := "/calendar/alice/ward/"
	for _, write := range []func(string) string{multiget("d:href", ""), multiget("href", `xmlns="DAV:"`), multiget("x:href", `xmlns:x="DAV:"`), multiget("href", `xmlns="&#68;AV:"`)} {
		for _, h := range hrefs {
			s.tries(t, seen, "REPORT", ward, write(h))
			s.tries(t, seen, "REPORT", ward+"open.ics", write(h))
		}
	}
	for name, body := range map[string]string{
		"everybody":              `<d:principal-property-search xmlns:d="DAV:"><d:apply-to-principal-collection-set/><d:property-search><d:prop><d:displayname/></d:prop><d:match>b</d:match></d:property-search><d:prop><d:displayname/><d:principal-URL/></d:prop></d:principal-property-search>`,
		"properties of owners":   `<d:expand-property xmlns:d="DAV:"><d:property name="owner"><d:property name="calendar-home-set" namespace="urn:ietf:params:xml:ns:caldav"><d:property name="displayname"/></d:property><d:property name="displayname"/></d:property></d:expand-property>`,
		"properties of the home": `<d:expand-property xmlns:d="DAV:"><d:property name="current-user-principal"><d:property name="calendar-home-set" namespace="urn:ietf:params:xml:ns:caldav"><d:property name="resourcetype"/></d:property></d:property></d:expand-property>`,
		"a query of all":         `<c:calendar-query ` + caldav + ` xmlns:d="DAV:"><d:prop><c:calendar-data/></d:prop><c:filter><c:comp-filter name="VCALENDAR"/></c:filter></c:calendar-query>`,
		"two documents":          `<c:calendar-multiget ` + caldav + ` xmlns:d="DAV:"><d:href>/calendar/alice/ward/open.ics</d:href></c:calendar-multiget><c:calendar-multiget ` + caldav + ` xmlns:d="DAV:"><d:prop><c:calendar-data/></d:prop><d:href>/remote.php/dav/calendars/alice/private/secret.ics</d:href></c:calendar-multiget>`,
		"by xml:base":            `<c:calendar-multiget ` + caldav + ` xmlns:d="DAV:" xml:base="/remote.php/dav/calendars/alice/private/"><d:prop><c:calendar-data/></d:prop><d:href>secret.ics</d:href></c:calendar-multiget>`,
	} {
		t.Run(name, func(t *testing.T) {
			for _, depth := range []string{"0", "1", "infinity"} {
				s.tries(t, seen, "REPORT", ward, body, "Depth: "+depth)
			}
		})
	}
	for _, h := range hrefs { // as the files' SEARCH, ACL and BIND name them
		for method, body := range map[string]string{
			"SEARCH": `<d:searchrequest xmlns:d="DAV:"><d:basicsearch><d:select><d:prop><d:displayname/></d:prop></d:select><d:from><d:scope><d:href>` + h + `</d:href><d:depth>infinity</d:depth></d:scope></d:from></d:basicsearch></d:searchrequest>`,
			"BIND":   `<d:bind xmlns:d="DAV:"><d:segment>stolen</d:segment><d:href>` + h + `</d:href></d:bind>`,
		} {
			s.tries(t, seen, method, "/dav/files/alice/Shared/", body)
		}
	}
}

// TestDAVOtherServices: who may use calendars alone reaches no address book by
// them, though the account could.
func TestDAVOtherServices(t *testing.T) {
	d := startSabre(t)
	d.put(t, "/remote.php/dav/addressbooks/alice/staff/secret.vcf", "text/vcard", colleague(1, davPrivate))
	d.put(t, "/remote.php/dav/files/alice/secret.txt", "text/plain", davPrivate)
	s := d.only("caldav").through(t)
	for name, body := range map[string]string{
		"contacts": `<c:addressbook-multiget xmlns:c="urn:ietf:params:xml:ns:carddav" xmlns:d="DAV:"><d:prop><c:address-data/></d:prop><d:href>/remote.php/dav/addressbooks/alice/staff/secret.vcf</d:href></c:addressbook-multiget>`,
		"files":    `<c:calendar-multiget xmlns:c="urn:ietf:params:xml:ns:caldav" xmlns:d="DAV:"><d:prop><d:getcontentlength/></d:prop><d:href>/remote.php/dav/files/alice/secret.txt</d:href></c:calendar-multiget>`,
	} {
		a := s.dav(t, "REPORT", "/calendar/alice/ward/", []string{"Content-Type", "application/xml"}, body)
		if strings.Contains(a.text, davPrivate) || strings.Contains(a.text, "getcontentlength>2") {
			t.Errorf("calendars show %s:\n%.1200s", name, a.text)
		}
	}
}

// tries sends a body and sees that nothing outside of the scope is shown or
// named to the server.
func (s *davSite) tries(t *testing.T, seen *davRecorder, method, target, body string, lines ...string) {
	t.Helper()
	got := s.raw(t, method, target, append(lines, "Content-Type: application/xml"), body)
	if got.status == 0 || got.status/100 == 5 && got.status != http.StatusNotImplemented && got.status != http.StatusBadGateway {
		t.Errorf("%s %s = %d %.300q for\n%s", method, target, got.status, got.body, body)
	}
	for _, r := range seen.heard() {
		for _, href := range namedBy(r.body) {
			if !within(href) {
				t.Errorf("%s %s: the server was sent the href %q, want the request refused:\n%s", method, target, href, body)
			}
		}
	}
	for _, href := range []string{"/private/", "/bob/", "bob@", davPrivate} {
		if got.status/100 == 2 && strings.Contains(got.body, href) {
			t.Errorf("%s %s has %s in its answer, for:\n%s", method, target, href, body)
		}
	}
}

// within reports whether a server that takes an href for a path, after a scheme
// and host or without, finds it within the scopes.
func within(href string) bool {
	href = strings.TrimSpace(href)
	for _, scope := range []string{"/remote.php/dav/calendars/alice/ward", "/remote.php/dav/files/alice/Shared", "/files/alice/Shared"} {
		if rest, ok := strings.CutPrefix(href, scope); ok && (rest == "" || rest[0] == '/') {
			return !strings.Contains(rest, "..")
		}
	}
	return !strings.Contains(href, "/")
}

// namedBy is the text of each href of a document, whatever else is in it, as
// servers that read the text of an element alone find it.
func namedBy(body string) (hrefs []string) {
	d := xml.NewDecoder(strings.NewReader(body))
	depth, text := 0, ""
	for {
		token, err := d.Token()
		if err != nil {
			return hrefs
		}
		switch e := token.(type) {
		case xml.StartElement:
			if depth > 0 || e.Name == (xml.Name{Space: "DAV:", Local: "href"}) {
				depth++
			}
		case xml.EndElement:
			if depth == 1 {
				hrefs, text = append(hrefs, text), ""
			}
			depth = max(0, depth-1)
		case xml.CharData:
			if depth > 0 {
				text += string(e)
			}
		}
	}
}
