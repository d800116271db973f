package calendars

import (
	"context"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"testing"
	"time"

	"anteroom/integrations/collections"
)

// hostile is a calendar server with one calendar, /cal/, whose answers to a
// REPORT are whatever a test wants.
func hostile(t *testing.T, report func(w io.Writer)) (*Calendars, Calendar) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusMultiStatus)
		io.WriteString(w, `<d:multistatus xmlns:d="DAV:" xmlns:c="urn:ietf:params:xml:ns:caldav">`)
		report(w)
		io.WriteString(w, `</d:multistatus>`)
	}))
	t.Cleanup(s.Close)
	at, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	c, err := Open(t.Context(), Options{Service: collections.Service{HTTP: s.Client(), URL: at}, Home: "/", Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	return c, Calendar{ID: "cal", place: "/cal/"}
}

func response(w io.Writer, id, text string) error {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(text))
	_, err := fmt.Fprintf(w, `<d:response><d:href>/cal/%s</d:href><d:propstat><d:prop><d:getetag>"1"</d:getetag><c:calendar-data>%s</c:calendar-data></d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response>`, id, b.String())
	return err
}

func eventText(lines ...string) string {
	return "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nUID:1\r\n" + strings.Join(lines, "\r\n") + "\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
}

// TestAnswersAreBounded: whatever is in a calendar, one answer takes little
// memory and time, and says that it is not all there is.
func TestAnswersAreBounded(t *testing.T) {
	daily := []string{"DTSTART:20260101T000000Z", "DURATION:PT1H", "RRULE:FREQ=DAILY"}
	window := Window{From: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), To: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)}
	for name, tc := range map[string]struct {
		report func(w io.Writer)
		most   uint64 // MiB
		cut    bool
	}{
		"a long text, every day": {func(w io.Writer) {
			response(w, "1", eventText(append(daily, "DESCRIPTION:"+strings.Repeat("a", 1<<20))...))
		}, 48, false},
		"a long list, every day": {func(w io.Writer) {
			response(w, "1", eventText(append(daily, "CATEGORIES:"+strings.Repeat(",", 1<<20))...))
		}, 48, false},
		"a long word, every day": {func(w io.Writer) {
			response(w, "1", eventText(append(daily, "TRANSP:"+strings.Repeat("a", 1<<20), "STATUS:"+strings.Repeat("a", 1<<18))...))
		}, 48, false},
		"many long texts": {func(w io.Writer) {
			for i := range 40 {
				response(w, fmt.Sprint(i), eventText(append(daily, "DESCRIPTION:"+strings.Repeat("a", 1<<20))...))
			}
		}, 800, true},
		"what never ends": {func(w io.Writer) {
			for i := 0; response(w, fmt.Sprint(i), eventText(daily...)) == nil; i++ {
			}
		}, 200, true},
	} {
		t.Run(name, func(t *testing.T) {
			c, k := hostile(t, tc.report)
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			events, cut, err := c.Events(ctx, k, window)
			runtime.ReadMemStats(&after)
			if took := (after.TotalAlloc - before.TotalAlloc) >> 20; err != nil || cut != tc.cut || len(events) == 0 || took > tc.most {
				t.Errorf("%d events, cut %v, %v; %d MiB allocated; want cut %v and less than %d MiB", len(events), cut, err, took, tc.cut, tc.most)
			}
			if _, cut, err := c.FreeBusy(ctx, []Calendar{k, k}, window); err != nil || cut && !tc.cut {
				t.Errorf("FreeBusy: cut %v, %v", cut, err)
			}
		})
	}
}

// TestAnswersThatAreLong: a server whose one response has no end, or whose
// responses are none that could be used, is not listened to for ever.
func TestAnswersThatAreLong(t *testing.T) {
	window := Window{From: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), To: time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)}
	for name, report := range map[string]func(w io.Writer){
		"of no use": func(w io.Writer) {
			for {
				if _, err := io.WriteString(w, strings.Repeat("<d:response/>", 10_000)); err != nil {
					return
				}
			}
		},
		"of many parts": func(w io.Writer) {
			io.WriteString(w, "<d:response>"+strings.Repeat("<d:propstat/>", 500_000)+"</d:response>")
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, k := hostile(t, report)
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			if _, cut, err := c.Events(ctx, k, window); err == nil && !cut || ctx.Err() != nil {
				t.Errorf("Events = cut %v, %v (%v), want a refusal in time", cut, err, ctx.Err())
			}
			if _, err := c.Calendars(ctx); err == nil || ctx.Err() != nil {
				t.Errorf("Calendars = %v (%v), want a refusal in time", err, ctx.Err())
			}
		})
	}
}
