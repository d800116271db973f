//go:build real

package realtest

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// davPrivate is in everything that lies outside of the scopes, and must come
// out in no answer.
const davPrivate = "canary-outside-of-the-scope"

// scoped is Anteroom with a part of each service alone, in front of sabre/dav
// with things outside of it: the account could reach them, Anteroom may not.
func scoped(t *testing.T) (*davSite, *davServer, *davRecorder) {
	t.Helper()
	d, seen := startSabre(t).recorded(t)
	files, calendars, contacts := d.roots.files+"/files/alice", d.roots.calendars+"/alice", d.roots.contacts+"/alice"
	d.make(t, "MKCOL", files+"/Shared/", "")
	d.make(t, "MKCOL", files+"/private/", "")
	d.put(t, files+"/Shared/doc.txt", "text/plain", "shared")
	d.put(t, files+"/private/secret.txt", "text/plain", davPrivate)
	d.put(t, files+"/secret.txt", "text/plain", davPrivate)
	d.make(t, "MKCALENDAR", calendars+"/private/", `<c:mkcalendar xmlns:c="urn:ietf:params:xml:ns:caldav" xmlns:d="DAV:"><d:set><d:prop><d:displayname>`+davPrivate+`</d:displayname></d:prop></d:set></c:mkcalendar>`)
	d.put(t, calendars+"/private/secret.ics", "text/calendar", visit(1, davPrivate))
	d.put(t, calendars+"/ward/open.ics", "text/calendar", visit(2, "Visite"))
	d.make(t, "MKCOL", contacts+"/private/", `<d:mkcol xmlns:d="DAV:" xmlns:c="urn:ietf:params:xml:ns:carddav"><d:set><d:prop><d:resourcetype><d:collection/><c:addressbook/></d:resourcetype><d:displayname>`+davPrivate+`</d:displayname></d:prop></d:set></d:mkcol>`)
	d.put(t, contacts+"/private/secret.vcf", "text/vcard", colleague(1, davPrivate))
	s := d.through(t, "webdav.scope: /files/alice/Shared", "caldav.scope: /alice/ward", "carddav.scope: /alice/staff")
	seen.heard()
	return s, d, seen
}

// outside are paths that lead, by some reading, out of /files/alice/Shared.
var outside = []string{
	"/dav/files/alice/secret.txt", "/dav/files/bob/secret.txt", "/dav/files/alice/", "/dav/files/alice", "/dav/files/", "/dav/", "/dav",
	"/dav/files/alice/Sharedsecret.txt", "/dav/files/alice/shared/x", "/dav/calendars/alice/private/secret.ics", "/dav/principals/alice/", "/dav/addressbooks/alice/private/secret.vcf",
	"/dav/files/alice/Shared/../secret.txt", "/dav/files/alice/Shared/./../secret.txt", "/dav/files/alice/Shared/x/../../secret.txt",
	"/dav/files/alice/Shared/%2e%2e/secret.txt", "/dav/files/alice/Shared/.%2e/secret.txt", "/dav/files/alice/Shared/%2E%2E/secret.txt",
	"/dav/files/alice/Shared/%252e%252e/secret.txt", "/dav/files/alice/Shared/%25252e%25252e/secret.txt",
	"/dav/files/alice/Shared/..%2fsecret.txt", "/dav/files/alice/Shared%2f..%2fsecret.txt", "/dav/files/alice/Shared%2F%2E%2E%2Fsecret.txt",
	"/dav/files/alice/Shared/..%252fsecret.txt", "/dav/files/alice/Shared/%2e%2e%2fsecret.txt", "/dav/files/alice%2fsecret.txt",
	`/dav/files/alice/Shared/..\secret.txt`, "/dav/files/alice/Shared/..%5csecret.txt", "/dav/files/alice/Shared%5c..%5csecret.txt",
	"//dav/files/alice/secret.txt", "/dav//files/alice/secret.txt", "/dav/files//alice/secret.txt", "/dav/files/alice//secret.txt", "/dav/files/alice///secret.txt",
	"/dav/files/alice/Shared//../secret.txt", "/dav/files/alice/Shared/..//secret.txt", "/dav/./files/alice/secret.txt",
	"/dav/files/alice/Shared/%00/../secret.txt", "/dav/files/alice/Shared/..%00/secret.txt", "/dav/files/alice/secret.txt%00/Shared",
	"/dav/files/alice/Shared/%c0%ae%c0%ae/secret.txt", "/dav/files/alice/Shared/%c0%ae%c0%ae%c0%afsecret.txt", "/dav/files/alice/Shared/%e0%80%ae%e0%80%ae/secret.txt",
	"/dav/files/alice/Shared/%0d%0aX-Y:z", "/dav/files/alice/Shared/..%ef%bc%8fsecret.txt/../../secret.txt",
	"/dav/%66iles/alice/secret.txt", "/dav/files/%61lice/secret.txt", "/%64av/files/alice/secret.txt",
	"/dav/files/alice/Shared/../../../../../index.php", "/dav/../remote.php/dav/files/alice/secret.txt", "/dav/../dav/files/alice/secret.txt",
	"/remote.php/dav/files/alice/secret.txt", "/calendar/../dav/files/alice/secret.txt",
	"/calendar/alice/private/secret.ics", "/calendar/alice/", "/calendar/bob/ward/", "/calendar/alice/ward/../private/secret.ics", "/calendar/alice/ward/%2e%2e/private/secret.ics",
	"/calendar/alice/ward/..%2fprivate/secret.ics", "/calendar/alice//private/secret.ics", "/calendar/~/principals/../calendars/alice/private/", "/calendar/~/principals/%2e%2e/calendars/alice/private/secret.ics",
	"/calendar/~/principals/..%2fcalendars/alice/private/secret.ics", "/calendar/~/principalsx/", "/calendar/~/", "/calendar/~/calendars/alice/private/",
	"/contacts/alice/private/secret.vcf", "/contacts/alice/", "/contacts/bob/staff/", "/contacts/alice/staff/../private/secret.vcf",
}

// odd are paths that some take for others, and that no part of Anteroom needs to
// refuse: it is enough that nothing comes of them.
var odd = []string{
	"/dav/files/alice/Shared/..;/secret.txt", "/dav/files/alice/Shared;/../../secret.txt", "/dav/files/alice/Shared/..;x=y/secret.txt", "/dav/files/alice/Shared/%2e%2e;/secret.txt",
	"/dav/files/alice;x/secret.txt", "/dav/files/alice/Shared/..%3b/secret.txt", "/dav/files/alice/Shared/.../secret.txt", "/dav/files/alice/Shared/..%20/secret.txt",
	"/dav/files/alice/Shared/%EF%BC%8E%EF%BC%8E/secret.txt", "/dav/files/alice/Shared/doc.txt?/../../secret.txt", "/dav/files/alice/Shared/x?file=../secret.txt",
}

// TestDAVAttacks looks for ways out of a scope: by the path, Destination, If,
// and by what a body names.
func TestDAVAttacks(t *testing.T) {
	s, d, seen := scoped(t)
	if a := s.raw(t, "GET", "/dav/files/alice/Shared/doc.txt", nil, ""); a.status != http.StatusOK || a.body != "shared" {
		t.Fatalf("what lies within the scope = %d %q, want it", a.status, a.body)
	}
	seen.heard()

	t.Run("path", func(t *testing.T) {
		for _, method := range []string{"GET", "PROPFIND", "DELETE", "PUT"} {
			for _, path := range slices.Concat(outside, prefixed(s.URL, outside[:20])) {
				s.refuses(t, seen, attack{method: method, target: path})
			}
		}
		for _, path := range odd {
			s.harmless(t, seen, "GET", path)
		}
	})
	t.Run("destination", func(t *testing.T) {
		for _, to := range slices.Concat(outside, prefixed(s.URL, outside), prefixed(strings.ToUpper(s.URL), outside[:10])) {
			for _, method := range []string{"COPY", "MOVE"} {
				s.refuses(t, seen, attack{method: method, target: "/dav/files/alice/Shared/doc.txt", lines: []string{"Destination: " + to}})
			}
		}
		for _, method := range []string{"PUT", "MKCOL", "DELETE", "LOCK"} { // Nextcloud reads it of uploads in parts
			s.refuses(t, seen, attack{method: method, target: "/dav/files/alice/Shared/new.txt", lines: []string{"Destination: " + s.URL + "/dav/files/alice/private/new.txt"}})
		}
		in := s.URL + "/dav/files/alice/Shared/copy.txt"
		for _, lines := range [][]string{
			{"Destination: " + in, "Destination: /dav/files/alice/stolen.txt"},
			{"Destination: /dav/files/alice/stolen.txt", "Destination: " + in},
			{"Destination: http://evil.example/dav/files/alice/Shared/x"},
			{"Destination: http://evil.example/remote.php/dav/files/alice/stolen.txt"},
			{"Destination: //evil.example/dav/files/alice/Shared/x"},
			{"Destination: http://" + strings.TrimPrefix(s.URL, "http://") + "@evil.example/dav/files/alice/Shared/x"},
			{"Destination: http://u:p@" + strings.TrimPrefix(s.URL, "http://") + "/dav/files/alice/Shared/x"},
			{"Destination: " + s.URL + ".evil.example/dav/files/alice/Shared/x"},
			{"Destination: " + d.origin + "/remote.php/dav/files/alice/Shared/x"},
			{"Destination: " + d.origin + "/dav/files/alice/Shared/x"},
			{"Destination: ftp://" + strings.TrimPrefix(s.URL, "http://") + "/dav/files/alice/Shared/x"},
			{"Destination: file:///dav/files/alice/Shared/x"}, {"Destination: dav/files/alice/Shared/x"}, {"Destination: ../stolen.txt"}, {"Destination: *"},
			{"Destination: " + s.URL}, {"Destination: " + s.URL + "/"}, {"Destination: " + s.URL + "/auth/logout"}, {"Destination: /.well-known/caldav"},
			{"Destination: " + in + "#/../../stolen.txt", "Overwrite: T", "X-HTTP-Method-Override: GET", "Destination: x"},
		} {
			s.refuses(t, seen, attack{method: "COPY", target: "/dav/files/alice/Shared/doc.txt", lines: lines, elsewhere: true})
		}
	})
	t.Run("if", func(t *testing.T) {
		for _, tag := range slices.Concat(outside, prefixed(s.URL, outside), []string{"http://evil.example/dav/files/alice/Shared/doc.txt", d.origin + "/remote.php/dav/files/alice/Shared/doc.txt", "doc.txt", ""}) {
			if strings.Contains(tag, ">") {
				continue
			}
			s.refuses(t, seen, attack{method: "PUT", target: "/dav/files/alice/Shared/doc.txt", lines: []string{"If: <" + tag + `> (["x"])`}, body: "x", elsewhere: true})
			s.refuses(t, seen, attack{method: "PUT", target: "/dav/files/alice/Shared/doc.txt", lines: []string{"If: <" + s.URL + `/dav/files/alice/Shared/doc.txt> (Not ["x"]) <` + tag + `> (Not ["x"])`}, body: "x", elsewhere: true})
		}
		for _, lines := range [][]string{
			{`If: (["x"]) <`}, {`If: (["x"`}, {"If: <>"}, {"If: </dav/files/alice/Shared/doc.txt"}, {"If: garbage"},
			{`If: ([)`}, {`If: ([x)`}, {`If: ()`}, {`If: (x)`}, {`If: (Not)`}, {`If: ([x] [y]`}, {"If: (Not Not <x>)"},
			{`If: (<x> </remote.php/dav/files/alice/secret.txt> (Not ["x"])`}, {`If: ( </remote.php/dav/files/alice/secret.txt> (["x"])`},
			{`If: ([x) </remote.php/dav/files/alice/secret.txt> (["x"])`}, {`If: (["x"] </remote.php/dav/files/alice/secret.txt> (Not ["x"])`},
			{`If: (Not ["x"])`, `If: </dav/files/alice/secret.txt> (Not ["x"])`},
		} {
			s.refuses(t, seen, attack{method: "PUT", target: "/dav/files/alice/Shared/doc.txt", lines: lines, body: "x"})
		}
	})
	t.Run("body", func(t *testing.T) { s.bodies(t, seen, d) })

	for path, want := range map[string]string{"/secret.txt": davPrivate, "/private/secret.txt": davPrivate, "/Shared/doc.txt": "shared"} {
		if got := d.get(t, d.roots.files+"/files/alice"+path); got != want {
			t.Errorf("after it all, %s holds %q, want %q as at first", path, got, want)
		}
	}
	for _, gone := range []string{"stolen.txt", "private/new.txt"} {
		if got := d.get(t, d.roots.files+"/files/alice/"+gone); !strings.Contains(got, "404") && !strings.Contains(got, "NotFound") {
			t.Errorf("after it all there is %s: %.200q", gone, got)
		}
	}
}

// attack is a request that must be refused, before the server hears of it.
type attack struct {
	method, target string
	lines          []string
	body           string
	elsewhere      bool // 502 may be said of another server (RFC 4918 §9.8.5)
}

func (s *davSite) refuses(t *testing.T, seen *davRecorder, a attack) {
	t.Helper()
	got := s.raw(t, a.method, a.target, a.lines, a.body)
	what := a.method + " " + a.target + " " + strings.Join(a.lines, " | ")
	what = what[:min(len(what), 200)]
	if got.status/100 != 4 && !(got.status == http.StatusBadGateway && a.elsewhere) {
		t.Errorf("%s = %d %.200q, want it refused", what, got.status, got.body)
	}
	if strings.Contains(got.body, davPrivate) {
		t.Errorf("%s shows what lies outside", what)
	}
	for _, r := range seen.heard() {
		t.Errorf("%s: the server was asked %s %s (Destination %q, If %q), want it unasked", what, r.method, r.uri, r.header.Get("Destination"), r.header.Get("If"))
	}
}

// harmless is refuses for what may reach the server as long as nothing comes of
// it.
func (s *davSite) harmless(t *testing.T, seen *davRecorder, method, target string) {
	t.Helper()
	got := s.raw(t, method, target, nil, "")
	if strings.Contains(got.body, davPrivate) || got.status/100 == 5 {
		t.Errorf("%s %s = %d %.200q, want nothing of what lies outside", method, target, got.status, got.body)
	}
	for _, r := range seen.heard() {
		if !strings.HasPrefix(r.uri, "/remote.php/dav/files/alice/Shared/") {
			t.Errorf("%s %s: the server was asked for %s, want that within the scope", method, target, r.uri)
		}
	}
}

// prefixed puts something before each of a list.
func prefixed(with string, list []string) []string {
	out := make([]string, 0, len(list))
	for _, l := range list {
		if !strings.HasPrefix(l, "//") {
			out = append(out, with+l)
		}
	}
	return out
}

// get reads something straight from the server: its body, whatever the status.
func (d *davServer) get(t *testing.T, path string) string {
	t.Helper()
	r, err := http.NewRequest(http.MethodGet, d.origin+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.SetBasicAuth(d.user, d.secret)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return string(b)
}
