package demo

import (
	"slices"
	"strings"
)

// matches reports whether a calendar object, or a part of one, is what a
// comp-filter asks for (RFC 4791, section 9.7.1). in is the whole object.
func (c *component) matches(filter element, in *component) bool {
	for _, k := range filter.kids {
		switch {
		case k.is(nsCal, "time-range") && !c.during(k, in):
			return false
		case k.is(nsCal, "prop-filter") && !c.hasProp(k):
			return false
		case k.is(nsCal, "comp-filter") && !c.hasComp(k, in):
			return false
		}
	}
	return true
}

// hasComp applies a comp-filter to what is inside.
func (c *component) hasComp(filter element, in *component) bool {
	name, found := strings.ToUpper(filter.value("name")), false
	for _, k := range c.kids {
		if k.name != name {
			continue
		}
		if found = true; k.matches(filter, in) && filter.child(nsCal, "is-not-defined").Local == "" {
			return true
		}
	}
	return !found && filter.child(nsCal, "is-not-defined").Local != ""
}

// during applies a time-range. What has no time at all is always now.
func (c *component) during(e element, in *component) bool {
	if c.name == "VALARM" {
		return true
	}
	if _, _, ok := c.begin(); !ok {
		return c.name != "VEVENT"
	}
	return slices.ContainsFunc(occurrences(in, c.name, rangeOf(e)), func(o occurrence) bool { return o.of == c })
}

// rangeOf reads start and end of a time-range.
func rangeOf(e element) span {
	var s span
	s.start, _, _ = property{value: e.value("start")}.moment()
	s.end, _, _ = property{value: e.value("end")}.moment()
	return s
}

// hasProp applies a prop-filter of a calendar or an address book: one of the
// properties of its name has to match.
func (c *component) hasProp(filter element) bool {
	name, absent := strings.ToUpper(filter.value("name")), false
	for _, k := range filter.kids {
		absent = absent || k.Local == "is-not-defined"
	}
	found := false
	for _, p := range c.props {
		if p.name == name {
			if found = true; !absent && p.matches(filter) {
				return true
			}
		}
	}
	return !found && absent
}

// matches applies what a prop-filter says; of several conditions all, or where
// test is anyof, one.
func (p property) matches(filter element) bool {
	hits, tries := 0, 0
	count := func(hit bool) {
		if tries++; hit {
			hits++
		}
	}
	for _, k := range filter.kids {
		switch k.Local {
		case "text-match":
			count(textMatches(k, p.value))
		case "param-filter":
			v := p.param(k.value("name"))
			switch {
			case len(k.kids) == 0:
				count(v != "")
			case k.kids[0].Local == "is-not-defined":
				count(v == "")
			default:
				count(textMatches(k.kids[0], v))
			}
		}
	}
	return hits == tries || hits > 0 && filter.value("test") == "anyof"
}

// textMatches is a text-match, without regard to case.
func textMatches(e element, text string) bool {
	have, want := strings.ToLower(text), strings.ToLower(e.text)
	hit := false
	switch e.value("match-type") {
	case "equals":
		hit = have == want
	case "starts-with":
		hit = strings.HasPrefix(have, want)
	case "ends-with":
		hit = strings.HasSuffix(have, want)
	default:
		hit = strings.Contains(have, want)
	}
	return hit != (e.value("negate-condition") == "yes")
}

// chosen reports whether an object is what a query's filter asks for. A filter
// of an address book has conditions of which one has to hold, unless it says
// that all do.
func (o *entry) chosen(filter element) bool {
	top, wrong := parseText(o.data)
	if wrong != "" {
		return false
	}
	if o.component != "" {
		comp := filter.child(nsCal, "comp-filter")
		return comp.Local == "" || comp.value("name") == top.name && top.matches(comp, top)
	}
	hits := 0
	for _, k := range filter.kids {
		if top.hasProp(k) {
			hits++
		}
	}
	return hits == len(filter.kids) || hits > 0 && filter.value("test") != "allof"
}

// expanded is a calendar object as the times at which it happens in a range
// (RFC 4791, section 9.6.5), in UTC and without rules.
func expanded(data []byte, within span) []byte {
	top, wrong := parseText(data)
	if wrong != "" {
		return data
	}
	out := &component{name: top.name, props: top.props}
	for _, kind := range [...]string{"VEVENT", "VTODO"} {
		for _, o := range occurrences(top, kind, within) {
			out.kids = append(out.kids, o.alone())
		}
	}
	return []byte(out.String())
}

// alone is the occurrence as a component of its own.
func (o occurrence) alone() *component {
	c := &component{name: o.of.name, kids: o.of.kids}
	_, day, _ := o.of.begin()
	for _, p := range o.of.props {
		switch p.name {
		case "RRULE", "RDATE", "EXDATE", "RECURRENCE-ID", "DURATION":
			continue
		case "DTSTART":
			p = stamp(p.name, o.start.UTC().Format("20060102T150405Z"), day)
		case "DTEND", "DUE":
			p = stamp(p.name, o.end.UTC().Format("20060102T150405Z"), day)
		}
		c.props = append(c.props, p)
	}
	if !o.id.IsZero() {
		c.props = append(c.props, stamp("RECURRENCE-ID", o.id.UTC().Format("20060102T150405Z"), day))
	}
	if o.of.value("DURATION") != "" {
		c.props = append(c.props, stamp("DTEND", o.end.UTC().Format("20060102T150405Z"), day))
	}
	return c
}

// stamp is a property of a moment, or of a day.
func stamp(name, moment string, day bool) property {
	if day {
		return property{name, ";VALUE=DATE", moment[:8]}
	}
	return property{name: name, value: moment}
}
