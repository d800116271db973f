package calendars

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"anteroom/integrations"
	"anteroom/integrations/collections"
)

const recordings = "../../proxy/dav/testdata/nextcloud/"

// recorded is a server that answers as Nextcloud did: by method and path, with
// the name of a recording, or with XML.
func recorded(t *testing.T, answers map[string]string) *Calendars {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := answers[r.Method+" "+r.URL.Path]
		if strings.HasSuffix(answer, ".xml") {
			b, err := os.ReadFile(recordings + answer)
			if err != nil {
				t.Error(err)
			}
			answer = string(b)
		}
		w.Header().Set("Content-Type", "application/xml; charset=utf-8")
		switch {
		case answer == "":
			w.WriteHeader(http.StatusNotFound)
		case strings.Contains(answer, "<d:error"):
			w.WriteHeader(http.StatusForbidden)
		default:
			w.WriteHeader(http.StatusMultiStatus)
		}
		_, _ = w.Write([]byte(answer))
	}))
	t.Cleanup(s.Close)
	u, _ := url.Parse(s.URL + "/remote.php/dav/calendars")
	c, err := Open(context.Background(), Options{Service: collections.Service{HTTP: s.Client(), URL: u}, Home: "/remote.php/dav/calendars/testdoc/", Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestRecorded reads what a Nextcloud answered.
func TestRecorded(t *testing.T) {
	ctx := context.Background()
	const home = "/remote.php/dav/calendars/testdoc/"
	c := recorded(t, map[string]string{"PROPFIND " + home: "caldav-01-calendar-home-depth-1.xml", "REPORT " + home + "personal/": "caldav-01-calendar-query.xml"})
	all, err := c.Calendars(ctx)
	if err != nil || len(all) == 0 {
		t.Fatalf("Calendars = %v, %v", all, err)
	}
	personal, err := Named(all, "personal")
	if err != nil || personal.Name == "" || personal.ReadOnly || len(personal.Kinds) == 0 || personal.Version == "" {
		t.Errorf("personal = %+v, %v", personal, err)
	}
	for _, k := range all {
		if strings.Contains(k.ID, "/") || k.ID == "inbox" || k.ID == "outbox" {
			t.Errorf("%+v is no calendar", k)
		}
	}
	w := Window{From: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), To: time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)}
	events, cut, err := c.Events(ctx, personal, w)
	if err != nil || cut || len(events) != 1 || events[0].Title != "Visit 2" || events[0].Start != "2026-12-01T09:00:00Z" || events[0].ETag == "" || events[0].ID != "6c8fec80-650d-44c8-a2ba-5de9b00e2984.ics" {
		t.Errorf("Events = %+v, %v, %v", events, cut, err)
	}
	for file, want := range map[string][]collections.Change{
		"caldav-01-sync-collection-delta.xml":        {{ID: "6c8fec80-650d-44c8-a2ba-5de9b00e2984.ics", Deleted: true}},
		"caldav-01-sync-collection-future-token.xml": nil,
	} {
		c := recorded(t, map[string]string{"REPORT " + home + "personal/": file})
		var got []collections.Change
		next, complete, err := c.Changes(ctx, personal, "http://sabre.io/ns/sync/3", func(e *collections.Change) error {
			got = append(got, *e)
			return nil
		})
		if diff := cmp.Diff(want, got); diff != "" || err != nil || complete || !strings.HasPrefix(next, "http://sabre.io/ns/sync/") {
			t.Errorf("%s: Changes = %q, %v, %v (-want +got)\n%s", file, next, complete, err, diff)
		}
	}
}

// TestZoneOfCalendar: what a calendar says of its zone is told by a name that
// programs know, or not at all.
func TestZoneOfCalendar(t *testing.T) {
	object := func(tzid string) string {
		return "BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:x\nBEGIN:VTIMEZONE\nTZID:" + tzid + "\nBEGIN:STANDARD\nDTSTART:19700101T000000\nTZOFFSETFROM:+0100\nTZOFFSETTO:+0100\nEND:STANDARD\nEND:VTIMEZONE\nEND:VCALENDAR\n"
	}
	for said, want := range map[string]string{
		object("Europe/Berlin"): "Europe/Berlin", object("W. Europe Standard Time"): "Europe/Berlin", object("/freeassociation.sourceforge.net/Europe/Berlin"): "Europe/Berlin",
		object("The ward's clock"): "", object(""): "", "Europe/Berlin": "", "BEGIN:VCALENDAR\nEND:VCALENDAR\n": "", "": "",
	} {
		const home = "/remote.php/dav/calendars/testdoc/"
		c := recorded(t, map[string]string{"PROPFIND " + home: `<d:multistatus xmlns:d="DAV:" xmlns:c="urn:ietf:params:xml:ns:caldav"><d:response><d:href>` + home + `personal/</d:href><d:propstat><d:prop>
			<d:resourcetype><d:collection/><c:calendar/></d:resourcetype><c:calendar-timezone>` + said + `</c:calendar-timezone></d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response></d:multistatus>`})
		if all, err := c.Calendars(t.Context()); err != nil || len(all) != 1 || all[0].TimeZone != want {
			t.Errorf("%q: Calendars = %+v, %v, want one in %q", said, all, err, want)
		}
	}
}

// TestHostileServer: what a server says leads nowhere else, and one event that
// cannot be read keeps no other from being.
func TestHostileServer(t *testing.T) {
	ctx := context.Background()
	const home = "/remote.php/dav/calendars/testdoc/"
	const good = "BEGIN:VCALENDAR\nBEGIN:VEVENT\nUID:1\nDTSTART:20260301T090000Z\nSUMMARY:good\nEND:VEVENT\nEND:VCALENDAR\n"
	object := func(href, data string) string {
		return "<d:response><d:href>" + href + "</d:href><d:propstat><d:prop><d:getetag>\"1\"</d:getetag><c:calendar-data>" + data + "</c:calendar-data></d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response>"
	}
	kind := func(href string) string {
		return "<d:response><d:href>" + href + "</d:href><d:propstat><d:prop><d:resourcetype><d:collection/><c:calendar/></d:resourcetype></d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response>"
	}
	wrap := func(s ...string) string {
		return `<d:multistatus xmlns:d="DAV:" xmlns:c="urn:ietf:params:xml:ns:caldav">` + strings.Join(s, "") + `</d:multistatus>`
	}
	c := recorded(t, map[string]string{
		"PROPFIND " + home: wrap(kind(home+"personal/"), kind(home+"%2e%2e/admin/"), kind("http://evil.example"+home+"x/"), kind(home+"a%2fb/"), kind("javascript:alert(1)")),
		"REPORT " + home + "personal/": wrap(object(home+"personal/bad.ics", "BEGIN:VCALENDAR\nBEGIN:VEVENT\nX;A=b\n"), object(home+"personal/deep.ics", strings.Repeat("BEGIN:A\n", 1000)),
			object(home+"personal/good.ics", good), object(home+"personal/%2e%2e", good), object(home+"personal/a%2fb.ics", good)),
	})
	all, err := c.Calendars(ctx)
	for _, k := range all {
		if !strings.HasPrefix(k.place, home) || strings.Contains(k.place, "..") || strings.ContainsAny(k.ID, "/:") {
			t.Errorf("a calendar at %q, called %q", k.place, k.ID)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	events, cut, err := c.Events(ctx, Calendar{ID: "personal", place: home + "personal/"}, Window{From: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), To: time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)})
	if err != nil || len(events) != 1 || events[0].ID != "good.ics" || !cut {
		t.Errorf("Events = %+v, %v, %v, want the good one, and that it is not all", events, cut, err)
	}
	refused := recorded(t, map[string]string{"REPORT " + home + "personal/": `<d:error xmlns:d="DAV:"><d:valid-sync-token/></d:error>`})
	_, _, err = refused.Changes(ctx, Calendar{place: home + "personal/"}, "http://sabre.io/ns/sync/x", func(*collections.Change) error { return nil })
	if p, ok := integrations.ProblemOf(err); !ok || p.Status != http.StatusGone {
		t.Errorf("Changes with a refused token = %v, want 410", err)
	}
}

// TestWhatCannotBeRead: who asks when somebody is free is told that an event is
// there of which nobody can say when it is.
func TestWhatCannotBeRead(t *testing.T) {
	const home = "/remote.php/dav/calendars/testdoc/"
	k := Calendar{ID: "personal", place: home + "personal/"}
	w := Window{From: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC), To: time.Date(2026, 3, 5, 0, 0, 0, 0, time.UTC)}
	for text, want := range map[string]bool{
		calendarText("DTSTART:20260302T090000Z|DURATION:PT1H"):                                              false,
		calendarText("DTSTART;VALUE=DATE:20260302|DTEND:20260303T000000"):                                   true,
		calendarText("DTSTART:20260302T090000Z", "RECURRENCE-ID:soon|DTSTART:20260303T090000Z"):             true,
		calendarText("DTSTART:20260302T090000Z", "DTSTART:20260303T090000Z"):                                true,
		"BEGIN:VCALENDAR\r\nBEGIN:VTODO\r\nUID:1\r\nDUE:20260302T090000Z\r\nEND:VTODO\r\nEND:VCALENDAR\r\n": false,
		"BEGIN:VEVENT\r\n": true,
	} {
		c := recorded(t, map[string]string{"REPORT " + k.place: `<d:multistatus xmlns:d="DAV:" xmlns:c="urn:ietf:params:xml:ns:caldav"><d:response><d:href>` + k.place + `a.ics</d:href><d:propstat><d:prop><c:calendar-data>` + text +
			`</c:calendar-data></d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response><d:response><d:href>` + k.place + `gone.ics</d:href><d:status>HTTP/1.1 404 Not Found</d:status></d:response></d:multistatus>`})
		_, cut, err := c.Events(t.Context(), k, w)
		_, cutBusy, errBusy := c.FreeBusy(t.Context(), []Calendar{k}, w)
		if err != nil || errBusy != nil || cut != want || cutBusy != want {
			t.Errorf("%q: incomplete = %v (%v), free/busy = %v (%v), want %v", text, cut, err, cutBusy, errBusy, want)
		}
	}
	_, c, cal := keep(t, calendarText("DTSTART;VALUE=DATE:20260302|DTEND:20260303T000000"))
	_, err := c.Event(t.Context(), cal, "1", "")
	if p, _ := integrations.ProblemOf(err); p == nil || p.Reason != integrations.ReasonAnswer {
		t.Errorf("Event = %v, want that it cannot be read", err)
	}
}
