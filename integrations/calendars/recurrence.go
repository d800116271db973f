package calendars

import (
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-ical"
)

const (
	maxOccurrences = 10_000 // of one event in a window
	maxRules       = 4      // of one event; RFC 5545 §3.8.5.3 wants no more than one
)

// series is an event with all that RFC 5545 §3.8.5 says of when it happens.
type series struct {
	master    *ical.Component // nil: only single occurrences are there
	masters   int             // how many there are: more than one is more than anybody can make sense of
	zones     *zones
	start     moment
	length    length
	overrides []override
}

// length is how long an event is. Days are days, however many hours they have.
type length struct {
	days int
	time time.Duration
	end  *moment // said by DTEND, of an event with clocks
}

// override is one occurrence that is other than the rest, or the first of them.
type override struct {
	comp   *ical.Component
	id     moment // which one it stands for
	start  moment
	length length
	onward bool // RANGE=THISANDFUTURE
}

// occurrence is one time that an event happens.
type occurrence struct {
	comp       *ical.Component
	start, end moment
	id         *moment // of a recurring event: which one it is
}

// seriesOf are the series in a calendar object: usually one, with one UID. known
// are zones that were found before.
func seriesOf(cal *ical.Calendar, known atlas) (all []*series) {
	z := newZones(cal, known)
	byUID := map[string]*series{}
	for _, c := range cal.Children {
		if c.Name != ical.CompEvent {
			continue
		}
		start, length, err := z.span(c)
		if err != nil {
			continue
		}
		uid := ""
		if p := c.Props.Get(ical.PropUID); p != nil {
			uid = p.Value
		}
		s := byUID[uid]
		if s == nil {
			s = &series{zones: z}
			byUID[uid] = s
			all = append(all, s)
		}
		id := c.Props.Get(ical.PropRecurrenceID)
		if id == nil {
			s.master, s.start, s.length = c, start, length
			s.masters++
			continue
		}
		if m, err := z.momentOf(id, id.Value); err == nil {
			s.overrides = append(s.overrides, override{c, m, start, length, id.Params.Get("RANGE") == "THISANDFUTURE"})
		}
	}
	for _, s := range all {
		for i := range s.overrides {
			if s.master != nil {
				s.overrides[i].id = s.overrides[i].id.like(s.start)
			}
		}
	}
	return all
}

// unread reports whether a calendar object has events that none of its series
// tells of: nobody can say when they are.
func unread(cal *ical.Calendar, all []*series) bool {
	n := 0
	for _, c := range cal.Children {
		if c.Name == ical.CompEvent {
			n++
		}
	}
	for _, s := range all {
		n -= min(s.masters, 1) + len(s.overrides)
	}
	return n > 0
}

// span reads when an event starts and how long it is.
func (z *zones) span(c *ical.Component) (start moment, l length, err error) {
	p := c.Props.Get(ical.PropDateTimeStart)
	if p == nil {
		return start, l, errTime
	}
	if start, err = z.momentOf(p, p.Value); err != nil {
		return start, l, err
	}
	if p := c.Props.Get(ical.PropDateTimeEnd); p != nil {
		end, err := z.momentOf(p, p.Value)
		if err != nil || end.day != start.day {
			return start, l, errTime
		}
		if start.day {
			l.days = max(1, int(end.wall.Sub(start.wall)/(24*time.Hour)))
			return start, l, nil
		}
		l.end = &end
		return start, l, nil
	}
	if p := c.Props.Get(ical.PropDuration); p != nil {
		d, err := p.Duration()
		if err != nil || d < 0 {
			return start, l, errTime
		}
		if strings.ContainsAny(p.Value, "WD") && !strings.Contains(p.Value, "T") || start.day { // nominal (§3.3.6)
			l.days = int(d / (24 * time.Hour))
			return start, l, nil
		}
		l.time = d
		return start, l, nil
	}
	if start.day {
		l.days = 1
	}
	return start, l, nil
}

// endOf is when an occurrence that starts at a moment ends. An event whose end
// is said lasts as long each time as the first time.
func (l *length) endOf(start, first moment, here *zone) moment {
	switch {
	case l.days > 0:
		return start.with(start.wall.AddDate(0, 0, l.days))
	case l.end != nil:
		if start.wall.Equal(first.wall) {
			return *l.end
		}
		return l.after(start, l.end.at(here).Sub(first.at(here)), here)
	}
	return l.after(start, l.time, here)
}

// after is a moment some time later, on the same clocks.
func (l *length) after(start moment, d time.Duration, here *zone) moment {
	return start.when(start.at(here).Add(max(d, 0)), here)
}

// expand gives each occurrence that overlaps a window, in no order. cut reports
// that there may be more than were found.
func (s *series) expand(from, to time.Time, here *zone, each func(occurrence)) (cut bool) {
	n := 0
	give := func(o occurrence) {
		start, end := o.start.at(here), o.end.at(here)
		if !start.Before(to) || !end.After(from) && !(start.Equal(end) && !start.Before(from)) {
			return
		}
		if n++; n <= maxOccurrences {
			each(o)
		}
	}
	if s.master != nil {
		replaced, onward := s.exceptions(here)
		starts, short := s.starts(to, here)
		cut = short
		for _, start := range starts {
			if at := start.at(here); !replaced[at.Unix()] {
				give(s.occurrence(start, onward.before(at), here))
			}
		}
	}
	for i := range s.overrides {
		o := &s.overrides[i]
		id := o.id
		give(occurrence{o.comp, o.start, o.length.endOf(o.start, o.start, here), &id})
	}
	return cut || n > maxOccurrences
}

// recurs reports whether there is more than one occurrence.
func (s *series) recurs() bool {
	return s.master != nil && (s.master.Props.Get(ical.PropRecurrenceRule) != nil || s.master.Props.Get(ical.PropRecurrenceDates) != nil)
}

// exceptions are which occurrences other components stand for, by their
// instant, and the overrides that hold onward, by the occurrence they begin with.
func (s *series) exceptions(here *zone) (replaced map[int64]bool, onward onwards) {
	replaced = make(map[int64]bool, len(s.overrides))
	for i := range s.overrides {
		o := &s.overrides[i]
		at := o.id.at(here)
		replaced[at.Unix()] = true
		if o.onward {
			onward = append(onward, change{at, o})
		}
	}
	slices.SortStableFunc(onward, func(a, b change) int { return a.at.Compare(b.at) })
	return replaced, onward
}

// onwards are overrides that hold onward, by time.
type onwards []change

type change struct {
	at time.Time
	by *override
}

// before is the last of them that began before an instant; nil for none.
func (w onwards) before(at time.Time) *override {
	i, _ := slices.BinarySearchFunc(w, at, func(o change, at time.Time) int { return o.at.Compare(at) })
	if i == 0 {
		return nil
	}
	return w[i-1].by
}

// occurrence is the one that starts at a moment, as an override that holds
// onward has it, if there is one.
func (s *series) occurrence(start moment, last *override, here *zone) occurrence {
	o := occurrence{comp: s.master, start: start, end: s.length.endOf(start, s.start, here)}
	if s.recurs() {
		id := start
		o.id = &id
	}
	if last != nil {
		o.comp = last.comp
		o.start = last.start.with(last.start.wall.Add(start.wall.Sub(last.id.wall)))
		o.end = last.length.endOf(o.start, last.start, here)
	}
	return o
}

// earlier is by how much overrides that hold onward may have brought occurrences
// forward.
func (s *series) earlier() (most time.Duration) {
	for _, o := range s.overrides {
		if o.onward {
			most = max(most, o.id.wall.Sub(o.start.wall))
		}
	}
	return min(most, 366*24*time.Hour)
}

// starts are when the rule and the dates of an event have it start, up to the
// end of a window, without those that are taken out.
func (s *series) starts(to time.Time, here *zone) (all []moment, cut bool) {
	all = []moment{s.start}
	z := s.start.zone
	if z == nil {
		z = here
	}
	last := z.wall(to).Add(48*time.Hour + s.earlier())
	for i, p := range s.master.Props.Values(ical.PropRecurrenceRule) {
		if i == maxRules {
			cut = true
			break
		}
		walls, short := s.ruled(p.Value, last, z)
		cut = cut || short
		for _, w := range walls {
			all = append(all, s.start.with(w))
		}
	}
	for _, m := range s.zones.moments(s.master.Props.Values(ical.PropRecurrenceDates)) {
		if m.day == s.start.day {
			all = append(all, m)
		}
	}
	out := map[int64]bool{}
	for _, m := range s.zones.moments(s.master.Props.Values(ical.PropExceptionDates)) {
		if m = m.like(s.start); m.day == s.start.day {
			out[m.at(here).Unix()] = true
		}
	}
	seen := map[int64]bool{}
	all = slices.DeleteFunc(all, func(m moment) bool {
		at := m.at(here).Unix()
		gone := out[at] || seen[at]
		seen[at] = true
		return gone
	})
	return all, cut
}
