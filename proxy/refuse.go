package proxy

import (
	"context"
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"anteroom/proxy/dav"
	"anteroom/proxy/pages"
	"anteroom/proxy/upstream"
	"anteroom/session"
)

// refusal is an answer that says no. The caller reads status, reason and text;
// cause is for the log alone.
type refusal struct {
	status int
	reason string // from the closed set below
	text   string // fit for the caller; "" for the status's own words
	style  refusalStyle
	field  string     // the parameter or member of the body that is at fault; "" for none
	page   pages.Page // shown to a navigation; nil for a page by status
	cause  error

	after    time.Duration // to wait before trying again; zero: by status
	recorded bool          // the audit log has it already
}

func (e *refusal) Error() string {
	if e.cause != nil {
		return e.reason + ": " + e.cause.Error()
	}
	return e.reason
}

func (e *refusal) Unwrap() error { return e.cause }

// The reasons: a closed set, for the caller, the audit log and the metrics.
const (
	reasonNobody      = "sign_in_required"
	reasonNotAllowed  = "not_allowed"
	reasonCredentials = "credentials_refused"
	reasonBroken      = "sessions_unavailable"
	reasonProvider    = "provider_unavailable"
	reasonProvision   = "provision_failed"
	reasonSignIn      = "sign_in_failed"
	reasonOrigin      = "foreign_origin"
	reasonHost        = "unknown_host"
	reasonPath        = "ambiguous_path"
	reasonMethod      = "method_not_allowed"
	reasonForwarded   = "bad_forwarding_headers"
	reasonNoRoute     = "no_route"
	reasonApp         = "application_unreachable"
	reasonAppSlow     = "application_timeout"
	reasonAudience    = "unknown_audience"
	reasonForm        = "unreadable_form"
	reasonSession     = "unknown_session"
	reasonNoList      = "sessions_not_listed"
	reasonGone        = "ended_meanwhile" // the client, or its session
	reasonInternal    = "internal_error"
	reasonUntrusted   = "untrusted_proxy"
	reasonDisguised   = "disguised_header"
	reasonOwnURL      = "own_url"
	reasonNotOffered  = "nothing_to_connect"
	reasonUnkept      = "connections_unavailable"
	reasonAnswer      = "nextcloud_answer_unusable"
	reasonAttempts    = "too_many_attempts"
	reasonAudit       = "audit_unavailable"
	reasonUnsigned    = "body_not_signable"
	reasonBusy        = "too_busy"
	reasonStopping    = "stopping"
)

// retryAfter is what a caller is told to wait when something is broken.
const retryAfter = 5 * time.Second

// refuse turns an error from any step into the reply its door owes: the one
// place where an error becomes an answer.
func (s *Server) refuse(x *exchange, err error) {
	var no *refusal
	if !errors.As(err, &no) {
		no = fromAnswer(err)
	}
	no = x.endedHere(no)
	if x.upload.stalled() { // whoever waited for it may have found another name for that
		no = &refusal{status: http.StatusRequestTimeout, reason: reasonStalled, style: no.style, cause: err, recorded: no.recorded}
		x.Header().Set("Connection", "close") // RFC 9110 §15.5.9
	}
	x.err = err
	if x.status != 0 { // the answer had begun: cutting it off is all that is left
		panic(http.ErrAbortHandler)
	}
	x.hurryBody()
	s.metrics.refused.WithLabelValues(no.reason).Inc()
	x.reason = no.reason
	if s.record(x, no) != nil {
		no = &refusal{status: http.StatusServiceUnavailable, reason: reasonAudit, style: no.style, cause: err}
	}
	h := x.Header()
	inert(h)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Request-Id", x.hop.RequestID)
	if wait := waitOf(no); wait > 0 {
		h.Set("Retry-After", strconv.Itoa(int(wait/time.Second)))
	}
	switch {
	case x.dialect != nil:
		s.refuseCheck(x, no)
	case no.style == refuseByDAV && !navigates(x.r):
		s.davError(x, no)
	case s.asProblem(x, no):
		s.problem(x, no)
	default:
		s.refusePage(x, no)
	}
}

// endedHere is the refusal of a request that we ended ourselves, whatever that
// looked like to who waited for its body or for its answer; else it is no.
func (x *exchange) endedHere(no *refusal) *refusal {
	if no.status < 500 && no.reason != dav.ReasonClient {
		return no
	}
	own := &refusal{style: no.style, recorded: no.recorded, cause: no.cause}
	switch cause := context.Cause(x.r.Context()); {
	case errors.Is(cause, upstream.ErrShuttingDown):
		own.status, own.reason = http.StatusServiceUnavailable, reasonStopping
	case errors.Is(cause, session.ErrOver):
		own.status, own.reason = http.StatusBadGateway, reasonGone
	default:
		return no
	}
	return own
}

// inert has an answer of ours run nothing, load nothing, be shown in no frame and
// tell nobody where it was asked for. A page says of itself what it needs beyond
// that.
func inert(h http.Header) {
	h["Content-Security-Policy"], h["Referrer-Policy"] = inertPolicy, inertReferrer
	h["X-Content-Type-Options"], h["X-Frame-Options"] = inertType, inertFrames
}

// Shared, and never changed.
var (
	inertPolicy   = []string{"default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"}
	inertReferrer = []string{"same-origin"}
	inertType     = []string{"nosniff"}
	inertFrames   = []string{"DENY"}
)

// fromAnswer names the errors that answers return.
func fromAnswer(err error) *refusal {
	switch {
	case errors.Is(err, upstream.ErrUnsigned):
		return &refusal{status: http.StatusRequestEntityTooLarge, reason: reasonUnsigned, cause: err}
	case errors.Is(err, upstream.ErrBusy):
		return &refusal{status: http.StatusServiceUnavailable, reason: reasonBusy, cause: err}
	case errors.Is(err, upstream.ErrSlowBody):
		return &refusal{status: http.StatusRequestTimeout, reason: reasonStalled, cause: err}
	case errors.Is(err, upstream.ErrTarget):
		return &refusal{status: http.StatusBadRequest, reason: reasonPath, cause: err}
	case errors.Is(err, context.Canceled):
		return &refusal{status: http.StatusBadGateway, reason: reasonGone, cause: err}
	case errors.Is(err, upstream.ErrTimeout):
		return &refusal{status: http.StatusGatewayTimeout, reason: reasonAppSlow, cause: err}
	case errors.Is(err, upstream.ErrUnreachable):
		return &refusal{status: http.StatusBadGateway, reason: reasonApp, cause: err}
	}
	return &refusal{status: http.StatusInternalServerError, reason: reasonInternal, cause: err}
}

// asProblem decides between a page and a problem document.
func (s *Server) asProblem(x *exchange, no *refusal) bool {
	switch no.style {
	case refuseByProblem:
		return true
	case refuseByPage:
		return false
	}
	return !navigates(x.r)
}

// navigates reports whether a person's browser window waits for the answer, as
// told by fetch metadata (https://www.w3.org/TR/fetch-metadata/) where the
// browser sends it, else by Accept.
func navigates(r *http.Request) bool {
	h := r.Header
	if h.Get("Upgrade") != "" {
		return false
	}
	if mode := h.Get("Sec-Fetch-Mode"); mode != "" {
		return mode == "navigate"
	}
	return strings.Contains(h.Get("Accept"), "text/html") && h.Get("X-Requested-With") == ""
}

// framed reports whether a navigation is inside another page, where signing in
// is neither possible (providers forbid it) nor wise.
func framed(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Dest") {
	case "iframe", "frame", "embed", "object", "fencedframe":
		return true
	}
	return false
}

// problemDocument is RFC 9457's, with the reason and, on a 401, where to sign in.
type problemDocument struct {
	Type      string `json:"type"`
	Title     string `json:"title"`
	Status    int    `json:"status"`
	Detail    string `json:"detail,omitempty"`
	Reason    string `json:"reason"`
	Field     string `json:"field,omitempty"`
	SignIn    string `json:"sign_in,omitempty"`
	RequestID string `json:"request_id"`
}

// problem answers a program.
func (s *Server) problem(x *exchange, no *refusal) {
	doc := problemDocument{Type: "about:blank", Title: http.StatusText(no.status), Status: no.status,
		Detail: no.text, Reason: no.reason, Field: no.field, RequestID: x.hop.RequestID}
	if doc.Detail == "" {
		doc.Detail = reasonText[no.reason]
	}
	h := x.Header()
	s.corsReadable(x)
	if no.status == http.StatusUnauthorized {
		doc.SignIn = originOf(s.public) + "/auth/login"
		if x.programs && x.dialect == nil && !scripted(x.r) && !navigates(x.r) {
			h.Add("WWW-Authenticate", `Basic realm="anteroom", charset="UTF-8"`)
		}
		h.Add("WWW-Authenticate", `Bearer realm="anteroom"`)
	}
	h.Set("Content-Type", "application/problem+json")
	h.Set("X-Content-Type-Options", "nosniff")
	x.WriteHeader(no.status)
	if x.r.Method != http.MethodHead {
		json.NewEncoder(x).Encode(doc)
	}
}

var reasonText = map[string]string{
	reasonNobody:      "Sign in first.",
	reasonNotAllowed:  "You are signed in but may not use this.",
	reasonCredentials: "The credentials offered are not good.",
	reasonBroken:      "Sessions cannot be checked at the moment. Nobody was signed out.",
	reasonProvider:    "Nextcloud does not answer at the moment.",
	reasonProvision:   "The application does not answer when asked for your account.",
	reasonSignIn:      "The sign-in was not completed.",
	reasonOrigin:      "This was asked for by a page of another site.",
	reasonHost:        "This server does not answer to that host name.",
	reasonPath:        "The path can be read in more than one way.",
	reasonMethod:      "That method is not answered here.",
	reasonForwarded:   "The forwarding headers cannot be read.",
	reasonNoRoute:     "Nothing is served at this address.",
	reasonApp:         "The application does not answer.",
	reasonAppSlow:     "The application took too long to answer.",
	reasonAudience:    "No route that you may use has that audience.",
	reasonGone:        "The request or its session ended meanwhile.",
	reasonInternal:    "Something went wrong here.",
	reasonRate:        "This was asked for too often from this address, or by this person. Wait a little; whoever is signed in stays so.",
	reasonAttempts:    "Too many credentials from this address, or for this name, were refused. Wait a little.",
	reasonUnsigned:    "The request's body is longer than what is signed here (1 MiB), or does not say how long it is.",
	reasonBusy:        "Too many requests with a body are under way here. Wait a little.",
	reasonAudit:       "What is done here has to be written down, and that is not possible at the moment. Nobody was signed out.",
	reasonUntrusted:   "Only a front proxy that is trusted may ask this.",
	reasonDisguised:   "A header of the request could be taken for the word of this server.",
	reasonOwnURL:      "This address is Anteroom's own; the front proxy must send it there without asking.",
	reasonNotOffered:  "Nothing here uses people's own Nextcloud credentials: see integrations.*.credential.",
	reasonUnkept:      "Connections cannot be looked up at the moment. Nothing was ended.",
	reasonAnswer:      "Nextcloud's answer cannot be used; the log says why.",
	reasonMalformed:   "The request is not well-formed HTTP/2.",
	reasonTooLong:     "The URL is longer than what is accepted here.",
	reasonFields:      "The request has more header fields than what is accepted here.",
	reasonCookies:     "The request has more cookies than what is accepted here.",
	reasonStalled:     "The body of the request came too slowly.",
	reasonStopping:    "This server is being stopped. Try again in a little while.",
}

// corsReadable lets pages of configured origins read a refusal: without it a
// page sees a network error where it should see that nobody is signed in.
func (s *Server) corsReadable(x *exchange) bool {
	origin := x.r.Header.Get("Origin")
	if origin == "" || !s.allowed[lower(origin)] {
		return false
	}
	h := x.Header()
	h.Set("Access-Control-Allow-Origin", origin)
	h.Set("Access-Control-Allow-Credentials", "true")
	h.Set("Access-Control-Expose-Headers", "WWW-Authenticate, X-Request-Id, Retry-After")
	h.Add("Vary", "Origin")
	return true
}

// preflight answers a CORS preflight from a configured origin for a door that
// nobody may pass without a session: preflights never carry one. What the
// application says on the request that follows decides what the page may read.
func (s *Server) preflight(x *exchange, d *door) bool {
	asked := x.r.Header.Get("Access-Control-Request-Method")
	if d.forward == nil || x.r.Method != http.MethodOptions || asked == "" || !s.corsReadable(x) {
		return false
	}
	h := x.Header()
	h.Set("Access-Control-Allow-Methods", asked)
	if names := x.r.Header.Get("Access-Control-Request-Headers"); names != "" {
		h.Set("Access-Control-Allow-Headers", names)
	}
	h.Add("Vary", "Access-Control-Request-Method, Access-Control-Request-Headers")
	x.WriteHeader(http.StatusNoContent)
	return true
}

// mediaType is a request's media type without parameters, lower case.
func mediaType(r *http.Request) (string, map[string]string) {
	t, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		return "", nil
	}
	return t, params
}
