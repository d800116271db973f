package demo

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const davMethods = "OPTIONS, GET, HEAD, DELETE, PROPFIND, PUT, PROPPATCH, COPY, MOVE, REPORT"

// davCall is one request of somebody who is signed in.
type davCall struct {
	n    *Nextcloud
	r    *http.Request
	who  account
	home *home   // of who; locked while the call is answered
	root davRoot // the tree it came to
	path string  // in Nextcloud's newer tree, without slashes at the ends
	body []byte
}

// reply is an answer that has not been sent yet.
type reply struct {
	status int
	header http.Header
	body   []byte
	data   *content // set: the body, of which ranges may be asked
}

// content is what GET sends.
type content struct {
	data     []byte
	modified time.Time
}

// fault is a refusal in sabre's words.
type fault struct {
	status    int
	exception string // "": by the status
	text      string
	more      []element
	header    http.Header
}

func (f *fault) Error() string { return fmt.Sprintf("%d: %s", f.status, f.text) }

// refused is a fault whose exception goes by its status.
func refused(status int, text string, more ...element) *fault {
	return &fault{status: status, text: text, more: more}
}

func notHere(text string) *fault { return refused(http.StatusNotFound, text) }

// notAllowed refuses a method. Nextcloud names the same methods everywhere.
func notAllowed(text string) *fault {
	f := refused(http.StatusMethodNotAllowed, text)
	f.header = http.Header{"Allow": {davMethods}}
	return f
}

// done is an answer without a body; headers are pairs.
func done(status int, headers ...string) *reply {
	a := &reply{status: status, header: http.Header{"Content-Length": {"0"}}}
	for i := 0; i+1 < len(headers); i += 2 {
		a.header.Set(headers[i], headers[i+1])
	}
	if status == http.StatusNoContent {
		a.header.Del("Content-Length")
	}
	return a
}

// tagged is done with an ETag, which Nextcloud says twice.
func tagged(status int, etag string, headers ...string) *reply {
	return done(status, append(headers, "ETag", etag, "OC-ETag", etag)...)
}

// send writes a reply or what went wrong. It is the only place that does.
func (c *davCall) send(w http.ResponseWriter, a *reply, err error) {
	davHeaders(w)
	if f := (*fault)(nil); errors.As(err, &f) {
		c.kinds(w.Header(), true)
		f.send(w)
		return
	}
	if err != nil {
		refused(http.StatusInternalServerError, err.Error()).send(w)
		return
	}
	h := w.Header()
	c.kinds(h, false)
	for k, v := range a.header {
		h[k] = v
	}
	if a.data != nil {
		http.ServeContent(&rangeFaults{ResponseWriter: w, size: len(a.data.data), asked: c.r.Header.Get("Range")}, c.r, "", a.data.modified, bytes.NewReader(a.data.data))
		return
	}
	if c.r.Method == "PROPFIND" && c.n.knobs.zips(c.r) {
		a.body = zipped(a.body)
		h.Set("Content-Encoding", "gzip")
	}
	w.WriteHeader(a.status)
	w.Write(a.body)
}

// kinds says what is supported, which Nextcloud does only in some answers.
func (c *davCall) kinds(h http.Header, failed bool) {
	switch c.r.Method {
	case "PROPFIND":
		h.Set("Vary", "Brief,Prefer")
		h.Set("DAV", c.root.kinds(c.path))
	case http.MethodOptions:
		if !failed {
			h.Set("DAV", c.root.kinds(c.path))
		}
	}
}

// send answers with sabre's error document.
func (f *fault) send(w http.ResponseWriter) {
	exception := f.exception
	if exception == "" {
		exception = `Sabre\DAV\Exception\` + strings.ReplaceAll(http.StatusText(f.status), " ", "")
	}
	for k, v := range f.header {
		w.Header()[k] = v
	}
	inside := append([]element{el(nsSabre, "exception", exception), el(nsSabre, "message", f.text)}, f.more...)
	w.Header().Set("Content-Type", "application/xml; charset=utf-8")
	w.Header().Del("Content-Length")
	w.WriteHeader(f.status)
	w.Write(newPrinter("d s", "  ").document(`<?xml version="1.0" encoding="utf-8"?>`, el(nsDAV, "error", inside)))
}

// rangeFaults makes the library's refusal of a range Nextcloud's.
type rangeFaults struct {
	http.ResponseWriter
	size  int
	asked string
	mute  bool
}

func (w *rangeFaults) WriteHeader(status int) {
	if status != http.StatusRequestedRangeNotSatisfiable {
		w.ResponseWriter.WriteHeader(status)
		return
	}
	w.mute = true
	w.Header().Del("Content-Range")
	start, _, _ := strings.Cut(strings.TrimPrefix(w.asked, "bytes="), "-")
	f := refused(status, fmt.Sprintf("The start offset (%s) exceeded the size of the entity (%d)", start, w.size))
	f.send(w.ResponseWriter)
}

func (w *rangeFaults) Write(p []byte) (int, error) {
	if w.mute {
		return len(p), nil
	}
	return w.ResponseWriter.Write(p)
}

func zipped(data []byte) []byte {
	var buf bytes.Buffer
	z := gzip.NewWriter(&buf)
	z.Write(data) // to memory: it does not fail
	z.Close()
	return buf.Bytes()
}

// readBody takes in the body. One without a length reaches PHP empty: the web
// server passes bodies on before they have come.
func (c *davCall) readBody() error {
	body, err := io.ReadAll(c.r.Body)
	if err != nil { // what is there stays until all of it has come
		return refused(http.StatusBadRequest, fmt.Sprintf("Expected filesize of %d bytes but read %d", c.r.ContentLength, len(body)))
	}
	if c.r.ContentLength >= 0 {
		c.body = body
	}
	return nil
}

// xml is the body as a document.
func (c *davCall) xml() (element, error) {
	if len(c.body) > maxBody {
		return element{}, refused(http.StatusBadRequest, "The XML is too large")
	}
	e, err := parseXML(c.body)
	if err != nil {
		return element{}, refused(http.StatusBadRequest, "The request body could not be parsed")
	}
	return e, nil
}

// destination is where COPY or MOVE leads. Of a URL only the path counts.
func (c *davCall) destination() (string, error) {
	raw := c.r.Header.Get("Destination")
	if raw == "" {
		return "", refused(http.StatusBadRequest, "The destination header was not supplied")
	}
	return c.placeOf(raw)
}

// placeOf is what an href means in Nextcloud's newer tree.
func (c *davCall) placeOf(href string) (string, error) {
	u, err := url.Parse(strings.ReplaceAll(strings.TrimSpace(href), " ", "%20"))
	if err != nil {
		return "", refused(http.StatusBadRequest, "The uri is malformed")
	}
	p, ok := strings.CutPrefix(u.Path+"/", c.root.prefix)
	if !ok {
		return "", refused(http.StatusForbidden, "Requested uri ("+u.Path+") is out of base uri ("+c.root.prefix+")")
	}
	return c.root.inner(tidy(p), c.who.UID), nil
}

// tidy drops empty and single-dot segments, and slashes at the ends.
func tidy(p string) string {
	var kept []string
	for s := range strings.SplitSeq(p, "/") {
		if s != "" && s != "." {
			kept = append(kept, s)
		}
	}
	return strings.Join(kept, "/")
}
