package calendars

import (
	"fmt"
	"time"
)

// horizon is for how many years the changes of clocks are written down where no
// rule says them.
const horizon = 10

// vtimezone describes a zone of the IANA database from a year onward (RFC 5545
// §3.6.5), for those who do not know its name. Changes that follow a rule, such
// as the last Sunday in March, are written as one.
func (z *zone) vtimezone(year int) []string {
	lines := []string{"BEGIN:VTIMEZONE", "TZID:" + z.name}
	changes := z.changes(year-1, year+horizon)
	if len(changes) == 0 {
		off := clock(z.offset(time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC)))
		lines = append(lines, "BEGIN:STANDARD", "DTSTART:19700101T000000", "TZOFFSETFROM:"+off, "TZOFFSETTO:"+off, "END:STANDARD")
		return append(lines, "END:VTIMEZONE")
	}
	written := make([]bool, len(changes))
	for i, c := range changes {
		if written[i] {
			continue
		}
		kind := "STANDARD"
		if c.after > c.before {
			kind = "DAYLIGHT"
		}
		lines = append(lines, "BEGIN:"+kind, "DTSTART:"+c.wall().Format(localForm), "TZOFFSETFROM:"+clock(c.before), "TZOFFSETTO:"+clock(c.after))
		if same := c.yearly(changes[i:]); len(same) > horizon-1 {
			lines = append(lines, "RRULE:"+c.rule())
			for _, n := range same {
				written[i+n] = true
			}
		}
		lines = append(lines, "END:"+kind)
	}
	return append(lines, "END:VTIMEZONE")
}

// changes are when the clocks change in some years.
func (z *zone) changes(from, to int) (all []onset) {
	at := time.Date(from, 1, 1, 0, 0, 0, 0, z.loc)
	for end := time.Date(to+1, 1, 1, 0, 0, 0, 0, z.loc); ; {
		_, next := at.ZoneBounds()
		if next.IsZero() || !next.Before(end) {
			return all
		}
		if before, after := z.offset(next.Add(-time.Second)), z.offset(next); before != after {
			all = append(all, onset{next, before, after})
		}
		at = next
	}
}

// wall is what clocks show when they are about to change.
func (o onset) wall() time.Time { return o.at.UTC().Add(time.Duration(o.before) * time.Second) }

// yearly finds the changes that follow this one by its rule, a year apart each.
func (o onset) yearly(changes []onset) (same []int) {
	for n, c := range changes {
		a, b := o.wall(), c.wall()
		if c.before == o.before && c.after == o.after && b.Year() == a.Year()+len(same) && o.rule() == c.rule() && a.Format("150405") == b.Format("150405") {
			same = append(same, n)
		}
	}
	return same
}

// rule is on which weekday of a month it is, counted from the end where that is
// its last.
func (o onset) rule() string {
	w := o.wall()
	n := (w.Day()-1)/7 + 1
	if w.AddDate(0, 0, 7).Month() != w.Month() {
		n = -1
	}
	return fmt.Sprintf("FREQ=YEARLY;BYMONTH=%d;BYDAY=%d%s", w.Month(), n, weekdays[w.Weekday()])
}

var weekdays = [...]string{"SU", "MO", "TU", "WE", "TH", "FR", "SA"}

// clock is an offset as RFC 5545 §3.3.14 has it.
func clock(seconds int) string {
	sign := '+'
	if seconds < 0 {
		sign, seconds = '-', -seconds
	}
	s := fmt.Sprintf("%c%02d%02d", sign, seconds/3600, seconds/60%60)
	if seconds%60 != 0 {
		s += fmt.Sprintf("%02d", seconds%60)
	}
	return s
}
