//go:build real

package realtest

import (
	"net/http"
	"strings"
	"testing"
)

// TestDAVSpellings: a document that a real server reads in another encoding, or
// with another namespace, than Anteroom shows nothing from outside of the scope.
func TestDAVSpellings(t *testing.T) {
	s, _, seen := scoped(t)
	const (
		open   = `<c:calendar-multiget xmlns:c="urn:ietf:params:xml:ns:caldav" xmlns:d="DAV:"><d:prop><d:getetag/><c:calendar-data/></d:prop><d:href>/calendar/alice/ward/open.ics</d:href>`
		hidden = "+ADw-d:href+AD4-/remote.php/dav/calendars/alice/private/secret.ics+ADw-/d:href+AD4-" // UTF-7 (RFC 2152)
		close  = `</c:calendar-multiget>`
	)
	for what, body := range map[string]string{
		"UTF-7, with a blank before =":  `<?xml version="1.0" encoding ="UTF-7"?>` + open + hidden + close,
		"UTF-7, with blanks around =":   `<?xml version="1.0" encoding = 'utf-7' ?>` + open + hidden + close,
		"the namespace of old":          open + `<x:href xmlns:x="urn:DAV">/remote.php/dav/calendars/alice/private/secret.ics</x:href>` + close,
		"the namespace of old, spelled": open + `<x:href xmlns:x="URN:dav">/remote.php/dav/calendars/alice/private/secret.ics</x:href>` + close,
	} {
		t.Run(what, func(t *testing.T) {
			seen.heard()
			got := s.raw(t, "REPORT", "/calendar/alice/ward/", []string{"Content-Type: application/xml"}, body)
			if got.status/100 == 2 && strings.Contains(got.body, "canary") {
				t.Errorf("REPORT = %d and shows what lies outside:\n%.900s", got.status, got.body)
			}
			if n := len(seen.heard()); n > 0 && !strings.Contains(what, "spelled") || got.status/100 == 5 && got.status != http.StatusBadGateway {
				t.Errorf("REPORT = %d and reached the server %d times, want it refused", got.status, n)
			}
		})
	}
}
