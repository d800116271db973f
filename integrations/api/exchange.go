package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"

	"anteroom/integrations"
)

// exchange is one request and its answer.
type exchange struct {
	a      *API
	w      http.ResponseWriter
	r      *http.Request
	c      *Call
	op     *operation
	params map[string]string // of the path, decoded
	grant  integrations.Grant

	release func() // gives back what it holds; nil: nothing
	leftOut int    // files that the answer leaves out for their names

	status int
	begun  bool // the answer has begun
}

func (x *exchange) ctx() context.Context { return x.r.Context() }

// wire is a client for the operation's DAV service, with the caller's
// credential; the audit log learns whose.
func (x *exchange) wire() (*http.Client, error) {
	_, dav, _ := x.settings()
	g, err := x.a.o.Access.For(x.ctx(), x.op.Section, dav, &x.c.Caller)
	if err != nil {
		return nil, err
	}
	x.grant, x.c.As = g, g.As()
	return x.a.o.Access.Wire(x.a.o.Client, &x.grant), nil
}

// dav is where the operation's DAV service is, and how far the caller may go
// there.
func (x *exchange) dav() (client *http.Client, to *url.URL, scope []string, err error) {
	if client, err = x.wire(); err != nil {
		return nil, nil, nil, err
	}
	_, d, _ := x.settings()
	scope, ok := d.ScopeOf(x.c.Who)
	if !ok {
		return nil, nil, nil, &integrations.Problem{Status: http.StatusForbidden, Reason: integrations.ReasonScope, Text: "Your id is no name of a folder."}
	}
	if to, err = url.Parse(d.URL); err != nil {
		return nil, nil, nil, integrations.Unusable("Nextcloud", err)
	}
	return client, to, scope, nil
}

// begin sends the header. Answers are one caller's, whatever lies on their way.
func (x *exchange) begin(status int, media string) {
	h := x.w.Header()
	if media != "" {
		h.Set("Content-Type", media)
	}
	h.Set("X-Content-Type-Options", "nosniff")
	if h.Get("Cache-Control") == "" {
		h.Set("Cache-Control", "private, no-cache")
	}
	x.status, x.begun = status, true
	x.w.WriteHeader(status)
}

// json answers with a value. Its ETag, if it has one, is not said twice.
func (x *exchange) json(status int, v any) error {
	var b bytes.Buffer
	if err := encode(&b, v); err != nil {
		return err
	}
	x.begin(status, "application/json")
	if x.r.Method != http.MethodHead {
		x.w.Write(b.Bytes()) // whoever left needs no answer
	}
	return nil
}

// encode writes a value as JSON that stays inert within a page.
func encode(w io.Writer, v any) error { return json.NewEncoder(w).Encode(v) }

// nothing answers without a body.
func (x *exchange) nothing(status int) error {
	x.begin(status, "")
	return nil
}

// etag says what version an answer is of, and reports whether the caller has
// that version (RFC 9110 §13.1.2).
func (x *exchange) etag(tag string) (has bool) {
	if tag == "" {
		return false
	}
	x.w.Header().Set("ETag", tag)
	if x.r.Method != http.MethodGet && x.r.Method != http.MethodHead {
		return false
	}
	for _, t := range strings.Split(x.r.Header.Get("If-None-Match"), ",") {
		if t = strings.TrimPrefix(strings.TrimSpace(t), "W/"); t == strings.TrimPrefix(tag, "W/") || t == "*" {
			return true
		}
	}
	return false
}

// versioned answers with a value that has an ETag.
func (x *exchange) versioned(status int, tag string, v any) error {
	if x.etag(tag) {
		return x.nothing(http.StatusNotModified)
	}
	return x.json(status, v)
}

// list is an answer {"items": [...], ...} that is written as it comes about.
type list struct {
	x     *exchange
	n     int
	inner bool // what is added is within an item
	bytes int  // of all items so far
	buf   bytes.Buffer
}

// listing begins a list with its first item: until then the operation can
// still be refused.
func (x *exchange) listing() *list { return &list{x: x} }

// add appends an item.
func (l *list) add(v any) error {
	if l.n > 0 {
		l.buf.WriteByte(',')
	}
	before := l.buf.Len()
	if err := encode(&l.buf, v); err != nil {
		return err
	}
	l.buf.Truncate(l.buf.Len() - 1) // the encoder ends each with a line
	l.bytes += l.buf.Len() - before
	l.n++
	if l.buf.Len() < flushSize {
		return nil
	}
	return l.flush()
}

// within begins an item with "items" of its own, which are what is added until
// the next begins. head is what else it says, a struct that is not empty.
func (l *list) within(head any) error {
	if l.inner {
		l.buf.WriteString("]},")
	}
	if err := encode(&l.buf, head); err != nil {
		return err
	}
	l.buf.Truncate(l.buf.Len() - len("}\n"))
	l.buf.WriteString(`,"items":[`)
	l.inner, l.n = true, 0
	return nil
}

const flushSize = 16 << 10

// errLeft: whom the answer is for is there no more.
var errLeft = errors.New("the caller left")

func (l *list) flush() error {
	if !l.x.begun {
		l.x.begin(http.StatusOK, "application/json")
		l.write([]byte(`{"items":[`))
	}
	err := l.write(l.buf.Bytes())
	l.buf.Reset()
	return err
}

func (l *list) write(b []byte) error {
	if l.x.r.Method == http.MethodHead {
		return nil
	}
	if _, err := l.x.w.Write(b); err != nil {
		return errors.Join(errLeft, err)
	}
	return nil
}

// end ends the list with what else is to be said: a struct, or nil.
func (l *list) end(more any) error {
	if l.inner {
		l.buf.WriteString("]}")
	}
	l.buf.WriteByte(']')
	if more != nil {
		var b bytes.Buffer
		if err := encode(&b, more); err != nil {
			return err
		}
		if rest := bytes.TrimSpace(b.Bytes()); len(rest) > 2 { // not {}
			l.buf.WriteByte(',')
			l.buf.Write(rest[1 : len(rest)-1])
		}
	}
	l.buf.WriteString("}\n")
	return l.flush()
}
