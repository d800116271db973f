//go:build real

package realtest

import (
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"anteroom/demo"
)

// python runs a Python program of test/dav as a program that has a client's
// secret, and reads what it saw.
func (s *davSite) python(t *testing.T, d *davServer, name string, args []string, env ...string) map[string]any {
	t.Helper()
	at := d.direct()
	return said(t, must(t, 2*time.Minute, command{dir: t.TempDir(), argv: append([]string{"/usr/bin/python3", absolute(t, root+"/test/dav/"+name)}, args...),
		env: append([]string{"API=" + s.URL + "/integrations", "CLIENT=" + davClient, "SECRET=" + davClientSecret,
			"CALENDARS=" + at.origin + at.homes.calendars, "BOOKS=" + at.origin + at.homes.contacts, "DAV_USER=" + d.user, "DAV_SECRET=" + d.secret}, env...)}, ""))
}

// TestCalendarsAndContactsAsJSON goes through every operation at servers that
// nobody here wrote, and has another client read what they store.
func TestCalendarsAndContactsAsJSON(t *testing.T) {
	t.Run("sabre", func(t *testing.T) {
		d := startSabre(t)
		d.through(t).python(t, d, "api_pim.py", []string{"Ward", "staff"})
	})
	t.Run("Radicale", func(t *testing.T) {
		d := startRadicale(t)
		for name, kind := range map[string]string{"ward": `<c:calendar xmlns:c="urn:ietf:params:xml:ns:caldav"/>`, "staff": `<c:addressbook xmlns:c="urn:ietf:params:xml:ns:carddav"/>`} {
			d.make(t, "MKCOL", "/"+d.user+"/"+name+"/", `<?xml version="1.0"?><d:mkcol xmlns:d="DAV:"><d:set><d:prop><d:resourcetype><d:collection/>`+kind+`</d:resourcetype></d:prop></d:set></d:mkcol>`)
		}
		d.through(t).python(t, d, "api_pim.py", []string{"ward", "staff"})
	})
}

// TestGuideAsJSON does what the guide's services do, by the JSON API: at
// sabre/dav and at the pretend Nextcloud, with Dovecot and Postfix.
func TestGuideAsJSON(t *testing.T) {
	want := func(more ...any) map[string]any {
		return map[string]any{"me": davClient, "files": append(more, "note ü 100%.txt", "unknown length.txt"), "same": []any{true, true},
			"events": []any{[]any{"Besprechung", "2026-03-29T09:00:00+02:00", "mit allen"}},
			"mail":   []any{[]any{"Grüße aus dem Dienst", "voice@example.test"}}, "text": "Zeile 1\nZeile 2 ✓"}
	}
	for name, start := range map[string]func(*testing.T) *davServer{"sabre": startSabre, "demo": startDemoDAV} {
		t.Run(name, func(t *testing.T) {
			d := start(t)
			there := []any{}
			if name == "demo" {
				there = append(there, "Welcome.md")
				d.roots.calendars, d.homes.calendars = "/remote.php/dav/calendars", "/"+demo.DefaultUser
			} else {
				d.roots.files, d.homes.files = "/remote.php/dav/files/"+d.user, "/"
			}
			m := startMail(t)
			d.env = []string{"NEXTCLOUD_IMAP_URL", "imaps://localhost:" + m.imaps, "NEXTCLOUD_SMTP_URL", "smtp://localhost:" + m.smtp,
				"NEXTCLOUD_EMAIL_USERNAME", mailUser, "NEXTCLOUD_EMAIL_PASSWORD", mailSecret,
				"ANTEROOM_INTEGRATIONS_MAIL_FROM", "voice@example.test", "ANTEROOM_INTEGRATIONS_MAIL_CA_FILE", m.cert}
			got := d.through(t).python(t, d, "api_guide.py", []string{d.calendar}, "FOLDER=", "MAIL_TO=voice@example.test")
			if diff := cmp.Diff(want(there...), got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// TestRecurrenceByDateutil has python-dateutil answer again what the table of
// recurrences holds against it.
func TestRecurrenceByDateutil(t *testing.T) {
	dir := absolute(t, root+"/integrations/calendars/testdata")
	cases, err := os.ReadFile(dir + "/recurrence.json")
	if err != nil {
		t.Fatal(err)
	}
	golden, err := os.ReadFile(dir + "/recurrence.golden.json")
	if err != nil {
		t.Fatal(err)
	}
	got := must(t, time.Minute, command{dir: t.TempDir(), argv: []string{"/usr/bin/python3", dir + "/recurrence.py"}}, string(cases))
	if diff := cmp.Diff(string(golden), got); diff != "" {
		t.Errorf("recurrence.golden.json is not what dateutil says (-file +dateutil):\n%s", diff)
	}
}
