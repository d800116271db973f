package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// TestCalendarsForPrograms: what a program does with a calendar, by its secret.
func TestCalendarsForPrograms(t *testing.T) {
	w, secret := programs(t)
	auth, typed := basic("indexer", secret), "Content-Type: application/json"
	ask := func(method, path, body string, header ...string) (*http.Response, string) {
		t.Helper()
		if body != "" {
			header = append(header, typed)
		}
		return w.ask(nil, method, path, body, append(header, auth)...)
	}
	const events = "/integrations/calendars/personal/events"
	const window = "?from=2026-10-01T00:00:00Z&to=2026-11-15T00:00:00Z&time_zone=Europe/Berlin"
	event := func(body string) (e struct{ ID, ETag, Start, End, Occurrence string }) {
		t.Helper()
		if err := json.Unmarshal([]byte(body), &e); err != nil {
			t.Fatalf("%s: %v", body, err)
		}
		return e
	}
	// The guide's create_event, by the name that people see.
	resp, body := ask("POST", "/integrations/calendars/Personal/events", `{"title":"Visite; Zimmer 3, 4\\5","start":"2026-10-20T09:00:00","end":"2026-10-20T10:00:00","time_zone":"Europe/Berlin","description":"Zeile 1\nEND:VEVENT\nATTENDEE:mailto:x@example.com","recurrence":"FREQ=WEEKLY;COUNT=3","uid":"visite"}`)
	made := event(body)
	if resp.StatusCode != 201 || resp.Header.Get("Location") != events+"/visite.ics" || made.Start != "2026-10-20T09:00:00+02:00" || resp.Header.Get("ETag") != made.ETag || made.ETag == "" {
		t.Fatalf("create = %d %v %s", resp.StatusCode, resp.Header, body)
	}
	steps := []struct {
		method, path, body string
		header             []string
		want               int
		says               string
	}{
		{"GET", "/integrations/calendars", "", nil, 200, `"id":"personal","name":"Personal"`},
		{"GET", events + window, "", nil, 200, `"start":"2026-10-27T09:00:00+01:00","end":"2026-10-27T10:00:00+01:00","time_zone":"Europe/Berlin"`},
		{"GET", events + window, "", nil, 200, `"title":"Visite; Zimmer 3, 4\\5","description":"Zeile 1\nEND:VEVENT\nATTENDEE:mailto:x@example.com"`},
		{"GET", events + window + "&limit=1", "", nil, 200, `"cursor":"`},
		{"GET", events + "?from=2026-10-01T00:00:00Z&to=2026-10-01T00:00:00Z", "", nil, 400, `"field":"to"`},
		{"GET", events + "?from=2026-10-01T00:00:00Z&to=2036-10-01T00:00:00Z", "", nil, 400, `"field":"to"`},
		{"GET", events + window + "&time_zone=Mars/Olympus", "", nil, 400, `"field":"time_zone"`},
		{"GET", "/integrations/calendars/nowhere/events" + window, "", nil, 404, "calendar"},
		{"GET", events + "/nothing.ics", "", nil, 404, "not_found"},
		{"GET", events + "/..%2fa.ics", "", nil, 400, ""},
		{"POST", events, `{"title":"x","start":"2026-10-20T09:00:00"}`, nil, 400, `"field":"time_zone"`},
		{"POST", events, `{"title":"x","start":"2026-10-20T09:00:00Z","end":"2026-10-20T08:00:00Z"}`, nil, 400, `"field":"end"`},
		{"POST", events, `{"title":"x","start":"2026-10-20","end":"2026-10-20"}`, nil, 400, `"field":"end"`},
		{"POST", events, `{"title":"x","start":"2026-10-20T09:00:00Z","recurrence":"FREQ=DAILY"}`, nil, 400, `"field":"time_zone"`},
		{"POST", events, `{"title":"x","start":"2026-10-20","recurrence":"FREQ=SECONDLY"}`, nil, 400, `"field":"recurrence"`},
		{"POST", events, `{"title":"x","start":"2026-10-20","recurrence":"FREQ=MONTHLY;BYDAY=10SA"}`, nil, 400, `"field":"recurrence"`},
		{"POST", events, `{"title":"x","start":"2026-10-20","recurrence":"FREQ=DAILY\r\nATTENDEE:mailto:x@example.com"}`, nil, 400, `"field":"recurrence"`},
		{"POST", events, `{"title":"x","start":"2026-10-20","recurrence":"FREQ=DAILY;COUNT=0"}`, nil, 400, `"field":"recurrence"`},
		{"POST", events, `{"title":"x","start":"2026-10-20","recurrence":"FREQ=DAILY;INTERVAL=0"}`, nil, 400, `"field":"recurrence"`},
		{"POST", events, `{"title":"x","start":"2026-10-20","recurrence":"FREQ=DAILY;COUNT=2;UNTIL=20261022"}`, nil, 400, `"field":"recurrence"`},
		{"POST", events, `{"title":"x","start":"2026-10-20","url":"http://a/\nATTENDEE:x"}`, nil, 400, `"field":"url"`},
		{"POST", events, `{"title":"x","start":"2026-10-20","uid":"../admin"}`, nil, 400, `"field":"uid"`},
		{"POST", events, `{"title":"x","start":"2026-10-20","uid":"visite"}`, nil, 409, "already_exists"},
		{"PATCH", events + "/visite.ics", `{"title":"y"}`, nil, 428, "condition_required"},
		{"PATCH", events + "/visite.ics", `{"title":"y"}`, []string{`If-Match: "old"`}, 412, "changed_meanwhile"},
		{"PATCH", events + "/visite.ics?occurrence=2026-10-28T09:00:00%2B01:00", `{"title":"y"}`, []string{"If-Match: *"}, 404, `"field":"occurrence"`},
		{"PATCH", events + "/visite.ics?occurrence=2026-10-27T09:00:00%2B01:00", `{"start":"2026-10-28T11:00:00","title":"Verlegt"}`, []string{`If-Match: "old", ` + made.ETag}, 200, `"title":"Verlegt"`},
		{"PATCH", events + "/visite.ics?occurrence=2026-10-27T09:00:00%2B01:00", `{"location":"Zimmer 4"}`, []string{"If-Match: *"}, 200, `"occurrence":"2026-10-27T09:00:00+01:00"`},
		{"PATCH", events + "/visite.ics?occurrence=2026-11-03T09:00:00%2B01:00", `{"location":"Zimmer 4"}`, []string{"If-Match: *"}, 200, `"start":"2026-11-03T09:00:00+01:00"`},
		{"GET", events + window, "", nil, 200, `"title":"Verlegt"`},
		{"GET", events + window, "", nil, 200, `"start":"2026-10-28T11:00:00+01:00","end":"2026-10-28T12:00:00+01:00"`},
		{"PATCH", events + "/visite.ics", `{"start":"2026-10-21T09:00:00"}`, []string{"If-Match: *"}, 409, "conflict"},
		{"PATCH", events + "/visite.ics", `{"description":""}`, []string{"If-Match: *"}, 200, `"all_day":false`},
		{"GET", "/integrations/calendars/free-busy" + window, "", nil, 200, `{"items":[{"start":"2026-10-20T07:00:00Z","end":"2026-10-20T08:00:00Z"},{"start":"2026-10-28T10:00:00Z","end":"2026-10-28T11:00:00Z"},{"start":"2026-11-03T08:00:00Z","end":"2026-11-03T09:00:00Z"}]}`},
		{"DELETE", events + "/visite.ics?occurrence=2026-11-03T09:00:00%2B01:00", "", []string{"If-Match: *"}, 204, ""},
		{"GET", "/integrations/calendars/free-busy" + window + "&calendar=personal", "", nil, 200, `"2026-10-28T11:00:00Z"}]}`},
		{"GET", "/integrations/calendars/personal/changes", "", nil, 200, `"id":"visite.ics"`},
		{"GET", "/integrations/calendars/personal/changes?cursor=http://example.com/1", "", nil, 410, "cursor_expired"},
		{"DELETE", events + "/visite.ics", "", nil, 428, "condition_required"},
		{"DELETE", events + "/visite.ics", "", []string{"If-Match: *"}, 204, ""},
		{"GET", events + window, "", nil, 200, `"items":[]`},
	}
	for _, s := range steps {
		resp, body := ask(s.method, s.path, s.body, s.header...)
		if resp.StatusCode != s.want || !strings.Contains(body, s.says) {
			t.Errorf("%s %s %s = %d %s, want %d with %q", s.method, s.path, s.body, resp.StatusCode, body, s.want, s.says)
		}
		if strings.Contains(body, "/remote.php/") {
			t.Errorf("%s %s shows where Nextcloud has it: %s", s.method, s.path, body)
		}
	}
}

// TestChangesOfWhicheverVersion: whoever changes whichever version there is, is
// not refused because others do so at the same time, and nobody's is lost.
func TestChangesOfWhicheverVersion(t *testing.T) {
	w, secret := programs(t)
	header := []string{basic("indexer", secret), "Content-Type: application/json"}
	for _, c := range []struct{ at, made, one, change string }{
		{"/integrations/calendars/personal/events", `{"title":"x","start":"2026-10-20T09:00:00","time_zone":"UTC","recurrence":"FREQ=DAILY;COUNT=8","uid":"x"}`, "/x.ics", `"title":"changed"`},
		{"/integrations/contacts/contacts/cards", `{"name":"x","uid":"x"}`, "/x.vcf", `"note":"changed"`},
	} {
		if resp, body := w.ask(nil, "POST", c.at, c.made, header...); resp.StatusCode != http.StatusCreated {
			t.Fatalf("POST %s = %d %s", c.at, resp.StatusCode, body)
		}
		var all sync.WaitGroup
		for n := range 8 {
			all.Go(func() {
				query := ""
				if strings.HasSuffix(c.one, ".ics") {
					query = fmt.Sprintf("?occurrence=2026-10-2%dT09:00:00Z", n)
				}
				if resp, body := w.ask(nil, "PATCH", c.at+c.one+query, "{"+c.change+"}", append(header, "If-Match: *")...); resp.StatusCode != http.StatusOK || !strings.Contains(body, c.change) {
					t.Errorf("PATCH %s%s = %d %s", c.one, query, resp.StatusCode, body)
				}
			})
		}
		all.Wait()
	}
	_, body := w.ask(nil, "GET", "/integrations/calendars/personal/events?from=2026-10-20T00:00:00Z&to=2026-10-29T00:00:00Z", "", header...)
	if n := strings.Count(body, `"title":"changed"`); n != 8 {
		t.Errorf("%d of 8 occurrences are changed: %s", n, body)
	}
}
