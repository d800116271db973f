// Package calendars is the calendars of one account at a CalDAV server
// (RFC 4791), for programs: events with all their occurrences in the right time
// zone, changed only if nobody else did meanwhile. It trusts no server to answer
// little or in good form, and no event to be harmless: rules that never end are
// bounded, and text stays text.
package calendars

import (
	"context"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/emersion/go-webdav/caldav"

	"anteroom/integrations"
	"anteroom/integrations/multistatus"
)

// Options is what Calendars are made of.
type Options struct {
	HTTP  *http.Client // attaches the credential; see [integrations.Access.Wire]
	URL   *url.URL     // of the service, as it is configured: a DAV root, or a home of calendars
	Home  string       // path of the home that Home found before; "": it is looked for
	Scope []string     // segments below URL that everything stays within; nil: all there is
	Now   func() time.Time
}

// Calendars are one account's. Safe for concurrent use.
type Calendars struct {
	o    Options
	home string // path, with a slash at its end
}

// Open finds the account's home of calendars (RFC 4791 §6.2.1).
func Open(ctx context.Context, o Options) (*Calendars, error) {
	c := &Calendars{o: o, home: o.Home}
	if c.home != "" {
		return c, nil
	}
	var err error
	c.home, err = c.find(ctx)
	return c, err
}

// Home is the path of the home, to be given to Open the next time.
func (c *Calendars) Home() string { return c.home }

// find asks who the account is, and where its calendars are, at the service's
// URL, then at Nextcloud's DAV root; a URL at which nobody can say is itself
// taken for the home.
func (c *Calendars) find(ctx context.Context) (string, error) {
	tries := []string{strings.TrimSuffix(c.o.URL.Path, "/") + "/"}
	if before, _, ok := strings.Cut(tries[0], "/remote.php/dav/"); ok {
		tries = append(tries, before+"/remote.php/dav/")
	}
	client := &http.Client{Transport: &bounded{c.o.HTTP.Transport}, CheckRedirect: c.o.HTTP.CheckRedirect}
	for _, at := range tries {
		w, err := caldav.NewClient(client, c.at(at))
		if err != nil {
			return "", integrations.Unusable("The calendar server", err)
		}
		principal, err := w.FindCurrentUserPrincipal(ctx)
		if err == nil && principal != "" {
			home, err := w.FindCalendarHomeSet(ctx, principal)
			if err == nil && strings.HasPrefix(home, "/") {
				return strings.TrimSuffix(home, "/") + "/", nil
			}
		}
		if p, ok := integrations.ProblemOf(err); ok {
			return "", p // what is wrong is not where one asks
		}
	}
	return tries[0], nil
}

func (c *Calendars) at(place string) string {
	return (&url.URL{Scheme: c.o.URL.Scheme, Host: c.o.URL.Host, Path: place}).String()
}

// Calendar is one.
type Calendar struct {
	ID          string   `json:"id" doc:"its name in URLs"`
	Name        string   `json:"name" doc:"what people see"`
	Color       string   `json:"color,omitempty"`
	Description string   `json:"description,omitempty"`
	TimeZone    string   `json:"time_zone,omitempty" doc:"by IANA name"`
	Kinds       []string `json:"kinds,omitempty" doc:"what it takes: VEVENT, VTODO, VJOURNAL"`
	ReadOnly    bool     `json:"read_only"`
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
	Tag        string `xml:"http://calendarserver.org/ns/ getctag"`
	Token      string `xml:"DAV: sync-token"`
	Privileges *struct {
		List []struct {
			Write   *struct{} `xml:"DAV: write"`
			Content *struct{} `xml:"DAV: write-content"`
			Bind    *struct{} `xml:"DAV: bind"`
			All     *struct{} `xml:"DAV: all"`
		} `xml:"DAV: privilege"`
	} `xml:"DAV: current-user-privilege-set"`
}

const calendarProps = `<?xml version="1.0"?><d:propfind xmlns:d="DAV:" xmlns:c="urn:ietf:params:xml:ns:caldav" xmlns:s="http://calendarserver.org/ns/" xmlns:a="http://apple.com/ns/ical/"><d:prop><d:resourcetype/><d:displayname/><a:calendar-color/><c:calendar-description/><c:calendar-timezone/><c:supported-calendar-component-set/><s:getctag/><d:sync-token/><d:current-user-privilege-set/></d:prop></d:propfind>`

// Calendars lists the account's calendars, those that others share with it
// among them.
func (c *Calendars) Calendars(ctx context.Context) ([]Calendar, error) {
	all := []Calendar{}
	_, err := multistatus.Ask(ctx, c.o.HTTP, multistatus.Request{Method: "PROPFIND", URL: c.at(c.home), Depth: "1", Body: calendarProps, What: "home of calendars"},
		func(r *multistatus.Response[calendarProp]) error {
			p := r.Found()
			place, ok := c.placeOf(r.Href)
			if p.Type.Calendar == nil || !ok || len(all) == maxCalendars {
				return nil
			}
			all = append(all, p.calendar(place))
			return nil
		})
	return all, err
}

const maxCalendars = 1000

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
	if z := zoneOfCalendar(p.Zone); z != nil {
		k.TimeZone = z.name
	}
	if p.Privileges != nil {
		k.ReadOnly = true
		for _, may := range p.Privileges.List {
			if may.Write != nil || may.Content != nil || may.Bind != nil || may.All != nil {
				k.ReadOnly = false
			}
		}
	}
	return k
}

// placeOf is the path of an href, if it lies where everything has to stay.
func (c *Calendars) placeOf(href string) (string, bool) {
	u, err := url.Parse(strings.TrimSpace(href))
	if err != nil {
		return "", false
	}
	_, clean, err := integrations.CleanPath((&url.URL{Path: strings.TrimSuffix(u.Path, "/")}).EscapedPath())
	if err != nil || len(c.o.Scope) == 0 {
		return clean + "/", err == nil
	}
	within := strings.TrimSuffix(c.o.URL.Path, "/") + "/" + strings.Join(c.o.Scope, "/") + "/"
	return clean + "/", strings.HasPrefix(clean+"/", within)
}

// Named is the calendar with an id, or, if there is none, with the name that
// people see, which has to be its alone.
func Named(all []Calendar, name string) (Calendar, error) {
	var found []Calendar
	for _, k := range all {
		if k.ID == name {
			return k, nil
		}
		if k.Name == name {
			found = append(found, k)
		}
	}
	switch len(found) {
	case 0:
		return Calendar{}, integrations.NotFound("calendar")
	case 1:
		return found[0], nil
	}
	return Calendar{}, &integrations.Problem{Status: http.StatusConflict, Reason: integrations.ReasonConflict, Field: "calendar", Text: "Several calendars have that name: name one by its id."}
}

// bounded keeps answers that a library reads whole from being large.
type bounded struct{ rt http.RoundTripper }

const maxDiscovery = 1 << 20

// RoundTrip implements http.RoundTripper.
func (b *bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := b.rt.RoundTrip(r)
	if err == nil {
		resp.Body = http.MaxBytesReader(nil, resp.Body, maxDiscovery)
	}
	return resp, err
}
