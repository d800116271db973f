package api

import (
	"io"
	"mime"
	"net/http"
	"path"

	"anteroom/integrations"
	"anteroom/integrations/files"
)

// Content passes the content of files through: a GET or PUT of a path on the
// server of a DAV service, percent-encoded, with all that /dav does about
// ranges, conditions, lengths and stalls. It returns an *integrations.Problem
// having written nothing.
type Content func(w http.ResponseWriter, r *http.Request, c *integrations.Caller, service, place string) error

type downloadFile struct {
	atPath
	Range       string `header:"Range" doc:"such as bytes=0-99"`
	IfRange     string `header:"If-Range"`
	IfNoneMatch string `header:"If-None-Match"`
	IfMatch     string `header:"If-Match"`
}

func (x *exchange) downloadFile(in *downloadFile) error {
	f, p, err := x.fileAt("path", in.Path)
	if err != nil {
		return err
	}
	if p == "/" {
		return integrations.Invalid("path", "is a folder, which has no content.")
	}
	x.w.Header().Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": path.Base(p)}))
	return x.pass(http.MethodGet, f.Place(p), func() error {
		e, err := f.Stat(x.ctx(), p)
		if err == nil && e.Folder {
			err = &integrations.Problem{Status: http.StatusConflict, Reason: integrations.ReasonConflict, Field: "path", Text: "That is a folder, which has no content."}
		}
		return err
	})
}

type uploadFile struct {
	atPath
	IfMatch     string   `header:"If-Match" doc:"only while this is the file's ETag"`
	IfNoneMatch string   `header:"If-None-Match" doc:"*: only if there is no such file"`
	Body        struct{} `body:"stream" doc:"the content; its length need not be known"`
}

func (x *exchange) uploadFile(in *uploadFile) error {
	if _, ok := x.r.Header["Content-Range"]; ok { // RFC 9110 §14.5: else a part would be taken for the whole
		return integrations.Invalid("Content-Range", "is not answered: a file is put there as a whole.")
	}
	if err := uncoded(x.r); err != nil { // nobody would know that what is stored is compressed
		return err
	}
	f, p, err := x.changeable("path", in.Path)
	if err != nil {
		return err
	}
	return x.pass(http.MethodPut, f.Place(p), nil)
}

// pass has the content of a file pass through. doubted is asked about an answer
// that may be no file's, before it begins; nil: nobody is.
func (x *exchange) pass(method, place string, doubted func() error) error {
	r := x.r.Clone(x.r.Context())
	if r.Method != http.MethodHead {
		r.Method = method
	}
	for name := range r.Header { // what may be said about content, and nothing of DAV's
		if !contentHeaders[name] {
			delete(r.Header, name)
		}
	}
	w := &told{x: x, doubted: doubted}
	if err := x.a.o.Content(w, r, &x.c.Caller, x.op.Section, files.Escaped(place)); err != nil {
		x.w.Header().Del("Content-Disposition")
		return err
	}
	return w.problem
}

var contentHeaders = map[string]bool{"Range": true, "If-Range": true, "If-Match": true, "If-None-Match": true, "If-Modified-Since": true, "If-Unmodified-Since": true,
	"Content-Type": true, "Content-Length": true, "Accept": true, "Accept-Encoding": true, "Expect": true, "User-Agent": true}

// told makes a refusal of the server's ours, and keeps from its answer what a
// program has use for.
type told struct {
	x       *exchange
	doubted func() error
	problem error
	header  http.Header
}

// Header implements http.ResponseWriter.
func (t *told) Header() http.Header {
	if t.header == nil {
		t.header = http.Header{}
	}
	return t.header
}

var kept = []string{"Content-Type", "Content-Length", "Content-Range", "Content-Encoding", "Accept-Ranges", "Etag", "Last-Modified", "Content-Security-Policy"}

// WriteHeader implements http.ResponseWriter.
func (t *told) WriteHeader(status int) {
	if t.problem != nil || t.x.begun {
		return
	}
	switch p := integrations.Answered(&http.Response{StatusCode: status, Status: http.StatusText(status)}, "file"); {
	case p == nil && status == http.StatusOK && t.doubted != nil && t.header.Get("Etag") == "": // Nextcloud has a few words for whoever gets a folder
		t.problem = t.doubted()
	case p == nil:
	case status == http.StatusNotFound && t.x.op.Changes:
		t.problem = &integrations.Problem{Status: http.StatusConflict, Reason: integrations.ReasonConflict, Text: "The folder that it would lie in does not exist."}
	case status == http.StatusConflict && t.x.op.Changes, status == http.StatusMethodNotAllowed && t.x.op.Changes:
		t.problem = &integrations.Problem{Status: http.StatusConflict, Reason: integrations.ReasonConflict, Text: "There is a folder at that path, or there is none that the file would lie in."}
	default:
		t.problem = p
	}
	if t.problem != nil {
		t.x.w.Header().Del("Content-Disposition")
		return
	}
	h := t.x.w.Header()
	for _, name := range kept {
		if v, ok := t.header[name]; ok {
			h[name] = v
		}
	}
	if t.x.op.Changes {
		h.Del("Content-Type")
		h.Set("Content-Length", "0")
		if status == http.StatusNoContent {
			h.Del("Content-Length")
		}
	}
	t.x.begin(status, "")
}

// Write implements http.ResponseWriter.
func (t *told) Write(b []byte) (int, error) {
	if t.problem == nil && !t.x.begun {
		t.WriteHeader(http.StatusOK)
	}
	if t.problem != nil || t.x.op.Changes {
		return len(b), nil
	}
	return t.x.w.Write(b)
}

// FlushError sends what there is, once it is certain that the answer is the
// server's: flushing begins an answer.
func (t *told) FlushError() error {
	if !t.x.begun {
		return nil
	}
	return http.NewResponseController(t.x.w).Flush()
}

// ReadFrom lets content go its fastest way.
func (t *told) ReadFrom(r io.Reader) (int64, error) {
	if rf, ok := t.x.w.(io.ReaderFrom); ok && t.x.begun && !t.x.op.Changes {
		return rf.ReadFrom(r)
	}
	return io.Copy(struct{ io.Writer }{t}, r)
}

// Unwrap lets http.ResponseController reach deadlines.
func (t *told) Unwrap() http.ResponseWriter { return t.x.w }
