package calendars

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/emersion/go-ical"
	"github.com/teambition/rrule-go"
)

// zone is where the clocks of an event are (RFC 5545 §3.6.5): one of the IANA
// database, or what a calendar says of its own.
type zone struct {
	name   string         // IANA's where there is one; else the calendar's
	loc    *time.Location // nil: the onsets say
	onsets []onset        // by time
}

// onset is when clocks change.
type onset struct {
	at            time.Time
	before, after int // seconds east of UTC
}

var utc = &zone{name: "UTC", loc: time.UTC}

// offset is by how many seconds clocks are ahead of UTC at an instant.
func (z *zone) offset(at time.Time) int {
	if z.loc != nil {
		_, o := at.In(z.loc).Zone()
		return o
	}
	i, found := slices.BinarySearchFunc(z.onsets, at, func(o onset, at time.Time) int { return o.at.Compare(at) })
	switch {
	case found:
		return z.onsets[i].after
	case i == 0:
		return z.onsets[0].before
	}
	return z.onsets[i-1].after
}

// apart is longer than any offset, and shorter than from one change to another.
const apart = 26 * time.Hour

// instant is when clocks show a time, which is given as though they were UTC.
// A time that is shown twice is its first; one that is skipped is counted by
// the offset before (RFC 5545 §3.3.5).
func (z *zone) instant(wall time.Time) time.Time {
	before, after := z.offset(wall.Add(-apart)), z.offset(wall.Add(apart))
	first := wall.Add(-time.Duration(before) * time.Second)
	if before == after || z.offset(first) == before {
		return first
	}
	if second := wall.Add(-time.Duration(after) * time.Second); z.offset(second) == after {
		return second
	}
	return first
}

// second is when clocks show a time that is shown twice for the second time;
// any other is at its instant.
func (z *zone) second(wall time.Time) time.Time {
	after := z.offset(wall.Add(apart))
	if second := wall.Add(-time.Duration(after) * time.Second); z.offset(second) == after {
		return second
	}
	return z.instant(wall)
}

// wall is what clocks show at an instant, as though they were UTC.
func (z *zone) wall(at time.Time) time.Time {
	return at.UTC().Add(time.Duration(z.offset(at)) * time.Second)
}

// in is an instant with the zone's offset.
func (z *zone) in(at time.Time) time.Time {
	if z.loc != nil {
		return at.In(z.loc)
	}
	return at.In(time.FixedZone("", z.offset(at)))
}

// zones finds the zones that a calendar object speaks of.
type zones struct {
	own   map[string]*ical.Component // VTIMEZONE by TZID
	got   map[string]*zone
	known atlas

	rules int // for changes of clocks, that were followed
}

func newZones(cal *ical.Calendar, known atlas) *zones {
	z := &zones{own: map[string]*ical.Component{}, got: map[string]*zone{}, known: known}
	for _, c := range cal.Children {
		if c.Name == ical.CompTimezone {
			if p := c.Props.Get(ical.PropTimezoneID); p != nil {
				z.own[p.Value] = c
			}
		}
	}
	return z
}

// find is the zone of a TZID; nil for one that means nothing here.
func (z *zones) find(tzid string) *zone {
	if got, ok := z.got[tzid]; ok {
		return got
	}
	if len(z.got) == maxZones {
		return nil
	}
	got := z.look(tzid)
	z.got[tzid] = got
	return got
}

func (z *zones) look(tzid string) *zone {
	if found := z.known.named(tzid); found != nil {
		return found
	}
	own := z.own[tzid]
	if own == nil {
		return nil
	}
	if p := own.Props.Get("X-LIC-LOCATION"); p != nil {
		if found := z.known.named(p.Value); found != nil {
			return found
		}
	}
	onsets := z.onsetsOf(own)
	if len(onsets) == 0 {
		return nil
	}
	return &zone{name: tzid, onsets: onsets}
}

// atlas is the names that were looked up, for all events of one answer.
type atlas map[string]*zone

// maxNames is how many are: each costs a look into the system's files.
const maxNames = 500

func (a atlas) named(name string) *zone {
	z, ok := a[name]
	if !ok && len(a) < maxNames {
		z = named(name)
		a[name] = z
	}
	return z
}

// named is a zone of the IANA database by its name, or by one that others have
// for it.
func named(name string) *zone {
	if iana, ok := windowsZones[name]; ok {
		name = iana
	}
	for range 4 { // as in /freeassociation.sourceforge.net/Europe/Berlin
		if name == "" || name == "Local" || strings.Contains(name, "..") || len(name) > 64 {
			return nil
		}
		if loc, err := time.LoadLocation(name); err == nil {
			if loc == time.UTC {
				return utc
			}
			return &zone{name: name, loc: loc}
		}
		before, after, ok := strings.Cut(strings.TrimPrefix(name, "/"), "/")
		if !ok || before == "" {
			return nil
		}
		name = after
	}
	return nil
}

const (
	maxOnsets  = 600
	firstOnset = 1900
	lastOnset  = 2200
	maxZones   = 50 // that one event, or a calendar, speaks of
	maxChanges = 50 // rules for changes of clocks in one event
)

// onsetsOf reads a VTIMEZONE.
func (z *zones) onsetsOf(c *ical.Component) (all []onset) {
	for _, part := range c.Children {
		from, okFrom := utcOffset(part.Props.Get(ical.PropTimezoneOffsetFrom))
		to, okTo := utcOffset(part.Props.Get(ical.PropTimezoneOffsetTo))
		start := part.Props.Get(ical.PropDateTimeStart)
		if !okFrom || !okTo || start == nil || len(all) > maxOnsets {
			continue
		}
		wall, err := time.Parse(localForm, start.Value)
		if err != nil {
			continue
		}
		walls := []time.Time{wall}
		if rule := part.Props.Get(ical.PropRecurrenceRule); rule != nil && z.rules < maxChanges {
			z.rules++
			walls = append(walls, yearly(rule.Value, wall)...)
		}
		for _, p := range part.Props.Values(ical.PropRecurrenceDates) {
			for v := range strings.SplitSeq(p.Value, ",") {
				if at, err := time.Parse(localForm, v); err == nil && len(walls) < maxOnsets {
					walls = append(walls, at)
				}
			}
		}
		for _, w := range walls {
			all = append(all, onset{w.Add(-time.Duration(from) * time.Second), from, to})
		}
	}
	slices.SortFunc(all, func(a, b onset) int { return a.at.Compare(b.at) })
	return slices.CompactFunc(all, func(a, b onset) bool { return a.at.Equal(b.at) })
}

// yearly expands the rule of a change of clocks. What was before any event of
// ours is left out: many programs have their rules begin in 1601.
func yearly(rule string, wall time.Time) (walls []time.Time) {
	o, err := rrule.StrToROption(rule)
	if err != nil || o.Freq != rrule.YEARLY {
		return nil
	}
	if y := wall.Year(); y < firstOnset && o.Count == 0 && o.Interval < 2 {
		wall = wall.AddDate(firstOnset-y, 0, 0)
	}
	o.Dtstart = wall
	walls, _ = iterate(o, maxOnsets/2, time.Date(lastOnset, 1, 1, 0, 0, 0, 0, time.UTC))
	return walls
}

// utcOffset reads +HHMM or +HHMMSS (RFC 5545 §3.3.14), in seconds.
func utcOffset(p *ical.Prop) (seconds int, ok bool) {
	if p == nil || len(p.Value) != 5 && len(p.Value) != 7 || p.Value[0] != '+' && p.Value[0] != '-' {
		return 0, false
	}
	n, err := strconv.ParseUint(p.Value[1:], 10, 32)
	if err != nil {
		return 0, false
	}
	if len(p.Value) == 5 {
		n *= 100
	}
	seconds = int(n/10000*3600 + n/100%100*60 + n%100)
	if p.Value[0] == '-' {
		seconds = -seconds
	}
	return seconds, seconds > -24*3600 && seconds < 24*3600
}

// windowsZones are the names that Microsoft's programs have for zones, as the
// Unicode CLDR pairs them (windowsZones.xml, territory 001).
var windowsZones = map[string]string{
	"AUS Eastern Standard Time": "Australia/Sydney", "AUS Central Standard Time": "Australia/Darwin", "Alaskan Standard Time": "America/Anchorage",
	"Arab Standard Time": "Asia/Riyadh", "Arabian Standard Time": "Asia/Dubai", "Arabic Standard Time": "Asia/Baghdad", "Argentina Standard Time": "America/Buenos_Aires",
	"Atlantic Standard Time": "America/Halifax", "Azores Standard Time": "Atlantic/Azores", "Bangladesh Standard Time": "Asia/Dhaka", "Belarus Standard Time": "Europe/Minsk",
	"Canada Central Standard Time": "America/Regina", "Cape Verde Standard Time": "Atlantic/Cape_Verde", "Cen. Australia Standard Time": "Australia/Adelaide",
	"Central America Standard Time": "America/Guatemala", "Central Asia Standard Time": "Asia/Bishkek", "Central Europe Standard Time": "Europe/Budapest",
	"Central European Standard Time": "Europe/Warsaw", "Central Pacific Standard Time": "Pacific/Guadalcanal", "Central Standard Time": "America/Chicago",
	"Central Standard Time (Mexico)": "America/Mexico_City", "China Standard Time": "Asia/Shanghai", "E. Africa Standard Time": "Africa/Nairobi", "E. Australia Standard Time": "Australia/Brisbane",
	"E. Europe Standard Time": "Europe/Chisinau", "E. South America Standard Time": "America/Sao_Paulo", "Eastern Standard Time": "America/New_York", "Egypt Standard Time": "Africa/Cairo",
	"FLE Standard Time": "Europe/Kiev", "Fiji Standard Time": "Pacific/Fiji", "GMT Standard Time": "Europe/London", "GTB Standard Time": "Europe/Bucharest", "Georgian Standard Time": "Asia/Tbilisi",
	"Greenland Standard Time": "America/Godthab", "Greenwich Standard Time": "Atlantic/Reykjavik", "Hawaiian Standard Time": "Pacific/Honolulu", "India Standard Time": "Asia/Calcutta",
	"Iran Standard Time": "Asia/Tehran", "Israel Standard Time": "Asia/Jerusalem", "Jordan Standard Time": "Asia/Amman", "Kaliningrad Standard Time": "Europe/Kaliningrad", "Korea Standard Time": "Asia/Seoul",
	"Middle East Standard Time": "Asia/Beirut", "Montevideo Standard Time": "America/Montevideo", "Morocco Standard Time": "Africa/Casablanca", "Mountain Standard Time": "America/Denver",
	"Mountain Standard Time (Mexico)": "America/Mazatlan", "Myanmar Standard Time": "Asia/Rangoon", "Namibia Standard Time": "Africa/Windhoek", "Nepal Standard Time": "Asia/Katmandu",
	"New Zealand Standard Time": "Pacific/Auckland", "Newfoundland Standard Time": "America/St_Johns", "Pacific SA Standard Time": "America/Santiago", "Pacific Standard Time": "America/Los_Angeles",
	"Pakistan Standard Time": "Asia/Karachi", "Romance Standard Time": "Europe/Paris", "Russian Standard Time": "Europe/Moscow", "SA Pacific Standard Time": "America/Bogota", "SE Asia Standard Time": "Asia/Bangkok",
	"Singapore Standard Time": "Asia/Singapore", "South Africa Standard Time": "Africa/Johannesburg", "Sri Lanka Standard Time": "Asia/Colombo", "Syria Standard Time": "Asia/Damascus", "Taipei Standard Time": "Asia/Taipei",
	"Tasmania Standard Time": "Australia/Hobart", "Tokyo Standard Time": "Asia/Tokyo", "Turkey Standard Time": "Europe/Istanbul", "US Eastern Standard Time": "America/Indianapolis", "US Mountain Standard Time": "America/Phoenix",
	"UTC": "UTC", "Venezuela Standard Time": "America/Caracas", "W. Australia Standard Time": "Australia/Perth", "W. Central Africa Standard Time": "Africa/Lagos", "W. Europe Standard Time": "Europe/Berlin",
	"West Asia Standard Time": "Asia/Tashkent", "West Pacific Standard Time": "Pacific/Port_Moresby",
}
