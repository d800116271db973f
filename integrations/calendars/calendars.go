// Package calendars is the calendars of one account at a CalDAV server
// (RFC 4791), for programs: events with all their occurrences in the right time
// zone, changed only if nobody else did meanwhile. It trusts no server to answer
// little or in good form, and no event to be harmless: rules that never end are
// bounded, and text stays text.
package calendars

import (
	"context"
	"path"
	"time"

	"github.com/emersion/go-webdav"
	"github.com/emersion/go-webdav/caldav"

	"anteroom/integrations/collections"
	"anteroom/integrations/multistatus"
)

// Options is what Calendars are made of.
type Options struct {
	collections.Service
	Home string // path of the home that Home found before; "": it is looked for
	Now  func() time.Time
}

// Calendars are one account's. Safe for concurrent use.
type Calendars struct {
	o    Options
	home string // path, with a slash at its end
	sure bool   // the server said so
}

// Open finds the account's home of calendars (RFC 4791 §6.2.1).
func Open(ctx context.Context, o Options) (*Calendars, error) {
	o.Name, o.Kind = "The calendar server", "event"
	c := &Calendars{o: o, home: o.Home, sure: true}
	if c.home != "" {
		return c, nil
	}
	var err error
	c.home, c.sure, err = o.Service.Home(ctx, func(ctx context.Context, client webdav.HTTPClient, endpoint, principal string) (string, error) {
		w, err := caldav.NewClient(client, endpoint)
		if err != nil {
			return "", err
		}
		return w.FindCalendarHomeSet(ctx, principal)
	})
	return c, err
}

// Home is the path of the home, to be given to Open the next time; "" if it is
// better looked for again.
func (c *Calendars) Home() string {
	if !c.sure {
		return ""
	}
	return c.home
}

// Calendar is one.
type Calendar struct {
	ID          string   `json:"id" doc:"its name in URLs"`
	Name        string   `json:"name" doc:"what people see"`
	Color       string   `json:"color,omitempty"`
	Description string   `json:"description,omitempty"`
	TimeZone    string   `json:"time_zone,omitempty" doc:"by IANA name; missing where it has none of those"`
	Kinds       []string `json:"kinds,omitempty" doc:"what it takes: VEVENT, VTODO, VJOURNAL"`
	ReadOnly    bool     `json:"read_only"`
	Free        bool     `json:"free,omitempty" doc:"nothing in it takes up time"`
	Version     string   `json:"version,omitempty" doc:"changes with anything in it"`

	place string // path on the server, with a slash at its end
	token string // for changes
}

type calendarProp struct {
	Type struct {
		Calendar *struct{} `xml:"urn:ietf:params:xml:ns:caldav calendar"`
	} `xml:"DAV: resourcetype"`
	Name        string `xml:"DAV: displayname"`
	Color       string `xml:"http://apple.com/ns/ical/ calendar-color"`
	Description string `xml:"urn:ietf:params:xml:ns:caldav calendar-description"`
	Zone        string `xml:"urn:ietf:params:xml:ns:caldav calendar-timezone"`
	Kinds       struct {
		Comp []struct {
			Name string `xml:"name,attr"`
		} `xml:"urn:ietf:params:xml:ns:caldav comp"`
	} `xml:"urn:ietf:params:xml:ns:caldav supported-calendar-component-set"`
	Transp struct { // RFC 6638 §9.1
		Transparent *struct{} `xml:"urn:ietf:params:xml:ns:caldav transparent"`
	} `xml:"urn:ietf:params:xml:ns:caldav schedule-calendar-transp"`
	Tag        string                  `xml:"http://calendarserver.org/ns/ getctag"`
	Token      string                  `xml:"DAV: sync-token"`
	Privileges *collections.Privileges `xml:"DAV: current-user-privilege-set"`
}

const calendarProps = `<?xml version="1.0"?><d:propfind xmlns:d="DAV:" xmlns:c="urn:ietf:params:xml:ns:caldav" xmlns:s="http://calendarserver.org/ns/" xmlns:a="http://apple.com/ns/ical/"><d:prop><d:resourcetype/><d:displayname/><a:calendar-color/><c:calendar-description/><c:calendar-timezone/><c:supported-calendar-component-set/><c:schedule-calendar-transp/><s:getctag/><d:sync-token/><d:current-user-privilege-set/></d:prop></d:propfind>`

// Calendars lists the account's calendars, those that others share with it
// among them.
func (c *Calendars) Calendars(ctx context.Context) ([]Calendar, error) {
	all := []Calendar{}
	_, err := multistatus.Ask(ctx, c.o.HTTP, multistatus.Request{Method: "PROPFIND", URL: c.o.At(c.home), Depth: "1", Body: calendarProps, What: "home of calendars", Most: maxHome},
		func(r *multistatus.Response[calendarProp]) error {
			p := r.Found()
			place, ok := c.o.Place(r.Href)
			if p.Type.Calendar == nil || !ok || len(all) == maxCalendars {
				return nil
			}
			all = append(all, p.calendar(place))
			return nil
		})
	return all, err
}

const (
	maxCalendars = 1000
	maxHome      = 4 << 20 // bytes of a server's answer
)

func (p *calendarProp) calendar(place string) Calendar {
	k := Calendar{ID: path.Base(place), Name: p.Name, Color: p.Color, Description: p.Description, Version: p.Tag, token: p.Token, place: place}
	if k.Name == "" {
		k.Name = k.ID
	}
	if k.Version == "" {
		k.Version = p.Token
	}
	for _, comp := range p.Kinds.Comp {
		k.Kinds = append(k.Kinds, comp.Name)
	}
	if z := zoneOfCalendar(p.Zone); z != nil && z.loc != nil {
		k.TimeZone = z.name
	}
	k.ReadOnly, k.Free = p.Privileges.ReadOnly(), p.Transp.Transparent != nil
	return k
}

// Named is the calendar with an id, or, if there is none, with the name that
// people see, which has to be its alone.
func Named(all []Calendar, name string) (Calendar, error) {
	return collections.Named(all, func(k *Calendar) (string, string) { return k.ID, k.Name }, "calendar", name)
}
