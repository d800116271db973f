package mail

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"

	"github.com/emersion/go-imap/v2"

	"anteroom/integrations"
)

const retryAfter = 5 * time.Second

// trouble is what an error means to the caller. Texts of the server's go
// nowhere: they may quote mail.
func (a *Account) trouble(err error) error {
	var no *imap.Error
	var slow net.Error
	switch {
	case err == nil:
		return nil
	case isProblem(err):
		return err
	case errors.Is(err, errNoIMAP):
		return unavailable("reading mail")
	case errors.Is(err, errRefused):
		return &integrations.Problem{Status: http.StatusBadGateway, Reason: integrations.ReasonService, Err: err,
			Text: "The mail server refuses the mail account of this gateway; its operator has to renew integrations.mail.password. Your own password is not at fault."}
	case errors.Is(err, ErrNoTLS):
		return &integrations.Problem{Status: http.StatusBadGateway, Reason: integrations.ReasonAnswer, Err: err,
			Text: "The mail server offers no STARTTLS. No password was sent to it; its operator has to turn on TLS."}
	case errors.Is(err, errTooMuch), errors.Is(err, errTooDeep):
		return &integrations.Problem{Status: http.StatusBadGateway, Reason: integrations.ReasonAnswer, Text: "The mail server answers with more than can be taken.", Err: err}
	case isTLS(err):
		return &integrations.Problem{Status: http.StatusBadGateway, Reason: integrations.ReasonAway, Err: err,
			Text: "The mail server cannot be reached securely: its certificate is not valid for its name, or not from an authority that is trusted (integrations.mail.ca_file), or its TLS is too old."}
	case errors.Is(err, context.Canceled):
		return &integrations.Problem{Status: http.StatusBadGateway, Reason: integrations.ReasonGone, Text: "The request ended meanwhile.", Err: err}
	case errors.As(err, &no):
		return answer(no)
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &slow) && slow.Timeout():
		return &integrations.Problem{Status: http.StatusGatewayTimeout, Reason: integrations.ReasonSlow, Text: "The mail server takes too long to answer.", RetryAfter: retryAfter, Err: err}
	}
	return integrations.Away("The mail server", quiet(err))
}

// quiet is an error without what follows a quotation mark: after that it quotes
// the server, and what that says may be mail.
func quiet(err error) error {
	text, _, cut := strings.Cut(err.Error(), `"`)
	if before, _, panicked := strings.Cut(text, tripped); panicked {
		return errors.New(before + tripped)
	}
	if text, _, more := strings.Cut(text, "\n"); cut || more {
		return errors.New(strings.TrimSpace(text))
	}
	return err
}

// tripped is what the library says before what it panicked with.
const tripped = "panic reading response"

func isProblem(err error) bool {
	_, ok := integrations.ProblemOf(err)
	return ok
}

// handshake is a failure to have TLS on a connection.
type handshake struct{ error }

func (h handshake) Unwrap() error { return h.error }

func isTLS(err error) bool {
	var shake handshake
	var slow net.Error
	if errors.As(err, &shake) && !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) && (!errors.As(err, &slow) || !slow.Timeout()) {
		return true
	}
	var cert *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var alert tls.AlertError
	var authority x509.UnknownAuthorityError
	var name x509.HostnameError
	return errors.As(err, &cert) || errors.As(err, &record) || errors.As(err, &alert) || errors.As(err, &authority) || errors.As(err, &name)
}

// unavailable is what the configuration has nothing for.
func unavailable(what string) *integrations.Problem {
	return &integrations.Problem{Status: http.StatusNotFound, Reason: integrations.ReasonUnavailable, Text: "There is no server for " + what + " here (integrations.mail)."}
}

// passing reports whether a refusal may be over soon.
func passing(code imap.ResponseCode) bool {
	switch code {
	case imap.ResponseCodeUnavailable, imap.ResponseCodeInUse, imap.ResponseCodeLimit, imap.ResponseCodeServerBug:
		return true
	}
	return false
}

// answer is what a refusal of the IMAP server's means (RFC 9051 §7.1).
func answer(no *imap.Error) *integrations.Problem {
	err := errors.New("the IMAP server answers " + string(no.Type) + " " + string(no.Code))
	switch {
	case passing(no.Code):
		return &integrations.Problem{Status: http.StatusServiceUnavailable, Reason: integrations.ReasonBusy, Text: "The mail server cannot do that at the moment.", RetryAfter: retryAfter, Err: err}
	case no.Code == imap.ResponseCodeNonExistent, no.Code == imap.ResponseCodeTryCreate:
		p := integrations.NotFound("folder")
		p.Err = err
		return p
	case no.Code == imap.ResponseCodeNoPerm, no.Code == "READ-ONLY", no.Code == imap.ResponseCodeCannot:
		return &integrations.Problem{Status: http.StatusForbidden, Reason: integrations.ReasonForbidden, Text: "The mail server does not let this account do that.", Err: err}
	case no.Code == imap.ResponseCodeOverQuota:
		return &integrations.Problem{Status: http.StatusInsufficientStorage, Reason: integrations.ReasonQuota, Text: "The mail account's quota is used up.", Err: err}
	case no.Type == imap.StatusResponseTypeNo:
		return &integrations.Problem{Status: http.StatusConflict, Reason: integrations.ReasonConflict, Text: "The mail server refuses to do that.", Err: err}
	}
	return integrations.Unusable("The mail server", err)
}
