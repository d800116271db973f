package api

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"time"

	"anteroom/integrations"
	"anteroom/integrations/calendars"
	"anteroom/integrations/collections"
)

// calendars are the operations on calendars and events.
func (a *API) calendars() []*operation {
	of := func(id, method, path, summary string) operation {
		return operation{ID: id, Method: method, Path: path, Summary: summary, Section: "caldav", Changes: method != http.MethodGet}
	}
	const events, event = "/calendars/{calendar}/events", "/calendars/{calendar}/events/{event}"
	return []*operation{
		operate(of("listCalendars", "GET", "/calendars", "The account's calendars, with those that others share with it"), (*exchange).listCalendars, jsonOf[calendarList](http.StatusOK)),
		operate(of("freeBusy", "GET", "/calendars/free-busy", "When something takes up time"), (*exchange).freeBusy, jsonOf[busyTimes](http.StatusOK)),
		operate(of("listEvents", "GET", events, "What happens in a window of time, each occurrence of what recurs, by start"), (*exchange).listEvents, jsonOf[eventPage](http.StatusOK)),
		operate(of("createEvent", "POST", events, "Make an event"), (*exchange).createEvent, jsonOf[calendars.Event](http.StatusCreated, "ETag", "Location")),
		operate(of("getEvent", "GET", event, "One event: of what recurs, the first occurrence with its rule"), (*exchange).getEvent, jsonOf[calendars.Event](http.StatusOK, "ETag"), nothing(http.StatusNotModified)),
		operate(of("updateEvent", "PATCH", event, "Change an event, or one occurrence of it; what is not said stays"), (*exchange).updateEvent, jsonOf[calendars.Event](http.StatusOK, "ETag")),
		operate(of("deleteEvent", "DELETE", event, "Delete an event, or one occurrence of it"), (*exchange).deleteEvent, nothing(http.StatusNoContent)),
		operate(of("eventChanges", "GET", "/calendars/{calendar}/changes", "The events that changed since a cursor; without one, all there are"), (*exchange).eventChanges, jsonOf[changes](http.StatusOK)),
	}
}

// calendarsNow lists the account's calendars.
func (x *exchange) calendarsNow() (*calendars.Calendars, []calendars.Calendar, error) {
	return collected(x, func(s collections.Service, home string) (*calendars.Calendars, error) {
		return calendars.Open(x.ctx(), calendars.Options{Service: s, Home: home, Now: x.a.o.Now})
	}, (*calendars.Calendars).Calendars)
}

// home is a client that knows where its account's collections are.
type home interface{ Home() string }

// collected opens an account's collections and lists them. Where they are is
// remembered; if they are there no longer, they are looked for again.
func collected[H home, C any](x *exchange, open func(s collections.Service, home string) (H, error), list func(H, context.Context) ([]C, error)) (h H, all []C, err error) {
	client, to, scope, err := x.dav()
	if err != nil {
		return h, nil, err
	}
	for range 2 {
		known := x.a.accounts.of(x.account())
		if h, err = open(collections.Service{HTTP: client, URL: to, Scope: scope}, known); err != nil {
			return h, nil, err
		}
		x.a.accounts.learn(x.account(), h.Home())
		all, err = list(h, x.ctx())
		if p, ok := integrations.ProblemOf(err); !ok || p.Reason != integrations.ReasonNotFound || known == "" {
			break
		}
		x.a.accounts.learn(x.account(), "")
	}
	return h, all, err
}

// inCalendar names a calendar.
type inCalendar struct {
	Calendar string `path:"calendar" max:"255" doc:"id of the calendar, or the name that people see, if it is its alone"`
}

// calendar opens the one that is named.
func (x *exchange) calendar(in inCalendar) (*calendars.Calendars, calendars.Calendar, error) {
	c, all, err := x.calendarsNow()
	if err != nil {
		return nil, calendars.Calendar{}, err
	}
	k, err := calendars.Named(all, in.Calendar)
	return c, k, err
}

type calendarList struct {
	Items []calendars.Calendar `json:"items"`
}

func (x *exchange) listCalendars(*struct{}) error {
	_, all, err := x.calendarsNow()
	if err != nil {
		return err
	}
	return x.json(http.StatusOK, calendarList{all})
}

// window is the time that is asked about.
type window struct {
	From     time.Time `query:"from" required:"true"`
	To       time.Time `query:"to" required:"true" doc:"not itself in it; at most five years after from"`
	TimeZone string    `query:"time_zone" max:"64" default:"UTC" doc:"IANA name: where whole days, and times without a zone, are"`
}

func (w *window) of() calendars.Window {
	return calendars.Window{From: w.From, To: w.To, Zone: w.TimeZone}
}

type listEvents struct {
	inCalendar
	window
	Limit  int    `query:"limit" min:"1" max:"20000" default:"1000"`
	Cursor string `query:"cursor" max:"64" doc:"from the answer before"`
}

// eventPage is a part of what happens.
type eventPage struct {
	Items []calendars.Event `json:"items"`
	cut
	next
}

// cut says that an answer is not all there is.
type cut struct {
	Incomplete bool `json:"incomplete,omitempty" doc:"there is more than is told: too much for one answer (ask for less time), a rule that goes by the hour or faster, or something that cannot be read"`
}

func (x *exchange) listEvents(in *listEvents) error {
	c, k, err := x.calendar(in.inCalendar)
	if err != nil {
		return err
	}
	at, err := resume(in.Cursor, k.Version, "calendar")
	if err != nil {
		return err
	}
	events, incomplete, err := c.Events(x.ctx(), k, in.of())
	if err != nil {
		return err
	}
	return page(x, events, at, in.Limit, incomplete)
}

// maxPage is of how many bytes a page is, and then one more item: occurrences
// of one event may each have all of its long text.
const maxPage = 8 << 20

// part is where in a list a page begins, and in which version of the list.
type part struct {
	skip    int
	version string
}

// resume is where a list goes on, if the collection is still as it was when the
// cursor was given out: else pages would repeat, or leave out, what moved.
func resume(cursor, version, what string) (part, error) {
	sum := sha256.Sum256([]byte(version)) // which may be long
	p := part{version: hex.EncodeToString(sum[:8])}
	skip, was, err := readPlace(cursor)
	if err == nil && cursor != "" && was != p.version {
		err = &integrations.Problem{Status: http.StatusGone, Reason: integrations.ReasonCursor, Field: "cursor", Text: "The " + what + " has changed since: begin again without a cursor."}
	}
	p.skip = skip
	return p, err
}

// page answers with a part of a list that is in memory.
func page[T any](x *exchange, all []T, at part, limit int, incomplete bool) error {
	out, more := x.listing(), next{}
	for i := min(at.skip, len(all)); i < len(all); i++ {
		if i == at.skip+limit || out.bytes > maxPage {
			more.Cursor = placeOf(i, at.version)
			break
		}
		if err := out.add(&all[i]); err != nil {
			return err
		}
	}
	return out.end(struct {
		cut
		next
	}{cut{incomplete}, more})
}

type createEvent struct {
	inCalendar
	Body struct {
		calendars.Fields
		Title string `json:"title" required:"true" max:"1024"`
		Start string `json:"start" required:"true" max:"40" doc:"a time with an offset, a time without one on the clocks of time_zone, or a date for a whole day"`
		UID   string `json:"uid,omitempty" max:"200" doc:"makes asking twice harmless: the second time is refused with already_exists"`
	} `body:"json"`
}

func (x *exchange) createEvent(in *createEvent) error {
	c, k, err := x.calendar(in.inCalendar)
	if err != nil {
		return err
	}
	f := in.Body.Fields
	f.Title, f.Start = &in.Body.Title, &in.Body.Start
	e, err := c.Create(x.ctx(), k, in.Body.UID, &f)
	if err != nil {
		return err
	}
	x.c.Object = k.ID + "/" + e.ID
	x.w.Header().Set("Location", Prefix+"/calendars/"+url.PathEscape(k.ID)+"/events/"+url.PathEscape(e.ID))
	return x.versioned(http.StatusCreated, e.ETag, e)
}

// oneEvent names an event.
type oneEvent struct {
	inCalendar
	Event    string `path:"event" max:"255"`
	TimeZone string `query:"time_zone" max:"64" default:"UTC" doc:"IANA name: where whole days, and times without a zone, are"`
}

func (x *exchange) event(in *oneEvent) (*calendars.Calendars, calendars.Calendar, error) {
	if err := collections.Plain("event", in.Event); err != nil {
		return nil, calendars.Calendar{}, err
	}
	return x.calendar(in.inCalendar)
}

type getEvent struct {
	oneEvent
	IfNoneMatch string `header:"If-None-Match" doc:"an ETag: 304 while it is this one's"`
}

func (x *exchange) getEvent(in *getEvent) error {
	c, k, err := x.event(&in.oneEvent)
	if err != nil {
		return err
	}
	e, err := c.Event(x.ctx(), k, in.Event, in.TimeZone)
	if err != nil {
		return err
	}
	return x.versioned(http.StatusOK, e.ETag, e)
}

// changeOne is what changes an event has in common.
type changeOne struct {
	oneEvent
	Occurrence string `query:"occurrence" min:"1" max:"40" doc:"of what recurs: only this occurrence, as its \"occurrence\" says"`
	IfMatch    string `header:"If-Match" doc:"the event's ETag: it is changed only while it is that version; required"`
}

func (in *changeOne) only() calendars.Only {
	return calendars.Only{IfMatch: in.IfMatch, Occurrence: in.Occurrence, Zone: in.TimeZone}
}

type updateEvent struct {
	changeOne
	Body calendars.Fields `body:"json"`
}

func (x *exchange) updateEvent(in *updateEvent) error {
	c, k, err := x.event(&in.oneEvent)
	if err != nil {
		return err
	}
	e, err := c.Update(x.ctx(), k, in.Event, &in.Body, in.only())
	if err != nil {
		return err
	}
	return x.versioned(http.StatusOK, e.ETag, e)
}

func (x *exchange) deleteEvent(in *changeOne) error {
	c, k, err := x.event(&in.oneEvent)
	if err != nil {
		return err
	}
	if err := c.Delete(x.ctx(), k, in.Event, in.only()); err != nil {
		return err
	}
	return x.nothing(http.StatusNoContent)
}

type freeBusy struct {
	Calendar []string `query:"calendar" max:"50" doc:"id or name of a calendar, as often as there are; none: all"`
	window
}

type busyTimes struct {
	Items []calendars.Busy `json:"items" doc:"by time, none of them overlapping"`
	cut
}

func (x *exchange) freeBusy(in *freeBusy) error {
	c, all, err := x.calendarsNow()
	if err != nil {
		return err
	}
	var of []calendars.Calendar
	for _, name := range in.Calendar {
		k, err := calendars.Named(all, name)
		if err != nil {
			return err
		}
		of = append(of, k)
	}
	if len(in.Calendar) == 0 {
		of = all
	}
	busy, incomplete, err := c.FreeBusy(x.ctx(), of, in.of())
	if err != nil {
		return err
	}
	return x.json(http.StatusOK, busyTimes{busy, cut{incomplete}})
}

type changesIn struct {
	inCalendar
	Cursor string `query:"cursor" max:"1024" doc:"from the answer before"`
}

// changes are what changed.
type changes struct {
	Items []collections.Change `json:"items"`
	changed
}

// changed is what is said of changes as a whole.
type changed struct {
	Complete bool   `json:"complete" doc:"items are all there are now: what is known from before and is not among them is gone"`
	Cursor   string `json:"cursor" doc:"for the next time"`
}

func (x *exchange) eventChanges(in *changesIn) error {
	c, k, err := x.calendar(in.inCalendar)
	if err != nil {
		return err
	}
	out := x.listing()
	cursor, complete, err := c.Changes(x.ctx(), k, in.Cursor, func(e *collections.Change) error { return out.add(e) })
	if err != nil {
		return err
	}
	return out.end(changed{complete, cursor})
}
