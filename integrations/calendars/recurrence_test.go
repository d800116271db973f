package calendars

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
	_ "time/tzdata"

	"github.com/google/go-cmp/cmp"

	"anteroom/integrations/contentline"
)

// ruleCase is one of testdata/recurrence.json; recurrence.py says what its
// members are.
type ruleCase struct {
	Name, Zone, Start, Rule string
	From, To                string
	Minutes, Days           int
	RDate, ExDate           []string
	Overrides               map[string]string
}

// text is the case as an iCalendar object.
func (c *ruleCase) text(tzid string) string {
	day := len(c.Start) == 8
	prop := func(name, value string) string {
		switch {
		case day:
			return name + ";VALUE=DATE:" + value + "\r\n"
		case tzid == "UTC":
			return name + ":" + value + "Z\r\n"
		case tzid != "":
			return name + ";TZID=" + tzid + ":" + value + "\r\n"
		}
		return name + ":" + value + "\r\n"
	}
	length := fmt.Sprintf("DURATION:PT%dM\r\n", c.Minutes)
	if day {
		length = fmt.Sprintf("DURATION:P%dD\r\n", max(c.Days, 1))
	}
	var b strings.Builder
	b.WriteString("BEGIN:VEVENT\r\nUID:1\r\nDTSTAMP:20260101T000000Z\r\n" + prop("DTSTART", c.Start) + length)
	if c.Rule != "" {
		b.WriteString("RRULE:" + c.Rule + "\r\n")
	}
	for _, d := range c.RDate {
		b.WriteString(prop("RDATE", d))
	}
	if len(c.ExDate) > 0 {
		b.WriteString(prop("EXDATE", strings.Join(c.ExDate, map[bool]string{true: "Z,", false: ","}[tzid == "UTC"])))
	}
	b.WriteString("END:VEVENT\r\n")
	for id, start := range c.Overrides {
		b.WriteString("BEGIN:VEVENT\r\nUID:1\r\nDTSTAMP:20260101T000000Z\r\n" + prop("RECURRENCE-ID", id) + prop("DTSTART", start) + length + "END:VEVENT\r\n")
	}
	return b.String()
}

// happens expands a calendar object as Events does.
func happens(t *testing.T, text, from, to string) []string {
	t.Helper()
	cal, err := readObject(text)
	if err != nil {
		t.Fatalf("readObject(%q) = %v", text, err)
	}
	parse := func(s string) time.Time {
		at, err := time.Parse(localForm, s)
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	type when struct {
		at   time.Time
		text string
	}
	var found []when
	here := named("Europe/Berlin")
	for _, s := range seriesOf(cal, atlas{}) {
		if cut := s.expand(parse(from), parse(to), here, func(o occurrence) {
			w := when{o.start.at(here), o.start.at(here).UTC().Format(time.RFC3339)}
			if o.start.day {
				w.text = o.start.wall.Format(time.DateOnly)
			}
			found = append(found, w)
		}); cut {
			t.Errorf("%s: not all were looked for", text)
		}
	}
	slices.SortFunc(found, func(a, b when) int { return a.at.Compare(b.at) })
	list := []string{}
	for _, w := range found {
		list = append(list, w.text)
	}
	return list
}

// TestAgainstDateutil: events happen when python-dateutil says, however their
// zone is named or described.
func TestAgainstDateutil(t *testing.T) {
	var cases []ruleCase
	golden := map[string][]string{}
	for file, to := range map[string]any{"testdata/recurrence.json": &cases, "testdata/recurrence.golden.json": &golden} {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(b, to); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
	}
	if len(cases) < 30 || len(cases) != len(golden) {
		t.Fatalf("%d cases and %d answers", len(cases), len(golden))
	}
	for _, c := range cases {
		want := golden[c.Name]
		wrap := func(zones, events string) string {
			return "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:test\r\n" + zones + events + "END:VCALENDAR\r\n"
		}
		if diff := cmp.Diff(want, happens(t, wrap("", c.text(c.Zone)), c.From, c.To)); diff != "" {
			t.Errorf("%s (-dateutil +Anteroom):\n%s", c.Name, diff)
		}
		if c.Zone == "" || c.Zone == "UTC" || len(c.Start) == 8 {
			continue
		}
		// A zone nobody knows by its name, described as Anteroom describes it.
		year := 2000
		fmt.Sscanf(c.Start, "%4d", &year)
		own := strings.Join(contentline.FoldAll(named(c.Zone).vtimezone(year)), "")
		own = strings.Replace(own, "TZID:"+c.Zone, "TZID:Own Zone", 1)
		if diff := cmp.Diff(want, happens(t, wrap(own, c.text("Own Zone")), c.From, c.To)); diff != "" {
			t.Errorf("%s, by its VTIMEZONE (-dateutil +Anteroom):\n%s\n%s", c.Name, diff, own)
		}
	}
}

// TestZonesByOtherNames: how Outlook, Thunderbird and others name zones.
func TestZonesByOtherNames(t *testing.T) {
	const custom = "BEGIN:VTIMEZONE\r\nTZID:Customized Time Zone\r\nBEGIN:STANDARD\r\nDTSTART:16010101T030000\r\nTZOFFSETFROM:+0200\r\nTZOFFSETTO:+0100\r\nRRULE:FREQ=YEARLY;INTERVAL=1;BYDAY=-1SU;BYMONTH=10\r\nEND:STANDARD\r\nBEGIN:DAYLIGHT\r\nDTSTART:16010101T020000\r\nTZOFFSETFROM:+0100\r\nTZOFFSETTO:+0200\r\nRRULE:FREQ=YEARLY;INTERVAL=1;BYDAY=-1SU;BYMONTH=3\r\nEND:DAYLIGHT\r\nEND:VTIMEZONE\r\n"
	const located = "BEGIN:VTIMEZONE\r\nTZID:Berlin (mine)\r\nX-LIC-LOCATION:Europe/Berlin\r\nBEGIN:STANDARD\r\nDTSTART:19700101T000000\r\nTZOFFSETFROM:+0100\r\nTZOFFSETTO:+0100\r\nEND:STANDARD\r\nEND:VTIMEZONE\r\n"
	for _, tc := range []struct{ tzid, zones, want string }{
		{"Europe/Berlin", "", "2026-07-01T07:00:00Z"},
		{"W. Europe Standard Time", "", "2026-07-01T07:00:00Z"},
		{"/freeassociation.sourceforge.net/Europe/Berlin", "", "2026-07-01T07:00:00Z"},
		{"/mozilla.org/20050126_1/Europe/Berlin", "", "2026-07-01T07:00:00Z"},
		{"Berlin (mine)", located, "2026-07-01T07:00:00Z"},
		{"Customized Time Zone", custom, "2026-07-01T07:00:00Z"},
		{"US/Eastern", "", "2026-07-01T13:00:00Z"},
		{"Eastern Standard Time", "", "2026-07-01T13:00:00Z"},
		{"UTC", "", "2026-07-01T09:00:00Z"},
		{"Etc/UTC", "", "2026-07-01T09:00:00Z"},
		{"Nowhere/Known", "", "2026-07-01T07:00:00Z"},          // where one is: Berlin
		{"../../../../etc/passwd", "", "2026-07-01T07:00:00Z"}, // likewise
		{"Local", "", "2026-07-01T07:00:00Z"},
	} {
		text := "BEGIN:VCALENDAR\r\n" + tc.zones + "BEGIN:VEVENT\r\nUID:1\r\nDTSTART;TZID=" + tc.tzid + ":20260701T090000\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
		if got := happens(t, text, "20260601T000000", "20260801T000000"); len(got) != 1 || got[0] != tc.want {
			t.Errorf("TZID=%s: %v, want %s", tc.tzid, got, tc.want)
		}
		winter := strings.NewReplacer("T07:", "T08:", "T13:", "T14:", "-07-", "-01-").Replace(tc.want)
		if got := happens(t, strings.Replace(text, ":20260701", ":20260101", 1), "20251201T000000", "20260201T000000"); len(got) != 1 || got[0] != winter {
			t.Errorf("TZID=%s, in winter: %v, want %s", tc.tzid, got, winter)
		}
	}
}

// TestOnward: an override that all later occurrences go by.
func TestOnward(t *testing.T) {
	got := happens(t, "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nUID:1\r\nDTSTART:20260301T090000Z\r\nRRULE:FREQ=DAILY;COUNT=4\r\nEND:VEVENT\r\n"+
		"BEGIN:VEVENT\r\nUID:1\r\nRECURRENCE-ID;RANGE=THISANDFUTURE:20260303T090000Z\r\nDTSTART:20260303T110000Z\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n", "20260301T000000", "20260401T000000")
	want := []string{"2026-03-01T09:00:00Z", "2026-03-02T09:00:00Z", "2026-03-03T11:00:00Z", "2026-03-04T11:00:00Z"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestBoundedWork: rules and texts that would take for ever take no longer than
// others, and are said to be cut.
func TestBoundedWork(t *testing.T) {
	far := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, rule := range []string{"FREQ=SECONDLY", "FREQ=HOURLY;COUNT=1000000000", "FREQ=DAILY;COUNT=1000000000", "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30",
		"FREQ=DAILY;BYHOUR=0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23;BYMINUTE=" + numbers(60) + ";BYSECOND=" + numbers(60), "FREQ=YEARLY;BYDAY=99MO", "X=1", "FREQ=DAILY;COUNT=0", "FREQ=DAILY;INTERVAL=0", "FREQ=DAILY;INTERVAL=-1", "FREQ=DAILY;BYSETPOS=0"} {
		cal, err := readObject("BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nUID:1\r\nDTSTART:19000101T090000Z\r\nRRULE:" + rule + "\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n")
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		cut := seriesOf(cal, atlas{})[0].expand(far, far.AddDate(5, 0, 0), utc, func(occurrence) { n++ })
		if n > maxOccurrences || !cut && rule != "FREQ=DAILY;COUNT=1000000000" && !strings.HasPrefix(rule, "FREQ=YEARLY;BYMONTH=2") {
			t.Errorf("%s = %d occurrences, cut %v", rule, n, cut)
		}
	}
	for name, text := range map[string]string{
		"many rules":            "DTSTART:19000101T000000Z\r\n" + strings.Repeat("RRULE:FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30\r\n", 10_000),
		"many overrides":        "DTSTART:19000101T000000Z\r\nRRULE:FREQ=DAILY\r\n" + overrides(3000),
		"many times a day":      "DTSTART:19000101T000000Z\r\nRRULE:FREQ=YEARLY;BYDAY=MO,TU,WE,TH,FR,SA,SU;BYHOUR=" + numbers(24) + ";BYMINUTE=" + numbers(60) + ";BYSECOND=" + numbers(60) + "\r\n",
		"many zones":            "DTSTART:20260101T000000Z\r\n" + distinct(30_000, "EXDATE;TZID=a/b/c/%d:20260101T000000\r\n"),
		"zones without changes": "DTSTART;TZID=0:20260101T000000\r\n" + distinct(2000, "EXDATE;TZID=%d:20260101T000000\r\n") + "END:VEVENT\r\n" + distinct(2000, "BEGIN:VTIMEZONE\r\nTZID:%d\r\n"+strings.Repeat("BEGIN:STANDARD\r\nDTSTART:16010101T000000\r\nTZOFFSETFROM:+0100\r\nTZOFFSETTO:+0200\r\nRRULE:FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30\r\nEND:STANDARD\r\n", 6)+"END:VTIMEZONE\r\n") + "BEGIN:VEVENT\r\n",
		"many exceptions":       "DTSTART:19000101T000000Z\r\nRRULE:FREQ=DAILY\r\nEXDATE:" + strings.Repeat("20260101T000000Z,", 100_000) + "\r\n",
	} {
		cal, err := readObject("BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nUID:1\r\n" + text + "END:VEVENT\r\nEND:VCALENDAR\r\n")
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		begun := time.Now()
		for _, s := range seriesOf(cal, atlas{}) {
			s.expand(far, far.AddDate(5, 0, 0), utc, func(occurrence) {})
		}
		if took := time.Since(begun); took > unbounded {
			t.Errorf("%s took %v, as though nothing bounded it", name, took)
		}
	}
	for name, text := range map[string]string{
		"a parameter of a megabyte": "BEGIN:VCALENDAR\nBEGIN:VEVENT\nX;A=" + strings.Repeat("a", 1<<20) + ":1\nEND:VEVENT\nEND:VCALENDAR\n",
		"one that is cut off":       "BEGIN:VCALENDAR\nBEGIN:VEVENT\nX;A=b\nEND:VEVENT\nEND:VCALENDAR\n",
		"a quote that goes on":      "BEGIN:VCALENDAR\nBEGIN:VEVENT\nX;A=\"a\"b:1\nEND:VEVENT\nEND:VCALENDAR\n",
		"many lines":                "BEGIN:VCALENDAR\n" + strings.Repeat("A:\n", 200_000) + "END:VCALENDAR\n",
		"many parameters":           "BEGIN:VCALENDAR\n" + strings.Repeat("A"+strings.Repeat(";B=", 1000)+":\n", 200) + "END:VCALENDAR\n",
		"deep":                      strings.Repeat("BEGIN:A\n", 100_000),
		"no end":                    "BEGIN:VCALENDAR\nBEGIN:VEVENT\n",
		"nothing":                   "",
		"large":                     strings.Repeat("A", maxObject+1),
	} {
		if cal, err := readObject(text); err == nil {
			t.Errorf("%s: readObject = %v, want an error", name, cal)
		}
	}
}

// unbounded is less than what these took before they were bounded, and far more
// than they take on any machine since.
const unbounded = time.Minute

func distinct(n int, format string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format, i)
	}
	return b.String()
}

// overrides ends an event, and begins as many that stand for occurrences of it.
func overrides(n int) string {
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var b strings.Builder
	for i := range n {
		b.WriteString("END:VEVENT\r\nBEGIN:VEVENT\r\nUID:1\r\nRECURRENCE-ID;RANGE=THISANDFUTURE:" + at.Add(time.Duration(i)*time.Second).Format(utcForm) + "\r\nDTSTART:20260101T000000Z\r\n")
	}
	return b.String()
}

func numbers(n int) string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprint(i)
	}
	return strings.Join(list, ",")
}

// FuzzEvents: whatever an event says, reading and expanding it ends, and gives
// times that are times.
func FuzzEvents(f *testing.F) {
	f.Add("BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nUID:1\r\nDTSTART;TZID=Europe/Berlin:20260329T023000\r\nDTEND;TZID=Europe/Berlin:20260329T030000\r\nRRULE:FREQ=MONTHLY;BYDAY=-1SU\r\nEXDATE:20260426T003000Z\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n")
	f.Add("BEGIN:VCALENDAR\nBEGIN:VTIMEZONE\nTZID:x\nBEGIN:STANDARD\nDTSTART:16010101T000000\nTZOFFSETFROM:+2359\nTZOFFSETTO:-2359\nRRULE:FREQ=YEARLY;BYMONTH=1\nEND:STANDARD\nEND:VTIMEZONE\nBEGIN:VEVENT\nDTSTART;TZID=x:20260101T000000\nDURATION:P1W\nRDATE;VALUE=PERIOD:20260102T000000/PT1H\nATTENDEE;CN=\"a,b\":mailto:a@b\nEND:VEVENT\nEND:VCALENDAR\n")
	f.Add("BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART;VALUE=DATE:00010101\nRRULE:FREQ=YEARLY;BYEASTER=0\nRECURRENCE-ID;RANGE=THISANDFUTURE:99991231T235959Z\nEND:VEVENT\nEND:VCALENDAR\n")
	from := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 4<<10 {
			return
		}
		cal, err := readObject(text)
		if err != nil {
			return
		}
		here := named("America/New_York")
		for _, s := range seriesOf(cal, atlas{}) {
			s.expand(from, from.AddDate(1, 0, 0), here, func(o occurrence) {
				e := func() Event { one := said(o.comp); return o.event(&one, here) }()
				if _, err := time.Parse(time.RFC3339, e.Start); err != nil && !e.AllDay {
					t.Errorf("start %q", e.Start)
				}
				if b, err := json.Marshal(e); err != nil || !json.Valid(b) {
					t.Errorf("%v: %v", e, err)
				}
			})
		}
	})
}
