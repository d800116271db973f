package main

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

// calendarOf is a program at a calendar.
type calendarOf struct {
	t    *testing.T
	w    *town
	auth string
}

const attacked = "/integrations/calendars/personal/events"

// ask sends a request, with a body in JSON if there is one.
func (c *calendarOf) ask(method, path, body string, header ...string) (*http.Response, string) {
	c.t.Helper()
	if body != "" {
		header = append(header, "Content-Type: application/json")
	}
	return c.w.ask(nil, method, path, body, append(header, c.auth)...)
}

// put has an event be as a server, or somebody who sends invitations, has it.
func (c *calendarOf) put(id, text string) {
	c.t.Helper()
	resp, body := c.w.ask(nil, "PUT", "/calendar/testdoc/personal/"+id, text, "Content-Type: text/calendar; charset=utf-8", c.auth)
	if resp.StatusCode/100 != 2 {
		c.t.Fatalf("PUT %s = %d %s", id, resp.StatusCode, body)
	}
}

func attackedCalendar(t *testing.T) *calendarOf {
	w, secret := programs(t, "ANTEROOM_INTEGRATIONS_CALDAV_MOUNT=/calendar")
	return &calendarOf{t, w, basic("indexer", secret)}
}

// TestPagesAreBounded: an event whose long text each of its occurrences has
// does not make an answer of any length.
func TestPagesAreBounded(t *testing.T) {
	c := attackedCalendar(t)
	long := strings.Repeat("a", 60_000)
	if resp, body := c.ask("POST", attacked, `{"title":"x","start":"2026-01-01","recurrence":"FREQ=DAILY","description":"`+long+`"}`); resp.StatusCode != 201 {
		t.Fatalf("create = %d %s", resp.StatusCode, body)
	}
	n, cursor := 0, ""
	for pages := 1; ; pages++ {
		resp, body := c.ask("GET", attacked+"?from=2026-01-01T00:00:00Z&to=2027-01-01T00:00:00Z&cursor="+cursor, "")
		var page struct {
			Items  []struct{ ID string }
			Cursor string
		}
		if err := json.Unmarshal([]byte(body), &page); err != nil || resp.StatusCode != 200 || len(body) > 9<<20 {
			t.Fatalf("a page = %d, %d bytes, %v; want at most 9 MiB", resp.StatusCode, len(body), err)
		}
		n += len(page.Items)
		if cursor = page.Cursor; cursor != "" && pages < 10 {
			continue
		}
		if n != 365 || pages < 3 {
			t.Errorf("%d occurrences on %d pages, want 365 on several", n, pages)
		}
		return
	}
}

// TestCallersMistakes: what a program says by mistake, or by design, changes
// nothing and breaks nothing.
func TestCallersMistakes(t *testing.T) {
	c := attackedCalendar(t)
	c.put("weekly.ics", "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//test\r\nBEGIN:VEVENT\r\nUID:weekly\r\nDTSTAMP:20260101T000000Z\r\nDTSTART:20260105T090000Z\r\nRRULE:FREQ=WEEKLY\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n")
	for _, s := range []struct {
		method, path, body string
		want               int
		says               string
	}{
		{"DELETE", attacked + "/weekly.ics?occurrence=", "", 400, `"field":"occurrence"`}, // never all of it
		{"PATCH", attacked + "/weekly.ics?occurrence=", `{"title":"x"}`, 400, `"field":"occurrence"`},
		{"DELETE", attacked + "/weekly.ics?occurrence=2026-01-12", "", 404, `"field":"occurrence"`},
		{"GET", "/integrations/calendars/free-busy?from=9998-01-01T00:00:00Z&to=9999-12-31T23:59:59-23:00", "", 400, `"field":"from"`},
		{"GET", attacked + "?from=0000-01-01T00:00:00Z&to=0001-01-01T00:00:00Z", "", 400, `"field":"from"`},
		{"GET", "/integrations/calendars/free-busy?from=2026-01-01T00:00:00Z&to=2026-01-14T00:00:00Z" + strings.Repeat("&calendar=personal", 50), "", 200, `{"items":[]}`},
		{"GET", attacked + "/weekly.ics", "", 200, `"recurrence":"FREQ=WEEKLY"`},
	} {
		resp, body := c.ask(s.method, s.path, s.body, "If-Match: *")
		if resp.StatusCode != s.want || !strings.Contains(body, s.says) {
			t.Errorf("%s %s = %d %s, want %d with %s", s.method, s.path, resp.StatusCode, body, s.want, s.says)
		}
	}
}
