package mail

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"anteroom/integrations"
	"anteroom/session"
)

// maxSMTP is how much an SMTP server may say in one connection, in bytes.
const maxSMTP = 256 << 10

// limited is a connection through which only so much comes.
type limited struct {
	net.Conn
	left int64
}

// Read implements net.Conn.
func (l *limited) Read(b []byte) (int, error) {
	if l.left <= 0 {
		return 0, errTooMuch
	}
	n, err := l.Conn.Read(b[:min(int64(len(b)), l.left)])
	l.left -= int64(n)
	return n, err
}

// deliver gives a message to the SMTP server: to all of its recipients, or to
// none.
func (a *Account) deliver(ctx context.Context, message []byte, to []recipient) error {
	ctx, cancel := context.WithTimeout(ctx, sendTime)
	defer cancel()
	c, end, err := a.submission(ctx)
	if err != nil {
		return a.trouble(during(ctx, err))
	}
	defer end()
	if err := envelop(c, a.from, int64(len(message)), to); err != nil {
		return a.trouble(during(ctx, err))
	}
	if err := transmit(c, message); err != nil {
		return a.trouble(during(ctx, err))
	}
	_ = c.Quit()
	return nil
}

// submission is a secured connection to the SMTP server, signed in (RFC 6409).
func (a *Account) submission(ctx context.Context) (c *smtp.Client, end func(), err error) {
	err = a.known(ctx, a.smtp, func(as session.Credential) error {
		c, end, err = a.submissionAs(ctx, as)
		return err
	})
	return c, end, err
}

func (a *Account) submissionAs(ctx context.Context, as session.Credential) (*smtp.Client, func(), error) {
	dialing, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	raw, err := a.o.Dial(dialing, "tcp", a.smtp.addr)
	if err != nil {
		return nil, nil, fmt.Errorf("dialing the SMTP server: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { raw.Close() })
	end := func() { stop(); raw.Close() }
	c, err := a.smtp.client(dialing, raw)
	if err == nil {
		c.CommandTimeout, c.SubmissionTimeout = commandTime, sendTime
		err = c.Hello(a.from[strings.LastIndexByte(a.from, '@')+1:])
	}
	if err == nil {
		err = authenticate(c, as)
	}
	if err != nil {
		end()
		return nil, nil, err
	}
	return c, end, nil
}

// client speaks SMTP through TLS, and nothing that matters without.
func (s *server) client(ctx context.Context, raw net.Conn) (*smtp.Client, error) {
	bounded := &limited{raw, maxSMTP}
	if !s.startTLS {
		secured := tls.Client(bounded, s.roots.Config(s.tls))
		if err := secured.HandshakeContext(ctx); err != nil {
			return nil, fmt.Errorf("securing the connection: %w", handshake{err})
		}
		return smtp.NewClient(secured), nil
	}
	stop := context.AfterFunc(ctx, func() { raw.Close() })
	defer stop()
	c, err := smtp.NewClientStartTLS(bounded, s.roots.Config(s.tls))
	var no *smtp.SMTPError
	var lost net.Error
	switch {
	case err == nil:
		return c, nil
	case errors.As(err, &no) && no.Temporary():
		return nil, refusedBy(no)
	case errors.As(err, &lost), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, errTooMuch):
		return nil, fmt.Errorf("asking for TLS: %w", err)
	}
	return nil, ErrNoTLS
}

func authenticate(c *smtp.Client, as session.Credential) error {
	var mechanism sasl.Client
	user, secret := as.User, as.Secret.Reveal()
	switch {
	case c.SupportsAuth(sasl.Plain):
		mechanism = sasl.NewPlainClient("", user, secret)
	case c.SupportsAuth(sasl.Login):
		mechanism = sasl.NewLoginClient(user, secret)
	default:
		return &integrations.Problem{Status: http.StatusBadGateway, Reason: integrations.ReasonAnswer, Err: ErrNoAuth,
			Text: "The mail server lets nobody sign in at that port: it offers neither AUTH PLAIN nor LOGIN."}
	}
	err := c.Auth(mechanism)
	var no *smtp.SMTPError
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &no):
		return fmt.Errorf("signing in: %w", err)
	case no.Temporary():
		return refusedBy(no)
	}
	return errRefused
}

// envelop says from whom and to whom a message is.
func envelop(c *smtp.Client, from string, size int64, to []recipient) error {
	var no *smtp.SMTPError
	if err := c.Mail(from, &smtp.MailOptions{Size: size}); errors.As(err, &no) {
		return refusedBy(no)
	} else if err != nil {
		return fmt.Errorf("saying who sends: %w", err)
	}
	var refused []string
	for _, r := range to {
		err := c.Rcpt(r.Address.Address, nil)
		switch {
		case err == nil:
		case !errors.As(err, &no):
			return fmt.Errorf("saying who receives: %w", err)
		case no.Temporary():
			return refusedBy(no)
		default:
			refused = append(refused, r.field)
		}
	}
	if len(refused) > 0 {
		return &integrations.Problem{Status: http.StatusUnprocessableEntity, Reason: integrations.ReasonRecipient, Field: refused[0],
			Text: "The mail server takes no mail for " + strings.Join(refused, ", ") + ". Nothing was sent, to nobody.", Err: errors.New("an SMTP server refuses a recipient")}
	}
	return nil
}

// transmit sends the message itself. Once it is all there, and no answer comes,
// nobody knows whether it was taken.
func transmit(c *smtp.Client, message []byte) error {
	var no *smtp.SMTPError
	w, err := c.Data()
	if errors.As(err, &no) {
		return refusedBy(no)
	} else if err != nil {
		return fmt.Errorf("beginning to send: %w", err)
	}
	if _, err := w.Write(message); err != nil {
		return fmt.Errorf("sending: %w", err)
	}
	if err := w.Close(); errors.As(err, &no) {
		return refusedBy(no)
	} else if err != nil {
		return &integrations.Problem{Status: http.StatusBadGateway, Reason: integrations.ReasonAway, Err: err,
			Text: "The mail server took the message and did not say what became of it: it may have been sent. Sent again with the same idempotency_key it has the same Message-ID."}
	}
	return nil
}

// refusedBy is what a refusal of the SMTP server's means (RFC 5321 §4.2.1).
func refusedBy(no *smtp.SMTPError) *integrations.Problem {
	err := fmt.Errorf("the SMTP server answers %d", no.Code)
	switch {
	case no.Temporary():
		return &integrations.Problem{Status: http.StatusServiceUnavailable, Reason: integrations.ReasonBusy, Text: "The mail server cannot take the message at the moment. Nothing was sent.", RetryAfter: time.Minute, Err: err}
	case no.Code == 552:
		return &integrations.Problem{Status: http.StatusRequestEntityTooLarge, Reason: integrations.ReasonTooLarge, Text: "The mail server takes no message as large. Nothing was sent.", Err: err}
	}
	return &integrations.Problem{Status: http.StatusForbidden, Reason: integrations.ReasonForbidden, Text: "The mail server refuses the message, or does not let this account send it. Nothing was sent.", Err: err}
}
