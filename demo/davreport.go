package demo

import (
	"encoding/xml"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// report is RFC 3253, section 3.6.
func (c *davCall) report() (*reply, error) {
	body, err := c.xml()
	if err != nil {
		return nil, err
	}
	if _, err := c.resolve(c.path); err != nil {
		return nil, err
	}
	f, o, name := c.shelfTarget()
	folderOnly := f != nil && name == ""
	switch body.Name {
	case xml.Name{Space: nsCal, Local: "calendar-multiget"}, xml.Name{Space: nsCard, Local: "addressbook-multiget"}:
		return c.multiget(body)
	case xml.Name{Space: nsCal, Local: "calendar-query"}, xml.Name{Space: nsCard, Local: "addressbook-query"}:
		if f != nil && f.cards == (body.Space == nsCard) {
			return c.query(f, o, name, body)
		}
	case xml.Name{Space: nsDAV, Local: "sync-collection"}:
		if folderOnly {
			return c.sync(f, body)
		}
	case xml.Name{Space: nsCal, Local: "free-busy-query"}:
		if folderOnly && !f.cards {
			return c.freeBusy(f, rangeOf(body.child(nsCal, "time-range"))), nil
		}
	case xml.Name{Space: nsDAV, Local: "expand-property"}:
		return c.expand(body)
	case xml.Name{Space: nsDAV, Local: "principal-property-search"}:
		return c.searchPrincipals(body)
	case xml.Name{Space: nsOC, Local: "filter-files"}:
		return c.filterFiles(body)
	}
	return nil, &fault{status: http.StatusUnsupportedMediaType, exception: `Sabre\DAV\Exception\ReportNotSupported`, more: []element{el(nsDAV, "supported-report")}}
}

// multiget is RFC 4791, section 7.9, and RFC 6352, section 8.7. One href that
// is no place here refuses all of it; one of nothing is left out.
func (c *davCall) multiget(body element) (*reply, error) {
	var list []element
	w := wantedOf(body)
	for _, k := range body.kids {
		if !k.is(nsDAV, "href") {
			continue
		}
		place, err := c.placeOf(k.text)
		if err != nil {
			return nil, err
		}
		if r, err := c.resolve(place); err == nil {
			list = append(list, c.response(expandData(r, w), w))
		}
	}
	return c.brief(list), nil
}

// brief is a multistatus that depends on how much is asked for.
func (c *davCall) brief(list []element) *reply {
	a := c.multistatus("", list...)
	a.header.Set("Vary", "Brief,Prefer")
	return a
}

// expandData turns calendar-data into its occurrences where that is asked for.
func expandData(r resource, w wanted) resource {
	for _, n := range w.names {
		e := n.child(nsCal, "expand")
		if !n.is(nsCal, "calendar-data") || e.Local == "" {
			continue
		}
		r.props = slices.Clone(r.props)
		for i, p := range r.props {
			if p.is(nsCal, "calendar-data") {
				r.props[i].text = string(expanded([]byte(p.text), rangeOf(e)))
			}
		}
	}
	return r
}

// query is RFC 4791, section 7.8, and RFC 6352, section 8.6. A calendar's
// Depth 0 asks for none of what is inside.
func (c *davCall) query(f *folder, only *entry, name string, body element) (*reply, error) {
	w, filter := wantedOf(body), body.child(body.Space, "filter")
	limit, err := strconv.Atoi(body.child(nsCard, "limit").child(nsCard, "nresults").text)
	if err != nil || limit <= 0 {
		limit = len(f.objects)
	}
	place := strings.TrimSuffix(c.path, "/"+name)
	var list []element
	for _, o := range f.objects {
		if only != nil && o != only || only == nil && !f.cards && c.r.Header.Get("Depth") == "0" {
			continue
		}
		if o.chosen(filter) && len(list) < limit {
			list = append(list, c.response(expandData(c.objectResource(o, place), w), w))
		}
	}
	return c.brief(list), nil
}

// sync is RFC 6578. What is gone has a status before its href, and a second
// one that says nothing.
func (c *davCall) sync(f *folder, body element) (*reply, error) {
	step, token := 0, strings.TrimSpace(body.child(nsDAV, "sync-token").text)
	if token != "" {
		n, err := strconv.Atoi(strings.TrimPrefix(token, syncPrefix))
		if err != nil || !strings.HasPrefix(token, syncPrefix) || f.fixed {
			return nil, &fault{status: http.StatusForbidden, exception: `Sabre\DAV\Exception\InvalidSyncToken`,
				text: "Invalid or unknown sync token", more: []element{el(nsDAV, "valid-sync-token")}}
		}
		step = max(n, 1)
	}
	w := wantedOf(body)
	written, gone := f.since(step)
	var list []element
	for _, o := range written {
		list = append(list, c.response(c.objectResource(o, c.path), w))
	}
	for _, name := range gone {
		list = append(list, el(nsDAV, "response", el(nsDAV, "status", "HTTP/1.1 404 Not Found"),
			el(nsDAV, "href", c.root.href(c.path+"/"+name, c.who.UID, false)), propstat(el(nsDAV, "prop"), "418 I'm a teapot")))
	}
	return c.multistatus(" ", append(list, el(nsDAV, "sync-token", f.token()))...), nil
}

// expand is expand-property (RFC 3253, section 3.8): hrefs in properties
// become the responses they lead to.
func (c *davCall) expand(body element) (*reply, error) {
	top, err := c.resolve(c.path)
	if err != nil {
		return nil, err
	}
	return c.multistatus(" ", c.expandOne(top, body)), nil
}

func (c *davCall) expandOne(r resource, ask element) element {
	w := wanted{names: []element{}}
	deeper := map[xml.Name]element{}
	for _, k := range ask.kids {
		space := nsDAV
		if s := k.value("namespace"); s != "" {
			space = s
		}
		name := el(space, k.value("name"))
		if w.names = append(w.names, name); len(k.kids) > 0 {
			deeper[name.Name] = k
		}
	}
	e := c.response(r, w)
	for i, stat := range e.kids {
		for j, prop := range stat.child(nsDAV, "prop").kids {
			if ask, ok := deeper[prop.Name]; ok {
				e.kids[i].kids[0].kids[j] = c.follow(prop, ask)
			}
		}
	}
	return e
}

// follow replaces the hrefs of a property by what is there.
func (c *davCall) follow(prop, ask element) element {
	out := el(prop.Space, prop.Local)
	for _, k := range prop.kids {
		place, err := c.placeOf(k.text)
		if err != nil || !k.is(nsDAV, "href") || strings.HasPrefix(k.text, "mailto:") {
			out.kids = append(out.kids, k)
			continue
		}
		if r, err := c.resolve(place); err == nil {
			out.kids = append(out.kids, c.expandOne(r, ask))
		}
	}
	return out
}
