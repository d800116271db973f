package demo

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// span is a piece of time, its end not included.
type span struct{ start, end time.Time }

// meets reports whether a span lies in a range at least in part. A zero moment
// of the range is open. A span of no length counts at its start.
func (s span) meets(r span) bool {
	after := r.start.IsZero() || s.end.After(r.start) || s.start.Equal(s.end) && !s.start.Before(r.start)
	return after && (r.end.IsZero() || s.start.Before(r.end))
}

// Days beyond which no recurrence is looked for.
const maxDays = 366 * 30

// length is how long each occurrence of a component takes.
func (c *component) length(start time.Time, day bool) time.Duration {
	for _, name := range [...]string{"DTEND", "DUE"} {
		if p, ok := c.first(name); ok {
			if end, _, ok := p.moment(); ok {
				return end.Sub(start)
			}
		}
	}
	if p, ok := c.first("DURATION"); ok {
		return duration(p.value)
	}
	if day {
		return 24 * time.Hour
	}
	return 0
}

// begin is when a component starts, or is due.
func (c *component) begin() (t time.Time, day, ok bool) {
	for _, name := range [...]string{"DTSTART", "DUE"} {
		if p, has := c.first(name); has {
			return p.moment()
		}
	}
	return time.Time{}, false, false
}

// occurrence is one time at which a component happens.
type occurrence struct {
	span
	of *component
	id time.Time // what RECURRENCE-ID says of it; zero where nothing recurs
}

// occurrences are all of a calendar object's in a range, by start. Components
// without a time have none.
func occurrences(top *component, kind string, within span) []occurrence {
	moved := map[int64]bool{} // occurrences that have a component of their own
	var all []occurrence
	for _, k := range top.kids {
		if p, ok := k.first("RECURRENCE-ID"); ok && k.name == kind {
			if t, _, ok := p.moment(); ok {
				moved[t.Unix()] = true
			}
		}
	}
	for _, k := range top.kids {
		start, day, ok := k.begin()
		if k.name != kind || !ok {
			continue
		}
		length, starts := k.length(start, day), []time.Time{start}
		p, override := k.first("RECURRENCE-ID")
		recurs := !override && (k.value("RRULE") != "" || k.value("RDATE") != "")
		if recurs {
			starts = k.starts(start, within)
		}
		for _, t := range starts {
			o := occurrence{span: span{t, t.Add(length)}, of: k}
			if override {
				o.id, _, _ = p.moment()
			} else if recurs {
				o.id = t
			}
			if o.meets(within) && (override || !moved[t.Unix()]) {
				all = append(all, o)
			}
		}
	}
	slices.SortFunc(all, func(a, b occurrence) int { return a.start.Compare(b.start) })
	return all
}

// starts are the moments a recurring component begins at, up to a range's end.
func (c *component) starts(start time.Time, within span) []time.Time {
	var all []time.Time
	except := map[int64]bool{}
	for _, p := range c.props {
		for v := range strings.SplitSeq(p.value, ",") {
			if t, _, ok := (property{params: p.params, value: v}).moment(); ok && p.name == "EXDATE" {
				except[t.Unix()] = true
			} else if ok && p.name == "RDATE" {
				all = append(all, t)
			}
		}
	}
	all = append(all, parseRule(c.value("RRULE")).starts(start, within.end)...)
	return slices.DeleteFunc(all, func(t time.Time) bool { return except[t.Unix()] })
}

// rule is an RRULE (RFC 5545, section 3.3.10) of days and longer; BYSETPOS and
// parts of days are not heeded.
type rule struct {
	freq      string
	interval  int
	count     int // 0: no bound
	until     time.Time
	days      []string // BYDAY: MO, 1MO, -1FR
	monthDays []int
	months    []int
}

func parseRule(s string) rule {
	r := rule{interval: 1}
	for part := range strings.SplitSeq(strings.ToUpper(s), ";") {
		k, v, _ := strings.Cut(part, "=")
		switch k {
		case "FREQ":
			r.freq = v
		case "INTERVAL":
			r.interval = max(1, numbers(v)[0])
		case "COUNT":
			r.count = numbers(v)[0]
		case "UNTIL":
			t, day, _ := property{value: v}.moment()
			if r.until = t; day {
				r.until = t.Add(24*time.Hour - time.Second)
			}
		case "BYDAY":
			r.days = strings.Split(v, ",")
		case "BYMONTHDAY":
			r.monthDays = numbers(v)
		case "BYMONTH":
			r.months = numbers(v)
		}
	}
	return r
}

// numbers reads a list of them; what is none counts as 0.
func numbers(s string) []int {
	var all []int
	for v := range strings.SplitSeq(s, ",") {
		n, _ := strconv.Atoi(v)
		all = append(all, n)
	}
	return all
}

// starts looks at each day in turn.
func (r rule) starts(first, end time.Time) []time.Time {
	all := []time.Time{first}
	if r.freq == "" {
		return all
	}
	for d := 1; d < maxDays; d++ {
		t := first.AddDate(0, 0, d)
		switch {
		case r.count > 0 && len(all) >= r.count, !r.until.IsZero() && t.After(r.until), !end.IsZero() && !t.Before(end):
			return all
		case r.on(t, first):
			all = append(all, t)
		}
	}
	return all
}

// on reports whether the rule has a day.
func (r rule) on(t, first time.Time) bool {
	days := int(midnight(t).Sub(midnight(first)).Hours()+12) / 24
	months := (t.Year()-first.Year())*12 + int(t.Month()) - int(first.Month())
	if len(r.months) > 0 && !slices.Contains(r.months, int(t.Month())) {
		return false
	}
	switch r.freq {
	case "DAILY":
		return days%r.interval == 0 && (len(r.days) == 0 || r.byDay(t))
	case "WEEKLY":
		weeks := (days + (int(first.Weekday())+6)%7) / 7 // weeks begin on Monday
		return weeks%r.interval == 0 && (r.byDay(t) || len(r.days) == 0 && t.Weekday() == first.Weekday())
	case "MONTHLY":
		return months%r.interval == 0 && r.inMonth(t, first)
	case "YEARLY":
		sameMonth := len(r.months) > 0 || t.Month() == first.Month()
		return (t.Year()-first.Year())%r.interval == 0 && sameMonth && r.inMonth(t, first)
	}
	return false
}

func midnight(t time.Time) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC)
}

// inMonth judges a day by its place in the month.
func (r rule) inMonth(t, first time.Time) bool {
	if len(r.days) == 0 && len(r.monthDays) == 0 {
		return t.Day() == first.Day()
	}
	last := t.AddDate(0, 1, -t.Day()).Day()
	return r.byDay(t) || slices.Contains(r.monthDays, t.Day()) || slices.Contains(r.monthDays, t.Day()-last-1)
}

// byDay reports whether BYDAY has a day: by its name, or by name and number
// within the month from either end.
func (r rule) byDay(t time.Time) bool {
	name := strings.ToUpper(t.Weekday().String()[:2])
	last := t.AddDate(0, 1, -t.Day()).Day()
	return slices.Contains(r.days, name) ||
		slices.Contains(r.days, strconv.Itoa((t.Day()-1)/7+1)+name) ||
		slices.Contains(r.days, strconv.Itoa((t.Day()-last)/7-1)+name)
}
