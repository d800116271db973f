// Package mail reads and sends the mail of one account for programs: over IMAP
// and SMTP, or by Nextcloud's Mail app. It trusts neither the servers to answer
// little or soon, nor any mail: what people wrote comes out as plain text or as
// HTML in which nothing runs and nothing is loaded.
package mail

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"time"

	"anteroom/integrations"
	"anteroom/session"
	"anteroom/session/semaphore"
)

// Limits, in bytes unless they say otherwise.
const (
	maxText       = 1 << 20  // of a message's text, and of its HTML, decoded
	maxStructure  = 2 << 20  // of what a server may say of a message but its content
	maxHeader     = 32 << 10 // of the header fields that are looked at
	maxAnswer     = 8 << 20  // of a server's answer that is a list
	maxStream     = 4 << 30  // of one message or attachment
	maxParts      = 1000     // of a message, that are looked at
	maxNesting    = 200      // of parentheses in a server's answer
	maxFolders    = 1000     // that are listed
	maxChanged    = 1000     // messages that one answer of Changes names
	maxContent    = 25 << 20 // of a message that is sent: text and attachments, before encoding
	maxRecipients = 100
	maxConns      = 4 // to the IMAP server
	maxStreams    = 3 // of these, for callers who may read slowly: who lists and reads messages gets on
	maxSending    = 4 // messages at a time, since they are in memory

	eachConns, eachStreams, eachSending = 3, 2, 2 // of these, one caller
)

const (
	idleTime    = 5 * time.Minute  // that an unused connection is kept
	proveAfter  = 30 * time.Second // of being unused, a connection has to show that it lives
	commandTime = 30 * time.Second // for one command, and for a stall of a stream
	dialTime    = 15 * time.Second
	sendTime    = 5 * time.Minute  // for the whole of sending
	refusedTime = 10 * time.Second // that a refused password is not tried again: servers punish that
	keyTime     = 24 * time.Hour   // that an idempotency key is remembered
	claimTime   = 2 * sendTime     // after which a replica that was sending is sending no more, clocks being minutes apart
	maxKeys     = 10000            // that are remembered in memory
)

// Options is what an Account is made of; its zero value will do.
type Options struct {
	Log  *slog.Logger                                                      // nil: nothing is logged
	Now  func() time.Time                                                  // nil: time.Now
	Dial func(ctx context.Context, network, addr string) (net.Conn, error) // nil: as the net package does
	Keys *session.Ledger                                                   // by which replicas tell each other of idempotency keys; nil: each goes by its own
}

// Account is one mail account. Safe for concurrent use. Its methods return
// *integrations.Problem.
type Account struct {
	imap, smtp *server
	as         func() session.Credential // as it is now
	kept       *integrations.SecretFile  // that the password is in; nil: in none
	from       string
	o          Options
	pool       *pool
	sending    *semaphore.Keyed // a place for each message, by caller
	streaming  *semaphore.Keyed // a place for each message or attachment on its way
	keys       *keys
}

// server is where one of the two is.
type server struct {
	addr     string // host:port
	startTLS bool
	tls      *tls.Config // but for the authorities
	roots    *session.Authorities
	refusal  refusal
}

// Open makes an account of what is configured. It opens no connection; an error
// is a fault of the configuration.
func Open(cfg integrations.Mail, o Options) (*Account, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Dial == nil {
		o.Dial = new(net.Dialer).DialContext
	}
	a := &Account{as: cfg.Account, kept: cfg.File, from: cfg.From, o: o, sending: semaphore.New(maxSending, eachSending), streaming: semaphore.New(maxStreams, eachStreams)}
	if a.from == "" {
		a.from = cfg.Username
	}
	roots := cfg.Roots
	var err error
	if roots == nil {
		if roots, err = session.OpenAuthorities(cfg.CAFile); err != nil {
			return nil, fmt.Errorf("integrations.mail.ca_file: %w", err)
		}
	}
	if a.imap, err = serverAt(cfg.IMAP, roots, "imaps", "993", "imap", "143"); err != nil {
		return nil, fmt.Errorf("integrations.mail.imap_url: %w", err)
	}
	if a.smtp, err = serverAt(cfg.SMTP, roots, "smtps", "465", "smtp", "587"); err != nil {
		return nil, fmt.Errorf("integrations.mail.smtp_url: %w", err)
	}
	a.keys = newKeys(o, "from "+a.from)
	a.pool = newPool(semaphore.New(maxConns, eachConns), idleTime, roots, a.dial)
	return a, nil
}

type callerKey struct{}

// By is a context in which what is done is done for somebody: many share the
// account, and none of them gets all that it can do at a time.
func By(ctx context.Context, who string) context.Context {
	return context.WithValue(ctx, callerKey{}, who)
}

func callerOf(ctx context.Context) string {
	who, _ := ctx.Value(callerKey{}).(string)
	return who
}

// Close ends the connections that are not in use, and the others as they come
// back.
func (a *Account) Close() error {
	a.pool.close()
	return nil
}

// serverAt reads a server's URL. Of the two schemes one has TLS from the start,
// the other requires STARTTLS; there is none without.
func serverAt(text string, roots *session.Authorities, implicit, port, explicit, explicitPort string) (*server, error) {
	if text == "" {
		return nil, nil
	}
	u, err := url.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("reading the URL: %w", err)
	}
	s := &server{roots: roots, tls: &tls.Config{MinVersion: tls.VersionTLS12, ServerName: u.Hostname()}}
	switch u.Scheme {
	case implicit:
	case explicit:
		s.startTLS, port = true, explicitPort
	default:
		return nil, fmt.Errorf("the scheme is neither %s nor %s", implicit, explicit)
	}
	if u.Hostname() == "" {
		return nil, fmt.Errorf("the URL names no host")
	}
	if p := u.Port(); p != "" {
		port = p
	}
	s.addr = net.JoinHostPort(u.Hostname(), port)
	return s, nil
}
