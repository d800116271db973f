package demo

import (
	"fmt"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"
)

// trashed is what was deleted, until it is restored or deleted for good.
type trashed struct {
	*node
	name string // with the time of its deletion
	from string // path in the home
	at   time.Time
}

// deleteFile moves a file into the trash.
func (c *davCall) deleteFile(p string, n *node) (*reply, error) {
	if p == "" {
		return nil, refused(http.StatusForbidden, "A home cannot be deleted")
	}
	now := c.n.o.Now()
	c.home.detach(p, now)
	name := fmt.Sprintf("%s.d%d", n.name, now.Unix())
	c.home.trash = slices.DeleteFunc(c.home.trash, func(t *trashed) bool { return t.name == name })
	c.home.trash = slices.Insert(c.home.trash, 0, &trashed{n, name, p, now})
	return done(http.StatusNoContent), nil
}

// trashFind is what was deleted under a name; nil for nothing.
func (h *home) trashFind(name string) *trashed {
	for _, t := range h.trash {
		if t.name == name {
			return t
		}
	}
	return nil
}

// trashAt finds the bin, what is in it, and where things go to be restored.
func (c *davCall) trashAt(names []string) (resource, error) {
	if len(names) == 0 {
		return shut(collection("trashbin")), nil
	}
	if _, ok := c.n.users.get(names[0]); !ok {
		return resource{}, notHere("Principal with name " + names[0] + " not found")
	}
	if names[0] != c.who.UID {
		return resource{}, refused(http.StatusForbidden, "")
	}
	base := "trashbin/" + c.who.UID
	bin := collection(base + "/trash")
	bin.inside = func() []resource {
		var all []resource
		for _, t := range c.home.trash {
			all = append(all, c.trashResource(t, t.node, base+"/trash/"+t.name))
		}
		return all
	}
	switch {
	case len(names) == 1:
		return collection(base, bin, collection(base+"/restore")), nil
	case len(names) == 2 && names[1] == "trash":
		return bin, nil
	case len(names) == 2 && names[1] == "restore":
		return collection(base + "/restore"), nil
	case names[1] == "trash":
		if t := c.home.trashFind(names[2]); t != nil {
			if n := t.node.at(strings.Join(names[3:], "/")); n != nil {
				return c.trashResource(t, n, base+"/"+strings.Join(names[1:], "/")), nil
			}
		}
	}
	return resource{}, noFile(strings.Join(names[1:], "/"))
}

func (c *davCall) trashResource(t *trashed, n *node, place string) resource {
	r := resource{place: place, dir: n.dir, props: told(el(nsDAV, "getlastmodified", t.at.UTC().Format(http.TimeFormat)))}
	kind := resourceType()
	if n.dir {
		kind = resourceType(el(nsDAV, "collection"))
		r.inside = func() []resource {
			var all []resource
			for _, k := range n.list() {
				all = append(all, c.trashResource(t, k, place+"/"+k.name))
			}
			return all
		}
	} else {
		r.props = append(r.props, told(el(nsDAV, "getcontentlength", fmt.Sprint(len(n.data))))...)
	}
	r.props = append(r.props, told(kind, el(nsDAV, "getetag", fmt.Sprint(t.at.Unix())))...)
	if !n.dir {
		r.props = append(r.props, told(el(nsDAV, "getcontenttype", n.media(false)))...)
	}
	r.props = append(r.props, asked(el(nsNC, "trashbin-filename", n.name), el(nsNC, "trashbin-original-location", t.from),
		el(nsNC, "trashbin-deletion-time", fmt.Sprint(t.at.Unix())), el(nsOC, "fileid", fmt.Sprint(n.id)), el(nsOC, "size", fmt.Sprint(n.size())))...)
	return r
}

// trashMethod restores, and deletes for good.
func (c *davCall) trashMethod(rest string) (*reply, error) {
	r, err := c.resolve(c.path)
	if err != nil {
		return nil, err
	}
	names := strings.Split(rest, "/")
	if len(names) == 2 && names[1] == "trash" && c.r.Method == http.MethodDelete {
		c.home.trash = nil
		return done(http.StatusNoContent), nil
	}
	if len(names) < 3 || names[1] != "trash" {
		return c.trashShow(r)
	}
	t := c.home.trashFind(names[2])
	switch m := c.r.Method; {
	case m == http.MethodDelete && len(names) == 3:
		c.home.trash = slices.DeleteFunc(c.home.trash, func(x *trashed) bool { return x == t })
		return done(http.StatusNoContent), nil
	case m == "MOVE" && len(names) == 3:
		return c.restore(t)
	case (m == http.MethodGet || m == http.MethodHead) && !r.dir:
		return c.getFile(t.node.at(strings.Join(names[3:], "/"))), nil
	}
	return c.trashShow(r)
}

func (c *davCall) trashShow(r resource) (*reply, error) {
	if c.r.Method == http.MethodGet || c.r.Method == http.MethodHead {
		return c.show(r)
	}
	return nil, refused(http.StatusForbidden, "")
}

// restore puts something back where it was; where that is gone, into the home,
// and beside what has taken its name.
func (c *davCall) restore(t *trashed) (*reply, error) {
	to, err := c.destination()
	if err != nil {
		return nil, err
	}
	if !below(to, "trashbin/"+c.who.UID+"/restore") {
		return nil, refused(http.StatusForbidden, "")
	}
	now := c.n.o.Now()
	dir, name := split(t.from)
	if parent := c.home.files.at(dir); parent == nil || !parent.dir {
		dir = ""
	}
	for ext := path.Ext(name); c.home.files.at(dir+"/"+name) != nil; {
		name = strings.TrimSuffix(name, ext) + " (restored)" + ext
	}
	c.home.trash = slices.DeleteFunc(c.home.trash, func(x *trashed) bool { return x == t })
	t.node.name = name
	c.home.files.at(dir).add(t.node)
	c.home.files.touch(dir, now)
	return done(http.StatusCreated), nil
}
