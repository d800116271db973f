package proxy

import (
	"strings"

	"anteroom/proxy/trace"
)

// traced begins the span of a request that has its name. It belongs to the
// trace of a trusted proxy's where that is believed, its sampling, too, and to
// nobody else's; a sign-in that comes back belongs to the trace in which it began.
// Where nothing is traced, it does nothing.
func (s *Server) traced(x *exchange) {
	if s.o.Trace == nil {
		return
	}
	var in trace.Incoming
	in.Own, _ = trace.Parse(x.hop.Traceparent)
	if x.origin.traces {
		in.Parent, _ = trace.Parse(x.r.Header.Get("Traceparent"))
		in.Parent.State = x.hop.Tracestate
	}
	if escapedPath(x.r) == s.o.SignIn.CallbackPath() {
		if began, ok := trace.Parse(s.o.SignIn.Began(x.r)); ok {
			in.Parent, in.Link = began, in.Parent
		}
	}
	ctx, span := s.o.Trace.Begin(x.r.Context(), in)
	x.span, x.r = span, x.r.WithContext(ctx)
	x.hop.Traceparent = span.Traceparent()
	if in.Link.Valid() {
		x.hop.Tracestate = ""
	}
}

// endSpan says in a request's span what became of it.
func (s *Server) endSpan(x *exchange) {
	if !x.span.Sampled() {
		return
	}
	a := trace.Answered{Method: x.r.Method, Route: s.routeOf(x), Door: x.door, Reason: x.reason, Status: x.status, Scheme: x.origin.proto, Proto: x.r.Proto}
	if s.origins.ours(x.origin.site) {
		a.Host = s.public.Hostname()
		if host := bareHost(x.origin.site); s.origins.hosts[x.origin.site] {
			a.Host = host
		}
	}
	if x.dialect != nil {
		a.Dialect = x.dialect.Name
	}
	x.span.End(a)
}

// routeOf is the configured path that a request falls under; "" for none.
func (s *Server) routeOf(x *exchange) string {
	path := escapedPath(x.r)
	if s.own[path] != nil {
		return path
	}
	for _, under := range s.under {
		if strings.HasPrefix(path, under) {
			return under
		}
	}
	if i, err := s.policy.Match(x.target(path)); err == nil && i >= 0 {
		return s.policy.Rule(i).Path
	}
	return ""
}
