package demo

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// found is a file and its place.
type found struct {
	*node
	place string
}

// allFiles are all below a place, folders too, but not the place itself.
func allFiles(n *node, place string, deep bool) []found {
	var all []found
	for _, k := range n.list() {
		p := place + "/" + k.name
		all = append(all, found{k, p})
		if deep {
			all = append(all, allFiles(k, p, true)...)
		}
	}
	return all
}

// search is basicsearch (RFC 5323). The scope is counted from the DAV root, not
// from the server's.
func (c *davCall) search() (*reply, error) {
	body, err := c.xml()
	if err != nil {
		return nil, err
	}
	basic := body.child(nsDAV, "basicsearch")
	if basic.Local == "" {
		return nil, refused(http.StatusBadRequest, "Expected a basicsearch")
	}
	scope := basic.child(nsDAV, "from").child(nsDAV, "scope")
	place := tidy(scope.child(nsDAV, "href").text)
	p, own := c.filePlace(place)
	n := c.home.files.at(p)
	if !own || n == nil {
		top, _, _ := strings.Cut(place, "/")
		return nil, notHere("File not found: " + top + " in 'root'")
	}
	where, order := basic.child(nsDAV, "where"), basic.child(nsDAV, "orderby").kids
	for _, o := range order {
		if prop := firstOf(o.child(nsDAV, "prop")); !slices.Contains(sortable, prop) {
			return nil, refused(http.StatusBadRequest, "requested order by property is not sortable")
		}
	}
	if len(where.kids) == 0 || slices.ContainsFunc(where.kids, func(e element) bool { return !searchable(e) }) {
		return nil, refused(http.StatusBadRequest, "requested search property is not searchable")
	}
	hits := slices.DeleteFunc(allFiles(n, place, scope.child(nsDAV, "depth").text != "1"), func(f found) bool {
		return slices.ContainsFunc(where.kids, func(e element) bool { return !f.meets(e) })
	})
	for _, o := range slices.Backward(order) {
		down := o.child(nsDAV, "descending").Local != ""
		name := firstOf(o.child(nsDAV, "prop"))
		slices.SortStableFunc(hits, func(a, b found) int {
			if down {
				a, b = b, a
			}
			return compare(a.value(name), b.value(name))
		})
	}
	limit := basic.child(nsDAV, "limit")
	skip, _ := strconv.Atoi(limit.child(nsSearch, "firstresult").text)
	hits = hits[min(max(skip, 0), len(hits)):]
	most, err := strconv.Atoi(limit.child(nsDAV, "nresults").text)
	if err != nil || most <= 0 {
		most = 100
	}
	hits = hits[:min(most, len(hits))]
	w := wantedOf(basic.child(nsDAV, "select"))
	var list []element
	for _, f := range hits {
		list = append(list, c.response(c.fileResource(f.node, f.place), w))
	}
	a := c.multistatus("", list...)
	a.header.Set("Content-Type", `application/xml; charset="utf-8"`)
	return a, nil
}

// nsSearch is of the library that answers SEARCH in Nextcloud.
const nsSearch = "https://github.com/icewind1991/SearchDAV/ns"

// sortable are the properties that results may be ordered by: the file id is
// not among them.
var sortable = []string{"displayname", "getcontenttype", "getlastmodified", "size", "favorite"}

// comparisons are by which operators a property may be searched.
var comparisons = map[string][]string{
	"displayname": {"eq", "like"}, "getcontenttype": {"eq", "like"}, "favorite": {"eq"}, "fileid": {"eq"},
	"getlastmodified": {"eq", "gt", "lt", "gte", "lte"}, "size": {"eq", "gt", "lt", "gte", "lte"},
}

// searchable reports whether a condition is one that Nextcloud can look for.
func searchable(e element) bool {
	switch e.Local {
	case "and", "or", "not":
		return !slices.ContainsFunc(e.kids, func(k element) bool { return !searchable(k) })
	case "is-collection":
		return true
	}
	return slices.Contains(comparisons[firstOf(e.child(nsDAV, "prop"))], e.Local)
}

// firstOf is the name of an element's first child.
func firstOf(e element) string {
	if len(e.kids) == 0 {
		return ""
	}
	return e.kids[0].Local
}

// value is what a file is compared by.
func (f found) value(prop string) string {
	switch prop {
	case "displayname":
		return f.name
	case "getcontenttype":
		if f.dir {
			return "httpd/unix-directory"
		}
		return f.media(false)
	case "getcontentlength", "size":
		return strconv.Itoa(f.size())
	case "getlastmodified":
		return strconv.FormatInt(f.modified.Unix(), 10)
	case "fileid":
		return strconv.Itoa(f.id)
	case "favorite":
		if f.favorite {
			return "1"
		}
		return "0"
	}
	return ""
}

// compare orders numbers by their value, and others as text.
func compare(a, b string) int {
	x, errX := strconv.ParseInt(a, 10, 64)
	y, errY := strconv.ParseInt(b, 10, 64)
	if errX == nil && errY == nil {
		return int(max(-1, min(1, x-y)))
	}
	return strings.Compare(a, b)
}

// meets reports whether a file is what a condition asks for. A condition
// nobody knows holds for nothing.
func (f found) meets(e element) bool {
	name, literal := firstOf(e.child(nsDAV, "prop")), e.child(nsDAV, "literal").text
	if t, err := time.Parse(time.RFC3339, literal); err == nil && name == "getlastmodified" {
		literal = strconv.FormatInt(t.Unix(), 10)
	}
	switch e.Local {
	case "and":
		return !slices.ContainsFunc(e.kids, func(k element) bool { return !f.meets(k) })
	case "or":
		return slices.ContainsFunc(e.kids, f.meets)
	case "not":
		return len(e.kids) == 1 && !f.meets(e.kids[0])
	case "is-collection":
		return f.dir
	case "like":
		return like(strings.ToLower(literal), strings.ToLower(f.value(name)))
	case "eq":
		return compare(f.value(name), literal) == 0
	case "lt":
		return compare(f.value(name), literal) < 0
	case "lte":
		return compare(f.value(name), literal) <= 0
	case "gt":
		return compare(f.value(name), literal) > 0
	case "gte":
		return compare(f.value(name), literal) >= 0
	}
	return false
}

// like matches a pattern in which % is anything and _ one byte.
func like(pattern, s string) bool {
	for i := range len(pattern) {
		switch {
		case pattern[i] == '%':
			for j := i; j <= len(s); j++ {
				if like(pattern[i+1:], s[j:]) {
					return true
				}
			}
			return false
		case i >= len(s), pattern[i] != '_' && pattern[i] != s[i]:
			return false
		}
	}
	return len(s) == len(pattern)
}

// filterFiles is Nextcloud's own report: of favorites, here.
func (c *davCall) filterFiles(body element) (*reply, error) {
	p, own := c.filePlace(c.path)
	n := c.home.files.at(p)
	if !own || n == nil {
		return nil, refused(http.StatusUnsupportedMediaType, "")
	}
	favorite := body.child(nsOC, "filter-rules").child(nsOC, "favorite").text == "1"
	w := wantedOf(body)
	var list []element
	for _, f := range allFiles(n, c.path, true) {
		if favorite && f.favorite {
			r := c.response(c.fileResource(f.node, f.place), w)
			r.kids = slices.Insert(r.kids, 0, el(nsDAV, "status", "HTTP/1.1 200 OK"))
			list = append(list, r)
		}
	}
	return c.multistatus(" ", list...), nil
}
