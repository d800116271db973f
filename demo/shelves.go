package demo

import (
	"crypto/md5"
	"fmt"
	"slices"
	"strings"
	"time"
)

// shelf is one person's calendars, or their address books.
type shelf struct {
	cards   bool // address books
	folders []*folder
}

// folder is a calendar or an address book.
type folder struct {
	name    string
	cards   bool
	fixed   bool      // cannot be written
	comps   []string  // components a calendar takes
	props   []element // set by people; resourcetype is not among them
	feed    bool      // a subscription: props has its source
	objects []*entry
	log     []string // names of what was written or deleted, one for each step of the sync token
	public  string   // name under public-calendars; "": not published
	invited []invitation
}

// invitation is a share of a folder.
type invitation struct {
	principal string // "principal:principals/users/ada"
	write     bool
}

// entry is an event, a task or a card.
type entry struct {
	name      string
	uid       string
	component string // of a calendar: VEVENT, VTODO, VJOURNAL
	data      []byte
	modified  time.Time
}

func (o *entry) etag() string { return fmt.Sprintf("%q", fmt.Sprintf("%x", md5.Sum(o.data))) }

// newShelves are what a new account has after its first login.
func newShelves() (calendars, books *shelf) {
	personal := &folder{name: "personal", comps: []string{"VEVENT"}, props: []element{el(nsDAV, "displayname", "Personal"), el(nsApple, "calendar-color", "#0082c9")}}
	contacts := &folder{name: "contacts", cards: true, props: []element{el(nsDAV, "displayname", "Contacts")}}
	recent := &folder{name: "z-app-generated--contactsinteraction--recent", cards: true, fixed: true, props: []element{el(nsDAV, "displayname", "Recently contacted")}}
	return &shelf{folders: []*folder{personal}}, &shelf{cards: true, folders: []*folder{contacts, recent}}
}

// find is a folder by name; nil without one.
func (s *shelf) find(name string) *folder {
	for _, f := range s.folders {
		if f.name == name {
			return f
		}
	}
	return nil
}

func (s *shelf) drop(f *folder) {
	s.folders = slices.DeleteFunc(s.folders, func(x *folder) bool { return x == f })
}

// find is an object by name; nil without one.
func (f *folder) find(name string) *entry {
	for _, o := range f.objects {
		if o.name == name {
			return o
		}
	}
	return nil
}

// put stores an object in place of one of its name.
func (f *folder) put(o *entry) {
	if old := f.find(o.name); old != nil {
		*old = *o
	} else {
		f.objects = append(f.objects, o)
	}
	f.log = append(f.log, o.name)
}

func (f *folder) drop(o *entry) {
	f.objects = slices.DeleteFunc(f.objects, func(x *entry) bool { return x == o })
	f.log = append(f.log, o.name)
}

// taken reports whether an object of another name has a UID.
func (f *folder) taken(uid, name string) bool {
	return slices.ContainsFunc(f.objects, func(o *entry) bool { return o.uid == uid && o.name != name })
}

// set and unset change a property that people may set.
func (f *folder) set(e element) {
	f.unset(e)
	f.props = append(f.props, e)
	f.log = append(f.log, "")
}

func (f *folder) unset(e element) {
	f.props = slices.DeleteFunc(f.props, func(p element) bool { return p.Name == e.Name })
}

const syncPrefix = "http://sabre.io/ns/sync/"

// step is the number in the sync token.
func (f *folder) step() int { return len(f.log) + 1 }

func (f *folder) token() string { return fmt.Sprint(syncPrefix, f.step()) }

// since lists what was written and what was deleted after a step. Step 0 is
// before everything. A step yet to come has nothing after it.
func (f *folder) since(step int) (written []*entry, gone []string) {
	if step == 0 {
		return f.objects, nil
	}
	seen := map[string]bool{"": true}
	for _, name := range f.log[min(step-1, len(f.log)):] {
		if seen[name] {
			continue
		}
		seen[name] = true
		if o := f.find(name); o != nil {
			written = append(written, o)
		} else {
			gone = append(gone, name)
		}
	}
	return written, gone
}

// title is how people call a folder.
func (f *folder) title() string {
	for _, p := range f.props {
		if p.is(nsDAV, "displayname") {
			return p.text
		}
	}
	return f.name
}

// contentType is an object's.
func (o *entry) contentType() string {
	if o.component == "" {
		return "text/vcard; charset=utf-8"
	}
	return "text/calendar; charset=utf-8; component=" + strings.ToLower(o.component)
}
