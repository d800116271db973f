package demo

import (
	"fmt"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
)

// shelfTarget is the folder and, where the path names one that is there, the
// object. name is what the path calls an object in the folder.
func (c *davCall) shelfTarget() (f *folder, o *entry, name string) {
	return c.shelfFind(c.path)
}

func (c *davCall) shelfFind(place string) (f *folder, o *entry, name string) {
	if !below(place, "calendars", "addressbooks") {
		return nil, nil, ""
	}
	s, _, rest, err := c.shelfPlace(strings.Split(place, "/"))
	if err != nil || s == nil || len(rest) == 0 {
		return nil, nil, ""
	}
	if f = s.find(rest[0]); f != nil && len(rest) > 1 {
		name = strings.Join(rest[1:], "/")
		o = f.find(name)
	}
	return f, o, name
}

// shelfMethod answers what is no PROPFIND, PROPPATCH or REPORT.
func (c *davCall) shelfMethod() (*reply, error) {
	names := strings.Split(c.path, "/")
	s, base, rest, err := c.shelfPlace(names)
	if err != nil {
		return nil, err
	}
	f, o, name := c.shelfTarget()
	if o == nil {
		if a, err := c.conditions("", c.n.o.Now(), false); a != nil || err != nil {
			return a, err
		}
	} else if a, err := c.conditions(o.etag(), o.modified, true); a != nil || err != nil {
		return a, err
	}
	switch m := c.r.Method; {
	case (m == "MKCALENDAR" || m == "MKCOL") && s != nil && len(rest) == 1:
		return c.makeFolder(s, rest[0])
	case m == "MKCOL" || m == "MKCALENDAR":
		return nil, notAllowed("The resource you tried to create already exists")
	case m == http.MethodPost && f != nil && name == "":
		return c.postFolder(f)
	case m == http.MethodPost && s != nil && !s.cards && len(rest) == 1 && rest[0] == "outbox":
		return c.askFreeBusy()
	case m == http.MethodPut && f != nil && name != "":
		return c.putObject(f, o, name)
	case m == http.MethodDelete:
		return c.deleteObject(s, f, o, name)
	case (m == "COPY" || m == "MOVE") && o != nil:
		return c.moveObject(f, o)
	case (m == http.MethodGet || m == http.MethodHead) && o != nil:
		return c.getObject(o), nil
	case (m == http.MethodGet || m == http.MethodHead) && f != nil && name == "" && c.r.URL.Query().Has("export"):
		return c.export(f), nil
	case m == http.MethodGet || m == http.MethodHead:
		r, err := c.shelfAt(names)
		if err != nil {
			return nil, err
		}
		return c.show(r)
	case m == http.MethodPut && f == nil && len(rest) > 1:
		return nil, notHere("Node with name '" + rest[0] + "' could not be found")
	}
	if f == nil && s != nil && len(rest) > 0 {
		return nil, notHere("Node with name '" + path.Base(base+"/"+rest[0]) + "' could not be found")
	}
	return nil, unsupported(c.r.Method)
}

// parse reads what is to be an object of the folder. repaired is what was wrong
// with it, where that has been mended.
func (f *folder) parse(data []byte) (o *entry, repaired string, err error) {
	if f.cards {
		return parseCard(data)
	}
	return parseEvent(data, f.comps)
}

// putObject stores an object. One that had to be repaired has no ETag in the
// answer: what is stored is not what was sent.
func (c *davCall) putObject(f *folder, old *entry, name string) (*reply, error) {
	if f.fixed || f.feed {
		return nil, refused(http.StatusForbidden, "Creating new resources in this collection is not allowed")
	}
	o, repaired, err := f.parse(c.body)
	if err != nil {
		return nil, err
	}
	if f.taken(o.uid, name) {
		kind := "Calendar object with uid already exists in this calendar collection."
		if f.cards {
			kind = "VCard object with uid already exists in this addressbook collection."
		}
		return nil, refused(http.StatusBadRequest, kind)
	}
	o.name, o.modified = name, c.n.o.Now()
	status := http.StatusCreated
	if old != nil {
		status = http.StatusNoContent
	}
	f.put(o)
	if repaired != "" {
		return done(status, "X-Sabre-Ew-Gross", repaired), nil
	}
	return tagged(status, o.etag()), nil
}

func (c *davCall) getObject(o *entry) *reply {
	return &reply{data: &content{o.data, o.modified}, header: http.Header{"Content-Type": {o.contentType()},
		"Etag": {o.etag()}, "Oc-Etag": {o.etag()}, "Content-Disposition": {attachment(o.name)}}}
}

func attachment(name string) string {
	return fmt.Sprintf("attachment; filename*=UTF-8''%s; filename=%q", url.PathEscape(name), name)
}

func (c *davCall) deleteObject(s *shelf, f *folder, o *entry, name string) (*reply, error) {
	switch {
	case f == nil || name != "" && o == nil:
		return nil, notHere("Node not found")
	case f.fixed && name != "":
		return nil, refused(http.StatusForbidden, "This addressbook is read-only")
	case name == "":
		s.drop(f)
	default:
		f.drop(o)
	}
	return done(http.StatusNoContent), nil
}

// moveObject is COPY and MOVE of an object to a folder of the same kind.
func (c *davCall) moveObject(from *folder, o *entry) (*reply, error) {
	place, err := c.destination()
	if err != nil {
		return nil, err
	}
	to, old, name := c.shelfFind(place)
	switch {
	case to == nil || name == "":
		return nil, refused(http.StatusConflict, "The destination node is not found")
	case place == c.path:
		return nil, refused(http.StatusForbidden, "Source and destination uri are identical.")
	case old != nil && c.r.Header.Get("Overwrite") == "F":
		return nil, refused(http.StatusPreconditionFailed, "The destination node already exists, and the overwrite header is set to false", el(nsSabre, "header", "Overwrite"))
	case to.cards != from.cards || to.fixed || to.feed || !to.cards && !slices.Contains(to.comps, o.component):
		return nil, refused(http.StatusForbidden, "The destination does not take this")
	}
	moved, leaves := *o, c.r.Method == "MOVE"
	moved.name, moved.modified = name, c.n.o.Now()
	if slices.ContainsFunc(to.objects, func(x *entry) bool { return x.uid == o.uid && x.name != name && (x != o || !leaves) }) {
		return nil, refused(http.StatusBadRequest, "Calendar object with uid already exists in this calendar collection.")
	}
	if leaves {
		from.drop(o)
	}
	to.put(&moved)
	if old != nil {
		return done(http.StatusNoContent), nil
	}
	return done(http.StatusCreated), nil
}

// makeFolder is MKCALENDAR (RFC 4791, section 5.3.1) and the extended MKCOL
// (RFC 5689); one without a body makes nothing here.
func (c *davCall) makeFolder(s *shelf, name string) (*reply, error) {
	body, err := c.xml()
	if err != nil {
		return nil, err
	}
	if _, taken := c.shelfService(s, "", name); taken || s.find(name) != nil {
		return nil, notAllowed("The resource you tried to create already exists")
	}
	f := &folder{name: name, cards: s.cards, comps: []string{"VEVENT", "VTODO", "VJOURNAL"}}
	set, _ := patched(body)
	kind := el(nsCal, "calendar")
	if c.r.Method == "MKCOL" {
		kind = element{}
	}
	for _, p := range set {
		switch {
		case p.is(nsDAV, "resourcetype"):
			for _, k := range p.kids {
				if !k.is(nsDAV, "collection") {
					kind = k
				}
			}
		case p.is(nsCal, "supported-calendar-component-set"):
			f.comps = nil
			for _, comp := range p.kids {
				f.comps = append(f.comps, strings.ToUpper(comp.value("name")))
			}
		default:
			f.props = append(f.props, p)
		}
	}
	f.feed = kind.is(nsCalServer, "subscribed")
	if s.cards != kind.is(nsCard, "addressbook") || !s.cards && !f.feed && !kind.is(nsCal, "calendar") {
		return nil, &fault{status: http.StatusForbidden, exception: `Sabre\DAV\Exception\InvalidResourceType`, text: "Unknown resourceType for this collection",
			more: []element{el(nsDAV, "valid-resourcetype")}}
	}
	s.folders = append(s.folders, f)
	return done(http.StatusCreated), nil
}

// postFolder publishes and shares.
func (c *davCall) postFolder(f *folder) (*reply, error) {
	body, err := c.xml()
	if err != nil {
		return nil, err
	}
	const well = "everything-went-well"
	switch {
	case body.is(nsCalServer, "publish-calendar") && !f.cards:
		f.public = alnum(16)
		return done(http.StatusAccepted, "X-Sabre-Status", well), nil
	case body.is(nsCalServer, "unpublish-calendar") && !f.cards:
		f.public = ""
		return done(http.StatusOK, "X-Sabre-Status", well), nil
	case body.is(nsOC, "share"):
		for _, k := range body.kids {
			who := k.child(nsDAV, "href").text
			f.invited = slices.DeleteFunc(f.invited, func(i invitation) bool { return i.principal == who })
			if k.is(nsOC, "set") {
				f.invited = append(f.invited, invitation{who, k.child(nsOC, "read-write").Local != ""})
			}
		}
		return done(http.StatusOK, "X-Sabre-Status", well), nil
	}
	return nil, unsupported(c.r.Method)
}
