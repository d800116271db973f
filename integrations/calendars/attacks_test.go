package calendars

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-ical"
	"github.com/google/go-cmp/cmp"

	"anteroom/integrations"
	"anteroom/integrations/collections"
	"anteroom/integrations/contentline"
)

// keeper is a calendar server that keeps one object, whatever its name is.
type keeper struct {
	text    string
	version int
}

func (k *keeper) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	etag := fmt.Sprintf(`"%d"`, k.version)
	switch {
	case r.Header.Get("If-Match") != "" && r.Header.Get("If-Match") != etag:
		w.WriteHeader(http.StatusPreconditionFailed)
	case r.Method == http.MethodGet:
		w.Header().Set("ETag", etag)
		io.WriteString(w, k.text)
	case r.Method == http.MethodPut:
		b, _ := io.ReadAll(r.Body)
		k.text = string(b)
		k.version++
		w.WriteHeader(http.StatusNoContent)
	case r.Method == http.MethodDelete:
		k.text = ""
		w.WriteHeader(http.StatusNoContent)
	}
}

// keep has a calendar with one object.
func keep(t *testing.T, text string) (*keeper, *Calendars, Calendar) {
	t.Helper()
	k := &keeper{text: text}
	s := httptest.NewServer(k)
	t.Cleanup(s.Close)
	at, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	c, err := Open(t.Context(), Options{Service: collections.Service{HTTP: s.Client(), URL: at}, Home: "/", Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	return k, c, Calendar{ID: "cal", place: "/cal/"}
}

func calendarText(components ...string) string {
	var b strings.Builder
	b.WriteString("BEGIN:VCALENDAR\r\nVERSION:2.0\r\n")
	for _, c := range components {
		b.WriteString("BEGIN:VEVENT\r\nUID:1\r\n" + strings.ReplaceAll(c, "|", "\r\n") + "\r\nEND:VEVENT\r\n")
	}
	b.WriteString("END:VCALENDAR\r\n")
	return b.String()
}

// TestTheRightOccurrence: in whatever form an event names its occurrences, the
// one that is asked for is taken out or changed, and no other.
func TestTheRightOccurrence(t *testing.T) {
	const daily = "DTSTART;TZID=Europe/Berlin:20261019T090000|DURATION:PT1H|RRULE:FREQ=DAILY;COUNT=3"
	const from, to = "20261001T000000", "20261101T000000"
	moved := func(id string) string { return id + "|DTSTART;TZID=Europe/Berlin:20261020T150000|DURATION:PT1H" }
	for name, tc := range map[string]struct {
		text, occurrence, zone string
		before, after          string // how it is seen; after taking it out
	}{
		"by its zone":                  {calendarText(daily), "2026-10-20T09:00:00+02:00", "", "19T07 20T07 21T07", "19T07 21T07"},
		"by UTC":                       {calendarText(daily), "2026-10-20T07:00:00Z", "Asia/Tokyo", "19T07 20T07 21T07", "19T07 21T07"},
		"an override by UTC":           {calendarText(daily, moved("RECURRENCE-ID:20261020T070000Z")), "2026-10-20T07:00:00Z", "", "19T07 20T13 21T07", "19T07 21T07"},
		"an override by a date":        {calendarText(daily, moved("RECURRENCE-ID;VALUE=DATE:20261020")), "2026-10-20T09:00:00+02:00", "", "19T07 20T13 21T07", "19T07 21T07"},
		"an override by floating time": {calendarText(daily, moved("RECURRENCE-ID:20261020T090000")), "2026-10-20T09:00:00+02:00", "Asia/Tokyo", "19T07 20T13 21T07", "19T07 21T07"},
		"an override by another zone":  {calendarText(daily, moved("RECURRENCE-ID;TZID=America/New_York:20261020T030000")), "2026-10-20T07:00:00Z", "", "19T07 20T13 21T07", "19T07 21T07"},
		"the override comes first":     {calendarText(moved("RECURRENCE-ID:20261020T070000Z"), daily), "2026-10-20T07:00:00Z", "", "19T07 20T13 21T07", "19T07 21T07"},
		"an exception by a date":       {calendarText(daily + "|EXDATE;VALUE=DATE:20261019"), "2026-10-20T07:00:00Z", "", "20T07 21T07", "21T07"},
		"an exception by floating":     {calendarText(daily + "|EXDATE:20261019T090000"), "2026-10-20T07:00:00Z", "", "20T07 21T07", "21T07"},
		"an exception at midnight":     {calendarText("DTSTART;VALUE=DATE:20261019|RRULE:FREQ=DAILY;COUNT=3|EXDATE;TZID=Europe/Berlin:20261019T000000,20261021T000000"), "2026-10-20", "", "20", ""},
		"an unreadable one first":      {calendarText("DTSTART:never", daily), "2026-10-20T07:00:00Z", "", "19T07 20T07 21T07", "19T07 21T07"},
		"of later ones that were moved by days": {calendarText("DTSTART:20261005T090000Z|RRULE:FREQ=WEEKLY;COUNT=4", "RECURRENCE-ID;RANGE=THISANDFUTURE:20261012T090000Z|DTSTART:20261015T090000Z"), "2026-10-19T09:00:00Z", "",
			"05T09 15T09 22T09 29T09", "05T09 15T09 29T09"},
		"clocks go back, by UTC": {calendarText("DTSTART:20261024T003000Z|DURATION:PT10M|RRULE:FREQ=DAILY;COUNT=2;BYHOUR=0,1"), "2026-10-24T01:30:00Z", "Europe/Berlin",
			"24T00:30 24T01:30", "24T00:30"},
		"clocks go back, the second": {calendarText("DTSTART:20261025T003000Z|DURATION:PT10M|RRULE:FREQ=DAILY;COUNT=2;BYHOUR=0,1"), "2026-10-25T01:30:00Z", "Europe/Berlin",
			"25T00:30 25T01:30", "25T00:30"},
		"clocks go back, with an offset": {calendarText("DTSTART:20261025T003000Z|DURATION:PT10M|RRULE:FREQ=DAILY;COUNT=2;BYHOUR=0,1"), "2026-10-25T02:30:00+01:00", "Europe/Berlin",
			"25T00:30 25T01:30", "25T00:30"},
		"clocks go forward": {calendarText("DTSTART;TZID=Europe/Berlin:20260328T023000|DURATION:PT10M|RRULE:FREQ=DAILY;COUNT=3"), "2026-03-29T03:30:00+02:00", "Europe/Berlin",
			"28T01:30 29T01:30 30T00:30", "28T01:30 30T00:30"},
	} {
		t.Run(name, func(t *testing.T) {
			k, c, cal := keep(t, tc.text)
			seen := func() string {
				var short []string
				f, u := from, to
				if strings.Contains(tc.text, "202603") {
					f, u = "20260301T000000", "20260401T000000"
				}
				for _, at := range happens(t, k.text, f, u) {
					short = append(short, strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(at[8:], "Z"), ":00"), ":00"))
				}
				return strings.Join(short, " ")
			}
			if diff := cmp.Diff(tc.before, seen()); diff != "" {
				t.Fatalf("before (-want +got):\n%s", diff)
			}
			title := "changed"
			if _, err := c.Update(t.Context(), cal, "1", &Fields{Title: &title}, Only{IfMatch: "*", Occurrence: tc.occurrence, Zone: tc.zone}); err != nil {
				t.Fatalf("Update = %v", err)
			}
			if diff := cmp.Diff(tc.before, seen()); diff != "" || strings.Count(k.text, "SUMMARY:changed") != 1 {
				t.Errorf("after a change (-want +got):\n%s\n%s", diff, k.text)
			}
			k.text = tc.text
			if err := c.Delete(t.Context(), cal, "1", Only{IfMatch: "*", Occurrence: tc.occurrence, Zone: tc.zone}); err != nil {
				t.Fatalf("Delete = %v", err)
			}
			if diff := cmp.Diff(tc.after, seen()); diff != "" {
				t.Errorf("after it was taken out (-want +got):\n%s\n%s", diff, k.text)
			}
		})
	}
}

// TestNoOtherOccurrence: what does not name an occurrence for certain changes
// none.
func TestNoOtherOccurrence(t *testing.T) {
	const daily = "DTSTART;TZID=Europe/Berlin:20261019T090000|DURATION:PT1H|RRULE:FREQ=DAILY;COUNT=3"
	const floating = "DTSTART:20261019T070000|DURATION:PT1H|RRULE:FREQ=DAILY;COUNT=6;BYHOUR=7,9"
	for name, tc := range map[string]struct{ text, occurrence, zone, reason string }{
		"no such":                         {calendarText(daily), "2026-10-20T09:00:00Z", "", integrations.ReasonNotFound},
		"it does not recur":               {calendarText("DTSTART:20261019T090000Z"), "2026-10-19T09:00:00Z", "", integrations.ReasonNotFound},
		"floating, seen from elsewhere":   {calendarText(floating), "2026-10-20T09:00:00+02:00", "UTC", integrations.ReasonNotFound},
		"two calendars":                   {calendarText(daily) + calendarText(daily), "2026-10-20T07:00:00Z", "", integrations.ReasonConflict},
		"two masters":                     {calendarText(daily, daily), "2026-10-20T07:00:00Z", "", integrations.ReasonConflict},
		"two events":                      {strings.Replace(calendarText(daily, daily), "UID:1", "UID:2", 1), "2026-10-20T07:00:00Z", "", integrations.ReasonConflict},
		"lines that others read as ends":  {calendarText("X.BEGIN:VEVENT|DTSTART:20261019T090000Z|X.END:VEVENT|X.END:VEVENT", daily), "2026-10-20T07:00:00Z", "", integrations.ReasonConflict},
		"begun with a parameter":          {strings.Replace(calendarText("DTSTART:20261019T090000Z|RECURRENCE-ID:20261019T090000Z", daily), "BEGIN:VEVENT", "BEGIN;X=1:VEVENT", 1), "2026-10-20T07:00:00Z", "", integrations.ReasonConflict},
		"a line that names it for others": {calendarText(daily + "|X.RECURRENCE-ID:20261019T090000Z"), "2026-10-20T07:00:00Z", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			k, c, cal := keep(t, tc.text)
			err := c.Delete(t.Context(), cal, "1", Only{IfMatch: "*", Occurrence: tc.occurrence, Zone: tc.zone})
			p, _ := integrations.ProblemOf(err)
			switch {
			case tc.reason == "" && (err != nil || strings.Count(k.text, "EXDATE") != 1):
				t.Errorf("Delete = %v, want one taken out\n%s", err, k.text)
			case tc.reason != "" && (p == nil || p.Reason != tc.reason || k.text != tc.text):
				t.Errorf("Delete = %v, want %s and nothing changed\n%s", err, tc.reason, k.text)
			}
		})
	}
}

// TestTheNightClocksGoBack: times that are shown twice are where they were said
// to be, and an event lasts as long as it does.
func TestTheNightClocksGoBack(t *testing.T) {
	k, c, cal := keep(t, "")
	zone := "Europe/Berlin"
	for _, tc := range []struct{ start, end, from, to, holds string }{
		{"2026-10-25T02:30:00+02:00", "2026-10-25T02:45:00+02:00", "2026-10-25T02:30:00+02:00", "2026-10-25T02:45:00+02:00", "DTSTART;TZID=Europe/Berlin:20261025T023000"},
		{"2026-10-25T02:30:00+01:00", "2026-10-25T02:45:00+01:00", "2026-10-25T01:30:00Z", "2026-10-25T01:45:00Z", "DTSTART:20261025T013000Z"},
		{"2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00", "2026-10-25T02:30:00+02:00", "2026-10-25T01:30:00Z", "DTEND:20261025T013000Z"},
	} {
		e, err := c.Create(t.Context(), cal, "", &Fields{Title: &tc.start, Start: &tc.start, End: &tc.end, TimeZone: &zone})
		if err == nil {
			e, err = c.Event(t.Context(), cal, "1", zone)
		}
		if err != nil || e.Start != tc.from || e.End != tc.to || !strings.Contains(k.text, tc.holds) {
			t.Errorf("from %s to %s = from %s to %s, %v; want %s to %s, and %s in\n%s", tc.start, tc.end, e.Start, e.End, err, tc.from, tc.to, tc.holds, k.text)
		}
	}
	k.text = calendarText("DTSTART;TZID=Europe/Berlin:20261025T013000|DURATION:PT90M")
	if e, err := c.Event(t.Context(), cal, "1", ""); err != nil || e.End != "2026-10-25T02:00:00+01:00" {
		t.Errorf("90 minutes from half past one end at %s (%v), want the second two o'clock", e.End, err)
	}
	rule, start := "FREQ=DAILY", "2026-10-25T02:30:00+01:00"
	if _, err := c.Create(t.Context(), cal, "", &Fields{Start: &start, TimeZone: &zone, Recurrence: &rule}); err == nil {
		t.Errorf("what recurs begins at a time that its zone cannot say:\n%s", k.text)
	}
}

// TestRulesOfOneReading: rules that others would read in another way are not
// stored.
func TestRulesOfOneReading(t *testing.T) {
	start, zone := "2026-10-20T09:00:00", "Europe/Berlin"
	for _, rule := range []string{"FREQ=DAILY;FREQ=SECONDLY", "DTSTART=20200101T000000Z;FREQ=DAILY", "FREQ=YEARLY;BYEASTER=0", "FREQ=DAILY;COUNT=2;COUNT=100000", "FREQ=DAILY;X=1", "FREQ=DAILY;"} {
		k, c, cal := keep(t, "")
		if _, err := c.Create(t.Context(), cal, "", &Fields{Start: &start, TimeZone: &zone, Recurrence: &rule}); err == nil {
			t.Errorf("%s was stored: %s", rule, k.text)
		}
	}
}

// TestSeriesThatMove: a rule that goes with the start as it was has to be said
// again where that moves, and no rule may leave behind what was changed.
func TestSeriesThatMove(t *testing.T) {
	const weekly = "DTSTART;TZID=Europe/Berlin:20261019T090000|DURATION:PT1H|RRULE:FREQ=WEEKLY"
	changed := "RECURRENCE-ID;TZID=Europe/Berlin:20261026T090000|DTSTART;TZID=Europe/Berlin:20261027T150000|DURATION:PT1H|SUMMARY:changed"
	str := func(s string) *string { return &s }
	for name, tc := range map[string]struct {
		text   string
		fields Fields
		want   string // the field at fault; "" for none
	}{
		"a plain rule":                      {calendarText(weekly + ";COUNT=3"), Fields{Start: str("2026-10-20T10:00:00")}, ""},
		"with an end":                       {calendarText(weekly + ";UNTIL=20261102T080000Z"), Fields{Start: str("2026-10-19T10:00:00")}, "recurrence"},
		"with an end that is said again":    {calendarText(weekly + ";UNTIL=20261102T080000Z"), Fields{Start: str("2026-10-19T10:00:00"), Recurrence: str("FREQ=WEEKLY;UNTIL=20261102T090000Z")}, ""},
		"with an end, its own end":          {calendarText(weekly + ";UNTIL=20261102T080000Z"), Fields{End: str("2026-10-19T12:00:00")}, ""},
		"with an end, to where it is":       {calendarText(weekly + ";UNTIL=20261102T080000Z"), Fields{Start: str("2026-10-19T07:00:00Z")}, ""},
		"with days, to another hour":        {calendarText(weekly + ";BYDAY=MO"), Fields{Start: str("2026-10-19T10:00:00")}, ""},
		"with days, to another day":         {calendarText(weekly + ";BYDAY=MO"), Fields{Start: str("2026-10-20T09:00:00")}, "recurrence"},
		"with hours, to another":            {calendarText(weekly + ";BYHOUR=9"), Fields{Start: str("2026-10-19T10:00:00")}, "recurrence"},
		"with an end, to another zone":      {calendarText(weekly + ";UNTIL=20261102T080000Z"), Fields{TimeZone: str("America/New_York")}, "recurrence"},
		"to whole days":                     {calendarText(weekly + ";BYDAY=MO"), Fields{Start: str("2026-10-19")}, "recurrence"},
		"a longer rule, one changed":        {calendarText(weekly+";COUNT=3", changed), Fields{Recurrence: str("FREQ=WEEKLY;COUNT=9")}, ""},
		"a rule without the one changed":    {calendarText(weekly+";COUNT=3", changed), Fields{Recurrence: str("FREQ=WEEKLY;INTERVAL=2")}, "recurrence"},
		"no rule any more, one changed":     {calendarText(weekly+";COUNT=3", changed), Fields{Recurrence: str("")}, "recurrence"},
		"no rule any more, and none was":    {calendarText(weekly + ";COUNT=3"), Fields{Recurrence: str("")}, ""},
		"one changed that never was in it":  {calendarText(weekly+";COUNT=1", changed), Fields{Recurrence: str("FREQ=WEEKLY;INTERVAL=2")}, ""},
		"one changed, by a rule too fast":   {calendarText(strings.Replace(weekly, "WEEKLY", "HOURLY", 1), changed), Fields{Recurrence: str("FREQ=WEEKLY")}, ""},
		"one changed, and the text of them": {calendarText(weekly+";COUNT=3", changed), Fields{Title: str("x")}, ""},
	} {
		k, c, cal := keep(t, tc.text)
		_, err := c.Update(t.Context(), cal, "1", &tc.fields, Only{IfMatch: "*"})
		if p, _ := integrations.ProblemOf(err); tc.want == "" && err != nil || tc.want != "" && (p == nil || p.Field != tc.want || k.text != tc.text) {
			t.Errorf("%s: Update = %v, want a refusal for %q; now there is\n%s", name, err, tc.want, k.text)
		}
		if strings.Contains(tc.text, "changed") && !strings.Contains(k.text, "SUMMARY:changed") {
			t.Errorf("%s: what was changed is lost:\n%s", name, k.text)
		}
	}
}

// TestOnwardByUTC: an override that all later occurrences go by moves them by
// as much as itself, though it names the one it stands for by UTC.
func TestOnwardByUTC(t *testing.T) {
	got := happens(t, calendarText("DTSTART;TZID=Europe/Berlin:20260301T090000|RRULE:FREQ=DAILY;COUNT=4", "RECURRENCE-ID;RANGE=THISANDFUTURE:20260303T080000Z|DTSTART;TZID=Europe/Berlin:20260303T110000"), "20260301T000000", "20260401T000000")
	want := []string{"2026-03-01T08:00:00Z", "2026-03-02T08:00:00Z", "2026-03-03T10:00:00Z", "2026-03-04T10:00:00Z"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	// From Fridays to Mondays of the same week, looked at until the Tuesday.
	got = happens(t, calendarText("DTSTART:20260306T090000Z|RRULE:FREQ=WEEKLY", "RECURRENCE-ID;RANGE=THISANDFUTURE:20260313T090000Z|DTSTART:20260309T090000Z"), "20260314T000000", "20260317T000000")
	if diff := cmp.Diff([]string{"2026-03-16T09:00:00Z"}, got); diff != "" {
		t.Error(diff)
	}
}

// FuzzEdits: whatever an object is, changing one event of it, or taking an
// occurrence out, leaves all others as they were, and what can be read again.
func FuzzEdits(f *testing.F) {
	const daily = "DTSTART;TZID=Europe/Berlin:20260119T090000|DURATION:PT1H|RRULE:FREQ=DAILY;COUNT=3"
	f.Add(calendarText(daily, "RECURRENCE-ID:20260120T080000Z|DTSTART;TZID=Europe/Berlin:20260120T150000|BEGIN:VALARM|SUMMARY:a|END:VALARM"), "x", uint8(1))
	f.Add(calendarText("X.BEGIN:VEVENT|DTSTART:20260119T090000Z|X.END:VEVENT|X.END:VEVENT", daily), "\n", uint8(0))
	f.Add("\n"+strings.Replace(calendarText(daily, "DTSTART;VALUE=DATE:20260101|RRULE:FREQ=WEEKLY|EXDATE;VALUE=DATE:20260108"), "UID:1", "UI\r\n D:2", 1), "END:VEVENT", uint8(2))
	from := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, text, title string, which uint8) {
		cal, err := readObject(text)
		if len(text) > 4<<10 || err != nil {
			return
		}
		only := Only{}
		for _, s := range seriesOf(cal, atlas{}) {
			s.expand(from, from.AddDate(1, 0, 0), utc, func(o occurrence) {
				if o.id != nil && which > 0 {
					only.Occurrence = o.id.text(utc)
					which--
				}
			})
		}
		for _, takeOut := range []bool{false, true} {
			e := &edit{sheet: contentline.Of(text), fields: &Fields{Title: &title}, now: from, object: &object{cal: cal, text: text}}
			if err := e.find(only); err != nil {
				return
			}
			changed, fresh := e.comp, e.fresh
			if takeOut && only.Occurrence != "" {
				err = e.takeOut()
			} else {
				err = e.update()
			}
			if err != nil {
				continue
			}
			after, err := readObject(e.sheet.String())
			if err != nil {
				t.Fatalf("%q became %q, which cannot be read", text, e.sheet)
			}
			for _, was := range cal.Children {
				same := func(c *ical.Component) bool { return reflect.DeepEqual(c, was) }
				if was != changed && was != e.comp && !slices.ContainsFunc(after.Children, same) || was == changed && fresh && !takeOut && !slices.ContainsFunc(after.Children, same) {
					t.Errorf("%q became %q: another event is not as it was", text, e.sheet)
				}
			}
			if n := len(after.Children) - len(cal.Children); n < -1 || n > 1 {
				t.Errorf("%q became %q: %d components came", text, e.sheet, n)
			}
		}
	})
}
