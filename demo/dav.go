package demo

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path"
	"strings"
	"sync"

	"golang.org/x/net/webdav"
)

const (
	davRoot   = "/remote.php/dav/"
	homesRoot = davRoot + "files/"
	oldRoot   = "/remote.php/webdav"
	davKinds  = "1, 3, extended-mkcol, access-control, calendarserver-principal-property-search, nextcloud-checksum-update, nc-calendar-search, nc-enable-birthday-calendar"
	oldKinds  = "1, 3, extended-mkcol, nextcloud-checksum-update"
	davAllow  = "OPTIONS, GET, HEAD, DELETE, PROPFIND, PUT, PROPPATCH, COPY, MOVE, REPORT"
)

// files is the part of Nextcloud's WebDAV that holds people's files: the
// methods of RFC 4918 but for locks, with Nextcloud's own ways around them.
type files struct {
	n     *Nextcloud
	mu    sync.Mutex
	homes map[string]*home // guarded by mu, by uid; made when first opened
}

// home is one person's files, in memory.
type home struct {
	fs    webdav.FileSystem
	locks webdav.LockSystem // the library wants one; LOCK itself is refused

	uploads uploads
}

func newFiles(n *Nextcloud) *files { return &files{n: n, homes: make(map[string]*home)} }

func (f *files) home(uid string) *home {
	f.mu.Lock()
	defer f.mu.Unlock()
	h, ok := f.homes[uid]
	if !ok {
		h = &home{fs: webdav.NewMemFS(), locks: webdav.NewMemLS()}
		h.seed()
		f.homes[uid] = h
	}
	return h
}

// seed puts in what a new account finds. The memory file system does not fail.
func (h *home) seed() {
	ctx := context.Background()
	h.fs.Mkdir(ctx, "/Documents", 0o755)
	if file, err := h.fs.OpenFile(ctx, "/Welcome.md", os.O_CREATE|os.O_RDWR, 0o644); err == nil {
		fmt.Fprintln(file, "# Welcome\n\nThese files live in memory and are gone when the demo ends.")
		file.Close()
	}
}

// serve answers everything under /remote.php/.
func (f *files) serve(w http.ResponseWriter, r *http.Request) {
	c, ok := f.n.davCaller(w, r)
	if !ok {
		return
	}
	switch {
	case r.Method == "LOCK" || r.Method == "UNLOCK":
		davError(w, http.StatusNotImplemented, `Sabre\DAV\Exception\NotImplemented`,
			"There was no plugin in the system that was willing to handle this "+r.Method+" method.")
	case r.Method == http.MethodOptions:
		davHeaders(w)
		w.Header().Set("Allow", davAllow)
		w.Header().Set("MS-Author-Via", "DAV")
		w.WriteHeader(http.StatusOK)
	default:
		f.route(w, r, c)
	}
}

// route finds the mount a path lies under.
func (f *files) route(w http.ResponseWriter, r *http.Request, c caller) {
	p := r.URL.Path
	uid, _, _ := strings.Cut(strings.TrimPrefix(p, homesRoot), "/")
	_, known := f.n.users.get(uid)
	switch {
	case p == oldRoot || strings.HasPrefix(p, oldRoot+"/"):
		f.home(c.UID).serve(w, r, oldRoot)
	case p == uploadsRoot+c.UID || strings.HasPrefix(p, uploadsRoot+c.UID+"/"):
		f.home(c.UID).serveUpload(w, r, c.UID)
	case p+"/" == davRoot || p == davRoot:
		collection(w, davRoot)
	case p+"/" == homesRoot || p == homesRoot:
		davError(w, http.StatusMethodNotAllowed, `Sabre\DAV\Exception\MethodNotAllowed`, "Listing members of this collection is disabled")
	case !strings.HasPrefix(p, homesRoot) || !known:
		davError(w, http.StatusNotFound, `Sabre\DAV\Exception\NotFound`, "File not found: "+path.Base(p))
	case uid == c.UID:
		f.home(uid).serve(w, r, homesRoot+uid)
	case r.Method == "PROPFIND" && strings.Trim(strings.TrimPrefix(p, homesRoot+uid), "/") == "":
		collection(w, homesRoot+url.PathEscape(uid)+"/") // another's home looks empty
	default:
		davError(w, http.StatusNotFound, `Sabre\DAV\Exception\NotFound`, "File not found: "+path.Base(p))
	}
}

// collection answers PROPFIND of a collection that shows nothing inside.
func collection(w http.ResponseWriter, href string) {
	davHeaders(w)
	w.Header().Set("Content-Type", "application/xml; charset=utf-8")
	w.WriteHeader(http.StatusMultiStatus)
	fmt.Fprintf(w, `<?xml version="1.0"?>
<d:multistatus xmlns:d="DAV:" xmlns:s="http://sabredav.org/ns" xmlns:oc="http://owncloud.org/ns" xmlns:nc="http://nextcloud.org/ns"><d:response><d:href>%s</d:href><d:propstat><d:prop><d:resourcetype><d:collection/></d:resourcetype></d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response></d:multistatus>
`, href)
}

func davHeaders(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=UTF-8")
	h.Set("Content-Security-Policy", "default-src 'none';")
	h.Set("DAV", davKinds)
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "SAMEORIGIN")
	h.Set("X-Robots-Tag", "noindex, nofollow")
}

// davError answers with sabre's error document.
func davError(w http.ResponseWriter, status int, exception, text string) {
	davHeaders(w)
	h := w.Header()
	h.Del("DAV")
	h.Set("Content-Type", "application/xml; charset=utf-8")
	h.Del("Content-Length")
	w.WriteHeader(status)
	var buf bytes.Buffer
	fmt.Fprintf(&buf, `<?xml version="1.0" encoding="utf-8"?>
<d:error xmlns:d="DAV:" xmlns:s="http://sabredav.org/ns">
  <s:exception>%s</s:exception>
  <s:message>%s</s:message>
</d:error>
`, escaped(exception), escaped(text))
	w.Write(buf.Bytes())
}
