package demo

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
)

const uploadsRoot = davRoot + "uploads/"

// uploads is one person's chunked uploads: parts in folders, which a MOVE of
// the folder's .file puts together among the files.
type uploads struct {
	mu      sync.Mutex
	folders map[string]map[string][]byte // guarded by mu: parts by name, by the folder's name
}

// serveUpload answers below the person's own folder of uploads.
func (h *home) serveUpload(w http.ResponseWriter, r *http.Request, uid string) {
	id, part, _ := strings.Cut(strings.Trim(strings.TrimPrefix(r.URL.Path, uploadsRoot+uid), "/"), "/")
	u := &h.uploads
	u.mu.Lock()
	defer u.mu.Unlock()
	folder, exists := u.folders[id]
	made := func(status int) {
		davHeaders(w)
		w.Header().Set("Content-Length", "0")
		w.WriteHeader(status)
	}
	switch {
	case r.Method == "MKCOL" && id != "" && part == "" && !exists:
		if u.folders == nil {
			u.folders = map[string]map[string][]byte{}
		}
		u.folders[id] = map[string][]byte{}
		made(http.StatusCreated)
	case !exists && id != "":
		davError(w, http.StatusNotFound, `Sabre\DAV\Exception\NotFound`, "File with name "+id+" could not be located")
	case r.Method == "MKCOL":
		davError(w, http.StatusMethodNotAllowed, `Sabre\DAV\Exception\MethodNotAllowed`, "The resource you tried to create already exists")
	case r.Method == http.MethodPut && part != "" && part != ".file":
		body, err := io.ReadAll(r.Body)
		if err != nil {
			davError(w, http.StatusBadRequest, `Sabre\DAV\Exception\BadRequest`, "the part broke off")
			return
		}
		if r.ContentLength < 0 {
			body = nil // a chunked body reaches PHP empty, and is stored so
		}
		folder[part] = body
		made(http.StatusCreated)
	case r.Method == http.MethodDelete && part == "":
		delete(u.folders, id)
		made(http.StatusNoContent)
	case r.Method == "MOVE" && part == ".file":
		if h.assemble(w, r, uid, folder) {
			delete(u.folders, id)
		}
	case r.Method == "PROPFIND":
		listUpload(w, r.URL.Path, folder)
	default:
		davError(w, http.StatusMethodNotAllowed, `Sabre\DAV\Exception\MethodNotAllowed`, "not among uploads")
	}
}

// assemble puts the parts of an upload together where Destination says.
func (h *home) assemble(w http.ResponseWriter, r *http.Request, uid string, folder map[string][]byte) bool {
	var whole []byte
	for _, name := range sortedParts(folder) {
		whole = append(whole, folder[name]...)
	}
	if want := r.Header.Get("OC-Total-Length"); want != "" && want != strconv.Itoa(len(whole)) {
		davError(w, http.StatusBadRequest, `Sabre\DAV\Exception\BadRequest`, fmt.Sprintf("Chunks on server do not sum up to %s but to %d bytes", want, len(whole)))
		return false
	}
	mount := homesRoot + uid
	if !h.mayCopy(w, r, mount) {
		return false
	}
	to, err := url.PathUnescape(strings.TrimPrefix(r.Header.Get("Destination"), mount))
	if err != nil {
		davError(w, http.StatusBadRequest, `Sabre\DAV\Exception\BadRequest`, "The destination header is malformed")
		return false
	}
	to = path.Clean(to)
	info, _ := h.fs.Stat(r.Context(), to)
	if info != nil && r.Header.Get("Overwrite") == "F" {
		davError(w, http.StatusPreconditionFailed, `Sabre\DAV\Exception\PreconditionFailed`, "The destination node already exists, and the overwrite header is set to false")
		return false
	}
	file, err := h.fs.OpenFile(r.Context(), to, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		davError(w, http.StatusForbidden, `Sabre\DAV\Exception\Forbidden`, "the destination cannot be written")
		return false
	}
	defer file.Close()
	file.Write(whole) // in memory: it does not fail
	after, err := file.Stat()
	if err != nil {
		davError(w, http.StatusInternalServerError, `Sabre\DAV\Exception`, "the file is gone")
		return false
	}
	davHeaders(w)
	etag := fmt.Sprintf("%q", fmt.Sprintf("%x%x", after.ModTime().UnixNano(), after.Size()))
	w.Header().Set("ETag", etag)
	w.Header().Set("OC-ETag", etag)
	w.Header().Set("OC-FileId", fileID(to))
	if r.Header.Get("X-OC-Mtime") != "" {
		w.Header().Set("X-OC-MTime", "accepted")
	}
	w.Header().Set("Content-Length", "0")
	status := http.StatusCreated
	if info != nil {
		status = http.StatusNoContent
	}
	w.WriteHeader(status)
	return true
}

// sortedParts are the names of parts in the order in which they belong.
func sortedParts(folder map[string][]byte) []string {
	var names []string
	for name := range folder {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int { // numbers by their value
		x, errX := strconv.Atoi(a)
		y, errY := strconv.Atoi(b)
		if errX == nil && errY == nil {
			return x - y
		}
		return strings.Compare(a, b)
	})
	return names
}

// listUpload shows an upload's parts, and .file with their sum.
func listUpload(w http.ResponseWriter, at string, folder map[string][]byte) {
	base := (&url.URL{Path: strings.TrimSuffix(at, "/") + "/"}).EscapedPath()
	davHeaders(w)
	w.Header().Set("Content-Type", "application/xml; charset=utf-8")
	w.WriteHeader(http.StatusMultiStatus)
	fmt.Fprintf(w, `<?xml version="1.0"?>`+"\n"+`<d:multistatus xmlns:d="DAV:" xmlns:s="http://sabredav.org/ns" xmlns:oc="http://owncloud.org/ns" xmlns:nc="http://nextcloud.org/ns"><d:response><d:href>%s</d:href><d:propstat><d:prop><d:resourcetype><d:collection/></d:resourcetype></d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response>`, base)
	sum := 0
	show := func(name string, size int) {
		fmt.Fprintf(w, `<d:response><d:href>%s</d:href><d:propstat><d:prop><d:resourcetype/><d:getcontentlength>%d</d:getcontentlength></d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response>`, base+url.PathEscape(name), size)
	}
	for _, name := range sortedParts(folder) {
		show(name, len(folder[name]))
		sum += len(folder[name])
	}
	if folder != nil {
		show(".file", sum)
	}
	fmt.Fprint(w, "</d:multistatus>\n")
}
