package demo

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// shelfPlace splits a place among calendars or address books: whose shelf,
// where it lies, and what is below. A nil shelf is a collection above them.
func (c *davCall) shelfPlace(names []string) (s *shelf, base string, rest []string, err error) {
	whose, s := 1, c.home.calendars
	if names[0] == "addressbooks" {
		whose, s = 2, c.home.books
		if len(names) > 1 && names[1] != "users" {
			return nil, "", names, notHere("File not found: " + names[1])
		}
	}
	if len(names) <= whose {
		return nil, strings.Join(names, "/"), nil, nil
	}
	return s, strings.Join(names[:whose+1], "/"), names[whose+1:], c.person(names[whose])
}

// shelfAt finds a home, a folder or an object.
func (c *davCall) shelfAt(names []string) (resource, error) {
	if strings.Join(names, "/") == "addressbooks" {
		return collection("addressbooks", shut(collection("addressbooks/users"))), nil
	}
	s, base, rest, err := c.shelfPlace(names)
	if err != nil {
		return resource{}, err
	}
	if s == nil {
		return shut(collection(base)), nil
	}
	if len(rest) == 0 {
		return c.shelfHome(s, base), nil
	}
	if r, ok := c.shelfService(s, base, rest[0]); ok && len(rest) == 1 {
		return r, nil
	}
	f := s.find(rest[0])
	if f == nil {
		return resource{}, notHere("Node with name '" + rest[0] + "' could not be found")
	}
	place := base + "/" + f.name
	if len(rest) == 1 {
		return c.folderResource(f, place), nil
	}
	o := f.find(strings.Join(rest[1:], "/"))
	if o == nil {
		return resource{}, notHere(missing(f))
	}
	return c.objectResource(o, place), nil
}

func missing(f *folder) string {
	if f.cards {
		return "Card not found"
	}
	return "Calendar object not found"
}

// shelfHome is the collection of a person's folders.
func (c *davCall) shelfHome(s *shelf, base string) resource {
	r := collection(base)
	r.inside = func() []resource {
		var all []resource
		for _, f := range s.folders {
			all = append(all, c.folderResource(f, base+"/"+f.name))
		}
		for _, name := range [...]string{"inbox", "outbox", "trashbin"} {
			if x, ok := c.shelfService(s, base, name); ok {
				all = append(all, x)
			}
		}
		return all
	}
	owner := c.owner()
	r.props = append(r.props, asked(el(nsDAV, "owner", owner))...)
	if s.cards { // what stands for the owner is taken for a path
		r.props = append(r.props, asked(acl(ace(c.hrefTo("{DAV:}owner"), "all")))...)
		return r
	}
	r.props = append(r.props, asked(
		privileges("current-user-privilege-set", "write", "write-properties", "write-content", "unlock", "bind", "unbind", "write-acl", "read", "read-acl", "read-current-user-privilege-set"),
		acl(ace(owner, "read"), ace(owner, "write"), ace(c.proxy("write"), "read"), ace(c.proxy("write"), "write"), ace(c.proxy("read"), "read")),
		reportSet(el(nsDAV, "sync-collection"), el(nsNCApps, "calendar-search")),
	)...)
	return r
}

func (c *davCall) owner() element { return c.hrefTo("principals/users/" + c.who.UID) }

func (c *davCall) proxy(kind string) element {
	return c.hrefTo("principals/users/" + c.who.UID + "/calendar-proxy-" + kind)
}

// shelfService is one of the collections beside the calendars.
func (c *davCall) shelfService(s *shelf, base, name string) (resource, bool) {
	kinds := map[string]element{"inbox": el(nsCal, "schedule-inbox"), "outbox": el(nsCal, "schedule-outbox"),
		"trashbin": el(nsNCApps, "trash-bin"), "notifications": el(nsCalServer, "notifications")}
	kind, ok := kinds[name]
	if s.cards || !ok {
		return resource{}, false
	}
	r := collection(base + "/" + name)
	r.props = append(told(resourceType(el(nsDAV, "collection"), kind)), asked(el(nsDAV, "owner", c.owner()))...)
	if name == "trashbin" {
		r.props = append(r.props, asked(acl(ace(c.hrefTo("{DAV:}owner"), "all")))...)
	}
	return r, true
}

// folderResource is a calendar, a subscription or an address book.
func (c *davCall) folderResource(f *folder, place string) resource {
	r := resource{place: place, dir: true, inside: func() []resource {
		var all []resource
		for _, o := range f.objects {
			all = append(all, c.objectResource(o, place))
		}
		return all
	}}
	kind, owner := el(nsCal, "calendar"), c.owner()
	switch {
	case f.cards:
		kind = el(nsCard, "addressbook")
	case f.feed:
		kind = el(nsCalServer, "subscribed")
	}
	r.props = told(resourceType(el(nsDAV, "collection"), kind))
	for _, p := range f.props {
		r.props = append(r.props, prop{p, p.Space == nsDAV || !f.cards})
	}
	r.props = append(r.props, asked(el(nsDAV, "owner", owner), el(nsCalServer, "getctag", f.ctag()))...)
	if f.fixed {
		r.props = append(r.props, asked(acl(ace(owner, "read")))...)
		return r
	}
	r.props = append(r.props, asked(el(nsDAV, "sync-token", f.token()), c.invited(f))...)
	if f.cards {
		return c.bookProps(r, owner)
	}
	return c.calendarProps(r, f, owner)
}

// ctag is the sync token, or of address books its number.
func (f *folder) ctag() string {
	if f.cards && !f.fixed {
		return fmt.Sprint(f.step())
	}
	return f.token()
}

func (c *davCall) bookProps(r resource, owner element) resource {
	kinds := el(nsCard, "supported-address-data")
	for _, v := range [...]string{"3.0", "4.0"} {
		kinds.kids = append(kinds.kids, el(nsCard, "address-data-type").attr("content-type", "text/vcard").attr("version", v))
	}
	r.props = append(r.props, asked(
		acl(ace(owner, "read"), ace(owner, "write")), kinds, el(nsCard, "max-resource-size", "10000000"),
		el(nsOC, "owner-principal", "principals/users/"+c.who.UID),
		reportSet(el(nsCard, "addressbook-multiget"), el(nsCard, "addressbook-query"), el(nsDAV, "sync-collection")),
	)...)
	return r
}

func (c *davCall) calendarProps(r resource, f *folder, owner element) resource {
	comps := el(nsCal, "supported-calendar-component-set")
	for _, name := range f.comps {
		comps.kids = append(comps.kids, el(nsCal, "comp").attr("name", name))
	}
	kind := el(nsCal, "calendar-data").attr("content-type", "text/calendar").attr("version", "2.0")
	r.props = append(r.props, asked(
		privileges("current-user-privilege-set", "write", "write-properties", "write-content", "unlock", "bind", "unbind", "write-acl", "read", "read-acl", "read-current-user-privilege-set", "read-free-busy"),
		comps, el(nsCal, "supported-calendar-data", kind), el(nsCal, "schedule-calendar-transp", el(nsCal, "opaque")),
		el(nsCal, "max-resource-size", "10000000"),
		el(nsOC, "owner-principal", "principals/users/"+c.who.UID),
		acl(ace(owner, "read"), ace(c.proxy("write"), "read"), ace(c.proxy("read"), "read"), ace(owner, "write"), ace(c.proxy("write"), "write"), ace(c.proxy("read"), "write-properties")),
		reportSet(el(nsDAV, "sync-collection"), el(nsCal, "calendar-multiget"), el(nsCal, "calendar-query"), el(nsCal, "free-busy-query")),
		el(nsCalServer, "allowed-sharing-modes", el(nsCalServer, "can-be-shared"), el(nsCalServer, "can-be-published")),
	)...)
	if f.public != "" { // with the host: one of the few places that name it
		r.props = append(r.props, asked(el(nsCalServer, "publish-url", el(nsDAV, "href", c.n.base(c.r)+davPrefix+"public-calendars/"+f.public)))...)
	}
	return r
}

// invited lists whom a folder is shared with. What looks like a link is none.
func (c *davCall) invited(f *folder) element {
	e := el(nsOC, "invite")
	add := func(principal, name string, write bool) {
		access := "read"
		if write {
			access = "read-write"
		}
		e.kids = append(e.kids, el(nsOC, "user", el(nsDAV, "href", principal), el(nsOC, "common-name", name),
			el(nsOC, "invite-accepted"), el(nsOC, "access", el(nsOC, access))))
	}
	for _, i := range f.invited {
		add(i.principal, i.principal[strings.LastIndex(i.principal, "/")+1:], i.write)
	}
	if len(f.invited) > 0 || f.public != "" {
		add("principal:principals/users/"+c.who.UID, c.who.Name, true)
	}
	return e
}

func (c *davCall) objectResource(o *entry, place string) resource {
	data := el(nsCal, "calendar-data", string(o.data))
	if o.component == "" {
		data = el(nsCard, "address-data", string(o.data))
	}
	r := resource{place: place + "/" + o.name, props: told(
		el(nsDAV, "getlastmodified", o.modified.UTC().Format(http.TimeFormat)), el(nsDAV, "getcontentlength", fmt.Sprint(len(o.data))),
		resourceType(), el(nsDAV, "getetag", o.etag()), el(nsDAV, "getcontenttype", o.contentType()),
	)}
	r.props = append(r.props, asked(el(nsDAV, "owner", c.owner()), data)...)
	return r
}

// mayPatch reports whether a property may be set: on folders what the server
// does not compute itself, on files what is not the server's own, on others
// nothing.
func (c *davCall) mayPatch(r resource, p element) bool {
	if below(r.place, "files") {
		return p.Space != nsDAV || p.Local == "getlastmodified" || p.Local == "lastmodified"
	}
	f, o, _ := c.shelfTarget()
	if f == nil || o != nil || f.fixed {
		return false
	}
	computed := []string{"resourcetype", "owner", "getctag", "sync-token", "acl", "supported-report-set", "current-user-privilege-set",
		"supported-calendar-component-set", "invite", "publish-url", "owner-principal", "getetag", "getlastmodified"}
	return !slices.Contains(computed, p.Local)
}

// patch sets and removes properties of what the path names.
func (c *davCall) patch(set, remove []element) {
	if below(c.path, "files") {
		c.patchFile(set, remove)
		return
	}
	f, _, _ := c.shelfTarget()
	for _, p := range set {
		f.set(p)
	}
	for _, p := range remove {
		f.unset(p)
	}
}
