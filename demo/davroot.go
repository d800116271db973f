package demo

import (
	"fmt"
	"io"
	"net/http"
	"strings"
)

// davPrefix is where Nextcloud's newer tree begins.
const davPrefix = "/remote.php/dav/"

// davRoot is one of the trees below /remote.php/. There is one store: the
// older trees are other names for parts of the newer one.
type davRoot struct {
	prefix string
	kind   string // dav, webdav, caldav or carddav
}

// rootOf finds the tree a path lies in.
func rootOf(path string) (davRoot, bool) {
	service, _, _ := strings.Cut(strings.TrimPrefix(path, "/remote.php/"), "/")
	kind, ok := map[string]string{"dav": "dav", "webdav": "webdav", "files": "webdav",
		"caldav": "caldav", "calendar": "caldav", "carddav": "carddav", "contacts": "carddav"}[service]
	return davRoot{"/remote.php/" + service + "/", kind}, ok
}

// older pairs what the older trees say with what it is called in the newer.
func (r davRoot) older(uid string) (outer, inner string) {
	switch r.kind {
	case "webdav":
		return "", "files/" + uid + "/"
	case "carddav":
		return "addressbooks/", "addressbooks/users/"
	}
	return "", ""
}

// inner is the place in the newer tree that a path below the root means.
func (r davRoot) inner(path, uid string) string {
	if after, ok := strings.CutPrefix(path+"/", "principals/"); ok && r.kind != "dav" && r.kind != "webdav" {
		return tidy("principals/users/" + after)
	}
	outer, inner := r.older(uid)
	if after, ok := strings.CutPrefix(path+"/", outer); ok && inner != "" {
		return tidy(inner + after)
	}
	return path
}

// href is how the root's answers name a place in the newer tree: an absolute
// path, escapes in lower case, a slash after collections.
func (r davRoot) href(place, uid string, dir bool) string {
	if dir && place != "" {
		place += "/"
	}
	outer, inner := r.older(uid)
	if after, ok := strings.CutPrefix(place, inner); ok && inner != "" {
		place = outer + after
	} else if after, ok := strings.CutPrefix(place, "principals/users/"); ok && (r.kind == "caldav" || r.kind == "carddav") {
		place = "principals/" + after
	}
	return r.prefix + escapePath(place)
}

// escapePath leaves what sabre leaves.
func escapePath(p string) string {
	var b strings.Builder
	for i := range len(p) {
		c := p[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("_-.~()/:@", c) >= 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02x", c)
		}
	}
	return b.String()
}

// calendars and cards report whether Nextcloud loads its calendar and its
// contact parts for a place, which shows in headers and declarations.
func (r davRoot) calendars(place string) bool {
	return r.kind == "caldav" || r.kind == "dav" && below(place, "calendars", "public-calendars", "system-calendars", "principals")
}

func (r davRoot) cards(place string) bool {
	return r.kind == "carddav" || r.kind == "dav" && below(place, "addressbooks", "principals")
}

// below reports whether a place lies in one of the trees named.
func below(place string, tops ...string) bool {
	for _, top := range tops {
		if place == top || strings.HasPrefix(place, top+"/") {
			return true
		}
	}
	return false
}

// kinds is the DAV header.
func (r davRoot) kinds(place string) string {
	switch r.kind {
	case "webdav":
		return "1, 3, extended-mkcol, nextcloud-checksum-update"
	case "caldav":
		return "1, 3, extended-mkcol, calendar-access, calendar-proxy, access-control, calendarserver-principal-property-search, calendar-auto-schedule, calendar-availability"
	case "carddav":
		return "1, 3, extended-mkcol, addressbook, access-control, calendarserver-principal-property-search"
	}
	k := "1, 3, extended-mkcol, access-control, calendarserver-principal-property-search"
	switch cal, card := r.calendars(place), r.cards(place); {
	case cal:
		k += ", calendar-access, calendar-proxy, calendar-auto-schedule, calendar-availability, nc-calendar-trashbin, nc-calendar-webcal-cache, " +
			"calendarserver-subscribed, oc-resource-sharing, oc-calendar-publishing, calendarserver-sharing"
		if card {
			k += ", addressbook"
		}
	case card:
		k += ", oc-resource-sharing, addressbook"
	}
	return k + ", nextcloud-checksum-update, nc-calendar-search, nc-enable-birthday-calendar"
}

// prefixes are the namespaces that answers about a place declare.
func (r davRoot) prefixes(place string) string {
	p := "d s"
	if r.calendars(place) {
		p += " cal cs"
	}
	if r.cards(place) {
		p += " card"
	}
	if r.kind == "dav" || r.kind == "webdav" {
		p += " oc nc"
	}
	return p
}

// davHeaders are on every answer of the DAV server.
func davHeaders(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=UTF-8")
	h.Set("Expires", "Thu, 19 Nov 1981 08:52:00 GMT")
	h.Set("Cache-Control", "no-store, no-cache, must-revalidate")
	h.Set("Pragma", "no-cache")
	h.Set("Content-Security-Policy", "default-src 'none';")
	h.Set("X-Request-Id", alnum(20))
	h.Set("X-Debug-Token", h.Get("X-Request-Id"))
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "SAMEORIGIN")
	h.Set("X-Robots-Tag", "noindex, nofollow")
}

// davError answers with sabre's error document, before there is a caller.
func davError(w http.ResponseWriter, status int, exception, text string) {
	davHeaders(w)
	(&fault{status: status, exception: exception, text: text}).send(w)
}

// toDAV is the web server's answer at the well-known addresses of calendars and
// contacts (RFC 6764), whoever asks and by whatever method.
func toDAV(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Location", davPrefix)
	w.Header().Set("Content-Type", "text/html")
	w.WriteHeader(http.StatusMovedPermanently)
	io.WriteString(w, "<html><head><title>301 Moved Permanently</title></head></html>\n")
}
