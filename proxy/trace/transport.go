package trace

import (
	"context"
	"errors"
	"maps"
	"net"
	"net/http"
	"strconv"
)

type legKey struct{}

// Leg names the next request that is made with ctx through a Transport. It is
// told of even where nothing around it is: it begins a trace then.
func (t *Tracer) Leg(ctx context.Context, name string) context.Context {
	return context.WithValue(ctx, legKey{}, name)
}

// Transport has each request through next told of as a client's span within
// its context's, by this name unless Leg said another. The server is told of
// it: it gets a traceparent. The span ends with the answer's header. Of a nil
// Tracer it is next.
func (t *Tracer) Transport(next http.RoundTripper, name string) http.RoundTripper {
	if t == nil {
		return next
	}
	return &transport{t, next, name}
}

type transport struct {
	t    *Tracer
	next http.RoundTripper
	name string
}

// RoundTrip implements http.RoundTripper.
func (p *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	s := p.begin(r)
	if s == nil {
		return p.next.RoundTrip(r)
	}
	told := *r
	told.Header = maps.Clone(r.Header)
	if told.Header == nil {
		told.Header = http.Header{}
	}
	told.Header["Traceparent"] = []string{s.Traceparent()}
	if s.c.State != "" {
		told.Header["Tracestate"] = []string{s.c.State}
	}
	resp, err := p.next.RoundTrip(&told)
	if resp != nil {
		resp.Request = r
	}
	s.answered(resp, err)
	return resp, err
}

// begin begins a request's span; nil: it is not told of.
func (p *transport) begin(r *http.Request) *Span {
	name := p.name
	leg, named := r.Context().Value(legKey{}).(string)
	if named {
		name = leg
	}
	method := known(r.Method)
	var s *Span
	switch in := spanIn(r.Context()); {
	case in == nil && named:
		s = p.t.root(kindClient, method+" "+name)
	case in != nil && in.c.Sampled:
		s = p.t.child(in, kindClient, method+" "+name)
	}
	if s != nil {
		s.set("http.request.method", method)
		s.set("server.address", r.URL.Hostname())
		s.set("url.scheme", r.URL.Scheme)
		s.set("anteroom.leg", name)
	}
	return s
}

// answered ends a client's span.
func (s *Span) answered(resp *http.Response, err error) {
	var late net.Error
	switch {
	case err == nil:
		s.setNumber("http.response.status_code", int64(resp.StatusCode))
		if s.failed = resp.StatusCode >= 400; s.failed {
			s.set("error.type", strconv.Itoa(resp.StatusCode))
		}
	case errors.Is(err, context.Canceled):
		s.set("error.type", "canceled")
		s.failed = true
	case errors.As(err, &late) && late.Timeout():
		s.set("error.type", "timeout")
		s.failed = true
	default:
		s.set("error.type", "connection")
		s.failed = true
	}
	s.finish()
}
