package demo

import (
	"crypto/md5"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// upload is one chunked upload: parts, which a MOVE of the folder's .file puts
// together among the files.
type upload struct {
	parts map[string][]byte
	made  time.Time
}

// assembly stands for all parts together.
const assembly = ".file"

// names are those of the parts in the order in which they belong: numbers by
// their value.
func (u *upload) names() []string {
	var names []string
	for name := range u.parts {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		x, errX := strconv.Atoi(a)
		y, errY := strconv.Atoi(b)
		if errX == nil && errY == nil {
			return x - y
		}
		return strings.Compare(a, b)
	})
	return names
}

// whole is all parts together.
func (u *upload) whole() []byte {
	var all []byte
	for _, name := range u.names() {
		all = append(all, u.parts[name]...)
	}
	return all
}

// uploadAt finds the folder of uploads, an upload, or a part.
func (c *davCall) uploadAt(names []string) (resource, error) {
	if len(names) == 0 {
		return shut(collection("uploads")), nil
	}
	if err := c.person(names[0]); err != nil {
		return resource{}, err
	}
	base := "uploads/" + c.who.UID
	if len(names) == 1 {
		var all []resource
		for id, u := range c.home.uploads {
			all = append(all, c.uploadResource(u, base+"/"+id))
		}
		return collection(base, all...), nil
	}
	u, ok := c.home.uploads[names[1]]
	if !ok {
		return resource{}, noFile(names[1])
	}
	r := c.uploadResource(u, base+"/"+names[1])
	if len(names) == 2 {
		return r, nil
	}
	for _, part := range r.inside() {
		if part.place == base+"/"+names[1]+"/"+strings.Join(names[2:], "/") {
			return part, nil
		}
	}
	return resource{}, noFile(strings.Join(names[2:], "/"))
}

// uploadResource shows an upload, in it .file with the sum and then the parts.
func (c *davCall) uploadResource(u *upload, place string) resource {
	made := el(nsDAV, "getlastmodified", u.made.UTC().Format(http.TimeFormat))
	part := func(name string, data []byte) resource {
		return resource{place: place + "/" + name, props: told(made, el(nsDAV, "getcontentlength", fmt.Sprint(len(data))), resourceType(),
			el(nsDAV, "getetag", fmt.Sprintf("%q", fmt.Sprintf("%x", md5.Sum(data)))), el(nsDAV, "getcontenttype", "application/octet-stream"))}
	}
	return resource{place: place, dir: true, props: told(made, resourceType(el(nsDAV, "collection"))), inside: func() []resource {
		all := []resource{part(assembly, u.whole())}
		for _, name := range u.names() {
			all = append(all, part(name, u.parts[name]))
		}
		return all
	}}
}

// uploadMethod answers what is no PROPFIND.
func (c *davCall) uploadMethod() (*reply, error) {
	names := strings.Split(c.path, "/")[1:]
	if len(names) < 2 {
		return nil, notAllowed("This is no upload")
	}
	if err := c.person(names[0]); err != nil {
		return nil, err
	}
	id, part := names[1], strings.Join(names[2:], "/")
	u, ok := c.home.uploads[id]
	switch m := c.r.Method; {
	case m == "MKCOL" && part == "" && !ok:
		c.home.uploads[id] = &upload{map[string][]byte{}, c.n.o.Now()}
		return done(http.StatusCreated), nil
	case !ok:
		return nil, noFile(id)
	case m == "MKCOL":
		return nil, notAllowed("The resource you tried to create already exists")
	case m == http.MethodPut && part != "" && part != assembly:
		_, again := u.parts[part]
		u.parts[part] = c.body
		if again {
			return done(http.StatusNoContent), nil
		}
		return done(http.StatusCreated), nil
	case m == http.MethodDelete && part == "":
		delete(c.home.uploads, id)
		return done(http.StatusNoContent), nil
	case m == http.MethodDelete && u.parts[part] != nil:
		delete(u.parts, part)
		return done(http.StatusNoContent), nil
	case m == "MOVE" && part == assembly:
		etag, err := c.etagAt(c.path)
		if err != nil {
			return nil, err
		}
		if a, err := c.conditions(etag, u.made, true); a != nil || err != nil {
			return a, err
		}
		return c.assemble(id, u)
	}
	r, err := c.resolve(c.path)
	if err != nil {
		return nil, err
	}
	if c.r.Method == http.MethodGet || c.r.Method == http.MethodHead {
		return c.show(r)
	}
	return nil, unsupported(c.r.Method)
}

// assemble puts an upload together where Destination says. A refusal leaves
// the parts where they are.
func (c *davCall) assemble(id string, u *upload) (*reply, error) {
	whole := u.whole()
	p, old, err := c.target()
	if err != nil {
		return nil, err
	}
	if want := c.r.Header.Get("OC-Total-Length"); want != "" && want != strconv.Itoa(len(whole)) {
		return nil, refused(http.StatusBadRequest, fmt.Sprintf("Chunks on server do not sum up to %s but to %d bytes", want, len(whole)))
	}
	if old != nil && old.dir {
		return nil, refused(http.StatusBadRequest, "The given destination is a directory.")
	}
	delete(c.home.uploads, id)
	return c.stored(p, whole), nil
}
