package demo

import (
	"encoding/xml"
	"net/http"
	"slices"
)

// resource is one thing in the tree, as PROPFIND and REPORT see it.
type resource struct {
	place  string // in the newer tree
	dir    bool
	props  []prop
	inside func() []resource // nil: nothing
	shut   bool              // what is inside is not listed
}

// prop is a property. Its element has the property's name.
type prop struct {
	element
	asked bool // told only to who asks for it by name
}

// told and asked make properties of elements.
func told(e ...element) []prop  { return props(false, e) }
func asked(e ...element) []prop { return props(true, e) }

func props(asked bool, all []element) []prop {
	var list []prop
	for _, e := range all {
		list = append(list, prop{e, asked})
	}
	return list
}

// find is a resource's property of a name.
func (r resource) find(name xml.Name) (element, bool) {
	for _, p := range r.props {
		if p.Name == name {
			return p.element, true
		}
	}
	return element{}, false
}

// wanted is what a request asks for: names, or nil for whatever is told.
type wanted struct {
	names   []element
	propone bool // names without values
}

// wantedOf reads the children of a propfind, or of a report.
func wantedOf(e element) wanted {
	for _, k := range e.kids {
		if k.is(nsDAV, "prop") {
			return wanted{names: append([]element{}, k.kids...)}
		}
	}
	return wanted{propone: e.child(nsDAV, "propname").Local != ""}
}

// response is what a multistatus says of one resource.
func (c *davCall) response(r resource, w wanted) element {
	e := el(nsDAV, "response", el(nsDAV, "href", c.href(r)))
	have, lack := el(nsDAV, "prop"), el(nsDAV, "prop")
	if w.names == nil {
		for _, p := range r.props {
			if !p.asked {
				have.kids = append(have.kids, p.element)
			}
		}
	}
	for _, ask := range w.names {
		p, ok := r.find(ask.Name)
		if !ok {
			p, ok = c.everywhere(ask.Name)
		}
		if ok {
			have.kids = append(have.kids, p)
		} else {
			lack.kids = append(lack.kids, el(ask.Space, ask.Local))
		}
	}
	if w.propone {
		for i, k := range have.kids {
			have.kids[i] = el(k.Space, k.Local)
		}
	}
	if len(have.kids) > 0 || len(lack.kids) == 0 {
		e.kids = append(e.kids, propstat(have, "200 OK"))
	}
	if len(lack.kids) > 0 {
		e.kids = append(e.kids, propstat(lack, "404 Not Found"))
	}
	return e
}

func propstat(props element, status string) element {
	return el(nsDAV, "propstat", props, el(nsDAV, "status", "HTTP/1.1 "+status))
}

func (c *davCall) href(r resource) string { return c.root.href(r.place, c.who.UID, r.dir) }

// hrefTo is an element that leads to a collection.
func (c *davCall) hrefTo(place string) element {
	return el(nsDAV, "href", c.root.href(place, c.who.UID, true))
}

// everywhere are the properties that everything has.
func (c *davCall) everywhere(name xml.Name) (element, bool) {
	if name.Space != nsDAV || c.root.kind == "webdav" {
		return element{}, false
	}
	switch name.Local {
	case "current-user-principal":
		return el(nsDAV, name.Local, c.hrefTo("principals/users/"+c.who.UID)), true
	case "principal-collection-set":
		e := el(nsDAV, name.Local)
		for _, kind := range [...]string{"users", "groups", "calendar-resources", "calendar-rooms"} {
			e.kids = append(e.kids, c.hrefTo("principals/"+kind))
		}
		return e, true
	case "current-user-privilege-set":
		return privileges(name.Local, "all", "read", "write", "write-properties", "write-content", "unlock", "bind", "unbind", "read-acl", "read-current-user-privilege-set"), true
	case "acl":
		return acl(ace(el(nsDAV, "authenticated"), "all")), true
	case "supported-report-set":
		return reportSet(), true
	}
	return element{}, false
}

// privileges are listed in a property, those of calendars by their own names.
func privileges(property string, names ...string) element {
	e := el(nsDAV, property)
	for _, name := range names {
		space := nsDAV
		if name == "read-free-busy" {
			space = nsCal
		}
		e.kids = append(e.kids, el(nsDAV, "privilege", el(space, name)))
	}
	return e
}

func acl(entries ...element) element { return el(nsDAV, "acl", entries) }

func ace(principal element, privilege string) element {
	return el(nsDAV, "ace", el(nsDAV, "principal", principal), el(nsDAV, "grant", el(nsDAV, "privilege", el(nsDAV, privilege))), el(nsDAV, "protected"))
}

// reportSet lists the reports everything has after those given.
func reportSet(own ...element) element {
	for _, name := range [...]string{"expand-property", "principal-match", "principal-property-search", "principal-search-property-set"} {
		own = append(own, el(nsDAV, name))
	}
	own = append(own, el(nsOC, "filter-comments"), el(nsOC, "filter-files"))
	e := el(nsDAV, "supported-report-set")
	for _, r := range own {
		e.kids = append(e.kids, el(nsDAV, "supported-report", el(nsDAV, "report", r)))
	}
	return e
}

// multistatus is an answer about several resources; indented as sabre's older
// writer does where it is still in use.
func (c *davCall) multistatus(indent string, inside ...element) *reply {
	doc := newPrinter(c.root.prefixes(c.path), indent).document(`<?xml version="1.0"?>`, el(nsDAV, "multistatus", inside))
	return &reply{status: http.StatusMultiStatus, header: http.Header{"Content-Type": {"application/xml; charset=utf-8"}}, body: doc}
}

// propfind is RFC 4918, section 9.1. No Depth is 1; infinity is granted.
func (c *davCall) propfind() (*reply, error) {
	body, err := c.xml()
	if err != nil {
		return nil, err
	}
	top, err := c.resolve(c.path)
	if err != nil {
		return nil, err
	}
	depth := 1
	switch c.r.Header.Get("Depth") {
	case "0":
		depth = 0
	case "infinity":
		depth = maxDepth
	}
	if depth > 0 && top.shut {
		return nil, notAllowed("Listing members of this collection is disabled")
	}
	w := wantedOf(body)
	var list []element
	c.walk(top, depth, func(r resource) { list = append(list, c.response(r, w)) })
	return c.multistatus("", list...), nil
}

// walk visits a resource and what is inside, as deep as asked.
func (c *davCall) walk(r resource, depth int, visit func(resource)) {
	visit(r)
	if depth == 0 || r.inside == nil || r.shut {
		return
	}
	for _, k := range r.inside() {
		c.walk(k, depth-1, visit)
	}
}

// patched are the changes of a propertyupdate, in order: elements to set, and
// those whose value is to go.
func patched(body element) (set, remove []element) {
	for _, k := range body.kids {
		for _, p := range k.child(nsDAV, "prop").kids {
			switch k.Local {
			case "set":
				set = append(set, p)
			case "remove":
				remove = append(remove, p)
			}
		}
	}
	return set, remove
}

// proppatch is RFC 4918, section 9.2. What a resource computes by itself
// cannot be set, and then nothing is.
func (c *davCall) proppatch() (*reply, error) {
	body, err := c.xml()
	if err != nil {
		return nil, err
	}
	r, err := c.resolve(c.path)
	if err != nil {
		return nil, err
	}
	set, remove := patched(body)
	fine, bad := el(nsDAV, "prop"), el(nsDAV, "prop")
	for _, p := range slices.Concat(set, remove) {
		if c.mayPatch(r, p) {
			fine.kids = append(fine.kids, el(p.Space, p.Local))
		} else {
			bad.kids = append(bad.kids, el(p.Space, p.Local))
		}
	}
	e := el(nsDAV, "response", el(nsDAV, "href", c.href(r)))
	switch {
	case len(bad.kids) == 0:
		c.patch(set, remove)
		e.kids = append(e.kids, propstat(fine, "200 OK"))
	default:
		e.kids = append(e.kids, propstat(bad, "403 Forbidden"))
		if len(fine.kids) > 0 {
			e.kids = append(e.kids, propstat(fine, "424 Failed Dependency"))
		}
	}
	a := c.multistatus("", e)
	a.header.Set("Vary", "Brief,Prefer")
	return a, nil
}
