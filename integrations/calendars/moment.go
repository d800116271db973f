package calendars

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/emersion/go-ical"
)

const (
	dateForm  = "20060102"
	localForm = "20060102T150405"
	utcForm   = "20060102T150405Z"
)

// moment is a DATE or a DATE-TIME (RFC 5545 §3.3.4, §3.3.5).
type moment struct {
	wall time.Time // what clocks show, as though they were UTC
	day  bool      // a whole day
	late bool      // the second time that clocks show it, in the night they go back; no property can say so
	zone *zone     // nil: wherever whoever looks is ("floating"), or unknown
	tzid string    // as it was written; "" for UTC, floating and days
}

// momentOf reads one value of a property.
func (z *zones) momentOf(p *ical.Prop, value string) (moment, error) {
	switch {
	case len(value) == len(dateForm):
		t, err := time.Parse(dateForm, value)
		return moment{wall: t, day: true}, err
	case strings.HasSuffix(value, "Z"):
		t, err := time.Parse(utcForm, value)
		return moment{wall: t, zone: utc}, err
	}
	t, err := time.Parse(localForm, value)
	if err != nil {
		return moment{}, fmt.Errorf("a time that is none: %w", errTime)
	}
	tzid := p.Params.Get(ical.PropTimezoneID)
	if tzid == "" {
		return moment{wall: t}, nil
	}
	return moment{wall: t, zone: z.find(tzid), tzid: tzid}, nil
}

var errTime = errors.New("unreadable time")

// at is when a moment is, for somebody in a zone.
func (m moment) at(here *zone) time.Time {
	z := m.zone
	if z == nil {
		z = here
	}
	if m.late {
		return z.second(m.wall)
	}
	return z.instant(m.wall)
}

// with is the same kind of moment at another time on the clocks.
func (m moment) with(wall time.Time) moment {
	m.wall, m.late = wall, false
	return m
}

// when is the same kind of moment at an instant; floating ones are in a zone.
func (m moment) when(at time.Time, here *zone) moment {
	z := m.zone
	if z == nil {
		z = here
	}
	m.wall, m.late = z.wall(at), false
	m.late = !z.instant(m.wall).Equal(at)
	return m
}

// like is a moment that names an occurrence of an event, in the form that the
// event's start has. Programs write dates for times, midnights for whole days,
// floating times for others, and UTC.
func (m moment) like(first moment) moment {
	switch midnight := m.wall.Truncate(24 * time.Hour); {
	case m.day && !first.day:
		return first.with(m.wall.Add(first.wall.Sub(first.wall.Truncate(24 * time.Hour))))
	case !m.day && first.day && m.wall.Equal(midnight):
		return first.with(midnight)
	case m.day || first.day || first.zone == nil || m.zone == first.zone:
		return m
	case m.zone != nil:
		return first.when(m.at(nil), nil)
	case m.tzid == "":
		return first.with(m.wall)
	}
	return m
}

// text is a moment for programs: RFC 3339 with the offset, or a date.
func (m moment) text(here *zone) string {
	if m.day {
		return m.wall.Format(time.DateOnly)
	}
	z := m.zone
	if z == nil {
		z = here
	}
	return z.in(m.at(here)).Format(time.RFC3339)
}

// moments reads a property with several values, such as EXDATE. Periods of
// RDATE count by their start.
func (z *zones) moments(props []ical.Prop) (all []moment) {
	for i := range props {
		for v := range strings.SplitSeq(props[i].Value, ",") {
			v, _, _ = strings.Cut(v, "/")
			if m, err := z.momentOf(&props[i], v); err == nil && len(all) < maxOccurrences {
				all = append(all, m)
			}
		}
	}
	return all
}
