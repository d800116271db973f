package dav

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"time"
)

// Refusal is an answer of ours in the server's stead. The caller may read all
// of it but Err, which is for the log.
type Refusal struct {
	Status     int
	Reason     string        // from the closed set of Reasons
	Text       string        // in plain words
	RetryAfter time.Duration // zero: not said
	Challenge  bool          // a 401 that asks for other credentials
	Err        error
}

func (e *Refusal) Error() string {
	if e.Err != nil {
		return e.Reason + ": " + e.Err.Error()
	}
	return e.Reason
}

func (e *Refusal) Unwrap() error { return e.Err }

// The reasons: a closed set, for callers, metrics and the audit log.
const (
	reasonPath       = "ambiguous_path"
	reasonScope      = "out_of_scope"
	reasonReadOnly   = "read_only"
	reasonForeign    = "foreign_destination"
	reasonNoService  = "no_dav_service"
	reasonAccount    = "another_account"
	reasonXML        = "bad_xml"
	reasonTooLarge   = "body_too_large"
	reasonEncoding   = "bad_encoding"
	reasonLength     = "length_required"
	reasonBusy       = "too_many_uploads"
	reasonConnect    = "nextcloud_not_connected"
	reasonConnection = "connections_unavailable"
	reasonService    = "service_credential_refused"
	reasonOwn        = "credentials_refused"
	reasonToken      = "nextcloud_sign_in_refused"
	reasonDisabled   = "account_disabled"
	reasonThrottled  = "nextcloud_throttles"
	reasonRedirect   = "nextcloud_redirects"
	reasonNotDAV     = "not_a_dav_server"
	reasonUntrusted  = "untrusted_domain"
	reasonAway       = "nextcloud_unreachable"
	reasonSlow       = "nextcloud_timeout"
	reasonGone       = "ended_meanwhile"
	reasonClient     = "body_broken_off"
)

// refused names the errors that reading a request gives.
func refused(err error) *Refusal {
	for _, r := range []struct {
		is     error
		status int
		reason string
		text   string
	}{
		{errPath, 400, reasonPath, "The path can be read in more than one way."},
		{errScope, 403, reasonScope, "That lies outside of what may be used here."},
		{errReadOnly, 403, reasonReadOnly, "Nothing may be changed here."},
		{errForeign, 502, reasonForeign, "That is on another server."},
		{errNoMount, 403, reasonNoService, "That is not on any of the services here."},
		{errAccount, 403, reasonAccount, "That is used with another account, or by other people."},
		{errTooLarge, 413, reasonTooLarge, "The body is too large."},
		{errEncoding, 415, reasonEncoding, "The body has to be UTF-8 and not compressed."},
		{errXML, 400, reasonXML, "The body is no XML that is accepted."},
		{errTag, 400, reasonXML, "The body is no XML that is accepted."},
		{errBindings, 400, reasonXML, "The body is no XML that is accepted."},
	} {
		if errors.Is(err, r.is) {
			return &Refusal{Status: r.status, Reason: r.reason, Text: r.text, Err: err}
		}
	}
	return &Refusal{Status: http.StatusBadRequest, Reason: reasonClient, Text: "The body broke off.", Err: err}
}

// away names what went wrong between us and the server.
func away(err error) *Refusal {
	var known *Refusal
	var slow net.Error
	switch {
	case errors.As(err, &known):
		return known
	case errors.Is(err, context.Canceled):
		return &Refusal{Status: http.StatusBadGateway, Reason: reasonGone, Text: "The request ended meanwhile.", Err: err}
	case errors.As(err, &slow) && slow.Timeout():
		return &Refusal{Status: http.StatusGatewayTimeout, Reason: reasonSlow, Text: "Nextcloud takes too long to answer.", Err: err}
	}
	text, _, _ := strings.Cut(err.Error(), ` "`) // after that the server is quoted
	return &Refusal{Status: http.StatusBadGateway, Reason: reasonAway, Text: "Nextcloud does not answer.", Err: errors.New(text)}
}
