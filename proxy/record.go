package proxy

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"anteroom/integrations/api"
	"anteroom/proxy/audit"
)

// begun writes down that a request may go on, where nothing may be answered
// without a line (audit.required); of what may last, such as a WebSocket, also
// where not, for its own line comes at its end.
func (s *Server) begun(x *exchange, d *door) error {
	switch d.name {
	case doorApp, doorCheck, doorOwn, doorDAV, doorAPI:
	default: // says nothing about anybody
		return nil
	}
	required := s.o.Audit.Required()
	if !required && (d.forward == nil || !s.o.Audit.Requests() || !socketAsked(x)) {
		return nil
	}
	if err := s.o.Audit.Require(x.r.Context(), s.complete(x, audit.Event{Kind: audit.Begun})); err != nil {
		return &refusal{status: http.StatusServiceUnavailable, reason: reasonAudit, cause: err, style: d.refuse}
	}
	return nil
}

// ended writes down what became of a request that was not refused, where no
// other line says so.
func (s *Server) ended(x *exchange) {
	switch x.door {
	case doorApp, doorCheck, doorOwn:
	default:
		return
	}
	if !x.recorded && s.o.Audit.Requests() {
		s.audit(x, audit.Event{Kind: audit.Request, Status: x.status, Sent: x.bytes})
	}
}

// record writes down a refusal of somebody; faults of ours are not refusals. The
// error says that it must not be said without a line, and there is none.
func (s *Server) record(x *exchange, no *refusal) error {
	kind := audit.Refused
	if no.reason == reasonSignIn {
		kind = audit.SignInFailed
	}
	if no.recorded || no.status >= 500 && no.reason != reasonSignIn && no.reason != reasonBroken {
		return nil
	}
	x.recorded = true
	return s.audit(x, audit.Event{Kind: kind, Status: no.status, Reason: no.reason})
}

// accessed writes down one use of Nextcloud, whatever came of it.
func (s *Server) accessed(x *exchange, e audit.Event, err error) {
	e.Kind, e.Status, e.Sent = audit.Access, x.status, x.bytes
	var no *refusal
	if errors.As(err, &no) {
		e.Status, e.Reason = no.status, no.reason
	}
	if strings.HasPrefix(e.To, "/") && x.door == doorDAV {
		e.PlainTo = s.plainOf(e.To)
	}
	s.audit(x, e)
}

// audit writes an event about an exchange. Sign-ins, sign-outs and refusals are
// waited for. The error is of a line that must be there, and is not.
func (s *Server) audit(x *exchange, e audit.Event) error {
	e = s.complete(x, e)
	var err error
	if waitedFor(e) {
		// However long the client stays: the line is what counts.
		err = s.o.Audit.Commit(context.WithoutCancel(x.r.Context()), e)
	} else {
		err = s.o.Audit.Write(e)
	}
	if !s.o.Audit.Required() {
		return nil // the log says itself what it lost
	}
	return err
}

// waitedFor reports whether an answer is given only when its line is kept.
func waitedFor(e audit.Event) bool {
	switch e.Kind {
	case audit.Request, audit.Provisioned, audit.Begun:
		return false
	case audit.Access:
		return e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden
	}
	return true
}

// complete says who and what an exchange is about.
func (s *Server) complete(x *exchange, e audit.Event) audit.Event {
	e.Client, e.Method, e.Host, e.Path = x.origin.client, x.r.Method, x.origin.host, x.r.URL.EscapedPath()
	e.RequestID, e.Plain = x.hop.RequestID, x.plain
	if e.Subject == "" {
		e = e.By(x.who)
	}
	return s.watched(x, e)
}

// plainOf is how many bytes at the start of one of our own paths name nothing of
// anybody's: all of our pages, of a service its mount, of the JSON API the family.
func (s *Server) plainOf(path string) int {
	if s.own[path] != nil {
		return len(path)
	}
	for _, under := range s.under {
		rest, ok := strings.CutPrefix(path, under)
		switch {
		case !ok:
		case under != api.Prefix+"/":
			return len(under) - 1
		default:
			family, _, _ := strings.Cut(rest, "/")
			return len(under) + len(family)
		}
	}
	return 0
}

// plainOfRoute is the same of a path that falls under a route: the route's own.
func plainOfRoute(route, path string) int {
	if route = strings.TrimSuffix(route, "/"); strings.HasPrefix(path, route) {
		return len(route)
	}
	return 0
}
