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

// TestScopesHold: a program that is kept to a part of an account sees and
// changes nothing else, in whatever way it names it.
func TestScopesHold(t *testing.T) {
	w, secret := programs(t, "ANTEROOM_INTEGRATIONS_CALDAV_SCOPE=/calendars/testdoc/team", "ANTEROOM_INTEGRATIONS_CARDDAV_SCOPE=/addressbooks/users/testdoc/team")
	c := &calendarOf{t, w, basic("indexer", secret)}
	for _, s := range []struct {
		method, path, body string
		want               int
	}{
		{"GET", "/integrations/calendars", "", 200},
		{"GET", "/integrations/contacts", "", 200},
		{"GET", attacked + "?from=2026-01-01T00:00:00Z&to=2026-02-01T00:00:00Z", "", 404},
		{"GET", "/integrations/calendars/team%2F..%2Fpersonal/events?from=2026-01-01T00:00:00Z&to=2026-02-01T00:00:00Z", "", 404},
		{"GET", "/integrations/calendars/..%2Fpersonal/changes", "", 404},
		{"GET", "/integrations/calendars/free-busy?calendar=personal&from=2026-01-01T00:00:00Z&to=2026-02-01T00:00:00Z", "", 404},
		{"POST", attacked, `{"title":"x","start":"2026-01-01"}`, 404},
		{"DELETE", attacked + "/a.ics", "", 404},
		{"DELETE", attacked + "/..%2Fteam%2Fa.ics", "", 400},
		{"DELETE", attacked + "/..%252Fteam%252Fa.ics", "", 400},
		{"DELETE", attacked + "/..%5Cteam%5Ca.ics", "", 400},
		{"POST", "/integrations/contacts/contacts/cards", `{"name":"x"}`, 404},
		{"GET", "/integrations/contacts/contacts/cards", "", 404},
		{"GET", "/integrations/contacts/contacts/changes", "", 404},
		{"DELETE", "/integrations/contacts/contacts/cards/%2E%2E", "", 400},
	} {
		resp, body := c.ask(s.method, s.path, s.body, "If-Match: *")
		if resp.StatusCode != s.want || s.want == 200 && body != "{\"items\":[]}\n" {
			t.Errorf("%s %s = %d %s, want %d and nothing outside of the scope", s.method, s.path, resp.StatusCode, body, s.want)
		}
	}
}

// TestLinesStayWhole: what programs say stays within what it is said of, whatever
// it is.
func TestLinesStayWhole(t *testing.T) {
	c := attackedCalendar(t)
	const break_ = `\r\nATTENDEE:mailto:x@example.com\r\nX:`
	for _, s := range []struct {
		method, path, body string
		want               int
	}{
		{"POST", attacked, `{"title":"a` + break_ + `","start":"2026-01-01"}`, 400},
		{"POST", attacked, `{"title":"a","location":"a` + break_ + `","start":"2026-01-01"}`, 400},
		{"POST", attacked, `{"title":"a","url":"http://a/` + break_ + `","start":"2026-01-01"}`, 400},
		{"POST", attacked, `{"title":"a","categories":["a` + break_ + `"],"start":"2026-01-01"}`, 400},
		{"POST", attacked, `{"title":"a","status":"confirmed` + break_ + `","start":"2026-01-01"}`, 400},
		{"POST", attacked, `{"title":"a","uid":"a` + break_ + `","start":"2026-01-01"}`, 400},
		{"POST", attacked, `{"title":"a","start":"2026-01-01` + break_ + `"}`, 400},
		{"POST", attacked, `{"title":"a","time_zone":"Europe/Berlin` + break_ + `","start":"2026-01-01T00:00:00"}`, 400},
		{"POST", attacked, `{"title":"a","description":"a` + break_ + `","start":"2026-01-01","uid":"lines"}`, 201},
		{"POST", "/integrations/contacts/contacts/cards", `{"name":"a` + break_ + `"}`, 400},
		{"POST", "/integrations/contacts/contacts/cards", `{"name":"a","emails":[{"value":"a` + break_ + `"}]}`, 400},
		{"POST", "/integrations/contacts/contacts/cards", `{"name":"a","phones":[{"value":"1","type":"home:2` + break_ + `"}]}`, 400},
		{"POST", "/integrations/contacts/contacts/cards", `{"name":"a","addresses":[{"city":"a` + break_ + `"}]}`, 400},
		{"POST", "/integrations/contacts/contacts/cards", `{"name":"a","url":"http://a/` + break_ + `"}`, 400},
		{"POST", "/integrations/contacts/contacts/cards", `{"name":"a","birthday":"2000-01-01` + break_ + `"}`, 400},
		{"POST", "/integrations/contacts/contacts/cards", `{"name":"a","note":"a` + break_ + `","emails":[{"value":"a@b;X=1:c","type":"home\";X=1:2"}],"uid":"lines"}`, 201},
	} {
		if resp, body := c.ask(s.method, s.path, s.body); resp.StatusCode != s.want {
			t.Errorf("%s %s %s = %d %s, want %d", s.method, s.path, s.body, resp.StatusCode, body, s.want)
		}
	}
	_, stored := c.ask("GET", "/calendar/testdoc/personal/lines.ics", "")
	if strings.Contains(stored, "\nATTENDEE") {
		t.Errorf("an event has become:\n%s", stored)
	}
	_, body := c.ask("GET", "/integrations/contacts/contacts/cards/lines.vcf", "")
	var card struct {
		Note   string
		Emails []struct{ Value, Type string }
	}
	if err := json.Unmarshal([]byte(body), &card); err != nil || len(card.Emails) != 1 || card.Emails[0].Value != "a@b;X=1:c" || card.Note != "a\nATTENDEE:mailto:x@example.com\nX:" {
		t.Errorf("a card has become %s (%v)", body, err)
	}
}
