package proxy

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"anteroom/integrations"
	"anteroom/proxy/audit"
	"anteroom/proxy/authn"
	"anteroom/proxy/authz"
	"anteroom/proxy/dav"
	"anteroom/session"
)

// openDAV makes the passthrough and what knows its callers: by what a request
// says itself before what a browser adds.
func (s *Server) openDAV() (err error) {
	said, err := authn.NewAuthorization(authn.Options{Clients: s.o.Clients, People: s.o.People, Tokens: s.o.Tokens, Assertions: ownTokens{s, func() []string { return s.accepted }}, Shared: s.o.Buckets, Marks: s.o.Marks, Now: s.o.Now, Registry: s.o.Registry})
	if err != nil {
		return err
	}
	s.said, s.programs = said, authn.Chain{said, s.callers}
	s.access = &integrations.Access{Granted: s.granted(), Refused: said.Forget, Public: originOf(s.public), Log: s.o.Log}
	s.dav, err = dav.New(s.o.Integrations, dav.Options{Client: s.o.Nextcloud, Public: originOf(s.public), Ours: s.oursIn,
		Access: s.access, Traced: s.tracedDAV, Log: s.o.Log, Registry: s.o.Registry})
	return err
}

// tracedDAV tells of the requests to a DAV server.
func (s *Server) tracedDAV(next http.RoundTripper) http.RoundTripper {
	return s.o.Trace.Transport(next, "dav")
}

// layDAV makes a door of each DAV service, and of the addresses at which
// clients look for them (RFC 6764 §5).
func (s *Server) layDAV() {
	if s.dav == nil {
		return
	}
	first := ""
	led := map[string]string{}
	for _, m := range s.dav.Mounts() {
		d := &door{name: doorDAV, refuse: refuseByDAV, streams: true, callers: s.programs, answer: s.passDAV, permits: permitsDAV(m), words: m.String()}
		s.own[m.Path], s.own[m.Path+"/"] = d, d
		led[m.Name] = m.Path + "/"
		if m.Name == "webdav" {
			first = m.Path + "/"
		}
	}
	for _, kind := range []string{"caldav", "carddav"} {
		to := led[kind]
		if to == "" {
			to = first
		}
		if to == "" {
			continue
		}
		s.own["/.well-known/"+kind] = &door{name: doorDAV, allow: authz.Allow{Public: true}, refuse: refuseByDAV, words: "leads clients to " + to, answer: func(x *exchange, _ *session.Identity) error {
			x.Header().Set("Location", to)
			x.WriteHeader(http.StatusMovedPermanently)
			return nil
		}}
	}
}

// permitsDAV says who may pass, and to whom may not, which key would change it.
func permitsDAV(m *dav.Mount) func(*session.Identity) error {
	return func(who *session.Identity) error {
		if m.Allows(who) {
			return nil
		}
		return &refusal{status: http.StatusForbidden, reason: reasonNotAllowed, style: refuseByDAV,
			text: fmt.Sprintf("You are known here, but integrations.%s.allow does not let you use this.", m.Name)}
	}
}

// oursIn reports whether a URL's host, with its port if it has one, is answered
// to here. Whether it says http or https does not matter: behind a front proxy
// that ends TLS, clients and we see different ones.
func (s *Server) oursIn(host string) bool {
	host = lower(host)
	return s.origins.ours(canonicalHost(host, "https")) || s.origins.ours(canonicalHost(host, "http"))
}

// passDAV answers from Nextcloud, and writes down what was done.
func (s *Server) passDAV(x *exchange, who *session.Identity) error {
	if x.session != nil {
		if err := s.ownPage(x, refuseByDAV); err != nil {
			return err
		}
	}
	body := &counted{ReadCloser: x.r.Body}
	if x.r.Body != nil && x.r.Body != http.NoBody {
		x.r.Body = body
	}
	c := &dav.Call{Caller: s.caller(x, who), Path: escapedPath(x.r)}
	var err error
	defer func() { s.accessed(x, audit.Event{As: c.As, To: c.To, Received: body.n.Load()}, err) }()
	err = s.dav.Serve(x, x.r, c)
	var no *dav.Refusal
	if errors.As(err, &no) {
		err = x.endedHere(&refusal{status: no.Status, reason: no.Reason, text: no.Text, cause: no.Err, style: refuseByDAV, after: no.RetryAfter, recorded: true})
	}
	return err
}

// caller is who asks, and what they bring that opens Nextcloud.
func (s *Server) caller(x *exchange, who *session.Identity) integrations.Caller {
	c := integrations.Caller{Who: who, Own: x.own, Session: sessionCredential(x.session),
		ForwardedFor: x.hop.ForwardedFor, RequestID: x.hop.RequestID, Traceparent: x.hop.Traceparent}
	if who.Method == session.ByAssertion { // what it stands for is a session's
		c.Own, c.Session = session.Credential{}, c.Own
	}
	return c
}

// ownPage refuses what a page of another site makes a browser do with its
// session here, and keeps files from being run as scripts of ours.
func (s *Server) ownPage(x *exchange, style refusalStyle) error {
	if err := s.fromHere(x); err != nil {
		return &refusal{status: http.StatusForbidden, reason: reasonOrigin, cause: err, style: style}
	}
	switch dest := x.r.Header.Get("Sec-Fetch-Dest"); dest {
	case "script", "style", "worker", "sharedworker", "serviceworker", "iframe", "frame", "embed", "object", "manifest", "xslt", "audioworklet", "paintworklet":
		return &refusal{status: http.StatusForbidden, reason: reasonOrigin, text: "Files are not served to be run in a page.", style: style}
	}
	return nil
}

// sessionCredential is what a session has for Nextcloud: the token of its
// built-in OAuth2. That of an OpenID Connect provider opens nothing there.
func sessionCredential(s *session.Session) session.Credential {
	if s == nil || s.Who().Method != session.ByNextcloud {
		return session.Credential{}
	}
	return session.Credential{Secret: s.Grant().Tokens.Access}
}

// counted counts what is read of a body. The connection to the server may still
// read on while the answer is over.
type counted struct {
	io.ReadCloser
	n atomic.Int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.n.Add(int64(n))
	return n, err
}

// scripted reports whether a page's script asks: a challenge would have the
// browser ask the person for a password in a box of its own.
func scripted(r *http.Request) bool {
	mode := r.Header.Get("Sec-Fetch-Mode")
	return r.Header.Get("X-Requested-With") != "" || mode != "" && mode != "navigate"
}

// davError answers as sabre/dav does, whose errors DAV clients know
// (RFC 4918 §16), with a challenge (RFC 7617, RFC 6750) on a 401.
func (s *Server) davError(x *exchange, no *refusal) {
	h := x.Header()
	s.corsReadable(x)
	if no.status == http.StatusUnauthorized {
		if !scripted(x.r) {
			h.Add("WWW-Authenticate", `Basic realm="Anteroom", charset="UTF-8"`)
		}
		h.Add("WWW-Authenticate", `Bearer realm="Anteroom"`)
	}
	text := no.text
	if text == "" {
		text = reasonText[no.reason]
	}
	h.Set("Content-Type", "application/xml; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	var b strings.Builder
	b.WriteString(`<?xml version="1.0" encoding="utf-8"?>` + "\n" + `<d:error xmlns:d="DAV:" xmlns:s="http://sabredav.org/ns">` + "\n  <s:exception>")
	b.WriteString(`Sabre\DAV\Exception\` + exceptions[no.status])
	b.WriteString("</s:exception>\n  <s:message>")
	xml.EscapeText(&b, []byte(text+" ("+no.reason+")"))
	b.WriteString("</s:message>\n</d:error>\n")
	if x.r.Method == http.MethodHead {
		x.WriteHeader(no.status)
		return
	}
	h.Set("Content-Length", strconv.Itoa(b.Len()))
	x.WriteHeader(no.status)
	io.WriteString(x, b.String())
}

// exceptions are sabre/dav's names for statuses.
var exceptions = map[int]string{
	http.StatusBadRequest: "BadRequest", http.StatusUnauthorized: "NotAuthenticated", http.StatusForbidden: "Forbidden",
	http.StatusNotFound: "NotFound", http.StatusMethodNotAllowed: "MethodNotAllowed", http.StatusLengthRequired: "LengthRequired",
	http.StatusRequestEntityTooLarge: "RequestEntityTooLarge", http.StatusUnsupportedMediaType: "UnsupportedMediaType",
	http.StatusTooManyRequests: "TooManyRequests", http.StatusInternalServerError: "InternalServerError",
	http.StatusBadGateway: "BadGateway", http.StatusServiceUnavailable: "ServiceUnavailable", http.StatusGatewayTimeout: "GatewayTimeout",
}

// waitOf is what a refused caller is told to wait; zero: nothing.
func waitOf(no *refusal) time.Duration {
	switch {
	case no.after > 0:
		return no.after
	case no.status == http.StatusServiceUnavailable:
		return retryAfter
	}
	return 0
}
