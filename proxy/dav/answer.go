package dav

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
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
		resp.Header.Set("Retry-After", strconv.Itoa(int(maintenanceWait/time.Second)))
	}
	return s.mapBody(x, resp)
}

const (
	maintenanceWait = 2 * time.Minute // what Nextcloud itself says, where it says anything
	throttledWait   = 30 * time.Second
	maxPeek         = 4 << 10
)

// trouble tells what is wrong between us and the server from what the server
// says to the client.
func (s *Service) trouble(x *call, resp *http.Response) *Refusal {
	switch status := resp.StatusCode; {
	case status == http.StatusUnauthorized:
		return s.unauthorized(x.r.Context(), x)
	case status == http.StatusTooManyRequests:
		wait := throttledWait
		if n, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && n > 0 {
			wait = time.Duration(min(n, 3600)) * time.Second
		}
		s.log(x, "nextcloud throttles our requests: let it trust this proxy, so that it counts by client (trusted_proxies)")
		return &Refusal{Status: status, Reason: reasonThrottled, Text: "Nextcloud asks to slow down.", RetryAfter: wait}
	case status == http.StatusServiceUnavailable:
		s.log(x, "nextcloud is not available: maintenance, or too much to do")
	case status == http.StatusInternalServerError && x.by != byService && peek(resp, `OC\User\LoginException`):
		return &Refusal{Status: http.StatusForbidden, Reason: reasonDisabled, Text: "Nextcloud has disabled this account."}
	case status == http.StatusBadRequest && !isXML(typeOf(resp)) && peek(resp, "rusted domain", "ntrusted domain"):
		s.log(x, "nextcloud does not trust the name it is called by: add the host of integrations."+x.mount.Name+".url to its trusted_domains")
		return &Refusal{Status: http.StatusBadGateway, Reason: reasonUntrusted, Text: "Nextcloud does not answer to the name it is called by; the operator of this gateway has to change that."}
	case status == http.StatusOK && !content(x.r.Method) && asksXML(x.r.Method) && typeOf(resp) == "text/html":
		s.log(x, "what answers is no DAV server: integrations."+x.mount.Name+".url should end in /remote.php/dav, or lie below it")
		return &Refusal{Status: http.StatusBadGateway, Reason: reasonNotDAV, Text: "What answers in Nextcloud's place is no DAV server."}
	}
	return nil
}

func (s *Service) log(x *call, text string) {
	s.o.Log.Warn(text, slog.String("integration", x.mount.Name), slog.String("request_id", x.c.RequestID))
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
	if err != nil {
		u.resp.Trailer = nil
	}
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

// peek looks for a text at the start of an answer's body, which stays whole.
func peek(resp *http.Response, texts ...string) bool {
	b := bufio.NewReaderSize(resp.Body, maxPeek)
	start, _ := b.Peek(maxPeek)
	resp.Body = struct {
		io.Reader
		io.Closer
	}{b, resp.Body}
	for _, t := range texts {
		if bytes.Contains(start, []byte(t)) {
			return true
		}
	}
	return false
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
			return &Refusal{Status: http.StatusBadGateway, Reason: reasonRedirect, Text: "Nextcloud redirects to another place; that is not followed."}
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
	if _, _, err := cleanPath(path); err != nil { // it would lead out again
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
		return &Refusal{Status: http.StatusBadGateway, Reason: reasonNotDAV, Text: "Nextcloud answers in an encoding that was not asked for."}
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
