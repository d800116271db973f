package calendars

import (
	"strconv"
	"strings"
	"time"

	"github.com/emersion/go-ical"
	"github.com/teambition/rrule-go"
)

const (
	maxSteps = 200_000 // times of one rule, from its first
	maxRule  = 1 << 10 // bytes
	maxTimes = 96      // of one day: every quarter of an hour
)

// ruled expands a rule on the clocks of the event. Rules that go by the hour or
// faster are not expanded: no calendar of people has them, and one that never
// holds would be looked for until the end of time.
func (s *series) ruled(rule string, last time.Time, z *zone) (walls []time.Time, cut bool) {
	if len(rule) > maxRule {
		return nil, true
	}
	o, err := rrule.StrToROption(rule)
	if err != nil || o.Freq > rrule.DAILY || !counted(rule) {
		return nil, true
	}
	o.Dtstart = s.start.wall
	if until := untilOf(rule); until != "" {
		m, err := s.zones.momentOf(ical.NewProp("UNTIL"), until)
		if err != nil {
			return nil, true
		}
		switch {
		case m.day && !s.start.day:
			o.Until = m.wall.Add(24*time.Hour - time.Second) // not as it should be, and yet meant
		case m.zone == utc && !s.start.day:
			o.Until = z.wall(m.wall)
		default:
			o.Until = m.wall
		}
	}
	return iterate(o, maxSteps, last)
}

// iterate gives a rule's times up to one. cut reports that there may be more.
//
// The library looks for the next time until the year 9999, however long a rule
// is without one. The calendar repeats itself after 400 years, to the weekday:
// so the rule is followed as near to that year as it may be.
func iterate(o *rrule.ROption, steps int, last time.Time) (walls []time.Time, cut bool) {
	defer func() {
		if recover() != nil { // the library's way with a tenth Saturday of a month
			walls, cut = nil, true
		}
	}()
	if timesOfDay(o) > maxTimes || len(o.Byeaster) > 0 {
		return nil, true
	}
	if !o.Until.IsZero() && o.Until.Before(last) {
		last = o.Until
	}
	if last.Before(o.Dtstart) {
		return nil, false
	}
	later := max(0, (rrule.MAXYEAR-last.Year())/400*400)
	shifted := *o
	shifted.Dtstart, shifted.Until = o.Dtstart.AddDate(later, 0, 0), last.AddDate(later, 0, 0)
	r, err := rrule.NewRRule(shifted)
	if err != nil {
		return nil, true
	}
	next := r.Iterator()
	for range steps {
		at, ok := next()
		if !ok {
			return walls, false
		}
		walls = append(walls, at.AddDate(-later, 0, 0))
	}
	return walls, true
}

// timesOfDay is how many there are on each day of a rule.
func timesOfDay(o *rrule.ROption) int {
	return max(1, len(o.Byhour)) * max(1, len(o.Byminute)) * max(1, len(o.Bysecond))
}

// untilOf is the UNTIL of a rule; "" for none.
func untilOf(rule string) string {
	for part := range strings.SplitSeq(strings.ToUpper(rule), ";") {
		if until, ok := strings.CutPrefix(part, "UNTIL="); ok {
			return until
		}
	}
	return ""
}

// counted reports whether a rule's COUNT and INTERVAL are at least 1: what none
// would be, each reader takes in another way.
func counted(rule string) bool {
	for part := range strings.SplitSeq(strings.ToUpper(rule), ";") {
		name, value, _ := strings.Cut(part, "=")
		if n, err := strconv.Atoi(value); (name == "COUNT" || name == "INTERVAL") && (err != nil || n < 1) {
			return false
		}
	}
	return true
}
