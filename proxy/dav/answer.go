package dav

import (
	"compress/gzip"
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"anteroom/integrations"
	"anteroom/session"
)

// answered makes the client's answer of the server's; an error is a *Refusal
// in its stead.
func (s *Service) answered(resp *http.Response) error {
	x := callOf(resp.Request)
	if no := s.trouble(x, resp); no != nil {
		return no
	}
	stripAnswer(resp.Header)
	oneType(resp)
	resp.Trailer = nil
	resp.Body = &untrailed{resp.Body, resp}
	if no := s.mapLocation(x, resp); no != nil {
		return no
	}
	s.guardContent(x, resp)
	if resp.StatusCode == http.StatusServiceUnavailable && resp.Header.Get("Retry-After") == "" {
		resp.Header.Set("Retry-After", strconv.Itoa(int(integrations.MaintenanceWait/time.Second)))
	}
	return s.mapBody(x, resp)
}

// trouble tells what is wrong between us and the server from what the server
// says to the client.
func (s *Service) trouble(x *call, resp *http.Response) *Refusal {
	if no := s.o.Access.Trouble(&x.grant, resp); no != nil {
		return no
	}
	if resp.StatusCode == http.StatusOK && asksXML(x.r.Method) && typeOf(resp) == "text/html" {
		return s.o.Access.NotDAV(&x.grant)
	}
	return nil
}

// asksXML knows the methods whose answer is XML.
func asksXML(method string) bool {
	return method == "PROPFIND" || method == "PROPPATCH" || method == "SEARCH"
}

// untrailed drops the trailer that comes with the end of a body.
type untrailed struct {
	io.ReadCloser
	resp *http.Response
}

// Read implements io.Reader.
func (u *untrailed) Read(p []byte) (int, error) {
	n, err := u.ReadCloser.Read(p)
	switch {
	case err == nil:
		return n, nil
	case !errors.Is(err, io.EOF) && !errors.Is(err, context.Canceled):
		err = session.WithoutQuotes(err)
	}
	u.resp.Trailer = nil
	return n, err
}

// oneType leaves one media type where the server names several, XML if that is
// among them; a multistatus that has none is XML (RFC 4918 §13).
func oneType(resp *http.Response) {
	types := resp.Header["Content-Type"]
	if len(types) == 0 && resp.StatusCode == http.StatusMultiStatus {
		resp.Header.Set("Content-Type", "application/xml; charset=utf-8")
	}
	if len(types) < 2 {
		return
	}
	chosen := types[0]
	for _, t := range types {
		if m, _, _ := mime.ParseMediaType(t); isXML(m) {
			chosen = t
		}
	}
	resp.Header["Content-Type"] = []string{chosen}
}

// typeOf is an answer's media type.
func typeOf(resp *http.Response) string {
	t, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	return t
}

// mapLocation maps the headers that say where something is. A redirect to
// anywhere else would lead the client, and its credential, away.
func (s *Service) mapLocation(x *call, resp *http.Response) *Refusal {
	for _, name := range []string{"Location", "Content-Location"} {
		value := resp.Header.Get(name)
		if value == "" {
			continue
		}
		delete(resp.Header, name)
		if mapped, ok := s.mounts.outwardFrom(x.mount, x.c.Who, s.o.Public).location(value); ok {
			resp.Header.Set(name, mapped)
		} else if name == "Location" && resp.StatusCode/100 == 3 {
			to := "elsewhere"
			if u, err := url.Parse(value); err == nil && u.Host != "" {
				to = u.Scheme + "://" + u.Host
			}
			s.o.Log.Warn("nextcloud redirects away from its DAV services; that was not followed", "integration", x.mount.Name, "to", to, "request_id", x.c.RequestID)
			return &Refusal{Status: http.StatusBadGateway, Reason: integrations.ReasonRedirect, Text: "Nextcloud redirects to another place; that is not followed."}
		}
	}
	return nil
}

// location maps a header's URL or path; false if it is on no mount.
func (o *outward) location(value string) (string, bool) {
	if strings.HasPrefix(value, "//") {
		return "", false
	}
	out, ok, _ := o.replace(nil, []byte(value))
	path := strings.TrimPrefix(string(out), string(o.public))
	path, _, _ = strings.Cut(path, "?")
	path, _, _ = strings.Cut(path, "#")
	if _, _, err := integrations.CleanPath(path); err != nil { // it would lead out again
		return "", false
	}
	return string(out), ok
}

// guardContent keeps a browser from running what somebody stored: here it
// would be a page or a script of our own origin. And it keeps caches from
// giving one caller what another was given.
func (s *Service) guardContent(x *call, resp *http.Response) {
	resp.Header.Set("X-Content-Type-Options", "nosniff")
	if c := strings.ToLower(resp.Header.Get("Cache-Control")); c == "" || strings.Contains(c, "public") || strings.Contains(c, "s-maxage") {
		resp.Header.Set("Cache-Control", "private, no-cache") // it is one caller's, whatever caches lie on its way
	}
	if content(x.r.Method) {
		resp.Header.Set("Content-Security-Policy", "sandbox; default-src 'none'; frame-ancestors 'none'")
	}
}

// mapBody has the paths in an answer's XML mapped on the way.
func (s *Service) mapBody(x *call, resp *http.Response) error {
	if content(x.r.Method) || !isXML(typeOf(resp)) || resp.Body == nil || resp.ContentLength == 0 {
		return nil
	}
	switch e := strings.ToLower(resp.Header.Get("Content-Encoding")); e {
	case "", "identity":
	case "gzip", "x-gzip":
		resp.Body = &unzipped{src: resp.Body}
	default:
		return &Refusal{Status: http.StatusBadGateway, Reason: integrations.ReasonNotDAV, Text: "Nextcloud answers in an encoding that was not asked for."}
	}
	o := s.mounts.outwardFrom(x.mount, x.c.Who, s.o.Public)
	resp.Body = newRewritten(resp.Body, o.replace)
	resp.ContentLength = -1
	for _, name := range []string{"Content-Length", "Content-Encoding", "Content-Md5", "Digest", "Content-Digest", "Repr-Digest", "Accept-Ranges", "Content-Range"} {
		delete(resp.Header, name)
	}
	return nil
}

// unzipped reads what a gzip stream holds; it begins to read when asked to.
type unzipped struct {
	src io.ReadCloser
	z   *gzip.Reader
}

// Read implements io.Reader.
func (u *unzipped) Read(p []byte) (n int, err error) {
	if u.z == nil {
		if u.z, err = gzip.NewReader(u.src); err != nil {
			return 0, err
		}
	}
	return u.z.Read(p)
}

// Close implements io.Closer.
func (u *unzipped) Close() error { return u.src.Close() }
