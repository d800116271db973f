package trace

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// Incoming is what a request's span begins with.
type Incoming struct {
	Own    Context // that the request has, with the id for its span; its Sampled is not looked at
	Parent Context // of a trusted proxy, or of the sign-in that goes on; zero: the trace begins here
	Link   Context // that led here, too
}

// Begin begins the span of a request. What is done with the context that it
// returns is within it. t must not be nil.
func (t *Tracer) Begin(ctx context.Context, in Incoming) (context.Context, *Span) {
	s := &Span{t: t, c: in.Own, kind: kindServer, link: in.Link, start: time.Now()}
	if in.Parent.Valid() {
		s.c.Trace, s.c.State, s.c.Sampled, s.parent = in.Parent.Trace, in.Parent.State, in.Parent.Sampled, in.Parent.Span
	} else {
		s.c.Sampled = t.sampled(s.c.Trace)
	}
	s.attrs = s.room[:0]
	return context.WithValue(ctx, spanKey{}, s), s
}

// Sampled reports whether anybody will read the span.
func (s *Span) Sampled() bool { return s != nil && s.c.Sampled }

// Answered is what became of a request. Each text is of a set closed in code
// or configuration; "" is left out.
type Answered struct {
	Method  string // any; one that is not well known is _OTHER
	Route   string // as it is configured, not as it was asked for
	Door    string
	Dialect string // in which a front proxy asked
	Scheme  string
	Host    string // one of ours
	Reason  string // of a refusal
	Status  int
	Proto   string // HTTP/1.1
}

// End ends a request's span.
func (s *Span) End(a Answered) {
	if !s.Sampled() {
		return
	}
	method := known(a.Method)
	s.name = method
	if a.Route != "" {
		s.name += " " + a.Route
	}
	s.set("http.request.method", method)
	s.set("http.route", a.Route)
	s.set("url.scheme", a.Scheme)
	s.set("server.address", a.Host)
	s.set("network.protocol.version", protocols[a.Proto])
	s.setNumber("http.response.status_code", int64(a.Status))
	s.set("anteroom.door", a.Door)
	s.set("anteroom.dialect", a.Dialect)
	s.set("anteroom.verdict", verdict(a.Reason))
	s.set("anteroom.reason", a.Reason)
	if s.failed = a.Status >= 500; s.failed {
		s.set("error.type", strconv.Itoa(a.Status))
	}
	s.finish()
}

func verdict(reason string) string {
	if reason != "" {
		return "refused"
	}
	return "answered"
}

var protocols = map[string]string{"HTTP/1.0": "1.0", "HTTP/1.1": "1.1", "HTTP/2.0": "2"}

// methods are those that are told apart: HTTP's own, PATCH and WebDAV's.
var methods = []string{
	http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions, http.MethodPatch,
	"PROPFIND", "PROPPATCH", "MKCOL", "COPY", "MOVE", "LOCK", "UNLOCK", "REPORT", "SEARCH", "MKCALENDAR",
}

// known is a method, if it is a known one; anybody can make up others.
func known(method string) string {
	if method == "" {
		return http.MethodGet
	}
	if slices.Contains(methods, method) {
		return method
	}
	return "_OTHER"
}
