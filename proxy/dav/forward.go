package dav

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httputil"
	"sync/atomic"
)

// forward sends the request on and the answer back.
func (s *Service) forward(w http.ResponseWriter, x *call) {
	r := x.r.WithContext(context.WithValue(x.r.Context(), callKey{}, x))
	if x.sized {
		again := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(x.body)), nil }
		r.Body, _ = again()
		r.GetBody, r.ContentLength, r.TransferEncoding = again, int64(len(x.body)), nil
		if len(x.body) == 0 {
			r.Body = http.NoBody
		}
	}
	if !x.sized && r.ContentLength != 0 {
		if r.ContentLength < 0 {
			r.ContentLength, r.TransferEncoding = x.length, nil
		}
		r.Body = &watched{ReadCloser: r.Body, left: r.ContentLength, broken: &x.broken}
	}
	s.proxy.ServeHTTP(&finalOnly{w, http.Header{}}, r)
}

// sending sends a call's request, and once more where the service account's
// password was exchanged at this moment.
type sending struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (s sending) RoundTrip(r *http.Request) (*http.Response, error) {
	return callOf(r).grant.Send(s.next, r)
}

// watched notes that a client broke its body off, or sent another length than
// it said: that the server is not sent all of it then is not the server's fault.
type watched struct {
	io.ReadCloser
	left   int64
	broken *atomic.Bool
}

var errLength = errors.New("the body is not as long as was said")

// Read implements io.Reader. The last of a body is not given out before it is
// certain that it is the last: the server would take it for whole.
func (w *watched) Read(p []byte) (int, error) {
	n, err := w.ReadCloser.Read(p)
	w.left -= int64(n)
	if w.left == 0 && err == nil {
		err = w.end()
	}
	if w.left < 0 || err != nil && (w.left > 0 || !errors.Is(err, io.EOF)) {
		w.broken.Store(true)
		if errors.Is(err, io.EOF) || err == nil {
			err = errLength
		}
		return 0, err
	}
	return n, err
}

// end is io.EOF where nothing more comes.
func (w *watched) end() error {
	var one [1]byte
	for {
		switch n, err := w.ReadCloser.Read(one[:]); {
		case n > 0:
			return errLength
		case err != nil:
			return err
		}
	}
}

// finalOnly lets no informational answer through: what matters of them,
// 100 Continue, is said by our own server. ReverseProxy clears the header after
// each, so that it has one of its own: what stood in the client's stays.
type finalOnly struct {
	http.ResponseWriter
	h http.Header
}

// Header implements http.ResponseWriter.
func (w *finalOnly) Header() http.Header { return w.h }

// WriteHeader implements http.ResponseWriter.
func (w *finalOnly) WriteHeader(status int) {
	if status < 200 {
		return
	}
	h := w.ResponseWriter.Header()
	for name, values := range w.h {
		h[name] = append(h[name], values...)
	}
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach Flush.
func (w *finalOnly) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// rewrite makes the server's request of the client's. ReverseProxy has removed
// hop-by-hop headers before.
func (s *Service) rewrite(p *httputil.ProxyRequest) {
	x := callOf(p.In)
	s.address(p.Out, x, x.at.raw, p.In.URL.RawQuery)
	delete(p.Out.Header, "Upgrade")
	delete(p.Out.Header, "Connection")
	p.Out.Trailer = nil
	if x.at.aside {
		p.Out.Header.Set("Depth", "0") // again: the client's Connection may have named it
	}
	if !content(p.In.Method) {
		for _, name := range []string{"Accept-Encoding", "Range", "If-Range"} { // what is mapped has to be read, from its start
			delete(p.Out.Header, name)
		}
	}
	if x.sized {
		delete(p.Out.Header, "Expect")
		delete(p.Out.Header, "Content-Md5")
		delete(p.Out.Header, "Digest")
		delete(p.Out.Header, "Content-Digest")
	}
}

// address points a request at a path on the server, with what it may know.
func (s *Service) address(r *http.Request, x *call, raw, query string) {
	to := x.mount.to
	r.URL.Scheme, r.URL.Host, r.URL.User = to.Scheme, to.Host, nil
	r.URL.Opaque, r.URL.RawQuery, r.URL.ForceQuery = raw, query, false
	r.Host = to.Host
	h := r.Header
	stripRequest(h)
	x.grant.Credential.Set(h)
	h["X-Forwarded-For"] = []string{x.c.ForwardedFor}
	h["X-Request-Id"] = []string{x.c.RequestID}
	if x.c.Traceparent != "" {
		h["Traceparent"] = []string{x.c.Traceparent}
	}
	if _, ok := h["User-Agent"]; !ok {
		h["User-Agent"] = nil // none, rather than Go's
	}
}

// content reports whether what a method is about is content, which passes as
// it is, and not XML about resources.
func content(method string) bool { return method == http.MethodGet || method == http.MethodHead }
