package calendars

import (
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-ical"

	"anteroom/integrations/contentline"
)

// Event is one event, or one occurrence of one that recurs.
type Event struct {
	ID          string     `json:"id" doc:"its name in the calendar; occurrences of one event share it"`
	Calendar    string     `json:"calendar" doc:"id of the calendar"`
	UID         string     `json:"uid,omitempty" doc:"the same wherever copies of the event are"`
	Title       string     `json:"title"`
	Description string     `json:"description,omitempty" doc:"plain text, as somebody wrote it: not safe to show as HTML"`
	Location    string     `json:"location,omitempty"`
	AllDay      bool       `json:"all_day"`
	Start       string     `json:"start" doc:"RFC 3339 with the offset then and there; a date where all_day"`
	End         string     `json:"end" doc:"likewise; what is all day ends before this date"`
	TimeZone    string     `json:"time_zone,omitempty" doc:"the zone its clocks are in, by IANA name where it has one; missing for whole days and floating times"`
	Floating    bool       `json:"floating,omitempty" doc:"its times are those of wherever one is: they are given in the zone that was asked for"`
	Status      string     `json:"status,omitempty" doc:"confirmed, tentative or cancelled"`
	Free        bool       `json:"free,omitempty" doc:"it takes up no time"`
	Organizer   *Attendee  `json:"organizer,omitempty"`
	Attendees   []Attendee `json:"attendees,omitempty"`
	Recurrence  string     `json:"recurrence,omitempty" doc:"the rule (RFC 5545 RRULE) of an event that recurs"`
	Occurrence  string     `json:"occurrence,omitempty" doc:"of one that recurs: when this occurrence was to start by the rule, which names it"`
	Categories  []string   `json:"categories,omitempty"`
	URL         string     `json:"url,omitempty" doc:"as somebody wrote it"`
	Private     bool       `json:"private,omitempty"`
	Updated     time.Time  `json:"updated,omitzero"`
	ETag        string     `json:"etag,omitempty" doc:"for If-Match; that of the whole event"`
}

// Attendee is somebody who organizes an event or is asked to come.
type Attendee struct {
	Name   string `json:"name,omitempty"`
	Email  string `json:"email,omitempty"`
	Status string `json:"status,omitempty" doc:"accepted, declined, tentative or needs-action"`
}

// textOf is a text property, unescaped; "" for none.
func textOf(c *ical.Component, name string) string {
	p := c.Props.Get(name)
	if p == nil {
		return ""
	}
	return contentline.Text(p.Value)
}

func attendeeOf(p *ical.Prop) Attendee {
	a := Attendee{Name: p.Params.Get(ical.ParamCommonName), Status: strings.ToLower(p.Params.Get(ical.ParamParticipationStatus))}
	if scheme, address, ok := strings.Cut(p.Value, ":"); ok && strings.EqualFold(scheme, "mailto") {
		a.Email = address
	}
	return a
}

// said is what a component says of an event, but for when it is.
func said(c *ical.Component) Event {
	e := Event{
		UID: textOf(c, ical.PropUID), Title: textOf(c, ical.PropSummary), Description: textOf(c, ical.PropDescription), Location: textOf(c, ical.PropLocation),
		Status: strings.ToLower(textOf(c, ical.PropStatus)), Free: strings.EqualFold(textOf(c, ical.PropTransparency), "TRANSPARENT"),
		URL: textOf(c, ical.PropURL), Private: !slices.Contains([]string{"", "PUBLIC"}, strings.ToUpper(textOf(c, ical.PropClass))),
	}
	if p := c.Props.Get(ical.PropRecurrenceRule); p != nil {
		e.Recurrence = p.Value
	}
	if p := c.Props.Get(ical.PropOrganizer); p != nil {
		a := attendeeOf(p)
		e.Organizer = &a
	}
	for _, p := range c.Props.Values(ical.PropAttendee) {
		if len(e.Attendees) < maxEntries {
			e.Attendees = append(e.Attendees, attendeeOf(&p))
		}
	}
	for _, p := range c.Props.Values(ical.PropCategories) {
		list := contentline.List(p.Value[:min(len(p.Value), maxList)])
		e.Categories = append(e.Categories, list[:min(len(list), maxEntries-len(e.Categories))]...)
	}
	for _, name := range []string{ical.PropLastModified, ical.PropDateTimeStamp} {
		if p := c.Props.Get(name); p != nil && e.Updated.IsZero() {
			if t, err := time.Parse(utcForm, p.Value); err == nil {
				e.Updated = t
			}
		}
	}
	return e
}

const (
	maxEntries = 500      // attendees, or categories, of one event
	maxList    = 64 << 10 // bytes of a list of categories
)

// size is about how many bytes an event's texts have.
func (e *Event) size() int {
	n := len(e.UID) + len(e.Title) + len(e.Description) + len(e.Location) + len(e.URL) + len(e.Recurrence)
	for _, a := range e.Attendees {
		n += len(a.Name) + len(a.Email) + len(a.Status)
	}
	for _, c := range e.Categories {
		n += len(c)
	}
	return n
}

// told are the events that components are: each is read once, and its
// occurrences share its texts.
type told map[*ical.Component]*Event

func (t told) of(c *ical.Component) *Event {
	e := t[c]
	if e == nil {
		read := said(c)
		e = &read
		t[c] = e
	}
	return e
}

// event is an occurrence for programs, of what its component says.
func (o *occurrence) event(said *Event, here *zone) Event {
	e := *said
	e.AllDay, e.Start, e.End = o.start.day, o.start.text(here), o.end.text(here)
	if o.start.zone != nil {
		e.TimeZone = o.start.zone.name
	} else if !o.start.day {
		e.Floating = o.start.tzid == ""
		e.TimeZone = o.start.tzid // one that nobody knows, and is read as where one is
	}
	if o.id != nil {
		e.Occurrence = o.id.text(here)
	}
	return e
}
