package calendars

import (
	"fmt"
	"io"
	"testing"
	"time"
)

// TestWhatTakesUpTime: neither what is cancelled or transparent does, nor
// anything in a calendar that is (RFC 6638 §9.1).
func TestWhatTakesUpTime(t *testing.T) {
	from := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	window := Window{From: from, To: from.AddDate(0, 0, 7)}
	const begins, weekly = "DTSTART:20260302T090000Z\r\nDTEND:20260302T100000Z", "RRULE:FREQ=DAILY;COUNT=2"
	for _, tt := range []struct {
		name, calendar string
		events         []string
		want           int
	}{
		{"an event", "opaque", []string{begins}, 1},
		{"a transparent one", "opaque", []string{begins, "TRANSP:TRANSPARENT"}, 0},
		{"a cancelled one", "opaque", []string{begins, "STATUS:CANCELLED"}, 0},
		{"a tentative one", "opaque", []string{begins, "STATUS:TENTATIVE"}, 1},
		{"one with a cancelled occurrence", "opaque", []string{begins, weekly, "END:VEVENT", "BEGIN:VEVENT", "UID:1", "RECURRENCE-ID:20260303T090000Z", "DTSTART:20260303T090000Z", "STATUS:CANCELLED"}, 1},
		{"an event in a transparent calendar", "transparent", []string{begins}, 0},
	} {
		c, _ := hostile(t, func(w io.Writer) {
			fmt.Fprintf(w, `<d:response><d:href>/cal/</d:href><d:propstat><d:prop><d:resourcetype><d:collection/><c:calendar/></d:resourcetype><c:schedule-calendar-transp><c:%s/></c:schedule-calendar-transp></d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response>`, tt.calendar)
			response(w, "1", eventText(tt.events...))
		})
		all, err := c.Calendars(t.Context())
		if err != nil || len(all) != 1 {
			t.Fatalf("%s: calendars %v, %v", tt.name, all, err)
		}
		busy, _, err := c.FreeBusy(t.Context(), all, window)
		if err != nil || len(busy) != tt.want {
			t.Errorf("%s: busy %v, %v, want %d", tt.name, busy, err, tt.want)
		}
	}
}
