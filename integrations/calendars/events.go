package calendars

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-ical"

	"anteroom/integrations"
	"anteroom/integrations/collections"
	"anteroom/integrations/contentline"
	"anteroom/integrations/multistatus"
)

const (
	maxObject = 2 << 20 // bytes of one event, with all its overrides
	maxWindow = 5 * 366 * 24 * time.Hour
	maxEvents = 20_000         // occurrences in one answer
	margin    = 36 * time.Hour // around a window: floating times, and days, are elsewhere at another time
)

// object is one calendar object resource (RFC 4791 §4.1).
type object struct {
	id, etag string
	calendar Calendar
	cal      *ical.Calendar
	text     string // as the server has it, where it was asked for alone
}

type objectProp struct {
	ETag string `xml:"DAV: getetag"`
	Data string `xml:"urn:ietf:params:xml:ns:caldav calendar-data"`
}

// readObject takes an iCalendar object apart. Its words for what is wrong quote
// nothing of it.
func readObject(text string) (cal *ical.Calendar, err error) {
	if len(text) > maxObject || !contentline.Modest(text) {
		return nil, errUnreadable
	}
	defer func() {
		if recover() != nil { // the library's way with parameters that are cut off
			cal, err = nil, errUnreadable
		}
	}()
	if cal, err = ical.NewDecoder(strings.NewReader(text)).Decode(); err != nil {
		return nil, errUnreadable
	}
	return cal, nil
}

var errUnreadable = errors.New("it is no iCalendar that can be read")

// Window is a part of time.
type Window struct {
	From, To time.Time
	Zone     string // an IANA name: where floating times and whole days are; "" for UTC
}

func (w *Window) check() (*zone, error) {
	switch d := w.To.Sub(w.From); {
	case d <= 0:
		return nil, integrations.Invalid("to", "is not after from.")
	case d > maxWindow:
		return nil, integrations.Invalid("to", "is more than five years after from.")
	case w.From.UTC().Year() < 1 || w.To.UTC().Year() > 9990:
		return nil, integrations.Invalid("from", "is not between the years 1 and 9985.")
	}
	return here(w.Zone)
}

// here is the zone of whoever asks.
func here(name string) (*zone, error) {
	if name == "" {
		return utc, nil
	}
	if z := named(name); z != nil {
		return z, nil
	}
	return nil, integrations.Invalid("time_zone", "is no zone that is known, such as Europe/Berlin.")
}

// Events are the occurrences in a window, by their start. cut reports that
// there are more: more than one answer holds, or by a rule that is not followed
// further.
func (c *Calendars) Events(ctx context.Context, k Calendar, w Window) (events []Event, cut bool, err error) {
	z, err := w.check()
	if err != nil {
		return nil, false, err
	}
	type timed struct {
		at time.Time
		e  Event
	}
	var all []timed
	m := &meter{now: c.o.Now, zones: atlas{}}
	cut, err = c.query(ctx, k, w, m, func(o *object, s *series, t told) (more bool) {
		return s.expand(w.From, w.To, z, func(x occurrence) {
			if m.entries++; m.full() {
				return
			}
			if t[x.comp] == nil {
				m.bytes += t.of(x.comp).size()
			}
			e := x.event(t.of(x.comp), z)
			e.ID, e.ETag, e.Calendar = o.id, o.etag, k.ID
			all = append(all, timed{x.start.at(z), e})
		})
	})
	if err != nil {
		return nil, false, err
	}
	slices.SortStableFunc(all, func(a, b timed) int {
		if d := a.at.Compare(b.at); d != 0 {
			return d
		}
		return strings.Compare(a.e.ID, b.e.ID)
	})
	events = make([]Event, 0, len(all))
	for _, t := range all {
		events = append(events, t.e)
	}
	return events, cut, nil
}

// meter is what one answer takes, whatever calendars have in them.
type meter struct {
	now     func() time.Time
	spent   time.Duration // on reading and expanding
	objects int
	entries int
	bytes   int // of texts
	zones   atlas
}

const (
	maxSpent = 2 * time.Second
	maxTexts = 16 << 20 // bytes
	maxAsked = 64 << 20 // bytes of a server's answer
)

// full reports whether an answer takes no more.
func (m *meter) full() bool {
	return m.spent > maxSpent || m.objects > 2*maxEvents || m.entries > maxEvents || m.bytes > maxTexts
}

// errFull ends a query of which as much was read as an answer takes.
var errFull = errors.New("the answer is full")

// query asks for the objects that have something in a window, and gives each
// series in them to a function, which reports whether there is more of it. One
// that cannot be read does not keep the others from being, and counts as more.
// cut: there is more.
func (c *Calendars) query(ctx context.Context, k Calendar, w Window, m *meter, each func(*object, *series, told) (more bool)) (cut bool, err error) {
	body := fmt.Sprintf(`<?xml version="1.0"?><c:calendar-query xmlns:d="DAV:" xmlns:c="urn:ietf:params:xml:ns:caldav"><d:prop><d:getetag/><c:calendar-data/></d:prop><c:filter><c:comp-filter name="VCALENDAR"><c:comp-filter name="VEVENT"><c:time-range start="%s" end="%s"/></c:comp-filter></c:comp-filter></c:filter></c:calendar-query>`,
		w.From.UTC().Add(-margin).Format(utcForm), w.To.UTC().Add(margin).Format(utcForm))
	q := multistatus.Request{Method: "REPORT", URL: c.o.At(k.place), Depth: "1", Body: body, What: "calendar", Largest: 4 * maxObject, Most: maxAsked}
	_, err = multistatus.Ask(ctx, c.o.HTTP, q, func(r *multistatus.Response[objectProp]) error {
		begun := m.now()
		defer func() { m.spent += m.now().Sub(begun) }()
		if m.objects++; m.full() {
			return errFull
		}
		p := r.Found()
		cal, err := readObject(p.Data)
		id, ok := collections.ID(r.Href)
		if err != nil || !ok {
			cut = cut || !r.Gone()
			return nil
		}
		o, t, all := &object{id: id, etag: p.ETag, calendar: k, cal: cal}, told{}, seriesOf(cal, m.zones)
		cut = cut || unread(cal, all)
		for _, s := range all {
			more := each(o, s, t)
			cut = cut || more
			if m.full() {
				return errFull
			}
		}
		return ctx.Err()
	})
	if errors.Is(err, errFull) || errors.Is(err, multistatus.ErrMost) {
		return true, nil
	}
	return cut, err
}

// read takes apart what was fetched.
func (c *Calendars) read(k Calendar, id, text, etag string) (*object, error) {
	cal, err := readObject(text)
	if err != nil {
		return nil, integrations.Unusable(c.o.Name, err)
	}
	return &object{id, etag, k, cal, text}, nil
}

// Event is one by its id: the event itself, if it recurs, not its occurrences.
func (c *Calendars) Event(ctx context.Context, k Calendar, id, zone string) (Event, error) {
	z, err := here(zone)
	if err != nil {
		return Event{}, err
	}
	o, err := c.fetch(ctx, k, id)
	if err != nil {
		return Event{}, err
	}
	return o.event(z)
}

func (c *Calendars) fetch(ctx context.Context, k Calendar, id string) (*object, error) {
	text, etag, err := c.o.Get(ctx, k.place+id, maxObject)
	if err != nil {
		return nil, err
	}
	return c.read(k, id, text, etag)
}

func (o *object) event(z *zone) (Event, error) {
	all := seriesOf(o.cal, atlas{})
	switch {
	case len(all) == 0 && unread(o.cal, all):
		return Event{}, integrations.Unusable("The calendar server", errUnreadable)
	case len(all) == 0:
		return Event{}, integrations.NotFound("event")
	}
	s := all[0]
	x := occurrence{comp: s.master, start: s.start}
	if s.master != nil {
		x.end = s.length.endOf(s.start, s.start, z)
	} else { // somebody was asked to single occurrences
		v := &s.overrides[0]
		x = occurrence{v.comp, v.start, v.length.endOf(v.start, v.start, z), &v.id}
	}
	one := said(x.comp)
	return o.told(x.event(&one, z)), nil
}

// told is an event with what names it.
func (o *object) told(e Event) Event {
	e.ID, e.ETag, e.Calendar = o.id, o.etag, o.calendar.ID
	return e
}

// Changes are the events of a calendar that changed since a cursor.
func (c *Calendars) Changes(ctx context.Context, k Calendar, cursor string, each func(*collections.Change) error) (next string, complete bool, err error) {
	return c.o.Changes(ctx, k.place, cursor, each)
}
