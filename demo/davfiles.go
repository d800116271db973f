package demo

import (
	"fmt"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"

	"golang.org/x/text/unicode/norm"
)

// filePlace is a place among the caller's own files, as a path in their home.
// Names are kept composed.
func (c *davCall) filePlace(place string) (string, bool) {
	p, ok := strings.CutPrefix(place+"/", "files/"+c.who.UID+"/")
	return norm.NFC.String(strings.TrimSuffix(p, "/")), ok
}

// fileAt finds a file or folder. Another's home looks empty.
func (c *davCall) fileAt(names []string) (resource, error) {
	if len(names) == 0 {
		return shut(collection("files")), nil
	}
	if _, ok := c.n.users.get(names[0]); !ok {
		return resource{}, notHere("Principal with name " + names[0] + " not found")
	}
	place := "files/" + strings.Join(names, "/")
	p, own := c.filePlace(place)
	if !own && len(names) == 1 {
		return collection(place), nil
	}
	n := c.home.files.at(p)
	if !own || n == nil {
		return resource{}, noFile(p)
	}
	return c.fileResource(n, strings.TrimSuffix("files/"+c.who.UID+"/"+p, "/")), nil
}

func noFile(p string) *fault { return notHere("File with name /" + p + " could not be located") }

// fileResource is what is known of a file or folder.
func (c *davCall) fileResource(n *node, place string) resource {
	r := resource{place: place, dir: n.dir}
	text := func(space, name string, value any) element { return el(space, name, fmt.Sprint(value)) }
	r.props = told(el(nsDAV, "getlastmodified", n.modified.UTC().Format(http.TimeFormat)))
	permissions, share := "RGDNVW", "27"
	if n.dir {
		permissions, share = "RGDNVCK", "31"
		r.inside = func() []resource {
			var all []resource
			for _, k := range n.list() {
				all = append(all, c.fileResource(k, place+"/"+k.name))
			}
			return all
		}
		r.props = append(r.props, told(resourceType(el(nsDAV, "collection")), text(nsDAV, "quota-used-bytes", n.size()),
			text(nsDAV, "quota-available-bytes", -3), el(nsDAV, "getetag", n.etag()))...) // -3: no limit
	} else {
		r.props = append(r.props, told(text(nsDAV, "getcontentlength", len(n.data)), resourceType(),
			el(nsDAV, "getetag", n.etag()), el(nsDAV, "getcontenttype", n.media(false)))...)
	}
	favorite := 0
	if n.favorite {
		favorite = 1
	}
	r.props = append(r.props, asked(
		el(nsOC, "id", n.fileID()), text(nsOC, "fileid", n.id), el(nsOC, "permissions", permissions), text(nsOC, "size", n.size()),
		el(nsOC, "owner-id", c.who.UID), el(nsOC, "owner-display-name", c.who.Name), el(nsOC, "share-types"), text(nsOC, "favorite", favorite),
		el(nsOC, "comments-href", fmt.Sprint(davPrefix, "comments/files/", n.id)), el(nsOC, "comments-count", "0"), el(nsOC, "comments-unread", "0"),
		el(nsNC, "has-preview", "false"), el(nsNC, "mount-type"), el(nsNC, "is-encrypted", "0"), el(nsOC, "data-fingerprint"),
		el(nsOCS, "share-permissions", share), el(nsNC, "share-attributes", "[]"), el(nsNC, "sharees"),
	)...)
	if n.checksum != "" {
		r.props = append(r.props, asked(el(nsOC, "checksums", el(nsOC, "checksum", n.checksum)))...)
	}
	r.props = append(r.props, asked(n.props...)...)
	return r
}

// patchFile sets and removes properties of a file.
func (c *davCall) patchFile(set, remove []element) {
	p, _ := c.filePlace(c.path)
	n := c.home.files.at(p)
	for _, e := range append(remove, set...) {
		n.props = without(n.props, e)
	}
	for _, e := range set {
		switch {
		case e.is(nsOC, "favorite"):
			n.favorite = e.text == "1"
		case e.Space == nsDAV:
			n.modified = unixTime(e.text, n.modified)
		default:
			n.props = append(n.props, e)
		}
	}
}

func without(list []element, e element) []element {
	var kept []element
	for _, x := range list {
		if x.Name != e.Name {
			kept = append(kept, x)
		}
	}
	return kept
}

// unixTime reads seconds; otherwise is for what is none.
func unixTime(s string, otherwise time.Time) time.Time {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil && n > 0 {
		return time.Unix(n, 0)
	}
	return otherwise
}

// fileMethod answers what is no PROPFIND, PROPPATCH or REPORT.
func (c *davCall) fileMethod() (*reply, error) {
	p, own := c.filePlace(c.path)
	if !own {
		if _, err := c.resolve(c.path); err != nil {
			return nil, err
		}
		return nil, refused(http.StatusForbidden, "This is somebody else's")
	}
	n := c.home.files.at(p)
	etag, modified := "", time.Time{}
	if n != nil {
		etag, modified = n.etag(), n.modified
	}
	if a, err := c.conditions(etag, modified, n != nil); a != nil || err != nil {
		return a, err
	}
	switch c.r.Method {
	case http.MethodPut:
		return c.putFile(p, n)
	case "MKCOL":
		return c.makeDir(p, n)
	}
	if n == nil {
		return nil, noFile(p)
	}
	switch c.r.Method {
	case http.MethodGet, http.MethodHead:
		return c.getFile(n), nil
	case http.MethodDelete:
		return c.deleteFile(p, n)
	case "COPY", "MOVE":
		return c.copyFile(p, n)
	}
	return nil, unsupported(c.r.Method)
}

// nameFault refuses names that cannot be.
func nameFault(p string) error {
	invalid := func(text string) error {
		return &fault{status: http.StatusBadRequest, exception: `OCA\DAV\Connector\Sabre\Exception\InvalidPath`, text: text,
			more: []element{el("o:", "retry", "false"), el("o:", "reason", text)}}
	}
	for name := range strings.SplitSeq(p, "/") {
		switch {
		case name == "..":
			return invalid("Dot files are not allowed")
		case strings.Contains(name, `\`):
			return invalid("File name contains at least one invalid character")
		case strings.EqualFold(name, ".htaccess"):
			return refused(http.StatusForbidden, "")
		}
	}
	return nil
}

// split is a path's folder and name; at the top the folder is "".
func split(p string) (dir, name string) {
	dir, name = path.Split(p)
	return strings.TrimSuffix(dir, "/"), name
}

func (c *davCall) putFile(p string, n *node) (*reply, error) {
	if err := nameFault(p); err != nil {
		return nil, err
	}
	if n != nil && n.dir {
		return nil, refused(http.StatusConflict, "PUT is not allowed on non-files.")
	}
	dir, _ := split(p)
	if to := c.home.files.at(dir); to == nil || !to.dir {
		return nil, notHere("File with name //" + dir + " could not be located") // not 409
	}
	return c.stored(p, c.body), nil
}

// stored writes a file, whose folder is there, and answers as PUT does.
func (c *davCall) stored(p string, data []byte) *reply {
	now := c.n.o.Now()
	dir, name := split(p)
	status, n := http.StatusNoContent, c.home.files.at(p)
	if n == nil {
		status, n = http.StatusCreated, &node{id: c.home.nextID(), name: name}
		c.home.files.at(dir).add(n)
	}
	n.data, n.checksum, n.modified = data, c.r.Header.Get("OC-Checksum"), unixTime(c.r.Header.Get("X-OC-Mtime"), now)
	c.home.files.touch(dir, now)
	a := tagged(status, n.etag(), "OC-FileId", n.fileID())
	if c.r.Header.Get("X-OC-Mtime") != "" {
		a.header.Set("X-OC-MTime", "accepted")
	}
	return a
}

func (c *davCall) getFile(n *node) *reply {
	if n.dir {
		a, _ := c.show(resource{dir: true})
		return a
	}
	if strings.Contains(c.r.Header.Get("Range"), ",") {
		c.r.Header.Del("Range") // of several ranges the whole is sent
	}
	return &reply{data: &content{n.data, n.modified}, header: http.Header{"Content-Type": {n.media(true)}, "Etag": {n.etag()}, "Oc-Etag": {n.etag()},
		"Content-Disposition": {attachment(n.name)}}}
}

func (c *davCall) makeDir(p string, n *node) (*reply, error) {
	if err := nameFault(p); err != nil {
		return nil, err
	}
	if n != nil {
		return nil, notAllowed("The resource you tried to create already exists")
	}
	dir, name := split(p)
	to := c.home.files.at(dir)
	if to == nil || !to.dir {
		return nil, refused(http.StatusConflict, "Parent node does not exist")
	}
	now := c.n.o.Now()
	made := newFolder(c.home.nextID(), now)
	made.name = name
	to.add(made)
	c.home.files.touch(dir, now)
	return done(http.StatusCreated, "OC-FileId", made.fileID()), nil
}

// target is the destination of COPY, MOVE or an upload, if it may be written.
func (c *davCall) target() (p string, old *node, err error) {
	place, err := c.destination()
	if err != nil {
		return "", nil, err
	}
	p, own := c.filePlace(place)
	if !own || p == "" {
		return "", nil, refused(http.StatusForbidden, "The destination is not among your files")
	}
	if err := nameFault(p); err != nil {
		return "", nil, err
	}
	dir, _ := split(p)
	if to := c.home.files.at(dir); to == nil || !to.dir {
		return "", nil, refused(http.StatusConflict, "The destination node is not found")
	}
	old = c.home.files.at(p)
	if old != nil && c.r.Header.Get("Overwrite") == "F" {
		return "", nil, refused(http.StatusPreconditionFailed, "The destination node already exists, and the overwrite header is set to false", el(nsSabre, "header", "Overwrite"))
	}
	return p, old, nil
}

// copyFile is COPY, and MOVE, which alone has an ETag in its answer.
func (c *davCall) copyFile(p string, n *node) (*reply, error) {
	to, old, err := c.target()
	switch {
	case err != nil:
		return nil, err
	case to == p:
		return nil, refused(http.StatusForbidden, "Source and destination uri are identical.")
	case strings.HasPrefix(to+"/", p+"/") || p == "":
		return nil, refused(http.StatusConflict, "The destination may not be part of the same subtree as the source path.")
	case strings.HasPrefix(p+"/", to+"/"):
		return nil, refused(http.StatusForbidden, "The source is below the destination")
	}
	status, now := http.StatusCreated, c.n.o.Now()
	if old != nil {
		status = http.StatusNoContent
	}
	dir, name := split(to)
	if c.r.Method == "COPY" {
		n = n.copied(c.home.nextID)
	} else {
		c.home.detach(p, now)
	}
	n.name = name
	c.home.files.at(dir).add(n)
	c.home.files.touch(dir, now)
	if c.r.Method == "COPY" {
		return done(status, "OC-FileId", n.fileID()), nil
	}
	return tagged(status, n.etag(), "OC-FileId", n.fileID()), nil
}

// detach takes a file out of its folder.
func (h *home) detach(p string, now time.Time) {
	dir, name := split(p)
	delete(h.files.at(dir).kids, name)
	h.files.touch(dir, now)
}
