package demo

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

const icalTime = "20060102T150405Z"

// busy are the times in a range at which a calendar's events take place, those
// that touch put together.
func (f *folder) busy(within span) []span {
	var all []span
	for _, o := range f.objects {
		top, wrong := parseText(o.data)
		if wrong != "" {
			continue
		}
		for _, x := range occurrences(top, "VEVENT", within) {
			if x.of.value("TRANSP") != "TRANSPARENT" && x.of.value("STATUS") != "CANCELLED" {
				all = append(all, x.span)
			}
		}
	}
	slices.SortFunc(all, func(a, b span) int { return a.start.Compare(b.start) })
	var merged []span
	for _, s := range all {
		if n := len(merged); n > 0 && !s.start.After(merged[n-1].end) {
			if s.end.After(merged[n-1].end) {
				merged[n-1].end = s.end
			}
			continue
		}
		merged = append(merged, s)
	}
	return merged
}

// schedule is a VFREEBUSY in a calendar of its own.
func (c *davCall) schedule(busy []span, within span, method string, more ...property) *component {
	fb := &component{name: "VFREEBUSY", props: []property{
		{name: "DTSTART", value: within.start.UTC().Format(icalTime)}, {name: "DTEND", value: within.end.UTC().Format(icalTime)},
		{name: "DTSTAMP", value: c.n.o.Now().UTC().Format(icalTime)},
	}}
	for _, s := range busy {
		fb.props = append(fb.props, property{name: "FREEBUSY", value: s.start.UTC().Format(icalTime) + "/" + s.end.UTC().Format(icalTime)})
	}
	fb.props = append(fb.props, more...)
	top := &component{name: "VCALENDAR", kids: []*component{fb}, props: []property{
		{name: "VERSION", value: "2.0"}, {name: "PRODID", value: "-//Sabre//Sabre VObject 4.4.3//EN"}, {name: "CALSCALE", value: "GREGORIAN"}}}
	if method != "" {
		top.props = append(top.props, property{name: "METHOD", value: method})
	}
	return top
}

// freeBusy is RFC 4791, section 7.10.
func (c *davCall) freeBusy(f *folder, within span) *reply {
	return &reply{status: http.StatusOK, header: http.Header{"Content-Type": {"text/calendar;charset=UTF-8"}},
		body: []byte(c.schedule(f.busy(within), within, "").String())}
}

// askFreeBusy is POST to the outbox (RFC 6638, section 5): when the attendees
// have time. Of others nothing is known.
func (c *davCall) askFreeBusy() (*reply, error) {
	top, wrong := parseText(c.body)
	if wrong != "" || len(top.kids) == 0 || top.kids[0].name != "VFREEBUSY" {
		return nil, refused(http.StatusBadRequest, "The supplied body could not be parsed as a VFREEBUSY request")
	}
	ask := top.kids[0]
	var within span
	for name, at := range map[string]*property{"DTSTART": {}, "DTEND": {}} {
		*at, _ = ask.first(name)
		if t, _, ok := at.moment(); ok && name == "DTSTART" {
			within.start = t
		} else if ok {
			within.end = t
		}
	}
	var answers []element
	for _, p := range ask.props {
		if p.name != "ATTENDEE" {
			continue
		}
		status := "3.7;Could not find principal"
		var data []element
		if strings.EqualFold(p.value, "mailto:"+c.who.Email) {
			var busy []span
			for _, f := range c.home.calendars.folders {
				busy = append(busy, f.busy(within)...)
			}
			uid, _ := ask.first("UID")
			organizer, _ := ask.first("ORGANIZER")
			status, data = "2.0;Success", []element{el(nsCal, "calendar-data", c.schedule(busy, within, "REPLY", p, uid, organizer).String())}
		}
		answers = append(answers, el(nsCal, "response", el(nsCal, "recipient", el(nsDAV, "href", p.value)), el(nsCal, "request-status", status), data))
	}
	doc := newPrinter(c.root.prefixes(c.path), "  ").document(`<?xml version="1.0" encoding="utf-8"?>`, el(nsCal, "schedule-response", answers))
	return &reply{status: http.StatusOK, header: http.Header{"Content-Type": {"application/xml"}}, body: doc}, nil
}

// export is a whole folder as one file.
func (c *davCall) export(f *folder) *reply {
	kind, ext := "text/calendar;charset=UTF-8", "ics"
	var b strings.Builder
	if f.cards {
		kind, ext = "text/directory;charset=UTF-8", "vcf"
		for _, o := range f.objects {
			b.Write(o.data)
		}
	} else {
		top := &component{name: "VCALENDAR", props: []property{{name: "VERSION", value: "2.0"}, {name: "CALSCALE", value: "GREGORIAN"},
			{name: "PRODID", value: "-//SabreDAV//SabreDAV//EN"}, {name: "X-WR-CALNAME", value: f.title()}}}
		zones := map[string]bool{}
		for _, o := range f.objects {
			one, _ := parseText(o.data) // it was read when it was stored
			for _, k := range one.kids {
				if k.name == "VTIMEZONE" && zones[k.value("TZID")] {
					continue
				}
				zones[k.value("TZID")] = true
				top.kids = append(top.kids, k)
			}
		}
		b.WriteString(top.String())
	}
	name := fmt.Sprintf("%s-%s.%s", f.name, c.n.o.Now().Format("2006-01-02"), ext)
	return &reply{status: http.StatusOK, body: []byte(b.String()),
		header: http.Header{"Content-Type": {kind}, "Content-Disposition": {fmt.Sprintf("attachment; filename=%q", name)}}}
}
