package calendars

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-ical"
	"github.com/teambition/rrule-go"

	"anteroom/integrations"
	"anteroom/integrations/contentline"
)

// Fields are what programs may say of an event. What is missing stays as it is.
type Fields struct {
	Title       *string  `json:"title,omitempty" max:"1024"`
	Description *string  `json:"description,omitempty" max:"65536" lines:"true" doc:"plain text"`
	Location    *string  `json:"location,omitempty" max:"1024"`
	Start       *string  `json:"start,omitempty" max:"40" doc:"a time with an offset, a time without one on the clocks of time_zone, or a date for a whole day"`
	End         *string  `json:"end,omitempty" max:"40" doc:"likewise; the day after, for whole days; missing: as long as before, or a day, or no time"`
	TimeZone    *string  `json:"time_zone,omitempty" max:"64" doc:"IANA name, such as Europe/Berlin: the clocks the event goes by; what recurs needs it"`
	Recurrence  *string  `json:"recurrence,omitempty" max:"1024" doc:"an RFC 5545 RRULE, by day, week, month or year; empty: it recurs no more; a rule with days or an UNTIL is to be said again where start moves"`
	Status      *string  `json:"status,omitempty" enum:"confirmed,tentative,cancelled"`
	Free        *bool    `json:"free,omitempty" doc:"it takes up no time"`
	Private     *bool    `json:"private,omitempty"`
	Categories  []string `json:"categories,omitempty" max:"50"`
	URL         *string  `json:"url,omitempty" max:"2048"`
}

// create writes a new event.
func (e *edit) create(uid string) error {
	if e.fields.Start == nil {
		return integrations.Invalid("start", "is missing.")
	}
	lines, without, err := e.changed()
	if err != nil {
		return err
	}
	e.sheet.Set(e.sheet.Components(ical.CompEvent)[0], without, append(lines, "UID:"+contentline.Escaped(uid), "CREATED:"+e.now.UTC().Format(utcForm))...)
	return nil
}

// changed are the lines that the fields make, and the names of those that they
// replace.
func (e *edit) changed() (lines []string, without map[string]bool, err error) {
	f := e.fields
	times, zone, err := e.times()
	if err != nil {
		return nil, nil, err
	}
	rule, err := e.rule(zone)
	if err != nil {
		return nil, nil, err
	}
	significant := e.object == nil || len(times) > 0 || f.Recurrence != nil || f.Status != nil
	without = e.stamp(significant)
	lines = append(e.stamps(significant), append(times, rule...)...)
	if len(times) > 0 {
		without["DTSTART"], without["DTEND"], without["DURATION"] = true, true, true
	}
	if f.Recurrence != nil {
		without["RRULE"] = true
	}
	text := func(name string, value *string) {
		if value == nil {
			return
		}
		without[name] = true
		if *value != "" {
			lines = append(lines, name+":"+contentline.Escaped(*value))
		}
	}
	text("SUMMARY", f.Title)
	text("DESCRIPTION", f.Description)
	text("LOCATION", f.Location)
	if f.Status != nil {
		upper := strings.ToUpper(*f.Status)
		text("STATUS", &upper)
	}
	if f.URL != nil { // a URI, which is not escaped
		without["URL"] = true
		if *f.URL != "" {
			lines = append(lines, "URL:"+contentline.Inline(*f.URL))
		}
	}
	if f.Free != nil {
		without["TRANSP"] = true
		lines = append(lines, "TRANSP:"+map[bool]string{true: "TRANSPARENT", false: "OPAQUE"}[*f.Free])
	}
	if f.Private != nil {
		without["CLASS"] = true
		lines = append(lines, "CLASS:"+map[bool]string{true: "PRIVATE", false: "PUBLIC"}[*f.Private])
	}
	if f.Categories != nil {
		without["CATEGORIES"] = true
		if len(f.Categories) > 0 {
			list := make([]string, len(f.Categories))
			for i, c := range f.Categories {
				list[i] = contentline.Escaped(c)
			}
			lines = append(lines, "CATEGORIES:"+strings.Join(list, ","))
		}
	}
	return lines, without, nil
}

// times are the lines for start and end; none if they stay. zone is whose
// clocks the event goes by then, as it is written.
func (e *edit) times() (lines []string, zoned bool, err error) {
	f := e.fields
	start, end, err := e.before()
	if err != nil {
		return nil, false, err
	}
	if f.Start == nil && f.End == nil && f.TimeZone == nil {
		return nil, start.day || start.tzid != "" || start.zone == nil, nil
	}
	if err := e.movable(); err != nil {
		return nil, false, err
	}
	z := start.zone // of the event as it was: times without an offset are on its clocks
	if f.TimeZone != nil {
		if z, err = here(*f.TimeZone); err != nil {
			return nil, false, err
		}
	}
	begin, length := start, end.at(utc).Sub(start.at(utc))
	if f.Start != nil {
		if begin, err = momentIn("start", *f.Start, z); err != nil {
			return nil, false, err
		}
	} else {
		begin = begin.on(z)
	}
	finish := begin.later(length)
	switch {
	case f.End != nil:
		finish, err = momentIn("end", *f.End, z)
	case begin.day != start.day && e.object != nil, e.object == nil && begin.day:
		finish = begin.later(map[bool]time.Duration{true: 24 * time.Hour}[begin.day])
	}
	if err != nil {
		return nil, false, err
	}
	here := z
	if here == nil {
		here = utc
	}
	if err := e.inStep(start, begin); err != nil {
		return nil, false, err
	}
	switch {
	case !begin.day && begin.zone == nil:
		return nil, false, integrations.Invalid("time_zone", "is missing: the event has no zone that is known.")
	case begin.day != finish.day:
		return nil, false, integrations.Invalid("end", "is a date and start is a time, or the other way round.")
	case finish.at(here).Before(begin.at(here)), begin.day && !finish.wall.After(begin.wall):
		return nil, false, integrations.Invalid("end", "is before start, or, for whole days, on the same: it is the day after the last.")
	}
	if begin.late && e.recurring() {
		return nil, false, integrations.Invalid("start", "is the second of two times that the clocks there show alike: what recurs cannot begin then.")
	}
	for _, m := range []moment{begin, finish} {
		if m.tzid != "" && m.zone != nil && m.zone.loc != nil {
			e.describe(m.zone, begin.wall.Year())
		}
	}
	lines = []string{begin.line("DTSTART")}
	if begin.day || !finish.at(here).Equal(begin.at(here)) {
		lines = append(lines, finish.line("DTEND"))
	}
	return lines, begin.day || begin.tzid != "" || f.TimeZone != nil, nil
}

// recurring reports whether what is changed recurs then.
func (e *edit) recurring() bool {
	if e.fields.Recurrence != nil || e.one != nil {
		return e.one == nil && *e.fields.Recurrence != ""
	}
	return e.object != nil && e.series.recurs()
}

// before is when the component starts and ends as it is.
func (e *edit) before() (start, end moment, err error) {
	switch {
	case e.object == nil:
		return moment{}, moment{}, nil
	case e.one != nil:
		return e.one.start, e.one.end, nil
	}
	start = e.series.start
	return start, e.series.length.endOf(start, start, utc), nil
}

// movable refuses to move a series that has occurrences which are named by when
// they were to be.
func (e *edit) movable() error {
	if e.object == nil || e.one != nil || e.fields.Start == nil && e.fields.TimeZone == nil {
		return nil
	}
	if len(e.series.overrides) > 0 || len(e.series.master.Props.Values(ical.PropExceptionDates)) > 0 || len(e.series.master.Props.Values(ical.PropRecurrenceDates)) > 0 {
		return &integrations.Problem{Status: http.StatusConflict, Reason: integrations.ReasonConflict, Field: "start",
			Text: "Occurrences of this event were changed one by one, and would be lost if all of it moved. Change its text, its end or single occurrences, or make a new one."}
	}
	return nil
}

// inStep refuses to move a series whose rule, which stays, is said in terms of
// when it began: the last of what UNTIL ends, and what is not on the days that
// the rule names, would be lost or come on top.
func (e *edit) inStep(was, begin moment) error {
	if e.object == nil || e.one != nil || e.fields.Recurrence != nil {
		return nil
	}
	for _, p := range e.series.master.Props.Values(ical.PropRecurrenceRule) {
		rule := strings.ToUpper(p.Value)
		moved := was.day != begin.day || was.tzid != begin.tzid || !was.at(utc).Equal(begin.at(utc))
		elsewhen := was.day != begin.day || !was.wall.Truncate(24*time.Hour).Equal(begin.wall.Truncate(24*time.Hour))
		clocks := strings.Contains(rule, "BYHOUR=") || strings.Contains(rule, "BYMINUTE=") || strings.Contains(rule, "BYSECOND=")
		if moved && (clocks || untilOf(rule) != "") || elsewhen && strings.Contains(";"+rule, ";BY") {
			return integrations.Invalid("recurrence", "is missing: the rule has days, or an end, that go with the start as it was. Say it again as it is to be.")
		}
	}
	return nil
}

// describe writes down a zone, if that is not there yet.
func (e *edit) describe(z *zone, year int) {
	for _, at := range e.sheet.Components(ical.CompTimezone) {
		for _, line := range e.sheet.Lines[at.First:at.Last] {
			if contentline.Unfolded(line) == "TZID:"+z.name {
				return
			}
		}
	}
	lines := z.vtimezone(year)
	e.sheet.Add(true, lines...)
	if e.object != nil && e.at != (contentline.Extent{}) { // it begins later now
		e.at = contentline.Extent{First: e.at.First + len(lines), Last: e.at.Last + len(lines)}
	}
}

// rule is the line for a rule.
func (e *edit) rule(zoned bool) ([]string, error) {
	if e.fields.Recurrence == nil {
		return nil, nil
	}
	if e.one != nil {
		return nil, integrations.Invalid("recurrence", "is that of the whole event, not of one occurrence.")
	}
	rule := strings.ToUpper(*e.fields.Recurrence)
	if rule == "" {
		return nil, nil
	}
	if !zoned {
		return nil, integrations.Invalid("time_zone", "is missing: what recurs needs the zone whose clocks it goes by.")
	}
	if strings.ContainsFunc(rule, func(c rune) bool { return !strings.ContainsRune("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789=;,+-", c) }) {
		return nil, integrations.Invalid("recurrence", "is no rule such as FREQ=WEEKLY;BYDAY=MO,WE.")
	}
	o, err := rrule.StrToROption(rule)
	if err != nil || !plainRule(rule) || !counted(rule) {
		return nil, integrations.Invalid("recurrence", "is no rule such as FREQ=WEEKLY;BYDAY=MO,WE.")
	}
	if o.Freq > rrule.DAILY {
		return nil, integrations.Invalid("recurrence", "goes by the hour or faster: by the day is the fastest.")
	}
	o.Dtstart = e.now
	if _, cut := iterate(o, maxSteps, e.now.AddDate(30, 0, 0)); cut {
		return nil, integrations.Invalid("recurrence", "has a part that is out of range.")
	}
	start := e.series0()
	if until := untilOf(rule); until != "" && (len(until) == len(dateForm)) != start.day || until != "" && !start.day && !strings.HasSuffix(until, "Z") {
		return nil, integrations.Invalid("recurrence", "has an UNTIL that is no %s.", map[bool]string{true: "date", false: "time in UTC, such as 20261231T000000Z"}[start.day])
	}
	return []string{"RRULE:" + rule}, nil
}

// plainRule reports whether each part of a rule is there once, and is one that
// RFC 5545 §3.3.10 has, and no two of them contradict: that, others read in
// another way.
func plainRule(rule string) bool {
	seen := map[string]bool{"DTSTART": true, "BYEASTER": true}
	for part := range strings.SplitSeq(rule, ";") {
		name, _, _ := strings.Cut(part, "=")
		if seen[name] {
			return false
		}
		seen[name] = true
	}
	return !seen["COUNT"] || !seen["UNTIL"]
}

// series0 is of which kind the start is then.
func (e *edit) series0() moment {
	if e.fields.Start != nil {
		return moment{day: len(*e.fields.Start) == len(time.DateOnly)}
	}
	return e.series.start
}

// momentIn reads what a program says. z is where times without an offset are;
// nil refuses them.
func momentIn(field, s string, z *zone) (moment, error) {
	m := moment{zone: z}
	if z != nil && z != utc {
		m.tzid = z.name
	}
	var err error
	if m.wall, err = time.Parse(time.DateOnly, s); err == nil {
		return moment{wall: m.wall, day: true}, m.check(field)
	}
	if at, err := time.Parse(time.RFC3339, s); err == nil {
		if z == nil {
			m.zone = utc
		}
		m = m.when(at.Truncate(time.Second), nil)
		return m, m.check(field)
	}
	for _, form := range []string{"2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02T15:04:05.999999"} {
		if m.wall, err = time.Parse(form, s); err != nil {
			continue
		}
		if z == nil {
			return m, integrations.Invalid("time_zone", "is missing: %s has no offset.", field)
		}
		m.wall = m.wall.Truncate(time.Second)
		return m, m.check(field)
	}
	return m, integrations.Invalid(field, "is neither a time, such as 2026-03-01T09:30:00+01:00, nor a date.")
}

func (m moment) check(field string) error {
	if y := m.wall.Year(); y < 1900 || y > lastOnset {
		return integrations.Invalid(field, "is not between 1900 and %d.", lastOnset)
	}
	return nil
}

// on is the same instant on the clocks of a zone.
func (m moment) on(z *zone) moment {
	if m.day || z == nil || m.zone == z {
		return m
	}
	w := moment{zone: z}
	if z != utc {
		w.tzid = z.name
	}
	return w.when(m.at(utc), z)
}

// later is a moment some time after, on the same clocks.
func (m moment) later(d time.Duration) moment {
	if m.zone == nil {
		return m.with(m.wall.Add(d))
	}
	return m.when(m.at(utc).Add(d), utc)
}

// line is a moment as a property.
func (m moment) line(name string) string {
	switch {
	case m.day:
		return name + ";VALUE=DATE:" + m.wall.Format(dateForm)
	case m.tzid != "" && !m.late:
		return fmt.Sprintf("%s;TZID=%s:%s", name, contentline.Param(m.tzid), m.wall.Format(localForm))
	case m.zone == nil && !m.late:
		return name + ":" + m.wall.Format(localForm)
	}
	return name + ":" + m.at(utc).UTC().Format(utcForm)
}

// zoneOfCalendar is what a calendar says its zone is: an iCalendar object with
// a VTIMEZONE (RFC 4791 §5.2.2). nil if it says nothing that is known.
func zoneOfCalendar(text string) *zone {
	if text == "" {
		return nil
	}
	cal, err := readObject(text)
	if err != nil {
		return nil
	}
	i := slices.IndexFunc(cal.Children, func(c *ical.Component) bool { return c.Name == ical.CompTimezone })
	if i < 0 {
		return nil
	}
	return newZones(cal, atlas{}).find(textOf(cal.Children[i], ical.PropTimezoneID))
}
