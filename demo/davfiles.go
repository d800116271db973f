package demo

import (
	"bytes"
	"fmt"
	"hash/fnv"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"regexp"
	"strings"

	"golang.org/x/net/webdav"
)

var (
	hrefs   = regexp.MustCompile(`<D:href>[^<]*</D:href>`)
	escapes = regexp.MustCompile(`%[0-9A-F]{2}`)
)

// serve answers one request for one of the home's files. The library does the
// work; what is here makes its answers Nextcloud's.
func (h *home) serve(w http.ResponseWriter, r *http.Request, mount string) {
	name := path.Clean("/" + strings.TrimPrefix(r.URL.Path, mount))
	info, _ := h.fs.Stat(r.Context(), name) // nil: nothing there
	r = r.Clone(r.Context())
	out := &davWriter{ResponseWriter: w, method: r.Method, name: name, existed: info != nil, old: mount == oldRoot}
	switch r.Method {
	case "PROPFIND":
		if r.Header.Get("Depth") == "" {
			r.Header.Set("Depth", "1") // the library takes none for infinity
		}
		out.buffer = new(bytes.Buffer)
	case http.MethodGet, http.MethodHead:
		if info != nil && info.IsDir() {
			davHeaders(w)
			io.WriteString(w, "This is the WebDAV interface. It can only be accessed by WebDAV clients such as the Nextcloud desktop sync client.")
			return
		}
		if strings.Contains(r.Header.Get("Range"), ",") {
			r.Header.Del("Range") // of several ranges the whole is sent
		}
		w.Header().Set("Content-Disposition", fmt.Sprintf("attachment; filename*=UTF-8''%s; filename=%q", url.PathEscape(path.Base(name)), path.Base(name)))
	case http.MethodPut:
		if !h.mayPut(w, r, name, info) {
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil { // what is there is kept until all of it has come
			davError(w, http.StatusBadRequest, `Sabre\DAV\Exception\BadRequest`, fmt.Sprintf("Expected filesize of %d bytes but read %d", r.ContentLength, len(body)))
			return
		}
		if r.ContentLength < 0 {
			body = nil // a chunked body reaches PHP empty, and is stored so
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
	case "COPY", "MOVE":
		if !h.mayCopy(w, r, mount) {
			return
		}
	}
	(&webdav.Handler{Prefix: mount, FileSystem: h.fs, LockSystem: h.locks}).ServeHTTP(out, r)
	out.finish()
}

// mayPut checks what the library does not: a parent that is missing is a 404
// here, and conditions are honoured (RFC 9110, section 13.1).
func (h *home) mayPut(w http.ResponseWriter, r *http.Request, name string, info os.FileInfo) bool {
	if dir, err := h.fs.Stat(r.Context(), path.Dir(name)); err != nil || !dir.IsDir() {
		davError(w, http.StatusNotFound, `Sabre\DAV\Exception\NotFound`, "File with name /"+path.Dir(name)+" could not be located")
		return false
	}
	etag := ""
	if info != nil {
		etag = fmt.Sprintf("%q", fmt.Sprintf("%x%x", info.ModTime().UnixNano(), info.Size()))
	}
	const failed = `Sabre\DAV\Exception\PreconditionFailed`
	if want := r.Header.Get("If-None-Match"); info != nil && (want == "*" || listed(want, etag)) {
		davError(w, http.StatusPreconditionFailed, failed, "An If-None-Match header was specified, but the ETag matched (or * was specified).")
		return false
	}
	if want := r.Header.Get("If-Match"); want != "" && (info == nil || want != "*" && !listed(want, etag)) {
		davError(w, http.StatusPreconditionFailed, failed, "An If-Match header was specified, but none of the specified ETags matched.")
		return false
	}
	return true
}

// listed reports whether an entity tag is in a header's list.
func listed(header, etag string) bool {
	for t := range strings.SplitSeq(header, ",") {
		if etag != "" && strings.TrimSpace(t) == etag {
			return true
		}
	}
	return false
}

// mayCopy checks the Destination, of which only the path counts.
func (h *home) mayCopy(w http.ResponseWriter, r *http.Request, mount string) bool {
	raw := r.Header.Get("Destination")
	if raw == "" {
		davError(w, http.StatusBadRequest, `Sabre\DAV\Exception\BadRequest`, "The destination header was not supplied")
		return false
	}
	u, err := url.Parse(strings.ReplaceAll(raw, " ", "%20"))
	if err != nil {
		davError(w, http.StatusBadRequest, `Sabre\DAV\Exception\BadRequest`, "The destination header is malformed")
		return false
	}
	if !strings.HasPrefix(u.Path, mount+"/") {
		davError(w, http.StatusForbidden, `Sabre\DAV\Exception\Forbidden`, "Requested uri ("+u.Path+") is out of base uri ("+davRoot+")")
		return false
	}
	parent := path.Dir(path.Clean(strings.TrimPrefix(u.Path, mount)))
	if dir, err := h.fs.Stat(r.Context(), parent); err != nil || !dir.IsDir() {
		davError(w, http.StatusConflict, `Sabre\DAV\Exception\Conflict`, "The destination node is not found")
		return false
	}
	r.Header.Set("Destination", (&url.URL{Path: u.Path}).EscapedPath())
	return true
}

// davWriter turns the library's answer into Nextcloud's on the way out.
type davWriter struct {
	http.ResponseWriter
	method  string
	name    string
	existed bool          // something was there before
	old     bool          // under the older address
	buffer  *bytes.Buffer // set: the body is kept for finish
	started bool
	mute    bool // the body is dropped
}

// WriteHeader replaces errors by sabre's document and a PUT over an old file by
// 204, and says what Nextcloud says about a file.
func (d *davWriter) WriteHeader(status int) {
	if d.started {
		return
	}
	d.started = true
	if status >= 400 {
		d.mute, d.buffer = true, nil
		davError(d.ResponseWriter, status, sabreName(status), http.StatusText(status))
		return
	}
	h, kind := d.Header(), d.Header().Get("Content-Type")
	davHeaders(d.ResponseWriter)
	if d.old {
		h.Set("DAV", oldKinds)
	}
	if kind != "" {
		h.Set("Content-Type", kind)
	}
	if etag := h.Get("ETag"); etag != "" {
		h.Set("OC-ETag", etag)
	}
	switch d.method {
	case http.MethodPut, "MKCOL", "COPY", "MOVE", http.MethodDelete:
		d.mute = true
		h.Set("Content-Type", "text/html; charset=UTF-8")
		if d.method == http.MethodPut || d.method == "MKCOL" {
			h.Set("OC-FileId", fileID(d.name))
		}
		if d.method == http.MethodPut && d.existed {
			status = http.StatusNoContent
		}
	case "PROPFIND":
		h.Set("Content-Type", "application/xml; charset=utf-8")
		h.Set("Vary", "Brief,Prefer")
	}
	d.ResponseWriter.WriteHeader(status)
}

func (d *davWriter) Write(p []byte) (int, error) {
	if !d.started {
		d.WriteHeader(http.StatusOK)
	}
	switch {
	case d.mute:
		return len(p), nil
	case d.buffer != nil:
		return d.buffer.Write(p)
	}
	return d.ResponseWriter.Write(p)
}

// finish sends a kept body, its escapes in Nextcloud's lower case.
func (d *davWriter) finish() {
	if d.buffer == nil {
		return
	}
	d.ResponseWriter.Write(hrefs.ReplaceAllFunc(d.buffer.Bytes(), func(b []byte) []byte {
		return escapes.ReplaceAllFunc(b, bytes.ToLower)
	}))
}

func sabreName(status int) string {
	name := strings.ReplaceAll(http.StatusText(status), " ", "")
	return `Sabre\DAV\Exception\` + name
}

// fileID is eight digits and the instance, as OC-FileId has it.
func fileID(name string) string {
	h := fnv.New32a()
	io.WriteString(h, name)
	return fmt.Sprintf("%08d%s", h.Sum32()%1e8, sessionCookie)
}
