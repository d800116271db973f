package pages

import (
	"time"
)

// Sessions is the part of the account page about all of a person's sessions.
type Sessions struct {
	Listing Listing
	List    []Session // in the order shown
	End     string    // where the forms that end sessions are posted to
}

// Session is one of them.
type Session struct {
	ID       string // what ends it
	Agent    string // the browser's User-Agent header
	Address  string
	Started  time.Time
	LastSeen time.Time
	Current  bool // the one the page is shown to
}

// Listing says whether there is a list of sessions.
type Listing int

// The zero value says nothing: there is no such part of the page.
const (
	Unasked    Listing = iota
	Listed             // List has them all
	Unlisted           // this kind of store keeps no list
	Unlistable         // the store does not answer at the moment
)

// Key is what the texts about a listing are filed under; "" for none.
func (l Listing) Key() string {
	switch l {
	case Unlisted:
		return "sessions.unlisted"
	case Unlistable:
		return "sessions.unlistable"
	}
	return ""
}

// sessionsShown is how many sessions are shown before the rest is folded away.
const sessionsShown = 20

// Sessions are the page's sessions in words: those shown at once, and the rest.
func (v *view) Sessions(s Sessions) (shown [2][]listed, err error) {
	for i, one := range s.List {
		l, err := v.listed(one, v.Link(s.End))
		if err != nil {
			return shown, err
		}
		part := min(i/sessionsShown, 1)
		shown[part] = append(shown[part], l)
	}
	return shown, nil
}

// Others is how many sessions there are besides the current one.
func (s Sessions) Others() (n int) {
	for _, one := range s.List {
		if !one.Current {
			n++
		}
	}
	return n
}

// listed is one session in words.
type listed struct {
	Session
	Device string
	Here   string // the mark of the current one; "" for the others
	Rows   []map[string]any
	Action string // where the form that ends it is posted to; "" for no form
	Button string // what the button says
	Label  string // and what it says to those who do not see what is beside it
}

func (v *view) listed(s Session, action string) (l listed, err error) {
	l.Session, l.Action = s, action
	if s.Current || s.ID == "" {
		l.Action = ""
	}
	if l.Device, err = v.catalog.device(s.Agent); err != nil {
		return l, err
	}
	if s.Current {
		if l.Here, err = v.T("sessions.here"); err != nil {
			return l, err
		}
	}
	for _, row := range []struct {
		label string
		t     time.Time
	}{{"account.started", s.Started}, {"account.last_seen", s.LastSeen}} {
		r, err := v.Row(row.label, row.t)
		if err != nil {
			return l, err
		}
		if r != nil {
			l.Rows = append(l.Rows, r)
		}
	}
	if l.Button, err = v.T("sessions.end"); err != nil {
		return l, err
	}
	which := l.Device
	if s.Address != "" {
		which += ", " + s.Address
	}
	l.Label, err = v.T("sessions.end_which", "which", which)
	return l, err
}

// Expiry is the row about when the session ends: by disuse, and at the latest.
// nil where that is not known.
func (v *view) Expiry(a Account) (map[string]any, error) {
	when, err := v.When(a.Ends)
	if when == nil || err != nil {
		return nil, err
	}
	if !a.IdleEnds.IsZero() && !a.LastSeen.IsZero() {
		span, err := v.catalog.span(a.IdleEnds.Sub(a.LastSeen))
		if err != nil {
			return nil, err
		}
		if when.Near, err = v.T("account.expiry", "idle", span, "near", when.Near); err != nil {
			return nil, err
		}
	}
	text, err := v.T("account.ends")
	return map[string]any{"Label": text, "When": when}, err
}
