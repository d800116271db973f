package integrations

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"anteroom/session"
)

// Problem is why an operation was not done, fit for the caller: what an
// RFC 9457 document is made of. Err is for the log alone.
type Problem struct {
	Status     int
	Reason     string        // from the closed set below
	Text       string        // what to do about it; never a password, file content or mail text
	Field      string        // the parameter or member at fault; "" for none
	RetryAfter time.Duration // to wait before trying again; zero: nothing is said
	Err        error
}

// The reasons: a closed set, for the caller, the audit log and the metrics.
const (
	ReasonInvalid     = "invalid_request"            // 400: a parameter or the body cannot be used
	ReasonNotFound    = "not_found"                  // 404
	ReasonExists      = "already_exists"             // 409
	ReasonConflict    = "conflict"                   // 409: as things are, it cannot be done
	ReasonChanged     = "changed_meanwhile"          // 412: If-Match, If-None-Match
	ReasonUnheld      = "condition_required"         // 428: a change needs If-Match
	ReasonTooLarge    = "too_large"                  // 413
	ReasonMediaType   = "unsupported_media_type"     // 415
	ReasonRange       = "range_not_satisfiable"      // 416
	ReasonCursor      = "cursor_expired"             // 410: begin again without one
	ReasonReadOnly    = "read_only"                  // 403
	ReasonForbidden   = "refused_by_server"          // 403: Nextcloud, or the mail server, lets this account do it not
	ReasonUnavailable = "not_configured"             // 404: this integration is not set up here
	ReasonNotAllowed  = "not_allowed"                // 403: the configuration does not let the caller
	ReasonScope       = "out_of_scope"               // 403
	ReasonConnect     = "nextcloud_not_connected"    // 403: the person has to connect their account
	ReasonConnections = "connections_unavailable"    // 503
	ReasonOwn         = "credentials_refused"        // 401: the caller's own
	ReasonToken       = "nextcloud_sign_in_refused"  // 502: the token of the caller's session
	ReasonDisabled    = "account_disabled"           // 403
	ReasonService     = "service_credential_refused" // 502: the service account's
	ReasonRecipient   = "recipient_refused"          // 422: the mail server takes no mail for an address
	ReasonQuota       = "quota_exceeded"             // 507
	ReasonLocked      = "locked"                     // 423
	ReasonBusy        = "busy"                       // 503, 429
	ReasonMaintenance = "maintenance"                // 503
	ReasonThrottled   = "nextcloud_throttles"        // 429
	ReasonUntrusted   = "untrusted_domain"           // 502: Nextcloud does not answer to the name it is called by
	ReasonNotDAV      = "not_a_dav_server"           // 502
	ReasonRedirect    = "nextcloud_redirects"        // 502: to another place; that is not followed
	ReasonAway        = "nextcloud_unreachable"      // 502: the server, or the mail server, does not answer
	ReasonSlow        = "nextcloud_timeout"          // 504
	ReasonGone        = "ended_meanwhile"            // 502: the client, or its session
	ReasonAnswer      = "answer_unusable"            // 502: it answers what cannot be used
)

// Error implements error, for the log.
func (p *Problem) Error() string {
	if p.Err != nil {
		return fmt.Sprintf("%s (%d): %v", p.Reason, p.Status, p.Err)
	}
	return fmt.Sprintf("%s (%d): %s", p.Reason, p.Status, p.Text)
}

func (p *Problem) Unwrap() error { return p.Err }

// Invalid is a request of which a field cannot be used.
func Invalid(field, text string, args ...any) *Problem {
	return &Problem{Status: http.StatusBadRequest, Reason: ReasonInvalid, Field: field, Text: field + " " + fmt.Sprintf(text, args...)}
}

// NotFound says that a thing is not there, or not for this account.
func NotFound(what string) *Problem {
	return &Problem{Status: http.StatusNotFound, Reason: ReasonNotFound, Text: "There is no such " + what + "."}
}

// Away is a server that did not answer, for whatever cause.
func Away(server string, err error) *Problem {
	return &Problem{Status: http.StatusBadGateway, Reason: ReasonAway, Text: server + " does not answer.", RetryAfter: 5 * time.Second, Err: session.WithoutURL(err)}
}

// Unusable is a server that answered what cannot be used.
func Unusable(server string, err error) *Problem {
	return &Problem{Status: http.StatusBadGateway, Reason: ReasonAnswer, Text: server + " answers what cannot be read.", Err: session.WithoutQuotes(err)}
}

// ProblemOf is the problem that an error is, or has within.
func ProblemOf(err error) (*Problem, bool) {
	var p *Problem
	return p, errors.As(err, &p)
}
