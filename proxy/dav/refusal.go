package dav

import (
	"errors"
	"net/http"

	"anteroom/integrations"
)

// Refusal is an answer of ours in the server's stead.
type Refusal = integrations.Problem

// The reasons: a closed set, for callers, metrics and the audit log.
const (
	reasonPath      = "ambiguous_path"
	reasonScope     = "out_of_scope"
	reasonReadOnly  = "read_only"
	reasonForeign   = "foreign_destination"
	reasonNoService = "no_dav_service"
	reasonAccount   = "another_account"
	reasonXML       = "bad_xml"
	reasonTooLarge  = "body_too_large"
	reasonEncoding  = "bad_encoding"
	reasonLength    = "length_required"
	reasonBusy      = "too_many_uploads"
)

// ReasonClient: the body did not come to its end.
const ReasonClient = "body_broken_off"

// refused names the errors that reading a request gives.
func refused(err error) *Refusal {
	for _, r := range []struct {
		is     error
		status int
		reason string
		text   string
	}{
		{integrations.ErrPath, 400, reasonPath, "The path can be read in more than one way."},
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
	return &Refusal{Status: http.StatusBadRequest, Reason: ReasonClient, Text: "The body broke off.", Err: err}
}
