package demo

import (
	"net/http"
	"slices"
	"strings"
)

// principalAt finds people and groups.
func (c *davCall) principalAt(names []string) (resource, error) {
	if c.root.kind == "webdav" {
		return resource{}, notHere("File not found: principals")
	}
	if len(names) == 0 {
		var kinds []resource
		for _, kind := range [...]string{"users", "groups", "calendar-resources", "calendar-rooms"} {
			kinds = append(kinds, shut(collection("principals/"+kind)))
		}
		return collection("principals", kinds...), nil
	}
	place := "principals/" + strings.Join(names, "/")
	switch {
	case len(names) == 1:
		return shut(collection("principals/" + names[0])), nil
	case names[0] == "groups" && len(names) == 2:
		return resource{place: place, dir: true, props: told(resourceType(el(nsDAV, "collection"), el(nsDAV, "principal")), el(nsDAV, "displayname", names[1]))}, nil
	case names[0] == "users":
		if a, ok := c.n.users.get(names[1]); ok {
			return c.principal(a, names[2:])
		}
	}
	return resource{}, notHere("Principal with name " + names[1] + " not found")
}

// shut makes a collection that lists nothing.
func shut(r resource) resource {
	r.shut = true
	return r
}

// principal is a person, or one of the two proxies of a person.
func (c *davCall) principal(a account, rest []string) (resource, error) {
	place := "principals/users/" + a.UID
	proxy := func(name string) resource {
		return resource{place: place + "/" + name, dir: true, props: told(resourceType(el(nsDAV, "principal"), el(nsCalServer, name)))}
	}
	switch {
	case len(rest) == 0:
	case len(rest) == 1 && strings.HasPrefix(rest[0], "calendar-proxy-"):
		return proxy(rest[0]), nil
	default:
		return resource{}, notHere("Node with name '" + rest[0] + "' could not be found")
	}
	r := collection(place, proxy("calendar-proxy-read"), proxy("calendar-proxy-write"))
	r.props = told(resourceType(el(nsDAV, "collection"), el(nsDAV, "principal")))
	mail := el(nsDAV, "href", "mailto:"+a.Email)
	groups := el(nsDAV, "group-membership")
	for _, g := range a.Groups {
		groups.kids = append(groups.kids, c.hrefTo("principals/groups/"+g))
	}
	calendars, cal := "calendars/"+a.UID, func(name string, inside ...any) element { return el(nsCal, name, inside...) }
	r.props = append(r.props, asked(
		el(nsDAV, "displayname", a.Name), el(nsDAV, "principal-URL", c.hrefTo(place)), el(nsDAV, "alternate-URI-set", mail),
		groups, el(nsDAV, "group-member-set"),
		cal("calendar-home-set", c.hrefTo(calendars)), cal("calendar-user-address-set", mail, c.hrefTo(place)),
		cal("schedule-inbox-URL", c.hrefTo(calendars+"/inbox")), cal("schedule-outbox-URL", c.hrefTo(calendars+"/outbox")),
		cal("calendar-user-type", "INDIVIDUAL"), cal("schedule-default-calendar-URL", c.hrefTo(calendars+"/personal")),
		el(nsCard, "addressbook-home-set", c.hrefTo("addressbooks/users/"+a.UID)),
		el(nsCalServer, "email-address-set", el(nsCalServer, "email-address", a.Email)),
		el(nsCalServer, "calendar-proxy-read-for"), el(nsCalServer, "calendar-proxy-write-for"),
		el(nsCalServer, "notification-URL", c.hrefTo(calendars+"/notifications")),
	)...)
	return r, nil
}

// searchPrincipals is principal-property-search (RFC 3744, section 9.4), by
// name or mail address.
func (c *davCall) searchPrincipals(body element) (*reply, error) {
	if c.r.Header.Get("Depth") != "0" {
		return nil, refused(http.StatusBadRequest, "Depth must be 0")
	}
	anyOf, w := body.value("test") == "anyof", wantedOf(body)
	var list []element
	for _, uid := range c.n.users.uids() {
		a, _ := c.n.users.get(uid)
		r, _ := c.principal(a, nil)
		var hits, tries int
		for _, s := range body.kids {
			for _, p := range s.child(nsDAV, "prop").kids {
				tries++
				if v, ok := r.find(p.Name); ok && slices.ContainsFunc(append(v.kids, v), func(e element) bool {
					return strings.Contains(strings.ToLower(e.text), strings.ToLower(s.child(nsDAV, "match").text))
				}) {
					hits++
				}
			}
		}
		if hits > 0 && (anyOf || hits == tries) {
			list = append(list, c.response(r, w))
		}
	}
	a := c.multistatus("", list...)
	a.header.Set("Vary", "Brief,Prefer")
	return a, nil
}
