package calendars

import (
	"context"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/emersion/go-ical"

	"anteroom/integrations"
	"anteroom/integrations/collections"
	"anteroom/integrations/contentline"
)

// Create makes an event, and gives it as it is then. A uid that is given names
// it, so that asking twice does not make two; one that is there already is a
// Problem of ReasonExists.
func (c *Calendars) Create(ctx context.Context, k Calendar, uid string, f *Fields) (Event, error) {
	if uid == "" {
		uid = collections.NewUID()
	}
	id := uid + ".ics"
	if err := collections.Plain("uid", id); err != nil {
		return Event{}, err
	}
	s := contentline.Of("BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//Anteroom//Calendars//EN\r\nBEGIN:VEVENT\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n")
	e := &edit{sheet: s, at: s.Components(ical.CompEvent)[0], fields: f, now: c.o.Now()}
	if err := e.create(uid); err != nil {
		return Event{}, err
	}
	o, err := c.stored(ctx, k, id, s.String(), "")
	if err != nil {
		return Event{}, err
	}
	return o.event(utc)
}

const mediaType = "text/calendar; charset=utf-8"

// stored stores an object, of a version or as a new one, and gives it as it is
// then. A server that changed what it was given is asked what it has.
func (c *Calendars) stored(ctx context.Context, k Calendar, id, text, version string) (*object, error) {
	if len(text) > maxObject {
		return nil, &integrations.Problem{Status: http.StatusRequestEntityTooLarge, Reason: integrations.ReasonTooLarge, Text: "The event is too large."}
	}
	o, err := c.read(k, id, text, version)
	if err != nil { // nobody is given what we would not take
		return nil, err
	}
	if version == "" {
		o.etag, err = c.o.Make(ctx, k.place+id, mediaType, text)
	} else {
		o.etag, err = c.o.Put(ctx, k.place+id, mediaType, text, http.Header{"If-Match": {version}})
	}
	switch {
	case err != nil:
		return nil, err
	case o.etag == "":
		return c.fetch(ctx, k, id)
	}
	return o, nil
}

// Only says which version of an event is to be changed, and which part of it.
type Only struct {
	IfMatch    string // an ETag, or "*" for whichever there is; "" is refused
	Occurrence string // of one that recurs: Event.Occurrence; "" for the whole of it
	Zone       string // as the occurrence was asked for with
}

// held fetches an event that is about to be changed.
func (c *Calendars) held(ctx context.Context, k Calendar, id string, only Only) (*object, error) {
	text, etag, err := c.o.Held(ctx, k.place+id, only.IfMatch, maxObject)
	if err != nil {
		return nil, err
	}
	return c.read(k, id, text, etag)
}

// Update changes what the fields say, of all of an event or of one occurrence,
// and leaves all else as it is. It gives what it changed.
func (c *Calendars) Update(ctx context.Context, k Calendar, id string, f *Fields, only Only) (now Event, err error) {
	z, err := here(only.Zone)
	if err != nil {
		return Event{}, err
	}
	err = collections.Again(only.IfMatch, func() error {
		o, err := c.update(ctx, k, id, f, only)
		if err == nil {
			now, err = o.only(only, z)
		}
		return err
	})
	return now, err
}

func (c *Calendars) update(ctx context.Context, k Calendar, id string, f *Fields, only Only) (*object, error) {
	o, err := c.held(ctx, k, id, only)
	if err != nil {
		return nil, err
	}
	e := &edit{sheet: contentline.Of(o.text), fields: f, now: c.o.Now(), object: o}
	if err := e.find(only); err != nil {
		return nil, err
	}
	if err := e.update(); err != nil {
		return nil, err
	}
	if f.Recurrence != nil && !e.kept() {
		return nil, &integrations.Problem{Status: http.StatusConflict, Reason: integrations.ReasonConflict, Field: "recurrence",
			Text: "Occurrences of this event were changed one by one, and the new rule has them no more. Take them out first."}
	}
	return c.stored(ctx, k, id, e.sheet.String(), o.etag)
}

// only is the event, or the occurrence of it that was changed.
func (o *object) only(only Only, z *zone) (Event, error) {
	e := &edit{sheet: contentline.Of(o.text), object: o}
	if only.Occurrence == "" || e.find(only) != nil { // which the server made another one
		return o.event(z)
	}
	one := said(e.comp)
	return o.told(e.one.event(&one, z)), nil
}

// Delete deletes an event, or takes one occurrence out of it.
func (c *Calendars) Delete(ctx context.Context, k Calendar, id string, only Only) error {
	return collections.Again(only.IfMatch, func() error { return c.delete(ctx, k, id, only) })
}

func (c *Calendars) delete(ctx context.Context, k Calendar, id string, only Only) error {
	o, err := c.held(ctx, k, id, only)
	if err != nil {
		return err
	}
	if only.Occurrence != "" {
		e := &edit{sheet: contentline.Of(o.text), now: c.o.Now(), object: o}
		if err := e.find(only); err != nil {
			return err
		}
		if err := e.takeOut(); err != nil {
			return err
		}
		_, err = c.stored(ctx, k, id, e.sheet.String(), o.etag)
		return err
	}
	return c.o.Delete(ctx, k.place+id, o.etag)
}

// edit is one change of an object's text.
type edit struct {
	sheet  *contentline.Sheet
	at     contentline.Extent // of the component that is changed
	fields *Fields
	now    time.Time

	object *object // nil for one that is being made
	series *series
	comp   *ical.Component // the component, as it was
	one    *occurrence     // the occurrence that is changed; nil: all
	fresh  bool            // the component is a new one, for that occurrence
}

// find finds the component that is to be changed.
func (e *edit) find(only Only) error {
	all := seriesOf(e.object.cal, atlas{})
	if len(all) == 0 {
		return integrations.NotFound("event")
	}
	if e.series = all[0]; len(all) > 1 || e.series.masters > 1 || !e.placed() {
		return &integrations.Problem{Status: http.StatusConflict, Reason: integrations.ReasonConflict, Text: "This is several events in one, or written in a way that it cannot be changed safely: change it in a calendar program."}
	}
	if only.Occurrence == "" {
		if e.comp = e.series.master; e.comp == nil {
			return integrations.Invalid("occurrence", "is missing: only single occurrences of this event are here.")
		}
		e.at = e.extentOf(e.comp)
		return nil
	}
	z, err := here(only.Zone)
	if err != nil {
		return err
	}
	id, err := momentIn("occurrence", only.Occurrence, z)
	if err != nil {
		return err
	}
	names := func(m *moment) bool {
		return m.day == id.day && m.at(z).Equal(id.at(z)) && (m.zone != nil || !elsewhere(only.Occurrence, z))
	}
	for i := range e.series.overrides {
		if v := &e.series.overrides[i]; names(&v.id) {
			if v.onward {
				return &integrations.Problem{Status: http.StatusConflict, Reason: integrations.ReasonConflict, Field: "occurrence", Text: "All later occurrences go by this one: change it in a calendar program."}
			}
			e.comp, e.at = v.comp, e.extentOf(v.comp)
			e.one = &occurrence{v.comp, v.start, v.length.endOf(v.start, v.start, z), &v.id}
			return nil
		}
	}
	if e.one = e.series.at(id, z, names); e.one == nil {
		return &integrations.Problem{Status: http.StatusNotFound, Reason: integrations.ReasonNotFound, Field: "occurrence", Text: "The event has no such occurrence."}
	}
	e.comp, e.fresh = e.one.comp, true
	return nil
}

// elsewhere reports whether a time is said with an offset that a zone does not
// have then: floating times are named in the zone that they were asked for in.
func elsewhere(said string, z *zone) bool {
	at, err := time.Parse(time.RFC3339, said)
	if err != nil {
		return false
	}
	_, offset := at.Zone()
	return offset != z.offset(at)
}

// at is the occurrence of the rule that has a name, near a moment; nil if there
// is none, or another component stands for it. It is looked for by when it was to
// start: an override that holds onward may have moved it by days.
func (s *series) at(id moment, here *zone, names func(*moment) bool) *occurrence {
	if !s.recurs() {
		return nil
	}
	replaced, onward := s.exceptions(here)
	starts, _ := s.starts(id.at(here).Add(margin), here)
	for i := range starts {
		if at := starts[i].at(here); names(&starts[i]) && !replaced[at.Unix()] {
			o := s.occurrence(starts[i], onward.before(at), here)
			return &o
		}
	}
	return nil
}

// placed reports whether the events are in the text where the object has them:
// what one reader takes for a line of an event, another may not.
func (e *edit) placed() bool {
	places := e.sheet.Components(ical.CompEvent)
	for _, c := range e.object.cal.Children {
		if c.Name != ical.CompEvent {
			continue
		}
		if len(places) == 0 {
			return false
		}
		alone, err := readObject("BEGIN:VCALENDAR\r\n" + strings.Join(e.sheet.Lines[places[0].First:places[0].Last+1], "") + "END:VCALENDAR\r\n")
		if err != nil || len(alone.Children) != 1 || !reflect.DeepEqual(alone.Children[0], c) {
			return false
		}
		places = places[1:]
	}
	return len(places) == 0
}

// extentOf is where a component of the object is in its text.
func (e *edit) extentOf(comp *ical.Component) contentline.Extent {
	n := 0
	for _, c := range e.object.cal.Children {
		if c == comp {
			break
		}
		if c.Name == ical.CompEvent {
			n++
		}
	}
	return e.sheet.Components(ical.CompEvent)[n]
}

// update writes the fields into the component.
func (e *edit) update() error {
	lines, without, err := e.changed()
	if err != nil {
		return err
	}
	if e.fresh {
		lines, err = e.override(lines, without)
		if err != nil {
			return err
		}
		e.sheet.Add(false, lines...)
		return nil
	}
	e.sheet.Set(e.at, without, lines...)
	return nil
}

// kept reports whether the rule, as it is now, has all occurrences that were
// changed one by one and that it had before.
func (e *edit) kept() bool {
	if len(e.series.overrides) == 0 {
		return true
	}
	var last time.Time
	for _, o := range e.series.overrides {
		last = maxTime(last, o.id.at(utc))
	}
	cal, err := readObject(e.sheet.String())
	if err != nil {
		return false
	}
	has := func(all []*series) map[int64]bool {
		at := map[int64]bool{}
		if len(all) == 1 && all[0].master != nil {
			starts, _ := all[0].starts(last.Add(time.Second), utc)
			for _, m := range starts {
				at[m.at(utc).Unix()] = true
			}
		}
		return at
	}
	before, now := has([]*series{e.series}), has(seriesOf(cal, atlas{}))
	return !slices.ContainsFunc(e.series.overrides, func(o override) bool {
		at := o.id.at(utc).Unix()
		return before[at] && !now[at]
	})
}

// ofSeries are the properties that a single occurrence does not have.
var ofSeries = []string{"RRULE", "RDATE", "EXDATE", "EXRULE", "RECURRENCE-ID"}

// override is a component for one occurrence: what the series says of it, and
// what is changed.
func (e *edit) override(lines []string, without map[string]bool) ([]string, error) {
	at := e.extentOf(e.comp)
	copied := &contentline.Sheet{Lines: slices.Clone(e.sheet.Lines[at.First : at.Last+1])}
	for _, name := range ofSeries {
		without[name] = true
	}
	if !without["DTSTART"] {
		for _, name := range []string{"DTSTART", "DTEND", "DURATION"} {
			without[name] = true
		}
		lines = append(lines, e.one.start.line("DTSTART"))
		if !e.one.end.at(utc).Equal(e.one.start.at(utc)) { // RFC 5545 §3.8.2.2: it ends later, if it says when
			lines = append(lines, e.one.end.line("DTEND"))
		}
	}
	copied.Set(contentline.Extent{Last: len(copied.Lines) - 1}, without, append(lines, e.one.id.line("RECURRENCE-ID"))...)
	return copied.Lines, nil
}

// takeOut removes one occurrence.
func (e *edit) takeOut() error {
	if e.series.master == nil {
		if len(e.series.overrides) < 2 {
			return &integrations.Problem{Status: http.StatusConflict, Reason: integrations.ReasonConflict, Text: "It is the only occurrence that is here: delete the event."}
		}
		e.sheet.Splice(e.at.First, e.at.Last+1, nil)
		return nil
	}
	gone := e.at
	e.comp = e.series.master
	e.at = e.extentOf(e.comp)
	if !e.fresh {
		e.sheet.Splice(gone.First, gone.Last+1, nil)
		if n := gone.Last + 1 - gone.First; gone.First < e.at.First {
			e.at = contentline.Extent{First: e.at.First - n, Last: e.at.Last - n}
		}
	}
	e.sheet.Set(e.at, e.stamp(true), append(e.stamps(true), e.one.id.line("EXDATE"))...)
	return nil
}

// stamp are the properties that every change changes.
func (e *edit) stamp(significant bool) map[string]bool {
	names := map[string]bool{"DTSTAMP": true, "LAST-MODIFIED": true}
	if significant {
		names["SEQUENCE"] = true
	}
	return names
}

// stamps are these, as of now. SEQUENCE counts the changes that others who take
// part have to know of (RFC 5546 §2.1.4).
func (e *edit) stamps(significant bool) []string {
	now := e.now.UTC().Format(utcForm)
	lines := []string{"DTSTAMP:" + now, "LAST-MODIFIED:" + now}
	if significant {
		n := 0
		if e.comp != nil {
			n, _ = strconv.Atoi(textOf(e.comp, ical.PropSequence))
			n++
		}
		lines = append(lines, "SEQUENCE:"+strconv.Itoa(max(n, 0)))
	}
	return lines
}
