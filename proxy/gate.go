package proxy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"anteroom/proxy/authn"
	"anteroom/proxy/authz"
	"anteroom/proxy/throttle"
	"anteroom/session"
)

// serve takes a request from its arrival to its answer. An error means that
// nothing was answered yet.
func (s *Server) serve(x *exchange) error {
	s.requests.Add(1)
	defer s.requests.Add(-1)
	if err := s.arrive(x); err != nil {
		return err
	}
	d, err := s.find(x)
	if err != nil {
		return err
	}
	x.door = d.name
	if d.asks != nil {
		if d, err = s.asked(x, d.asks); err != nil {
			return err
		}
	}
	return s.gate(x, d)
}

// arrive works out where a request comes from, and refuses what is malformed.
func (s *Server) arrive(x *exchange) (err error) {
	x.origin, err = s.origins.of(x.r)
	x.identify()
	s.traced(x)
	if tooMuch := s.limits.bearable(x.Header(), x.r); tooMuch != nil {
		return tooMuch
	}
	if err != nil {
		return &refusal{status: http.StatusBadRequest, reason: reasonForwarded, cause: err}
	}
	x.hop.ClientIP, x.hop.ForwardedFor = x.origin.client, x.origin.forwarded
	x.hop.Proto, x.hop.Host = x.origin.proto, x.origin.host
	return soundMethod(x.r.Method)
}

// soundMethod refuses methods that nobody may use here, and those that some
// application might take for another: they are compared by case (RFC 9110 §9.1).
func soundMethod(m string) error {
	switch {
	case m == http.MethodConnect, m == http.MethodTrace:
		return &refusal{status: http.StatusMethodNotAllowed, reason: reasonMethod}
	case strings.ToUpper(m) != m:
		return &refusal{status: http.StatusBadRequest, reason: reasonMethod}
	}
	return nil
}

// find finds the door a request came to: one of ours by its exact path, else
// the application's by the policy.
func (s *Server) find(x *exchange) (*door, error) {
	path := escapedPath(x.r)
	d := s.ownDoor(path)
	if (d == nil || !d.anyHost) && !s.origins.ours(x.origin.site) {
		return nil, &refusal{status: http.StatusMisdirectedRequest, reason: reasonHost}
	}
	if d != nil {
		x.plain = s.plainOf(path)
		return d, nil
	}
	i, err := s.rule(x, path)
	if err != nil {
		return nil, err
	}
	x.plain = plainOfRoute(s.policy.Rule(i).Path, path)
	return s.apps[i], nil
}

// ownDoor is the door of ours at a path; nil for none.
func (s *Server) ownDoor(path string) *door {
	if d := s.own[path]; d != nil {
		return d
	}
	for _, under := range s.under {
		if strings.HasPrefix(path, under) {
			return s.own[under]
		}
	}
	return nil
}

// rule is the index of the route that a request falls under.
func (s *Server) rule(x *exchange, path string) (int, error) {
	i, err := s.policy.Match(x.target(path))
	switch {
	case err != nil:
		return i, &refusal{status: http.StatusBadRequest, reason: reasonPath, cause: err}
	case i < 0:
		return i, &refusal{status: http.StatusNotFound, reason: reasonNoRoute}
	}
	return i, nil
}

// target is what the policy judges a request by.
func (x *exchange) target(path string) authz.Target {
	return authz.Target{Method: x.r.Method, Host: bareHost(x.origin.site), Path: path}
}

// escapedPath is the path as it stands in the request line, byte for byte.
func escapedPath(r *http.Request) string {
	path, _, _ := strings.Cut(r.RequestURI, "?")
	if !strings.HasPrefix(path, "/") { // absolute-form (RFC 9112 §3.2.2), "*"
		return r.URL.EscapedPath()
	}
	return path
}

// gate is the one door everybody passes: who asks, may they, and only then the
// answer.
func (s *Server) gate(x *exchange, d *door) error {
	if len(d.methods) > 0 && !slices.Contains(d.methods, x.r.Method) {
		x.Header().Set("Allow", strings.Join(d.methods, ", "))
		return &refusal{status: http.StatusMethodNotAllowed, reason: reasonMethod, style: d.refuse}
	}
	if err := s.sameSite(x, d); err != nil {
		return err
	}
	if d.byAddress != nil {
		if s.fetchedElsewhere(x.r) {
			return &refusal{status: http.StatusForbidden, reason: reasonOrigin, style: d.refuse}
		}
		if err := s.rated(x, d.byAddress, throttle.Network(x.origin.client), d.refuse); err != nil {
			return err
		}
	}
	if d.forward == nil && !d.streams {
		x.hurryBody()
	}
	callers := s.callers
	if d.callers != nil {
		callers, x.programs = d.callers, true
		x.r = x.r.WithContext(authn.From(x.r.Context(), x.origin.client))
	}
	caller, err := callers.Identify(x.r)
	x.who, x.own, x.over = caller.Who, caller.Own, caller.Over
	if d.allow.Public {
		if err != nil { // nobody need be known here: go on as nobody
			x.err = err
		}
	} else if err := s.permit(d, caller, err); err != nil {
		if s.preflight(x, d) {
			return nil
		}
		return err
	}
	if d.byAccount != nil && caller.Who != nil {
		if err := s.rated(x, d.byAccount, throttle.Account(caller.Who.Subject), d.refuse); err != nil {
			return err
		}
	}
	if d.forward != nil && d.callers != nil {
		x.keepCredential()
	}
	if err := s.begun(x, d); err != nil {
		return err
	}
	if d.forward == nil && x.dialect == nil && !d.streams {
		inert(x.Header())
	}
	switch {
	case caller.Session != nil:
		return s.answerSession(x, d, caller)
	case caller.Within != nil:
		return s.answerWithin(x, d, caller.Who, caller.Within)
	}
	return d.answer(x, caller.Who)
}

// keepCredential keeps from the application what its caller proved to us who
// they are with.
func (x *exchange) keepCredential() {
	if _, there := x.r.Header["Authorization"]; there {
		x.r.Header = x.r.Header.Clone() // x.r is a copy already
		delete(x.r.Header, "Authorization")
	}
}

// sameSite refuses what another site makes a browser do here: WebSockets from
// foreign pages, which no CORS rule guards, and posts to our own doors.
func (s *Server) sameSite(x *exchange, d *door) error {
	if (d.forward != nil || x.dialect != nil) && socketAsked(x) {
		if o := x.r.Header.Get("Origin"); o != "" && !s.knownOrigin(o) {
			return &refusal{status: http.StatusForbidden, reason: reasonOrigin, style: refuseByProblem}
		}
	}
	if d.posted {
		if err := s.fromHere(x); err != nil {
			return &refusal{status: http.StatusForbidden, reason: reasonOrigin, cause: err, style: d.refuse}
		}
	}
	return nil
}

// fromHere is an error for a request that changes something and that a browser
// makes for another site's page, as it says itself by fetch metadata
// (https://www.w3.org/TR/fetch-metadata/) and Origin. A page of ours is one of
// this host's or the public one's, by the public scheme: over another, somebody
// in between could have made it. Programs send neither header.
func (s *Server) fromHere(x *exchange) error {
	switch x.r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return nil
	}
	h := x.r.Header
	if from := h["Sec-Fetch-Site"]; len(from) > 1 || len(from) == 1 && from[0] != "same-origin" && from[0] != "none" {
		return fmt.Errorf("a browser says that it is for another site: %.40q", from)
	}
	from := h["Origin"]
	if len(from) == 0 {
		return nil
	}
	scheme, host, _ := strings.Cut(lower(from[0]), "://")
	site := canonicalHost(host, scheme)
	if len(from) > 1 || scheme != s.public.Scheme || site != s.origins.host && (site != x.origin.site || !s.origins.ours(site)) {
		return fmt.Errorf("it is from %.200q", from)
	}
	return nil
}

// fetchedElsewhere reports whether another site's page had the browser load this
// without anybody going there: such requests would use up what the person's
// address may do (https://www.w3.org/TR/fetch-metadata/). So does a browser that
// expects them to go there (Sec-Purpose: prefetch), and comes again when they do.
// A frame is such a one, unless it is within a page of ours: only there it has the
// sign-in's cookie.
func (s *Server) fetchedElsewhere(r *http.Request) bool {
	switch h := r.Header; {
	case h.Get("Sec-Fetch-Site") != "cross-site":
		return false
	case h.Get("Sec-Fetch-Mode") != "navigate", h.Get("Sec-Purpose") != "":
		return true
	default:
		to := h.Get("Sec-Fetch-Dest")
		return to != "" && to != "document" && !s.o.SignIn.Underway(r)
	}
}

// knownOrigin reports whether an Origin (RFC 6454 §6.2) is this site's or a
// configured one. "null" is neither.
func (s *Server) knownOrigin(origin string) bool {
	origin = lower(origin)
	scheme, host, ok := strings.Cut(origin, "://")
	if !ok {
		return false
	}
	site := canonicalHost(host, scheme)
	return s.allowed[origin] || s.origins.ours(site) && scheme == s.public.Scheme
}

// permit asks whether the caller may pass a door that is not public.
func (s *Server) permit(d *door, caller authn.Caller, err error) error {
	switch {
	case errors.Is(err, authn.ErrBroken):
		return &refusal{status: http.StatusServiceUnavailable, reason: reasonBroken, cause: err, style: d.refuse}
	case errors.Is(err, authn.ErrThrottled):
		return &refusal{status: http.StatusTooManyRequests, reason: reasonAttempts, cause: err, style: d.refuse, after: throttledFor(err)}
	case err != nil:
		return &refusal{status: http.StatusUnauthorized, reason: reasonCredentials, cause: err, style: d.refuse}
	case caller.Who == nil:
		return &refusal{status: http.StatusUnauthorized, reason: reasonNobody, style: d.refuse}
	case d.permits != nil:
		return d.permits(caller.Who)
	case !d.allow.Permits(caller.Who):
		return &refusal{status: http.StatusForbidden, reason: reasonNotAllowed, style: d.refuse}
	}
	return nil
}

// throttledFor is how long who failed too often is told to wait.
func throttledFor(err error) time.Duration {
	var t *authn.Throttled
	if !errors.As(err, &t) {
		return time.Second
	}
	return wholeSeconds(t.Wait)
}

// errSessionOver is the cause that an answer ends with its session. To who
// asks no further it is context.Canceled, like a client that left.
var errSessionOver = fmt.Errorf("%w: %w", context.Canceled, session.ErrOver)

// answerSession answers a caller who came with a session, which is in use then.
func (s *Server) answerSession(x *exchange, d *door, caller authn.Caller) error {
	room := session.AnyCookies
	if x.dialect != nil {
		room = x.dialect.Cookies
	}
	s.o.Sessions.Touch(x, x.r, caller.Session, room)
	x.session = caller.Session
	return s.answerWithin(x, d, caller.Who, caller.Session)
}

// answerWithin answers within a session: the answer ends when the session
// does, however long it would have gone on; a WebSocket is told why.
func (s *Server) answerWithin(x *exchange, d *door, who *session.Identity, within *session.Session) error {
	if d.forward == nil && !d.streams {
		return d.answer(x, who)
	}
	ctx, cancel := context.WithCancelCause(x.r.Context())
	defer cancel(nil)
	defer within.Attach(func() { cancel(errSessionOver) })()
	x.r = x.r.WithContext(ctx)
	return d.answer(x, who)
}
