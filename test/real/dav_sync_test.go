//go:build real

package realtest

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestVdirsyncer keeps a calendar and an address book here and there the same:
// what is new on either side reaches the other, what is deleted goes, and when
// nothing changed nothing is sent. It is told the site's name alone, and finds
// the rest (RFC 6764). The calendar is then read with khal.
func TestVdirsyncer(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(*testing.T) *davServer{"sabre": startSabre, "radicale": startRadicale} {
		t.Run(name, func(t *testing.T) {
			bothWays(t, start, func(t *testing.T, d *davServer, at wayToDAV) { syncs(t, d, at) })
		})
	}
}

func syncs(t *testing.T, d *davServer, at wayToDAV) {
	v := newVdirsyncer(t, d, at)
	for i := range 20 {
		writeFile(t, v.at("calendars/ward/e%d.ics", i), visit(i, fmt.Sprintf("Visite %d", i)))
		writeFile(t, v.at("contacts/staff/c%d.vcf", i), colleague(i, fmt.Sprintf("Kollegin %d", i)))
	}
	direct := d.direct()
	v.discover(t)
	there, here := v.sync(t)
	if there != 40 || here != 0 {
		t.Errorf("the first run sent %d there and %d here, want 40 and 0", there, here)
	}
	v.nothing(t)

	// Somebody else adds, changes and deletes there, past Anteroom.
	d.put(t, direct.homes.calendars+"/ward/there.ics", "text/calendar", visit(99, "Konsil & <Befund> ü"))
	d.put(t, direct.homes.contacts+"/staff/there.vcf", "text/vcard", colleague(99, "Frau Dr. Öz"))
	there, here = v.sync(t)
	if there != 0 || here != 2 {
		t.Errorf("after two were added there, %d went there and %d here, want 0 and 2", there, here)
	}
	writeFile(t, v.at("calendars/ward/e3.ics"), visit(3, "Visite verschoben"))
	if err := os.Remove(v.at("contacts/staff/c4.vcf")); err != nil {
		t.Fatal(err)
	}
	if there, here = v.sync(t); there != 2 || here != 0 {
		t.Errorf("after a change and a deletion here, %d went there and %d here, want 2 and 0", there, here)
	}
	v.nothing(t)
	v.khal(t, "Konsil & <Befund> ü", "Visite verschoben")
}

// visit is an event as iCalendar; its text names paths, which are nobody's to
// change.
func visit(i int, title string) string {
	return strings.ReplaceAll(fmt.Sprintf(`BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//Ward//EN
BEGIN:VEVENT
UID:e%d@ward
DTSTAMP:20260301T080000Z
DTSTART:20260302T%02d0000Z
DTEND:20260302T%02d3000Z
SUMMARY:%s
DESCRIPTION:<D:href>/remote.php/dav/files/x</D:href> /dav/files/y
URL:http://localhost/calendar/alice/
END:VEVENT
END:VCALENDAR
`, i, i%20, i%20, title), "\n", "\r\n")
}

// colleague is a person as vCard.
func colleague(i int, name string) string {
	return strings.ReplaceAll(fmt.Sprintf(`BEGIN:VCARD
VERSION:3.0
UID:c%d@ward
FN:%s
N:%s;;;;
NOTE:see /remote.php/dav/addressbooks/ and /contacts/
END:VCARD
`, i, name, name), "\n", "\r\n")
}

// vdirsyncer is a client with its folders.
type vdirsyncer struct{ dir string }

func newVdirsyncer(t *testing.T, d *davServer, at wayToDAV) *vdirsyncer {
	t.Helper()
	if d.calendar == "" { // nothing there yet
		d.make(t, "MKCALENDAR", d.direct().homes.calendars+"/ward/", `<c:mkcalendar xmlns:c="urn:ietf:params:xml:ns:caldav"/>`)
		d.make(t, "MKCOL", d.direct().homes.contacts+"/staff/", `<d:mkcol xmlns:d="DAV:" xmlns:c="urn:ietf:params:xml:ns:carddav"><d:set><d:prop><d:resourcetype><d:collection/><c:addressbook/></d:resourcetype></d:prop></d:set></d:mkcol>`)
	}
	dir := davFolder(t, []string{"vdirsyncer.conf", "khal.conf"},
		"@SITE@", at.origin+"/", "@USER@", at.user, "@SECRET@", at.secret)
	for _, sub := range []string{"calendars/ward", "contacts/staff"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return &vdirsyncer{dir}
}

func (v *vdirsyncer) at(format string, args ...any) string {
	return filepath.Join(v.dir, fmt.Sprintf(format, args...))
}

func (v *vdirsyncer) run(t *testing.T, args ...string) string {
	t.Helper()
	return must(t, time.Minute, command{dir: v.dir, argv: append([]string{"vdirsyncer", "--verbosity", "INFO", "--config", v.at("vdirsyncer.conf")}, args...)}, strings.Repeat("y\n", 10))
}

func (v *vdirsyncer) discover(t *testing.T) { t.Helper(); v.run(t, "discover") }

// sync runs once, and says how much went there and how much came here.
func (v *vdirsyncer) sync(t *testing.T) (there, here int) {
	t.Helper()
	out := v.run(t, "sync")
	for line := range strings.SplitSeq(out, "\n") {
		if !strings.HasPrefix(line, "Copying (") && !strings.HasPrefix(line, "Deleting item ") {
			continue
		}
		if strings.Contains(line, "_there/") {
			there++
		} else {
			here++
		}
	}
	return there, here
}

// nothing runs once more, when there is nothing to do.
func (v *vdirsyncer) nothing(t *testing.T) {
	t.Helper()
	if there, here := v.sync(t); there != 0 || here != 0 {
		t.Errorf("another run sent %d there and %d here, want nothing", there, here)
	}
}

// khal lists the synced calendar.
func (v *vdirsyncer) khal(t *testing.T, titles ...string) {
	t.Helper()
	out := must(t, time.Minute, command{dir: v.dir, argv: []string{"khal", "-c", v.at("khal.conf"), "list", "2026-03-02", "1d"}}, "")
	for _, title := range titles {
		if !strings.Contains(out, title) {
			t.Errorf("khal does not list %q:\n%s", title, out)
		}
	}
}

// put stores something straight on the server.
func (d *davServer) put(t *testing.T, path, kind, body string) {
	t.Helper()
	d.ask(t, http.MethodPut, path, kind, body)
}

// make makes a collection straight on the server.
func (d *davServer) make(t *testing.T, method, path, body string) {
	t.Helper()
	d.ask(t, method, path, "application/xml", body)
}

func (d *davServer) ask(t *testing.T, method, path, kind, body string) {
	t.Helper()
	r, err := http.NewRequest(method, d.origin+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.SetBasicAuth(d.user, d.secret)
	r.Header.Set("Content-Type", kind)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if why, _ := io.ReadAll(io.LimitReader(resp.Body, 4096)); resp.StatusCode/100 != 2 {
		t.Fatalf("%s %s directly = %d: %s", method, path, resp.StatusCode, why)
	}
}
